"""`thresher plan`: what it says of sizes is what recorders, rows and files take; its times are those that were measured."""

from __future__ import annotations

import json
import math
import re
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import pytest
import torch

from thresher import planning
from thresher.commands.planning import rows
from thresher.errors import InputError
from thresher.experiments.recording import RECORDED
from thresher.planning import MEASURED, Setup
from thresher.ranks import Alone
from thresher.ranks.owners import Owners
from thresher.recorder import Recorder
from thresher.recording.collect import Collector
from thresher.score_table import write_scores
from thresher.scorers import TDDS
from thresher.trajectory.writer import TrajectoryWriter
from thresher.types import Frame, Scores

RESULTS = Path(__file__).parents[1] / "docs" / "results" / "benchmarks"


def size_of(state: Any) -> int:
    """Return the bytes of all tensors and arrays in nested dicts, but for what no size changes: a flag for each fault."""
    if isinstance(state, dict):
        return sum(size_of(value) for name, value in state.items() if name != "faults")
    return int(getattr(state, "nbytes", 0))


def batch(n: int, classes: int, width: int) -> tuple[torch.Tensor, ...]:
    """Return logits, targets, ids and features of all samples."""
    ids = torch.arange(n)
    return torch.randn(n, classes), ids % classes, ids, torch.randn(n, width)


def test_the_signals_are_those_that_are_recorded() -> None:
    evaluated = [name for name in RECORDED if name.startswith("eval_")]
    assert (len(RECORDED) - len(evaluated), len(evaluated)) == (planning.TRAIN_SIGNALS, planning.EVAL_SIGNALS)


@pytest.mark.parametrize("log_probs", ["float32", "float16"])
def test_a_recorder_keeps_what_is_planned(log_probs: Any, tmp_path: Path) -> None:
    n, classes, width = 300, 7, 5
    setup = Setup(n, classes, 1, features=width, log_prob_bytes=4 if log_probs == "float32" else 2)
    with TrajectoryWriter.create(tmp_path / "t", n, classes, RECORDED) as store:
        recorder = Recorder(n, classes, store=store, log_probs=log_probs)
        recorder.update(*batch(n, classes, width))
        recorder.update_eval(*batch(n, classes, width))
        recorder.end_epoch()
        kept = recorder.state_dict()
        assert size_of(kept) == planning.state_bytes(setup) + planning.feature_bytes(setup)
        assert Setup(n, classes, 1, features=width).signals == len(store.signals)


def test_a_live_tdds_keeps_four_bytes_an_epoch_of_its_window() -> None:
    raw = json.loads((RESULTS / "imagenet_epoch.json").read_text())
    measured, sizes = raw["raw"]["Recorder, TDDS, 16-bit log-probabilities"][0]["state"], raw["sizes"]
    setup = Setup(sizes["N"], sizes["C"], 2, features=0, log_prob_bytes=2)
    one_signal = 4 * setup.n * (setup.signals - 1)  # that run recorded the change alone
    assert planning.state_bytes(setup, sizes["K"]) - one_signal == measured
    recorder = Recorder(300, 7, {"tdds": TDDS(window=4)})
    recorder.update(*batch(300, 7, 1)[:3])
    recorder.end_epoch()
    live = planning.state_bytes(Setup(300, 7, 1, features=0), 4) - 4 * 300 * (planning.TRAIN_SIGNALS - 1)
    assert size_of(recorder.state_dict()) == live


def test_rows_that_wait_are_as_wide_as_planned() -> None:
    n, classes, width = 40, 7, 5
    train = sorted(name for name in RECORDED if not name.startswith("eval_"))
    evaluated = sorted(name for name in RECORDED if name.startswith("eval_"))
    collector = Collector(Alone(), Owners(n, 20, 2), train, evaluated, False)
    memory = Recorder(n, classes, extra_signals=RECORDED)._place()
    from thresher.recording.arguments import as_batch

    rows = as_batch(*batch(n, classes, width), num_classes=classes)
    collector.add(memory, rows, 0)
    collector.add_eval(memory, rows, [name.removeprefix("eval_") for name in evaluated], 0)
    waiting = [size_of({k: v for k, v in state.items() if k != "step"}) for state in collector.state().values()]
    setup = Setup(n, classes, 1, 2, width)
    assert tuple(bytes_ // n for bytes_ in waiting) == planning.row_bytes(setup)
    assert sum(waiting) == 2 * planning.waiting_bytes(setup)  # one process stands for both here
    assert planning.network_bytes(setup) == sum(waiting) // 2
    assert planning.network_bytes(setup, evaluated=False) == waiting[0] // 2
    assert planning.waiting_bytes(Setup(n, classes, 1)) == planning.network_bytes(Setup(n, classes, 1)) == 0


def test_a_store_and_scores_take_the_disk_that_is_planned(tmp_path: Path) -> None:
    n, epochs, width = 60_000, 3, 4
    setup, rng = Setup(n, 10, epochs, features=width), np.random.default_rng(0)
    with TrajectoryWriter.create(tmp_path / "t", n, 10, RECORDED) as store:
        for epoch in range(epochs):
            last = epoch == epochs - 1  # the one evaluation pass
            names = [name for name in RECORDED if last or not name.startswith("eval_")]
            values = dict(zip(names, rng.random((len(names), n), dtype=np.float32), strict=True))
            if epoch == 0:
                values["change"][:] = values["signed_change"][:] = np.nan
            features = rng.random((n, width), dtype=np.float32) if last else None
            store.append(Frame(epoch, np.arange(n), values, n), targets=rng.integers(0, 10, n), features=features)
    found = sum(path.stat().st_size for path in (tmp_path / "t").rglob("*.parquet"))
    assert found == pytest.approx(planning.store_bytes(setup), rel=0.02)
    columns = {f"s{i}": Scores(rng.random(n, dtype=np.float32)) for i in range(6)}
    for classes in (10, 300):
        write_scores(tmp_path / "scores.parquet", columns, rng.integers(0, classes, n))
        planned = planning.score_bytes(Setup(n, classes, epochs))
        assert (tmp_path / "scores.parquet").stat().st_size == pytest.approx(planned, rel=0.05)


def test_a_manifest_takes_what_the_page_says_for_each_file(tmp_path: Path) -> None:
    n, names = 6_000, [name for name in RECORDED if not name.startswith("eval_")]
    rng = np.random.default_rng(0)
    with TrajectoryWriter.create(tmp_path, n, 10, RECORDED, bucket_size=100) as store:
        for epoch in range(2):
            values = dict(zip(names, rng.random((len(names), n), dtype=np.float32), strict=True))
            store.append(Frame(epoch, np.arange(n), values, n), targets=rng.integers(0, 10, n))
    files = len(list(tmp_path.glob("epoch=*/*.parquet")))
    said = re.search(r"names every file: about ([\d.]+) kB\s", (RESULTS.parents[1] / "scale.md").read_text())
    assert said
    assert (tmp_path / "manifest.json").stat().st_size / files / 1000 == pytest.approx(float(said[1]), abs=0.05)


def test_sizes_on_four_ranks_by_hand() -> None:
    """A rank owns 251 of 1001 samples; a row is 24 + 4 (6 + 300) bytes, and 24 + 4 (4 + 16) of the evaluation pass."""
    setup = Setup(1001, 300, 5, ranks=4, features=16, workers=5)
    assert planning.state_bytes(setup, window=10) == 251 * (4 * 300 + 4 * 12 + 12 + 4 * 10)
    assert planning.feature_bytes(setup) == 251 * 64
    assert planning.row_bytes(setup) == (1248, 104)
    assert planning.waiting_bytes(setup) == 251 * 1352
    assert planning.memory_bytes(setup) == 251 * (1260 + 64 + 1352)
    assert planning.network_bytes(setup) == 3 * 1001 * 1352 / 4
    assert planning.store_bytes(setup) == 1001 * (4 * (8 * 5 - 2 + 4) + 8 + 64)
    assert planning.score_bytes(setup) == 1001 * 26
    seconds = 251 * 300 * 5 * MEASURED.record_seconds + 1001 * 240 / 4 / MEASURED.write_bytes
    assert planning.record_seconds(setup) == pytest.approx(seconds)
    assert planning.scoring_seconds(setup) == pytest.approx(1001 * MEASURED.score_seconds)
    assert planning.row_bytes(Setup(1001, 300, 5, ranks=4, features=0)) == (1248, 0)


def test_the_command_adds_up_by_hand(call: Any) -> None:
    setup = Setup(1001, 300, 5, ranks=4, features=16, log_prob_bytes=2, workers=2)
    said = {title: (value, about) for title, value, about in rows(setup)}
    assert said["memory per rank"] == ("521 kB", "state 166 kB, features 16.1 kB, waiting rows 339 kB")
    assert said["network per epoch, all ranks"] == (
        "937 kB", "4 ranks, all to all; 1.02 MB in the epoch of the evaluation pass",
    )  # fmt: skip
    unevaluated = {title: about for title, _, about in rows(replace(setup, features=0))}
    assert unevaluated["network per epoch, all ranks"] == "4 ranks, all to all"
    assert said["disk"] == ("266 kB", "store 240 kB (12 signals), scores 26 kB")
    assert said["scoring"][1] == "six methods in one pass, 2 cores"
    plan = ("plan", "--n", 1000, "--classes", 10, "--epochs", 9, "--keep", "0.3", "--features", 0)
    told = call(*plan, "--log-probs", "float16")
    assert "pruning to 300 samples pays" in told
    assert "state 64 kB, features 0 bytes" in told  # 2 x 10 + 4 x 8 + 12 bytes a sample
    assert json.loads(call(*plan, "--json"))["kept"] == 300


def test_times_are_those_of_the_benchmarks() -> None:
    def load(name: str) -> Any:
        found = json.loads((RESULTS / f"{name}.json").read_text())
        assert f"{found['environment']['cores']} cores of {found['environment']['cpu']}" == MEASURED.machine
        return found

    epoch = load("imagenet_epoch")
    seconds = median(run["seconds"] for run in epoch["raw"]["Recorder, TDDS, 16-bit log-probabilities"])
    assert MEASURED.record_seconds == pytest.approx(seconds / epoch["sizes"]["N"] / epoch["sizes"]["C"], rel=1e-4)
    mib, wrote = re.findall(r"the store: (\d+) MiB, written and synced in ([\d.]+) s", str(load("replay_grid")["notes"]))[0]
    assert MEASURED.write_bytes == pytest.approx(int(mib) * 2**20 / float(wrote), rel=1e-3)
    largest = load("scoring")["table"][-1]
    assert MEASURED.score_seconds == pytest.approx(largest["processor ns a sample and epoch"] * 1e-9, rel=1e-6)
    selection = {row[""]: row["seconds"] for row in load("selection")["table"]}
    assert MEASURED.select_seconds == pytest.approx(selection["thresher select, N = 1e+08"] / 1e8, rel=1e-6)
    overhead = load("recorder_overhead")["raw"]["all methods' signals"]["share"]
    assert MEASURED.overhead == pytest.approx(overhead, rel=1e-4)


@pytest.mark.parametrize("keep", [0.1, 0.5, 0.7, 0.99, 1000])
@pytest.mark.parametrize("surrogate", [1, 30, 90])
def test_pruning_pays_there_and_not_before(keep: Any, surrogate: int) -> None:
    setup = Setup(50_000, 100, 90)
    found = planning.payback(setup, keep, surrogate)
    recorded = Setup(50_000, 100, surrogate)
    costs = (planning.record_seconds, planning.scoring_seconds, planning.selecting_seconds)
    fixed = sum(cost(recorded) for cost in costs)
    saved = 1 - (keep / 50_000 if isinstance(keep, int) else keep)

    def gain(trainings: int, full: float) -> float:
        return trainings * saved * full - surrogate / 90 * (1 + MEASURED.overhead) * full - fixed

    assert found.trainings is not None
    assert gain(found.trainings, 1.001 * found.seconds) > 0 > gain(found.trainings, 0.999 * found.seconds)
    assert gain(found.trainings - 1, 1e12) <= 0


def test_a_training_that_brings_back_what_was_spent_does_not_pay_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(planning, "MEASURED", replace(MEASURED, overhead=0.0))
    assert planning.payback(Setup(100, 10, 4), 0.5, 2).trainings == 2  # half of one is spent and saved by each


def test_keeping_everything_never_pays(call: Any) -> None:
    assert planning.payback(Setup(1000, 10, 9), 1.0, 3) == planning.Payback(None, math.inf)
    assert "never pays" in call("plan", "--n", 1000, "--classes", 10, "--epochs", 9, "--keep", "1.0")


def test_the_command_prints_what_the_functions_say(call: Any) -> None:
    said = call("plan", "--n", 1281167, "--classes", 1000, "--epochs", 90, "--gpus", 8)
    setup = Setup(1281167, 1000, 90, 8)
    for part in (
        "memory_bytes",
        "state_bytes",
        "feature_bytes",
        "waiting_bytes",
        "network_bytes",
        "store_bytes",
        "score_bytes",
    ):
        assert planning.bytes_text(getattr(planning, part)(setup)) in said, part
    for part in ("record_seconds", "scoring_seconds", "selecting_seconds"):
        assert planning.seconds_text(getattr(planning, part)(setup)) in said, part
    assert MEASURED.machine in said
    assert "on top of the training, per rank" in said
    assert "a lower bound, measured with one signal" in said
    assert "pays for a surrogate of all 90 epochs from training 4" in said
    assert "surrogate of 30 of 90 epochs from training 2" in call(
        "plan", "--n", 1281167, "--classes", 1000, "--epochs", 90, "--gpus", 8, "--surrogate-epochs", 30
    )


@pytest.mark.parametrize(
    ("option", "message"),
    [
        (("--gpus", 10**8), "ranks of at most 1e+06"), (("--n", 10**27), "n of at most 1e+15"),
        (("--classes", 1), "classes of at least 2"), (("--gpus", 0), "ranks of at least 1"),
        (("--keep", "2.5"), "keep as a share"), (("--n", 0), "n of"),
        (("--surrogate-epochs", 91), "surrogate of 1 to 90"), (("--surrogate-epochs", 0), "surrogate of 1 to 90"),
        (("--log-probs", "int8"), "float32 or float16"),
    ],
)  # fmt: skip
def test_impossible_plans(option: tuple[Any, ...], message: str, call: Any) -> None:
    given = {"--n": 50_000, "--classes": 100, "--epochs": 90} | {option[0]: option[1]}
    assert message in call.refused("plan", *(part for pair in given.items() for part in pair))


def test_the_largest_plan_is_a_plan() -> None:
    assert Setup(10**15, 2, 1).n == 10**15
    with pytest.raises(InputError, match=r"n of at most 1e\+15"):
        Setup(10**15 + 1, 2, 1)


def test_impossible_log_probabilities() -> None:
    with pytest.raises(InputError, match="2 or 4 bytes"):
        Setup(10, 2, 1, log_prob_bytes=8)

"""The run directory, the jobs, the tables, and the main job end to end on real digits."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from thresher.coreset import Coreset
from thresher.data import load
from thresher.errors import BusyError, CorruptFileError, FingerprintError, InputError, RunDirectoryError, UnknownNameError
from thresher.experiments.columns import name_pairs
from thresher.experiments.defaults import parse_keeps
from thresher.experiments.job import Job, Task
from thresher.experiments.jobs import run_task
from thresher.experiments.recording import identity
from thresher.experiments.reporting import command_line
from thresher.experiments.rundir import RunDirectory, locked
from thresher.experiments.study import StudySpec, notices, resolve_all, run_study, scales_loss
from thresher.experiments.tables import markdown, mean_interval, table
from thresher.files import part_of, replacing
from thresher.methods import parse_methods
from thresher.score_table import read_scores, write_scores
from thresher.scorers import AUM, EL2N, TDDS, Random
from thresher.train.spec import TrainSpec
from thresher.trajectory.writer import TrajectoryWriter
from thresher.types import Scores

SURROGATE = TrainSpec("tiny", epochs=5, batch_size=64, lr=0.05)
CORESET = TrainSpec("tiny", epochs=2, batch_size=32, lr=0.05)


def study(**changes: Any) -> StudySpec:
    """Return a study of seconds."""
    parts: dict[str, Any] = {
        "data": "digits", "surrogate": SURROGATE, "coreset": CORESET, "methods": ("random", "tdds:window=3"),
        "keeps": (0.2,), "seeds": (0, 1), "full_seeds": (0,),
    }  # fmt: skip
    return StudySpec(**{**parts, **changes})


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    """A finished study and its table."""
    out = tmp_path_factory.mktemp("run")
    return out, table(run_study(study(), out))


def test_the_main_job_leaves_everything(finished: tuple[Path, Any]) -> None:
    out, rows = finished
    assert [(r.method, r.keep, r.kept, r.n_seeds) for r in rows] == [
        ("full", 1.0, 1437, 1), ("random", 0.2, 288, 2), ("tdds:window=3", 0.2, 288, 2),
    ]  # fmt: skip
    assert rows[1].gap_mean is None
    assert rows[2].gap_mean == pytest.approx(rows[2].accuracy_mean - rows[1].accuracy_mean)
    assert sorted(p.name for p in out.iterdir() if not p.name.startswith("run.lock")) == [
        "checkpoints", "coresets", "env.json", "log.jsonl", "results", "scores.parquet", "spec.json", "trajectory",
    ]  # fmt: skip
    assert len(list((out / "results").glob("*.json"))) == 5
    names = sorted(p.name for p in (out / "coresets").glob("*.parquet"))
    assert names == ["random-0.2-seed0.parquet", "random-0.2-seed1.parquet", "tdds_window=3-0.2.parquet"]


def test_coresets_are_what_the_scores_say(finished: tuple[Path, Any]) -> None:
    out, _ = finished
    scores = read_scores(out / "scores.parquet").columns["tdds"]
    kept = Coreset.load(out / "coresets" / "tdds_window=3-0.2.parquet")
    assert set(kept.ids.tolist()) == set(np.argsort(-scores.values, kind="stable")[:288].tolist())
    assert kept.source["scorer"] == {"scorer": "tdds", "params": scores.source["params"], "at": 5}


def test_running_again_trains_nothing(finished: tuple[Path, Any]) -> None:
    out, rows = finished
    times = {p: p.stat().st_mtime_ns for p in (out / "results").glob("*.json")}
    events: list[str] = []
    again = table(run_study(study(), out, notify=lambda event, details: events.append(event)))
    assert again == rows
    assert "epoch" not in events
    assert {p: p.stat().st_mtime_ns for p in (out / "results").glob("*.json")} == times


def test_methods_and_seeds_can_be_added(finished: tuple[Path, Any]) -> None:
    out, rows = finished
    more = table(run_study(study(methods=("random", "el2n"), seeds=(0, 1), full_seeds=()), out))
    assert [r.method for r in more] == ["random", "el2n"]
    assert more[0] == rows[1]


def test_a_result_that_is_missing_is_made_again(finished: tuple[Path, Any]) -> None:
    out, rows = finished
    path = next((out / "results").glob("tdds*.json"))
    before = json.loads(path.read_text())
    path.unlink()
    assert table(run_study(study(), out))[2].accuracy_mean == rows[2].accuracy_mean
    after = json.loads(path.read_text())
    assert after["test_accuracy"] == before["test_accuracy"]
    assert (after["mean_loss_scale"], after["scale_column"]) == (None, None)


def test_the_loss_is_scaled_where_that_is_published_or_asked_for() -> None:
    resolved = resolve_all(study(), 5)
    tdds, random = resolved["tdds:window=3", 0.2], resolved["random", 0.2]
    for changes, expected in (
        ({}, (False, False)), ({"data": "cifar10"}, (True, False)), ({"scale_loss": "all"}, (True, False)),
        ({"data": "cifar100", "scale_loss": "none"}, (False, False)),
    ):  # fmt: skip
        spec = study(**changes)
        assert tuple(scales_loss(spec.scale_loss, spec.data, m.name) for m in (tdds, random)) == expected
        told = any("published for cifar10 and cifar100 only" in text for text in notices(spec, resolved.values()))
        assert told == (not changes)


def test_published_settings_are_those_of_the_surrogate() -> None:
    parts = {"data": "imagenet", "methods": ("tdds",), "keeps": (0.5,)}
    for model, at in (("swin_t", 100), ("resnet34_imagenet", 20)):
        (method,) = resolve_all(study(**parts, surrogate=TrainSpec(model, epochs=300)), 300).values()
        assert method.at == at


def test_a_scaled_loss_is_recorded(finished: tuple[Path, Any]) -> None:
    results = run_study(study(methods=("tdds:window=3",), seeds=(0,), full_seeds=(), scale_loss="all"), finished[0])
    assert 0 < results[0]["mean_loss_scale"] < 1
    assert results[0]["scale_column"] == "tdds"


def test_another_recording_is_refused(finished: tuple[Path, Any]) -> None:
    with pytest.raises(RunDirectoryError, match=r"another spec \(different: surrogate: .* there, .* here\)"):
        run_study(study(surrogate=TrainSpec("tiny", epochs=6, batch_size=64, lr=0.05)), finished[0])


def test_processes_give_the_same_as_one(finished: tuple[Path, Any], tmp_path: Path) -> None:
    out, rows = finished
    for name in ("trajectory", "checkpoints"):
        (tmp_path / name).symlink_to(out / name)
    (tmp_path / "spec.json").write_text((out / "spec.json").read_text())
    parallel = table(run_study(study(full_seeds=()), tmp_path, processes=2, threads=1))
    assert [r.accuracy_mean for r in parallel] == [r.accuracy_mean for r in rows[1:]]


def test_half_written_directories(tmp_path: Path) -> None:
    (tmp_path / "trajectory").mkdir()
    with pytest.raises(RunDirectoryError, match="holds data but no spec"):
        run_study(study(), tmp_path)
    other = tmp_path / "other"
    other.mkdir()
    (other / "spec.json").write_text('{"data": ')
    with pytest.raises(CorruptFileError, match=r"spec\.json is not valid JSON"):
        run_study(study(), other)


def test_one_writer_at_a_time(tmp_path: Path) -> None:
    with RunDirectory(tmp_path, {"a": 1}), pytest.raises(RunDirectoryError, match="another process"):
        RunDirectory(tmp_path, {"a": 1})
    RunDirectory(tmp_path, {"a": 1}).close()


def test_a_run_leaves_what_others_are_writing_into_its_folder(tmp_path: Path) -> None:
    """A board scores a recording while another process may go on recording it for cells that need more epochs."""
    with replacing(tmp_path / "scores-0a.parquet") as part:
        part.write_bytes(b"whole")
        part_of(tmp_path / "scores.parquet").write_bytes(b"of a run that was killed")
        with RunDirectory(tmp_path, {}):
            pass
    assert (tmp_path / "scores-0a.parquet").read_bytes() == b"whole"
    assert not list(tmp_path.glob("*.part"))


def test_processes_that_were_forked_meanwhile_keep_no_run(tmp_path: Path, bystander: Callable[[], None]) -> None:
    """A loader's workers inherit the open lock file, as they do a store's."""
    with RunDirectory(tmp_path, {"a": 1}):
        bystander()
    RunDirectory(tmp_path, {"a": 1}).close()


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"methods": ()}, InputError, "at least one method"),
        ({"methods": ("nonsense",)}, UnknownNameError, "Expected a method, one of random"),
        ({"methods": ("random", "last_loss")}, InputError, "last_loss reads loss, which is not recorded here"),
        ({"keeps": (1.5,)}, InputError, "share in"),
        ({"data": "mnist"}, UnknownNameError, "no data set 'mnist'"),
        ({"seeds": (0, -1)}, InputError, "a seed, an integer in"),
        ({"full_seeds": (0.5,)}, InputError, "a seed, an integer in"),
        ({"surrogate_seed": 2**63}, InputError, "a seed, an integer in"),
        ({"scale_loss": "All"}, InputError, "scale_loss as one of published, none, all, but got 'All'"),
    ],
)
def test_impossible_studies_end_before_they_train(
    tmp_path: Path, changes: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        run_study(study(**changes), tmp_path / "run")
    assert not (tmp_path / "run" / "checkpoints" / "surrogate.safetensors").exists()


def test_a_study_takes_numpys_seeds_and_shares() -> None:
    spec = study(seeds=tuple(np.arange(2)), full_seeds=np.arange(1), surrogate_seed=np.int64(3), keeps=np.array([0.1, 0.2]))
    assert spec == study(full_seeds=(0,), surrogate_seed=3, keeps=(0.1, 0.2))
    json.dumps(spec.to_json())
    assert "--keep 0.1,0.2 " in command_line(study(keeps=tuple(np.array([0.1, 0.2])), full_seeds=()))
    assert study(keeps=(np.float32(0.1),)) == study(keeps=(0.1,))


def test_a_coreset_of_other_data_is_refused(finished: tuple[Path, Any], tmp_path: Path) -> None:
    path = finished[0] / "coresets" / "tdds_window=3-0.2.parquet"
    coreset = Coreset.load(path)
    foreign = Coreset(coreset.ids, None, coreset.n, {**coreset.source, "fingerprint": "other"})
    foreign.save(tmp_path / "foreign.parquet")
    job = Job(
        "x", 0.2, 288, "digits", None, load("digits").fingerprint, CORESET.to_json(), 0,
        str(tmp_path / "foreign.parquet"), foreign.digest,
    )  # fmt: skip
    with pytest.raises(FingerprintError, match="Expected a coreset of digits at hand"):
        run_task(Task(job, job.result_path(tmp_path)))
    other = replace(job, coreset=None, coreset_digest=None, fingerprint="f")
    with pytest.raises(FingerprintError, match="Expected a training planned for the digits at hand"):
        run_task(Task(other, other.result_path(tmp_path)))


def test_a_job_is_named_by_what_determines_it() -> None:
    job = Job("tdds", 0.1, 144, "digits", None, "f", CORESET.to_json(), 0, "here.parquet", "digest")
    same = Job("other name", 0.1, 144, "digits", "elsewhere", "f", CORESET.to_json(), 0, "there.parquet", "digest")
    other = Job("tdds", 0.1, 144, "digits", None, "f", CORESET.to_json(), 1, "here.parquet", "digest")
    assert job.digest == same.digest != other.digest


def test_columns_are_named_by_what_tells_them_apart() -> None:
    two = [(TDDS(window=window), 20) for window in (5, 10)]
    assert list(name_pairs(two).values()) == ["tdds[K=5]", "tdds[K=10]"]
    pairs: list[tuple[Any, int | None]] = [*two, (TDDS(window=10), 30), (EL2N(), 3), (EL2N(), 5), (Random(), None)]
    pairs += [(AUM(), None), (AUM(margin="logit"), None)]
    assert list(name_pairs(pairs).values()) == [
        "tdds[K=5,T=20]", "tdds[K=10,T=20]", "tdds[K=10,T=30]", "el2n[T=3]", "el2n[T=5]", "random",
        "aum[margin=prob]", "aum[margin=logit]",
    ]  # fmt: skip
    assert list(name_pairs([(AUM(), None), (AUM(), 5)]).values()) == ["aum", "aum[T=5]"]


def result(method: str, seed: int, accuracy: float, keep: float = 0.1, **more: Any) -> dict[str, Any]:
    """Return what a training leaves."""
    base = {"method": method, "keep": keep, "seed": seed, "test_accuracy": accuracy, "seconds": 1.0, "kept": 10}
    return {**base, **more}


def test_tables_pair_by_seed() -> None:
    rows = table([result("random", 0, 0.5), result("random", 1, 0.6), result("tdds", 1, 0.7), result("tdds", 2, 0.9)])
    assert rows[0].method == "random"
    assert rows[1].gap_mean == pytest.approx(10)  # only seed 1 is shared
    assert rows[1].gap_half_width is None
    assert "| tdds | 0.1 | 10 | 80.00 ± 127.06 | +10.00 (1 pair) | 2 | 1.0 |" in markdown(rows)
    mean, half = mean_interval([1.0, 2.0])
    assert (mean, half) == (1.5, pytest.approx(6.353, abs=1e-3))


def test_the_interval_of_a_gap_is_that_of_the_differences() -> None:
    """Accuracies lie 11 points apart, differences 1; half an interval is 4.3027 / sqrt(3) times that."""
    results = [result("random", seed, accuracy, 0.3) for seed, accuracy in enumerate((0.1, 0.2, 0.3))]  # another share
    tdds = ((2, 0.77, 1), (0, 0.55, 1), (1, 0.66, 4))
    results += [result("tdds", seed, accuracy, seconds=seconds) for seed, accuracy, seconds in tdds]
    results += [result("random", seed, accuracy) for seed, accuracy in enumerate((0.5, 0.6, 0.7))]
    assert "| tdds | 0.1 | 10 | 66.00 ± 27.33 | +6.00 ± 2.48 | 3 | 2.0 |" in markdown(table(results))


def test_tables_begin_with_the_full_data_and_with_random_at_every_share() -> None:
    wild = [result("tdds", seed, 0.1, diverged=True) for seed in (1, 2)]
    others = [result("random", 0, 0.5), result("el2n", 0, 0.7, 0.3), result("tdds", 0, 0.9, 1.0)]
    rows = table([result("tdds", 0, 0.6), *wild, *others, result("random", 0, 0.8, 1.0), result("full", 0, 0.9, 1.0)])
    assert [(row.method, row.keep, row.n_pairs) for row in rows] == [
        ("full", 1.0, 0), ("random", 1.0, 0), ("tdds", 1.0, 1), ("el2n", 0.3, 0), ("random", 0.1, 0), ("tdds", 0.1, 1),
    ]  # fmt: skip
    assert (rows[0].gap_mean, rows[-1].n_diverged) == (None, 2)


@pytest.mark.parametrize("text", ["", "tdds,tdds", ","])
def test_method_lists(text: str) -> None:
    with pytest.raises(InputError, match="distinct methods"):
        parse_methods(text)


def test_a_coreset_that_changed_since_it_was_planned_is_refused(finished: tuple[Path, Any], tmp_path: Path) -> None:
    path = finished[0] / "coresets" / "tdds_window=3-0.2.parquet"
    job = Job("x", 0.2, 288, "digits", None, load("digits").fingerprint, CORESET.to_json(), 0, str(path), "another digest")
    with pytest.raises(FingerprintError, match="was changed since"):
        run_task(Task(job, tmp_path / "result.json"))


@pytest.mark.parametrize("column", ["tdds", "aum"])
def test_scores_that_changed_since_they_were_to_scale_a_loss_are_refused(tmp_path: Path, column: str) -> None:
    path = tmp_path / "scores.parquet"
    write_scores(path, {"tdds": Scores(np.zeros(1437, np.float32))})
    job = Job("x", 1.0, 1437, "digits", None, load("digits").fingerprint, CORESET.to_json(), 0)
    scaled = replace(job, scores=str(path), scale_column=column, scale_digest="another digest")
    with pytest.raises(FingerprintError, match=r"scores\.parquet was changed since"):
        run_task(Task(scaled, tmp_path / "result.json"))


def test_kept_shares_that_look_alike_have_files_of_their_own(finished: tuple[Path, Any]) -> None:
    keeps = (0.2, 0.2000001, 0.20000001)
    run_study(study(methods=("el2n",), keeps=keeps, seeds=(0,), full_seeds=()), finished[0])
    assert len(list((finished[0] / "coresets").glob("el2n-0.2*.parquet"))) == 3


def test_where_pictures_lie_names_no_result() -> None:
    here, there = (Job("x", 0.2, 9, f"folder{where}", None, "f", {}, 0) for where in (":/here", ""))
    assert here.digest == there.digest


@pytest.mark.parametrize("text", ["0", "1.5", "0.1,0.1", "many", "-0.1"])
def test_keep_lists(text: str) -> None:
    with pytest.raises(InputError, match="Expected"):
        parse_keeps(text)


def test_a_file_is_made_by_one_process_at_a_time(tmp_path: Path) -> None:
    job = Job("random", 1.0, 1437, "digits", None, load("digits").fingerprint, CORESET.to_json(), 0)
    path = tmp_path / "one.json"
    with locked(path.with_suffix(".lock")), pytest.raises(BusyError, match="being made by another process"):
        run_task(Task(job, path))
    result = run_task(Task(job, path, {"cell": "x"}))
    assert result["cell"] == "x"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["one.json"]


def test_a_line_of_the_log_that_was_cut_off_spoils_no_other(tmp_path: Path) -> None:
    """As a full disk leaves one; a log that is empty or whole gets no empty line."""
    with RunDirectory(tmp_path, {}) as run:
        run.log("begun", n=1)
        with (tmp_path / "log.jsonl").open("ab") as file:
            file.write(b'{"event": "epo')
        run.log("epoch", epoch=1)
        run.log("epoch", epoch=2)
    first, cut, *others = (tmp_path / "log.jsonl").read_text(encoding="utf-8").splitlines()
    assert cut == '{"event": "epo'
    assert [json.loads(line)["event"] for line in (first, *others)] == ["begun", "epoch", "epoch"]


def test_a_run_that_has_not_begun_takes_another_spec(tmp_path: Path, call: Any) -> None:
    """A misspelled model writes nothing, and a run without an epoch holds nobody up."""
    command = ("record", "--epochs", "1", "--batch-size", "256", "--out", tmp_path / "run")
    assert "did you mean tiny" in call.refused(*command, "--model", "tinny")
    assert not (tmp_path / "run").exists()
    refused = call.refused(
        "run", "--coreset-model", "tinny", "--method", "random", "--keep", "0.1", "--out", tmp_path / "run"
    )
    assert "did you mean tiny" in refused
    assert not (tmp_path / "run").exists()
    digits = load("digits")
    with RunDirectory(tmp_path / "run", identity(digits, TrainSpec("small", epochs=9), 0)):
        pass  # it was ended before its first epoch
    store = tmp_path / "run" / "trajectory"
    TrajectoryWriter.create(store, 1437, 10, ["change"]).close()
    (store / "epoch=0000.part").mkdir()  # as it is left by one that was killed while it wrote its first epoch
    call(*command, "--model", "tiny")
    assert not (store / "epoch=0000.part").exists()
    said = call.refused(*command, "--model", "small")
    assert "surrogate: model tiny there, small here" in said

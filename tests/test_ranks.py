"""The Recorder on several ranks, as real processes (gloo): the scores and the store are those of one process, to the bit."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import cache
from itertools import pairwise
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
import torch.distributed as dist
from torch._subclasses import FakeTensorMode

from thresher.data import load
from thresher.errors import InputError, MissingSamplesError, OtherRankError, RankLostError
from thresher.ranks import Alone, current, together
from thresher.ranks import torchrun as torchrun_module
from thresher.ranks.alike import check_same_epoch
from thresher.ranks.owners import Owners, even_bucket
from thresher.recorder import Recorder
from thresher.replay import Request, open_source, replay
from thresher.scorers import EL2N, TDDS, ClassDistance
from thresher.train.checkpoint import load_checkpoint
from thresher.train.loop import fit
from thresher.train.spec import TrainSpec
from thresher.trajectory.reader import Trajectory

SCRIPT = Path(__file__).with_name("ranks_loop.py")
pytestmark = pytest.mark.filterwarnings("ignore:Epoch 0 showed 53 samples, and")  # where ranks draw with replacement
SAMPLERS = ("padded", "uneven", "overlapping", "pruned")
WAYS = pytest.mark.parametrize("way", ["", "waiting"], ids=["at once", "waiting"])  # batches, as on a CPU or an accelerator


@cache
def loop() -> ModuleType:
    """The script as a module, for the single process."""
    spec = importlib.util.spec_from_file_location("ranks_loop", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def start(size: int, *arguments: Any, forked: bool = True) -> subprocess.Popen[bytes]:
    """Start the script on `size` ranks; torchrun itself, not `forked`, tells which of several dead ranks was the first."""
    torchrun = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node")
    command = [sys.executable, *((SCRIPT.with_name("ranks_start.py"),) if forked else torchrun), size, SCRIPT, *arguments]
    return subprocess.Popen(list(map(str, command)), stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


@pytest.fixture(scope="module", params=[2, 3])
def ran(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[int, Path]:
    """The number of ranks, and the folder in which all of them left what they found."""
    folder = tmp_path_factory.mktemp("ranks")
    process = start(request.param, folder)
    said = process.communicate(timeout=600)[0].decode()
    assert process.returncode == 0, said
    assert all((folder / f"done-{rank}").exists() for rank in range(request.param)), said
    return request.param, folder


@pytest.fixture(scope="module")
def one(ran: tuple[int, Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The scores of one process that sees the rows of all ranks, step by step and in a step rank by rank."""
    folder = tmp_path_factory.mktemp("one")
    found = {name: loop().record(name, ran[0], None, folder) for name in SAMPLERS}
    return {**found, "folder": folder}


@WAYS
@pytest.mark.parametrize("name", SAMPLERS)
def test_the_scores_are_those_of_one_process_on_every_rank(
    ran: tuple[int, Path], one: dict[str, Any], name: str, way: str
) -> None:
    size, folder = ran
    for rank in range(size):
        with np.load(folder / way / f"{name}-{rank}.npz") as found:
            assert set(found) == {*loop().SCORERS, "targets"}
            for key, values in found.items():
                np.testing.assert_array_equal(values, one[name][key], err_msg=f"{key} on rank {rank}")
                assert np.isfinite(values).all(), key


@WAYS
@pytest.mark.parametrize("name", SAMPLERS)
def test_the_store_is_one_store_of_the_same_numbers(ran: tuple[int, Path], one: dict[str, Any], name: str, way: str) -> None:
    size, folder = ran[0], ran[1] / way
    ours, theirs = Trajectory.open(folder / f"store-{name}"), Trajectory.open(one["folder"] / f"store-{name}")
    ours.verify()
    assert (ours.epochs, ours.signals, len(ours.manifest.epochs[0])) == (theirs.epochs, theirs.signals, size)
    for mine, other in zip(ours.frames(ours.signals), theirs.frames(ours.signals), strict=True):
        np.testing.assert_array_equal(mine.ids, other.ids)
        for signal, values in mine.values.items():
            np.testing.assert_array_equal(values, other.values[signal], err_msg=signal)
    np.testing.assert_array_equal(ours.targets, theirs.targets)
    np.testing.assert_array_equal(ours.features, theirs.features)
    if name in loop().LOGITS:
        for epoch in (2, ours.epochs - 1):
            np.testing.assert_array_equal(ours.logits(epoch), theirs.logits(epoch))
    requests = [Request(key, scorer) for key, scorer in loop().SCORERS.items()]
    for key, scores in replay(open_source(folder / f"store-{name}"), requests).items():
        np.testing.assert_array_equal(scores.values, one[name][key], err_msg=key)
    bucket = -(-loop().N // size)  # every rank its own bucket, and any engine reads them all
    table = pq.read_table(folder / f"store-{name}" / "epoch=0000")
    assert sorted(set((table["sample_id"].to_numpy() // bucket).tolist())) == list(range(size))


def test_a_rank_keeps_the_state_of_its_own_samples_only(ran: tuple[int, Path]) -> None:
    """4(C + K) bytes for each owned sample with TDDS, and nothing of the others'."""
    size, folder = ran
    owners = Owners(loop().N, even_bucket(loop().N, size), size)
    for rank in range(size):
        first, end = owners.span(rank)
        state = load_checkpoint(folder / f"state-{rank}.safetensors")
        assert state["samples"] == [first, end]
        assert state["memory"]["previous"].shape == (end - first, loop().C)
        tdds = state["states"]["tdds"]
        assert sum(array.nbytes for array in tdds.values()) <= 4 * loop().SCORERS["tdds"].window * (end - first)
        for key, array in {**state["memory"]["values"], **tdds}.items():
            assert array.shape[-1] == end - first, key


@WAYS
def test_a_state_of_each_rank_goes_on_to_the_same_bits(ran: tuple[int, Path], one: dict[str, Any], way: str) -> None:
    size, folder = ran
    for rank in range(size):
        with np.load(folder / way / f"resumed-{rank}.npz") as found:
            for key, values in found.items():
                np.testing.assert_array_equal(values, one["overlapping"][key], err_msg=f"{key} on rank {rank}")


@pytest.mark.parametrize("ran", [2], indirect=True)
def test_a_rank_killed_in_a_commit_costs_that_epoch_only(one: dict[str, Any], ran: tuple[int, Path], tmp_path: Path) -> None:
    size = ran[0]
    victim = 0  # which writes the manifest
    process = start(size, tmp_path, victim, forked=False)
    said = process.communicate(timeout=600)[0].decode()
    assert process.returncode == 1, said
    assert f"rank      : {victim} (local_rank: {victim})\n  exitcode  : -9" in said
    left = Trajectory.open(tmp_path / "store")
    left.verify()
    assert left.epochs == 2
    process = start(size, tmp_path, -1)
    said = process.communicate(timeout=600)[0].decode()
    assert process.returncode == 0, said
    Trajectory.open(tmp_path / "store").verify()
    for rank in range(size):
        with np.load(tmp_path / f"mortal-{rank}.npz") as found:
            for key, values in found.items():
                np.testing.assert_array_equal(values, one["padded"][key], err_msg=f"{key} on rank {rank}")


def test_ranks_that_own_nothing_take_part(ran: tuple[int, Path], tmp_path: Path) -> None:
    size, folder = ran
    wanted = loop().few(size, None, tmp_path)
    for rank in range(size):
        with np.load(folder / f"few-{rank}.npz") as found:
            assert set(found) == set(wanted)
            for key, values in wanted.items():
                np.testing.assert_array_equal(found[key], values, err_msg=f"{key} on rank {rank}")
    for n in (5, size - 1):
        Trajectory.open(folder / f"few-{n}").verify()


def test_features_of_an_earlier_evaluation_stay_where_a_later_one_showed_none(ran: tuple[int, Path], tmp_path: Path) -> None:
    size, folder = ran
    wanted = loop().partly_evaluated(size, None, tmp_path)["moderate"]
    features = Trajectory.open(tmp_path / "store-partly").features
    assert features is not None
    assert np.isfinite(features).all()
    np.testing.assert_array_equal(Trajectory.open(folder / "store-partly").features, features)
    for rank in range(size):
        with np.load(folder / f"partly-{rank}.npz") as found:
            np.testing.assert_array_equal(found["moderate"], wanted)
    replayed = replay(open_source(folder / "store-partly"), [Request("moderate", ClassDistance())])
    np.testing.assert_array_equal(replayed["moderate"].values, wanted)


def test_a_data_parallel_training_is_recorded_as_it_was(ran: tuple[int, Path]) -> None:
    """A real DistributedDataParallel loop: its scores are those of its logits, fed to one process in order."""
    size, folder = ran
    seen = {}
    for rank in range(size):
        with np.load(folder / f"seen-{rank}.npz") as file:
            seen |= dict(file)
    recorder = Recorder(1437, 10, {"tdds": TDDS(window=3), "el2n": EL2N()}, duplicates="first")
    targets = loop().load("digits").train.targets
    for epoch in range(3):
        for key in sorted(key for key in seen if key.startswith(f"{epoch}-")):
            ids = seen[key][:, 0].astype(np.int64)
            recorder.update(seen[key][:, 1:].copy(), targets[ids], ids)
        recorder.end_epoch()
    for rank in range(size):
        with np.load(folder / f"trained-{rank}.npz") as found:
            for name, scores in recorder.scores().items():
                np.testing.assert_array_equal(found[name], scores.values, err_msg=name)


def test_our_own_loop_takes_the_steps_of_one_process(
    ran: tuple[int, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without batch normalisation a step is that of the whole batch, so all follows up to the rounding of float32."""
    monkeypatch.setattr("thresher.train.loop.build", None)  # the script replaces it
    wanted = loop().fitted(tmp_path)
    for rank in range(ran[0]):
        with np.load(ran[1] / f"fitted-{rank}.npz") as found:
            for key, values in wanted.items():
                np.testing.assert_allclose(found[key], values, rtol=2e-3, atol=2e-4, err_msg=key)


def test_rows_on_a_gpu_go_to_others_from_there() -> None:
    # A loop may leave the current GPU as it was (model.to(rank)), and NCCL refuses two processes on one.
    with FakeTensorMode():
        rows = torch.empty(0, 2, device="cuda:1")
    assert torchrun_module._own_device(rows) == torch.device("cuda:1")
    assert torchrun_module._own_device(torch.empty(0, 2)) == torch.device("cuda")


@pytest.mark.parametrize(("n", "size"), [(50000, 2), (53, 3), (2, 3), (1, 2), (1281167, 8), (100_000_000, 64)])
def test_every_sample_has_one_owner_and_ranks_own_about_as_many(n: int, size: int) -> None:
    owners = Owners(n, even_bucket(n, size), size)
    spans = [owners.span(rank) for rank in range(size)]
    assert (spans[0][0], spans[-1][1]) == (0, n)
    assert all(a[1] == b[0] for a, b in pairwise(spans))
    assert owners.largest <= -(-n // size) + size
    assert owners.bucket_size <= max(65536, -(-n // 1024))  # about a thousand buckets at most
    for rank, (first, end) in enumerate(spans):
        assert owners.buckets(rank).start * owners.bucket_size == first or first == end


class Said:
    """Ranks of which the others say what is given; keeps what this one, the first, said."""

    rank = 0

    def __init__(self, *others: Any) -> None:
        self.others, self.size, self.said = others, 1 + len(others), list[Any]()

    def share(self, topic: str, value: Any = None) -> list[Any]:
        self.said.append(value)
        return [value, *self.others]

    def exchange(self, rows: Any, counts: Any) -> Any:
        raise AssertionError("no rows are sent")


def test_states_of_other_epochs_are_refused() -> None:
    check_same_epoch(Said(3, 3), 3)
    with pytest.raises(InputError, match=r"they are of \[3, 3, 4\]"):
        check_same_epoch(Said(3, 4), 3)


class Two:
    """The first of two ranks, of which the other says what `other` makes of what this one says."""

    rank, size = 0, 2

    def __init__(self, other: Callable[[str, Any], Any] = lambda topic, value: value) -> None:
        self.other = other

    def share(self, topic: str, value: Any = None) -> list[Any]:
        return [value, self.other(topic, json.loads(json.dumps(value)))]

    def exchange(self, rows: Any, counts: Any) -> Any:
        raise AssertionError("no rows are sent")


def test_states_that_are_refused_on_several_ranks_leave_the_recorder_as_it_was() -> None:
    ranks = Two()
    recorder, fresh = (Recorder(4, 2, {"tdds": TDDS(window=3)}, ranks=ranks) for _ in range(2))
    state = recorder.state_dict()
    state["epoch"], state["memory"]["previous"] = 3, torch.zeros(2, 2)
    ranks.other = lambda topic, value: 4 if value == 3 else value
    with pytest.raises(InputError, match=r"states of one epoch on all ranks, but they are of \[3, 4\]"):
        fresh.load_state_dict(state)
    assert fresh.epoch == 0
    assert torch.isnan(fresh.state_dict()["memory"]["previous"]).all()


def test_an_epoch_that_lacks_samples_ends_alike_on_all_ranks() -> None:
    """A rank that allowed it alone would go on and wait for the others, which do not."""

    def strict(topic: str, value: Any) -> Any:
        return {**value, "missing": "error"} if isinstance(value, dict) and "seen" in value else value

    recorder = Recorder(4, 2, {"el2n": EL2N()}, ranks=Two(strict))
    state = recorder.state_dict()
    state["memory"]["visits"] = torch.tensor([1, 0])
    recorder.load_state_dict(state)
    with pytest.raises(MissingSamplesError, match="but 2 are missing"):
        recorder.end_epoch(missing="allow")
    assert recorder.epoch == 0


class _Asked(Exception):
    """Ends a training where ranks compare what they were asked for, and holds it."""


def test_trainings_asked_for_otherwise_on_another_rank_are_refused(tmp_path: Path) -> None:
    """One that saves, tests or tells of an epoch on one rank alone would wait there for the others, and they for it."""
    digits, spec = load("digits"), TrainSpec("tiny", epochs=1, batch_size=100)
    same = dict[str, Any](until=np.int64(1), eval_every=np.int64(2))

    def asked(other: Callable[[str, Any], Any], **more: Any) -> None:
        fit(digits, spec, 0, recorder=Recorder(1437, 10, {"el2n": EL2N()}, ranks=Two(other)), **{**same, **more})

    def told(topic: str, value: Any) -> Any:
        if topic == "training":
            raise _Asked(value)
        return value

    others = {
        "on_epoch": print, "checkpoint": tmp_path / "here", "eval_every": 1, "resume": True, "restart": True, "ids": [1, 2],
        "loss_scale": np.ones(1437), "until": None,
    }  # fmt: skip
    for name, value in others.items():
        with pytest.raises(_Asked) as found:
            asked(told, **{name: value})
        with pytest.raises(InputError, match=f"Expected the same training on all ranks, but {name} is "):
            asked(lambda topic, value, said=found.value.args[0]: said if topic == "training" else value)


def test_what_a_rank_fails_of_is_said_in_words_even_where_it_has_none() -> None:
    for error, words in ((ValueError(), "ValueError"), (ValueError("a\n b"), "a b"), (OSError(28, "No space"), "No space")):
        ranks = Said(None)
        with pytest.raises(type(error)), together(ranks, "open"):
            raise error
        assert len(ranks.said) == 1
        assert words in ranks.said[0]
        assert "\n" not in ranks.said[0]
    said = r"Rank 2 could not go on \(open\), so none does: ValueError"
    with pytest.raises(OtherRankError, match=said), together(Said(None, "ValueError"), "open"):
        pass


def test_of_a_lost_rank_nobody_is_told() -> None:
    ranks = Said(None)
    with pytest.raises(RankLostError, match="gone"), together(ranks, "open"):
        raise RankLostError("gone")
    assert not ranks.said


@pytest.fixture
def group_of_one() -> Iterator[None]:
    """A process group of this process alone."""
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    yield
    dist.destroy_process_group()


def test_a_group_of_one_process_is_one_that_works_alone(group_of_one: None) -> None:
    assert isinstance(current(), Alone)


def test_the_ranks_of_a_group_are_made_once_and_anew_for_another(group_of_one: None) -> None:
    first = torchrun_module.ranks_of_default_group()
    assert torchrun_module.ranks_of_default_group() is first
    dist.destroy_process_group()
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    second = torchrun_module.ranks_of_default_group()
    assert second is not first
    torchrun_module._forget()
    assert torchrun_module.ranks_of_default_group() is not second
    assert second._host is None  # its threads have ended


def test_a_model_that_becomes_parallel_has_seen_nothing(group_of_one: None) -> None:
    model = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.BatchNorm1d(2))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    torchrun_module.parallel(model, torch.arange(12.0).view(4, 3))
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())


def test_files_of_a_store_are_at_most_as_large_as_one_process_writes_them() -> None:
    assert even_bucket(1, 1) == even_bucket(65536 * 1024, 1) == 65536
    assert even_bucket(65536 * 1024 + 1, 1) == 65537
    assert Owners(10, 3, 4).bounds.tolist() == [0, 3, 6, 9, 10]
    assert [Owners(7, 3, 2).span(rank) for rank in range(2)] == [(0, 3), (3, 7)]
    assert (Owners(7, 3, 2).largest, even_bucket(7, 2), even_bucket(200_000, 2)) == (4, 4, 50_000)

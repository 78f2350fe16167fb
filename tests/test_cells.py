"""The cells of a study stand alone: one that fails costs the others nothing, and none depends on what runs beside it."""

from __future__ import annotations

import errno
import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from thresher.boards import reproduce
from thresher.boards.board import board
from thresher.boards.cells import Cell, Entry
from thresher.boards.place import Place, read_result
from thresher.boards.reproduce import recording_left, run_cells
from thresher.boards.tasks import epochs_of
from thresher.coreset import Coreset
from thresher.data import load
from thresher.engines import make_engine
from thresher.experiments.jobs import run_task
from thresher.experiments.pace import Pace
from thresher.experiments.recording import record
from thresher.scorers.el2n import EL2N
from thresher.train.spec import TrainSpec

SURROGATE = TrainSpec("tiny", epochs=6, batch_size=256, lr=0.05)
CORESET = TrainSpec("tiny", epochs=1, batch_size=256, lr=0.05)


def cell(method: str, **changes: Any) -> Cell:
    """Return a cell on digits that takes a second."""
    return replace(Cell("digits", method, 0.2, SURROGATE, CORESET), **changes)


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study whose recording has all epochs, for more than one of its cells needs."""
    root = tmp_path_factory.mktemp("cells")
    assert run_cells([cell("aum"), cell("el2n:epochs=2")], Place(root), Pace()).failed == {}
    return root


def test_data_that_are_not_there_cost_the_others_nothing(tmp_path: Path) -> None:
    place, missing, there = Place(tmp_path, tmp_path / "none"), cell("random", data="imagenet"), cell("random")
    recording = replace(missing, method="el2n")
    told: list[Any] = []
    outcome = run_cells([missing, recording, there], place, Pace(), lambda event, d: told.append((event, d)))
    assert outcome.done == [there]
    assert set(outcome.failed) == {missing, recording}
    assert "MissingFileError: Expected the folders train and val" in outcome.failed[missing]
    assert json.loads(place.failure(recording).read_text())["reason"] == outcome.failed[recording]
    assert sum(event == "failure" for event, _ in told) == 2


def test_cells_that_cannot_be_selected_cost_those_of_their_recording_nothing(recorded: Path, tmp_path: Path) -> None:
    shutil.copytree(recorded, tmp_path / "copy")
    place, good = Place(tmp_path / "copy"), cell("el2n:epochs=3")
    unknown, late, too_early = cell("el3n"), cell("el2n:at=99"), cell("moderate:at=2")
    outcome = run_cells([unknown, late, too_early, good], place, Pace())
    assert outcome.done == [good]
    assert "UnknownNameError" in outcome.failed[unknown]
    assert "TooFewEpochsError" in outcome.failed[late]
    assert "cannot be scored after 2" in outcome.failed[too_early]


def test_a_recording_without_memory_costs_the_others_nothing_and_a_full_disk_stops_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(error: Exception) -> Any:
        def record(*_: Any, **__: Any) -> None:
            raise error

        return record

    lost, other = cell("el2n:epochs=3"), cell("random")
    monkeypatch.setattr("thresher.boards.reproduce.record", broken(torch.OutOfMemoryError("no memory")))
    outcome = run_cells([lost, other], Place(tmp_path / "a"), Pace())
    assert (outcome.done, outcome.failed) == ([other], {lost: "OutOfMemoryError: no memory"})
    full = OSError(errno.ENOSPC, "No space left on device")
    monkeypatch.setattr("thresher.boards.reproduce.record", broken(full))
    with pytest.raises(OSError, match="No space"):
        run_cells([lost, other], Place(tmp_path / "b"), Pace())


def test_what_is_made_of_a_recording_is_made_anew_where_it_is_damaged(recorded: Path, tmp_path: Path) -> None:
    shutil.copytree(recorded, tmp_path / "copy")
    place, again = Place(tmp_path / "copy"), cell("el2n:epochs=2")
    before = read_result(place, again)
    assert before is not None
    coreset = place.root / "coresets" / f"{again.digest}.parquet"
    for path in (coreset, *place.root.glob("recordings/*/scores-*.parquet")):
        path.write_bytes(path.read_bytes()[:200])
    place.result(again).unlink()
    assert run_cells([again], place, Pace()).done == [again]
    after = read_result(place, again)
    assert after is not None
    assert (after["coreset_digest"], after["test_accuracy"]) == (before["coreset_digest"], before["test_accuracy"])
    assert Coreset.load(coreset).digest == after["coreset_digest"]


def test_scores_of_a_recording_that_was_made_again_are_not_taken_for_its_own(recorded: Path, tmp_path: Path) -> None:
    shutil.copytree(recorded / "recordings", tmp_path / "recordings")
    (folder,) = (tmp_path / "recordings").iterdir()
    shutil.rmtree(folder / "trajectory")
    shutil.rmtree(folder / "checkpoints")
    # as another machine would: the same recipe, other numbers
    record(load("digits"), replace(SURROGATE, lr=0.02), 42, folder)
    shutil.copytree(tmp_path / "recordings", tmp_path / "fresh" / "recordings")
    for scored in (tmp_path / "fresh").glob("recordings/*/scores-*.parquet"):
        scored.unlink()
    cells = [cell("aum"), cell("el2n:epochs=2")]
    kept = []
    for root in (recorded, tmp_path, tmp_path / "fresh"):
        assert run_cells(cells, Place(root), Pace()).failed == {}
        kept.append([Coreset.load(root / "coresets" / f"{one.digest}.parquet").digest for one in cells])
    assert kept[1] == kept[2] != kept[0]


def test_a_damaged_recording_costs_the_others_nothing(recorded: Path, tmp_path: Path) -> None:
    shutil.copytree(recorded / "recordings", tmp_path / "recordings")
    (next((tmp_path / "recordings").iterdir()) / "trajectory" / "manifest.json").write_text("{")
    outcome = run_cells([cell("el2n"), cell("random")], Place(tmp_path), Pace())
    assert outcome.done == [cell("random")]
    assert "CorruptFileError" in outcome.failed[cell("el2n")]


def test_an_interrupt_and_a_programming_error_pass(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for error in (KeyboardInterrupt, AttributeError):

        def load(*_: Any, error: type[BaseException] = error) -> None:
            raise error

        monkeypatch.setattr(Place, "load", load)
        with pytest.raises(error):
            run_cells([cell("random")], Place(tmp_path), Pace())


def test_a_training_that_cannot_be_measured_fails_alone(tmp_path: Path) -> None:
    impossible = cell("random", coreset=replace(CORESET, model="swin_t"))
    outcome = run_cells([impossible, cell("random")], Place(tmp_path), Pace(limit_minutes=60))
    assert outcome.done == [cell("random")]
    assert "swin_t" in outcome.failed[impossible]


def test_all_scores_that_a_cell_reads_decide_how_long_is_recorded() -> None:
    assert epochs_of(cell("el2n:epochs=2")) == 2
    long = cell("el2n:epochs=2:selector=learnable")  # which reads margins of every epoch
    assert epochs_of(long) == 6
    assert epochs_of(cell("el2n:epochs=2:selector=learnable:at=4")) == 4
    assert [epochs for _, _, epochs in recording_left([long], Place(Path("none")), pytest.fail)] == [6]


def test_a_cell_keeps_the_same_whatever_shares_its_recording(recorded: Path, tmp_path: Path) -> None:
    asked = cell("el2n:epochs=2")
    alone, beside = Place(tmp_path / "alone"), Place(recorded)
    assert run_cells([asked], alone, Pace()).done == [asked]
    digests = {(read_result(place, asked) or {})["coreset_digest"] for place in (alone, beside)}
    assert len(digests) == 1
    for place in (alone, beside):
        kept = Coreset.load(place.root / "coresets" / f"{asked.digest}.parquet")
        assert kept.source["scorer"] == {"scorer": "el2n", "params": EL2N(epochs=2).params(), "at": 2}


def test_equal_trainings_run_once(recorded: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(recorded, tmp_path / "copy")
    place, ran, told = Place(tmp_path / "copy"), [], []

    def counted(task: Any, *rest: Any) -> dict[str, Any]:
        ran.append(task.job.method)
        return run_task(task, *rest)

    monkeypatch.setattr("thresher.boards.reproduce.run_task", counted)
    first, second = cell("tdds:window=3:at=5"), cell("tdds:at=5:window=3")
    later = [cell(one.method, scale_loss="none") for one in (first, second)]  # digits' loss is not scaled in any case
    outcome = run_cells([first, second, replace(first, seed=1)], place, Pace(), lambda event, d: told.append((event, d)))
    assert (set(outcome.done), outcome.failed) == ({first, second, replace(first, seed=1)}, {})
    assert ran == [first.method, first.method]  # seeds 0 and 1
    assert sum(event == "result" for event, _ in told) == 3
    results = [read_result(place, one) for one in (first, second)]
    assert results[0] is not None
    assert results[1] is not None
    assert results[1]["trained_as"] == first.method
    assert {key for key in results[0] if results[0][key] != results[1][key]} == {"method", "cell"}
    assert run_cells(later, place, Pace()).done == later
    assert len(ran) == 2  # on another day neither
    row = board([Entry("digits", second, {"method": second.method})], (0,), place)[0]
    assert row.texts()[-1] == f"trained once, as {first.method}"
    assert board([Entry("digits", first, {"method": first.method})], (0,), place)[0].remark == ""


def test_a_training_that_fails_fails_its_twins(recorded: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*arguments: Any) -> dict[str, Any]:
        raise torch.OutOfMemoryError("CUDA out of memory")

    shutil.copytree(recorded, tmp_path / "copy")
    place, pair = Place(tmp_path / "copy"), [cell("tdds:window=3:at=5"), cell("tdds:at=5:window=3")]
    monkeypatch.setattr("thresher.boards.reproduce.run_task", full)
    outcome = run_cells(pair, place, Pace())
    assert set(outcome.failed) == set(pair)
    assert all("out of memory" in json.loads(place.failure(one).read_text())["reason"] for one in pair)
    late = run_cells(pair, place, Late(limit_minutes=1))
    assert set(late.left) == set(pair)


def test_a_training_that_fills_the_disk_ends_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(task: Any, *_: Any) -> dict[str, Any]:
        ran.append(task)
        raise OSError(errno.ENOSPC, "No space left on device")

    ran: list[Any] = []
    monkeypatch.setattr("thresher.boards.reproduce.run_task", full)
    with pytest.raises(OSError, match="No space"):
        run_cells([cell("random", seed=seed) for seed in range(3)], Place(tmp_path), Pace())
    assert len(ran) == 1  # the others would each train until they write their first checkpoint
    assert not (tmp_path / "failed").exists()


class Late(Pace):
    """A pace without time."""

    @property
    def left(self) -> float:
        return 0.0


@pytest.mark.parametrize(("engine", "device", "told"), [("ray", "cuda:1", "cuda"), ("threads", "cuda:1", "cuda:1")])
def test_a_training_on_ray_is_told_the_gpu_that_it_sees(
    engine: str, device: str, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    devices: list[str] = []

    def no_gpu(task: Any, device: str, *_: Any) -> None:
        devices.append(device)
        raise RuntimeError("no GPU")

    monkeypatch.setattr(reproduce, "run_task", no_gpu)
    monkeypatch.setattr(Place, "make_engine", lambda self: make_engine("serial"))
    outcome = run_cells([cell("random")], Place(tmp_path, device=device, engine=engine), Pace(device))
    assert devices == [told]
    assert list(outcome.failed) == [cell("random")]

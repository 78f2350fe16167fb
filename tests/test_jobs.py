"""Trainings as jobs: one that diverges leaves a result, damaged coresets are made anew, and a lock is held by one."""

from __future__ import annotations

import fcntl
import json
import os
import time
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from thresher import locks
from thresher.boards.board import as_csv, board
from thresher.boards.cells import Cell, Entry
from thresher.boards.reproduce import Place, run_cells
from thresher.coreset import Coreset
from thresher.data import load
from thresher.engines import make_engine
from thresher.errors import BusyError
from thresher.experiments import jobs
from thresher.experiments.job import Job, Task
from thresher.experiments.jobs import run_task
from thresher.experiments.pace import Pace
from thresher.experiments.rundir import locked, save_coreset
from thresher.experiments.tables import markdown, table
from thresher.files import part_of, write_json
from thresher.train.loop import Progress
from thresher.train.spec import TrainSpec

WILD = TrainSpec("tiny", epochs=2, batch_size=64, lr=1e9)


def test_a_training_that_diverges_leaves_a_result(call: Any, tmp_path: Path) -> None:
    command = ("train", "--data", "digits", "--lr", "1e9", "--epochs", "2", "--jobs", os.cpu_count(), "--out", tmp_path)
    assert "full 1 (seed 0): the training diverged" in call(*command)
    (path,) = tmp_path.glob("*.json")
    result = json.loads(path.read_text())
    assert (result["train_loss"], result["diverged"]) == (None, True)
    assert 0 <= result["test_accuracy"] < 0.5
    written = path.stat().st_mtime_ns
    assert "the training diverged" in call(*command)
    assert path.stat().st_mtime_ns == written
    row = table([result])[0]
    assert f"{100 * result['test_accuracy']:.2f}" in markdown([row])
    assert "| 1 (1 diverged) |" in markdown([row])
    said = json.loads(call(*command, "--json", "--quiet"))
    assert said["rows"][0]["n_diverged"] == 1


def test_shares_that_keep_the_same_samples_are_one_training(tmp_path: Path) -> None:
    """Both have one file: two processes at once would refuse each other."""
    data = load("digits")
    spec = TrainSpec("tiny", epochs=1, batch_size=256).to_json()
    one = Job("full", 1.0, 1437, "digits", None, data.fingerprint, spec, 0, test_fingerprint=data.test_fingerprint)
    told = list[float]()
    found = jobs.run_jobs(
        [one, replace(one, keep=0.9999999)], tmp_path, processes=2, threads=1, on_result=lambda job, _: told.append(job.keep)
    )
    assert [result["keep"] for result in found] == told == [1.0, 0.9999999]
    assert found[0]["test_accuracy"] == found[1]["test_accuracy"]
    assert len(list(tmp_path.glob("*.json"))) == 1


def test_equal_trainings_under_two_names_have_the_results_of_their_own_files(tmp_path: Path) -> None:
    """On a GPU, or on two machines whose results were copied together, they need not be the same."""
    job = Job("tdds", 0.1, 144, "digits", None, "f", {"epochs": 1}, 0)
    equal, told = [job, replace(job, method="tdds:at=10:window=5")], list[float]()
    for one, accuracy in zip(equal, (0.5, 0.625), strict=True):
        write_json(one.result_path(tmp_path), {**one.told(), "test_accuracy": accuracy, "seconds": 1.0})
    found = jobs.run_jobs(equal, tmp_path, on_result=lambda _, result: told.append(result["test_accuracy"]))
    assert [result["test_accuracy"] for result in found] == told == [0.5, 0.625]


def test_trainings_in_turn_leave_what_those_one_by_one_leave(tmp_path: Path) -> None:
    data, spec, before = load("digits"), TrainSpec("tiny", epochs=2, batch_size=256).to_json(), torch.get_num_threads()
    many = [
        Job("full", 1.0, 1437, "digits", None, data.fingerprint, spec, seed, test_fingerprint=data.test_fingerprint)
        for seed in range(3)
    ]
    epochs: list[int] = []

    def watch(job: Job, progress: Progress) -> None:
        epochs.append(job.seed)
        if len(epochs) == 4:
            raise KeyboardInterrupt

    tasks = [Task(one, one.result_path(tmp_path / "turns")) for one in many]
    with make_engine("turns", 3) as engine, pytest.raises(KeyboardInterrupt):
        engine.run(tasks, lambda one: (run_task, (one, "cpu", 1, partial(watch, one.job))), on_result=lambda *_: None)
    assert (epochs, torch.get_num_threads()) == ([0, 1, 2, 0], before)
    assert not list((tmp_path / "turns").rglob("*.lock"))  # nothing is held
    found = {way: jobs.run_jobs(many, tmp_path / way, processes=3, threads=1, engine=way) for way in ("turns", "serial")}
    assert torch.get_num_threads() == before
    turns, serial = ([{**result, "seconds": 0} for result in results] for results in found.values())
    assert turns == serial


def test_a_result_under_the_name_of_another_training_is_told(call: Any, tmp_path: Path) -> None:
    """A seed's result copied over another's would be counted twice, as two seeds that agree to the last digit."""
    command = ("train", "--data", "digits", "--epochs", "1", "--jobs", 1, "--out", tmp_path, "--seeds", "0,1")
    call(*command)
    zero, one = sorted(tmp_path.glob("*.json"))
    written = zero.read_bytes()
    one.write_bytes(written)
    said = call.refused(*command)
    assert f"Expected in {one} the result of full at keep=1 with seed 1" in said
    assert "another training's: full at keep=1 with seed 0. Delete it and run the same command again." in said
    assert one.read_bytes() == zero.read_bytes() == written
    one.unlink()
    call(*command)
    assert json.loads(one.read_text())["seed"] == 1


def test_the_best_accuracy_is_told_beside_the_last_and_names_no_other_result(call: Any, tmp_path: Path) -> None:
    plain = Job("full", 1.0, 1437, "digits", None, "f", {"epochs": 1}, 0)
    assert replace(plain, eval_every=1).digest == plain.digest
    command = ("train", "--data", "digits", "--epochs", "3", "--batch-size", "256", "--jobs", 1, "--out", tmp_path)
    assert "best over the epochs" not in call(*command)
    last = json.loads(next(tmp_path.glob("*.json")).read_text())["test_accuracy"]
    said = json.loads(call(*command[:-1], tmp_path / "looked", "--eval-every", 1, "--json", "--quiet"))
    (path,) = (tmp_path / "looked").glob("*.json")
    result = json.loads(path.read_text())
    assert path.name == next(tmp_path.glob("*.json")).name
    assert result["test_accuracy"] == last  # looking changes nothing
    assert result["best_test_accuracy"] >= last
    assert said["best_accuracy_mean"] == pytest.approx(100 * result["best_test_accuracy"])
    said = call(*command[:-1], tmp_path / "looked", "--eval-every", 1)
    assert f"best over the epochs: {100 * result['best_test_accuracy']:.2f} %, chosen on the test set" in said
    assert "Expected --eval-every as a number of epochs" in call.refused(*command, "--eval-every", "-1")
    assert "--eval-every" not in call(*command[:-1], tmp_path / "looked")  # nobody asks for it
    for folder, others in ((tmp_path, 1), (tmp_path / "looked", 2)):  # results that looked at no, or at other epochs
        said = json.loads(call(*command[:-1], folder, "--eval-every", others, "--json", "--quiet"))
        assert "best_accuracy_mean" not in said
        assert f"1 of 1 trainings had run, or had begun, without --eval-every {others}" in said["notes"][-1]


def test_a_board_tells_the_best_accuracy_where_all_trainings_do(tmp_path: Path) -> None:
    tame = TrainSpec("tiny", epochs=2, batch_size=256, lr=0.05)
    entry = Entry("x", Cell("digits", "random", 0.2, tame, tame), {"method": "random"})
    run_cells(entry.cells([0]), Place(tmp_path, threads=1, eval_every=1), Pace(), lambda *_: None)
    place = Place(tmp_path, threads=1)
    (row,) = board([entry], (0,), place)
    assert row.mean is not None
    assert row.best is not None
    assert row.best >= row.mean
    assert row.remark == f"best over the epochs {row.best:.2f}, chosen on the test set"
    assert board([entry], (0,), replace(place, eval_every=1))[0].best == row.best
    assert board([entry], (0,), replace(place, eval_every=2))[0].best is None  # it is of other epochs
    run_cells(entry.cells([1]), place, Pace(), lambda *_: None)
    assert board([entry], (0, 1), place)[0].remark == ""


def test_a_cell_that_diverges_costs_the_others_nothing(tmp_path: Path) -> None:
    tame = TrainSpec("tiny", epochs=1, batch_size=256, lr=0.05)
    cells = [Cell("digits", "random", 0.2, tame, coreset) for coreset in (WILD, tame)]
    place, told = Place(tmp_path, threads=1), list[Any]()
    outcome = run_cells(cells, place, Pace(), lambda event, d: told.append(d.get("diverged")) if event == "result" else None)
    assert (set(outcome.done), outcome.failed) == (set(cells), {})
    assert told == [True, False]
    rows = board([Entry("x", cell, {"method": "random"}) for cell in cells], (0,), place)
    assert all(row.mean is not None for row in rows)
    assert [row.status for row in rows] == ["diverged: seed 0", ""]
    assert "nan" not in as_csv(rows).lower()


class Stopped(Exception):
    """What ends a training from outside."""


@pytest.mark.parametrize("damage", [False, True], ids=["goes on", "damaged"])
def test_a_training_that_was_ended_goes_on_from_its_last_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damage: bool
) -> None:
    monkeypatch.setattr(jobs, "CHECKPOINT_SECONDS", 1e-9)
    spec = TrainSpec("tiny", epochs=4, batch_size=128, lr=0.05)
    digits = load("digits")
    job = Job("full", 1.0, len(digits.train), "digits", None, digits.fingerprint, asdict(spec), 0)
    whole = run_task(Task(job, tmp_path / "whole.json"), threads=1)
    assert not list(tmp_path.rglob("*.safetensors"))
    task, epochs = Task(job, tmp_path / "ended.json"), list[int]()

    def end(progress: Progress) -> None:
        epochs.append(progress.epoch)
        if epochs == [1, 2]:
            raise Stopped

    with pytest.raises(Stopped):
        run_task(task, threads=1, on_epoch=end)
    (checkpoint,) = (tmp_path / "unfinished").iterdir()
    if damage:
        checkpoint.write_bytes(checkpoint.read_bytes()[:-7])
    found = run_task(task, threads=1, on_epoch=end)
    assert epochs == [1, 2, *([1, 2] if damage else []), 3, 4]
    assert {**found, "seconds": 0} == {**whole, "seconds": 0}
    assert not checkpoint.exists()


def test_what_a_training_left_that_was_killed_while_it_wrote_its_checkpoint_is_removed(tmp_path: Path) -> None:
    spec, digits = TrainSpec("tiny", epochs=1, batch_size=256), load("digits")
    job = Job("full", 1.0, len(digits.train), "digits", None, digits.fingerprint, asdict(spec), 0)
    task, other = Task(job, tmp_path / "mine [1].json"), Task(job, tmp_path / "others.json")
    rests = []
    for one in (task, other):
        rests.append(part_of(jobs._checkpoint(one)))
        rests[-1].parent.mkdir(exist_ok=True)
        rests[-1].write_bytes(b"half")
    run_task(task, threads=1)
    assert [rest.exists() for rest in rests] == [False, True]  # another process may be writing the other


@pytest.mark.parametrize(("threads", "workers"), [(1, 0), (2, 2), (None, 2)])
def test_a_training_with_one_core_reads_its_pictures_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, threads: int | None, workers: int
) -> None:
    def spy(*_: Any, **options: Any) -> None:
        assert options["workers"] == workers
        raise Stopped

    monkeypatch.setattr(jobs, "fit", SimpleNamespace(steps=spy))
    digits = load("digits")
    job = Job("full", 1.0, len(digits.train), "digits", None, digits.fingerprint, asdict(TrainSpec("tiny", epochs=1)), 0)
    with pytest.raises(Stopped):
        run_task(Task(job, tmp_path / "one.json"), threads=threads)


def test_a_training_on_other_data_does_not_go_on_from_the_checkpoint() -> None:
    job = Job("full", 1.0, 1437, "digits", None, "f", {"epochs": 1}, 0)
    paths = {jobs._checkpoint(Task(one, Path("cell.json"))) for one in (job, replace(job, fingerprint="g"))}
    assert len(paths) == 2


def test_results_keep_their_names() -> None:
    job = Job("full", 1.0, 1437, "digits", None, "f", {"epochs": 1}, 0, test_fingerprint="t")
    assert job.digest == "c570ba5981e4d1f6"  # as it was before results knew of test samples


def test_a_damaged_coreset_is_made_anew(tmp_path: Path) -> None:
    path, coreset = tmp_path / "a" / "kept.parquet", Coreset(np.array([1, 4]), None, 10, {"method": "x"})
    save_coreset(coreset, path)
    written = path.stat().st_mtime_ns
    save_coreset(coreset, path)
    assert path.stat().st_mtime_ns == written
    path.write_bytes(path.read_bytes()[:100])
    save_coreset(coreset, path)
    assert Coreset.load(path).digest == coreset.digest
    sidecar = path.with_name(path.name + ".json")
    sidecar.write_text("{")
    save_coreset(coreset, path)
    assert Coreset.load(path).digest == coreset.digest
    sidecar.unlink()  # as where a process was killed between the two files
    save_coreset(coreset, path)
    assert sidecar.is_file()


def test_the_same_samples_for_another_reason_are_written(tmp_path: Path) -> None:
    path, ids = tmp_path / "kept.parquet", np.array([1, 4])
    save_coreset(Coreset(ids, None, 10, {"method": "x", "check": {"holds": False}}), path)
    save_coreset(Coreset(ids, None, 10, {"method": "x", "window": (1, 2)}), path)
    assert Coreset.load(path).source == {"method": "x", "window": [1, 2]}
    written = path.stat().st_mtime_ns
    save_coreset(Coreset(ids, None, 10, {"method": "x", "window": (1, 2)}), path)
    assert path.stat().st_mtime_ns == written


def test_a_lock_file_that_was_removed_before_it_was_locked_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, calls = tmp_path / "one.lock", list[int]()

    def flock(file: Any, operation: int) -> None:
        if not calls:
            path.unlink()  # its holder ends after it was opened here, before it is locked
        calls.append(operation)
        fcntl.flock(file, operation)

    monkeypatch.setattr(locks, "fcntl", SimpleNamespace(flock=flock, LOCK_EX=fcntl.LOCK_EX, LOCK_NB=fcntl.LOCK_NB))
    with locked(path):
        assert path.exists()
        with pytest.raises(BusyError), locked(path):
            pass
    assert len(calls) == 3
    assert not path.exists()


def test_trainings_that_begin_at_once_load_their_data_once(monkeypatch: pytest.MonkeyPatch) -> None:
    loads: list[str] = []

    def slowly(name: str, *_: Any, **__: Any) -> Any:
        loads.append(name)
        time.sleep(0.2)
        return SimpleNamespace(name=name)

    monkeypatch.setattr(jobs, "load", slowly)
    found: list[Any] = []
    with make_engine("threads", 4) as engine:
        engine.run(
            range(4), lambda _: (jobs.cached_data, ("begun at once", None)), on_result=lambda _, data: found.append(data)
        )
    assert loads == ["begun at once"]
    assert len({id(data) for data in found}) == 1

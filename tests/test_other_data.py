"""Results and recordings are those of the data they were made from: other data at hand are refused, none are no obstacle."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from thresher.boards import place as places
from thresher.boards.board import board
from thresher.boards.cells import Cell, Entry
from thresher.boards.place import Place, read_result
from thresher.boards.reproduce import run_cells
from thresher.data import ArraySplit, Data, load
from thresher.errors import FingerprintError, InputError, RunDirectoryError
from thresher.experiments.job import Job, Task
from thresher.experiments.jobs import run_jobs, run_task
from thresher.experiments.pace import Pace
from thresher.experiments.recording import record
from thresher.experiments.rundir import RunDirectory, digest_of
from thresher.train.spec import TrainSpec

TINY = TrainSpec("tiny", epochs=1, batch_size=256, lr=0.05)
FOLDER = Cell("folder", "random", 0.5, TINY, TINY)


def pictures(root: Path, seed: int, test_seed: int = 0) -> Path:
    """Write an image folder of two classes; the seeds decide the sizes of its files."""
    for half, number in (("train", seed), ("val", test_seed)):
        for name in ("cat", "dog"):
            path = root / half / name / "0.bmp"
            path.parent.mkdir(parents=True)
            Image.fromarray(np.zeros((4, 4 + number, 3), np.uint8)).save(path)
    return root


def write_result(place: Place, cell: Cell, data: Data | None, **changes: Any) -> None:
    """Write a result of a cell, measured on `data`; None: on data that it does not name."""
    known = {} if data is None else {"fingerprint": data.fingerprint, "test_fingerprint": data.test_fingerprint}
    numbers = {"test_accuracy": 0.75, "seed": cell.seed, "keep": cell.keep, "kept": 1, "seconds": 1.0, "steps": 1}
    place.result(cell).parent.mkdir(parents=True, exist_ok=True)
    place.result(cell).write_text(json.dumps({**numbers, "method": cell.method, "cell": cell.to_json(), **known, **changes}))


def other(data: Data, *, train: bool = False, test: bool = False) -> Data:
    """Return the data with a pixel of one half changed."""

    def changed(split: Any) -> ArraySplit:
        images = split.images.clone()
        images[0, 0, 0, 0] ^= 1
        return ArraySplit(images, split.targets)

    return replace(
        data,
        train=changed(data.train) if train else data.train,
        test=changed(data.test) if test else data.test,
    )


def test_the_halves_have_fingerprints_of_their_own() -> None:
    data = load("digits")
    changed = other(data, test=True)
    assert changed.fingerprint == data.fingerprint
    assert changed.test_fingerprint != data.test_fingerprint != data.fingerprint
    assert load("digits", mislabel="0.2").test_fingerprint == data.test_fingerprint
    assert load("digits", holdout="0.2").test_fingerprint != load("digits", holdout="0.3").test_fingerprint


@pytest.mark.parametrize(("seed", "test_seed", "half"), [(1, 0, "training samples"), (0, 1, "test samples")])
def test_results_of_another_folder_are_not_given_out(tmp_path: Path, seed: int, test_seed: int, half: str) -> None:
    place = Place(tmp_path, pictures(tmp_path / "A", 0))
    write_result(place, FOLDER, place.load(FOLDER))
    assert run_cells([FOLDER], place, Pace()).done == [FOLDER]

    told: list[str] = []
    elsewhere = Place(tmp_path, pictures(tmp_path / "B", seed, test_seed))
    outcome = run_cells([FOLDER], elsewhere, Pace(), lambda event, d: told.append(str(d.get("text", ""))))
    assert outcome.done == []
    assert f"it is of other data: {half}" in outcome.failed[FOLDER]
    assert any(half in text for text in told)
    row = board([Entry("x", FOLDER, {"method": "random"})], (0,), elsewhere)[0]
    assert row.mean is None
    assert "is of other data" in row.status
    with pytest.raises(InputError, match=r"Give the --data-dir it was made with, or choose another --out"):
        read_result(elsewhere, FOLDER)


def test_results_without_data_are_given_out_and_it_is_said(tmp_path: Path) -> None:
    told: list[str] = []
    place = Place(tmp_path, tmp_path / "nowhere")
    cells = [FOLDER, replace(FOLDER, seed=1)]
    for cell in cells:
        write_result(place, cell, Place(tmp_path, pictures(tmp_path / f"A{cell.seed}", 0)).load(cell))
    outcome = run_cells(cells, place, Pace(), lambda event, d: told.append(str(d.get("text", ""))))
    assert (outcome.done, outcome.failed) == (cells, {})
    assert any("2 results on folder could not be compared with the data: Expected the folders" in text for text in told)


def test_results_that_do_not_say_of_which_data_they_are(tmp_path: Path) -> None:
    place = Place(tmp_path, pictures(tmp_path / "A", 0))
    write_result(place, FOLDER, None)
    assert run_cells([FOLDER], place, Pace()).done == [FOLDER]


def test_public_data_are_loaded_for_trainings_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = load("digits")
    monkeypatch.setattr(places, "cached_data", lambda *_: pytest.fail("nobody asked for the data"))
    place, done = Place(tmp_path), Cell("digits", "random", 0.1, TINY, TINY)
    write_result(place, done, other(data, train=True))
    told: list[Any] = []
    assert run_cells([done], place, Pace(), lambda event, d: told.append(d.get("text"))).done == [done]
    assert told == [None]

    # where they are loaded for another cell, which here fails, they are compared
    monkeypatch.setattr(places, "cached_data", lambda *_: data)
    impossible = replace(done, method="random", coreset=replace(TINY, model="swin_t"))
    outcome = run_cells([done, impossible], place, Pace())
    assert outcome.done == []
    assert "training samples" in outcome.failed[done]
    assert impossible in outcome.failed


def test_a_finished_recording_of_other_data_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data, cell = load("digits"), Cell("digits", "el2n:epochs=1", 0.1, TINY, TINY)
    folder = tmp_path / "recordings" / digest_of(cell.source)
    record(data, TINY, cell.surrogate_seed, folder)
    monkeypatch.setattr(places, "cached_data", lambda *_: other(data, train=True))
    outcome = run_cells([cell], Place(tmp_path), Pace())
    assert "Expected a recording of the digits at hand" in outcome.failed[cell]
    assert "Give the --data-dir it was made with, or choose another --out" in outcome.failed[cell]
    assert not (tmp_path / "results").exists()

    monkeypatch.setattr(places, "cached_data", lambda *_: data)
    assert run_cells([cell], Place(tmp_path), Pace()).done == [cell]
    made = json.loads(Place(tmp_path).result(cell).read_text())
    assert (made["fingerprint"], made["test_fingerprint"]) == (data.fingerprint, data.test_fingerprint)


def test_a_training_on_another_test_set_is_another_result(tmp_path: Path) -> None:
    data = load("digits")
    job = Job("full", 1.0, 1437, "digits", None, data.fingerprint, TINY.to_json(), 0, test_fingerprint=data.test_fingerprint)
    there = {**asdict(job), "test_accuracy": 0.5, "seconds": 1.0}
    path = job.result_path(tmp_path)
    path.write_text(json.dumps(there))
    assert run_task(Task(job, path))["test_accuracy"] == 0.5
    measured_anew = replace(job, test_fingerprint=other(data, test=True).test_fingerprint)
    # results of before keep their names
    assert measured_anew.digest == replace(job, test_fingerprint=None).digest == job.digest
    with pytest.raises(FingerprintError, match="it is of other data: test samples"):
        run_task(Task(measured_anew, path))
    with pytest.raises(FingerprintError, match="it is of other data: test samples"):
        run_jobs([measured_anew], tmp_path)
    path.write_text(json.dumps({key: value for key, value in there.items() if key != "test_fingerprint"}))
    assert run_jobs([measured_anew], tmp_path)[0]["test_accuracy"] == 0.5
    with pytest.raises(FingerprintError, match="Expected a training planned for the digits at hand"):
        run_task(Task(measured_anew, tmp_path / "new.json"))


def test_a_run_compares_the_test_set_where_it_is_known(tmp_path: Path) -> None:
    RunDirectory(tmp_path / "old", {"a": 1}).close()
    RunDirectory(tmp_path / "old", {"a": 1, "test_fingerprint": "x"}).close()
    RunDirectory(tmp_path / "new", {"a": 1, "test_fingerprint": "x"}).close()
    RunDirectory(tmp_path / "new", {"a": 1}).close()
    (tmp_path / "new" / "scores.parquet").touch()  # something was finished there
    with pytest.raises(RunDirectoryError, match="different: test_fingerprint"):
        RunDirectory(tmp_path / "new", {"a": 1, "test_fingerprint": "y"})

"""Cells whose trainings are the same under different names: each is trained once, and its result stands for all of them.

`tdds` and `tdds:at=10:window=5` keep the same samples where the published setting is (10, 5). What a training gives is
determined by samples, recipe, seed and scale of the loss, which `Job.digest` names; the method's name is not among them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from thresher.boards.cells import Cell
from thresher.boards.place import Place
from thresher.errors import ThresherError
from thresher.experiments.job import Job, Task
from thresher.experiments.rundir import locked, read_training
from thresher.files import write_json

_FIELDS = [field.name for field in fields(Job)]
_Key = tuple[str, str | None]


def _key(job: Job) -> _Key:
    return job.digest, job.test_fingerprint


def paired(tasks: Mapping[Cell, Task]) -> dict[Cell, list[Cell]]:
    """Return the first cell of every training, with the cells that would only repeat it on the same test samples."""
    firsts: dict[_Key, Cell] = {}
    found: dict[Cell, list[Cell]] = {}
    for cell, task in tasks.items():
        first = firsts.setdefault(_key(task.job), cell)
        if first is cell:
            found[cell] = []
        else:
            found[first].append(cell)
    return found


def trained(tasks: Mapping[Cell, Task], place: Place) -> dict[Cell, dict[str, Any]]:
    """Return the results that the place already holds for these cells under other cells' names."""
    wanted: dict[_Key, list[Cell]] = {}
    for cell, task in tasks.items():
        wanted.setdefault(_key(task.job), []).append(cell)
    found = {}
    for path in sorted((place.root / "results").glob("*.json")):
        try:
            result = read_training(path)
            key = _key(Job(**{"data_dir": None, **{name: result[name] for name in _FIELDS if name in result}}))
        except (ThresherError, OSError, TypeError, ValueError, AttributeError):
            continue  # whatever it is, it is no training's result
        found.update(dict.fromkeys(wanted.get(key, ()), result))
    return found


def adopt(task: Task, result: Mapping[str, Any]) -> dict[str, Any]:
    """Write a training's result as that of `task` too, whose training is equal, and return it.

    Its `trained_as` names the method it was trained for. Raises BusyError while another process writes the file.
    """
    own = {"method": task.job.method, "keep": task.job.keep, "scale_column": task.job.scale_column, **task.about}
    with locked(task.path.with_suffix(".lock")):
        adopted = {**result, **own, "trained_as": result.get("trained_as", result["method"])}
        if not task.path.exists():
            write_json(task.path, adopted)
    return adopted

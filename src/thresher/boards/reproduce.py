"""Runs the cells that have no result yet: records what they share once, selects, trains, and can be stopped anywhere.

    recordings/<digest>/        a run directory per surrogate, shared by all cells that need it
    coresets/<digest>.parquet   one per cell, with a .json file; copy them, too, and no recording is needed
    results/<digest>.json       one finished cell each; copy them together from several machines
    failed/<digest>.json        why a cell failed the last time it was tried

A digest names everything that determines a cell but the files of its data: their fingerprints stand in recordings, coresets
and results, and are compared. So whatever stands there is complete and nothing is done twice.

Where a recording is there, coresets are selected from it. Where it is not, or not for as long as is needed, a coreset that
is there trains its cell (`tasks.from_coresets`); if its loss is scaled, recordings/<digest>/scores-<digest>.parquet has to
be there, too. That it is what would be selected today rests on the cell's digest, which holds `cells.RULES`: the code is not
compared, so whoever changes what a cell keeps must raise that. It does not know of scorers and selectors of other packages:
after a change to one, delete its coresets as well as its results.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from thresher.boards.cells import Cell
from thresher.boards.outcome import Fail, Outcome, each, mark_failed, spared, work_of
from thresher.boards.place import Place
from thresher.boards.tasks import epochs_of, from_coresets, from_recording, unrecorded
from thresher.boards.twins import adopt, paired, trained
from thresher.data import Data
from thresher.errors import BusyError, CorruptFileError
from thresher.experiments.events import Notify, kind_of, stepped, watched
from thresher.experiments.job import Task
from thresher.experiments.jobs import OnEpoch, run_task
from thresher.experiments.pace import Pace
from thresher.experiments.recording import identity, record
from thresher.experiments.rundir import RunDirectory, digest_of, refuse_other_data
from thresher.train.spec import TrainSpec
from thresher.trajectory.layout import MANIFEST
from thresher.trajectory.reader import Trajectory


def run_cells(cells: Iterable[Cell], place: Place, pace: Pace, notify: Notify = lambda event, details: None) -> Outcome:
    """Run what is missing of `cells`, sharing recordings; return what became of each.

    A cell that fails (out of memory, a foreign file in its place, data that are not there or not those of its recording) is
    marked with the reason and the others go on. `pace` holds the time limit: nothing is started that cannot finish; a
    recording goes as many epochs as fit and is continued the next time.

    Results that are there are compared with the data at hand; public data are not loaded for that alone.
    """
    outcome = Outcome()
    groups: dict[str, list[Cell]] = {}
    for cell in outcome.add_finished(cells, place, notify):
        groups.setdefault(digest_of(cell.source if cell.recorded else cell.origin), []).append(cell)
    unknown = [cell for cell in outcome.done if place.fingerprints(cell) is None and not place.unread(cell)]
    fail = partial(mark_failed, outcome, place, notify)
    todo = [cell for group in groups.values() for cell in group]
    notify("jobs", {"total": len(todo), "work": sum(work_of(cell) for cell in todo)})
    for key, group in groups.items():
        with spared(partial(_rest_failed, group, outcome, fail)):
            _run_group(key, group, place, pace, notify, outcome, fail)
    again = {cell: None for cell in unknown if place.fingerprints(cell) is not None}  # their data were loaded for others
    outcome.done = [cell for cell in outcome.done if cell not in again]
    outcome.add_finished(again, place, notify)
    return outcome


def _rest_failed(cells: Iterable[Cell], outcome: Outcome, fail: Fail, error: Exception) -> None:
    """Pass the cells without an outcome yet to `fail`."""
    _failed(outcome.open(cells), fail, error)


def _failed(cells: Iterable[Cell], fail: Fail, error: Exception) -> None:
    for cell in cells:
        fail(cell, error)


def _run_group(key: str, cells: list[Cell], place: Place, pace: Pace, notify: Notify, outcome: Outcome, fail: Fail) -> None:
    """Plan the trainings of cells that share a surrogate, or the data if they need none, and run them; record for those
    whose coresets are not there."""

    def train(tasks: Mapping[Cell, Task]) -> None:
        _train(tasks, place, pace, notify, outcome, fail)

    data, folder = place.load(cells[0]), place.root / "recordings" / key
    if not cells[0].recorded:
        train(each(cells, lambda cell: unrecorded(cell, data, place), fail))
        return
    stored, needed = _parted(folder, each(cells, epochs_of, fail), place, notify, fail)
    if stored:
        train(stored)  # first, since a recording may take all the time that is left
    if not needed:
        return
    try:
        recorded = _record(folder, cells[0], max(needed.values()), data, place, pace, notify)
    except BusyError:
        recorded = False
    if recorded:
        train(from_recording(folder, list(needed), data, place, notify, fail))
    else:
        outcome.left.update(dict.fromkeys(needed, "its recording is not finished"))


def _parted(
    folder: Path, needed: dict[Cell, int], place: Place, notify: Notify, fail: Fail
) -> tuple[dict[Cell, Task], dict[Cell, int]]:  # fmt: skip
    """Return the trainings of the cells that do without the recording in `folder`, and what is `needed` of the others.

    `needed` says after how many epochs of it a cell can be selected. If they are all there, no cell does without.
    """
    try:
        there = _epochs_recorded(folder)
    except CorruptFileError:  # raised again for those that need it
        there = 0
    if max(needed.values(), default=0) <= there:
        return {}, needed
    found = from_coresets(folder, needed, place, notify, fail)
    return (
        {cell: task for cell, task in found.items() if task is not None},
        {cell: needed[cell] for cell, task in found.items() if task is None},
    )


def _record(
    folder: Path, cell: Cell, needed: int, data: Data, place: Place, pace: Pace, notify: Notify
) -> bool:  # fmt: skip
    """Record the cell's surrogate for as many epochs as are needed and time allows; return whether that is all of them.

    Raises FingerprintError where what is recorded are the dynamics of other data.
    """
    spec, seed = cell.surrogate, cell.surrogate_seed
    recording = _recorded(folder)
    if recording is not None:
        refuse_other_data(f"a recording of the {data.name} at hand in {folder}", recording.info, data.fingerprint, None)
    there = 0 if recording is None else recording.epochs
    if there >= needed:
        return True
    fitting = pace.steps_left(data, spec) // -(-len(data.train) // spec.batch_size)
    until = min(needed, there + fitting)
    if until <= there:
        return False
    label = f"recording {spec.model} on {data.name}"
    with RunDirectory(folder, identity(data, spec, seed)):
        record(
            data, spec, seed, folder, device=place.device, until=until,
            on_epoch=lambda p: notify("epoch", {"label": label, "epoch": p.epoch, "epochs": needed, "loss": p.loss}),
            on_step=stepped(notify, label),
        )  # fmt: skip
    return until >= needed


def recording_left(
    cells: Iterable[Cell], place: Place, fail: Fail, notify: Notify = lambda event, details: None
) -> list[tuple[Data, TrainSpec, int]]:  # fmt: skip
    """Return (data, surrogate, epochs still to record) for every unfinished recording that these cells need.

    Cells for which that cannot be determined are passed to `fail`.
    """
    groups: dict[str, list[Cell]] = {}
    for cell in cells:
        if cell.recorded:
            groups.setdefault(digest_of(cell.source), []).append(cell)
    found = []
    for key, group in groups.items():
        folder, needed = place.root / "recordings" / key, each(group, epochs_of, fail)
        left: dict[Cell, int] = {}
        with spared(partial(_failed, needed, fail)):
            _, left = _parted(folder, needed, place, notify, fail)
        with spared(partial(_failed, left, fail)):
            epochs = max(left.values(), default=0) - (_epochs_recorded(folder) if left else 0)
            if epochs > 0:
                found.append((place.load(group[0]), group[0].surrogate, epochs))
    return found


def _recorded(folder: Path) -> Trajectory | None:
    store = folder / "trajectory"
    return Trajectory.open(store) if (store / MANIFEST).exists() else None


def _epochs_recorded(folder: Path) -> int:
    recording = _recorded(folder)
    return 0 if recording is None else recording.epochs


def _train(
    tasks: Mapping[Cell, Task], place: Place, pace: Pace, notify: Notify, outcome: Outcome, fail: Fail
) -> None:  # fmt: skip
    """Run the trainings that fit into the time left, equal ones once (`twins`); write down why one failed."""

    def done(cell: Cell, result: Mapping[str, Any]) -> None:
        outcome.done.append(cell)
        place.failure(cell).unlink(missing_ok=True)
        label = kind_of(tasks[cell].job)
        notify("result", {**result, "method": cell.method, "keep": cell.keep, "work": work_of(cell), "label": label})

    def adopted(cells: Iterable[Cell], result: Mapping[str, Any]) -> None:
        for cell, written in each(cells, lambda cell: adopt(tasks[cell], result), fail).items():
            done(cell, written)

    notify("jobs", {"total": 0, "work": 0})  # those announced begin: until now something else took the time
    for cell, result in trained(tasks, place).items():
        adopted([cell], result)
    twins = paired({cell: tasks[cell] for cell in outcome.open(tasks)})

    def on_failure(cell: Cell, error: Exception) -> None:
        _failed((cell, *twins[cell]), fail, error)

    def admit(cell: Cell) -> bool:
        with spared(partial(on_failure, cell)):  # a training that cannot be measured cannot be run
            if pace.fits(place.load(cell), cell.coreset, tasks[cell].job.kept):
                return True
            outcome.left.update(dict.fromkeys([cell, *twins[cell]], "the time that is left is too short"))
        return False

    def on_result(cell: Cell, result: dict[str, Any]) -> None:
        if place.device.startswith("cuda"):  # there trainings share the device, and how well is only seen
            pace.learn(place.load(cell), cell.coreset, tasks[cell].job.kept, result["seconds"])
        done(cell, result)
        adopted(twins[cell], result)

    def watch(cell: Cell) -> OnEpoch:
        return partial(watched(notify, work_of(cell)), tasks[cell].job)

    with place.make_engine() as engine:
        inside = place.engine != "ray" and (engine.workers == 1 or len(twins) == 1)
        engine.run(
            list(twins),
            lambda cell: (run_task, (tasks[cell], place.training_device, place.threads, watch(cell) if inside else None)),
            on_result=on_result, on_failure=on_failure, admit=admit,
        )  # fmt: skip

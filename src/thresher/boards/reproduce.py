"""Runs the cells that have no result yet: records shared surrogates once, selects, trains; can be interrupted at any time.

    recordings/<digest>/        a run directory per surrogate, shared by all cells that need it
    coresets/<digest>.parquet   one per cell, with a .json file; where they are copied, no recording is needed
    results/<digest>.json       one per finished cell; results of several machines are merged by copying
    failed/<digest>.json        why a cell failed the last time it was tried

A digest names everything that determines a cell except the files of its data; the fingerprints of these are stored in
recordings, coresets and results, and are compared. So every file is complete and nothing is done twice.

If there is a recording, coresets are selected from it. If there is none, or it lacks epochs, a cell is trained on the
coreset that is there (`tasks.from_coresets`); if its loss is scaled, recordings/<digest>/scores-<digest>.parquet must be
there, too. Whether the same coreset would be selected today is not checked: `cells.RULES` is part of the digest, and whoever
changes what a cell keeps must raise it. It does not cover scorers and selectors of other packages: after a change to one,
delete its coresets as well as its results.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from thresher.boards.cells import Cell
from thresher.boards.outcome import Fail, Outcome, disk_full, each, mark_failed, spared, work_of
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


@dataclass(frozen=True)
class _Run:
    """One call of `run_cells`: where its cells run, how much time is left, who is notified, and what became of the cells."""

    place: Place
    pace: Pace
    notify: Notify
    outcome: Outcome = field(default_factory=Outcome)

    def fail(self, cell: Cell, error: Exception) -> None:
        """Write down why a cell failed."""
        mark_failed(self.outcome, self.place, self.notify, cell, error)

    def fail_rest(self, cells: Iterable[Cell], error: Exception) -> None:
        """Write down why those of the cells failed that have no outcome yet."""
        _fail_all(self.outcome.open(cells), self.fail, error)


def run_cells(cells: Iterable[Cell], place: Place, pace: Pace, notify: Notify = lambda event, details: None) -> Outcome:
    """Run what is missing of `cells`, sharing recordings; return what became of each.

    A cell that fails (out of memory, a foreign file in its place, data that are missing or not those of its recording) is
    marked with the reason, and the others go on. `pace` holds the time limit: nothing is started that cannot finish in time;
    a recording goes as many epochs as fit and is continued the next time.

    Results that are there are compared with the data at hand; public data are not loaded for that alone.
    """
    run = _Run(place, pace, notify)
    outcome = run.outcome
    groups: dict[str, list[Cell]] = {}
    for cell in outcome.add_finished(cells, place, notify):
        groups.setdefault(digest_of(cell.source if cell.recorded else cell.origin), []).append(cell)
    unknown = [cell for cell in outcome.done if place.fingerprints(cell) is None and not place.unread(cell)]
    todo = [cell for group in groups.values() for cell in group]
    notify("jobs", {"total": len(todo), "work": sum(work_of(cell) for cell in todo)})
    for key, group in groups.items():
        with spared(partial(run.fail_rest, group)):
            _run_group(key, group, run)
    again = {cell: None for cell in unknown if place.fingerprints(cell) is not None}  # their data were loaded for others
    outcome.done = [cell for cell in outcome.done if cell not in again]
    outcome.add_finished(again, place, notify)
    return outcome


def _fail_all(cells: Iterable[Cell], fail: Fail, error: Exception) -> None:
    for cell in cells:
        fail(cell, error)


def _run_group(key: str, cells: list[Cell], run: _Run) -> None:
    """Plan the trainings of cells that share a surrogate, or the data if they need none, and run them; record for those
    whose coresets are not there."""
    place = run.place
    data, folder = place.load(cells[0]), place.root / "recordings" / key
    if not cells[0].recorded:
        _train(each(cells, lambda cell: unrecorded(cell, data, place), run.fail), run)
        return
    stored, needed = _parted(folder, each(cells, epochs_of, run.fail), place, run.notify, run.fail)
    if stored:
        _train(stored, run)  # first, since a recording may take all the time that is left
    if not needed:
        return
    try:
        recorded = _record(folder, cells[0], max(needed.values()), data, run)
    except BusyError:
        recorded = False
    if recorded:
        _train(from_recording(folder, list(needed), data, place, run.notify, run.fail), run)
    else:
        run.outcome.left.update(dict.fromkeys(needed, "its recording is not finished"))


def _parted(
    folder: Path, needed: dict[Cell, int], place: Place, notify: Notify, fail: Fail
) -> tuple[dict[Cell, Task], dict[Cell, int]]:  # fmt: skip
    """Return the trainings of the cells that do not need the recording in `folder`, and what is `needed` of the others.

    `needed` says how many of its epochs a cell's selection reads. If they are all recorded, every cell is selected anew.
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


def _record(folder: Path, cell: Cell, needed: int, data: Data, run: _Run) -> bool:
    """Record the cell's surrogate for as many of the `needed` epochs as time allows; return whether all are recorded.

    Raises FingerprintError if the recording that is there is of other data.
    """
    spec, seed = cell.surrogate, cell.surrogate_seed
    recording = _recorded(folder)
    if recording is not None:
        refuse_other_data(f"a recording of the {data.name} at hand in {folder}", recording.info, data.fingerprint, None)
    there = 0 if recording is None else recording.epochs
    if there >= needed:
        return True
    fitting = run.pace.steps_left(data, spec) // -(-len(data.train) // spec.batch_size)
    until = min(needed, there + fitting)
    if until <= there:
        return False
    label = f"recording {spec.model} on {data.name}"
    with RunDirectory(folder, identity(data, spec, seed)):
        record(
            data, spec, seed, folder, device=run.place.device, until=until,
            on_epoch=lambda p: run.notify("epoch", {"label": label, "epoch": p.epoch, "epochs": needed, "loss": p.loss}),
            on_step=stepped(run.notify, label),
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
        with spared(partial(_fail_all, needed, fail)):
            _, left = _parted(folder, needed, place, notify, fail)
        with spared(partial(_fail_all, left, fail)):
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


def _train(tasks: Mapping[Cell, Task], run: _Run) -> None:
    """Run the trainings that fit into the time left, equal ones once (`twins`); write down why one failed."""
    place, pace, outcome = run.place, run.pace, run.outcome

    def done(cell: Cell, result: Mapping[str, Any]) -> None:
        outcome.done.append(cell)
        place.failure(cell).unlink(missing_ok=True)
        label = kind_of(tasks[cell].job)
        run.notify("result", {**result, "method": cell.method, "keep": cell.keep, "work": work_of(cell), "label": label})

    def adopted(cells: Iterable[Cell], result: Mapping[str, Any]) -> None:
        for cell, written in each(cells, lambda cell: adopt(tasks[cell], result), run.fail).items():
            done(cell, written)

    run.notify("jobs", {"total": 0, "work": 0})  # the announced trainings begin: until now something else took the time
    for cell, result in trained(tasks, place).items():
        adopted([cell], result)
    twins = paired({cell: tasks[cell] for cell in outcome.open(tasks)})

    def on_failure(cell: Cell, error: Exception) -> None:
        if disk_full(error):
            raise error
        _fail_all((cell, *twins[cell]), run.fail, error)

    def admit(cell: Cell) -> bool:
        with spared(partial(on_failure, cell)):  # a training that cannot be measured cannot be run
            if pace.fits(place.load(cell), cell.coreset, tasks[cell].job.kept):
                return True
            outcome.left.update(dict.fromkeys([cell, *twins[cell]], "the time that is left is too short"))
        return False

    def on_result(cell: Cell, result: dict[str, Any]) -> None:
        if place.device.startswith("cuda"):  # trainings share the device, and only they can show how well
            pace.learn(place.load(cell), cell.coreset, tasks[cell].job.kept, result["seconds"])
        done(cell, result)
        adopted(twins[cell], result)

    def watch(cell: Cell) -> OnEpoch:
        return partial(watched(run.notify, work_of(cell)), tasks[cell].job)

    with place.make_engine() as engine:
        inside = place.engine != "ray" and (engine.workers == 1 or len(twins) == 1)
        engine.run(
            list(twins),
            lambda cell: (run_task, (tasks[cell], place.training_device, place.threads, watch(cell) if inside else None)),
            on_result=on_result, on_failure=on_failure, admit=admit,
        )  # fmt: skip

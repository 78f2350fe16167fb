"""Runs the cells that have no result yet: records what they share once, selects, trains, and can be stopped anywhere.

    recordings/<digest>/        a run directory per surrogate, shared by all cells that need it
    coresets/<digest>.parquet   one per cell
    results/<digest>.json       one finished cell each; copy them together from several machines
    failed/<digest>.json        why a cell failed the last time it was tried

A digest names everything that determines a cell but the files of its data: their fingerprints stand in recordings and
results, and are compared. So whatever stands there is complete and nothing is done twice.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from thresher.boards.cells import Cell
from thresher.boards.outcome import Fail, Outcome, each, mark_failed, spared, work_of
from thresher.boards.place import Place
from thresher.boards.twins import adopt, paired, trained
from thresher.data import Data
from thresher.derivation import settle
from thresher.errors import BusyError, CorruptFileError, MissingFileError
from thresher.experiments.columns import Columns, column_names
from thresher.experiments.events import Notify, kind_of, stepped, watched
from thresher.experiments.job import Job, Task, values_digest
from thresher.experiments.jobs import OnEpoch, run_task
from thresher.experiments.ledger import epochs_needed
from thresher.experiments.pace import Pace
from thresher.experiments.recording import identity, record
from thresher.experiments.rundir import RunDirectory, digest_of, refuse_other_data, save_coreset
from thresher.experiments.scoring import choose, score, unrecorded
from thresher.experiments.study import scales_loss
from thresher.experiments.tables import FULL
from thresher.methods import ResolvedMethod, resolve
from thresher.replay import Request, check_requests
from thresher.score_table import read_scores
from thresher.train.spec import TrainSpec
from thresher.trajectory.layout import MANIFEST
from thresher.trajectory.reader import Trajectory
from thresher.types import Pool, Scores


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
    """Record for cells that share a surrogate (or, on the same data, need none), plan their trainings and run them."""
    data, folder = place.load(cells[0]), place.root / "recordings" / key
    if not cells[0].recorded:
        tasks = each(cells, lambda cell: _unrecorded(cell, data, place), fail)
    else:
        needed = each(cells, _epochs_needed, fail)
        try:
            recorded = bool(needed) and _record(folder, cells[0], max(needed.values()), data, place, pace, notify)
        except BusyError:
            recorded = False
        if not recorded:
            outcome.left.update(dict.fromkeys(needed, "its recording is not finished"))
            return
        tasks = _planned(folder, list(needed), data, place, notify, fail)
    _train(tasks, place, pace, notify, outcome, fail)


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


def recording_left(cells: Iterable[Cell], place: Place, fail: Fail) -> list[tuple[Data, TrainSpec, int]]:
    """Return (data, surrogate, epochs still to record) for every unfinished recording that these cells need.

    Cells for which that cannot be determined are passed to `fail`.
    """
    groups: dict[str, list[Cell]] = {}
    for cell in cells:
        if cell.recorded:
            groups.setdefault(digest_of(cell.source), []).append(cell)
    found = []
    for key, group in groups.items():
        needed = each(group, _epochs_needed, fail)
        with spared(partial(_failed, needed, fail)):
            recording = _recorded(place.root / "recordings" / key)
            epochs = max(needed.values(), default=0) - (0 if recording is None else recording.epochs)
            if epochs > 0:
                found.append((place.load(group[0]), group[0].surrogate, epochs))
    return found


def _recorded(folder: Path) -> Trajectory | None:
    store = folder / "trajectory"
    return Trajectory.open(store) if (store / MANIFEST).exists() else None


def _resolved(cell: Cell) -> ResolvedMethod:
    return resolve(cell.method, cell.data, cell.keep, cell.surrogate.epochs, cell.surrogate.model)


def _epochs_needed(cell: Cell) -> int:
    """Return after how many epochs of the recording everything that the cell's selection reads is final."""
    return epochs_needed(_resolved(cell), cell.surrogate.epochs)


def _unrecorded(cell: Cell, data: Data, place: Place) -> Task:
    """Return the task of a cell that needs no surrogate: the full data set, or a random draw."""
    n = len(data.train)
    if cell.method == FULL:
        return Task(_job(cell, data, place, n), place.result(cell), _about(cell))
    method = _resolved(cell)
    pool = Pool(n, data.train.targets, None, data.num_classes)
    return _task(cell, data, place, method, *unrecorded(method, pool), None)


def _planned(
    folder: Path, cells: Sequence[Cell], data: Data, place: Place, notify: Notify, fail: Fail
) -> dict[Cell, Task]:  # fmt: skip
    """Score the recording for these cells and return their tasks."""
    recording = Trajectory.open(folder / "trajectory")
    settled = settle({cell: _resolved(cell) for cell in cells}, {cell: cell.keep for cell in cells}, recording)
    methods = each(settled, lambda cell: _asked(settled[cell], cell.surrogate.epochs, recording), fail)
    if not methods:
        return {}
    names = column_names(list(methods.values()))
    asked = sorted([column, scorer.params(), at] for (scorer, at), column in names.items())
    last = max(at or recording.epochs for _, at in names)
    # named by what is read, too: the recording may have been made again, elsewhere, since it was scored
    path = folder / f"scores-{digest_of({'columns': asked, 'recording': recording.checksums(last)})}.parquet"
    try:
        columns = read_scores(path).columns
    except (MissingFileError, CorruptFileError):
        score(folder / "trajectory", list(methods.values()), path, on_step=stepped(notify, f"scoring {data.name}"))
        columns = read_scores(path).columns
    return each(methods, lambda cell: _task(cell, data, place, methods[cell], columns, names, path), fail)


def _asked(method: ResolvedMethod, epochs: int, recording: Trajectory) -> ResolvedMethod:
    """Return the method asked after the epochs that it needs, however many more are recorded for others.

    Raises what scoring raises where the recording cannot give what it reads.
    """
    asked = replace(method, at=method.at or epochs_needed(method, epochs))
    check_requests(recording, [Request(column, *pair) for pair, column in column_names([asked]).items()])
    return asked


def _task(
    cell: Cell, data: Data, place: Place, method: ResolvedMethod, columns: Mapping[str, Scores], names: Columns,
    scores: Path | None,
) -> Task:  # fmt: skip
    """Select a cell's coreset, write it, and return its training."""
    pool = Pool(len(data.train), data.train.targets, None, data.num_classes)
    provenance = {"fingerprint": data.fingerprint, "data": data.name, "cell": cell.digest}
    coreset = choose(method, columns, names, pool, cell.keep, cell.seed, provenance)
    path = place.root / "coresets" / f"{cell.digest}.parquet"
    save_coreset(coreset, path)
    extra: dict[str, Any] = {"coreset": str(path), "coreset_digest": coreset.digest}
    if scores is not None and scales_loss(cell.scale_loss, cell.data, method):
        column = names[method.scorer, method.at]
        extra |= {"scores": str(scores), "scale_column": column, "scale_digest": values_digest(columns[column].values)}
    about = {**_about(cell), "notice": method.notice}
    return Task(_job(cell, data, place, len(coreset.ids), **extra), place.result(cell), about)


def _job(cell: Cell, data: Data, place: Place, kept: int, **extra: Any) -> Job:
    root = str(place.data_dir) if place.data_dir else None
    return Job(
        cell.method, cell.keep, kept, cell.data, root, data.fingerprint, cell.coreset.to_json(), cell.seed,
        corrupt=cell.corrupt, mislabel=cell.mislabel, holdout=cell.holdout, test_fingerprint=data.test_fingerprint,
        eval_every=place.eval_every, **extra,
    )  # fmt: skip


def _about(cell: Cell) -> dict[str, Any]:
    return {"cell": cell.to_json()}


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

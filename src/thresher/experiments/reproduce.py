"""Runs the cells that have no result yet: records what they share once, selects, trains, and can be stopped anywhere.

    recordings/<digest>/        a run directory per surrogate, shared by all cells that need it
    coresets/<digest>.parquet   one per cell
    results/<digest>.json       one finished cell each; copy them together from several machines
    failed/<digest>.json        why a cell failed the last time it was tried

A digest names everything that determines a cell, so whatever stands there is complete and nothing is done twice.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from thresher.coreset import Coreset
from thresher.data import Data
from thresher.derivation import settle
from thresher.engines import Engine, make_engine
from thresher.errors import BusyError, CorruptFileError
from thresher.experiments.cells import Cell
from thresher.experiments.columns import Columns, column_names
from thresher.experiments.events import Notify, stepped, watched
from thresher.experiments.jobs import Job, OnEpoch, Task, cached_data, run_task, values_digest
from thresher.experiments.pace import Pace
from thresher.experiments.recording import identity, record
from thresher.experiments.rundir import RunDirectory, digest_of, read_json
from thresher.experiments.scoring import choose, score, unrecorded
from thresher.experiments.study import scales_loss
from thresher.experiments.tables import FULL
from thresher.files import write_json
from thresher.methods import ResolvedMethod, resolve
from thresher.score_table import read_scores
from thresher.train.spec import TrainSpec
from thresher.trajectory.layout import MANIFEST
from thresher.trajectory.reader import Trajectory
from thresher.types import Pool, Scores


@dataclass(frozen=True)
class Place:
    """Where cells run: `root` holds everything that is written, `data_dir` the data sets.

    Trainings run as `engine` says, `processes` at a time (None: as many as the engine has workers). Ray's nodes must see
    `root` and `data_dir` under the same paths; `address` is the cluster's.
    """

    root: Path
    data_dir: Path | None = None
    device: str = "cpu"
    processes: int | None = 1
    threads: int | None = None
    engine: str = "processes"
    address: str | None = None

    def result(self, cell: Cell) -> Path:
        """Return the file of a cell's result."""
        return self.root / "results" / f"{cell.digest}.json"

    def failure(self, cell: Cell) -> Path:
        """Return the file that says why a cell failed."""
        return self.root / "failed" / f"{cell.digest}.json"

    def make_engine(self) -> Engine:
        """Return what runs the trainings, each with a GPU of its own where they need one of a cluster's."""
        gpus = 1 if self.engine == "ray" and self.device.startswith("cuda") else 0
        return make_engine(self.engine, self.processes, self.address, gpus)

    def load(self, cell: Cell) -> Data:
        """Return the data a cell trains on, loaded once for all that follow."""
        root = str(self.data_dir) if self.data_dir else None
        return cached_data(cell.data, root, cell.corrupt, cell.mislabel, cell.holdout)


@dataclass
class Outcome:
    """What became of the cells that were asked for; `left` are those that were not started, with the reason."""

    done: list[Cell] = field(default_factory=list)
    failed: dict[Cell, str] = field(default_factory=dict)
    left: dict[Cell, str] = field(default_factory=dict)


def read_result(place: Place, cell: Cell) -> dict[str, Any] | None:
    """Return a cell's result, None where it has none; raises CorruptFileError for a file that is not this cell's result."""
    path = place.result(cell)
    if not path.exists():
        return None
    found = read_json(path)
    accuracy = found.get("test_accuracy") if isinstance(found, dict) else None
    if not isinstance(accuracy, float) or not 0 <= accuracy <= 1 or found.get("cell") != cell.to_json():
        raise CorruptFileError(
            f"Expected the result of {cell.method} at keep={cell.keep:g} on {cell.data} (seed {cell.seed}) in {path}, but "
            "it holds something else. Move it away, and run again to make it anew."
        )
    return dict(found)


def run_cells(cells: Iterable[Cell], place: Place, pace: Pace, notify: Notify = lambda event, details: None) -> Outcome:
    """Run what is missing of `cells`, sharing recordings; return what became of each.

    A cell that fails (out of memory, a foreign file in its place) is marked and the others go on. `pace` holds the time
    limit: nothing is started that cannot finish; a recording goes as many epochs as fit and is continued the next time.
    Raises what makes all cells impossible: data that are not there, or not those of an earlier recording.
    """
    outcome = Outcome()
    groups: dict[str, list[Cell]] = {}
    for cell in cells:
        try:
            if read_result(place, cell) is not None:
                outcome.done.append(cell)
                continue
        except CorruptFileError as error:
            outcome.failed[cell] = str(error)
            continue
        groups.setdefault(digest_of(cell.source if cell.recorded else cell.origin), []).append(cell)
    todo = [cell for group in groups.values() for cell in group]
    notify("jobs", {"total": len(todo), "work": sum(_work(cell) for cell in todo)})
    for key, group in groups.items():
        _run_group(key, group, place, pace, notify, outcome)
    return outcome


def _run_group(key: str, cells: list[Cell], place: Place, pace: Pace, notify: Notify, outcome: Outcome) -> None:
    """Record for cells that share a surrogate (or, on the same data, need none), plan their trainings and run them."""
    data, folder = place.load(cells[0]), place.root / "recordings" / key
    if not cells[0].recorded:
        tasks = [(cell, _unrecorded(cell, data, place)) for cell in cells]
    else:
        try:
            recorded = _record(folder, cells, data, place, pace, notify)
        except BusyError:
            recorded = False
        if not recorded:
            outcome.left.update(dict.fromkeys(cells, "its recording is not finished"))
            return
        tasks = _planned(folder, cells, data, place, notify)
    _train(tasks, place, pace, notify, outcome)


def _record(folder: Path, cells: Sequence[Cell], data: Data, place: Place, pace: Pace, notify: Notify) -> bool:
    """Record as far as these cells need it and time allows; return whether they can be scored."""
    spec, seed = cells[0].surrogate, cells[0].surrogate_seed
    needed = max(_epochs_needed(cell) for cell in cells)
    there = _epochs_there(folder)
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


def recording_left(cells: Iterable[Cell], place: Place) -> list[tuple[Data, TrainSpec, int]]:
    """Return (data, surrogate, epochs still to record) for every unfinished recording that these cells need."""
    groups: dict[str, list[Cell]] = {}
    for cell in cells:
        if cell.recorded:
            groups.setdefault(digest_of(cell.source), []).append(cell)
    found = []
    for key, group in groups.items():
        epochs = max(_epochs_needed(cell) for cell in group) - _epochs_there(place.root / "recordings" / key)
        if epochs > 0:
            found.append((place.load(group[0]), group[0].surrogate, epochs))
    return found


def _epochs_there(folder: Path) -> int:
    store = folder / "trajectory"
    return Trajectory.open(store).epochs if (store / MANIFEST).exists() else 0


def _resolved(cell: Cell) -> ResolvedMethod:
    return resolve(cell.method, cell.data, cell.keep, epochs_available=cell.surrogate.epochs)


def _epochs_needed(cell: Cell) -> int:
    """Return after how many epochs of the recording the cell's scores are final."""
    method = _resolved(cell)
    if method.at is not None:
        return method.at
    return min(int(method.scorer.params().get("epochs", cell.surrogate.epochs)), cell.surrogate.epochs)


def _unrecorded(cell: Cell, data: Data, place: Place) -> Task:
    """Return the task of a cell that needs no surrogate: the full data set, or a random draw."""
    n = len(data.train)
    if cell.method == FULL:
        return Task(_job(cell, data, place, n), place.result(cell), _about(cell))
    method = _resolved(cell)
    pool = Pool(n, data.train.targets, None, data.num_classes)
    return _task(cell, data, place, method, *unrecorded(method, pool), None)


def _planned(folder: Path, cells: Sequence[Cell], data: Data, place: Place, notify: Notify) -> list[tuple[Cell, Task]]:
    """Score the recording for these cells and return their tasks."""
    recording = Trajectory.open(folder / "trajectory")
    methods = settle({cell: _resolved(cell) for cell in cells}, {cell: cell.keep for cell in cells}, recording)
    names = column_names(list(methods.values()))
    asked = sorted([column, scorer.params(), at] for (scorer, at), column in names.items())
    path = folder / f"scores-{digest_of({'columns': asked})}.parquet"
    if not path.exists():
        score(folder / "trajectory", list(methods.values()), path, on_step=stepped(notify, f"scoring {data.name}"))
    columns = read_scores(path).columns
    return [(cell, _task(cell, data, place, method, columns, names, path)) for cell, method in methods.items()]


def _task(
    cell: Cell, data: Data, place: Place, method: ResolvedMethod, columns: Mapping[str, Scores], names: Columns,
    scores: Path | None,
) -> Task:  # fmt: skip
    """Select a cell's coreset, write it, and return its training."""
    pool = Pool(len(data.train), data.train.targets, None, data.num_classes)
    provenance = {"fingerprint": data.fingerprint, "data": data.name, "cell": cell.digest}
    coreset = choose(method, columns, names, pool, cell.keep, cell.seed, provenance)
    path = place.root / "coresets" / f"{cell.digest}.parquet"
    if not path.exists() or Coreset.load(path).digest != coreset.digest:
        path.parent.mkdir(parents=True, exist_ok=True)
        coreset.save(path)
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
        corrupt=cell.corrupt, mislabel=cell.mislabel, holdout=cell.holdout, **extra,
    )  # fmt: skip


def _work(cell: Cell) -> float:
    """Return how long a cell's training is, beside the others: in epochs of the whole data set."""
    return cell.keep * cell.coreset.epochs


def _about(cell: Cell) -> dict[str, Any]:
    return {"cell": cell.to_json()}


def _train(tasks: list[tuple[Cell, Task]], place: Place, pace: Pace, notify: Notify, outcome: Outcome) -> None:
    """Run the trainings that fit into the time left; write down why one failed."""

    def admit(item: tuple[Cell, Task]) -> bool:
        cell, task = item
        if pace.fits(place.load(cell), cell.coreset, task.job.kept):
            return True
        outcome.left[cell] = "the time that is left is too short"
        return False

    def on_result(item: tuple[Cell, Task], result: dict[str, Any]) -> None:
        cell, task = item
        outcome.done.append(cell)
        if place.device.startswith("cuda"):  # there trainings share the device, and how well is only seen
            pace.learn(place.load(cell), cell.coreset, task.job.kept, result["seconds"])
        place.failure(cell).unlink(missing_ok=True)
        label = f"{cell.coreset.model} on {place.load(cell).name}"
        notify("result", {**result, "method": cell.method, "keep": cell.keep, "work": _work(cell), "label": label})

    def on_failure(item: tuple[Cell, Task], error: Exception) -> None:
        cell = item[0]
        if isinstance(error, BusyError):
            outcome.left[cell] = str(error)
            return
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        outcome.failed[cell] = reason
        place.failure(cell).parent.mkdir(parents=True, exist_ok=True)
        write_json(place.failure(cell), {"cell": cell.to_json(), "reason": reason})
        notify(
            "failure", {"method": cell.method, "keep": cell.keep, "seed": cell.seed, "work": _work(cell), "reason": reason}
        )

    def watch(cell: Cell, task: Task) -> OnEpoch:
        return partial(watched(notify, _work(cell)), task.job)

    notify("jobs", {"total": 0, "work": 0})  # those announced begin: until now something else took the time
    with place.make_engine() as engine:
        inside = place.engine != "ray" and (engine.workers == 1 or len(tasks) == 1)
        engine.run(
            tasks, lambda item: (run_task, (item[1], place.device, place.threads, watch(*item) if inside else None)),
            on_result=on_result, on_failure=on_failure, admit=admit,
        )  # fmt: skip

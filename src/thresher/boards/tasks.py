"""The trainings of cells: with coresets that are there, with those selected from a recording, and without either."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from thresher.boards.cells import Cell
from thresher.boards.outcome import Fail, each
from thresher.boards.place import Place
from thresher.coreset import Coreset
from thresher.data import Data
from thresher.derivation import settle
from thresher.errors import CorruptFileError, InputError, LaterFormatError, MissingFileError
from thresher.experiments.columns import Columns, column_names
from thresher.experiments.events import Notify, stepped
from thresher.experiments.job import Job, Task, values_digest
from thresher.experiments.ledger import epochs_needed
from thresher.experiments.rundir import digest_of, save_coreset
from thresher.experiments.scoring import choose, provenance_of, score
from thresher.experiments.scoring import unrecorded as unrecorded_scores
from thresher.experiments.study import scales_loss
from thresher.methods import FULL, ResolvedMethod, resolve
from thresher.replay import Request, check_requests
from thresher.score_table import read_scores
from thresher.trajectory.reader import Trajectory
from thresher.types import Pool, Scores


class Scale(NamedTuple):
    """The column of a score table that scales the loss of a training, and the digest of its values."""

    scores: Path
    column: str
    digest: str


def epochs_of(cell: Cell) -> int:
    """Return after how many epochs of the recording everything that the cell's selection reads is final."""
    return epochs_needed(_resolved(cell), cell.surrogate.epochs)


def _resolved(cell: Cell) -> ResolvedMethod:
    return resolve(cell.method, cell.data, cell.keep, cell.surrogate.epochs, cell.surrogate.model)


def unrecorded(cell: Cell, data: Data, place: Place) -> Task:
    """Return the task of a cell that needs no surrogate: the full data set, or a random draw."""
    n = len(data.train)
    if cell.method == FULL:
        return Task(_job(cell, data, place, n), place.result(cell), {"cell": cell.to_json()})
    method = _resolved(cell)
    pool = Pool(n, data.train.targets, None, data.num_classes)
    return _selected(cell, data, place, method, *unrecorded_scores(method, pool), None)


def from_coresets(
    folder: Path, cells: Iterable[Cell], place: Place, notify: Notify, fail: Fail
) -> dict[Cell, Task | None]:  # fmt: skip
    """Return the tasks of the cells whose coresets are there, None for the others; `folder` is their recording's.

    A coreset that cannot be used (damaged, another cell's, of other data than those at hand, its scores missing) counts as
    missing and is selected anew; a notice says how many of these there are. One of a later format is not: its cell fails.
    """
    unused: list[str] = []

    def task(cell: Cell) -> Task | None:
        if not place.coreset(cell).is_file():
            return None
        data = place.load(cell)
        try:
            return _from_coreset(folder, cell, data, place)
        except LaterFormatError:
            raise
        except (MissingFileError, CorruptFileError, InputError) as error:
            unused.append(str(error))
            return None

    found = each(cells, task, fail)
    if unused:
        told = f"{len(unused)} coresets that are there cannot be used and have to be selected anew; the first: {unused[0]}"
        notify("notice", {"text": told})
    return found


def _from_coreset(folder: Path, cell: Cell, data: Data, place: Place) -> Task:
    """Return the task of a cell whose coreset is there. Raises an error if it, or what scales its loss, cannot be used."""
    path = place.coreset(cell)
    coreset = Coreset.load(path, data.fingerprint, len(data.train), data.name)
    own = _provenance(cell, data)
    if {key: coreset.source.get(key) for key in own} != own:
        which = f"{cell.method} at keep={cell.keep:g} on {cell.data} (seed {cell.seed})"
        raise CorruptFileError(f"Expected the coreset of {which} in {path}, but it is that of another cell.")
    scaled = scales_loss(cell.scale_loss, cell.data, cell.method)
    return _task(cell, data, place, coreset, _scale(folder, coreset, path) if scaled else None)


def _scale(folder: Path, coreset: Coreset, path: Path) -> Scale:
    """Return the scores by which the loss of a coreset's training is scaled, from a table in its recording's `folder`."""
    for scores in sorted(folder.glob("scores-*.parquet")):
        with suppress(CorruptFileError, InputError):  # of several, another may have it
            for column, found in read_scores(scores).columns.items():
                digest = values_digest(found.values)
                if digest == coreset.source.get("loss_scale"):
                    return Scale(scores, column, digest)
    raise MissingFileError(
        f"Expected the scores that scale the loss with {path} in {folder}/scores-*.parquet. Copy them, too."
    )


def from_recording(
    folder: Path, cells: Sequence[Cell], data: Data, place: Place, notify: Notify, fail: Fail
) -> dict[Cell, Task]:  # fmt: skip
    """Score the recording for these cells, select, and return their tasks."""
    recording = Trajectory.open(folder / "trajectory")
    settled = settle({cell: _resolved(cell) for cell in cells}, {cell: cell.keep for cell in cells}, recording)
    methods = each(settled, lambda cell: _asked(settled[cell], cell.surrogate.epochs, recording), fail)
    if not methods:
        return {}
    names = column_names(list(methods.values()))
    asked = sorted([column, scorer.params(), at] for (scorer, at), column in names.items())
    last = max(at or recording.epochs for _, at in names)
    # its name depends on what is read, too: since it was scored, the recording may have been made again elsewhere
    path = folder / f"scores-{digest_of({'columns': asked, 'recording': recording.checksums(last)})}.parquet"
    try:
        columns = read_scores(path).columns
    except LaterFormatError:
        raise
    except (MissingFileError, CorruptFileError):
        score(folder / "trajectory", list(methods.values()), path, on_step=stepped(notify, f"scoring {data.name}"))
        columns = read_scores(path).columns
    return each(methods, lambda cell: _selected(cell, data, place, methods[cell], columns, names, path), fail)


def _asked(method: ResolvedMethod, epochs: int, recording: Trajectory) -> ResolvedMethod:
    """Return the method with its scores taken after the epochs that it needs, however many more are recorded for others.

    Raises what scoring raises if the recording lacks what it reads.
    """
    asked = replace(method, at=method.at or epochs_needed(method, epochs))
    check_requests(recording, [Request(column, *pair) for pair, column in column_names([asked]).items()])
    return asked


def _selected(
    cell: Cell, data: Data, place: Place, method: ResolvedMethod, columns: Mapping[str, Scores], names: Columns,
    scores: Path | None,
) -> Task:  # fmt: skip
    """Select a cell's coreset, write it, and return its training."""
    pool = Pool(len(data.train), data.train.targets, None, data.num_classes)
    provenance, scale = _provenance(cell, data), None
    if scores is not None and scales_loss(cell.scale_loss, cell.data, cell.method):
        column = names[method.scorer, method.at]
        scale = Scale(scores, column, values_digest(columns[column].values))
        provenance["loss_scale"] = scale.digest
    coreset = choose(method, columns, names, pool, cell.keep, cell.seed, provenance)
    save_coreset(coreset, place.coreset(cell))
    return _task(cell, data, place, coreset, scale)


def _provenance(cell: Cell, data: Data) -> dict[str, Any]:
    """Return the provenance of a cell's coreset: its data and the cell."""
    return {**provenance_of(data), "cell": cell.digest}


def _task(cell: Cell, data: Data, place: Place, coreset: Coreset, scale: Scale | None) -> Task:
    """Return the training of a cell on its coreset."""
    extra = {"coreset": str(place.coreset(cell)), "coreset_digest": coreset.digest}
    if scale is not None:
        extra |= {"scores": str(scale.scores), "scale_column": scale.column, "scale_digest": scale.digest}
    about = {"cell": cell.to_json(), "notice": coreset.source.get("notice", "")}
    return Task(_job(cell, data, place, len(coreset), **extra), place.result(cell), about)


def _job(cell: Cell, data: Data, place: Place, kept: int, **extra: Any) -> Job:
    root = str(place.data_dir) if place.data_dir else None
    return Job(
        cell.method, cell.keep, kept, cell.data, root, data.fingerprint, cell.coreset.to_json(), cell.seed,
        corrupt=cell.corrupt, mislabel=cell.mislabel, holdout=cell.holdout, test_fingerprint=data.test_fingerprint,
        eval_every=place.eval_every, **extra,
    )  # fmt: skip

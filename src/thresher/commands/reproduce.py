"""`thresher reproduce`: reproduces a published table or figure, as far as time allows, and writes its board."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table

from thresher.boards.board import LEGEND, BoardRow, as_csv, as_markdown, board, columns, in_common, lines, records
from thresher.boards.cells import Cell, Entry, Filter
from thresher.boards.outcome import Outcome, each, spared
from thresher.boards.place import Place
from thresher.boards.reproduce import recording_left, run_cells
from thresher.boards.targets import PICTURE, TARGETS, entries
from thresher.commands.corrupt import corruption_picture
from thresher.commands.options import as_precision, check_eval_every, check_scale_loss, pick_device, untold_best
from thresher.commands.output import Output
from thresher.commands.screen import Screen, parallel, refuse_idle
from thresher.engines import check_engine, engine_of
from thresher.errors import FailedTrainingsError, InputError
from thresher.experiments.defaults import parse_seeds
from thresher.experiments.pace import Pace
from thresher.experiments.rundir import environment
from thresher.experiments.study import scales_loss
from thresher.files import write_atomic
from thresher.keep import keep_count
from thresher.report.board import HeatMap, board_page
from thresher.tracking import followed, tracked


@dataclass(frozen=True)
class Variant:
    """How trainings depart from a target's recipe; by default they do not."""

    precision: str = "recipe"
    compile_model: bool = False
    scale_loss: str = "published"

    def __post_init__(self) -> None:
        check_scale_loss(self.scale_loss)

    def entries(self, target: str, scale: str) -> list[Entry]:
        """Return all entries of the board, each with the cell of this variant and a label that says how it departs."""
        found = entries(target, scale)
        if not found:
            raise InputError(f"{target} has no {scale} scale. Omit --scale for the published recipe.")
        label = {"variant": " ".join(self.departures)} if self.departures else {}
        return [replace(e, cell=self._cell(e.cell), labels={**e.labels, **label}) for e in found]

    def _cell(self, cell: Cell) -> Cell:
        """Return the cell of this variant, which is the recipe's if none of its trainings is another."""
        changes: dict[str, Any] = {"compile": self.compile_model}
        if self.precision != "recipe":
            changes["precision"] = as_precision(self.precision)
        cell = replace(cell, surrogate=replace(cell.surrogate, **changes), coreset=replace(cell.coreset, **changes))
        was, now = (scales_loss(rule, cell.data, cell.method) for rule in (cell.scale_loss, self.scale_loss))
        return replace(cell, scale_loss=self.scale_loss) if cell.recorded and was != now else cell

    @property
    def departures(self) -> list[str]:
        """How it departs from the recipe, as the names of its boards say it."""
        precision = [] if self.precision == "recipe" else [self.precision]
        loss = [] if self.scale_loss == "published" else [f"scale-loss-{self.scale_loss}"]
        return [*precision, *(["compiled"] if self.compile_model else []), *loss]

    def file_name(self, target: str, scale: str) -> str:
        """Return the name of a board's files, without an ending; a board that departs from the recipe says how."""
        return "-".join([target, scale, *self.departures])


def reproduce_command(
    *, target: str, scale: str, only: str, seeds: str, jobs: int | None, limit_minutes: float | None, dry_run: bool,
    out: Path, data_dir: Path | None, device: str, precision: str, compile_model: bool, engine: str | None,
    address: str | None, eval_every: int, scale_loss: str, track: str | None, say: Output,
) -> None:  # fmt: skip
    """`thresher reproduce`."""
    check_eval_every(eval_every)
    variant = Variant(precision, compile_model, scale_loss)
    if target == PICTURE:
        if only:
            raise InputError(f"{PICTURE} is a picture and has no entries to choose from. Omit --only.")
        say.result(_draw(Place(out, data_dir), dry_run, say))
        return
    there = variant.entries(target, scale)
    wanted = _conditions(there, target, only)
    chosen = parse_seeds(seeds)
    device = pick_device(device)
    place = replace(_place(out, data_dir, device, jobs, engine, address), eval_every=eval_every)
    pace = Pace.shared(device, place.threads, limit_minutes, place.processes or 1)
    cells = list(dict.fromkeys(cell for entry in there if wanted.admits(entry) for cell in entry.cells(chosen)))
    pictured = target == "all" and not only
    if dry_run:
        if pictured:
            _draw(place, dry_run, say)
        _announce(cells, place, pace, say)
        return
    what = {
        "target": target, "scale": scale, "only": only, "seeds": seeds, "precision": precision, "scale_loss": scale_loss,
        "device": device,
    }  # fmt: skip
    with Screen(say) as screen, tracked(track, f"{target}-{scale}", what) as tracker:
        outcome = run_cells(cells, place, pace, followed(screen.notify, tracker))
    rows = board(there, chosen, place)
    name = variant.file_name(target, scale)
    _write(rows, target, scale, place, variant)
    say.wrote(*(out / f"{name}.{ending}" for ending in ("md", "csv", "html")))
    rows = [row for row in rows if wanted.admits(row.entry)]
    _tell(rows, outcome, eval_every, say)
    say.line(f"\nboard written to {out}/{name}.md, .csv and .html")
    if pictured:
        with spared(lambda error: say.failure(f"{PICTURE} could not be drawn: {error}")):
            _draw(place, dry_run, say)
    say.result(
        {
            "rows": records(rows), "cells": len(cells), "done": len(outcome.done), "failed": _records(outcome.failed),
            "left": _records(outcome.left),
        }
    )  # fmt: skip
    if outcome.failed:
        raise FailedTrainingsError(
            f"{len(outcome.failed)} of {len(cells)} cells failed, for the reasons given above and on the board; the others "
            "are kept. Fix what can be fixed and run the same command again: only what is missing runs."
        )


def _place(
    out: Path, data_dir: Path | None, device: str, jobs: int | None, engine: str | None, address: str | None
) -> Place:  # fmt: skip
    """Return where the cells run; on a cluster, `jobs` defaults to its number of cores or GPUs."""
    name = engine_of(device) if engine is None else engine
    check_engine(name, jobs if name == "ray" else None, address)  # now, not after hours of recording
    refuse_idle(name, jobs, "--jobs")
    if engine == "ray":
        folder = None if data_dir is None else data_dir.resolve()
        threads = 1 if device == "cpu" else None
        return Place(out.resolve(), folder, device, jobs, threads, engine, address)
    processes, threads = parallel(jobs, device)
    return Place(out, data_dir, device, processes, threads, name, address)


def _conditions(there: Sequence[Entry], target: str, only: str) -> Filter:
    """Return what `--only` asks for. Raises InputError if no entry meets it."""
    conditions = Filter.parse(only, there)
    if not any(map(conditions.admits, there)):
        raise InputError(f"No entry of {target} meets all of {only!r}. Drop one condition.")
    return conditions


def _announce(cells: Sequence[Cell], place: Place, pace: Pace, say: Output) -> None:
    """Print how much is missing and how long that would take here; measures a few steps of each kind of training.

    Cells that would fail are counted separately, with the reasons.
    """
    outcome = Outcome()
    missing = outcome.add_finished(cells, place, lambda event, details: None)

    def fail(cell: Cell, error: Exception) -> None:
        outcome.failed[cell] = str(error)

    def seconds_of(cell: Cell) -> float:
        data = place.load(cell)
        return pace.training(data, cell.coreset, keep_count(len(data.train), cell.keep))

    if missing:
        say.note(f"{len(missing)} of {len(cells)} cells to run; measuring a few steps of each kind of training")
    recordings = recording_left(missing, place, fail, lambda event, details: say.note(details["text"]))
    seconds = 0.0
    for data, spec, epochs in recordings:
        with spared(partial(_unmeasured, spec.model, data.name, say)):
            rest = replace(spec, epochs=epochs, schedule_epochs=None, warmup_epochs=0)  # it may be shorter than the warm-up
            seconds += pace.alone(data, rest, len(data.train))
    trainings = each(outcome.open(missing), seconds_of, fail)
    with place.make_engine() as engine:
        workers = engine.workers
    hours = (seconds + sum(trainings.values()) / workers) / 3600
    for reason, count in Counter(outcome.failed.values()).items():
        say.failure(f"{count} {'cell' if count == 1 else 'cells'} cannot run or be used: {reason}")
    say.line(
        f"{len(cells)} cells, {len(outcome.done)} of them done, {len(trainings)} to run; {len(recordings)} recordings to "
        f"make or finish; about {hours:.1f} hours here ({workers} at a time, {place.device})"
    )
    say.result(
        {
            "cells": len(cells), "done": len(outcome.done), "to_run": len(trainings), "recordings": len(recordings),
            "failed": _records(outcome.failed),
            "hours": round(hours, 3), "at_a_time": workers, "device": place.device,
        }
    )  # fmt: skip


def _unmeasured(model: str, data: str, say: Output, error: Exception) -> None:
    say.failure(f"A recording of {model} on {data} cannot be measured: {error}")


def _draw(place: Place, dry_run: bool, say: Output) -> dict[str, Any]:
    """Write Figure 8 of the supplementary in both variants, or only print where; return what it shows."""
    from thresher.data import load
    from thresher.data.corrupt import VARIANTS, Corruption

    paths = {variant: place.root / f"{PICTURE}-{variant}.png" for variant in VARIANTS}
    if dry_run:
        say.line(f"{len(paths)} pictures of CIFAR-100 to draw: {', '.join(map(str, paths.values()))}")
        return {"variants": VARIANTS}
    data = load("cifar100", place.data_dir)
    ids = tuple(np.sort(np.unique(data.train.targets, return_index=True)[1])[:6].tolist())
    place.root.mkdir(parents=True, exist_ok=True)
    for variant, path in paths.items():
        write_atomic(path, corruption_picture(data, Corruption(variant), ids))
        say.wrote(path)
        say.line(str(path))
    return {"sample_ids": ids, "variants": VARIANTS}


def _view(rows: Sequence[BoardRow]) -> Table:
    view = Table(title=in_common(rows) or None, caption=LEGEND)
    for heading in columns(rows):
        view.add_column(heading, overflow="fold")
    for line in lines(rows):
        view.add_row(*line)
    return view


def _records(reasons: Mapping[Cell, str]) -> list[dict[str, Any]]:
    """Return cells that have no result, each with the reason, as plain values."""
    return [
        {
            "data": cell.data, "method": cell.method, "keep": cell.keep, "seed": cell.seed, "cell": cell.digest,
            "reason": reason,
        }
        for cell, reason in reasons.items()
    ]  # fmt: skip


def _tell(rows: Sequence[BoardRow], outcome: Outcome, eval_every: int, say: Output) -> None:
    """Print the board, which cells failed, and how many were left and why."""
    say.table(lambda: _view(rows))
    untold = sum(bool(eval_every and row.accuracies and row.best is None) for row in rows)
    if untold:
        say.note(untold_best(f"{untold} of {len(rows)} rows have trainings that", eval_every))
    for cell, reason in outcome.failed.items():
        say.failure(f"failed: {cell.method} at keep={cell.keep:g} on {cell.data}, seed {cell.seed}: {reason}")
    for reason in dict.fromkeys(outcome.left.values()):
        count = sum(1 for why in outcome.left.values() if why == reason)
        say.line(f"{count} cells left: {reason}")


def _write(rows: Sequence[BoardRow], target: str, scale: str, place: Place, variant: Variant) -> None:
    """Write the board next to its results: always all of it, so that a call for some entries does not remove others."""
    name = variant.file_name(target, scale)
    place.root.mkdir(parents=True, exist_ok=True)
    description = (TARGETS[target].__doc__ or "").strip() if target in TARGETS else "Every target."
    shared = in_common(rows)
    page = board_page(
        ", ".join([target, f"{scale} scale", *variant.departures]),
        f"{description} All rows: {shared}." if shared else description,
        columns(rows), lines(rows), heat_maps(rows),
        environment(),
    )  # fmt: skip
    write_atomic(place.root / f"{name}.md", as_markdown(rows).encode())
    write_atomic(place.root / f"{name}.csv", as_csv(rows).encode())
    write_atomic(place.root / f"{name}.html", page.encode())


def heat_maps(rows: Sequence[BoardRow]) -> list[HeatMap]:
    """Return a heat map for every data set and kept share whose entries have a (T, K).

    Its title says so if the cells are means over different numbers of seeds.
    """
    grids: dict[tuple[str, str], dict[tuple[str, str], float | None]] = {}
    seeds: dict[tuple[str, str], set[int]] = {}
    for row in rows:
        labels = row.entry.labels
        if "T" in labels and "K" in labels:
            place = labels["data"], labels["keep"]
            grids.setdefault(place, {})[labels["K"], labels["T"]] = row.mean
            seeds.setdefault(place, set()).update([len(row.accuracies)] if row.accuracies else [])
    made = []
    for (data, keep), grid in grids.items():
        windows = tuple(sorted({k for k, _ in grid}, key=int))
        lengths = tuple(sorted({t for _, t in grid}, key=int))
        if len(windows) * len(lengths) > len(grid) * 2:
            continue  # a handful of candidates is no grid
        values = tuple(tuple(grid.get((k, t)) for t in lengths) for k in windows)
        counts = seeds[data, keep]
        unequal = f", means over {min(counts)} to {max(counts)} seeds" if len(counts) > 1 else ""
        title = f"TDDS on {data}, keep {keep}: accuracy %{unequal}"
        made.append(HeatMap(title, "K", "T", windows, lengths, values))
    return made

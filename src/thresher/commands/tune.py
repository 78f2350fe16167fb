"""`thresher tune`: TDDS's (T, K) for a data set and a kept share, measured on a held-out part of the training set."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table

from thresher.boards.board import BoardRow, as_csv, board, records
from thresher.boards.cells import Cell, Entry
from thresher.boards.outcome import Outcome
from thresher.boards.place import Place
from thresher.boards.reproduce import run_cells
from thresher.commands.options import as_precision, check_place, pick_device
from thresher.commands.output import Output
from thresher.commands.screen import Screen, parallel
from thresher.data.holdout import Holdout, included
from thresher.derivation import grid
from thresher.engines import engine_of
from thresher.errors import FailedTrainingsError, InputError
from thresher.experiments.defaults import adjusted, parse_keeps, parse_seeds, recipe, run_folder
from thresher.experiments.pace import Pace
from thresher.files import write_atomic
from thresher.methods import RANDOM, resolve
from thresher.report.percent import gap_text, plus_minus
from thresher.tracking import followed, tracked
from thresher.train.spec import TrainSpec


def tune_command(
    *, data: str, data_dir: Path | None, corrupt: str | None, mislabel: str | None, model: str | None, keep: str,
    budget_minutes: float, holdout: str, seeds: str, epochs: int | None, batch_size: int | None,
    surrogate_epochs: int | None, surrogate_batch_size: int | None, lr: float | None, precision: str, device: str,
    jobs: int | None, out: Path | None, track: str | None, say: Output,
) -> None:  # fmt: skip
    """`thresher tune`."""
    keeps = parse_keeps(keep)
    if len(keeps) != 1 or isinstance(keeps[0], int):
        raise InputError(f"Expected one kept share such as 0.1 to tune for, but got {keep!r}. Run it once for each.")
    Holdout.parse(holdout)
    check_place(data, data_dir)
    base, chosen, device = recipe(data), parse_seeds(seeds), pick_device(device)
    shared: dict[str, Any] = {
        "model": model, "lr": lr, "precision": as_precision(precision), "compile_model": False, "schedule": None,
    }  # fmt: skip
    surrogate = adjusted(base.surrogate, epochs=surrogate_epochs, batch_size=surrogate_batch_size, **shared)
    coreset = adjusted(base.coreset, epochs=epochs, batch_size=batch_size, **shared)
    template = Cell(data, RANDOM, keeps[0], surrogate, coreset, corrupt=corrupt, mislabel=mislabel, holdout=holdout)
    entries = [_entry(template, RANDOM), *(_entry(template, m) for m in candidates(data, keeps[0], surrogate))]
    processes, threads = parallel(jobs, device)
    place = Place(out or run_folder(data, prefix="tune-"), data_dir, device, processes, threads, engine_of(device))
    pace = Pace.shared(device, threads, budget_minutes, processes)
    # Seed by seed, so that a budget that ends early has compared many settings once.
    cells = [cell for seed in chosen for e in entries for cell in e.cells([seed])]
    with Screen(say) as screen, tracked(track, place.root.name, template.to_json()) as tracker:
        outcome = run_cells(cells, place, pace, followed(screen.notify, tracker))
    rows = board(entries, chosen, place)
    path = place.root / f"tune-{keeps[0]:g}.csv"
    write_atomic(path, as_csv(rows).encode())
    say.wrote(path)
    _tell(rows, say, place, outcome, f"a held-out part of the training set{included(corrupt, mislabel)}")
    if outcome.failed:
        raise FailedTrainingsError(
            f"{len(outcome.failed)} of {len(cells)} trainings failed; the first: {next(iter(outcome.failed.values()))} "
            "The others are kept. Fix what can be fixed and run the same command again: only what is missing runs."
        )


def candidates(data: str, keep: float, surrogate: TrainSpec) -> list[str]:
    """Return the methods to try: the published setting first, then the rest of the grid in a fixed random order.

    >>> tried = candidates("cifar10", 0.1, TrainSpec(epochs=30))
    >>> tried[0], len(tried)
    ('tdds:at=10:window=5', 11)
    """
    epochs = surrogate.epochs
    picked = resolve("tdds", data, keep, epochs, surrogate.model)
    first = f"tdds:at={picked.at or epochs}:window={picked.scorer.params()['window']}"
    every = [f"tdds:at={length}:window={window}" for length, window in grid(epochs)]
    rest = [method for method in every if method != first]
    return [first, *(rest[i] for i in np.random.default_rng(0).permutation(len(rest)))]


@dataclass(frozen=True)
class Choice:
    """The best setting, out of `settings` that were compared by their means over the same `seeds`.

    It is `above_random` points better than Random on those of the seeds that Random has too, None if there are none.
    """

    row: BoardRow
    settings: int
    seeds: tuple[int, ...]
    above_random: float | None = None


def best(rows: Sequence[BoardRow]) -> Choice | None:
    """Return the row with the highest mean over the seeds that all tried settings share, without Random.

    If they share none, the settings that have the most frequent seed are compared on it. None if none has run.
    """
    tried = [row for row in rows if row.accuracies and row.entry.cell.method != RANDOM]
    if not tried:
        return None
    count = Counter(seed for row in tried for seed in row.accuracies)
    shared = tuple(sorted(seed for seed in count if count[seed] == len(tried)))
    seeds = shared or (max(sorted(count), key=lambda seed: count[seed]),)
    compared = [row for row in tried if row.accuracies.keys() >= set(seeds)]
    first = max(compared, key=lambda row: sum(row.accuracies[seed] for seed in seeds))
    random = next((row.accuracies for row in rows if row.entry.cell.method == RANDOM), {})
    gaps = [first.accuracies[seed] - random[seed] for seed in seeds if seed in random]
    return Choice(first, len(compared), seeds, sum(gaps) / len(gaps) if gaps else None)


def _entry(template: Cell, method: str) -> Entry:
    return Entry("tune", replace(template, method=method), {"method": method, "keep": f"{template.keep:g}"})


def _view(run: Sequence[BoardRow], measured_on: str) -> Table:
    view = Table(title=f"accuracy on {measured_on}")
    for heading in ("method", "accuracy %", "gap to Random", "seeds"):
        view.add_column(heading, overflow="fold")
    for row in run:
        gap = gap_text(row.gap, row.gap_half, row.pairs, len(row.accuracies))
        view.add_row(row.entry.cell.method, plus_minus(row.mean, row.half), gap, str(len(row.accuracies)))
    return view


def _beside_random(gap: float | None) -> str:
    """Return a line that says so if the best setting is no better than Random on the same seeds, else "".

    >>> _beside_random(1.5), _beside_random(-2.0)
    ('', 'no setting is above Random here: the best is 2.00 points below it\\n')
    """
    if gap is None or gap > 0:
        return ""
    how = f"{plus_minus(-gap, None)} points below it" if gap < 0 else "on a par with it"
    return f"no setting is above Random here: the best is {how}\n"


def _tell(rows: Sequence[BoardRow], say: Output, place: Place, outcome: Outcome, measured_on: str) -> None:
    run = sorted((row for row in rows if row.mean is not None), key=lambda row: -(row.mean or 0.0))
    say.table(lambda: _view(run, measured_on))
    choice, tried = best(rows), {cell.method for cell in (*outcome.done, *outcome.failed)}
    left = sum(row.entry.cell.method not in tried for row in rows)
    if choice is None and outcome.failed:
        say.line("No setting could be compared.")
    elif choice is None:
        say.line("The budget was too short for a single setting. Give more minutes or use a smaller network.")
    else:
        note = f"; {left} settings were not tried, since the budget ended" if left else ""
        say.line(
            f"best: --method {choice.row.entry.cell.method}, of {choice.settings} compared on "
            f"{'seeds' if len(choice.seeds) > 1 else 'seed'} {', '.join(map(str, choice.seeds))}{note}\n"
            f"{_beside_random(choice.above_random)}{place.root} holds all results; run again with more minutes to try more"
        )
    say.result({
        "best": choice and choice.row.entry.cell.method,
        "compared": choice and {"settings": choice.settings, "seeds": choice.seeds},
        "above_random": choice and choice.above_random,
        "measured_on": measured_on, "rows": records(run), "not_tried": left, "results": place.root,
    })  # fmt: skip

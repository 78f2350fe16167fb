"""The board: published numbers, ours beside them, and what is still to be run, as text, Markdown, CSV and HTML."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from thresher.boards.cells import Cell, Entry
from thresher.boards.place import Place, read_result
from thresher.errors import CorruptFileError, FingerprintError
from thresher.experiments.rundir import read_json
from thresher.experiments.tables import mean_best, mean_interval
from thresher.methods import RANDOM
from thresher.report.percent import gap_text, plus_minus

NOT_RUN = "not yet run"
LEGEND = (
    "Accuracies in percent. Published: mean ± standard deviation. Ours: mean over n seeds, as is the gap, paired by seed, "
    "± half the 95 % Student t interval of the mean."
)
"""Below a board: one sign has two meanings there."""
HEADINGS = ("published", "ours", "n", "difference", "gap to Random", "budget", "remark")


@dataclass(frozen=True)
class BoardRow:
    """One line. Accuracies and gaps in percent; half-widths are of two-sided 95 % Student t intervals, None below two seeds.

    `gap` is the mean over shared seeds, which are `pairs`, of (this accuracy - Random's) with the same data, model, kept
    share and recipe; `difference` is ours minus published; `status` is "" or says what keeps the line from being complete.
    `trained_as` names the method under which the trainings were run, if this one's are equal and were not run again. `best`
    is the mean of the best accuracies over the epochs, chosen on the test set; None unless all trainings measured theirs, at
    the epochs that the place asks for, if it does.
    """

    entry: Entry
    accuracies: Mapping[int, float]
    mean: float | None
    half: float | None
    difference: float | None
    gap: float | None
    gap_half: float | None
    pairs: int
    steps: int | None
    status: str
    trained_as: str = ""
    best: float | None = None

    @property
    def budget(self) -> str:
        """Epochs, batch and, once run, steps of the coreset training."""
        coreset = self.entry.cell.coreset
        steps = "" if self.steps is None else f", {self.steps} steps"
        return f"{coreset.epochs} epochs, batch {coreset.batch_size}{steps}"

    @property
    def remark(self) -> str:
        """What readers should know about the line, besides how complete it is."""
        shared = f"trained once, as {self.trained_as}" if self.trained_as else ""
        best = "" if self.best is None else f"best over the epochs {plus_minus(self.best, None)}, chosen on the test set"
        return "; ".join(part for part in (shared, best, self.entry.remark) if part)

    @property
    def published(self) -> str:
        """The published accuracy with its standard deviation."""
        number = self.entry.published
        return "" if number is None else plus_minus(number.accuracy, number.std)

    def texts(self) -> tuple[str, ...]:
        """Return the columns of `HEADINGS`."""
        ours = NOT_RUN if self.mean is None else plus_minus(self.mean, self.half)
        gap = gap_text(self.gap, self.gap_half, self.pairs, len(self.accuracies))
        remark = "; ".join(part for part in (self.status, self.remark) if part)
        difference = plus_minus(self.difference, None, signed=True)
        return self.published, ours, str(len(self.accuracies) or ""), difference, gap, self.budget, remark


def board(entries: Sequence[Entry], seeds: Sequence[int], place: Place) -> list[BoardRow]:
    """Return a row for every entry with what has been run of it; its status tells of files that are not its results."""
    found: dict[str, dict[int, dict[str, Any]]] = {}
    trouble: dict[str, str] = {}
    for entry in entries:
        key = entry.cell.digest
        found[key] = {}
        for cell in entry.cells(seeds):
            try:
                result = read_result(place, cell)
            except FingerprintError:
                trouble[key] = f"{place.result(cell).name} is of other data than those at hand"
                continue
            except CorruptFileError:
                trouble[key] = f"{place.result(cell).name} is not its result: move it away"
                continue
            if result is not None:
                found[key][cell.seed] = result
            elif place.failure(cell).exists():
                trouble[key] = f"failed: {_reason(place, cell)}"
    randoms = {_company(e.cell): found[e.cell.digest] for e in entries if e.cell.method == RANDOM}
    every = place.eval_every
    return [_row(entry, found[entry.cell.digest], randoms, trouble, len(seeds), every) for entry in entries]


def _company(cell: Cell) -> tuple[object, ...]:
    """What a cell must share with Random's for their gap to mean anything."""
    return *cell.origin.values(), cell.keep, cell.coreset


def _row(
    entry: Entry, results: Mapping[int, Mapping[str, Any]], randoms: Mapping[tuple[object, ...], Mapping[int, Any]],
    trouble: Mapping[str, str], asked: int, every: int,
) -> BoardRow:  # fmt: skip
    accuracies = {seed: 100 * result["test_accuracy"] for seed, result in sorted(results.items())}
    status = trouble.get(entry.cell.digest, "")
    if accuracies and len(accuracies) < asked and not status:
        status = f"{len(accuracies)} of {asked} seeds"
    if not accuracies:
        return BoardRow(entry, {}, None, None, None, None, None, 0, None, status)
    diverged = ", ".join(str(seed) for seed in accuracies if results[seed].get("diverged"))
    if diverged:
        status = "; ".join(part for part in (status, f"diverged: seed {diverged}") if part)
    mean, half = mean_interval(list(accuracies.values()))
    random = randoms.get(_company(entry.cell), {})
    paired = {} if entry.cell.method == RANDOM else random
    gaps = [value - 100 * paired[seed]["test_accuracy"] for seed, value in accuracies.items() if seed in paired]
    gap, gap_half = mean_interval(gaps) if gaps else (None, None)
    difference = None if entry.published is None else mean - entry.published.accuracy
    steps = next(iter(results.values()))["steps"]
    shared = ", ".join(dict.fromkeys(str(result["trained_as"]) for result in results.values() if result.get("trained_as")))
    best = mean_best(list(results.values()), every)
    return BoardRow(entry, accuracies, mean, half, difference, gap, gap_half, len(gaps), steps, status, shared, best)


def _reason(place: Place, cell: Cell) -> str:
    try:
        return str(read_json(place.failure(cell))["reason"])
    except (CorruptFileError, KeyError, TypeError):
        return "for a reason that cannot be read"


def _label(row: BoardRow, key: str) -> str | None:
    return row.entry.target if key == "target" else row.entry.labels.get(key)


def _labels(rows: Sequence[BoardRow]) -> tuple[list[str], list[str]]:
    """Return the labels that tell the rows apart, "method" always among them, and those that all rows share."""
    keys = list(dict.fromkeys(["target", *(key for row in rows for key in row.entry.labels)]))
    varying = [key for key in keys if key == "method" or len({_label(row, key) for row in rows}) > 1]
    return varying, [key for key in keys if key not in varying]


def columns(rows: Sequence[BoardRow]) -> tuple[str, ...]:
    """Return the headings: the labels that tell the rows apart (the target too, if there are several), then `HEADINGS`."""
    return (*_labels(rows)[0], *HEADINGS)


def in_common(rows: Sequence[BoardRow]) -> str:
    """Return in words the labels that all rows share, which therefore have no column."""
    return ", ".join(f"{key} {_label(rows[0], key)}" for key in _labels(rows)[1]) if rows else ""


def lines(rows: Sequence[BoardRow]) -> list[tuple[str, ...]]:
    """Return the rows as text under `columns`."""
    labels = _labels(rows)[0]
    return [(*(_label(row, key) or "" for key in labels), *row.texts()) for row in rows]


def as_markdown(rows: Sequence[BoardRow]) -> str:
    """Return the board as a Markdown table, with the labels that all rows share above it and the legend below."""
    heads = columns(rows)
    texts = [in_common(rows), "", "| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
    texts += ["| " + " | ".join(text.replace("|", "\\|") for text in line) + " |" for line in lines(rows)]
    texts += ["", LEGEND]
    return "\n".join(texts).lstrip() + "\n"


def numbers(row: BoardRow) -> dict[str, float | int | None]:
    """Return the numbers of a row under their names in the CSV file."""
    published = row.entry.published
    return {
        "published": None if published is None else published.accuracy,
        "published_std": None if published is None else published.std,
        "mean": row.mean, "half_width": row.half, "n": len(row.accuracies), "difference": row.difference, "gap": row.gap,
        "gap_half_width": row.gap_half, "pairs": row.pairs or None, "steps": row.steps,
    }  # fmt: skip


def records(rows: Sequence[BoardRow]) -> list[dict[str, Any]]:
    """Return the rows as plain values: target, all labels, numbers, epochs, accuracy by seed, status, remark.

    Each has all labels, so that it can be read without the others.
    """
    labels = dict.fromkeys(key for row in rows for key in row.entry.labels)
    return [
        {
            "target": row.entry.target, **{key: row.entry.labels.get(key, "") for key in labels}, **numbers(row),
            "epochs": row.entry.cell.coreset.epochs,
            "accuracies": {str(seed): value for seed, value in row.accuracies.items()},
            "status": row.status or ("" if row.accuracies else NOT_RUN), "remark": row.remark,
        }
        for row in rows
    ]  # fmt: skip


def as_csv(rows: Sequence[BoardRow]) -> str:
    """Return one line per entry with plain numbers and the accuracy of every seed."""
    buffer = io.StringIO()
    found = records(rows)
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(found[0] if found else [])
    for record in found:
        record["accuracies"] = " ".join(f"{seed}:{value:.2f}" for seed, value in record["accuracies"].items())
        writer.writerow(
            "" if value is None else f"{value:.4f}" if isinstance(value, float) else str(value) for value in record.values()
        )
    return buffer.getvalue()

"""Numbers by method: the published ones, from the package's tables, and ours, from the files under docs/results.

Nothing is typed in here: a number that no file holds is not shown.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from thresher.boards.cells import RULES
from thresher.experiments.tables import table as grouped
from thresher.methods import FULL, RANDOM, parse_spec
from thresher.report.percent import gap_text as paired_gap
from thresher.report.percent import plus_minus
from thresher.settings.tables import TABLES, PublishedNumber, published_table

RESULTS = Path(__file__).parents[1] / "results"
DATA = {"cifar10": "CIFAR-10", "cifar100": "CIFAR-100", "digits": "digits"}
CHANGES = {"noise": "20 % wrong labels", "corruption": "20 % of images corrupted", "": ""}
_CHANGED = {"table9": "corruption", "table10": "noise"}  # the others are of clean data
NETWORKS = {
    "resnet18": "ResNet-18", "resnet50": "ResNet-50", "vgg16": "VGG-16", "mobilenet_v2": "MobileNet-V2",
    "shufflenet_v2": "ShuffleNet",  # which one is not said
}  # fmt: skip


@dataclass(frozen=True)
class Ours:
    """One measured entry: accuracies and gaps to Random in percent, half-widths None with one seed.

    `label` is the method as it was asked for; `change` a key of CHANGES; `page` is where it stands, from docs/results.
    """

    label: str
    data: str
    change: str
    model: str
    keep: float
    mean: float
    half_width: float | None
    seeds: int
    gap: float | None
    gap_half_width: float | None
    pairs: int
    page: str

    @property
    def method(self) -> str:
        """The method's name without its settings."""
        return parse_spec(self.label)[0]

    @property
    def accuracy_text(self) -> str:
        """Mean and interval."""
        return plus_minus(self.mean, self.half_width)

    @property
    def gap_text(self) -> str:
        """Gap to Random and its interval."""
        return paired_gap(self.gap, self.gap_half_width, self.pairs, self.seeds)


def ours() -> list[Ours]:
    """Return everything that was measured, in the order of the files."""
    return [*_trainings(), *_cells()]


def _trainings() -> Iterator[Ours]:
    """The files with a line for each training."""
    kinds = {"keep": float, "seed": int, "test_accuracy": float, "seconds": float, "kept": int}
    for path in sorted(RESULTS.glob("*/results.csv")):
        with path.open() as file:
            records = [{key: kinds.get(key, str)(value) for key, value in row.items()} for row in csv.DictReader(file)]
        data, model = records[0].get("data", "cifar10"), records[0].get("model", "small")
        yield from _rows(records, data, "", model, path.parent)


def _cells() -> Iterator[Ours]:
    """The trainings of `thresher reproduce`, one file each; only what differs in nothing but the method is compared.

    Those of earlier rules, by which a cell kept other samples, are history; those whose loss is scaled otherwise than
    published are controls, which their pages show. Raises ValueError where two are of the same method, share and seed.
    """
    groups: dict[tuple[Any, ...], dict[tuple[Any, ...], dict[str, Any]]] = {}
    for path in sorted(RESULTS.glob("*/results/*.json")):
        result = json.loads(path.read_text())
        cell, changes = result.get("cell", {}), [result.get(name) for name in ("mislabel", "corrupt", "holdout")]
        if cell.get("rules") != RULES or cell.get("scale_loss", "published") != "published":
            continue
        change = "noise" if changes[0] else "corruption" if changes[1] else ""
        train = json.dumps([*changes, result["train"]], sort_keys=True)
        records = groups.setdefault((path.parents[1], result["data"], change, result["train"]["model"], train), {})
        of = (result["method"], result["keep"], result["seed"])
        if of in records:
            raise ValueError(f"{path} and another file beside it are of {of}: of which recording is each?")
        records[of] = result
    for (folder, data, change, model, _), records in groups.items():
        yield from _rows(list(records.values()), data, change, model, folder)


def _rows(records: list[dict[str, Any]], data: str, change: str, model: str, folder: Path) -> Iterator[Ours]:
    """Group trainings by method and kept share."""
    for row in grouped(records):
        gap = (row.gap_mean, row.gap_half_width, row.n_pairs)
        measured = (row.accuracy_mean, row.accuracy_half_width, row.n_seeds, *gap)
        yield Ours(row.method, data, change, model, row.keep, *measured, f"{folder.name}/README.md")


@dataclass(frozen=True)
class Setting:
    """What a published table holds apart from method and kept share."""

    table: str
    data: str
    model: str
    batch_size: int | None

    @property
    def text(self) -> str:
        """Data set, what was done to it, network and batch, as the table says."""
        parts = [DATA[self.data], CHANGES[_CHANGED.get(self.table, "")], NETWORKS[self.model]]
        return ", ".join([p for p in parts if p] + ([f"batch {self.batch_size}"] if self.batch_size else []))


def published(method: str) -> dict[Setting, dict[float, PublishedNumber]]:
    """Return what was published for a method: setting, then kept share."""
    found: dict[Setting, dict[float, PublishedNumber]] = {}
    for name in TABLES:
        for number in published_table(name):
            if number.method == method:
                setting = Setting(name, number.dataset, number.model or "resnet18", number.batch_size)
                found.setdefault(setting, {})[number.keep] = number
    return found


def beside(number: Ours) -> str:
    """Return the published number for the same data and kept share with its gap to Random, of ResNet-18; "" for none."""
    if number.model not in ("small", "resnet18") or number.label != number.method or number.method == FULL:
        return ""  # the smaller network was not the study's, and published settings are the method's own
    tables = {"noise": "table10", "corruption": "table9"}
    own, random = (_published_at(m, tables.get(number.change, "table6"), number) for m in (number.method, RANDOM))
    if own is None:
        return ""
    gap = "" if random is None or number.method == RANDOM else f" ({own.accuracy - random.accuracy:+.2f})"
    return f"{own.accuracy:.2f}{gap}"


def _published_at(method: str, table: str, number: Ours) -> PublishedNumber | None:
    """Return the entry with the smallest batch, as the study's own headline has."""
    found = [n for n in published_table(table) if (n.method, n.dataset, n.keep) == (method, number.data, number.keep)]
    return min(found, key=lambda n: n.batch_size or 0) if found else None


def shares(settings: Sequence[dict[float, PublishedNumber]]) -> list[float]:
    """Return the kept shares of some settings, largest first."""
    return sorted({keep for numbers in settings for keep in numbers}, reverse=True)

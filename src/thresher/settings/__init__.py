"""Published settings, shipped as small tables. `tdds_settings.csv`: TDDS supplementary, Figure 7 and section C."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from pathlib import Path


@dataclass(frozen=True)
class TddsSetting:
    """One published (T, K): score after `epochs` epochs with a window of `window`, to remove the share `pruning_rate`."""

    dataset: str
    surrogate: str
    pruning_rate: Fraction
    epochs: int
    window: int


@cache
def tdds_settings() -> tuple[TddsSetting, ...]:
    """Return the published settings, in the order of the table.

    >>> setting = next(s for s in tdds_settings() if s.dataset == "cifar10" and s.pruning_rate == Fraction(9, 10))
    >>> setting.epochs, setting.window
    (10, 5)
    """
    with Path(__file__).with_name("tdds_settings.csv").open(encoding="utf-8") as file:
        return tuple(
            TddsSetting(row["dataset"], row["surrogate"], Fraction(row["pruning_rate"]), int(row["T"]), int(row["K"]))
            for row in csv.DictReader(file)
        )

"""Cells: one number of a study, described so completely that a digest of it names its result file on any machine."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from thresher.errors import InputError, nearest
from thresher.experiments.rundir import digest_of
from thresher.methods import FULL, RANDOM
from thresher.settings.tables import PublishedNumber
from thresher.train.spec import TrainSpec

RULES = 2
"""Raised by one whenever the same cell would keep other samples: by another draw (decision 0016), or by settings derived in
another way. It is part of a cell's name, so that results of different rules never stand on one board.
"""


@dataclass(frozen=True)
class Cell:
    """One coreset training with all that leads to it: data and its changes, surrogate, method, kept share, recipe, seed.

    `method` "full" trains on everything; "random" needs no surrogate. The seed is that of the selection and of the training.
    """

    data: str
    method: str
    keep: float
    surrogate: TrainSpec
    coreset: TrainSpec
    seed: int = 0
    surrogate_seed: int = 42
    scale_loss: str = "published"
    corrupt: str | None = None
    mislabel: str | None = None
    holdout: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Return nested plain values, without the surrogate where there is none."""
        content = {**asdict(self), "rules": RULES}
        if not self.recorded:
            del content["surrogate"], content["surrogate_seed"]
        return content

    @property
    def recorded(self) -> bool:
        """Whether a surrogate has to be recorded for it."""
        return self.method not in (FULL, RANDOM)

    @property
    def digest(self) -> str:
        """16 hexadecimal digits that name the cell's result, on any machine, before anything has run."""
        return digest_of(self.to_json())

    @property
    def origin(self) -> dict[str, str | None]:
        """Which data it trains on: the data set and its changes."""
        return {"data": self.data, "corrupt": self.corrupt, "mislabel": self.mislabel, "holdout": self.holdout}

    @property
    def source(self) -> dict[str, Any]:
        """What determines the recording; cells with the same one share it."""
        return {**self.origin, "surrogate": self.surrogate.to_json(), "seed": self.surrogate_seed}


@dataclass(frozen=True)
class Entry:
    """One line of a table: a cell for every seed, how it is labelled, and the published number beside it.

    `labels` hold "data", "model", "keep", "batch", "method" and whatever else tells a target's lines apart, all as text.
    """

    target: str
    cell: Cell
    labels: Mapping[str, str]
    published: PublishedNumber | None = None
    remark: str = ""

    def cells(self, seeds: Iterable[int]) -> list[Cell]:
        """Return its cells, one per seed."""
        return [replace(self.cell, seed=seed) for seed in seeds]


NONE = "none"


@dataclass(frozen=True)
class Filter:
    """Which entries are wanted: `{"method": ("tdds", "random"), "keep": ("0.1",)}`; no key, no condition.

    An entry without a label has the value "none": `T=none` leaves the candidate (T, K) out.
    """

    wanted: Mapping[str, Sequence[str]] = field(default_factory=dict)

    @classmethod
    def parse(cls, text: str, entries: Iterable[Entry]) -> Filter:
        """Return the filter that `method=tdds,random keep=0.1` names.

        Raises InputError for a key or a value that none of the entries has.
        """
        labels = [entry.labels for entry in entries]
        keys = {key for found in labels for key in found}
        known = {key: {found.get(key, NONE) for found in labels} for key in keys}
        wanted: dict[str, Sequence[str]] = {}
        for part in text.split():
            key, equals, values = part.partition("=")
            if not equals or not values or key in wanted:
                raise InputError(f"Expected conditions such as 'method=tdds,random keep=0.1', but got {text!r}.")
            if key not in known:
                raise InputError(f"No entry has a {key!r}{nearest(key, known)}. There are: {', '.join(sorted(known))}.")
            wanted[key] = tuple(values.split(","))
            for value in wanted[key]:
                if value not in known[key]:
                    there = ", ".join(sorted(known[key]))
                    raise InputError(f"No entry has {key}={value}{nearest(value, known[key])}. There are: {there}.")
        return cls(wanted)

    def admits(self, entry: Entry) -> bool:
        """Whether an entry meets all conditions."""
        return all(entry.labels.get(key, NONE) in values for key, values in self.wanted.items())

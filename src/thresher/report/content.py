"""What a report is made from: plain values, so that it can be made from anywhere and tested without a training."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from thresher.methods import FULL
from thresher.types import Floats, Ids

ImageOf = Callable[[int], NDArray[np.uint8]]
"""Gives the image (H, W, C) uint8 of a sample id."""


@dataclass(frozen=True)
class Line:
    """One line of the results table. Accuracies and gaps in percent, half-widths None with one seed.

    `n_pairs` is how many seeds the gap is the mean of, None for all; `n_diverged` is how many trainings diverged;
    `accuracies` maps a seed to its accuracy in percent, which the plots show as points.
    """

    method: str
    keep: float
    kept: int
    n_seeds: int
    accuracy_mean: float
    accuracy_half_width: float | None
    gap_mean: float | None
    gap_half_width: float | None
    seconds: float
    accuracies: Mapping[int, float] = field(default_factory=dict)
    n_pairs: int | None = None
    n_diverged: int = 0


@dataclass(frozen=True)
class ScoreColumn:
    """One score of every sample: `values` (N,) float32, NaN where there is none."""

    name: str
    values: Floats
    hard_end: Literal["high", "low"] = "high"


@dataclass(frozen=True)
class Selection:
    """What a method kept: `ids` (k,) sorted. `column` names the score it went by; `seed` tells which draw is shown."""

    method: str
    keep: float
    ids: Ids
    column: str | None = None
    seed: int | None = None


@dataclass(frozen=True)
class DataMap:
    """Per sample over the recorded epochs, (N,) float32 each: mean and standard deviation of the target probability.

    `correctness` is the share of epochs with a right prediction, None where it was not recorded. `shown` (S,) are the
    samples whose image and trajectory the file carries; `trajectories` (S, T) float32 is their target probability, NaN in
    epochs without them.
    """

    mean: Floats
    variability: Floats
    correctness: Floats | None
    epochs: int
    shown: Ids = field(default_factory=lambda: np.empty(0, dtype=np.int64))
    trajectories: Floats | None = None


@dataclass(frozen=True)
class Published:
    """An accuracy of the literature in percent, with its standard deviation where that was printed."""

    method: str
    keep: float
    accuracy: float
    std: float | None = None


@dataclass(frozen=True)
class Settling:
    """How near a score's ranking after `at` epochs is to the one after all of them.

    `correlation` is Spearman's, `overlap` the share of the hardest samples that are the hardest at the end, too.
    """

    name: str
    at: tuple[int, ...]
    correlation: tuple[float, ...]
    overlap: tuple[float, ...]


@dataclass(frozen=True)
class Suspects:
    """Samples that the surrogate never came to terms with, the worst first: `ids` (k,) with their `values` (k,)."""

    title: str
    ids: Ids
    values: Floats


@dataclass(frozen=True)
class Cost:
    """What one method costs at one kept share: the epochs of the surrogate that its score needs, and a retraining."""

    method: str
    keep: float
    epochs: int
    seconds: float
    passes: int


@dataclass(frozen=True)
class Ledger:
    """What was spent: seconds by the clock, None where not measured, and samples passed through a network (`passes`).

    `epochs` is the number of epochs of the surrogate, `surrogate_passes` what they come to; `full` is one training on
    everything.
    """

    epochs: int
    surrogate_passes: int
    surrogate_seconds: float | None
    scoring_seconds: float | None
    full_passes: int
    full_seconds: float | None
    costs: tuple[Cost, ...]


@dataclass(frozen=True)
class Content:
    """Everything a report shows.

    `targets` (N,) int64; `facts` are (label, value) for the summary; `environment` and `spec` are JSON-ready; `command`
    is what a person types to get these numbers again; `titles` says in words what each method is. `published` are the
    literature's accuracies, and `published_note` says what they were measured with; `planted` (N,) bool are the samples that
    were given a wrong label on purpose, `suspects_note` says what the recording as a whole tells of the labels.
    """

    title: str
    description: str
    targets: NDArray[np.int64]
    class_names: tuple[str, ...]
    lines: tuple[Line, ...] = ()
    scores: tuple[ScoreColumn, ...] = ()
    selections: tuple[Selection, ...] = ()
    data_map: DataMap | None = None
    published: tuple[Published, ...] = ()
    published_note: str = ""
    settling: tuple[Settling, ...] = ()
    settling_keep: float = 0.1
    suspects: tuple[Suspects, ...] = ()
    suspects_note: str = ""
    planted: NDArray[np.bool_] | None = None
    ledger: Ledger | None = None
    image: ImageOf | None = None
    facts: tuple[tuple[str, str], ...] = ()
    notices: tuple[str, ...] = ()
    titles: Mapping[str, str] = field(default_factory=dict)
    environment: Mapping[str, Any] = field(default_factory=dict)
    spec: Mapping[str, Any] = field(default_factory=dict)
    command: str = ""

    @property
    def keeps(self) -> tuple[float, ...]:
        """Kept shares of the methods, ascending; the first is the one that is shown in detail."""
        found = {line.keep for line in self.lines if line.method != FULL} | {s.keep for s in self.selections}
        return tuple(sorted(found))

    @property
    def methods(self) -> tuple[str, ...]:
        """Methods in the order they appear, without the full-data training."""
        named = [line.method for line in self.lines] + [s.method for s in self.selections]
        return tuple(dict.fromkeys(name for name in named if name != FULL))

    def selected(self, keep: float) -> dict[str, Selection]:
        """Return one selection per method at this kept share: the first given."""
        found: dict[str, Selection] = {}
        for selection in self.selections:
            if selection.keep == keep:
                found.setdefault(selection.method, selection)
        return found

    def class_name(self, target: int) -> str:
        """Return the name of a class, or its number where it has none."""
        return self.class_names[target] if 0 <= target < len(self.class_names) else str(target)

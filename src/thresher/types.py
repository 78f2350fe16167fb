"""The types passed between modules: Frame, Pool, Scores. (`Coreset` is in `coreset.py`.)

Letters: `N` samples, `M` rows of a frame, `C` classes, `D` feature width, `T` epochs. A sample id is an int64 position
in `[0, N)` of the original, unpruned data set, always and everywhere.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import DTypeLike, NDArray

from thresher.arrays import ArrayLike, as_asked, as_floats, as_labels, same_fields
from thresher.arrays import Floats as Floats
from thresher.arrays import Ids as Ids
from thresher.errors import InputError

HardEnd = Literal["high", "low"]


def is_whole(number: object) -> bool:
    """Return whether a number is an integer, Python's or NumPy's; booleans do not count.

    >>> is_whole(np.int16(3)), is_whole(3.0), is_whole(True)
    (True, False, False)
    """
    return isinstance(number, (int, np.integer)) and not isinstance(number, bool)


@dataclass(frozen=True, eq=False, repr=False)
class Frame:
    """What one epoch showed: one row per sample observed in training or in the evaluation pass.

    `epoch` counts from 0. `ids` is (M,) int64, sorted and unique. `values` maps a signal's name to (M,) float32; it is NaN
    where the signal could not be computed for a sample (the change, if there is no earlier epoch; training signals, if only
    the evaluation pass showed the sample).
    `n` is the number of samples of the data set; `complete` says that `ids` is exactly `0..n-1`.
    """

    epoch: int
    ids: Ids
    values: Mapping[str, Floats]
    n: int

    def __eq__(self, other: object) -> bool:
        return same_fields(self, other) if isinstance(other, Frame) else NotImplemented

    def __repr__(self) -> str:
        return f"<thresher.Frame of epoch {self.epoch}, {len(self.ids)} of {self.n} samples: {', '.join(self.values)}>"

    @property
    def complete(self) -> bool:
        """True when every sample of the data set has a row, so `ids` need not be used for indexing."""
        return len(self.ids) == self.n

    @property
    def rows(self) -> slice | Ids:
        """Index of this frame's rows in an (N,) array: a cheap slice when complete, else `ids`."""
        return slice(None) if self.complete else self.ids

    def having(self, names: Collection[str]) -> Frame:
        """Return the rows in which at least one of these signals has a value: the epoch as a reader of only these sees it.

        >>> values = {"loss": np.array([0.5, np.nan], np.float32), "eval_entropy": np.array([0.1, 0.2], np.float32)}
        >>> frame = Frame(0, np.array([3, 7]), values, 10)
        >>> frame.having(["loss"]).ids.tolist(), frame.having(["eval_entropy"]) is frame
        ([3], True)
        """
        lacking: NDArray[np.bool_] | None = None
        for name in names:
            holes = np.isnan(self.values[name])
            lacking = holes if lacking is None else lacking & holes
            if not lacking.any():
                return self
        if lacking is None:
            return self
        values = {name: self.values[name][~lacking] for name in names}
        return Frame(self.epoch, self.ids[~lacking], values, self.n)


@dataclass(frozen=True, eq=False, repr=False)
class Pool:
    """What is known of the samples besides their dynamics.

    `n` samples; `targets` (N,) int64 class labels or None; `features` (N, D) float32 penultimate outputs of the
    trained surrogate or None; `num_classes` C or None; `aux` maps names to further (N,) float32 scores that a selector
    reads besides the main one (DUAL's `beta`: `mean_prob`). Raises InputError for an `n` that is not an integer and for
    targets that are not (N,) integers.

    >>> Pool(2, np.array([0, 1])).need_targets("top").tolist()
    [0, 1]
    """

    n: int
    targets: NDArray[np.int64] | None = None
    features: Floats | None = None
    num_classes: int | None = None
    aux: Mapping[str, Floats] = field(default_factory=dict)

    if TYPE_CHECKING:  # what is taken is more than what is held

        def __init__(
            self,
            n: int,
            targets: ArrayLike | None = None,
            features: Floats | None = None,
            num_classes: int | None = None,
            aux: Mapping[str, Floats] = ...,
        ) -> None: ...

    def __post_init__(self) -> None:
        if not is_whole(self.n):
            raise InputError(f"Expected n, the number of samples, as an integer, but got {self.n!r}.")
        if self.targets is None:
            return
        object.__setattr__(self, "targets", as_labels(self.targets))

    def __eq__(self, other: object) -> bool:
        return same_fields(self, other) if isinstance(other, Pool) else NotImplemented

    def __repr__(self) -> str:
        size = f"{self.n} samples" + ("" if self.num_classes is None else f" in {self.num_classes} classes")
        known = [name for name in ("targets", "features") if getattr(self, name) is not None]
        return f"<thresher.Pool of {size}: {', '.join([*known, *self.aux]) or 'neither targets nor features'}>"

    def need_targets(self, who: str) -> NDArray[np.int64]:
        """Return targets, or raise InputError saying that `who` needs them."""
        if self.targets is None:
            raise InputError(
                f"{who} needs the class label of every sample, but this source has none. "
                "Give targets (for official dumps: add a targets.npy to their folder)."
            )
        return self.targets

    def need_features(self, who: str) -> Floats:
        """Return features, or raise InputError saying that `who` needs them."""
        if self.features is None:
            raise InputError(
                f"{who} needs the penultimate features of every sample, but none were recorded. "
                "Pass `features=` to Recorder.update_eval (thresher record does so unless --no-features is given)."
            )
        return self.features


@dataclass(frozen=True, eq=False, repr=False)
class Scores:
    """One number per sample of the data set.

    `values` is (N,) float32, NaN where a sample was never (or not often enough) observed; `hard_end` says which end
    is hard ("high": large means hard or informative, "low": small does); `source` is JSON-ready provenance
    (scorer name, parameters, epochs). Arrays, tensors and columns of data frames are taken; masked and missing values are
    NaN; a float32 array is not copied. Two are equal if values and `hard_end` are, wherever they come from. `np.asarray`
    gives the values. Raises InputError for values that are not 32-bit numbers or not of shape (N,), for another `hard_end`,
    and for a `source` that is no mapping.

    >>> Scores(np.array([0.5, -0.25]), "low").difficulty.tolist()
    [-0.5, 0.25]
    """

    values: Floats
    hard_end: HardEnd = "high"
    source: Mapping[str, Any] = field(default_factory=dict, compare=False)

    if TYPE_CHECKING:  # what is taken is more than what is held

        def __init__(self, values: ArrayLike, hard_end: HardEnd = "high", source: Mapping[str, Any] = ...) -> None: ...

    def __post_init__(self) -> None:
        values = as_floats(self.values)
        if values.ndim != 1:
            raise InputError(f"Expected scores of shape (N,), one per sample, but got shape {values.shape}.")
        object.__setattr__(self, "values", values)
        if self.hard_end not in ("high", "low"):
            raise InputError(f"Expected hard_end to be 'high' or 'low', but got {self.hard_end!r}.")
        object.__setattr__(self, "source", as_source(self.source))

    def __len__(self) -> int:
        return len(self.values)

    def __iter__(self) -> Iterator[float]:  # pandas takes what can be iterated for a column
        return iter(self.values.tolist())

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> NDArray[Any]:
        return as_asked(self.values, dtype, copy)

    def __eq__(self, other: object) -> bool:
        return same_fields(self, other) if isinstance(other, Scores) else NotImplemented

    def __repr__(self) -> str:
        there = self.values[~np.isnan(self.values)]
        spread = f"{there.min():.4g} to {there.max():.4g}" if len(there) else "no sample has one"
        without = f", {len(self) - len(there)} without one" if 0 < len(there) < len(self) else ""
        by = f" by {self.source['scorer']}" if isinstance(self.source.get("scorer"), str) else ""
        at = f" after {self.source['at']} epochs" if is_whole(self.source.get("at")) else ""
        return f"<thresher.Scores of {len(self)} samples{by}{at}: {spread}{without}, {self.hard_end} = hard>"

    @property
    def difficulty(self) -> Floats:
        """(N,) float32, oriented so that larger is harder, whatever the score's own direction; the values themselves, not a
        copy, where "high" is hard."""
        return self.values if self.hard_end == "high" else -self.values


def as_source(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return a copy of a provenance; raises InputError for anything but a mapping."""
    if not isinstance(given, Mapping):
        raise InputError(f"Expected source as a mapping, such as {{'method': 'mine'}}, but got {given!r}.")
    return dict(given)


SEEDS = 2**63
"""Number of possible seeds: what torch's generators take."""


def as_names(given: Iterable[str], what: str) -> tuple[str, ...]:
    """Return names as a tuple. Raises InputError, in which they are called `what`, for a single string, which would be read
    letter by letter, and for anything that is not a collection.

    >>> as_names(["loss", "entropy"], "signals")
    ('loss', 'entropy')
    """
    if isinstance(given, str) or not isinstance(given, Iterable):
        raise InputError(f"Expected {what} as a list of names, such as ['name'], but got {given!r}.")
    return tuple(given)


def check_seed(seed: int) -> None:
    """Raise InputError for anything but an integer in [0, 2^63).

    >>> check_seed(0), check_seed(2**63 - 1)
    (None, None)
    """
    if not is_whole(seed) or not 0 <= seed < SEEDS:
        raise InputError(f"Expected a seed, an integer in [0, 2^63), but got {seed!r}.")


def check_scores(value: object, where: str = "") -> None:
    """Raise InputError for anything but `Scores`."""
    if not isinstance(value, Scores):
        raise InputError(
            f"Expected thresher.Scores{where}, but got {type(value).__name__}. Take one column, as in "
            "recorder.scores()['tdds'], or wrap an array and say which end is hard: Scores(values, hard_end='high')."
        )

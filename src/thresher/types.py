"""The types passed between modules: Frame, Pool, Scores. (`Coreset` is in `coreset.py`.)

Letters: `N` samples, `M` rows of a frame, `C` classes, `D` feature width, `T` epochs. A sample id is an int64 position
in `[0, N)` of the original, unpruned data set, always and everywhere.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from thresher.errors import InputError

Floats = NDArray[np.float32]
Ids = NDArray[np.int64]
HardEnd = Literal["high", "low"]


def is_whole(number: object) -> bool:
    """Return whether a number is an integer, Python's or NumPy's; booleans do not count.

    >>> is_whole(np.int16(3)), is_whole(3.0), is_whole(True)
    (True, False, False)
    """
    return isinstance(number, (int, np.integer)) and not isinstance(number, bool)


@dataclass(frozen=True)
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


def on_host(given: Any) -> Any:
    """Return a tensor as one that NumPy can read, from whatever device and graph, and everything else as it is."""
    return given.detach().cpu() if hasattr(given, "detach") and hasattr(given, "cpu") else given


def as_whole_array(given: Any, what: str) -> NDArray[Any]:
    """Return an array without a copy where there is one. Raises InputError, in which it is called `what`, for one with
    masked entries, since NumPy would take what lies below the mask, and for what NumPy has no type or no shape for."""
    if isinstance(given, np.ma.MaskedArray) and np.ma.is_masked(given):
        raise InputError(
            f"Expected {what} without a mask, but {int(np.ma.getmaskarray(given).sum())} of {given.size} are masked. Fill "
            "them in, or leave them out: array.compressed()."
        )
    try:
        return np.asarray(on_host(given))
    except (TypeError, ValueError):  # bfloat16 and smaller floats; sequences of unequal parts
        came = f" of {given.dtype}" if hasattr(given, "dtype") else " with parts of other lengths"
        raise InputError(f"Expected {what} as an array, but got a {type(given).__name__}{came}.") from None


def narrow(values: NDArray[Any], dtype: str) -> tuple[NDArray[Any], str]:
    """Return numbers in a narrower dtype, without a copy where they are, and the first finite one that became infinite, ""
    where none did.

    >>> narrow(np.array([0.5, 1e300]), "float32")[1], narrow(np.array([0.5, np.inf]), "float32")[1]
    ('1e+300', '')
    """
    with np.errstate(over="ignore"):
        made = values.astype(dtype, copy=False)
    if made is not values and values.dtype.kind in "fiu" and (lost := np.isinf(made) & np.isfinite(values)).any():
        return made, f"{values[lost][0]:g}"
    return made, ""


def as_floats(given: Any) -> Floats:
    """Return scores as float32, without a copy where they are; missing and masked ones are NaN.

    Raises InputError for what are no numbers, and for finite ones that float32 cannot hold.

    >>> as_floats(np.ma.masked_array([0.5, 2.0], [False, True])).tolist()
    [0.5, nan]
    """
    plain = on_host(given)
    if isinstance(plain, np.ma.MaskedArray):
        plain = np.ma.filled(plain.astype(np.float64), np.nan)
    elif "bfloat16" in str(getattr(plain, "dtype", "")):  # NumPy has none
        plain = plain.float()
    try:
        found = np.asarray(plain)
        if found.dtype.kind in "cmMV":  # imaginary parts would be dropped, and days and seconds counted
            raise TypeError
        values, lost = narrow(found, "float32")
    except (TypeError, ValueError, OverflowError):  # texts, sequences of unequal parts
        came = f" of {given.dtype}" if hasattr(given, "dtype") else " with other values"
        raise InputError(f"Expected numeric scores, but got a {type(given).__name__}{came}.") from None
    if lost:
        raise InputError(f"Expected 32-bit numbers as scores, but got {lost}. Scale them, or use ranks.")
    return values


def as_labels(targets: Any) -> NDArray[np.int64]:
    """Return class labels as (N,) int64, without a copy where they are; raises InputError if they are not integers.

    Groups are numbered by them, and a narrower type has no room for the numbers.
    """
    labels = as_whole_array(targets, "targets")
    if labels.ndim != 1 or labels.dtype.kind not in "iu":
        raise InputError(
            f"Expected targets as (N,) integer class labels, but got {labels.dtype} of shape {labels.shape}. Turn class "
            "names into numbers: np.unique(labels, return_inverse=True)[1]."
        )
    return labels.astype(np.int64, copy=False)


@dataclass(frozen=True)
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

    def __post_init__(self) -> None:
        if not is_whole(self.n):
            raise InputError(f"Expected n, the number of samples, as an integer, but got {self.n!r}.")
        if self.targets is None:
            return
        object.__setattr__(self, "targets", as_labels(self.targets))

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


@dataclass(frozen=True)
class Scores:
    """One number per sample of the data set.

    `values` is (N,) float32, NaN where a sample was never (or not often enough) observed; `hard_end` says which end
    is hard ("high": large means hard or informative, "low": small does); `source` is JSON-ready provenance
    (scorer name, parameters, epochs). Arrays, tensors and columns of data frames are taken; masked and missing values are
    NaN. Raises InputError for values that are not 32-bit numbers or not of shape (N,), and for another `hard_end`.

    >>> Scores(np.array([0.5, -0.25]), "low").difficulty.tolist()
    [-0.5, 0.25]
    """

    values: Floats
    hard_end: HardEnd = "high"
    source: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        values = as_floats(self.values)
        if values.ndim != 1:
            raise InputError(f"Expected scores of shape (N,), one per sample, but got shape {values.shape}.")
        object.__setattr__(self, "values", values)
        if self.hard_end not in ("high", "low"):
            raise InputError(f"Expected hard_end to be 'high' or 'low', but got {self.hard_end!r}.")

    @property
    def difficulty(self) -> Floats:
        """(N,) float32, oriented so that larger is harder, whatever the score's own direction."""
        return self.values if self.hard_end == "high" else -self.values


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

"""What callers give as arrays: tensors, lists and columns of data frames, too, each checked where it comes in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt
from numpy.typing import DTypeLike, NDArray

from thresher.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor

Floats = NDArray[np.float32]
Ids = NDArray[np.int64]
ArrayLike: TypeAlias = "npt.ArrayLike | Tensor"
"""An array, or what becomes one: a tensor on any device, a list, a column of a data frame."""


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


def as_asked(values: NDArray[Any], dtype: DTypeLike | None, copy: bool | None) -> NDArray[Any]:
    """Return what `np.asarray` asks an object's `__array__` for; NumPy 1 has no copy=None: where it must."""
    return np.asarray(values, dtype) if copy is None else np.array(values, dtype, copy=copy)


def plain_float(number: Any) -> float:
    """Return a number as Python's float; one of NumPy's as that with its decimal form, which is what was meant.

    >>> plain_float(np.float32(0.7)), plain_float(1)
    (0.7, 1.0)
    """
    return float(str(number) if isinstance(number, np.floating) else number)


def narrow(values: NDArray[Any], dtype: str) -> tuple[NDArray[Any], str]:
    """Return numbers in a narrower dtype, without a copy where they are, and the first finite one that became infinite, ""
    where none did.

    >>> narrow(np.array([0.5, 1e300]), "float32")[1], narrow(np.array([0.5, np.inf]), "float32")[1]
    ('1e+300', '')
    """
    if values.dtype == object:  # Python's numbers, decimals, None: as NumPy's, among which the lost one is found
        values = values.astype(np.float64)
    with np.errstate(over="ignore"):
        made = values.astype(dtype, copy=False)
    if made is not values and values.dtype.kind in "fiu" and (lost := np.isinf(made) & np.isfinite(values)).any():
        return made, f"{values[lost][0]:g}"
    return made, ""


def as_floats(given: Any) -> Floats:
    """Return scores as float32, without a copy where they are; missing and masked ones are NaN.

    Raises InputError for what are no numbers, for finite ones that float32 cannot hold, and for `Scores`, which would lose
    which end is hard.

    >>> as_floats(np.ma.masked_array([0.5, 2.0], [False, True])).tolist()
    [0.5, nan]
    """
    if hasattr(given, "hard_end"):
        raise InputError(
            "Expected numeric scores, but got a Scores, which also says which end is hard. Take its .values, or its "
            ".difficulty, where larger is harder."
        )
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


def same_fields(one: Any, other: Any) -> bool:
    """Return whether two instances of a dataclass hold the same; missing numbers are alike, and fields that are not to be
    compared, such as provenance, do not count."""
    return all(_same(getattr(one, field.name), getattr(other, field.name)) for field in fields(one) if field.compare)


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, np.ndarray) and isinstance(other, np.ndarray):
        return np.array_equal(one, other, equal_nan=one.dtype.kind == other.dtype.kind == "f")
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return one.keys() == other.keys() and all(_same(one[key], other[key]) for key in one)
    return isinstance(one, np.ndarray) == isinstance(other, np.ndarray) and bool(one == other)

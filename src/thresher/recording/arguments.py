"""What a training loop passes to the Recorder: types, shapes and settings, checked before any value is read."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from thresher.arrays import ArrayLike as ArrayLike
from thresher.arrays import as_whole_array
from thresher.errors import InputError, SampleIdError
from thresher.signals import FEATURE_SIGNALS
from thresher.types import is_whole

Missing = Literal["error", "allow"]
Duplicates = Literal["error", "first"]
_HINTS = {
    "logits": "Pass the tensor itself: output.logits if the model returns an output object.",
    "targets": "Turn class names into numbers: np.unique(labels, return_inverse=True)[1].",
    "sample_ids": "Number your samples once and keep a list of their names, or wrap the data set in thresher.data.Indexed, "
    "which adds the numbers.",
}
_SOFT = (
    "For one-hot or smoothed labels pass the class, labels.argmax(1). The output for a mixed image (mixup, CutMix) belongs "
    "to no single sample: pass the outputs of a pass over the unmixed set after each epoch instead."
)


@dataclass(frozen=True)
class Batch:
    """A checked batch: `logits` (B, C) float32, `targets` and `ids` (B,) int64 on the Recorder's device; `features` (B, D)
    as given, or None. `sizes` are the rows of each batch that waited, where it is several; empty where it is one."""

    logits: Tensor
    targets: Tensor
    ids: Tensor
    features: Tensor | None
    sizes: tuple[int, ...] = ()


def as_batch(
    logits: ArrayLike, targets: ArrayLike, sample_ids: ArrayLike, features: ArrayLike | None, num_classes: int
) -> Batch:
    """Check types and shapes of what a training loop passed, and return it as tensors on their own devices."""
    logits, targets, ids = tensor(logits, "logits"), tensor(targets, "targets"), tensor(sample_ids, "sample_ids")
    if logits.ndim != 2 or logits.shape[1] != num_classes:
        one = num_classes == 2 and (logits.ndim == 1 or logits.shape[1:] == (1,))
        raise InputError(
            f"Expected logits of shape (B, {num_classes}), but got {tuple(logits.shape)}. "
            + (
                "If a binary model gives one logit z, the two classes have the logits [0, z]: z = z.reshape(-1, 1), then "
                "torch.cat([torch.zeros_like(z), z], 1)."
                if one
                else "num_classes is fixed when the Recorder is made."
            )
        )
    if not logits.dtype.is_floating_point:
        raise InputError(f"Expected floating-point logits, but got {logits.dtype}.")
    _check_width("logits", logits)
    for what, value in (("sample_ids", ids), ("targets", targets)):
        kind = SampleIdError if what == "sample_ids" else InputError
        soft = what == "targets" and value.shape == logits.shape
        if value.dtype.is_floating_point or value.dtype == torch.bool or value.dtype.is_complex:
            hint = _SOFT if soft else "Convert them to int64 first."
            raise kind(f"Expected integer {what}, but got {value.dtype}. {hint}")
        if value.shape != logits.shape[:1]:
            hint = f" {_SOFT}" if soft else ""
            raise kind(f"Expected {what} of shape ({logits.shape[0]},), but got {tuple(value.shape)}.{hint}")
    rows = None if features is None else tensor(features, "features")
    if rows is not None and (rows.ndim != 2 or len(rows) != len(logits) or not rows.shape[1]):
        raise InputError(f"Expected features of shape ({len(logits)}, D), but got {tuple(rows.shape)}.")
    if rows is not None:
        _check_width("features", rows)
    return Batch(logits, targets, ids, rows)


def _check_width(what: str, values: Tensor) -> None:
    """Raise InputError for complex numbers, and for floats that were cut to 8 bits or fewer."""
    if values.dtype.is_complex or (values.dtype.is_floating_point and values.dtype.itemsize < 2):
        raise InputError(
            f"Expected {what} as real numbers of 16 bits or more, but got {values.dtype}. Pass the layer's output as "
            "it is before it is quantised."
        )


def tensor(value: ArrayLike, what: str = "values") -> Tensor:
    """Return `value` as a tensor, without a copy if possible. Raises InputError, in which it is called `what`."""
    if isinstance(value, Tensor):
        if hasattr(value, "full_tensor"):
            raise InputError(
                f"Expected {what} as an ordinary tensor, but got a {type(value).__name__}, of which each rank holds a part. "
                "Pass full_tensor(), which all ranks that hold a part must call."
            )
        if value.layout != torch.strided or value.is_nested:
            came = "nested one" if value.is_nested else f"{value.layout} one"
            raise InputError(f"Expected {what} as a dense tensor, but got a {came}. Pass to_dense(), or rows of one length.")
        return value.detach() if value.requires_grad else value
    value = as_whole_array(value, what) if isinstance(value, np.ma.MaskedArray) else value
    try:
        array = np.ascontiguousarray(value)
        if array.dtype.isnative and array.dtype.kind in "biufc":
            return torch.from_numpy(array if array.flags.writeable else array.copy())
        came = type(value).__name__ + ("" if array.dtype == object else f" of {array.dtype}")
        foreign = array.dtype.kind in "biufc"
    except (TypeError, ValueError):  # sequences of unequal parts, or of tensors on an accelerator; 128 bits
        came, foreign = type(value).__name__ + (f" of {value.dtype}" if hasattr(value, "dtype") else ""), False
    hint = "Convert to native byte order: array.astype(array.dtype.newbyteorder('='))." if foreign else _HINTS.get(what, "")
    kind = SampleIdError if what == "sample_ids" else InputError
    expected = "integer sample_ids" if what == "sample_ids" else f"{what} as a tensor or an array of numbers"
    raise kind(f"Expected {expected}, but got {came}. {hint}".rstrip())


def as_device(device: torch.device | str) -> torch.device:
    """Return a device by name. Raises InputError for an invalid name, and for a GPU that is not there.

    >>> as_device("cpu")
    device(type='cpu')
    """
    try:
        found = torch.device(device)
    except (RuntimeError, TypeError):
        raise InputError(f"Expected a torch device, such as 'cpu', 'cuda' or 'cuda:1', but got {device!r}.") from None
    if found.type == "cuda":
        count = torch.cuda.device_count()
        if (found.index or 0) >= count:
            there = f"{count or 'no'} GPU{'s' if count > 1 else ''}"
            raise InputError(f"Expected an available device, but got {str(device)!r}, and torch finds {there}.")
    return found


def check_features(batch: Batch, names: Iterable[str]) -> bool:
    """Return whether a signal in `names` needs features; raises InputError if one does and they were not passed."""
    need = not FEATURE_SIGNALS.isdisjoint(names)
    if need and batch.features is None:
        raise InputError("These scorers need features: pass features=(B, D), the penultimate outputs, to update().")
    return need


def check_settings(n: int, num_classes: int, log_probs: object, missing: object, duplicates: object) -> None:
    """Raise InputError for an invalid Recorder setting."""
    for what, number in (("n", n), ("num_classes", num_classes)):
        if not is_whole(number):
            raise InputError(
                f"Expected {what} as an integer, but got {type(number).__name__}. "
                "Give the numbers of samples and classes: Recorder(len(dataset), num_classes, ...)."
            )
    if n < 1 or num_classes < 2:
        binary = " A binary model has two classes, even if it gives a single logit." if num_classes == 1 else ""
        raise InputError(f"Expected n >= 1 samples and num_classes >= 2, but got n={n}, num_classes={num_classes}.{binary}")
    for what, value, known in (
        ("log_probs", log_probs, ("float32", "float16")),
        ("missing", missing, ("error", "allow")),
        ("duplicates", duplicates, ("error", "first", None)),
    ):
        if value not in known:
            raise InputError(f"Expected {what} to be {known[0]!r} or {known[1]!r}, but got {value!r}.")


def known_targets(targets: ArrayLike, n: int, num_classes: int) -> Tensor:
    """Return the labels of all samples as (n,) int64 on the CPU, checked: integers in [0, num_classes), one per sample."""
    labels = tensor(targets, "targets").cpu()
    if labels.dtype.is_floating_point or labels.dtype.is_complex or labels.dtype == torch.bool or labels.shape != (n,):
        raise InputError(
            f"Expected targets as {n} integer labels, one per sample in the order of the ids, but got shape "
            f"{tuple(labels.shape)} of {labels.dtype}."
        )
    labels = labels.to(torch.int64, copy=True)  # torch compares no unsigned integers above 8 bits
    wrong = torch.nonzero((labels < 0) | (labels >= num_classes))[:, 0]
    if len(wrong):
        raise InputError(
            f"Expected targets in [0, {num_classes}), but sample {int(wrong[0])} has {int(labels[wrong[0]])} "
            f"({len(wrong)} such labels). Number the classes from 0."
        )
    return labels

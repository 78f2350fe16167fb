"""What a training loop hands the Recorder: kinds, shapes and settings, checked before any value is looked at."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from thresher.errors import InputError, SampleIdError
from thresher.types import is_whole

ArrayLike = Any
Missing = Literal["error", "allow"]
Duplicates = Literal["error", "first"]
_HINTS = {
    "logits": "Give the tensor itself: output.logits of a model whose output holds more.",
    "targets": "Number class names: np.unique(labels, return_inverse=True)[1].",
    "sample_ids": "Number your samples once and keep their names beside, or wrap the data set in thresher.data.Indexed, "
    "which adds the numbers.",
}
_SOFT = (
    "Of one-hot labels give the class, labels.argmax(1); of smoothed or mixed ones (mixup, CutMix) the sample's own class, "
    "as it was before."
)


@dataclass(frozen=True)
class Batch:
    """A batch that passed: `logits` (B, C) float32, `targets` and `ids` (B,) int64 on the recorder's device; `features`
    (B, D) as they came, or None."""

    logits: Tensor
    targets: Tensor
    ids: Tensor
    features: Tensor | None


def as_batch(
    logits: ArrayLike, targets: ArrayLike, sample_ids: ArrayLike, features: ArrayLike | None, num_classes: int
) -> Batch:
    """Check kinds and shapes of what a training loop handed over, and return it as tensors where they are."""
    logits, targets, ids = tensor(logits, "logits"), tensor(targets, "targets"), tensor(sample_ids, "sample_ids")
    if logits.ndim != 2 or logits.shape[1] != num_classes:
        one = num_classes == 2 and (logits.ndim == 1 or logits.shape[1:] == (1,))
        raise InputError(
            f"Expected logits of shape (B, {num_classes}), but got {tuple(logits.shape)}. "
            + (
                "Where a binary model gives one logit z, those of the two classes are [0, z]: z = z.reshape(-1, 1), then "
                "torch.cat([torch.zeros_like(z), z], 1)."
                if one
                else "num_classes is fixed when the Recorder is made."
            )
        )
    if not logits.dtype.is_floating_point:
        raise InputError(f"Expected floating-point logits, but got {logits.dtype}.")
    for what, value in (("sample_ids", ids), ("targets", targets)):
        kind = SampleIdError if what == "sample_ids" else InputError
        soft = what == "targets" and value.shape == logits.shape
        if value.dtype.is_floating_point or value.dtype == torch.bool or value.dtype.is_complex:
            hint = _SOFT if soft else "Convert them to int64 where they are made."
            raise kind(f"Expected integer {what}, but got {value.dtype}. {hint}")
        if value.shape != logits.shape[:1]:
            hint = f" {_SOFT}" if soft else ""
            raise kind(f"Expected {what} of shape ({logits.shape[0]},), but got {tuple(value.shape)}.{hint}")
    rows = None if features is None else tensor(features, "features")
    if rows is not None and (rows.ndim != 2 or len(rows) != len(logits)):
        raise InputError(f"Expected features of shape ({len(logits)}, D), but got {tuple(rows.shape)}.")
    return Batch(logits, targets, ids, rows)


def tensor(value: ArrayLike, what: str = "values") -> Tensor:
    """Return `value` as a tensor, without a copy where that is possible. Raises InputError, which calls it `what`."""
    if isinstance(value, Tensor):
        if hasattr(value, "full_tensor"):
            raise InputError(
                f"Expected {what} as an ordinary tensor, but got a {type(value).__name__}, of which each rank holds a part. "
                "Give all of it: full_tensor(), which all ranks that hold a part must call."
            )
        return value.detach()
    try:
        array = np.ascontiguousarray(value)
        if array.dtype.isnative and array.dtype.kind in "biufc":
            return torch.from_numpy(array if array.flags.writeable else array.copy())
        came = type(value).__name__ + ("" if array.dtype == object else f" of {array.dtype}")
        foreign = array.dtype.kind in "biufc"
    except (TypeError, ValueError):  # sequences of unequal parts, or of tensors on an accelerator
        came, foreign = type(value).__name__, False
    hint = "Give it in native byte order: array.astype(array.dtype.newbyteorder('='))." if foreign else _HINTS.get(what, "")
    kind = SampleIdError if what == "sample_ids" else InputError
    expected = "integer sample_ids" if what == "sample_ids" else f"{what} as a tensor or an array of numbers"
    raise kind(f"Expected {expected}, but got {came}. {hint}".rstrip())


def as_device(device: torch.device | str) -> torch.device:
    """Return a device by its name. Raises InputError for what names none; whether it is there is not looked at.

    >>> as_device("cuda:1")
    device(type='cuda', index=1)
    """
    try:
        return torch.device(device)
    except (RuntimeError, TypeError):
        raise InputError(f"Expected a device of torch, such as 'cpu', 'cuda' or 'cuda:1', but got {device!r}.") from None


def check_features(batch: Batch, need: bool) -> None:
    """Raise InputError where signals need features that did not come."""
    if need and batch.features is None:
        raise InputError("These scorers need features: pass features=(B, D), the penultimate outputs, to update().")


def check_settings(n: int, num_classes: int, log_probs: object, missing: object, duplicates: object) -> None:
    """Raise InputError for a setting of a Recorder that there is not."""
    for what, number in (("n", n), ("num_classes", num_classes)):
        if not is_whole(number):
            raise InputError(
                f"Expected {what} as an integer, but got {type(number).__name__}. "
                "Give numbers of samples and classes: Recorder(len(dataset), num_classes, ...)."
            )
    if n < 1 or num_classes < 2:
        binary = " A binary model has two classes, also where it gives one logit." if num_classes == 1 else ""
        raise InputError(f"Expected n >= 1 samples and num_classes >= 2, but got n={n}, num_classes={num_classes}.{binary}")
    for what, value, known in (
        ("log_probs", log_probs, ("float32", "float16")),
        ("missing", missing, ("error", "allow")),
        ("duplicates", duplicates, ("error", "first", None)),
    ):
        if value not in known:
            raise InputError(f"Expected {what} to be {known[0]!r} or {known[1]!r}, but got {value!r}.")


def known_targets(targets: ArrayLike, n: int, num_classes: int) -> Tensor:
    """Return the labels of all samples as (n,) int64 on the CPU, checked: integers in [0, num_classes), one a sample."""
    labels = tensor(targets, "targets").cpu()
    if labels.dtype.is_floating_point or labels.dtype.is_complex or labels.dtype == torch.bool or labels.shape != (n,):
        raise InputError(
            f"Expected targets as {n} integer labels, one a sample in the order of the ids, but got shape "
            f"{tuple(labels.shape)} of {labels.dtype}."
        )
    wrong = torch.nonzero((labels < 0) | (labels >= num_classes))[:, 0]
    if len(wrong):
        raise InputError(
            f"Expected targets in [0, {num_classes}), but sample {int(wrong[0])} has {int(labels[wrong[0]])} "
            f"({len(wrong)} such labels). Number the classes from 0."
        )
    return labels.to(torch.int64, copy=True)

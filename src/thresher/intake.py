"""The border and the memory of the Recorder: every batch is checked here once, so that what lies behind may assume.

On a CPU a bad batch raises before anything is changed. On an accelerator the same tests run there without a
synchronisation; `raise_deferred` reports them at the end of the epoch, before anything is committed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from thresher.errors import InputError, MissingSamplesError, SampleIdError

ArrayLike = Any
Missing = Literal["error", "allow"]
Duplicates = Literal["error", "first"]
_FAULTS = (
    "ids out of range",
    "ids seen twice",
    "logits that are NaN or infinite",
    "targets outside the classes",
    "targets that changed between epochs",
)
_OUTSIDE, _TWICE, _NOT_FINITE, _NO_CLASS, _CHANGED = range(len(_FAULTS))


@dataclass(frozen=True)
class Batch:
    """A batch that passed: `logits` (B, C) float32, `targets` and `ids` (B,) int64 on the recorder's device; `features`
    (B, D) as they came, or None."""

    logits: Tensor
    targets: Tensor
    ids: Tensor
    features: Tensor | None


class Intake:
    """Checks batches and knows which samples an epoch has shown, and every sample's target.

    `visits` and `eval_visits` (N,) count the rows of the running epoch; `targets` (N,) int64 is -1 where unknown.
    """

    def __init__(self, n: int, num_classes: int, duplicates: Duplicates, device: torch.device) -> None:
        self.n, self.num_classes, self.duplicates, self.device = n, num_classes, duplicates, device
        self.visits = torch.zeros(n, dtype=torch.int16, device=device)
        self.eval_visits = torch.zeros(n, dtype=torch.int16, device=device)
        self.targets = torch.full((n,), -1, dtype=torch.int64, device=device)
        self.faults = torch.zeros(len(_FAULTS), dtype=torch.bool, device=device)

    def take(self, batch: Batch, visits: Tensor, epoch: int) -> Batch:
        """Check a batch's contents, count it in `visits` and return the rows to use; raises with nothing changed (CPU)."""
        if self.duplicates == "first":
            batch = self._without_duplicates(batch, visits)
        outside = (batch.ids < 0) | (batch.ids >= self.n)
        ids = torch.where(outside, 0, batch.ids)
        known = self.targets[ids]
        flags = torch.stack(
            [
                outside.any(),
                torch.zeros((), dtype=torch.bool, device=ids.device),
                ~_all_finite(batch.logits),
                ((batch.targets < 0) | (batch.targets >= self.num_classes)).any(),
                ((known >= 0) & (known != batch.targets)).any(),
            ]
        )
        on_cpu = ids.device.type == "cpu"
        if on_cpu and bool(flags.any()):
            self._raise_faults(flags, batch, epoch)
        ones = torch.ones_like(ids, dtype=visits.dtype)
        visits.index_add_(0, ids, ones)
        flags[_TWICE] = (visits[ids] > 1).any()
        if on_cpu and bool(flags[_TWICE]):
            visits.index_add_(0, ids, -ones)
            self._raise_twice(ids, visits, epoch)
        self.faults |= flags
        self.targets[ids] = batch.targets
        return Batch(batch.logits, batch.targets, ids, batch.features)

    def _without_duplicates(self, batch: Batch, visits: Tensor) -> Batch:
        """Keep the first row of every sample that the epoch has not shown yet, neither earlier nor in this batch."""
        order = torch.argsort(batch.ids, stable=True)
        ordered = batch.ids[order]
        first = torch.ones_like(ordered, dtype=torch.bool)
        first[1:] = ordered[1:] != ordered[:-1]
        outside = (ordered < 0) | (ordered >= self.n)  # these stay, to be refused
        first &= outside | (visits[ordered.clamp(0, self.n - 1)] == 0)
        keep = order[first].sort().values
        features = None if batch.features is None else batch.features[keep.to(batch.features.device)]
        return Batch(batch.logits[keep], batch.targets[keep], batch.ids[keep], features)

    def _raise_faults(self, flags: Tensor, batch: Batch, epoch: int) -> None:
        ids, targets = batch.ids, batch.targets
        if flags[_OUTSIDE]:
            bad = ids[(ids < 0) | (ids >= self.n)]
            raise SampleIdError(
                f"Expected sample ids in [0, {self.n}), positions in the original data set, but got {bad[0].item()} "
                f"({len(bad)} such ids in this batch). Check that ids come from the unpruned data set."
            )
        if flags[_NOT_FINITE]:
            bad = ids[~torch.isfinite(batch.logits).all(dim=1)]
            raise InputError(
                f"Expected finite logits, but those of sample {bad[0].item()} (and {len(bad) - 1} more in this batch) "
                f"hold NaN or infinity in epoch {epoch}. Training has diverged; the recording up to epoch {epoch} is "
                "intact. Lower the learning rate or leave 16-bit precision, and resume."
            )
        if flags[_NO_CLASS]:
            bad = targets[(targets < 0) | (targets >= self.num_classes)]
            raise InputError(f"Expected targets in [0, {self.num_classes}), but got {bad[0].item()}. Number them from 0.")
        known = self.targets[ids]
        row = int(torch.nonzero((known >= 0) & (known != targets))[0])
        raise InputError(
            f"Sample {ids[row].item()} came with target {targets[row].item()}, but earlier with {known[row].item()}. "
            "Ids and samples are mixed up, or labels changed; ids must name positions in one fixed data set."
        )

    def _raise_twice(self, ids: Tensor, visits: Tensor, epoch: int) -> None:
        values, counts = torch.unique(ids, return_counts=True)
        repeated = values[(counts > 1) | (visits[values] > 0)]
        raise SampleIdError(
            f"Sample {repeated[0].item()} was seen twice in epoch {epoch} ({len(repeated)} such ids in this batch). "
            "Call end_epoch() at the end of every epoch; for a sampler that pads or repeats, make the Recorder with "
            "duplicates='first'."
        )

    def check_epoch(self, epoch: int, missing: Missing) -> None:
        """Raise what an accelerator's batches had wrong, or MissingSamplesError unless `missing` is "allow"."""
        wrong = [text for text, hit in zip(_FAULTS, self.faults.tolist(), strict=True) if hit]
        if wrong:
            raise InputError(
                f"Epoch {epoch} was not committed: it held {', '.join(wrong)}. What was committed before is intact; "
                "resume from the last checkpoint."
            )
        absent = torch.nonzero(self.visits == 0)[:, 0]
        if len(absent) and missing != "allow":
            raise MissingSamplesError(
                f"Expected all {self.n} samples in epoch {epoch}, but {len(absent)} are missing, the first of them "
                f"{absent[:5].tolist()}. Set drop_last=False and a sampler that visits every sample; to record with "
                "holes on purpose, call end_epoch(missing='allow')."
            )

    def start_epoch(self) -> None:
        """Forget the visits of the epoch that was committed."""
        self.visits.zero_()
        self.eval_visits.zero_()


def _all_finite(logits: Tensor) -> Tensor:
    """Return () bool: no NaN, no infinity.

    On a CPU in one pass, since a sum is finite only if all its terms are; a sum that overflowed is looked into again.
    """
    if logits.device.type == "cpu" and bool(torch.isfinite(logits.sum())):
        return torch.ones((), dtype=torch.bool)
    return torch.isfinite(logits).all()


class Memory:
    """What the Recorder holds on its device: one row of signals per sample, and the previous log-probabilities."""

    def __init__(
        self, n: int, num_classes: int, names: Iterable[str], previous: torch.dtype | None, logits: torch.dtype | None,
        duplicates: Duplicates, device: torch.device,
    ) -> None:  # fmt: skip
        self.device = device
        self.intake = Intake(n, num_classes, duplicates, device)
        self.values = {name: torch.full((n,), float("nan"), device=device) for name in names}
        rows = n if previous is not None else 0
        self.previous = torch.full((rows, num_classes), float("nan"), dtype=previous or torch.float32, device=device)
        self.logits = torch.zeros((n, num_classes), dtype=logits, device=device) if logits is not None else None
        self.targets_incomplete = True

    def moved(self, batch: Batch, with_features: bool) -> Batch:
        """Return the batch on this device, logits and features as float32."""
        features = (
            batch.features.to(self.intake.device, torch.float32) if batch.features is not None and with_features else None
        )
        return Batch(
            batch.logits.to(self.intake.device, torch.float32),
            batch.targets.to(self.intake.device, torch.int64),
            batch.ids.to(self.intake.device, torch.int64),
            None if features is None else features.to(self.intake.device, torch.float32),
        )

    def start_epoch(self) -> None:
        """Forget the row of the epoch that was committed, not the log-probabilities."""
        self.intake.start_epoch()
        for values in self.values.values():
            values.fill_(float("nan"))

    def state(self) -> dict[str, Any]:
        """Return all tensors by name."""
        intake = self.intake
        return {
            "previous": self.previous,
            "targets": intake.targets,
            "visits": intake.visits,
            "eval_visits": intake.eval_visits,
            "values": dict(self.values),
            **({} if self.logits is None else {"logits": self.logits}),
        }

    def load(self, state: Mapping[str, Any]) -> None:
        """Copy `state()` back."""
        intake = self.intake
        if set(state["values"]) != set(self.values):
            raise InputError(
                f"Expected a recorder state with the signals {sorted(self.values)}, but got {sorted(state['values'])}. "
                "Make the Recorder with the scorers, signals and store that it had."
            )
        targets = {"previous": self.previous, "targets": intake.targets, "visits": intake.visits}
        targets |= {"eval_visits": intake.eval_visits}
        for name, value in targets.items():
            value.copy_(tensor(state[name]))
        for name, value in self.values.items():
            value.copy_(tensor(state["values"][name]))
        self.targets_incomplete = bool((intake.targets < 0).any())
        if self.logits is not None:
            self.logits.copy_(tensor(state["logits"]))


def as_batch(
    logits: ArrayLike, targets: ArrayLike, sample_ids: ArrayLike, features: ArrayLike | None, num_classes: int
) -> Batch:
    """Check kinds and shapes of what a training loop handed over, and return it as tensors where they are."""
    logits, targets, ids = tensor(logits), tensor(targets), tensor(sample_ids)
    if logits.ndim != 2 or logits.shape[1] != num_classes:
        raise InputError(
            f"Expected logits of shape (B, {num_classes}), but got {tuple(logits.shape)}. "
            "num_classes is fixed when the Recorder is made."
        )
    if not logits.dtype.is_floating_point:
        raise InputError(f"Expected floating-point logits, but got {logits.dtype}.")
    for what, value in (("sample_ids", ids), ("targets", targets)):
        kind = SampleIdError if what == "sample_ids" else InputError
        if value.dtype.is_floating_point or value.dtype == torch.bool or value.dtype.is_complex:
            raise kind(f"Expected integer {what}, but got {value.dtype}. Convert them to int64 where they are made.")
        if value.shape != logits.shape[:1]:
            raise kind(f"Expected {what} of shape ({logits.shape[0]},), but got {tuple(value.shape)}.")
    rows = None if features is None else tensor(features)
    if rows is not None and (rows.ndim != 2 or len(rows) != len(logits)):
        raise InputError(f"Expected features of shape ({len(logits)}, D), but got {tuple(rows.shape)}.")
    return Batch(logits, targets, ids, rows)


def tensor(value: ArrayLike) -> Tensor:
    """Return `value` as a tensor, without a copy where that is possible."""
    if isinstance(value, Tensor):
        return value.detach()
    array = np.ascontiguousarray(value)
    try:
        return torch.from_numpy(array if array.flags.writeable else array.copy())
    except (TypeError, ValueError) as error:  # text, objects, foreign byte order
        raise InputError(f"Expected a tensor or an array of numbers, but got {array.dtype}: {error}") from None

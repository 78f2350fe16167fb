"""The Recorder's input checks: every batch is checked here once, so that later code may rely on it.

On a CPU a bad batch raises before anything is changed. On an accelerator the same tests run there without a
synchronisation; `check_epoch` reports them at the end of the epoch, before anything is committed.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from thresher.errors import InputError, MissingSamplesError, SampleIdError
from thresher.recording.arguments import Batch, Duplicates
from thresher.recording.pending import defers

_FAULTS = (
    "ids out of range",
    "ids seen twice",
    "logits that are NaN or infinite",
    "targets outside the classes",
    "targets that changed between epochs, or are not those given as targets=",
    "logits too large for a float16 store (create it with logits='float32')",
    "batches that an error kept from being looked at",
)
_OUTSIDE, _TWICE, _NOT_FINITE, _NO_CLASS, _CHANGED, _TOO_LARGE, _LOST = range(len(_FAULTS))
_FLOAT16_END = 65520.0  # from here on rounding gives infinity
_NORM_KEEPS_NAN = ("cuda", "meta")  # devices whose largest absolute value is NaN where one is; Apple's passes over them


class Intake:
    """Checks batches and knows which samples an epoch has shown, and every sample's target.

    It knows the samples `first` to `first + n - 1` of a data set, here numbered from 0; `n` is all of it in one process.
    `visits` and `eval_visits` (n,) count the rows of the running epoch; `targets` (n,) int64 is -1 where unknown. `told`
    says that they were known up front. `faults` are what an accelerator's batches had wrong in it.
    """

    def __init__(self, n: int, num_classes: int, duplicates: Duplicates, device: torch.device, first: int = 0) -> None:
        self.n, self.num_classes, self.duplicates, self.device = n, num_classes, duplicates, device
        self.first = first
        self.visits = torch.zeros(n, dtype=torch.int16, device=device)
        self.eval_visits = torch.zeros(n, dtype=torch.int16, device=device)
        self.targets = torch.full((n,), -1, dtype=torch.int64, device=device)
        self.told = False
        self.faults = torch.zeros(len(_FAULTS), dtype=torch.bool, device=device)
        self._never = torch.zeros((), dtype=torch.bool, device=device)
        self.copies = 0  # rows of the running epoch's training that were dropped

    def check_known(self, recorded: Tensor, targets: Tensor) -> None:
        """Raise InputError where a sample was `recorded` (n,), -1 where unknown, with another label than `targets` says."""
        other = torch.nonzero((recorded >= 0) & (recorded != targets.to(recorded.device)))[:, 0]
        if len(other):
            row = int(other[0])
            raise InputError(
                f"Sample {self.first + row} was recorded with target {int(recorded[row])}, but targets= says "
                f"{int(targets[row])}. Give the labels of the data set that was recorded, in the order of its ids."
            )

    def know(self, targets: Tensor) -> None:
        """Take the labels (n,) int64 that are known up front."""
        self.targets.copy_(targets)
        self.told = True

    def take(self, batch: Batch, visits: Tensor, epoch: int, stored: torch.dtype | None = None) -> Batch:
        """Check a batch, count it in `visits` and return the rows to use; `stored` is the dtype of a store's logits."""
        usable, flags = self._look_at(batch, self.n, stored)
        known = self._known(usable.ids, batch.targets)
        flags[_CHANGED] = ((known >= 0) & (known != batch.targets)).any()
        at_once = not defers(self.device)
        if at_once and any(flags):
            self._raise_faults(flags, batch, epoch, self.n, known)
        batch, ids = usable, usable.ids
        if self.duplicates == "first":  # dropped rows were looked at too
            batch = self._without_duplicates(batch, visits)
            self.copies += (len(ids) - len(batch.ids)) * (visits is self.visits)
            ids = batch.ids
        ones = torch.ones_like(ids, dtype=visits.dtype)
        visits.index_add_(0, ids, ones)
        flags[_TWICE] = (visits[ids] != 1).any()  # 32 768 rows of one sample and more make an int16 negative
        if at_once and flags[_TWICE]:
            visits.index_add_(0, ids, -ones)
            self._raise_twice(ids, visits, epoch)
        self._keep(flags)
        self.targets[ids] = batch.targets
        return batch

    def look_at(self, batch: Batch, n: int, epoch: int, stored: torch.dtype | None = None) -> Batch:
        """Check what can be seen of a batch of a data set of `n` samples alone, and count nothing."""
        usable, flags = self._look_at(batch, n, stored)
        if not defers(self.device) and any(flags):
            self._raise_faults(flags, batch, epoch, n, batch.targets)
        self._keep(flags)
        return usable

    def _look_at(self, batch: Batch, n: int, stored: torch.dtype | None) -> tuple[Batch, list[Tensor]]:
        """Return the batch with ids and targets that can be used for indexing (on a GPU one outside ends the process's use
        of it), and flags of the faults that the batch shows by itself, a () bool for each of `_FAULTS`."""
        ids, targets = batch.ids.clamp(0, n - 1), batch.targets.clamp(0, self.num_classes - 1)
        flags = [self._never] * len(_FAULTS)
        flags[_OUTSIDE], flags[_NO_CLASS] = (ids != batch.ids).any(), (targets != batch.targets).any()
        largest = _largest(batch.logits)
        flags[_NOT_FINITE] = ~(largest < math.inf)
        if stored == torch.float16:
            flags[_TOO_LARGE] = largest >= _FLOAT16_END
        return replace(batch, ids=ids, targets=targets), flags

    def _keep(self, flags: list[Tensor]) -> None:
        """Remember the faults that are not raised at once."""
        if defers(self.device):
            self.faults |= torch.stack(flags)

    def lose(self) -> None:
        """Remember that batches were lost, so that the epoch is not committed without them."""
        self.faults[_LOST] = True

    def _known(self, ids: Tensor, targets: Tensor) -> Tensor:
        """Return the target that each row should have, -1 where unknown; a copy should have that of the first row."""
        known = self.targets[ids]
        if self.duplicates != "first":
            return known
        order = torch.argsort(ids, stable=True)
        first = torch.where(_begins(ids[order]), torch.arange(len(ids), device=ids.device), 0).cummax(0).values
        own = torch.empty_like(targets)
        own[order] = targets[order][first]
        return torch.where(known >= 0, known, own)

    def _without_duplicates(self, batch: Batch, visits: Tensor) -> Batch:
        """Keep the first row of every sample that the epoch has not shown yet, neither earlier nor in this batch."""
        order = torch.argsort(batch.ids, stable=True)
        ordered = batch.ids[order]
        keep = order[_begins(ordered) & (visits[ordered] == 0)].sort().values
        features = None if batch.features is None else batch.features[keep.to(batch.features.device)]
        return Batch(batch.logits[keep], batch.targets[keep], batch.ids[keep], features)

    def _raise_faults(self, flags: Sequence[Tensor], batch: Batch, epoch: int, n: int, known: Tensor) -> None:
        ids, targets = batch.ids, batch.targets
        if flags[_OUTSIDE]:
            bad = ids[(ids < 0) | (ids >= n)]
            raise SampleIdError(
                f"Expected sample ids in [0, {n}), positions in the original data set, but got {bad[0].item()} "
                f"({len(bad)} such ids in this batch). Check that ids come from the unpruned data set."
            )
        if flags[_NOT_FINITE]:
            bad = ids[~torch.isfinite(batch.logits).all(dim=1)]
            masked = not (torch.isnan(batch.logits) | torch.isposinf(batch.logits)).any()
            raise InputError(
                f"Expected finite logits, but those of sample {bad[0].item()} (and {len(bad) - 1} more in this batch) "
                f"hold NaN or infinity in epoch {epoch}. The recording up to epoch {epoch} is intact. "
                + ("If -inf masks classes, mask them with -1e4. Otherwise training" if masked else "Training")
                + " has diverged: lower the learning rate or do not use 16-bit precision, and resume."
            )
        if flags[_NO_CLASS]:
            bad = targets[(targets < 0) | (targets >= self.num_classes)]
            raise InputError(
                f"Expected targets in [0, {self.num_classes}), but got {bad[0].item()}. {self._about_targets(batch, n)}"
            )
        if flags[_TOO_LARGE]:
            bad = ids[(batch.logits.abs() >= _FLOAT16_END).any(dim=1)]
            raise InputError(
                f"Expected logits that float16 can hold, up to 65504, but those of sample {bad[0].item()} are larger "
                f"({len(bad)} such samples in this batch). Create the store with logits='float32' (--logits float32)."
            )
        row = int(torch.nonzero((known >= 0) & (known != targets))[0])
        before = f"{'targets= says' if self.told else 'earlier with'} {int(known[row])}"
        raise InputError(
            f"Sample {self.first + int(ids[row])} came with target {int(targets[row])}, but {before}. "
            "Ids and samples are mixed up, or labels changed; ids must name positions in one fixed data set."
        )

    def _about_targets(self, batch: Batch, n: int) -> str:
        """Return what to do about targets that are no classes."""
        if bool((batch.targets < 0).any()):
            return "Number them from 0, and drop rows without a label, which the loss ignores, from the batch."
        if bool((batch.targets < n).all() & (batch.ids < self.num_classes).all()):
            return "They may be the ids: the arguments are logits, targets, sample_ids. If not, number them from 0."
        return "Number them from 0."

    def _raise_twice(self, ids: Tensor, visits: Tensor, epoch: int) -> None:
        values, counts = torch.unique(ids, return_counts=True)
        repeated = values[(counts > 1) | (visits[values] > 0)]
        raise SampleIdError(
            f"Sample {self.first + int(repeated[0])} was seen twice in epoch {epoch} ({len(repeated)} such ids in this "
            "batch). Call end_epoch() at the end of every epoch; for a sampler that pads or repeats, create the Recorder "
            "with duplicates='first'."
        )

    def seen(self) -> dict[str, Any]:
        """Return what `check_epoch` reads, JSON-ready: counts of samples seen and absent, the first absent ids, faults."""
        absent = torch.nonzero(self.visits == 0)[:, 0]
        return {
            "seen": self.n - len(absent),
            "absent": len(absent),
            "first": [self.first + row for row in absent[:5].tolist()],
            "faults": self.faults.tolist(),
            "copies": self.copies,
        }

    def start_epoch(self) -> None:
        """Forget the visits of the epoch that was committed."""
        self.visits.zero_()
        self.eval_visits.zero_()
        self.copies = 0


def check_epoch(epoch: int, parts: Sequence[Mapping[str, Any]]) -> int:
    """Return how many samples were seen; raise what the parts of a data set (`Intake.seen`) lack together.

    That is what an accelerator's batches had wrong, no samples at all, or MissingSamplesError unless `missing`, with which
    each rank ends the epoch, is "allow" on all.
    """
    for part in parts:
        if part["missing"] not in ("error", "allow"):
            raise InputError(f"Expected missing to be 'error' or 'allow', but got {part['missing']!r}.")
    wrong = [text for position, text in enumerate(_FAULTS) if any(part["faults"][position] for part in parts)]
    if wrong:
        raise InputError(
            f"Epoch {epoch} was not committed: it held {', '.join(wrong)}. Earlier epochs are intact; "
            "resume from the last checkpoint."
        )
    seen, absent = (sum(part[key] for part in parts) for key in ("seen", "absent"))
    if not seen:
        raise no_samples(epoch)
    if absent and any(part["missing"] != "allow" for part in parts):
        raise MissingSamplesError(
            f"Expected all {seen + absent} samples in epoch {epoch}, but {absent} are missing, the first of them "
            f"{[row for part in parts for row in part['first']][:5]}. Use drop_last=False and a sampler that visits every "
            "sample; where a part is held out, record the other part alone, numbered from 0; if an epoch misses samples on "
            "purpose, create the Recorder with missing='allow', or call end_epoch(missing='allow')."
        )

    copies = sum(part["copies"] for part in parts)
    if copies >= seen and epoch == 0:
        warnings.warn(
            f"Epoch 0 showed {seen} samples, and {copies} more rows that were dropped as copies of them. If they are not "
            "copies, ids restart in each part of the data: they must be positions in one data set, whose length "
            "is n.",
            UserWarning, stacklevel=3,
        )  # fmt: skip
    return int(seen)


def no_samples(epoch: int) -> MissingSamplesError:
    """Return the error of an epoch that showed nothing."""
    return MissingSamplesError(f"Epoch {epoch} has no samples: call update() for each batch first.")


def _begins(ordered: Tensor) -> Tensor:
    """Return (B,) bool: where ordered ids differ from the one before."""
    begins = torch.ones_like(ordered, dtype=torch.bool)
    begins[1:] = ordered[1:] != ordered[:-1]
    return begins


def _largest(logits: Tensor) -> Tensor:
    """Return () float: the largest absolute value, NaN where one is NaN; on a CPU and CUDA in one pass over the logits."""
    if not logits.numel():
        return logits.new_zeros(())
    if logits.device.type == "cpu":  # where this norm takes 25 times as long, and on accelerators not all have aminmax
        least, most = torch.aminmax(logits)
        return torch.maximum(-least, most)
    norm: Tensor = torch.linalg.vector_norm(logits, math.inf)
    return norm if logits.device.type in _NORM_KEEPS_NAN else norm.masked_fill(torch.isnan(logits).any(), math.nan)

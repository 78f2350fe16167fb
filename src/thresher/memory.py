"""The memory of the Recorder: what it keeps of the running epoch, and the previous epoch's log-probabilities."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from thresher import signals
from thresher.errors import InputError
from thresher.intake import Batch, Duplicates, Intake, tensor
from thresher.pending import Pending, defers
from thresher.types import Floats, Frame


class Memory:
    """What the Recorder holds on its device: one row of signals per sample, and the previous log-probabilities.

    In a recording on several ranks, of the samples `first` to `first + n - 1`, which this one owns.
    """

    def __init__(
        self, n: int, num_classes: int, names: Iterable[str], previous: torch.dtype | None, logits: torch.dtype | None,
        duplicates: Duplicates, device: torch.device, first: int = 0,
    ) -> None:  # fmt: skip
        self.device = device
        self.intake = Intake(n, num_classes, duplicates, device, first)
        self.values = {name: torch.full((n,), float("nan"), device=device) for name in names}
        rows = n if previous is not None else 0
        self.previous = torch.full((rows, num_classes), float("nan"), dtype=previous or torch.float32, device=device)
        self.logits = torch.zeros((n, num_classes), dtype=logits, device=device) if logits is not None else None
        self.targets_incomplete = True
        self.features: Floats | None = None
        self._pending = Pending(num_classes, device) if defers(device) else None

    def take(self, batch: Batch, names: Sequence[str], epoch: int) -> None:
        """Take a training batch: at once on a CPU, on an accelerator when many rows have come together."""
        if self._pending is None:
            self._look_at(batch, names, epoch)
            return
        if not self._pending.fits(batch):
            self.settle(names, epoch)
        if self._pending.fits(batch):
            self._pending.add(batch)
        else:
            self._look_at(batch, names, epoch)

    def settle(self, names: Sequence[str], epoch: int) -> None:
        """Look at the training batches that wait, if any do."""
        waiting = None if self._pending is None else self._pending.drain()
        if waiting is not None:
            self._look_at(waiting, names, epoch)

    def _look_at(self, batch: Batch, names: Sequence[str], epoch: int) -> None:
        self.write(self.intake.take(batch, self.intake.visits, epoch), names)

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

    def write(self, batch: Batch, names: Sequence[str], known: Mapping[str, Tensor] | None = None) -> None:
        """Write a batch's rows: the signals `names`, which are computed here, those that are `known` already, and what
        the next epoch or the store needs of the logits."""
        ids = batch.ids
        remembers = len(self.previous) > 0
        previous = self.previous[ids].float() if remembers else None
        outputs = signals.Outputs(batch.logits, batch.targets, batch.features, previous)
        for name, values in {**(known or {}), **signals.compute(outputs, names)}.items():
            self.values[name][ids] = values
        if remembers:
            self.previous[ids] = outputs.guarded_log_probs.to(self.previous.dtype)
        if self.logits is not None:
            self.logits[ids] = batch.logits.to(self.logits.dtype)

    def write_eval(self, ids: Tensor, values: Mapping[str, Tensor], features: Tensor | None) -> None:
        """Write rows of the evaluation pass; features stay in main memory, whatever the device."""
        for name, value in values.items():
            self.values[name][ids] = value
        if features is not None:
            if self.features is None or self.features.shape[1] != features.shape[1]:
                self.features = np.full((self.intake.n, features.shape[1]), np.nan, dtype=np.float32)
            self.features[ids.cpu().numpy()] = features.cpu().numpy()

    def frame(self, epoch: int) -> Frame:
        """Return what the epoch showed; ids are counted from this memory's first sample."""
        n = self.intake.n
        ids = np.flatnonzero((self.intake.visits > 0).cpu().numpy()).astype(np.int64)
        rows: Any = slice(None) if len(ids) == n else ids
        # The copy matters on a CPU, where .numpy() would share memory with the buffers that the next epoch fills.
        values = {name: value.cpu().numpy()[rows].copy() for name, value in self.values.items()}
        return Frame(epoch, ids, values, n)

    def beside(self, frame: Frame, targets: bool) -> dict[str, Any]:
        """Return what a store is given besides an epoch's frame: logits, `targets` where asked, features where new."""
        return {
            "logits": None if self.logits is None else self.logits.cpu().numpy()[frame.ids],
            "targets": self.intake.targets.cpu().numpy() if targets else None,
            "features": self.features if bool((self.intake.eval_visits > 0).any()) else None,
        }

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
            **({} if self.features is None else {"features": self.features}),
        }

    def load(self, state: Mapping[str, Any]) -> None:
        """Copy `state()` back; what waits is forgotten."""
        intake = self.intake
        if self._pending is not None:
            self._pending.drain()
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
        self.features = np.array(tensor(state["features"]).numpy()) if "features" in state else None

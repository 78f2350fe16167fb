"""The memory of the Recorder: what it keeps of the running epoch, and the previous epoch's log-probabilities."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from thresher import signals
from thresher.errors import InputError
from thresher.recording.arguments import Batch, Duplicates, tensor
from thresher.recording.intake import Intake
from thresher.recording.pending import Pending, defers
from thresher.types import Floats, Frame

DTYPES = {"float32": torch.float32, "float16": torch.float16}


class Memory:
    """What the Recorder holds on its device: one row of signals per sample, and the previous log-probabilities.

    In a recording on several ranks, of the samples `first` to `first + n - 1`, which this one owns. What comes from training
    there is given to `collect(memory, batch, epoch)` instead, when it would be looked at here.
    """

    @torch.inference_mode(False)  # what is made in inference mode cannot be changed outside of it
    def __init__(
        self, n: int, num_classes: int, names: Iterable[str], previous: torch.dtype | None, logits: torch.dtype | None,
        duplicates: Duplicates, device: torch.device, first: int = 0,
        collect: Callable[[Memory, Batch, int], None] | None = None,
    ) -> None:  # fmt: skip
        self.device, self._collect = device, collect
        self.intake = Intake(n, num_classes, duplicates, device, first)
        self.values = {name: torch.full((n,), float("nan"), dtype=torch.float32, device=device) for name in names}
        self.remembers = previous is not None
        rows = n if self.remembers else 0
        self.previous = torch.full((rows, num_classes), float("nan"), dtype=previous or torch.float32, device=device)
        self.logits = torch.zeros((n, num_classes), dtype=logits, device=device) if logits is not None else None
        self.targets_incomplete = True
        self.shown = False  # a batch whose logits were looked at, whether they are probabilities
        self.features: Floats | None = None
        self.features_cut = False  # off the store, whose epochs went back to those of a state
        self._width: int | None = None  # of the features of the running evaluation pass
        self._pending = Pending(device) if defers(device) else None

    def take(self, batch: Batch, names: Sequence[str], epoch: int, with_features: bool) -> None:
        """Take a training batch, from any device: at once on a CPU, on an accelerator when many rows have come together."""
        if self._pending is not None:
            if self._pending.add(batch, with_features):
                return
            self.settle(names, epoch)
            if self._pending.add(batch, with_features):
                return
        self._look_at(self.moved(batch, with_features), names, epoch)

    @property
    def amid_epoch(self) -> bool:
        """Whether rows of a training came in the running epoch, those that wait included."""
        return (self._pending is not None and self._pending.used > 0) or bool((self.intake.visits > 0).any())

    @property
    def amid_evaluation(self) -> bool:
        """Whether rows of an evaluation pass came in the running epoch."""
        return bool((self.intake.eval_visits > 0).any())

    def settle(self, names: Sequence[str], epoch: int) -> None:
        """Look at the training batches that wait, if any do. They are gone if that fails, as where memory runs out."""
        waiting = None if self._pending is None else self._pending.drain()
        if waiting is None:
            return
        try:
            self._look_at(waiting, names, epoch)
        except BaseException:
            self.intake.lose()
            raise

    def _look_at(self, batch: Batch, names: Sequence[str], epoch: int) -> None:
        if self._collect is not None:
            self._collect(self, batch, epoch)
        else:
            self.write(self.intake.take(batch, self.intake.visits, epoch, self.stored), names)

    @property
    def stored(self) -> torch.dtype | None:
        """Dtype of the logits for a store, None without one of logits."""
        return None if self.logits is None else self.logits.dtype

    def take_eval(self, batch: Batch, names: Sequence[str], epoch: int) -> None:
        """Take a batch of the evaluation pass and write its signals, of which `names` are without their prefix."""
        batch = self.moved(batch, with_features=True)
        self._check_width(batch.features)
        batch = self.intake.take(batch, self.intake.eval_visits, epoch)
        found = signals.compute(signals.Outputs(batch.logits, batch.targets, batch.features), names)
        self.write_eval(batch.ids, {signals.EVAL_PREFIX + name: value for name, value in found.items()}, batch.features)

    def _check_width(self, features: Tensor | None) -> None:
        """Raise InputError for features of another width than those that the running evaluation pass brought before."""
        if features is not None and self._width not in (None, features.shape[1]):
            raise InputError(
                f"Expected features of width {self._width}, as before in this evaluation pass, but got {features.shape[1]}. "
                "Pass the output of the same layer for every batch."
            )

    def moved(self, batch: Batch, with_features: bool) -> Batch:
        """Return the batch on this device, logits and features as float32 with a sample's values side by side: torch adds up
        a transposed row in another order, which rounds otherwise."""
        features = batch.features if with_features else None
        return Batch(
            batch.logits.to(self.device, torch.float32).contiguous(),
            batch.targets.to(self.device, torch.int64),
            batch.ids.to(self.device, torch.int64),
            None if features is None else features.to(self.device, torch.float32).contiguous(),
        )

    def write(self, batch: Batch, names: Sequence[str], known: Mapping[str, Tensor] | None = None) -> None:
        """Write a batch's rows: the signals `names`, which are computed here, those that are `known` already, and what
        the next epoch or the store needs of the logits."""
        ids = batch.ids
        previous = self.previous[ids].float() if self.remembers else None
        outputs = signals.Outputs(batch.logits, batch.targets, batch.features, previous)
        for name, values in {**(known or {}), **signals.compute(outputs, names)}.items():
            self.values[name][ids] = values
        if self.remembers:
            self.previous[ids] = outputs.guarded_log_probs.to(self.previous.dtype)
        if self.logits is not None:
            self.logits[ids] = batch.logits.to(self.logits.dtype)

    def write_eval(self, ids: Tensor, values: Mapping[str, Tensor], features: Tensor | None) -> None:
        """Write rows of the evaluation pass; features stay in main memory, whatever the device."""
        for name, value in values.items():
            self.values[name][ids] = value
        if features is not None:
            self._width = features.shape[1]
            if self.features is None or self.features.shape[1] != features.shape[1]:
                self.features = np.full((self.intake.n, features.shape[1]), np.nan, dtype=np.float32)
            self.features[ids.cpu().numpy()] = features.cpu().numpy()

    def frame(self, epoch: int) -> Frame:
        """Return what the epoch showed, in training or evaluation; ids are counted from this memory's first sample."""
        n = self.intake.n
        shown = (self.intake.visits > 0) | (self.intake.eval_visits > 0)
        ids = np.flatnonzero(shown.cpu().numpy()).astype(np.int64)
        rows: Any = slice(None) if len(ids) == n else ids
        # The copy matters on a CPU, where .numpy() would share memory with the buffers that the next epoch fills.
        values = {name: value.cpu().numpy()[rows].copy() for name, value in self.values.items()}
        return Frame(epoch, ids, values, n)

    def beside(self, frame: Frame, targets: bool) -> dict[str, Any]:
        """Return what a store is given besides an epoch's frame: logits, `targets` where asked, features where new.

        Logits are those of the training, NaN in the rows of samples that only the evaluation pass showed. Features are new
        on every rank where the pass brought any, also on one that owns none of its samples: it gives what it had before.
        Those that the store has lost are new to it.
        """
        logits = None if self.logits is None else self.logits.cpu().numpy()[frame.ids]
        if logits is not None:
            logits[(self.intake.visits == 0).cpu().numpy()[frame.ids]] = np.nan
        return {
            "logits": logits,
            "targets": self.intake.targets.cpu().numpy() if targets else None,
            "features": self.features if self._width is not None or self.features_cut else None,
        }

    def start_epoch(self) -> None:
        """Forget the row of the epoch that was committed, not the log-probabilities."""
        self.intake.start_epoch()
        self._width, self.features_cut = None, False
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
            "faults": intake.faults,
            "values": dict(self.values),
            **({} if self.logits is None else {"logits": self.logits}),
            **({} if self.features is None else {"features": self.features}),
        }

    def check(self, state: Mapping[str, Any], known: Tensor | None) -> list[tuple[Tensor, Tensor]]:
        """Return where the parts of a state go, and the parts. Raises InputError for another one's state, also where it has
        other labels than those that are `known` up front."""
        intake, values = self.intake, state["values"]
        if set(values) != set(self.values):
            raise InputError(
                f"Expected a recorder state with the signals {sorted(self.values)}, but got {sorted(values)}. "
                "Create the Recorder with the scorers, signals and store that it had."
            )
        targets = {"previous": self.previous, "targets": intake.targets, "visits": intake.visits}
        targets |= {"eval_visits": intake.eval_visits, **({} if self.logits is None else {"logits": self.logits})}
        found = [(place, _part(state, name, place)) for name, place in targets.items()]
        found += [(place, _part(values, name, place)) for name, place in self.values.items()]
        if known is not None:
            intake.check_known(tensor(state["targets"]), known)
        return found

    def load(self, state: Mapping[str, Any], known: Tensor | None) -> None:
        """Copy `state()` back, and take the labels that are `known` up front; what waits is forgotten.

        Raises what `check` does, before anything is changed.
        """
        found, intake = self.check(state, known), self.intake
        if self._pending is not None:
            self._pending.drain()
        for place, value in found:
            place.copy_(value)
        faults = tensor(state.get("faults", intake.faults.new_zeros(0)))  # older states have none
        intake.faults.zero_()[: len(faults)] = faults.to(intake.device)
        # Labels that came since the last epoch was committed are not in its store.
        self.targets_incomplete = bool((intake.targets < 0).any()) or self.amid_epoch or self.amid_evaluation
        self.features = np.array(tensor(state["features"]).numpy()) if "features" in state else None
        self._width = self.features.shape[1] if self.features is not None and self.amid_evaluation else None
        if known is not None:
            intake.know(known)

    def after(self, before: Memory | None, known: Tensor | None) -> Memory:
        """Return this new memory, with what another one held `before` and the labels that are `known` up front."""
        if before is not None:
            self.load(before.state(), known)
            self.features_cut = before.features_cut
        elif known is not None:
            self.intake.know(known)
        return self


def _part(state: Mapping[str, Any], name: str, place: Tensor) -> Tensor:
    """Return a part of a state. Raises InputError for one that does not fit the place it is to go to."""
    value = tensor(state[name], name)
    if value.shape != place.shape:
        raise InputError(
            f"Expected {name} of shape {tuple(place.shape)} in a recorder state, but got {tuple(value.shape)}. Pass it "
            "as state_dict() returned it."
        )
    return value

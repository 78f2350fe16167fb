"""What a Recorder on several ranks does with batches: rows wait in boxes, and once an epoch go to their owners' memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from thresher import signals
from thresher.errors import InputError
from thresher.ranks import Ranks, together
from thresher.ranks.owners import Owners
from thresher.recording.arguments import Batch
from thresher.recording.memory import Memory
from thresher.recording.outbox import Arrived, Outbox


class Collector:
    """The rows on their way, of the training and of the evaluation pass.

    Signals that need no memory are computed where the batch is, and travel as one number each. For those that do, and for a
    store of logits, the float32 logits travel: the owner then runs the very code on the very numbers that one process would.
    """

    def __init__(self, ranks: Ranks, owners: Owners, train: Sequence[str], evaluated: Sequence[str], logits: bool) -> None:
        self.ranks, self.owners = ranks, owners
        self._early = [name for name in train if name not in signals.REMEMBERING]
        self._late = [name for name in train if name in signals.REMEMBERING]
        self._evaluated, self._logits = list(evaluated), logits or bool(self._late)
        self._boxes = (Outbox(owners), Outbox(owners))
        self._fault: InputError | None = None

    def add(self, memory: Memory, batch: Batch, epoch: int) -> None:
        """Check a training batch, or several that waited, and keep the rows."""
        batch = memory.intake.look_at(batch, self.owners.n, epoch, memory.stored)
        early = signals.compute(signals.Outputs(batch.logits, batch.targets, batch.features), self._early)
        self._boxes[0].add(batch, [*early.values(), *([batch.logits] if self._logits else [])])

    def add_eval(self, memory: Memory, batch: Batch, names: Sequence[str], epoch: int) -> None:
        """Check a batch of the evaluation pass and keep its signals `names` and its features."""
        batch = memory.intake.look_at(batch, self.owners.n, epoch)
        found = signals.compute(signals.Outputs(batch.logits, batch.targets, batch.features), names)
        nothing = torch.full((len(batch.ids),), float("nan"), dtype=torch.float32, device=batch.ids.device)
        columns = [found.get(name.removeprefix(signals.EVAL_PREFIX), nothing) for name in self._evaluated]
        self._boxes[1].add(batch, [*columns, *([] if batch.features is None else [batch.features])])

    @property
    def waits(self) -> bool:
        """Whether rows of a training wait."""
        return not self._boxes[0].empty

    @property
    def eval_waits(self) -> bool:
        """Whether rows of an evaluation pass wait."""
        return not self._boxes[1].empty

    def collect(self, memory: Memory, epoch: int) -> None:
        """Bring this rank's samples' rows of all ranks into the memory. Raises InputError on all ranks for what came twice
        where that is refused, or came with another target than before; the epoch cannot be committed then."""
        topic = f"end_epoch {epoch}"
        for box, receive in zip(self._boxes, (self._receive, self._receive_eval), strict=True):
            for arrived in box.travel(self.ranks, topic):
                try:
                    if self._fault is None:
                        receive(memory, arrived, epoch)
                except InputError as error:  # kept, so that the others are not left waiting
                    self._fault = error
        with together(self.ranks, topic):
            if self._fault is not None:
                raise self._fault

    def _receive(self, memory: Memory, arrived: Arrived, epoch: int) -> None:
        logits = arrived.columns[:, len(self._early) :]
        batch = _counted(memory, Batch(logits, arrived.targets, arrived.ids, arrived.columns), memory.intake.visits, epoch)
        assert batch.features is not None
        known = {name: batch.features[:, column] for column, name in enumerate(self._early)}
        memory.write(Batch(batch.logits, batch.targets, batch.ids, None), self._late, known)

    def _receive_eval(self, memory: Memory, arrived: Arrived, epoch: int) -> None:
        columns, count = arrived.columns, len(self._evaluated)
        batch = Batch(columns[:, :0], arrived.targets, arrived.ids, columns)
        batch = _counted(memory, batch, memory.intake.eval_visits, epoch)
        assert batch.features is not None
        values = {name: batch.features[:, column] for column, name in enumerate(self._evaluated)}
        memory.write_eval(batch.ids, values, batch.features[:, count:] if columns.shape[1] > count else None)

    def state(self) -> dict[str, Any]:
        """Return the rows that wait, by box."""
        return {name: box.state() for name, box in zip(("train", "eval"), self._boxes, strict=True)}

    def load(self, state: Mapping[str, Any], device: torch.device) -> None:
        """Take `state()` back."""
        self._fault = None
        for name, box in zip(("train", "eval"), self._boxes, strict=True):
            box.load(state.get(name, {}), device)


def _counted(memory: Memory, batch: Batch, visits: Tensor, epoch: int) -> Batch:
    """Return the rows that count, on the memory's device."""
    return memory.intake.take(memory.moved(batch, with_features=True), visits, epoch)

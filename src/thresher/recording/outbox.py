"""The rows that a rank has seen in the running epoch, until they travel to the ranks that own their samples.

A sample's owner is fixed, but a sampler shows it to any rank. So rows wait where they were seen, and once an epoch they go
to their owners, all to all, in rounds of bounded size. A round is a range of every owner's ids, hence all copies of a sample
come in one round, and the first of them can be told: that of the earliest step, at the same step that of the lowest rank,
in the same batch the first row. A `DistributedSampler` pads with its first samples at the end, so its padding is what goes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import torch
from torch import Tensor

from thresher.errors import InputError
from thresher.ranks import Ranks
from thresher.ranks.owners import Owners
from thresher.recording.arguments import Batch

_BYTES = 32 << 20  # of a block of waiting rows, and of a round
_ID, _TARGET, _STEP = range(3)


@dataclass(frozen=True)
class Arrived:
    """Rows at their owner, the copy that counts first: `ids` (M,) from this rank's first sample on, `targets` (M,),
    `columns` (M, W) float32."""

    ids: Tensor
    targets: Tensor
    columns: Tensor


class Outbox:
    """Rows of one kind (training or evaluation pass), each with the same columns."""

    def __init__(self, owners: Owners) -> None:
        self._owners = owners
        self._blocks: list[tuple[Tensor, Tensor]] = []
        self._filled = 0  # rows of the last block
        self._step = 0
        self.width: int | None = None

    def add(self, batch: Batch, columns: Sequence[Tensor]) -> None:
        """Keep a copy of a batch's rows, each with the step of its batch where it is several; `columns` are (B,) or (B, w).
        Raises InputError for another width than before."""
        wide = [column[:, None] if column.ndim == 1 else column for column in columns]
        width = sum(column.shape[1] for column in wide)
        if self.width not in (None, width):
            raise InputError(
                f"Expected {self.width} numbers for each sample of an epoch, but got {width}. Pass features of one width."
            )
        self.width = width
        start, count = 0, len(batch.ids)
        steps = _steps(batch.sizes, self._step, batch.ids.device) if batch.sizes else None
        while start < count:
            integers, floats = self._room(batch.ids.device)
            rows = slice(start, min(count, start + len(integers) - self._filled))
            end = self._filled + rows.stop - rows.start
            integers[self._filled : end, _ID] = batch.ids[rows]
            integers[self._filled : end, _TARGET] = batch.targets[rows]
            if steps is None:
                integers[self._filled : end, _STEP].fill_(self._step)
            else:
                integers[self._filled : end, _STEP] = steps[rows]
            column = 0
            for part in wide:
                floats[self._filled : end, column : column + part.shape[1]] = part[rows]
                column += part.shape[1]
            self._filled, start = end, rows.stop
        self._step += len(batch.sizes) or 1

    def _room(self, device: torch.device) -> tuple[Tensor, Tensor]:
        """Return the block that is being filled."""
        if not self._blocks or self._filled == len(self._blocks[-1][0]):
            assert self.width is not None
            rows = _rows_of(self.width, self._owners.n)
            self._blocks = [(ints.to(device), values.to(device)) for ints, values in self._blocks]  # those of a state
            with torch.inference_mode(False):  # else it could be changed in inference mode alone
                integers = torch.empty((rows, 3), dtype=torch.int64, device=device)
                self._blocks.append((integers, torch.empty((rows, self.width), dtype=torch.float32, device=device)))
            self._filled = 0
        return self._blocks[-1]

    def travel(self, ranks: Ranks, topic: str) -> Iterator[Arrived]:
        """Send every row to its owner and yield those that come, round by round; empties the box. All ranks take part."""
        widths = {width for width in ranks.share(topic, self.width) if width is not None}
        if len(widths) > 1:
            raise InputError(
                f"Expected as many numbers for each sample on every rank, but got {sorted(widths)}. Pass features on all "
                "ranks or on none, and of one width."
            )
        if widths:
            width = widths.pop()
            step = _rows_of(width, self._owners.n)
            rounds = -(-self._owners.largest // step)
            blocks = [(ints, values, *self._by_round(ints, step, rounds)) for ints, values in self._waiting()]
            for number in range(rounds):
                parts = [(ints, values, rows[ends[number] : ends[number + 1]]) for ints, values, rows, ends in blocks]
                yield self._round(ranks, width, parts)
        self.clear()

    def _by_round(self, ints: Tensor, step: int, rounds: int) -> tuple[Tensor, list[int]]:
        """Return a block's rows in the order of their rounds, and where each round begins: sorted once, not sought in every
        round."""
        _, place = self._owner_of(ints[:, _ID])
        number = place // step
        ends = torch.bincount(number, minlength=rounds).cumsum(0).tolist()
        return torch.argsort(number, stable=True), [0, *ends]

    def _owner_of(self, ids: Tensor) -> tuple[Tensor, Tensor]:
        """Return the ranks that own samples, and each sample's place among those of its owner."""
        bounds = torch.from_numpy(self._owners.bounds).to(ids.device)
        owner = torch.searchsorted(bounds[1:], ids.contiguous(), right=True)
        return owner, ids - bounds[owner]

    def _round(self, ranks: Ranks, width: int, parts: Sequence[tuple[Tensor, Tensor, Tensor]]) -> Arrived:
        """Exchange the rows of one round: of each block its integers, its numbers and which rows."""
        integers = torch.empty((0, 3), dtype=torch.int64, device="cpu")
        floats = torch.empty((0, width), dtype=torch.float32, device="cpu")
        counts = [0] * ranks.size
        if parts:
            integers = torch.cat([ints[rows] for ints, _, rows in parts])
            owner, _ = self._owner_of(integers[:, _ID])
            counts = torch.bincount(owner, minlength=ranks.size).tolist()
            order = torch.argsort(owner, stable=True)
            integers = integers[order]
            floats = torch.empty((len(order), width), dtype=torch.float32, device=order.device)
            to, start = torch.argsort(order), 0
            for _, values, rows in parts:
                floats.index_copy_(0, to[start : start + len(rows)], values[rows])
                start += len(rows)
        integers, _ = ranks.exchange(integers, counts)
        floats, _ = ranks.exchange(floats, counts)
        first, _ = self._owners.span(ranks.rank)
        order = torch.argsort(integers[:, _STEP], stable=True)
        integers = integers[order]
        return Arrived(integers[:, _ID] - first, integers[:, _TARGET], floats[order.to(floats.device)])

    def _waiting(self) -> Iterator[tuple[Tensor, Tensor]]:
        for position, (integers, floats) in enumerate(self._blocks):
            rows = self._filled if position == len(self._blocks) - 1 else len(integers)
            yield integers[:rows], floats[:rows]

    @property
    def empty(self) -> bool:
        """Whether no row waits."""
        return not self._blocks

    def clear(self) -> None:
        """Forget all rows; the next step is the first of an epoch."""
        self._blocks, self._filled, self._step, self.width = [], 0, 0, None

    def state(self) -> dict[str, Any]:
        """Return the waiting rows as tensors, and the step, which counts where a batch had no rows; empty at the start."""
        waiting = list(self._waiting())
        state: dict[str, Any] = {"step": self._step} if self._step else {}
        if waiting:
            state["integers"], state["floats"] = (torch.cat(column) for column in zip(*waiting, strict=True))
        return state

    def load(self, state: dict[str, Any], device: torch.device) -> None:
        """Take `state()` back."""
        self.clear()
        self._step = int(state.get("step", 0))
        if "integers" in state:
            integers, floats = state["integers"].to(device), state["floats"].to(device)
            self._blocks, self._filled = [(integers, floats)], len(integers)
            self.width = floats.shape[1]


def _steps(sizes: Sequence[int], first: int, device: torch.device) -> Tensor:
    """Return the step of each row of batches of these sizes, of which the first has the step `first`.

    They are counted out on the device, batches of one size together: what is copied to a GPU from here waits for it.
    """
    steps = []
    for size, alike in groupby(sizes):
        end = first + len(list(alike))
        steps.append(torch.arange(first, end, device=device)[:, None].expand(-1, size).reshape(-1))
        first = end
    return torch.cat(steps)


def _rows_of(width: int, n: int) -> int:
    """Return how many rows make a block or a round."""
    return max(1, min(n, _BYTES // (4 * width + 24)))

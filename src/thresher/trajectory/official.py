"""Reads the dumps of the official TDDS code: all logits, one pair of .npy files per epoch.

    {t}_Output.npy   (N, C) float logits of epoch t in the order of the loader
    {t}_Index.npy    (N,) integer: the sample id of each row
    {t}_Loss.npy     ignored
    targets.npy      (N,) integer class labels by sample id; optional, needed by scorers that read labels

Epochs are streamed in chunks of rows that fit into the processor's cache, on a few threads (NumPy releases the GIL); only
the log-probabilities of two epochs, N x C float32 each, stay in memory. torch is not imported.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from thresher import signals
from thresher.ahead import ahead
from thresher.cores import cores
from thresher.errors import InputError, MissingFileError, SampleIdError, UnknownNameError
from thresher.places import fixed
from thresher.trajectory.kernel import Memory, Scratch, change, summed
from thresher.trajectory.npy import NpyArray, cut_off, read_header
from thresher.trajectory.part import Part
from thresher.types import Floats, Frame, Ids, as_names, is_whole

_CHUNK_VALUES = 1 << 18  # 1 MB of float32: smaller ones fit the cache better, but threads then wait for one another
_NEEDS_NO_TARGETS = ("change", "signed_change", "entropy")
Kernel = Callable[[Floats, Ids, Floats | None, Floats], tuple[dict[str, Floats], Floats]]


class OfficialDumps:
    """A folder of official dumps: `epochs` epochs of `n` samples over `num_classes` classes.

    Raises MissingFileError if an epoch (or its index) is missing, CorruptFileError if a file is truncated or not an array,
    InputError or SampleIdError if the contents do not fit: other shapes, NaN, ids that are not a permutation.
    """

    features: Floats | None = None

    def __init__(self, folder: Path | str, threads: int | None = None) -> None:
        self.folder = fixed(Path(folder))
        self.threads = threads or min(4, cores())
        self.epochs = self._count_epochs()
        first = self._header(0, "Output")
        if len(first.shape) != 2 or first.shape[0] < 1 or first.shape[1] < 2:
            raise InputError(f"Expected logits of shape (N, C), C >= 2, in {first.path}, but got {first.shape}.")
        self.n: int = first.shape[0]
        self.num_classes: int = first.shape[1]
        self.targets: NDArray[np.int64] | None = self._load_targets()
        self._scratch = Scratch()

    def __repr__(self) -> str:
        return f"<OfficialDumps of {self.epochs} epochs, {self.n} samples in {self.num_classes} classes, in {self.folder}>"

    @property
    def signals(self) -> tuple[str, ...]:
        """The signals that frames can hold: those of the logits alone, and with targets those that need them."""
        if self.targets is None:
            return _NEEDS_NO_TARGETS
        return tuple(name for name in signals.SIGNALS if name not in signals.FEATURE_SIGNALS)

    @property
    def info(self) -> Mapping[str, Any]:
        """The provenance of dumps: only their format is known."""
        return {"format": "official TDDS dumps"}

    def frames(self, names: Sequence[str], start: int = 0, stop: int | None = None) -> Iterator[Frame]:
        """Yield the frames of epochs `start` to `stop - 1` with these signals.

        For the change at `start`, the epoch before it is read too; at epoch 0 the change is NaN.
        """
        stop = self.epochs if stop is None else stop
        if not (is_whole(start) and is_whole(stop) and 0 <= start <= stop <= self.epochs):
            raise InputError(f"Expected epochs within [0, {self.epochs}], but got {start!r} to {stop!r}.")
        unknown = sorted(set(as_names(names, "signals")) - set(self.signals))
        if unknown:
            raise UnknownNameError(f"These dumps have no signal {', '.join(unknown)}; they have {', '.join(self.signals)}.")
        yield from ahead(self._frames(names, start, stop))  # scorers take an epoch in while the next one is read

    def _frames(self, names: Sequence[str], start: int, stop: int) -> Iterator[Frame]:
        remembers = bool(signals.REMEMBERING & set(names))
        memory = Memory(self.n, self.num_classes) if remembers else None
        kernel = self.kernel(names)
        first = start - 1 if remembers and start > 0 else start
        checked = ahead((self._logits(epoch), self._order(epoch)) for epoch in range(first, stop))
        with ThreadPoolExecutor(self.threads) as pool:
            for epoch, (source, order) in enumerate(checked, first):
                frame = self._epoch(epoch, source, order, names, memory, kernel, pool)
                if epoch >= start:
                    yield frame

    def _epoch(
        self, epoch: int, source: NpyArray, order: Ids, names: Sequence[str], memory: Memory | None, kernel: Kernel,
        pool: ThreadPoolExecutor,
    ) -> Frame:  # fmt: skip
        """Read one epoch chunk by chunk; `memory` then holds its guarded log-probabilities."""
        values = {name: np.empty(self.n, dtype=np.float32) for name in names}
        chunks = -(-self.n * self.num_classes // _CHUNK_VALUES)
        rows = -(-self.n // (chunks + -chunks % self.threads))  # as many for each thread: none waits for the last one

        def work(first: int) -> None:
            ids = order[first : first + rows]
            logits = self._read(source, first, len(ids), epoch)
            before, room = None, self._scratch.array("room", logits.shape)
            if memory is not None:
                before, room = memory.recall(ids, self._scratch.array("before", logits.shape)), memory.room(first, len(ids))
            found, log_probs = kernel(logits, ids, before, room)
            for name, value in found.items():
                values[name][ids] = value
            if memory is not None and log_probs is not room:
                room[...] = log_probs

        for _ in pool.map(work, range(0, self.n, rows)):
            pass
        if memory is not None:
            memory.turn(order)
        return Frame(epoch, np.arange(self.n), values, self.n)

    def only(self, ids: Ids) -> Part:
        """Return some samples (sorted, unique ids) as a separate recording, renumbered from 0."""
        return _Rows(self, ids)

    def rows(self, epoch: int, ids: Ids) -> Floats:
        """Return (k, C) float32: the logits of some samples in an epoch; nothing else is read."""
        source, position = self._logits(epoch), np.empty(self.n, dtype=np.int64)
        position[self._order(epoch)] = np.arange(self.n)
        mapped = np.memmap(source.path, source.dtype, "r", source.offset, source.shape)
        return self._finite(np.asarray(mapped[position[ids]], dtype=np.float32), source, position[ids], epoch)

    def kernel(self, names: Sequence[str]) -> Kernel:
        """Return the function that turns a chunk's logits, ids and previous log-probabilities into signals."""
        return change if set(names) == {"change"} else self._general(names)

    def _general(self, names: Sequence[str]) -> Kernel:
        def kernel(logits: Floats, ids: Ids, previous: Floats | None, room: Floats) -> tuple[dict[str, Floats], Floats]:
            targets = np.zeros(len(ids), dtype=np.int64) if self.targets is None else self.targets[ids]
            out = signals.Outputs(logits, targets, previous=previous)
            found = signals.compute(out, [name for name in names if name != "change"])
            if "change" in names:
                found["change"] = summed(out.guarded_log_probs - previous, out.probs)
            return found, out.guarded_log_probs if previous is not None else logits

        return kernel

    def _read(self, source: NpyArray, first: int, count: int, epoch: int) -> Floats:
        """Return rows `first` to `first + count - 1` as float32, or raise if they are not finite."""
        chunk = self._scratch.array("read", (count, self.num_classes), source.dtype)
        with source.path.open("rb", buffering=0) as file:
            file.seek(source.offset + first * self.num_classes * source.dtype.itemsize)
            got = file.readinto(chunk.data)
        if got != chunk.nbytes:
            raise cut_off(source.path)
        return self._finite(chunk.astype(np.float32, copy=False), source, np.arange(first, first + count), epoch)

    def _finite(self, logits: Floats, source: NpyArray, rows: Ids, epoch: int) -> Floats:
        """Return the logits of these rows if finite, else raise; minimum and maximum reveal every NaN and infinity."""
        if not (np.isfinite(logits.min()) and np.isfinite(logits.max())):
            row = int(rows[np.flatnonzero(~np.isfinite(logits).all(axis=1))[0]])
            raise InputError(
                f"Expected finite logits, but row {row} of {source.path} (epoch {epoch}) holds NaN or infinity: the "
                f"training diverged. Score an earlier epoch: at <= {epoch}."
            )
        return logits

    def _count_epochs(self) -> int:
        if not self.folder.is_dir():
            raise MissingFileError(f"Expected a folder of official TDDS dumps at {self.folder}, but there is none.")
        found = {int(m[1]) for p in self.folder.iterdir() if (m := re.fullmatch(r"(\d+)_(?:Output|Index)\.npy", p.name))}
        if not found:
            raise MissingFileError(f"Expected 0_Output.npy, 0_Index.npy and so on in {self.folder}, but there is none.")
        for epoch in range(max(found) + 1):
            for kind in ("Output", "Index"):
                if not (self.folder / f"{epoch}_{kind}.npy").is_file():
                    rows = " Where rows lie in the data set's order, it is np.arange(n)." if kind == "Index" else ""
                    raise MissingFileError(
                        f"Expected {epoch}_{kind}.npy in {self.folder}, which holds epochs up to {max(found)}, but it is "
                        "missing. Every epoch from 0 on is needed; copy it again, rename them if they count from 1, or "
                        f"remove the epochs after the gap.{rows}"
                    )
        return max(found) + 1

    def _header(self, epoch: int, kind: str) -> NpyArray:
        return read_header(self.folder / f"{epoch}_{kind}.npy")

    def _logits(self, epoch: int) -> NpyArray:
        source = self._header(epoch, "Output")
        if source.shape != (self.n, self.num_classes):
            raise InputError(
                f"Expected logits of shape {(self.n, self.num_classes)} in every epoch, as in epoch 0, but {source.path} "
                f"has {source.shape}. Samples are missing or padded: dump with drop_last=False and without padding."
            )
        if source.dtype.kind != "f":
            raise InputError(f"Expected floating-point logits in {source.path}, but got {source.dtype}.")
        return source

    def _order(self, epoch: int) -> Ids:
        """Return the sample id of each row, a permutation."""
        source = self._header(epoch, "Index")
        if source.dtype.kind not in "iu" or source.shape != (self.n,):
            raise SampleIdError(
                f"Expected {self.n} integer ids in {source.path}, one per row of logits, but got {source.dtype} of shape "
                f"{source.shape}."
            )
        order = np.fromfile(source.path, source.dtype, self.n, offset=source.offset).astype(np.int64)
        if order.min() < 0 or order.max() >= self.n:
            raise SampleIdError(
                f"Expected ids in [0, {self.n}) in {source.path}, but they span {order.min()} to {order.max()}: there are "
                "fewer rows than samples (drop_last=True?), or ids are not positions in the data set."
            )
        counts = np.bincount(order, minlength=self.n)
        if counts.max() > 1:
            raise SampleIdError(
                f"Expected every id once in {source.path}, but {int(counts.argmax())} appears {int(counts.max())} times "
                f"({int((counts > 1).sum())} such ids). Padding or repeating samplers cause this; the official code would "
                "add up their probabilities."
            )
        return order

    def _load_targets(self) -> NDArray[np.int64] | None:
        path = self.folder / "targets.npy"
        if not path.is_file():
            return None
        source = read_header(path)
        if source.dtype.kind not in "iu" or source.shape != (self.n,):
            raise InputError(
                f"Expected {self.n} integer labels in {path}, one per sample id, but got {source.dtype} of shape "
                f"{source.shape}."
            )
        targets = np.fromfile(path, source.dtype, self.n, offset=source.offset).astype(np.int64)
        if targets.min() < 0 or targets.max() >= self.num_classes:
            raise InputError(
                f"Expected labels in [0, {self.num_classes}) in {path}, but they span {targets.min()} to {targets.max()}."
            )
        return targets


class _Rows(Part):
    """Some samples; reads only their rows of every epoch's logits."""

    def __init__(self, whole: OfficialDumps, ids: Ids) -> None:
        super().__init__(whole, ids)
        self._dumps = whole

    def frames(self, names: Sequence[str], start: int, stop: int) -> Iterator[Frame]:
        """Yield the frames of epochs `start` to `stop - 1`, these samples only."""
        if not signals.REMEMBERING & set(names):
            yield from super().frames(names, start, stop)
            return
        previous = np.full((self.n, self._dumps.num_classes), np.nan, dtype=np.float32)
        kernel = self._dumps.kernel(names)
        for epoch in range(max(0, start - 1), stop):
            logits = self._dumps.rows(epoch, self._ids)
            values, previous = kernel(logits, self._ids, previous, np.empty_like(logits))
            if epoch >= start:
                yield Frame(epoch, np.arange(self.n), values, self.n)

"""Writes a trajectory store, one epoch at a time: a crash at any moment costs the unfinished epoch and nothing else."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from thresher.errors import BusyError, InputError, RunDirectoryError
from thresher.files import PART, remove_parts, sync_folder
from thresher.signals import resolve
from thresher.trajectory.layout import (
    FEATURES,
    LOCK,
    MANIFEST,
    TARGETS,
    FileEntry,
    Manifest,
    entry_of,
    epoch_folder,
    load_manifest,
)
from thresher.types import Floats, Frame

LogitsDtype = Literal["float16", "float32"]


class TrajectoryWriter:
    """An open store. Get one with `create` or `resume`; it locks the store against other writers until `close`.

    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp()) / "trajectory"
    >>> with TrajectoryWriter.create(folder, 2, 10, ["loss"]) as store:
    ...     loss = np.array([0.5, 0.25], dtype=np.float32)
    ...     store.append(Frame(0, np.arange(2), {"loss": loss}, 2))
    >>> from thresher.trajectory.reader import Trajectory
    >>> next(Trajectory.open(folder).frames(["loss"], 0, 1)).values["loss"].tolist()
    [0.5, 0.25]
    """

    def __init__(self, folder: Path, manifest: Manifest, lock: IO[str]) -> None:
        self.folder, self.manifest, self._lock = folder, manifest, lock

    @classmethod
    def create(
        cls,
        folder: Path,
        n: int,
        num_classes: int,
        signals: Iterable[str],
        *,
        bucket_size: int = 65536,
        logits: LogitsDtype | None = None,
        info: Mapping[str, Any] | None = None,
    ) -> TrajectoryWriter:
        """Make an empty store in `folder`, which must not hold one, for `n` samples and these signals.

        `bucket_size` ids go into one file; `logits` stores all logits too, (N, C) an epoch, in that dtype; `info` is
        JSON-ready provenance. Raises RunDirectoryError where there is a store already, what is left of one, or another
        writer.
        """
        names = tuple(signals)
        for name in names:
            resolve(name)
        if n < 1 or num_classes < 2 or bucket_size < 1 or len(set(names)) != len(names):
            raise InputError(
                f"Expected n >= 1, num_classes >= 2, bucket_size >= 1 and distinct signals, but got n={n}, "
                f"num_classes={num_classes}, bucket_size={bucket_size}, signals={list(names)}."
            )
        folder.mkdir(parents=True, exist_ok=True)
        lock = _take_lock(folder)
        if (folder / MANIFEST).exists():
            lock.close()
            raise RunDirectoryError(f"{folder} holds a recording already. Resume it, or choose another folder.")
        if any(folder.glob("epoch=*")):  # a crash of ours cannot leave this; writing here would destroy it
            lock.close()
            raise RunDirectoryError(
                f"{folder} holds recorded epochs, but its {MANIFEST} is gone. Restore it, or choose another folder."
            )
        manifest = Manifest(n, num_classes, bucket_size, names, logits, dict(info or {}))
        manifest.save(folder)
        return cls(folder, manifest, lock)

    @classmethod
    def resume(cls, folder: Path) -> TrajectoryWriter:
        """Open a store to append to it; what a crash left of an unfinished epoch is removed."""
        manifest = load_manifest(folder)
        writer = cls(folder, manifest, _take_lock(folder))
        writer._sweep()
        return writer

    @property
    def signals(self) -> tuple[str, ...]:
        """Names of the signals that are stored."""
        return self.manifest.signals

    @property
    def logits(self) -> str | None:
        """Dtype of the stored logits, None where they are not stored."""
        return self.manifest.logits

    @property
    def epochs(self) -> int:
        """Number of committed epochs."""
        return len(self.manifest.epochs)

    def append(
        self,
        frame: Frame,
        logits: NDArray[Any] | None = None,
        *,
        targets: NDArray[np.int64] | None = None,
        features: Floats | None = None,
    ) -> None:
        """Commit one epoch: all of it or nothing.

        `logits` (M, C) belong to the frame's rows; `targets` (N,) int64 with -1 for unknown ones and `features` (N, D)
        replace what was stored. Raises InputError for a frame that is not the next epoch, and OSError where the disk
        is full or gone; the store is then as it was, and the same epoch may be appended again.
        """
        if frame.epoch != self.epochs or frame.n != self.manifest.n:
            raise InputError(
                f"Expected epoch {self.epochs} of {self.manifest.n} samples, but got epoch {frame.epoch} of {frame.n}."
            )
        if (logits is None) != (self.manifest.logits is None):
            raise InputError(f"This store was made with logits={self.manifest.logits}; append an epoch accordingly.")
        final = self.folder / epoch_folder(frame.epoch)
        part = final.with_name(final.name + PART)
        shutil.rmtree(part, ignore_errors=True)
        try:
            changes = self._write_whole_files(frame.epoch, targets, features)
            part.mkdir()
            entries = tuple(self._write_bucket(part, bucket, frame, logits) for bucket in self._buckets())
            sync_folder(part)
            shutil.rmtree(final, ignore_errors=True)  # an epoch that the manifest does not know was never committed
            os.replace(part, final)
            manifest = replace(self.manifest, epochs=(*self.manifest.epochs, entries), **changes)
            manifest.save(self.folder)
        except BaseException:
            shutil.rmtree(part, ignore_errors=True)
            raise
        self.manifest = manifest
        self._sweep_whole_files()

    def _buckets(self) -> range:
        return range(-(-self.manifest.n // self.manifest.bucket_size))

    def _write_bucket(self, part: Path, bucket: int, frame: Frame, logits: NDArray[Any] | None) -> FileEntry:
        low, high = np.searchsorted(frame.ids, self.manifest.bucket_range(bucket))
        rows = slice(int(low), int(high))
        columns: dict[str, pa.Array] = {"sample_id": pa.array(frame.ids[rows])}
        for name in self.signals:
            values = frame.values.get(name)
            if values is not None and not np.isnan(values[rows]).all():
                columns[name] = pa.array(values[rows].astype(np.float32, copy=False))
        if logits is not None:
            columns["logits"] = _matrix(logits[rows].astype(self.manifest.logits, copy=False))
        name = f"bucket={bucket:03d}.parquet"
        return _write(part / name, f"{epoch_folder(frame.epoch)}/{name}", columns)

    def _write_whole_files(self, epoch: int, targets: NDArray[np.int64] | None, features: Floats | None) -> dict[str, Any]:
        """Write targets and features beside those they replace, and return what changes in the manifest."""
        changes: dict[str, Any] = {}
        if targets is not None:
            columns = {"sample_id": pa.array(np.arange(len(targets))), "target": pa.array(targets)}
            changes["targets"] = self._write_whole(TARGETS, self.manifest.targets, columns)
        if features is not None:
            ids = np.flatnonzero(~np.isnan(features).any(axis=1))
            columns = {"sample_id": pa.array(ids), "feature": _matrix(features[ids])}
            changes["features"] = self._write_whole(FEATURES, self.manifest.features, columns)
            changes["features_epoch"] = epoch
        return changes

    def _write_whole(self, names: tuple[str, str], old: FileEntry | None, columns: dict[str, pa.Array]) -> FileEntry:
        # The old file is what the manifest names until the new manifest is there, so the two names take turns.
        name = names[1] if old is not None and old.name == names[0] else names[0]
        part = self.folder / (name + PART)
        entry = _write(part, name, columns)
        os.replace(part, self.folder / name)
        return entry

    def _sweep_whole_files(self) -> None:
        """Remove the targets and features that the manifest does not name: replaced ones, or of an epoch that failed."""
        named = {entry.name for entry in (self.manifest.targets, self.manifest.features) if entry is not None}
        for name in {*TARGETS, *FEATURES} - named:
            for path in (self.folder / name, self.folder / (name + PART)):
                path.unlink(missing_ok=True)

    def truncate(self, epochs: int) -> None:
        """Cut the store back to its first `epochs` epochs (a resumed training starts from an older checkpoint)."""
        if epochs >= self.epochs:
            return
        kept: dict[str, Any] = {"epochs": self.manifest.epochs[:epochs]}
        if self.manifest.features_epoch is not None and self.manifest.features_epoch >= epochs:
            kept |= {"features": None, "features_epoch": None}
        self.manifest = replace(self.manifest, **kept)
        self.manifest.save(self.folder)
        self._sweep()

    def _sweep(self) -> None:
        known = {epoch_folder(epoch) for epoch in range(self.epochs)}
        for path in self.folder.glob("epoch=*"):
            if path.name not in known:
                shutil.rmtree(path)
        remove_parts(self.folder)
        self._sweep_whole_files()

    def close(self) -> None:
        """Free the store for other writers. What was appended is safe already."""
        self._lock.close()

    def __enter__(self) -> TrajectoryWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


def _take_lock(folder: Path) -> IO[str]:
    lock = (folder / LOCK).open("w")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.close()
        raise BusyError(f"{folder} is being written by another process. Wait for it, or choose another.") from None
    return lock


def _matrix(values: NDArray[Any]) -> pa.Array:
    """Return (M, D) values as a column of fixed-size lists."""
    return pa.FixedSizeListArray.from_arrays(pa.array(np.ascontiguousarray(values).reshape(-1)), values.shape[1])


def _write(path: Path, name: str, columns: dict[str, pa.Array]) -> FileEntry:
    """Write one Parquet file, bring it to disk and return its entry."""
    table = pa.table(columns)
    # Floats hardly compress and are read often, so they lie there as they are; sorted ids shrink to nearly nothing.
    try:
        pq.write_table(
            table, path, compression="none", use_dictionary=False, write_statistics=False, write_page_checksum=True,
            column_encoding={"sample_id": "DELTA_BINARY_PACKED"},
        )  # fmt: skip
    except OSError as error:
        if error.errno is None:
            raise
        raise OSError(error.errno, os.strerror(error.errno), str(path)) from error
    with path.open("rb+") as file:
        os.fsync(file.fileno())
    return entry_of(path, name, table.num_rows, tuple(columns))

"""Reads a trajectory store. A file's size is checked when it is opened and each page's checksum when it is read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from thresher.arrow import all_numbers, values_crc
from thresher.errors import (
    CorruptFileError,
    InputError,
    MissingFileError,
    RunDirectoryError,
    UnknownNameError,
    of_the_system,
)
from thresher.places import as_place, fixed, for_arrow
from thresher.trajectory.layout import MANIFEST, FileEntry, Manifest, crc_and_size, load_manifest
from thresher.trajectory.part import Part
from thresher.types import Floats, Frame, Ids, as_names, is_whole

_ADVICE = (
    "Restore it from a copy, or record into a new --out; from Python, TrajectoryWriter.truncate cuts the recording back to "
    "before that epoch, and it can be resumed from a checkpoint that old."
)


class Trajectory:
    """A recorded training: `epochs` epochs of `n` samples over `num_classes` classes, with these `signals`.

    Open one with `Trajectory.open(folder)`. Recording may continue meanwhile: the reader sees what was complete when it was
    opened. If a file has been replaced since (features, or an epoch that was cut back), RunDirectoryError says to open it
    again.

    >>> import tempfile
    >>> from thresher import TrajectoryWriter
    >>> folder = Path(tempfile.mkdtemp()) / "trajectory"
    >>> with TrajectoryWriter.create(folder, 2, 10, ["loss"]) as store:
    ...     store.append(Frame(0, np.arange(2), {"loss": np.array([0.5, 0.25], dtype=np.float32)}, 2))
    >>> recording = Trajectory.open(folder)
    >>> recording.n, recording.epochs, [frame.values["loss"].tolist() for frame in recording.frames(["loss"])]
    (2, 1, [[0.5, 0.25]])
    """

    def __init__(self, folder: Path, manifest: Manifest, first_bucket: int = 0, buckets: int | None = None) -> None:
        self.folder, self.manifest = folder, manifest
        self.first_bucket = first_bucket
        self.buckets = -(-manifest.n // manifest.bucket_size) if buckets is None else buckets
        self.start = manifest.bucket_range(first_bucket)[0]
        self.n = manifest.bucket_range(first_bucket + self.buckets - 1)[1] - self.start
        self.num_classes = manifest.num_classes
        self.epochs, self.signals = len(manifest.epochs), manifest.signals

    def __repr__(self) -> str:
        size = f"{self.epochs} epochs, {self.n} samples in {self.num_classes} classes"
        return f"<thresher.Trajectory of {size}, in {self.folder}: {', '.join(self.signals)}>"

    @classmethod
    def open(cls, folder: Path | str) -> Trajectory:
        """Open the store in `folder`, which may be a run directory. Raises MissingFileError if a file is missing,
        CorruptFileError if one is damaged."""
        folder = fixed(as_place(folder))
        if not (folder / MANIFEST).is_file() and (folder / "trajectory" / MANIFEST).is_file():
            folder = folder / "trajectory"
        return cls(folder, load_manifest(folder))

    @property
    def info(self) -> Mapping[str, Any]:
        """Provenance: data set, fingerprint, recipe, seed."""
        return self.manifest.info

    @property
    def has_logits(self) -> bool:
        """True if all logits were stored."""
        return self.manifest.logits is not None

    @property  # of a cached one, a type checker would not say that it is what `replay` takes
    def targets(self) -> NDArray[np.int64] | None:
        """(N,) int64 class labels; None unless every sample's label is known. Read once."""
        return self._targets

    @property
    def features(self) -> Floats | None:
        """(N, D) float32 penultimate outputs of the evaluation pass, NaN rows for samples without; None without a pass.
        Read once."""
        return self._features

    @cached_property
    def _targets(self) -> NDArray[np.int64] | None:
        if self.manifest.targets is None:
            return None
        values = all_numbers(self._read(self.manifest.targets, ["target"]).column("target")).astype(np.int64)
        return None if (values < 0).any() else values

    @cached_property
    def _features(self) -> Floats | None:
        if self.manifest.features is None:
            return None
        table = self._read(self.manifest.features, ["sample_id", "feature"])
        rows = self._matrix(self.manifest.features, table, "feature")
        features = np.full((self.n, rows.shape[1]), np.nan, dtype=np.float32)
        features[all_numbers(table.column("sample_id"))] = rows
        return features

    def frames(self, names: Sequence[str], start: int = 0, stop: int | None = None) -> Iterator[Frame]:
        """Yield the frames of epochs `start` to `stop - 1` with these signals; other signals are not read from disk.

        Raises UnknownNameError for signals, InputError for epochs that were not recorded.
        """
        stop = self.epochs if stop is None else stop
        if not (is_whole(start) and is_whole(stop) and 0 <= start <= stop <= self.epochs):
            raise InputError(f"Expected epochs within [0, {self.epochs}], but got {start!r} to {stop!r}.")
        unknown = sorted(set(as_names(names, "signals")) - set(self.signals))
        if unknown:
            raise UnknownNameError(f"This recording has no signal {', '.join(unknown)}; it has {', '.join(self.signals)}.")
        for epoch in range(start, stop):
            yield self._frame(epoch, names)

    def _frame(self, epoch: int, names: Sequence[str]) -> Frame:
        entries = self.manifest.epochs[epoch]
        m = sum(entry.rows for entry in entries)
        values = {name: np.full(m, np.nan, dtype=np.float32) for name in names}
        ids = np.arange(self.n) if m == self.n else np.empty(m, dtype=np.int64)
        row = 0
        for bucket, entry in enumerate(entries):
            rows = slice(row, row + entry.rows)
            wanted = [name for name in names if name in entry.columns]
            whole = m == self.n
            if wanted or not whole:
                table = self._read(entry, wanted if whole else ["sample_id", *wanted])
                for name in wanted:
                    values[name][rows] = all_numbers(table.column(name))
                if not whole:
                    ids[rows] = all_numbers(table.column("sample_id"))
                    self._check_ids(ids[rows], self.first_bucket + bucket, entry)
            row += entry.rows
        if m != self.n:
            ids -= self.start
        return Frame(epoch, ids, values, self.n)

    def part(self, first: int, stop: int) -> Trajectory:
        """Return the samples of the buckets `first` to `stop - 1` as a separate recording, renumbered from 0.

        Its `start` is the id of its first sample in the whole recording. It has no targets and no features. It is small to
        send to workers; scoring it reads only the files of its buckets.
        """
        epochs = tuple(files[first:stop] for files in self.manifest.epochs)
        manifest = replace(self.manifest, epochs=epochs, targets=None, features=None)
        return Trajectory(self.folder, manifest, self.first_bucket + first, stop - first)

    def only(self, ids: Ids) -> Part:
        """Return some samples (sorted, unique ids) as a separate recording, renumbered from 0."""
        return Part(self, ids)

    def logits(self, epoch: int) -> Floats:
        """Return (N, C) float32 logits of one epoch, NaN rows where a sample was missing.

        Raises InputError if no logits were stored or the epoch was not recorded.
        """
        if not self.has_logits:
            raise InputError("This recording holds no logits. Record with logits='float16' (thresher record --logits).")
        if not (is_whole(epoch) and 0 <= epoch < self.epochs):
            raise InputError(f"Expected an epoch in [0, {self.epochs}), but got {epoch!r}.")
        result = np.full((self.n, self.num_classes), np.nan, dtype=np.float32)
        for entry in self.manifest.epochs[epoch]:
            table = self._read(entry, ["sample_id", "logits"])
            rows = self._matrix(entry, table, "logits")
            if rows.shape[1] != self.num_classes:
                raise self._corrupt(entry, f"its logits are of {rows.shape[1]} classes, not {self.num_classes}")
            result[all_numbers(table.column("sample_id")) - self.start] = rows
        return result

    def checksums(self, epochs: int) -> list[int]:
        """Return what tells these dynamics from others of the same size: the CRC-32 of the files of the first `epochs`
        epochs, and that of the features, if there are any."""
        files = [entry for found in self.manifest.epochs[:epochs] for entry in found]
        return [entry.crc for entry in (*files, self.manifest.features) if entry is not None]

    def verify(self) -> None:
        """Read every file in full and compare it with its checksum; raises MissingFileError or CorruptFileError."""
        for entry in self._entries():
            if crc_and_size(self._path(entry)) != (entry.crc, entry.size):
                raise self._corrupt(entry, "its contents do not match their checksum")

    def check_files(self) -> None:
        """Check that every file exists with its size, without reading any; raises MissingFileError or CorruptFileError."""
        for entry in self._entries():
            self._path(entry)

    def _entries(self) -> Iterator[FileEntry]:
        yield from (entry for entry in (self.manifest.targets, self.manifest.features) if entry is not None)
        yield from (entry for files in self.manifest.epochs for entry in files)

    def _path(self, entry: FileEntry) -> Path:
        path = self.folder / entry.name
        try:
            size = path.stat().st_size
        except FileNotFoundError:
            self._check_current(entry)
            raise MissingFileError(
                f"The manifest of {self.folder} names {entry.name}, but that file is missing. {_ADVICE}"
            ) from None
        if size != entry.size:
            raise self._corrupt(entry, f"it has {size} bytes, not {entry.size}")
        return path

    def _read(self, entry: FileEntry, columns: list[str]) -> pa.Table:
        path = self._path(entry)
        try:
            with for_arrow(path, mapped=True) as opened, pq.ParquetFile(opened, page_checksum_verification=True) as file:
                table = file.read(columns, use_threads=False)
            found = {name: values_crc(table.column(name)) for name in table.column_names} if entry.crcs else {}
        except (pa.ArrowException, OSError, KeyError, ValueError, TypeError) as error:
            if of_the_system(error):
                raise
            raise self._corrupt(entry, str(error)) from error
        if table.num_rows != entry.rows or table.num_columns != len(columns):
            raise self._corrupt(entry, f"it has {table.num_rows} rows of {table.num_columns} columns")
        crcs = dict(zip(entry.columns, entry.crcs, strict=False))
        for name in columns if crcs else ():
            if found.get(name) != crcs.get(name):
                raise self._corrupt(entry, f"the values of {name} do not match their checksum")
        return table

    def _matrix(self, entry: FileEntry, table: pa.Table, name: str) -> NDArray[Any]:
        """Return a column of fixed-size lists as (M, D)."""
        column = table.column(name).combine_chunks()
        chunk = column.chunk(0) if isinstance(column, pa.ChunkedArray) else column
        if not pa.types.is_fixed_size_list(chunk.type):
            raise self._corrupt(entry, f"its column {name} is of {chunk.type}, not of lists of one length")
        values: NDArray[Any] = chunk.flatten().to_numpy(zero_copy_only=False)
        return values.reshape(len(column), chunk.type.list_size)  # a bucket may have no rows

    def _check_ids(self, ids: NDArray[np.int64], bucket: int, entry: FileEntry) -> None:
        first, end = self.manifest.bucket_range(bucket)
        if len(ids) and (ids[0] < first or ids[-1] >= end or (np.diff(ids) <= 0).any()):
            raise self._corrupt(entry, "its sample ids are not those of its bucket")

    def _check_current(self, entry: FileEntry) -> None:
        """Raise RunDirectoryError if the store now names another file in place of `entry`."""
        now = load_manifest(self.folder)
        if entry not in (now.targets, now.features, *(file for files in now.epochs for file in files)):
            raise RunDirectoryError(
                f"{self.folder} was written to since it was opened, and {entry.name} was replaced: the recording continued "
                "or was cut back. Open it again."
            )

    def _corrupt(self, entry: FileEntry, why: str) -> CorruptFileError:
        self._check_current(entry)
        return CorruptFileError(f"{self.folder / entry.name} is damaged: {why}. {_ADVICE}")

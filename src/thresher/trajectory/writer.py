"""Writes a trajectory store, one epoch at a time: a crash at any moment costs the unfinished epoch and nothing else.
Several ranks write one store: each writes the buckets that it owns, and rank 0 the manifest when all are there."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from thresher.arrow import column
from thresher.errors import InputError, ThresherError
from thresher.files import PART, json_ready, sync_folder
from thresher.locks import free_lock
from thresher.ranks import Ranks, current, together
from thresher.ranks.owners import Owners, even_bucket
from thresher.signals import resolve
from thresher.trajectory.layout import (
    FEATURES,
    TARGETS,
    FileEntry,
    Manifest,
    entry_from,
    epoch_folder,
    load_manifest,
)
from thresher.trajectory.opening import (
    begin,
    check_open,
    check_store,
    freed_on_error,
    local_folder,
    reopen,
    seen_by_all,
    sweep,
    sweep_whole_files,
)
from thresher.trajectory.pieces import check_arrays, check_beside, check_rows, gathered, matrix, narrowed, write
from thresher.types import Floats, Frame, as_names, is_whole

LogitsDtype = Literal["float16", "float32"]


class TrajectoryWriter:
    """An open store. Get one with `create` or `resume`; it locks the store against other writers until `close`.

    The ranks of torch.distributed (`ranks`; by default the process group that is set up) write it together, in a folder
    that all of them see: every rank makes the same calls, and passes the rows of the samples that it owns.

    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp()) / "trajectory"
    >>> with TrajectoryWriter.create(folder, 2, 10, ["loss"]) as store:
    ...     loss = np.array([0.5, 0.25], dtype=np.float32)
    ...     store.append(Frame(0, np.arange(2), {"loss": loss}, 2))
    >>> from thresher.trajectory.reader import Trajectory
    >>> next(Trajectory.open(folder).frames(["loss"], 0, 1)).values["loss"].tolist()
    [0.5, 0.25]
    """

    def __init__(self, folder: Path, manifest: Manifest, lock: IO[str] | None, ranks: Ranks) -> None:
        self.folder, self.manifest, self._lock, self.ranks = folder, manifest, lock, ranks
        self._owners = Owners(manifest.n, manifest.bucket_size, ranks.size)

    def __repr__(self) -> str:
        closed = self._lock is not None and self._lock.closed
        about = f"{self.epochs} epochs, {self.manifest.n} samples, in {self.folder}{', closed' * closed}"
        return f"<thresher.TrajectoryWriter of {about}>"

    @classmethod
    def create(
        cls,
        folder: Path | str,
        n: int,
        num_classes: int,
        signals: Iterable[str],
        *,
        bucket_size: int | None = None,
        logits: LogitsDtype | None = None,
        info: Mapping[str, Any] | None = None,
        ranks: Ranks | None = None,
    ) -> TrajectoryWriter:
        """Create an empty store in `folder`, which must not hold one, for `n` samples and these signals.

        `bucket_size` is the number of ids per file, by default 65 536 (more for over 67 million samples, or fewer, so that
        ranks share evenly); `logits` ("float16" or "float32") stores all logits too, (N, C) per epoch, in that dtype; `info`
        is JSON-ready. Raises RunDirectoryError if there is a store, the remains of one, or another writer; UnknownNameError
        for an unknown signal; InputError for invalid numbers and dtypes, and for an `info` that JSON cannot hold.
        """
        folder, names, ranks = local_folder(folder), as_names(signals, "signals"), ranks or current()
        for name in names:
            resolve(name)
        check_store(n, num_classes, bucket_size, names, logits)
        about = json_ready(info or {}, "a store's info")
        bucket_size = even_bucket(n, ranks.size) if bucket_size is None else bucket_size
        manifest = Manifest(int(n), int(num_classes), int(bucket_size), names, logits, about)
        with together(ranks, "create"):
            lock = begin(folder, manifest) if ranks.rank == 0 else None
        return cls._opened(folder, lock, ranks)

    @classmethod
    def resume(cls, folder: Path | str, ranks: Ranks | None = None) -> TrajectoryWriter:
        """Open a store to append to it; the remains of an epoch left unfinished by a crash are removed."""
        folder, ranks, lock = local_folder(folder), ranks or current(), None
        with together(ranks, "resume"):
            if ranks.rank == 0:
                lock, manifest = reopen(folder)
                with freed_on_error(lock):
                    sweep(folder, manifest)
        return cls._opened(folder, lock, ranks)

    @classmethod
    def _opened(cls, folder: Path, lock: IO[str] | None, ranks: Ranks) -> TrajectoryWriter:
        """Return the writer, with the manifest that all ranks can see."""
        with freed_on_error(lock):
            return cls(folder, seen_by_all(folder, ranks), lock, ranks)

    @property
    def signals(self) -> tuple[str, ...]:
        """Names of the stored signals."""
        return self.manifest.signals

    @property
    def logits(self) -> str | None:
        """Dtype of the stored logits, None if they are not stored."""
        return self.manifest.logits

    @property
    def epochs(self) -> int:
        """Number of committed epochs."""
        return len(self.manifest.epochs)

    def check(self, n: int, num_classes: int, ranks: Ranks) -> None:
        """Raise InputError unless the store is open, has `n` samples and `num_classes` classes, and these ranks write it."""
        check_open(self.folder, self._lock)
        if (self.manifest.n, self.manifest.num_classes) != (n, num_classes):
            raise InputError(
                f"Expected a store of {n} samples in {num_classes} classes, but got one of {self.manifest.n} in "
                f"{self.manifest.num_classes}."
            )
        if (self.ranks.rank, self.ranks.size) != (ranks.rank, ranks.size):
            raise InputError(
                f"Expected a store that {ranks.size} ranks write, but this one was opened for {self.ranks.size}. Open it on "
                "every rank, after torch.distributed is set up."
            )

    def append(
        self,
        frame: Frame,
        logits: NDArray[Any] | None = None,
        *,
        targets: NDArray[np.int64] | None = None,
        features: Floats | None = None,
    ) -> None:
        """Commit one epoch: all of it or nothing.

        A signal that the frame lacks counts as not observed. `logits` (M, C) belong to the frame's rows; `targets` (N,)
        int64 with -1 for unknown ones and `features` (N, D) replace what was stored. With several ranks, each passes all of
        these for its own samples (features may be None on some). Raises InputError for a frame that is not the next epoch,
        SampleIdError for ids that are not sorted, unique and owned, InputError for arrays of other shapes, and OSError if
        the disk is full or gone; the store is then unchanged, and the same epoch may be appended again.
        """
        check_arrays(frame, {"logits": logits, "targets": targets, "features": features})
        if frame.epoch != self.epochs or frame.n != self.manifest.n:
            raise InputError(
                f"Expected epoch {self.epochs} of {self.manifest.n} samples, but got epoch {frame.epoch} of {frame.n}."
            )
        if (logits is None) != (self.manifest.logits is None):
            raise InputError(f"This store was created with logits={self.manifest.logits}; append an epoch accordingly.")
        final = self.folder / epoch_folder(frame.epoch)
        part = final.with_name(final.name + PART)
        first, topic = self.ranks.rank == 0, f"append {frame.epoch}"
        with together(self.ranks, topic):  # before what sweeps: another may be writing by now
            check_open(self.folder, self._lock)
        try:
            with together(self.ranks, topic):
                first_id, end = self._owners.span(self.ranks.rank)
                check_rows(frame, (first_id, end))
                check_beside(logits, targets, features, len(frame.ids), end - first_id, self.manifest.num_classes)
                features = features if features is None else narrowed(features, "float32", "features")
                if first:
                    shutil.rmtree(part, ignore_errors=True)
                    part.mkdir()
            changes = self._write_whole_files(frame.epoch, targets, features)
            with together(self.ranks, topic):
                mine = [self._write_bucket(part, b, frame, logits) for b in self._owners.buckets(self.ranks.rank)]
                sync_folder(part)
            files = [entry for ours in self.ranks.share(topic, list(map(asdict, mine))) for entry in ours]
            epochs = (*self.manifest.epochs, tuple(map(entry_from, files)))
            manifest = replace(self.manifest, epochs=epochs, **changes)
            with together(self.ranks, topic):
                if first:
                    shutil.rmtree(final, ignore_errors=True)  # an epoch that the manifest does not know: not committed
                    os.replace(part, final)
                    manifest.save(self.folder)
        except BaseException:
            if first:  # what the manifest on the disk names is committed, the rest would only keep the disk full
                shutil.rmtree(part, ignore_errors=True)
                with suppress(ThresherError, OSError):
                    sweep(self.folder, load_manifest(self.folder))
            raise
        self.manifest = manifest
        if first:
            sweep_whole_files(self.folder, manifest)

    def _write_bucket(self, part: Path, bucket: int, frame: Frame, logits: NDArray[Any] | None) -> FileEntry:
        low, high = np.searchsorted(frame.ids, self.manifest.bucket_range(bucket))
        rows = slice(int(low), int(high))
        columns: dict[str, pa.Array] = {"sample_id": column(frame.ids[rows])}
        for name in self.signals:
            values = frame.values.get(name)
            if values is not None and not np.isnan(values[rows]).all():
                columns[name] = column(narrowed(values[rows], "float32", f"values of {name}"))
        if logits is not None:
            columns["logits"] = matrix(narrowed(logits[rows], self.manifest.logits or "float32", "logits"))
        name = f"bucket={bucket:03d}.parquet"
        return write(part / name, f"{epoch_folder(frame.epoch)}/{name}", [columns])

    def _write_whole_files(self, epoch: int, targets: NDArray[np.int64] | None, features: Floats | None) -> dict[str, Any]:
        """Write targets and features next to those they replace, and return what changes in the manifest."""
        changes: dict[str, Any] = {}
        widths = self.ranks.share(f"append {epoch}", [targets is not None, None if features is None else features.shape[1]])
        if all(given for given, _ in widths) and targets is not None:
            rows = gathered(self.ranks, self._owners, targets)
            columns = ({"sample_id": column(ids), "target": column(values)} for ids, values in rows)
            changes["targets"] = self._write_whole(TARGETS, self.manifest.targets, columns)
        width = max((width for _, width in widths if width is not None), default=None)
        if width is not None:
            first, end = self._owners.span(self.ranks.rank)
            own = np.full((end - first, width), np.nan, np.float32) if features is None else features
            known = ((ids, values, ~np.isnan(values).any(axis=1)) for ids, values in gathered(self.ranks, self._owners, own))
            columns = ({"sample_id": column(ids[k]), "feature": matrix(values[k])} for ids, values, k in known)
            changes["features"] = self._write_whole(FEATURES, self.manifest.features, columns)
            changes["features_epoch"] = epoch
        return changes

    def _write_whole(
        self, names: tuple[str, str], old: FileEntry | None, pieces: Iterator[dict[str, pa.Array]]
    ) -> FileEntry:
        """Write a file that holds all samples, on rank 0, from pieces that all ranks must produce together."""
        # The old file is what the manifest names until the new manifest is there, so the two names take turns.
        name = names[1] if old is not None and old.name == names[0] else names[0]
        part = self.folder / (name + PART)
        failure: Exception | None = None
        entry = None
        try:
            entry = write(part, name, pieces) if self.ranks.rank == 0 else None
        except OSError as error:  # kept, so that the others are not left waiting
            failure = error
        for _ in pieces:
            pass
        with together(self.ranks, name):
            if failure is not None:
                raise failure
            if entry is not None:
                os.replace(part, self.folder / name)
        return entry_from(self.ranks.share(name, None if entry is None else asdict(entry))[0])

    def truncate(self, epochs: int) -> None:
        """Cut the store back to its first `epochs` epochs, as for a training resumed from an older checkpoint.

        Raises InputError for an invalid number of epochs, and for a closed store.
        """
        if not is_whole(epochs) or epochs < 0:
            raise InputError(f"Expected a number of epochs to keep, an integer >= 0, but got {epochs!r}.")
        if epochs >= self.epochs:
            return
        kept: dict[str, Any] = {"epochs": self.manifest.epochs[:epochs]}
        if not epochs:  # its targets came with epoch 0, and come again
            kept["targets"] = None
        if self.manifest.features_epoch is not None and self.manifest.features_epoch >= epochs:
            kept |= {"features": None, "features_epoch": None}
        manifest = replace(self.manifest, **kept)
        with together(self.ranks, "truncate"):
            check_open(self.folder, self._lock)
            if self.ranks.rank == 0:
                manifest.save(self.folder)
        self.manifest = manifest
        if self.ranks.rank == 0:
            sweep(self.folder, manifest)

    def close(self) -> None:
        """Release the store for other writers. What was appended is already safe."""
        if self._lock is not None:
            free_lock(self._lock)

    def __enter__(self) -> TrajectoryWriter:
        check_open(self.folder, self._lock)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

"""Creating and reopening a store: valid settings, its lock, what must not exist yet, and what nothing needs any more."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any

from thresher.errors import InputError, MissingFileError, RunDirectoryError
from thresher.files import PART, remove_parts, seal_of
from thresher.locks import free_lock, take_lock
from thresher.places import as_place, fixed, is_remote
from thresher.ranks import Ranks, together
from thresher.ranks.alike import check_alike
from thresher.trajectory.layout import FEATURES, LOCK, MANIFEST, TARGETS, Manifest, epoch_folder, load_manifest
from thresher.types import is_whole


def local_folder(folder: Path | str) -> Path:
    """Return the folder of a store to write, given as a path or `file://` URL; raises InputError for object storage."""
    place = as_place(folder)
    if is_remote(place):
        raise InputError(
            f"Expected a folder on this machine to record into, but got {folder}. Copy the store there when it is complete; "
            "it can be scored and selected from there."
        )
    return fixed(place)


def lock_store(folder: Path) -> IO[str]:
    """Keep other writers out of a store's folder; raises what `take_lock` does."""
    return take_lock(
        folder / LOCK,
        f"{folder} is being written by another process, or by a store of this one that was not closed. Wait for it, close "
        "it (store.close()), or choose another.",
    )


def reopen(folder: Path) -> tuple[IO[str], Manifest]:
    """Return a store's lock and its manifest, read once nobody else can write; raises what either does."""
    load_manifest(folder)  # else a lock would be left where no store is
    lock = lock_store(folder)
    with freed_on_error(lock):
        return lock, load_manifest(folder)  # again: another writer may have committed before it let go


def check_open(folder: Path, lock: IO[str] | None) -> None:
    """Raise InputError for a store that was closed: by now another may be writing there."""
    if lock is not None and lock.closed:
        raise InputError(
            f"{folder} is closed. Close a store only after its last epoch; TrajectoryWriter.resume(folder) opens it again."
        )


@contextmanager
def freed_on_error(lock: IO[str] | None) -> Iterator[None]:
    """Run a block and release the lock if it ends with an error."""
    try:
        yield
    except BaseException:
        if lock is not None:
            free_lock(lock)
        raise


def check_store(n: Any, num_classes: Any, bucket_size: Any, signals: Sequence[str], logits: object) -> None:
    """Raise InputError for settings that no store can have; `bucket_size` and `logits` may be None."""
    asked = [("n", n, 1), ("num_classes", num_classes, 2)]
    if bucket_size is not None:
        asked.append(("bucket_size", bucket_size, 1))
    for name, number, least in asked:
        if not (is_whole(number) and number >= least):
            raise InputError(f"Expected {name} as an integer >= {least}, but got {number!r}.")
    if len(set(signals)) != len(signals):
        raise InputError(f"Expected distinct signals, but got {list(signals)}.")
    if logits not in (None, "float16", "float32"):
        raise InputError(f"Expected logits to be 'float16', 'float32' or None, but got {logits!r}.")


def seen_by_all(folder: Path, ranks: Ranks) -> Manifest:
    """Return the manifest of the store that rank 0 has opened. Raises MissingFileError if a rank does not see it,
    InputError on all ranks if one sees another store at that path; every rank must call it."""
    with together(ranks, "open"):
        if not (folder / MANIFEST).is_file():
            raise MissingFileError(
                f"Rank {ranks.rank} does not see the store in {folder} that rank 0 has opened. Choose a folder that all "
                "machines share."
            )
        manifest = load_manifest(folder)
    if ranks.size > 1:  # a long recording's takes its time
        check_alike(ranks, {"its manifest": seal_of(asdict(manifest))}, "store")
    return manifest


def begin(folder: Path, manifest: Manifest) -> IO[str]:
    """Create an empty store and return its lock."""
    folder.mkdir(parents=True, exist_ok=True)
    lock = lock_store(folder)
    with freed_on_error(lock):
        if (folder / MANIFEST).exists():
            raise RunDirectoryError(
                f"{folder} already holds a recording. Continue it with TrajectoryWriter.resume, or choose another folder."
            )
        if any(folder.glob("epoch=*")):  # a crash of ours cannot leave this; writing here would destroy it
            raise RunDirectoryError(
                f"{folder} holds recorded epochs, but its {MANIFEST} is missing. Restore it, or choose another folder."
            )
        remove_parts(folder, MANIFEST)  # of one who was killed while making it; what else lies there is not ours
        manifest.save(folder)
    return lock


def sweep(folder: Path, manifest: Manifest) -> None:
    """Remove what the manifest does not name: epochs that were not committed or are cut off, and half-written files."""
    known = {epoch_folder(epoch) for epoch in range(len(manifest.epochs))}
    for path in folder.glob("epoch=*"):
        if path.name not in known:
            shutil.rmtree(path)
    remove_parts(folder)
    sweep_whole_files(folder, manifest)


def sweep_whole_files(folder: Path, manifest: Manifest) -> None:
    """Remove targets and features that the manifest does not name: replaced ones, or those of a failed epoch."""
    named = {entry.name for entry in (manifest.targets, manifest.features) if entry is not None}
    for name in {*TARGETS, *FEATURES} - named:
        for path in (folder / name, folder / (name + PART)):
            path.unlink(missing_ok=True)

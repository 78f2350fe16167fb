"""The beginning of a store: its lock, and what must not be there before."""

from __future__ import annotations

import fcntl
from pathlib import Path
from typing import IO

from thresher.errors import BusyError, RunDirectoryError
from thresher.files import remove_parts
from thresher.trajectory.layout import LOCK, MANIFEST, Manifest


def take_lock(folder: Path) -> IO[str]:
    """Keep other writers out of a folder until the lock is closed or its holder dies; raises BusyError."""
    lock = (folder / LOCK).open("w")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.close()
        raise BusyError(f"{folder} is being written by another process. Wait for it, or choose another.") from None
    return lock


def begin(folder: Path, manifest: Manifest) -> IO[str]:
    """Make an empty store and return its lock."""
    folder.mkdir(parents=True, exist_ok=True)
    lock = take_lock(folder)
    if (folder / MANIFEST).exists():
        lock.close()
        raise RunDirectoryError(f"{folder} holds a recording already. Resume it, or choose another folder.")
    if any(folder.glob("epoch=*")):  # a crash of ours cannot leave this; writing here would destroy it
        lock.close()
        raise RunDirectoryError(
            f"{folder} holds recorded epochs, but its {MANIFEST} is gone. Restore it, or choose another folder."
        )
    remove_parts(folder, MANIFEST)  # of one who was killed while making it; what else lies there is not ours
    manifest.save(folder)
    return lock

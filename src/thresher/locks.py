"""The locks that keep a second writer out: the operating system's, freed when their holder ends, however it ends."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import IO

from thresher.errors import BusyError, RunDirectoryError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

_WITHOUT_LOCKS = (errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOLCK)


def take_lock(path: Path, busy: str) -> IO[str]:
    """Open the lock file `path` and lock it, until `free_lock` or until this process ends.

    Raises BusyError, which says `busy`, where another process or an open file of this one holds it, RunDirectoryError where
    the system or the file system has no locks, and OSError where the file cannot be opened.
    """
    if fcntl is None:
        raise RunDirectoryError(
            "Expected a system with file locks (Linux, macOS), but this one has no fcntl, so nothing would keep a second "
            "writer out. On Windows run Thresher in WSL."
        )
    lock = path.open("w", encoding="utf-8")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.close()
        raise BusyError(busy) from None
    except OSError as error:
        lock.close()
        if error.errno not in _WITHOUT_LOCKS:
            raise
        raise RunDirectoryError(
            f"Expected a file system with locks, but that of {path.parent} has none ({error.strerror}), so nothing would "
            "keep a second writer out. Choose another file system, or mount it with locks (Lustre: -o flock)."
        ) from error
    return lock


def free_lock(lock: IO[str]) -> None:
    """Let other writers in, also where processes that were forked since, such as a loader's workers, have the file open."""
    if not lock.closed:
        fcntl.flock(lock, fcntl.LOCK_UN)
        lock.close()

"""Files written so that a crash leaves the old content or the new one, never a half: aside, synced, renamed."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any


def write_atomic(path: Path, content: bytes) -> None:
    """Write `content` to `path`; what stood there is intact until the new content is safely on disk.

    Raises OSError as the system gives it (a full disk, no permission); the part file is removed then.
    """
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        with part.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def write_json(path: Path, content: Any) -> None:
    """Write JSON, indented and with sorted keys so that two files can be compared by eye; NaN is refused."""
    write_atomic(path, (json.dumps(content, indent=2, sort_keys=True, allow_nan=False) + "\n").encode())


def sync_folder(folder: Path) -> None:
    """Bring a folder's entries (renames) to disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

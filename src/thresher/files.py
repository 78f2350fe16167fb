"""Files written so that a crash leaves the old or the new content, never a partial one: aside, synced, renamed."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from glob import escape
from pathlib import Path
from typing import Any

from thresher.errors import CorruptFileError, InputError, LaterFormatError, RunDirectoryError
from thresher.version import __version__

PART = ".part"
_PARTS = re.compile(rf"(\.[0-9a-f]{{8}}{re.escape(PART)})+$")  # as `part_of` adds them, also to one of its own


def write_atomic(path: Path, content: bytes) -> None:
    """Write `content` to `path`; what stood there is intact until the new content is safely on disk.

    Raises OSError as the system gives it (a full disk, no permission); the part file is removed then.
    """
    with replacing(path) as part, part.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a place beside `path` to write to; what lies there takes the place of `path` when the block ends well.

    Where it ends with an error, the part is removed, so that a full disk is not filled with rests; an OSError without a
    file name, as writing gives it, or with that of the part, gets that of `path`. Raises RunDirectoryError where `path` is
    a device or a pipe.
    """
    part = part_of(path)
    try:
        check_plain(path)
        yield part
        os.replace(part, path)
    except BaseException as error:
        with suppress(OSError):  # its name may be too long for the system
            part.unlink(missing_ok=True)
        ours = (None, part, path, str(part), str(path))
        if isinstance(error, OSError) and error.errno is not None and error.filename in ours:
            error.filename = _PARTS.sub("", str(path))
        raise
    sync_folder(path.parent)


def part_of(path: Path) -> Path:
    """Return a place beside `path` to write aside to, another one with every call: threads, and containers that share a
    folder, may have the same process number."""
    return path.with_name(f"{path.name}.{os.urandom(4).hex()}{PART}")


def check_plain(path: Path) -> None:
    """Raise RunDirectoryError for a device, pipe or socket: the file that is renamed to its name would take its place."""
    if path.exists() and not (path.is_file() or path.is_dir()):
        raise RunDirectoryError(f"Expected a file to write at {path}, but a device or pipe is there. Choose another name.")


def remove_parts(folder: Path, of: str = "") -> None:
    """Remove what killed writers left in a folder, or of its file `of` alone; the caller must be its only writer."""
    for part in folder.glob(f"{escape(of)}*{PART}"):
        part.unlink()


def write_json(path: Path, content: Any) -> None:
    """Write JSON, indented and with sorted keys so that two files can be compared by eye; NaN is refused."""
    write_atomic(path, (json.dumps(content, indent=2, sort_keys=True, allow_nan=False) + "\n").encode())


def json_ready(content: Mapping[str, Any], what: str) -> dict[str, Any]:
    """Return content as JSON gives it back: numbers of NumPy's as Python's, paths as texts, tuples as lists.

    Raises InputError, which calls it `what`, for what JSON cannot hold, such as NaN and arrays.

    >>> json_ready({"place": Path("a"), "of": (1, 2)}, "some info")
    {'place': 'a', 'of': [1, 2]}
    """
    try:
        plain: dict[str, Any] = json.loads(json.dumps(dict(content), default=_plain, allow_nan=False))
    except (TypeError, ValueError) as error:
        raise InputError(f"Expected JSON-ready values in {what}, but: {error}.") from None
    return plain


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if getattr(value, "shape", None) == () and hasattr(value, "item"):  # numbers of NumPy's and torch's
        return value.item()
    raise TypeError(f"{type(value).__name__} {value!r} is not JSON-ready")


def parse_json(text: str | bytes) -> Any:
    """Return what JSON text holds; raises ValueError for everything that is none, also for what is nested without end.

    >>> parse_json('{"n": 3}')
    {'n': 3}
    """
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def seal_of(content: Mapping[str, Any]) -> str:
    """Return the SHA-256 (hex) of JSON-ready content but for its own `seal`: a file that carries it shows what was altered.

    >>> seal_of({"n": 3}) == seal_of({"n": 3, "seal": "anything"}), seal_of({"n": 3}) == seal_of({"n": 4})
    (True, False)
    """
    rest = {key: value for key, value in content.items() if key != "seal"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()


def check_format(path: Path, found: Any, known: int) -> None:
    """Raise LaterFormatError for a file of a later format than this version of Thresher knows, CorruptFileError for one of
    any other but that."""
    if found != known:
        told = f"Expected format {known} in {path}, which Thresher {__version__} reads, but got {found!r}. "
        if isinstance(found, int) and found > known:
            raise LaterFormatError(told + "Read it with the version that wrote it, or a later one.")
        raise CorruptFileError(told + "Restore the file from a copy.")


def sync_folder(folder: Path) -> None:
    """Bring a folder's entries (renames) to disk, where the file system does so for folders: some network ones do not."""
    if os.name == "nt":  # there a folder cannot be opened
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(descriptor)

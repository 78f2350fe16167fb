"""Where files lie: paths on this machine, and URLs of object storage (`s3://`, `gs://`, ...), which answer like paths.

universal_pathlib gives URLs the methods of `pathlib.Path` over fsspec, so what reads a store or a table asks a place and
need not know where it is. What differs is here: a URL is read through an open file, and written as a whole, from a file that
was finished on this machine first; object storage shows a new object at once or not at all.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast
from urllib.parse import unquote, urlsplit

from thresher.errors import InputError, MissingPackageError, StorageError

PathText = str | os.PathLike[str]
"""How a path is given: as a text, or a Path."""

_EXTRAS = {"s3": "s3", "s3a": "s3", "gs": "gcs", "gcs": "gcs"}


def as_place(text: PathText) -> Path:
    """Return the place that a path or a URL names; `file://` is a path. A place comes back as it is.

    What comes back for a URL is no `pathlib.Path`, but answers like one. Raises MissingPackageError where the packages for a
    URL are not installed, InputError for a URL of a kind that nothing here reads, or of a file that names more than a path.

    >>> as_place("file:///data/my%20run/trajectory").as_posix(), is_remote(as_place("runs/digits"))
    ('/data/my run/trajectory', False)
    """
    if not isinstance(text, str):
        return cast(Path, text) if is_remote(text) else Path(text)
    scheme, mark, _ = text.partition("://")
    if not mark:
        return Path(text)
    if scheme.lower() == "file":
        return _of_file_url(text)
    try:
        from upath import UPath
    except ImportError:
        raise _missing(text, _EXTRAS.get(scheme, "s3")) from None
    try:
        place = UPath(text)
        _ = place.fs  # the package for this kind of URL is imported here
    except ImportError:
        raise _missing(text, _EXTRAS.get(scheme, "s3")) from None
    except ValueError as error:
        raise InputError(f"Expected a path, or a URL such as s3://bucket/name, but got {text!r}: {error}.") from None
    return cast(Path, place)


def _of_file_url(text: str) -> Path:
    """Return the path of a file's URL. Raises InputError where a part of it is none: it would be another file's."""
    parts = urlsplit(text)
    if parts.netloc not in ("", "localhost") or parts.query or parts.fragment or not parts.path or text[-1] in "?#":
        raise InputError(
            f"Expected the URL of a file as file:///absolute/path, with # as %23 and ? as %3F, but got {text!r}. Give the "
            "path itself: it may hold any character."
        )
    return Path(unquote(parts.path))


def is_remote(place: object) -> bool:
    """Return whether a place is a URL of object storage."""
    return hasattr(place, "fs") and hasattr(place, "protocol")


def as_local(text: PathText) -> Path:
    """Return the path on this machine that a path or a `file://` URL names; raises InputError for object storage.

    >>> as_local("file:///data/kept.csv").as_posix()
    '/data/kept.csv'
    """
    place = as_place(text)
    if is_remote(place):
        raise InputError(f"Expected a path on this machine, but got {text}. Copy what it holds from there, or to there.")
    return place


def fixed(place: Path) -> Path:
    """Return a place that stays the same when the program goes to another folder, as notebooks do.

    >>> fixed(Path("runs/digits")).is_absolute(), fixed(Path("/runs/digits")).as_posix()
    (True, '/runs/digits')
    """
    return place if is_remote(place) else place.absolute()


def for_engine(path: Path, engine: str | None) -> Path:
    """Return a path that means the same on all machines of an engine's cluster, whatever folder their workers are in."""
    return path.resolve() if engine == "ray" and not is_remote(path) else path


@contextmanager
def for_arrow(place: Path, *, mapped: bool = False) -> Iterator[Any]:
    """Open a file for Arrow, which reads it in pieces where they are needed; `mapped` maps one on this machine into memory.

    Arrow takes a name given as text for UTF-8; as bytes it takes any name that the system has.
    """
    import pyarrow

    opens = pyarrow.memory_map if mapped else pyarrow.OSFile
    try:
        opened = place.open("rb") if is_remote(place) else opens(os.fsencode(place))
    except OSError as error:
        if error.errno is None:
            raise
        raise OSError(error.errno, os.strerror(error.errno), str(place)) from error  # Arrow's words are others
    with opened as file:
        yield file


@contextmanager
def staged(place: Path) -> Iterator[Path]:
    """Give a local path to write to what is to lie at `place`: itself, its folder made, or for a URL a file that is sent
    there at the end.

    Where the block ends with an error, nothing is sent. Raises OSError as the storage gives it.
    """
    if not is_remote(place):
        place.parent.mkdir(parents=True, exist_ok=True)
        yield place
        return
    import tempfile

    with tempfile.TemporaryDirectory(prefix="thresher-") as folder:
        local = Path(folder) / place.name
        yield local
        send(local, place)


def send(local: Path, place: Path) -> None:
    """Bring a finished local file to a URL."""
    remote = cast(Any, place)
    remote.fs.put_file(str(local), remote.path)
    remote.fs.invalidate_cache()


@contextmanager
def storage_errors() -> Iterator[None]:
    """Turn what the packages of object storage raise into one error of ours; they share no base class with anything."""
    try:
        yield
    except Exception as error:
        package = type(error).__module__.partition(".")[0]
        if package not in ("botocore", "aiobotocore", "aiohttp", "gcsfs", "google", "fsspec", "s3fs"):
            raise
        raise StorageError(
            f"The object storage cannot be used ({type(error).__name__}: {error}). Check the URL, the credentials and the "
            "connection (s3: AWS_PROFILE or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, AWS_ENDPOINT_URL)."
        ) from error


def _missing(text: str, extra: str) -> MissingPackageError:
    return MissingPackageError(f"{text} needs packages for object storage: pip install 'thresher[{extra}]'.")

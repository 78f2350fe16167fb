"""Where exports may be written: nothing is replaced without `force`, and nothing is left half-written."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath, PureWindowsPath

from thresher.errors import InputError, LaterFormatError, RunDirectoryError, ThresherError
from thresher.files import check_plain, parse_json, part_of, sync_folder, write_atomic, write_json
from thresher.places import PathText, as_local, as_place, is_remote

MARK = "exported-coreset.parquet"
"""The coreset itself is in every exported folder; it also marks the folder as an export, which may be replaced."""

FILES = "exported-files.json"
"""Lists what an export wrote, so that later additions can be detected."""

_FOREIGN = (".csv", ".tsv", ".json", ".txt", ".npy")


def write_new(path: PathText, content: bytes, force: bool = False) -> None:
    """Write a file that must not exist, unless `force` allows replacing it; parent folders are created.

    Raises RunDirectoryError if something is in the way, and OSError as the system gives it.
    """
    path = as_local(path)
    check_free(path, force)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, content)


def check_free(path: Path, force: bool = False) -> None:
    """Raise RunDirectoryError if `path` may not be written: it is a folder, or exists and `force` is not given."""
    if path.is_dir():
        raise RunDirectoryError(f"Expected a file to write at {path}, but a folder is there. Choose another name.")
    check_plain(path)
    if os.path.lexists(path) and not force:
        raise RunDirectoryError(f"{path} already exists; nothing was written. Choose another name, or replace it: --force.")


def check_kind(path: Path, kind: str, read: Callable[[Path], object], option: str = "--out") -> None:
    """Raise RunDirectoryError if a file at `path`, which may be a URL, is not of this `kind`: it is never replaced; neither
    is one of a later format (LaterFormatError).

    `read` returns a true value for a file of the kind; for any other it returns a false one or raises ThresherError.
    """
    place = as_place(path)
    if not place.is_file():
        if not is_remote(place):
            check_plain(place)
        return
    try:
        fits = bool(read(place))
    except LaterFormatError:
        raise
    except ThresherError:
        fits = False
    if not fits:
        raise RunDirectoryError(
            f"Expected {option} as a new file, or a {kind} to replace, but {path} is something else or damaged. It was "
            f"not changed: move it away, or choose another {option}."
        )


def check_parquet(path: Path, kind: str, option: str = "--out") -> None:
    """Raise InputError if the name of a Parquet file of this `kind` has the ending of another format.

    >>> check_parquet(Path("scores.parquet"), "score table"), check_parquet(Path("scores"), "score table")
    (None, None)
    """
    if path.suffix.lower() in _FOREIGN:
        other = "`thresher export` converts it to other formats" if kind == "coreset" else "pandas can convert it to CSV"
        raise InputError(f"A {kind} is a Parquet file, but {option} is {path}. Name it .parquet; {other}.")


@contextmanager
def all_or_none(folder: Path) -> Iterator[Path]:
    """Yield a folder for files that move into `folder` if the block succeeds: either all of them or none.

    Existing files with the same names are replaced, so call `check_free` first; others are kept.
    """
    made = not folder.is_dir()
    part = part_of(folder / "export")
    part.mkdir(parents=True)
    try:
        yield part
        for path in sorted(part.iterdir()):
            os.replace(path, folder / path.name)
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        with suppress(OSError):  # some are there already
            if made:
                folder.rmdir()
        raise
    part.rmdir()
    sync_folder(folder)


@contextmanager
def new_folder(path: Path, force: bool = False) -> Iterator[Path]:
    """Yield a folder to fill; it replaces `path` if the block succeeds and is removed if it does not.

    An empty folder may exist; one made by an export, to which nothing was added since, is replaced with `force`, any other
    never is. Raises RunDirectoryError.
    """
    path = Path(os.path.abspath(as_local(path)))
    if os.path.lexists(path) and (not path.is_dir() or path.is_symlink() or any(path.iterdir())):
        foreign = _foreign(path)
        if foreign is not None:
            raise RunDirectoryError(
                f"{path} holds something that is not an export{foreign}; it is never replaced. Choose another --out."
            )
        if not force:
            raise RunDirectoryError(f"{path} already holds an export. Choose another --out, or replace it: --force.")
    path.parent.mkdir(parents=True, exist_ok=True)
    part, old = part_of(path), part_of(path)
    part.mkdir()
    try:
        yield part
        write_json(part / FILES, sorted(_tree(part)))
        if os.path.lexists(path):
            os.replace(path, old)
        os.replace(part, path)
    except BaseException:
        if old.exists() and not os.path.lexists(path):
            os.replace(old, path)
        shutil.rmtree(part, ignore_errors=True)
        raise
    shutil.rmtree(old, ignore_errors=True)
    sync_folder(path.parent)


def _foreign(path: Path) -> str | None:
    """Return what a folder holds besides an export, in words ("" if it is not an export), None for an unchanged export."""
    if not (path / MARK).is_file() or path.is_symlink():
        return ""
    try:
        written = set(parse_json((path / FILES).read_bytes()))
    except (OSError, ValueError, TypeError):
        return f" (without {FILES}, additions to it cannot be detected)"
    extra = sorted(_tree(path) - written - {FILES})
    return f" ({extra[0]})" if extra else None


def _tree(folder: Path) -> set[str]:
    """Return the relative paths of all files, links and folders below a folder; links are not followed."""
    found = [Path(place, name) for place, folders, files in os.walk(folder) for name in (*folders, *files)]
    return {path.relative_to(folder).as_posix() for path in found}


def same_file(one: Path, other: Path) -> bool:
    """Return whether two paths name the same local file, which need not exist yet; links are followed.

    >>> same_file(Path("kept.csv"), Path("runs/../kept.csv")), same_file(Path("kept.csv"), Path("others.csv"))
    (True, False)
    """
    return not is_remote(one) and not is_remote(other) and one.resolve() == other.resolve()


def check_apart(sources: Iterable[Path], out: Path) -> None:
    """Raise RunDirectoryError if a source is inside the output folder: replacing the folder would lose it."""
    target = out.resolve()
    for source in sources:
        if source.resolve().is_relative_to(target):
            raise RunDirectoryError(f"{source} is inside {out}, which would be replaced. Choose another --out.")


def check_inside(name: str, where: Path) -> str:
    """Return a relative file name, or raise InputError if it would lead out of the folder that it is written to.

    A backslash is a letter like any other here and a separator elsewhere: the name must stay inside in both readings.

    >>> check_inside("train/3/0007.png", Path("images.tar")), check_inside("train/front\\\\1.png", Path("images.tar"))
    ('train/3/0007.png', 'train/front\\\\1.png')
    """
    parts = PurePosixPath(name.replace("\\", "/")).parts
    elsewhere = name.startswith("/") or ("\\" in name and PureWindowsPath(name).anchor)
    if not PurePosixPath(name).parts or elsewhere or ".." in parts or "\0" in name:
        raise InputError(
            f"Expected plain relative names in {where}, but it holds {name!r}, which leads out of the folder it is unpacked "
            "to. Nothing was written; do not trust this file."
        )
    return name

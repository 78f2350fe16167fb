"""A coreset of an image folder: the kept pictures in the same class folders, copied or as symbolic links."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Literal, Protocol

from thresher.coreset import Coreset
from thresher.errors import FingerprintError, InputError, MissingFileError
from thresher.exchange.place import MARK, check_apart, check_inside, new_folder
from thresher.places import PathText, as_local

How = Literal["symlink", "copy"]


class Pictures(Protocol):
    """Pictures below one folder, by sample id; `thresher.data.folders.FolderSplit` is one."""

    root: Path

    def __len__(self) -> int: ...

    def path(self, sample_id: int) -> Path:
        """Return the file of a sample."""


def export_folder(
    coreset: Coreset, pictures: Pictures, out: PathText, *, how: How = "symlink", force: bool = False,
    on_step: Callable[[int, int], None] = lambda done, total: None,
) -> int:  # fmt: skip
    """Fill `out/train` with the kept pictures, under the same relative paths, and return their number.

    Symbolic links are absolute and need no space; they break if the originals move. A copy keeps times and is independent.
    The original folder is not changed. `on_step(done, total)` is called after each picture. Raises FingerprintError if there
    are not `coreset.n` pictures, MissingFileError if one is gone, RunDirectoryError if `out` may not be replaced; `out` is
    then unchanged.
    """
    if how not in ("symlink", "copy"):
        raise InputError(f"Expected symlink or copy, but got {how!r}.")
    if len(pictures) != coreset.n:
        raise FingerprintError(
            f"Expected the {coreset.n} pictures that this coreset was selected from, but {pictures.root} holds "
            f"{len(pictures)}. Name the full, unpruned training set."
        )
    out = as_local(out)
    # a class may be a link into an earlier export, which would go with all pictures that are not kept
    check_apart([pictures.root, *(place for place in pictures.root.glob("*") if place.is_dir())], out)
    with new_folder(out, force) as folder:
        for number, sample_id in enumerate(coreset.ids.tolist(), start=1):
            source = pictures.path(sample_id)
            if not source.is_file():
                raise MissingFileError(f"{source} was there when the folder was listed but is gone now.")
            name = check_inside(source.relative_to(pictures.root).as_posix(), pictures.root)
            place = folder / "train" / name
            place.parent.mkdir(parents=True, exist_ok=True)
            if how == "symlink":
                place.symlink_to(source.resolve())
            else:
                shutil.copy2(source, place)
            on_step(number, len(coreset))
        coreset.save(folder / MARK)
    return len(coreset)

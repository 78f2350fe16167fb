"""Data sets: `load` gives one by name; `base` says what one is, `batching` turns it into batches on a device."""

from __future__ import annotations

from pathlib import Path

from thresher.data.base import ArraySplit, Data, DatasetSplit, Indexed, Split
from thresher.errors import InputError, UnknownNameError

NAMES = ("digits", "cifar10", "cifar100", "folder")

__all__ = ["NAMES", "ArraySplit", "Data", "DatasetSplit", "Indexed", "Split", "load"]


def load(name: str, root: Path | None = None, *, image_size: int = 224) -> Data:
    """Return the data set called `name`.

    "digits" needs no files. "cifar10" and "cifar100" are read from the official archive or folder in `root` (default:
    the folder `data`). "folder" reads images in the ImageNet layout from `root`, "folder:PATH" from PATH; `image_size`
    is what its images are brought to. Raises UnknownNameError, MissingFileError, CorruptFileError or InputError.

    >>> load("digits").describe()
    'digits: 1437 training and 360 test images in 10 classes, 8 x 8 grey'
    """
    kind, _, path = name.partition(":")
    if kind not in NAMES or (path and kind != "folder"):
        raise UnknownNameError(f"There is no data set {name!r}. There are: {', '.join(NAMES)} (or folder:PATH).")
    if kind == "digits":
        from thresher.data.digits import load_digits

        return load_digits()
    if kind == "folder":
        from thresher.data.folders import load_folder

        where = Path(path) if path else root
        if where is None:
            raise InputError("Expected the folder of the images: give root, or the name folder:PATH.")
        return load_folder(where, image_size=image_size)
    from thresher.data.cifar import load_cifar

    return load_cifar(kind, Path("data") if root is None else Path(root))

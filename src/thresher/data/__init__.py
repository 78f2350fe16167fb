"""Data sets: `load` gives one by name; `base` says what one is, `batching` turns it into batches on a device."""

from __future__ import annotations

from pathlib import Path

from thresher.data.base import ArraySplit, Data, DatasetSplit, Indexed, Split
from thresher.errors import InputError, UnknownNameError

NAMES = ("digits", "cifar10", "cifar100", "folder")

__all__ = ["NAMES", "ArraySplit", "Data", "DatasetSplit", "Indexed", "Split", "load"]


def load(
    name: str,
    root: Path | None = None,
    *,
    image_size: int = 224,
    corrupt: str | None = None,
    mislabel: str | None = None,
) -> Data:
    """Return the data set called `name`.

    "digits" needs no files. "cifar10" and "cifar100" are read from the official archive or folder in `root` (default:
    the folder `data`). "folder" reads images in the ImageNet layout from `root`, "folder:PATH" from PATH; `image_size`
    is what its images are brought to. Training images are corrupted as `corrupt` says ("intended:share=0.04:seed=0", see
    `thresher.data.corrupt`), training labels are flipped as `mislabel` says ("0.2:seed=0", see `thresher.data.mislabel`);
    both name the data set anew. Raises UnknownNameError, MissingFileError, CorruptFileError or InputError.

    >>> load("digits").describe()
    'digits: 1437 training and 360 test images in 10 classes, 8 x 8 grey'
    >>> load("digits", corrupt="intended", mislabel="0.2:seed=1").name
    'digits+corrupt=intended+mislabel=0.2:seed=1'
    """
    from thresher.data.corrupt import Corruption, corrupt_data
    from thresher.data.mislabel import Mislabeling, mislabel_data

    corruption = Corruption.parse(corrupt) if corrupt is not None else None  # before files are read for long
    mislabeling = Mislabeling.parse(mislabel) if mislabel is not None else None
    data = _load(name, root, image_size)
    if corruption is not None:
        data = corrupt_data(data, corruption).data
    if mislabeling is not None:
        data = mislabel_data(data, mislabeling).data
    return data


def _load(name: str, root: Path | None, image_size: int) -> Data:
    """Return the data set as it is."""
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

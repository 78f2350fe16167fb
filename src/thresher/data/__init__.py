"""Data sets: `load` returns one by name; `base` defines what one is, `batching` turns it into batches on a device."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

from thresher.data.base import ArraySplit, Data, DatasetSplit, Indexed, Split
from thresher.errors import InputError, UnknownNameError, nearest

__all__ = [
    "NAMES", "OWN", "ArraySplit", "Data", "DatasetSplit", "Indexed", "Split", "load", "name_parts", "pathless", "split_name",
]  # fmt: skip

NAMES = ("digits", "cifar10", "cifar100", "imagenet", "folder")
OWN = ("folder", "imagenet")
"""Data sets that are folders of pictures, which are resized."""
_LARGEST = 4096  # pixels a side
_CHANGE = re.compile(r"\+(corrupt|mislabel|holdout)=")  # a number may hold a plus of its own


def load(
    name: str,
    root: Path | str | None = None,
    *,
    image_size: int = 224,
    corrupt: str | None = None,
    mislabel: str | None = None,
    holdout: str | None = None,
) -> Data:
    """Return the data set called `name`.

    "digits" needs no files. "cifar10" and "cifar100" are read from the official archive or folder in `root` (default:
    the folder `data`). "folder" reads images in the ImageNet layout (`root/train/CLASS`, `root/val/CLASS`) from `root`,
    "folder:PATH" from PATH (then without `root`), and "imagenet" is the same under that name. Images are resized to
    `image_size`, or to the size in the name, as in "folder:size=32" and "imagenet:size=64".

    `corrupt` corrupts training images ("intended:share=0.04:seed=0", see `thresher.data.corrupt`), `mislabel` flips training
    labels ("0.2:seed=0", see `thresher.data.mislabel`), and `holdout` then replaces the test set by a part of the training
    set ("0.1:seed=0", see `thresher.data.holdout`). Each is added to the data set's name. Raises UnknownNameError,
    MissingFileError, CorruptFileError or InputError.

    >>> load("digits").describe()
    'digits: 1437 training and 360 test images in 10 classes, 8 x 8 grey'
    >>> load("digits", corrupt="intended", mislabel="0.2:seed=1").name
    'digits+corrupt=intended+mislabel=0.2:seed=1'
    """
    from thresher.data.corrupt import Corruption, corrupt_data
    from thresher.data.holdout import Holdout, hold_out
    from thresher.data.mislabel import Mislabeling, mislabel_data

    corruption = Corruption.parse(corrupt) if corrupt is not None else None  # before files are read for long
    mislabeling = Mislabeling.parse(mislabel) if mislabel is not None else None
    held = Holdout.parse(holdout) if holdout is not None else None
    data = _load(name, root, image_size)
    if corruption is not None:
        data = corrupt_data(data, corruption).data
    if mislabeling is not None:
        data = mislabel_data(data, mislabeling).data
    if held is not None:
        data = hold_out(data, held)
    return data


def name_parts(name: str) -> tuple[str, int | None, str]:
    """Return the kind of a data set, and the size and the folder given in its name.

    Raises InputError for an invalid size, and for any key but size.

    >>> name_parts("cifar10"), name_parts("folder:size=64"), name_parts("folder:my/pictures")
    (('cifar10', None, ''), ('folder', 64, ''), ('folder', None, 'my/pictures'))
    """
    if not isinstance(name, str):
        raise InputError(f"Expected the name of a data set, such as 'digits', but got {name!r}.")
    kind, _, rest = name.partition(":")
    key, equals, _ = rest.partition(":")[0].partition("=")
    if kind in OWN and equals and key != "size" and "/" not in key:  # a folder of such a name is ./key=value
        raise InputError(f"There is no {key!r} in {name!r}{nearest(key, ['size'])}. Expected a name such as {kind}:size=64.")
    if not rest.startswith("size="):
        return kind, None, rest
    text, _, path = rest.removeprefix("size=").partition(":")
    if not (text.isascii() and text.isdigit() and 0 < int(text) <= _LARGEST):
        raise InputError(f"Expected a size in pixels such as {kind}:size=64, 1 to {_LARGEST}, but got {name!r}.")
    return kind, int(text), path


def pathless(name: str) -> str:
    """Return a data set's name with the size, but without the folder.

    >>> pathless("folder:size=64:my/pictures"), pathless("folder:my/pictures")
    ('folder:size=64', 'folder')
    """
    kind, size, _ = name_parts(name)
    return f"{kind}:size={size}" if size else kind


def split_name(name: str) -> tuple[str, dict[str, str]]:
    """Return what `load` takes for a data set that carries its changes in its name.

    >>> split_name("cifar10+corrupt=intended+mislabel=0.2:seed=1")
    ('cifar10', {'corrupt': 'intended', 'mislabel': '0.2:seed=1'})
    >>> split_name("digits+corrupt=intended:noise=1e+20")
    ('digits', {'corrupt': 'intended:noise=1e+20'})
    """
    kind, *parts = _CHANGE.split(name)  # the name, then each change's key and value
    return kind, dict(zip(parts[::2], parts[1::2], strict=True))


def _load(name: str, root: Path | str | None, image_size: int) -> Data:
    """Return the unchanged data set."""
    kind, size, path = name_parts(name)
    if kind not in NAMES or (path and kind != "folder") or (size and kind not in OWN):
        known = f"{', '.join(NAMES)} (or folder:PATH, folder:size=64)"
        own = f" For the folder {name} use --data folder --data-dir {name}." if Path(name).is_dir() else ""
        raise UnknownNameError(f"There is no data set {name!r}{nearest(name, NAMES)}. There are: {known}.{own}")
    if kind == "digits":
        from thresher.data.digits import load_digits

        return load_digits()
    if kind in OWN:
        from thresher.data.folders import load_folder

        where = Path(path) if path else root
        if path and root is not None and Path(path).resolve() != Path(root).resolve():
            raise InputError(f"Expected one folder of pictures, but got {path} in {name!r} and {root} beside it. Omit one.")
        if where is None:
            raise InputError(f"Expected the image folder of {name!r}: give --data-dir DIR, or the name folder:PATH.")
        data = load_folder(where, image_size=size or image_size)
        return replace(data, name=f"{kind}:size={size}" if size else kind)
    from thresher.data.cifar import load_cifar

    return load_cifar(kind, Path("data") if root is None else Path(root))

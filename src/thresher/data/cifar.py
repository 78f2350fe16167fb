"""CIFAR-10 and CIFAR-100 from the official Python files, archived or unpacked.

Source: A. Krizhevsky, "Learning Multiple Layers of Features from Tiny Images", 2009,
https://www.cs.toronto.edu/~kriz/cifar.html. Normalisation constants are those of the TDDS code (Zhang et al. 2024).
"""

from __future__ import annotations

import gzip
import tarfile
import zlib
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, cast

import numpy as np
import torch

from thresher.data.base import ArraySplit, Data
from thresher.data.safe_pickle import read_pickle
from thresher.errors import CorruptFileError, InputError, MissingFileError, of_the_system

_SITE = "https://www.cs.toronto.edu/~kriz/cifar.html"
_LARGEST_MEMBER = 1 << 30  # the largest official file has 156 MB; more is no CIFAR file
_CHUNK = 1 << 20


@dataclass(frozen=True)
class _Layout:
    """The names of one data set's official files."""

    archive: str
    folder: str
    train: tuple[str, ...]
    test: tuple[str, ...]
    meta: str
    labels: str
    names: str
    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    @property
    def files(self) -> tuple[str, ...]:
        return (*self.train, *self.test, self.meta)


_LAYOUTS = {
    "cifar10": _Layout(
        "cifar-10-python.tar.gz", "cifar-10-batches-py", tuple(f"data_batch_{i}" for i in range(1, 6)),
        ("test_batch",), "batches.meta", "labels", "label_names",
        (125.3 / 255, 123.0 / 255, 113.9 / 255), (63.0 / 255, 62.1 / 255, 66.7 / 255),
    ),
    "cifar100": _Layout(
        "cifar-100-python.tar.gz", "cifar-100-python", ("train",), ("test",), "meta", "fine_labels",
        "fine_label_names", (129.3 / 255, 124.1 / 255, 112.4 / 255), (68.2 / 255, 65.4 / 255, 70.4 / 255),
    ),
}  # fmt: skip


def load_cifar(name: str, root: Path) -> Data:
    """Return CIFAR-10 or CIFAR-100 (`name` "cifar10" or "cifar100") with images (N, 3, 32, 32) uint8.

    `root` is the folder that holds the official archive or its unpacked folder, or is one of these itself. The
    archive is read in place. Sample ids follow the order of the files. Raises MissingFileError, and CorruptFileError
    for truncated files, wrong shapes or labels, and pickles that carry code (nothing in them is run).
    """
    if name not in _LAYOUTS:
        raise InputError(f"Expected cifar10 or cifar100, but got {name!r}.")
    layout = _LAYOUTS[name]
    parts = _read(layout, root)
    class_names = _class_names(parts[layout.meta], layout)
    return Data(
        name=name,
        train=_split(parts, layout.train, layout, len(class_names)),
        test=_split(parts, layout.test, layout, len(class_names)),
        class_names=class_names,
        mean=layout.mean,
        std=layout.std,
        augment="crop_flip",
        image_size=32,
        channels=3,
    )


def _read(layout: _Layout, root: Path) -> dict[str, dict[str, Any]]:
    """Return the content of every official file, by file name, from the first location that exists."""
    if root.is_file():
        return _read_archive(layout, root)
    for folder in (root, root / layout.folder):
        if (folder / layout.meta).is_file() or (folder / layout.train[0]).is_file():
            return _read_folder(layout, folder)
    if (root / layout.archive).is_file():
        return _read_archive(layout, root / layout.archive)
    raise MissingFileError(
        f"Expected {layout.archive} or the folder {layout.folder} in {root}, but neither is there. "
        f"Download the Python version from {_SITE} and give the folder that holds it."
    )


def _read_folder(layout: _Layout, folder: Path) -> dict[str, dict[str, Any]]:
    missing = [file for file in layout.files if not (folder / file).is_file()]
    if missing:
        raise MissingFileError(f"{folder} lacks {', '.join(missing)}. Unpack {layout.archive} from {_SITE} again.")
    return {file: read_pickle((folder / file).read_bytes(), str(folder / file)) for file in layout.files}


def _read_archive(layout: _Layout, archive: Path) -> dict[str, dict[str, Any]]:
    """Read the wanted members; nothing is written to disk, so member paths can do no harm."""
    wanted = {PurePosixPath(layout.folder, file): file for file in layout.files}
    found: dict[str, dict[str, Any]] = {}
    try:
        with _open(archive) as file_object, tarfile.open(fileobj=file_object, mode="r:") as tar:
            for member in tar:
                file = wanted.get(PurePosixPath(member.name))
                if file is None or not member.isfile() or file in found:
                    continue
                if member.size > _LARGEST_MEMBER:
                    raise CorruptFileError(f"{archive}: {member.name} claims {member.size} bytes; not a CIFAR file.")
                stream = tar.extractfile(member)
                found[file] = read_pickle(stream.read() if stream else b"", f"{archive}: {member.name}")
            while file_object.read(_CHUNK):  # gzip compares its checksum at the very end: altered pixels show there
                pass
    except CorruptFileError:
        raise
    except (tarfile.TarError, EOFError, OSError, zlib.error) as error:
        if of_the_system(error):
            raise
        raise CorruptFileError(f"{archive} is no intact tar archive ({error}). Download it again from {_SITE}.") from error
    missing = [file for file in layout.files if file not in found]
    if missing:
        raise CorruptFileError(f"{archive} lacks {', '.join(missing)} in {layout.folder}. Download it again from {_SITE}.")
    return found


def _open(archive: Path) -> BinaryIO:
    """Open a tar archive, gzipped or not; each member is read once and in order, so gzip never seeks back."""
    with archive.open("rb") as file:
        gzipped = file.read(2) == b"\x1f\x8b"
    return cast(BinaryIO, gzip.open(archive, "rb")) if gzipped else archive.open("rb")


def _class_names(meta: dict[str, Any], layout: _Layout) -> tuple[str, ...]:
    names = meta.get(layout.names)
    if not isinstance(names, list) or not names:
        raise CorruptFileError(f"{layout.meta} holds no list {layout.names}; it is not the official file.")
    return tuple(n.decode("utf-8", "replace") if isinstance(n, bytes) else str(n) for n in names)


def _split(parts: dict[str, dict[str, Any]], files: tuple[str, ...], layout: _Layout, classes: int) -> ArraySplit:
    images, targets = [], []
    for file in files:
        pixels, labels = parts[file].get("data"), parts[file].get(layout.labels)
        if not isinstance(pixels, np.ndarray) or pixels.dtype != np.uint8 or pixels.shape[1:] != (3072,):
            raise CorruptFileError(f"Expected {file} to hold 'data' of uint8 (N, 3072); it is not the official file.")
        try:
            array = np.asarray(labels)  # of its own dtype: as int64, 3.7 would be class 3
        except ValueError:
            array = np.empty(0)
        whole = array.shape == (len(pixels),) and (array.dtype.kind in "iu" or not len(array))
        if not whole or (len(array) and not 0 <= array.min() <= array.max() < classes):
            raise CorruptFileError(
                f"Expected {file} to hold {len(pixels)} {layout.labels!r} in [0, {classes}); it is not the official file."
            )
        images.append(pixels)
        targets.append(array.astype(np.int64))
    stacked = np.concatenate(images).reshape(-1, 3, 32, 32)
    return ArraySplit(torch.from_numpy(stacked), np.concatenate(targets))

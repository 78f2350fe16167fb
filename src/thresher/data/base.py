"""Data sets: `Data`, its two splits, the adapters that make a split, and `Indexed`, which adds sample ids.

Images stay uint8 until a batch is on the device; ids are positions in the training split and never change.
"""

from __future__ import annotations

import hashlib
import operator
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset, IterableDataset

from thresher.errors import InputError

Augment = Literal["crop_flip", "crop", "imagenet"]
_AUGMENTS = ("crop_flip", "crop", "imagenet")
_HASH_ROWS = 4096
SAMPLE_ID = "sample_id"  # the column that Indexed adds to mappings, and the integrations look for


class Split(Protocol):
    """Images and targets of the training or test split of a data set; position `i` is the sample's id."""

    @property
    def targets(self) -> NDArray[np.int64]:
        """(N,) int64 class labels."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        """Return the image (C, H, W) uint8 and its target."""

    def image(self, sample_id: int) -> NDArray[np.uint8]:
        """Return the image (H, W, C) uint8, for display."""

    def content(self) -> Iterator[bytes]:
        """Yield the bytes that identify the images, for the fingerprint."""


class ArraySplit:
    """A split held in memory as one array.

    `images` (N, C, H, W) uint8, `targets` (N,) integers. Raises InputError if shapes, dtypes or lengths disagree.

    >>> split = ArraySplit(torch.zeros(2, 3, 8, 8, dtype=torch.uint8), np.array([0, 1]))
    >>> len(split), split.image(1).shape, split[1][1]
    (2, (8, 8, 3), 1)
    """

    def __init__(self, images: Tensor, targets: Any) -> None:
        if images.dtype != torch.uint8 or images.ndim != 4:
            raise InputError(f"Expected uint8 images (N, C, H, W), but got {images.dtype} {tuple(images.shape)}.")
        self.targets = as_targets(targets, len(images))
        self.images = images.contiguous()
        self._placed: dict[str, Tensor] = {}

    def __repr__(self) -> str:
        return f"<ArraySplit of {len(self)} images {' x '.join(map(str, self.images.shape[1:]))}>"

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self.images[index], int(self.targets[index])

    def image(self, sample_id: int) -> NDArray[np.uint8]:
        """Return the image (H, W, C) uint8."""
        return np.ascontiguousarray(self.images[sample_id].permute(1, 2, 0).numpy())

    def images_on(self, device: torch.device) -> Tensor:
        """Return all images (N, C, H, W) uint8 on `device`; they are moved there once and kept."""
        key = str(device)
        if key not in self._placed:
            self._placed[key] = self.images.to(device)
        return self._placed[key]

    def content(self) -> Iterator[bytes]:
        """Yield the shape and the raw bytes of the images."""
        yield repr(tuple(self.images.shape)).encode()
        for start in range(0, len(self), _HASH_ROWS):
            yield self.images[start : start + _HASH_ROWS].numpy().tobytes()

    def __getstate__(self) -> dict[str, Any]:  # a copy sent to a worker leaves the device's memory behind
        return {**self.__dict__, "_placed": {}}


class DatasetSplit:
    """A split read from any map-style torch Dataset whose items are `(image, target)`.

    The image may be a PIL image, a uint8 array (H, W) or (H, W, C), a uint8 tensor (C, H, W), or a float tensor
    (C, H, W) in [0, 1] as `ToTensor` returns; it must be without random augmentation and without `Normalize`.
    `targets` (N,) are taken from the argument, else from the data set's own `targets` or `labels`, else by reading
    the data set once.

    >>> pairs = [(np.zeros((8, 8, 3), np.uint8), 1), (np.ones((8, 8, 3), np.uint8), 0)]
    >>> split = DatasetSplit(pairs)
    >>> split.targets.tolist(), split[1][0].shape
    ([1, 0], torch.Size([3, 8, 8]))
    """

    def __init__(self, dataset: Any, targets: Any = None) -> None:
        self.dataset = dataset
        for name in ("targets", "labels"):
            targets = getattr(dataset, name, None) if targets is None else targets
        if targets is None:
            found = [dataset[i][1] for i in range(len(dataset))]
            targets = [int(target) for target in found]
            if targets != found:  # int() would take 0.7 for class 0
                raise InputError(f"Expected whole numbers as the targets of the items, but got, for example, {found[:3]}.")
        self.targets = as_targets(targets, len(dataset))

    def __repr__(self) -> str:
        return f"<DatasetSplit of {len(self)} images of a {type(self.dataset).__name__}>"

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return as_uint8(self.dataset[index][0]), int(self.targets[index])

    def image(self, sample_id: int) -> NDArray[np.uint8]:
        """Return the image (H, W, C) uint8."""
        return np.ascontiguousarray(self[sample_id][0].permute(1, 2, 0).numpy())

    def content(self) -> Iterator[bytes]:
        """Yield shape and bytes of every image; this reads the data set once."""
        for index in range(len(self)):
            image = self[index][0]
            yield repr(tuple(image.shape)).encode()
            yield image.numpy().tobytes()


class Indexed(Dataset[Any]):
    """Adds sample ids to the items of a map-style data set.

    An item `(image, target)` at position `i` becomes `(i, image, target)`; a mapping, as in Hugging Face data sets, gets
    `i` in the column "sample_id". Wrap the full training set once; `torch.utils.data.Subset`, samplers and shuffling on top
    keep the original ids. Raises InputError for streams, for other items, and for mappings that already have such a column.

    >>> data = Indexed([("a", 0), ("b", 1), ("c", 0)])
    >>> torch.utils.data.Subset(torch.utils.data.Subset(data, [2, 1]), [0])[0]
    (2, 'c', 0)
    >>> Indexed([{"text": "a", "label": 0}, {"text": "b", "label": 1}])[1]
    {'text': 'b', 'label': 1, 'sample_id': 1}
    """

    def __init__(self, dataset: Any) -> None:
        readable = hasattr(dataset, "__len__") and hasattr(dataset, "__getitem__")
        if not readable or isinstance(dataset, IterableDataset):  # torch gives even its streams a __getitem__
            raise InputError(
                f"Expected a map-style data set with __len__ and __getitem__, but got {type(dataset).__name__}. "
                "A stream has no stable sample ids; store one with each sample instead."
            )
        self.dataset = dataset

    def __repr__(self) -> str:
        return f"<Indexed {type(self.dataset).__name__} of {len(self)} samples>"

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> Any:
        size = len(self)
        position = operator.index(index)  # TypeError for 1.5, which int() would take for sample 1
        if not -size <= position < size:
            raise IndexError(f"Expected an index in [{-size}, {size}), but got {position}.")
        position %= size  # -1 and size - 1 are one sample and must have one id
        item = self.dataset[position]
        if isinstance(item, Mapping):
            if SAMPLE_ID in item:
                raise InputError(
                    f"Expected items without a column {SAMPLE_ID!r}, but item {position} has one. If it holds positions in "
                    "the original data set, omit Indexed; else rename it."
                )
            return {**item, SAMPLE_ID: position}
        if not isinstance(item, (tuple, list)) or len(item) != 2:
            size_of = f" of {len(item)}" if isinstance(item, (tuple, list)) else ""
            raise InputError(
                f"Expected items (image, target) or mappings, but item {position} is a {type(item).__name__}{size_of}."
            )
        return position, item[0], item[1]


@dataclass(frozen=True)
class Data:
    """A data set ready to train on.

    `mean` and `std` per channel are on the [0, 1] scale. `augment` names the training augmentation: "crop_flip" (the
    CIFAR recipe), "crop" (no flip, for digits), "imagenet" (random resized crop and flip). `image_size` is the height
    and width a model sees; `channels` the number of colour channels. `remark` is a note on its files for the user,
    "" if there is none.
    """

    name: str
    train: Split
    test: Split
    class_names: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    augment: Augment
    image_size: int
    channels: int
    remark: str = ""

    def __post_init__(self) -> None:
        if self.augment not in _AUGMENTS:
            raise InputError(f"Expected augment to be one of {', '.join(_AUGMENTS)}, but got {self.augment!r}.")
        if not len(self.mean) == len(self.std) == self.channels or not all(0 < std < np.inf for std in self.std):
            raise InputError(f"Expected {self.channels} means and {self.channels} positive stds, one per channel.")
        for half, split in (("train", self.train), ("test", self.test)):
            self._check_shape(half, split)
            if len(split) and int(split.targets.max()) >= len(self.class_names):
                raise InputError(
                    f"Expected {half} targets in [0, {len(self.class_names)}), but got {int(split.targets.max())}."
                )

    def _check_shape(self, half: str, split: Split) -> None:
        """Refuse images that normalisation would broadcast to other shapes; those read one by one are checked on reading."""
        if not isinstance(split, ArraySplit):
            return
        shape, size = tuple(split.images.shape[1:]), self.image_size
        if shape[0] != self.channels or (self.augment != "imagenet" and shape[1:] != (size, size)):
            raise InputError(f"Expected {half} images of shape {(self.channels, size, size)}, but got {shape}.")

    @property
    def num_classes(self) -> int:
        """Number of classes."""
        return len(self.class_names)

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 (hex) of the training split: name, number, targets and images (folders: paths and sizes)."""
        return _fingerprint(self.name, self.train)

    @cached_property
    def test_fingerprint(self) -> str:
        """SHA-256 (hex) of the test split: number, targets and images (folders: paths and sizes).

        The name is not part of it: it stays the same for data whose training split was changed.
        """
        return _fingerprint("test", self.test)

    def describe(self) -> str:
        """Return one line for people."""
        kind = "grey" if self.channels == 1 else "colour"
        return (
            f"{self.name}: {len(self.train)} training and {len(self.test)} test images in {self.num_classes} classes, "
            f"{self.image_size} x {self.image_size} {kind}{'; ' if self.remark else ''}{self.remark}"
        )


def _fingerprint(name: str, split: Split) -> str:
    digest = hashlib.sha256(f"{name}\n{len(split)}\n".encode())
    digest.update(np.ascontiguousarray(split.targets, dtype="<i8").tobytes())
    for part in split.content():
        digest.update(part)
    return digest.hexdigest()


def as_targets(targets: Any, count: int) -> NDArray[np.int64]:
    """Return class labels as (count,) int64; raises InputError unless they are `count` integers >= 0."""
    array = np.asarray(targets)
    if array.shape != (count,) or (count and array.dtype.kind not in "iu"):
        raise InputError(f"Expected {count} integer targets, but got {array.dtype} of shape {array.shape}.")
    array = array.astype(np.int64)
    if count and array.min() < 0:
        raise InputError(f"Expected targets >= 0, but got {array.min()}.")
    return array


def as_uint8(image: Any) -> Tensor:
    """Return an image as a (C, H, W) uint8 tensor; see `DatasetSplit` for what is accepted."""
    if isinstance(image, Tensor):
        tensor = image
    else:
        if isinstance(image, Image.Image) and image.mode in ("P", "PA"):
            image = image.convert("RGB")  # its bytes are numbers of colours, not colours
        array = np.array(image)  # a copy: PIL's own buffer is read-only
        if array.ndim not in (2, 3) or array.dtype.kind not in "buif":
            raise InputError(f"Expected an image (H, W) or (H, W, C), but got {array.dtype} of shape {array.shape}.")
        tensor = torch.from_numpy(array[None] if array.ndim == 2 else np.moveaxis(array, -1, 0))
    if tensor.ndim != 3:
        raise InputError(f"Expected an image with 3 axes, but got shape {tuple(tensor.shape)}.")
    if tensor.is_floating_point():
        if tensor.numel() and not (float(tensor.min()) >= 0 and float(tensor.max()) <= 1):
            raise InputError("Expected a float image in [0, 1]. Omit Normalize: batches are normalised on the device.")
        tensor = (tensor * 255).round().to(torch.uint8)
    if tensor.dtype != torch.uint8:
        raise InputError(f"Expected a uint8 image, or a float one in [0, 1], but got {tensor.dtype}.")
    return tensor.contiguous()

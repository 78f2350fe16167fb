"""`Batches`: a split as normalised batches on a device, each sample with its id.

Arrays live on the device as uint8 and are gathered, cropped and normalised there; everything else goes through a torch
DataLoader. Both give the same order for the same seed and epoch.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from thresher.data.augment import Draws, centre_crop, permutation, resized_crop
from thresher.data.base import ArraySplit, Data, Split
from thresher.errors import InputError, SampleIdError, ThresherError
from thresher.types import check_seed

Batch = tuple[Tensor, Tensor, Tensor]
_Raw = tuple[Tensor, Tensor, list[int]]
_Item = tuple[int, int]  # epoch and sample id: workers that live through epochs learn the epoch from it
_AHEAD = 2**26  # bytes of images that a GPU prepares at once: batch by batch, launching it all would cost more than its work


class Batches:
    """Batches of a split, epoch by epoch.

    `split` is `data.train` or `data.test`. With `train` the samples are reshuffled every epoch, and with `augment`
    also augmented as `data.augment` says; otherwise they come in order. `ids` (k,) restricts to those samples; ids in
    batches remain positions in `split`. Nothing is dropped: the last batch may be smaller; with `train`, a last batch of a
    single sample, which batch normalisation may refuse, gets another one from the batch before. `part` (r, R) yields the
    r-th of R nearly equal parts of every batch, for R processes that share the work. Order and augmentation are a function
    of (`seed`, epoch, sample), so `epoch(k)` is the same after a resume. `workers` processes read splits that are not in
    memory. Raises InputError or SampleIdError for values out of range.

    >>> from thresher.data import load
    >>> data = load("digits")
    >>> batches = Batches(data, data.train, 100, train=True, augment=True, seed=0)
    >>> images, targets, sample_ids = next(batches.epoch(0))
    >>> len(batches), images.shape, targets.dtype
    (15, torch.Size([100, 1, 8, 8]), torch.int64)
    """

    def __init__(
        self,
        data: Data,
        split: Split,
        batch_size: int,
        *,
        device: torch.device | str = "cpu",
        train: bool = False,
        augment: bool = False,
        seed: int = 0,
        ids: NDArray[np.int64] | None = None,
        channels_last: bool = False,
        workers: int = 0,
        dtype: torch.dtype = torch.float32,
        part: tuple[int, int] = (0, 1),
    ) -> None:
        check_seed(seed)
        if batch_size < 1 or workers < 0:
            raise InputError(f"Expected batch_size >= 1 and workers >= 0, but got {batch_size} and {workers}.")
        self.data, self.split, self.batch_size = data, split, batch_size
        self.device = torch.device(device)
        self.train, self.augment, self.seed = train, augment and train, seed
        self.channels_last, self.dtype = channels_last, dtype
        self.part = part
        self._items = _Items([])
        self.restrict(ids)
        self._targets = torch.from_numpy(split.targets).to(self.device)
        # fractions of 255: (pixel - mean * 255) / (std * 255)
        self._shift = torch.tensor(data.mean, device=self.device).mul(255).view(1, -1, 1, 1)
        self._scale = torch.tensor(data.std, device=self.device).mul(255).reciprocal().view(1, -1, 1, 1)
        self._in_memory = isinstance(split, ArraySplit) and data.augment != "imagenet"
        image = 4 * data.channels * data.image_size**2
        self._at_once = max(1, _AHEAD // (image * batch_size)) if self.device.type == "cuda" else 1  # batches, from memory
        self._loader = None if self._in_memory else self._build_loader(workers)
        self._running: object = None  # the epoch that the loader's workers are at

    def restrict(self, ids: NDArray[np.int64] | None) -> None:
        """Restrict the epochs that begin from now on to the samples `ids` (k,), or to all if None; see `Batches`."""
        self._ids = None if ids is None else torch.from_numpy(checked_ids(ids, len(self.split)))
        self._count = len(self.split) if self._ids is None else len(self._ids)
        if not self._count:
            raise InputError("Expected at least one sample to batch, but the split is empty.")
        self.sizes = batch_sizes(self._count, self.batch_size, self.train, self.part[1])
        """Number of samples of each batch, of all parts together."""
        if self.train and min(self.sizes) < self.part[1]:
            raise InputError(
                f"Expected at least one sample of every batch for each of {self.part[1]} ranks, but batches hold "
                f"{self.sizes[0]} and the last {self.sizes[-1]}. Choose a larger batch size, or fewer ranks."
            )
        self._items.bounds = self._bounds()

    def __len__(self) -> int:
        return len(self.sizes)

    def epoch(self, epoch: int) -> Iterator[Batch]:
        """Yield `(images, targets, sample_ids)` of epoch `epoch` on the device.

        Images (B, C, H, W) float and normalised, targets (B,) int64, sample_ids (B,) int64; every sample once. Raises
        InputError for a negative epoch, and if worker processes are asked for two epochs at the same time.
        """
        if epoch < 0:
            raise InputError(f"Expected an epoch >= 0, but got {epoch}.")
        order = self._order(epoch)
        draws = self._draws(epoch)
        raw = self._from_memory(order) if self._loader is None else self._from_loader(order, epoch)
        for images, rows, sizes in raw:
            if draws is not None:
                images = draws.apply(images, rows)
            ready = self._normalise(images), self._targets[rows], rows
            yield from zip(*(torch.split(part, sizes) for part in ready), strict=True)

    def _bounds(self) -> list[tuple[int, int]]:
        """Return where this part of each batch begins and ends in the order; parts that hold nothing are left out."""
        (rank, size), bounds, start = self.part, [], 0
        for count in self.sizes:
            bounds.append((start + rank * count // size, start + (rank + 1) * count // size))
            start += count
        return [(low, high) for low, high in bounds if low < high]

    def _order(self, epoch: int) -> Tensor:
        order = permutation(self._count, self.seed, epoch) if self.train else torch.arange(self._count)
        return order if self._ids is None else self._ids[order]

    def _draws(self, epoch: int) -> Draws | None:
        """Return the crops and flips of the epoch, drawn for all samples, or None when pictures are cut by workers."""
        if not self.augment or self.data.augment == "imagenet":
            return None
        padding = self.data.image_size // 8  # 4 for 32 x 32, as published
        flips = self.data.augment == "crop_flip"
        return Draws.of_epoch(len(self.split), padding, flips, self.seed, epoch, self.device)

    def _from_memory(self, order: Tensor) -> Iterator[_Raw]:
        """Yield images (n, C, H, W) and ids (n,) of as many batches as are prepared at once, and the batches' sizes."""
        assert isinstance(self.split, ArraySplit)
        images, bounds = self.split.images_on(self.device), self._bounds()
        own = torch.cat([order[:0], *(order[low:high] for low, high in bounds)]).to(self.device)
        sizes = [high - low for low, high in bounds]
        together = [sizes[first : first + self._at_once] for first in range(0, len(sizes), self._at_once)]
        for rows, several in zip(torch.split(own, [sum(some) for some in together]), together, strict=True):
            yield images.index_select(0, rows), rows, several

    def _from_loader(self, order: Tensor, epoch: int) -> Iterator[_Raw]:
        assert self._loader is not None
        self._items.order, self._items.epoch = order, epoch
        self._running = running = object()
        for images, rows in _unwrapped(self._loader):
            self._check_running(running, epoch)
            yield images.to(self.device, non_blocking=True), rows.to(self.device, non_blocking=True), [len(rows)]
        self._check_running(running, epoch)  # the other epoch may have taken the last batches

    def _check_running(self, running: object, epoch: int) -> None:
        """Refuse to mix two epochs: worker processes that stay have one queue for all."""
        if running is not self._running and self._loader is not None and self._loader.num_workers:
            raise InputError(f"Epoch {epoch} cannot continue: another one was started. Use a separate Batches for each.")

    def _build_loader(self, workers: int) -> DataLoader[tuple[Tensor, int]]:
        return DataLoader(
            _Pictures(self.data, self.split, self.augment, self.seed),
            batch_sampler=self._items,
            num_workers=workers,
            persistent_workers=workers > 0,
            pin_memory=self.device.type == "cuda",
            generator=torch.Generator().manual_seed(0),  # else the loader draws from the global one
        )

    def _normalise(self, images: Tensor) -> Tensor:
        layout = torch.channels_last if self.channels_last else torch.contiguous_format
        return images.to(torch.float32, memory_format=layout).sub_(self._shift).mul_(self._scale).to(self.dtype)


def _unwrapped(loader: DataLoader[tuple[Tensor, int]]) -> Iterator[Any]:
    """Yield a loader's batches; a Thresher error from a worker is raised as it is, without the worker's traceback."""
    try:
        yield from loader
    except ThresherError as error:
        kind = type(error)
        words = str(error).rpartition(f"{kind.__module__}.{kind.__qualname__}: ")[2].strip()
        if words == str(error):
            raise
        raise kind(words) from None


class _Items:
    """Batch sampler: lists of (epoch, sample id) in the order last set."""

    def __init__(self, bounds: list[tuple[int, int]]) -> None:
        self.bounds = bounds
        self.order, self.epoch = torch.empty(0, dtype=torch.int64), 0

    def __iter__(self) -> Iterator[list[_Item]]:
        # bound now, not when the next batch is asked for: another epoch may have begun by then
        epoch, batches = self.epoch, [self.order[low:high] for low, high in self.bounds]
        return ([(epoch, row) for row in rows.tolist()] for rows in batches)

    def __len__(self) -> int:
        return len(self.bounds)


class _Pictures(Dataset[tuple[Tensor, int]]):
    """What a worker does: read a sample and resize it for the model."""

    def __init__(self, data: Data, split: Split, augment: bool, seed: int) -> None:
        self.split, self.size, self.channels = split, data.image_size, data.channels
        self.pictures, self.augment, self.seed = data.augment == "imagenet", augment, seed

    def __getitem__(self, item: Any) -> tuple[Tensor, int]:
        epoch, sample_id = item
        if not self.pictures:
            image = self.split[sample_id][0]
        elif self.augment:
            rng = np.random.default_rng([self.seed, epoch, sample_id])
            image = _tensor(resized_crop(self.split.image(sample_id), self.size, rng))
        else:
            image = _tensor(centre_crop(self.split.image(sample_id), self.size))
        if tuple(image.shape) != (self.channels, self.size, self.size):
            raise InputError(
                f"Expected images of shape {(self.channels, self.size, self.size)}, but sample {sample_id} has "
                f"{tuple(image.shape)}. Resize them, or use the 'imagenet' augmentation, which does."
            )
        return image, sample_id


def batch_sizes(count: int, batch_size: int, train: bool, parts: int = 1) -> list[int]:
    """Return the number of samples of each batch; see `Batches`. With `train` the last batch has at least two per part.

    >>> batch_sizes(9, 4, train=False), batch_sizes(9, 4, train=True), batch_sizes(3, 2, train=True)
    ([4, 4, 1], [4, 3, 2], [2, 1])
    >>> batch_sizes(21, 10, train=True, parts=2)
    [10, 7, 4]
    """
    sizes, least = [min(batch_size, count - start) for start in range(0, count, batch_size)], 2 * parts
    if train and len(sizes) > 1 and sizes[-1] < least <= (batch_size + sizes[-1]) // 2:
        sizes[-2:] = [batch_size + sizes[-1] - least, least]
    return sizes


def _tensor(image: NDArray[np.uint8]) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))


def checked_ids(ids: Any, count: int) -> NDArray[np.int64]:
    """Return ids (k,) int64; raises SampleIdError unless they are unique integers in [0, count)."""
    array = np.asarray(ids)
    if array.ndim != 1 or array.dtype.kind not in "iu" or not len(array):
        raise SampleIdError(f"Expected ids (k,) of integers, k >= 1, but got {array.dtype} of shape {array.shape}.")
    if array.min() < 0 or array.max() >= count:
        raise SampleIdError(f"Expected ids in [0, {count}), but they span {array.min()} to {array.max()}.")
    if len(np.unique(array)) != len(array):
        raise SampleIdError("Expected every id once, but some appear more than once.")
    return array.astype(np.int64)

"""Training augmentation: vectorised crop and flip for small images, random resized crop for pictures.

All draws are a function of (seed, epoch, sample id), of small images also of how many samples the split has. So batch size,
workers, the kept set and resuming do not change what a sample looks like in an epoch.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

_ORDER, _DRAWS = 0, 1  # separate streams for the order of samples and for their augmentation


def generator(seed: int, epoch: int, stream: int) -> torch.Generator:
    """Return a CPU generator that is a function of seed, epoch and stream."""
    state = np.random.SeedSequence([seed, epoch, stream]).generate_state(2, np.uint32)
    # torch's CPU generator reads the low 32 bits only: of a million streams some are the same, of a study's hardly any
    return torch.Generator().manual_seed(int(state[0]) << 31 ^ int(state[1]))


def permutation(count: int, seed: int, epoch: int) -> Tensor:
    """Return the order (count,) int64 of an epoch."""
    return torch.randperm(count, generator=generator(seed, epoch, _ORDER))


@dataclass(frozen=True)
class Draws:
    """Crop offsets `top`, `left` (N,) int64 in [0, 2 padding] and `flip` (N,) bool of every sample in an epoch."""

    top: Tensor
    left: Tensor
    flip: Tensor
    padding: int

    @classmethod
    def of_epoch(cls, count: int, padding: int, flips: bool, seed: int, epoch: int, device: torch.device) -> Draws:
        """Draw for all `count` samples of a split."""
        source = generator(seed, epoch, _DRAWS)
        top, left = torch.randint(0, 2 * padding + 1, (2, count), generator=source)
        flip = torch.rand(count, generator=source) < (0.5 if flips else 0.0)
        return cls(top.to(device), left.to(device), flip.to(device), padding)

    def apply(self, images: Tensor, rows: Tensor) -> Tensor:
        """Return the batch `images` of samples `rows`, flipped and cropped."""
        return flip_and_crop(images, self.flip[rows], self.top[rows], self.left[rows], self.padding)


def flip_and_crop(images: Tensor, flip: Tensor, top: Tensor, left: Tensor, padding: int) -> Tensor:
    """Return (B, C, H, W) uint8: each image mirrored where `flip` is True, padded with black, cropped at (`top`, `left`).

    This is the order and the padding of the TDDS code (flip, then RandomCrop with zero padding, before normalising).

    >>> image = torch.arange(1, 5, dtype=torch.uint8).view(1, 1, 2, 2)
    >>> flip_and_crop(image, torch.tensor([True]), torch.tensor([1]), torch.tensor([2]), 1).tolist()
    [[[[1, 0], [3, 0]]]]
    """
    count, _, height, width = images.shape
    mirrored = torch.where(flip.view(-1, 1, 1, 1), images.flip(3), images)
    padded = F.pad(mirrored, (padding, padding, padding, padding))
    windows = padded.unfold(2, height, 1).unfold(3, width, 1)  # a view: (B, C, tops, lefts, H, W)
    return windows[torch.arange(count, device=images.device), :, top, left]


def resized_crop(image: NDArray[np.uint8], size: int, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Return (size, size, C) uint8: a random part of the picture, 8 to 100 % of its area, mirrored with probability 1/2.

    Aspect ratios are 3/4 to 4/3 (C. Szegedy et al., "Going deeper with convolutions", 2015, section 6).
    """
    height, width = image.shape[:2]
    top, left, rows, columns = _random_box(height, width, rng)
    part = _resize(image[top : top + rows, left : left + columns], size, size)
    return np.ascontiguousarray(part[:, ::-1]) if rng.random() < 0.5 else part


def centre_crop(image: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """Return (size, size, C) uint8: the picture resized so that its shorter side is size * 256/224, then its centre."""
    height, width = image.shape[:2]
    shorter = max(size, round(size * 256 / 224))
    rows, columns = (shorter * side // min(height, width) for side in (height, width))
    resized = _resize(image, rows, columns)
    top, left = round((rows - size) / 2), round((columns - size) / 2)
    return np.ascontiguousarray(resized[top : top + size, left : left + size])


def _random_box(height: int, width: int, rng: np.random.Generator) -> tuple[int, int, int, int]:
    for _ in range(10):
        area = height * width * rng.uniform(0.08, 1.0)
        ratio = math.exp(rng.uniform(math.log(3 / 4), math.log(4 / 3)))
        columns, rows = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < columns <= width and 0 < rows <= height:
            return int(rng.integers(height - rows + 1)), int(rng.integers(width - columns + 1)), rows, columns
    # no luck (a long, narrow picture): the largest part in the middle with an admitted ratio
    columns = min(width, max(1, round(height * 4 / 3)))
    rows = min(height, max(1, round(width * 4 / 3)))
    return (height - rows) // 2, (width - columns) // 2, rows, columns


def _resize(image: NDArray[np.uint8], rows: int, columns: int) -> NDArray[np.uint8]:
    if image.shape[2] != 3:  # one by one: two or four channels would be taken for grey or colour with transparency
        return np.stack([_resized(image[:, :, channel], rows, columns) for channel in range(image.shape[2])], axis=2)
    return _resized(image, rows, columns)


def _resized(image: NDArray[np.uint8], rows: int, columns: int) -> NDArray[np.uint8]:
    return np.array(Image.fromarray(np.ascontiguousarray(image)).resize((columns, rows), Image.Resampling.BILINEAR))

"""Corrupted training images: a share of them gets one of five corruptions each; labels and test images do not change.

Source: X. Xia et al., "Moderate Coreset", ICLR 2023, official code; X. Zhang et al., "Spanning Training Progress", CVPR
2024, supplementary Figure 8 and Table 9 (4 % of each kind on CIFAR-100).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from thresher.data.base import ArraySplit, Data, Split
from thresher.data.corruptions import (
    Picture,
    checked_picture,
    fog,
    gaussian_noise,
    lower_resolution,
    motion_blur,
    occlude,
)
from thresher.data.spec_text import canonical, exact, exact_count, parse, plain_numbers
from thresher.errors import InputError, nearest

KINDS = ("clean", "gaussian_noise", "random_occlusion", "resolution", "fog", "motion_blur")
"""The kinds of images, indexed by a sample's code; 0 is an unchanged image."""
VARIANTS = ("intended", "published-code")
EXAMPLE = "intended:share=0.04:seed=0"

_REVISION = 1  # to be raised with every change of a pixel: fingerprints of pictures that are read late depend on it
# Separate streams for which samples and for what is drawn inside one. Random crops of pictures draw from (seed, epoch,
# id), which with the same seed is the stream of the pixels in epoch 193: parted, every corrupted picture would change.
_CHOICE, _PIXELS = 0x0C0, 0x0C1
_LIMITS = {
    "share": (0.0, 1.0),
    "seed": (0, math.inf),
    "noise": (0.0, math.inf),
    "noise_mean": (-1.0, 1.0),
    "occlusion": (0.0, 1.0),
    "resolution": (0.0, 1.0),
    "fog": (0.0, math.inf),
    "blur": (0.0, math.inf),
}


@dataclass(frozen=True)
class Corruption:
    """Which share of the training images is corrupted, and how strongly; the defaults follow the TDDS study.

    `variant` is "intended", what the published figure shows, or "published-code", what the official code actually does:
    fog is black, negative values of the Gaussian noise wrap modulo 256, and the occluding rectangle is always in the same
    place. `share` is that of each of the five kinds, so at most 0.2; `seed` determines the samples, the noise and the
    places. Strengths: `noise` and `noise_mean` (on the [0, 1] scale), `occlusion` (side of the rectangle as a share of the
    image's), `resolution` (remaining share of the sides), `fog` (density), `blur` (pixels of 32). Raises InputError.

    >>> Corruption.parse("published-code:share=0.06") == Corruption("published-code", share=0.06)
    True
    >>> str(Corruption(seed=3))
    'intended:seed=3'
    """

    variant: str = "intended"
    share: float = 0.04
    seed: int = 0
    noise: float = 1.0
    noise_mean: float = 0.2
    occlusion: float = 0.5
    resolution: float = 0.25
    fog: float = 0.4
    blur: float = 15.0

    def __post_init__(self) -> None:
        if self.variant not in VARIANTS:
            hint = nearest(str(self.variant), VARIANTS)
            raise InputError(
                f"Expected a corruption {' or '.join(VARIANTS)}, as in {EXAMPLE}, but got {self.variant!r}{hint}."
            )
        plain_numbers(self, _LIMITS)
        kinds = len(KINDS) - 1
        if not 0 < exact(self.share) * kinds <= 1:
            raise InputError(
                f"Expected a share in (0, {1 / kinds:g}], since each of {kinds} kinds gets it, but got {self.share!r} "
                f"({self.share * kinds:g} of the images in all). For no corruption, omit it."
            )

    @classmethod
    def parse(cls, text: str) -> Corruption:
        """Return the corruption that `variant[:key=value...]` names; raises InputError if it is invalid."""
        return parse(cls, text, EXAMPLE)

    def __str__(self) -> str:
        return canonical(self)


@dataclass(frozen=True)
class Corrupted:
    """`data` to train on, and `codes` (N,) int8, read-only: which of `KINDS` each sample got. Only for diagnosis."""

    data: Data
    codes: NDArray[np.int8]


def corrupt_data(data: Data, spec: Corruption | str = "intended") -> Corrupted:
    """Return `data` with corrupted training images; targets, test images, mean and std do not change.

    Each kind gets floor(share N) samples, drawn regardless of class; no sample gets two. What a sample looks like is a
    function of (spec, sample id): splits in memory are corrupted at once, others when an image is read, with the same
    result. The name includes the spec and the fingerprint differs. Raises InputError if the share gives no sample at all.

    >>> from thresher.data import load
    >>> digits = load("digits")
    >>> noisy = corrupt_data(digits, "intended:seed=1")
    >>> np.bincount(noisy.codes).tolist(), noisy.data.name
    ([1152, 57, 57, 57, 57, 57], 'digits+corrupt=intended:seed=1')
    >>> noisy.data.fingerprint == digits.fingerprint, noisy.data.test is digits.test
    (False, True)
    """
    spec = Corruption.parse(spec) if isinstance(spec, str) else spec
    codes = assigned(len(data.train), spec)
    train = _in_memory(data.train, codes, spec) if isinstance(data.train, ArraySplit) else CorruptedSplit(data.train, spec)
    return Corrupted(replace(data, name=f"{data.name}+corrupt={spec}", train=train), codes)


def assigned(n: int, spec: Corruption) -> NDArray[np.int8]:
    """Return the codes (n,) int8 of `n` samples: blocks of equal size of one random order, the rest 0.

    >>> np.bincount(assigned(50_000, Corruption())).tolist()
    [40000, 2000, 2000, 2000, 2000, 2000]
    """
    count = exact_count(spec.share, n)
    if not count:
        raise InputError(f"Expected a share of at least one of {n} samples, but {spec.share!r} gives none. Raise it.")
    codes = np.zeros(n, np.int8)
    order = np.random.default_rng([spec.seed, _CHOICE]).permutation(n)
    for code in range(1, len(KINDS)):
        codes[order[(code - 1) * count : code * count]] = code
    codes.setflags(write=False)
    return codes


def corrupted_image(image: Picture, kind: str, sample_id: int, spec: Corruption) -> Picture:
    """Return `image` (H, W, C) uint8 with the corruption `kind`, one of `KINDS`, as sample `sample_id` would get it.

    Raises InputError for an image of another dtype or shape, and for an unknown kind.

    >>> black = np.zeros((32, 32, 3), np.uint8)
    >>> [int(corrupted_image(black, kind, 0, Corruption()).max()) for kind in ("clean", "resolution", "fog")]
    [0, 0, 114]
    """
    image = checked_picture(image)
    literal = spec.variant == "published-code"
    rng = np.random.default_rng([spec.seed, _PIXELS, sample_id])
    if kind == "clean":
        return image
    if kind == "gaussian_noise":
        return gaussian_noise(image, rng, mean=spec.noise_mean, std=spec.noise, wrap=literal)
    if kind == "random_occlusion":
        return occlude(image, None if literal else rng, side=spec.occlusion)
    if kind == "resolution":
        return lower_resolution(image, factor=spec.resolution)
    if kind == "fog":
        return fog(image, density=spec.fog, black=literal)
    if kind == "motion_blur":
        return motion_blur(image, length=spec.blur)
    raise InputError(f"Expected a corruption of {', '.join(KINDS)}, but got {kind!r}{nearest(kind, KINDS)}.")


class CorruptedSplit:
    """The images of `base`, corrupted when they are read; it holds one byte per sample."""

    def __init__(self, base: Split, spec: Corruption) -> None:
        self.targets = base.targets
        self._base, self._spec, self._codes = base, spec, assigned(len(base), spec)

    def __len__(self) -> int:
        return len(self._base)

    def image(self, sample_id: int) -> Picture:
        """Return the image (H, W, C) uint8."""
        image = self._base.image(sample_id)
        code = int(self._codes[sample_id])
        # negative positions are the base's affair, but a sample has one id and one look
        return corrupted_image(image, KINDS[code], sample_id % len(self), self._spec) if code else image

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return torch.from_numpy(self.image(index).transpose(2, 0, 1).copy()), int(self.targets[index])

    def content(self) -> Iterator[bytes]:
        """Yield the spec, then what identifies the images it is applied to."""
        yield f"corrupt {_REVISION} {self._spec!r}\n".encode()
        yield from self._base.content()


def _in_memory(split: ArraySplit, codes: NDArray[np.int8], spec: Corruption) -> ArraySplit:
    images = split.images.clone()
    for sample_id in np.flatnonzero(codes).tolist():
        picture = corrupted_image(split.image(sample_id), KINDS[codes[sample_id]], sample_id, spec)
        images[sample_id] = torch.from_numpy(picture.transpose(2, 0, 1).copy())
    return ArraySplit(images, split.targets)

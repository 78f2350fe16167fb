"""Wrong training labels: a share of the samples gets the label of another class; images and test labels do not change.

Source: X. Xia et al., "Moderate Coreset", ICLR 2023, official code (symmetric noise of 20 %; X. Zhang et al., CVPR 2024,
supplementary Table 10, follow it). There, every sample is drawn with that probability and without a seed, so the number
varies (CIFAR: 10000 +- 89); here it is exact and the draw is seeded, as in M. Toneva et al., "An Empirical Study of Example
Forgetting", ICLR 2019.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from thresher.data.base import ArraySplit, Data, Split, as_targets
from thresher.data.spec_text import canonical, exact_count, parse, plain_numbers
from thresher.errors import InputError

EXAMPLE = "0.2:seed=0"

_STREAM = 0x1AB  # apart from the draws of corruptions with the same seed


@dataclass(frozen=True)
class Mislabeling:
    """Which `share` of the training labels is wrong, in (0, 1], and the `seed` of the draw. Raises InputError.

    >>> Mislabeling.parse("0.2:seed=1"), str(Mislabeling(0.2))
    (Mislabeling(share=0.2, seed=1), '0.2')
    """

    share: float = 0.2
    seed: int = 0

    def __post_init__(self) -> None:
        plain_numbers(self, {"share": (0.0, 1.0), "seed": (0, math.inf)})
        if not self.share:
            raise InputError("Expected a share of wrong labels in (0, 1], but got 0. For no label noise, omit it.")

    @classmethod
    def parse(cls, text: str) -> Mislabeling:
        """Return the label noise that `share[:seed=number]` names; raises InputError if it is invalid."""
        return parse(cls, text, EXAMPLE)

    def __str__(self) -> str:
        return canonical(self)


@dataclass(frozen=True)
class Mislabeled:
    """`data` to train on, and the truth, only for diagnosis: no trainer or selector may see it.

    `flipped` (N,) bool marks the samples with a wrong label, `clean_targets` (N,) int64 are the original labels; both are
    read-only.
    """

    data: Data
    flipped: NDArray[np.bool_]
    clean_targets: NDArray[np.int64]


def mislabel_data(data: Data, spec: Mislabeling | str = "0.2") -> Mislabeled:
    """Return `data` with floor(share N) wrong training labels, and which samples have them.

    The samples are drawn regardless of class; each new label is drawn uniformly from the other classes, so it is always
    wrong. The name includes the spec and the fingerprint differs. Raises InputError for a data set of fewer than two
    classes, and if the share gives no sample at all.

    >>> from thresher.data import load
    >>> digits = load("digits")
    >>> noisy = mislabel_data(digits, "0.2:seed=0")
    >>> int(noisy.flipped.sum()), bool((noisy.data.train.targets != digits.train.targets)[noisy.flipped].all())
    (287, True)
    >>> noisy.data.name, noisy.data.fingerprint == digits.fingerprint
    ('digits+mislabel=0.2', False)
    """
    spec = Mislabeling.parse(spec) if isinstance(spec, str) else spec
    clean = data.train.targets.copy()
    flipped, targets = flip_targets(clean, data.num_classes, spec)
    split: Split
    if isinstance(data.train, ArraySplit):
        split = ArraySplit(data.train.images, targets)
    else:
        split = RelabeledSplit(data.train, targets)
    for array in (flipped, clean):
        array.setflags(write=False)
    return Mislabeled(replace(data, name=f"{data.name}+mislabel={spec}", train=split), flipped, clean)


def flip_targets(
    targets: NDArray[np.int64], num_classes: int, spec: Mislabeling
) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
    """Return which of `targets` (N,) are flipped, (N,) bool, and the new targets (N,) int64 in [0, num_classes).

    >>> flip_targets(np.array([0, 1, 0, 1]), 2, Mislabeling(0.5))[1].shape
    (4,)
    """
    if num_classes < 2:
        raise InputError(f"Expected at least two classes to confuse, but there is {num_classes}. Omit label noise.")
    count = exact_count(spec.share, len(targets))
    if not count:
        raise InputError(
            f"Expected a share of at least one of {len(targets)} samples, but {spec.share!r} gives none. Raise it."
        )
    rng = np.random.default_rng([spec.seed, _STREAM])
    chosen = rng.permutation(len(targets))[:count]
    noisy = targets.copy()
    noisy[chosen] = (targets[chosen] + rng.integers(1, num_classes, count)) % num_classes  # 1 to C - 1 further: never itself
    flipped = np.zeros(len(targets), np.bool_)
    flipped[chosen] = True
    return flipped, noisy


class RelabeledSplit:
    """The images of `base` with other targets; images are read when needed."""

    def __init__(self, base: Split, targets: NDArray[np.int64]) -> None:
        self._base = base
        self.targets = as_targets(targets, len(base))

    def __len__(self) -> int:
        return len(self._base)

    def image(self, sample_id: int) -> NDArray[np.uint8]:
        """Return the image (H, W, C) uint8."""
        return self._base.image(sample_id)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self._base[index][0], int(self.targets[index])

    def content(self) -> Iterator[bytes]:
        """Yield what identifies the images; the targets are part of every fingerprint anyway."""
        return self._base.content()

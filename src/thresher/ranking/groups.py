"""Groups that are ranked apart from one another: all samples as one, or the classes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from thresher.errors import InputError
from thresher.ranking.blocks import Block, Samples, Step

Counts = NDArray[np.int64]


class Groups(Protocol):
    """Says which group every sample belongs to. Travels to workers."""

    def of(self, block: Block) -> NDArray[np.int64] | None:
        """Return (M,) group numbers, -1 for samples that belong to none; None where all belong to group 0."""


@dataclass(frozen=True)
class Everybody:
    """One group of all samples."""

    def of(self, block: Block) -> None:
        """Return None: all belong to group 0."""


@dataclass(frozen=True)
class Classes:
    """A group per class label."""

    def of(self, block: Block) -> NDArray[np.int64]:
        """Return the labels."""
        assert block.targets is not None  # `Samples.labelled` saw to it
        return block.targets


@dataclass(frozen=True)
class _ClassCounts(Step[Counts]):
    def __call__(self, block: Block) -> Counts:
        assert block.targets is not None
        check_labels(block.targets)
        return np.bincount(block.targets).astype(np.int64)

    def merge(self, one: Counts, other: Counts) -> Counts:
        if len(one) < len(other):
            one, other = other, one
        return one + np.pad(other, (0, len(one) - len(other)))


def class_counts(samples: Samples) -> Counts:
    """Return how many samples every class has, (C,) int64. Raises InputError for labels that are no classes."""
    return samples.reduce(_ClassCounts())


MOST_CLASSES = 1 << 24
"""Labels above are taken for something else: counting classes takes memory for every number below the largest."""


def check_labels(targets: NDArray[np.int64]) -> None:
    """Raise InputError for labels below 0, and for those that number no classes."""
    if targets.min() < 0:
        raise InputError(f"Expected class labels from 0 on, but got {targets.min()}.")
    if targets.max() >= MOST_CLASSES:
        raise InputError(
            f"Expected class labels that number the classes from 0, but got {targets.max()}. Number them: "
            "np.unique(labels, return_inverse=True)[1]."
        )

"""A part of the training set held out for measuring: it replaces the test set, which stays unseen."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from thresher.data.base import ArraySplit, Data, Split
from thresher.data.spec_text import canonical, exact_count, parse, plain_numbers
from thresher.errors import InputError

EXAMPLE = "0.1:seed=0"

_STREAM = 0x401D  # apart from the draws of corruptions and label noise with the same seed


@dataclass(frozen=True)
class Holdout:
    """Which `share` of the training samples is held out, in (0, 1), and the `seed` of the draw. Raises InputError.

    >>> Holdout.parse("0.1:seed=1"), str(Holdout(0.1))
    (Holdout(share=0.1, seed=1), '0.1')
    """

    share: float = 0.1
    seed: int = 0

    def __post_init__(self) -> None:
        plain_numbers(self, {"share": (0.0, 1.0), "seed": (0, math.inf)})
        if not 0 < self.share < 1:
            raise InputError(f"Expected a share to hold out in (0, 1), but got {self.share!r}.")

    @classmethod
    def parse(cls, text: str) -> Holdout:
        """Return the holdout that `share[:seed=number]` names; raises InputError if it is invalid."""
        return parse(cls, text, EXAMPLE)

    def __str__(self) -> str:
        return canonical(self)


def hold_out(data: Data, spec: Holdout | str = "0.1") -> Data:
    """Return `data` with floor(share N) training samples as its test set, and the others as its training set.

    Sample ids are positions among the remaining samples. The real test set is not part of the result. The name includes the
    spec and the fingerprint differs. Raises InputError if no sample would be held out.

    >>> from thresher.data import load
    >>> part = hold_out(load("digits"), "0.1:seed=0")
    >>> len(part.train), len(part.test), part.name
    (1294, 143, 'digits+holdout=0.1')
    """
    spec = Holdout.parse(spec) if isinstance(spec, str) else spec
    left, held = split_rows(len(data.train), spec)
    name = f"{data.name}+holdout={spec}"
    return replace(data, name=name, train=part_of(data.train, left), test=part_of(data.train, held))


def split_rows(n: int, spec: Holdout) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return which of n samples are left and which are held out, both sorted; sample i of the remaining ones is `left[i]`.

    Raises InputError if no sample would be held out.

    >>> left, held = split_rows(10, Holdout(0.3))
    >>> len(left), len(held)
    (7, 3)
    """
    count = exact_count(spec.share, n)
    if not count:  # the share is below 1, so some are left in any case
        raise InputError(f"Expected a share that holds out some of {n} samples, but {spec.share!r} gives none.")
    order = np.random.default_rng([spec.seed, _STREAM]).permutation(n)
    return np.sort(order[count:]), np.sort(order[:count])


def included(corrupt: str | None, mislabel: str | None) -> str:
    """Return words to follow "a held-out part of the training set" if it is changed like the rest, else "".

    >>> included(None, "0.2"), included("intended", "0.2"), included(None, None)
    (', wrong labels (0.2) included', ', wrong labels (0.2) and corrupted images (intended) included', '')
    """
    changes = {"wrong labels": mislabel, "corrupted images": corrupt}
    said = [f"{what} ({spec})" for what, spec in changes.items() if spec is not None]
    return f", {' and '.join(said)} included" if said else ""


def part_of(split: Split, rows: NDArray[np.int64]) -> Split:
    """Return the samples `rows` of a split, renumbered from 0."""
    if isinstance(split, ArraySplit):
        return ArraySplit(split.images[torch.from_numpy(rows)], split.targets[rows])
    return PartSplit(split, rows)


class PartSplit:
    """Some samples of a split that is read when needed."""

    def __init__(self, base: Split, rows: NDArray[np.int64]) -> None:
        self._base, self._rows = base, rows
        self.targets = base.targets[rows]

    def __len__(self) -> int:
        return len(self._rows)

    def image(self, sample_id: int) -> NDArray[np.uint8]:
        """Return the image (H, W, C) uint8."""
        return self._base.image(int(self._rows[sample_id]))

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self._base[int(self._rows[index])]

    def content(self) -> Iterator[bytes]:
        """Yield which samples these are, then what identifies all images of the split."""
        yield np.ascontiguousarray(self._rows, dtype="<i8").tobytes()
        yield from self._base.content()

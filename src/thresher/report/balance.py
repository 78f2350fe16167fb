"""How evenly each coreset takes from the classes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from thresher.report.content import Content


@dataclass(frozen=True)
class Balance:
    """The classes of one coreset: `shares[c]` of class c's samples were kept, in [0, 1]; `labels` are the classes' numbers.

    `empty` classes have no sample left. `even` is the entropy of the kept classes over that of all samples' classes: 1 where
    the coreset has the proportions of the data set.
    """

    method: str
    counts: tuple[int, ...]
    shares: tuple[float, ...]
    least: str
    most: str
    empty: int
    even: float


def balances(content: Content, keep: float) -> tuple[tuple[str, ...], tuple[Balance, ...]]:
    """Return the names of the classes and the balance of each method's coreset at one kept share."""
    if not len(content.targets):
        return (), ()
    labels, inverse = np.unique(content.targets, return_inverse=True)
    sizes = np.bincount(inverse)
    names = tuple(content.class_name(int(label)) for label in labels)
    made = []
    for selection in content.selected(keep).values():
        counts = np.bincount(inverse[selection.ids[selection.ids < len(inverse)]], minlength=len(labels))
        shares = counts / sizes
        low, high = int(shares.argmin()), int(shares.argmax())
        even = _entropy(counts) / _entropy(sizes) if len(labels) > 1 else 1.0
        made.append(
            Balance(
                selection.method, tuple(counts.tolist()), tuple(shares.tolist()),
                _said(names[low], shares[low]), _said(names[high], shares[high]),
                int((counts == 0).sum()), even,
            )
        )  # fmt: skip
    return names, tuple(made)


def _said(name: str, share: float) -> str:
    """Return a class with its share; isolated, as a name that is read from right to left would draw the number over."""
    isolated = name if name.isascii() else "\u2068" + name + "\u2069"
    return f"{isolated}: {100 * share:.1f} %"


def _entropy(counts: NDArray[np.int64]) -> float:
    shares = counts[counts > 0] / counts.sum()
    return 0.0 - float((shares * np.log(shares)).sum())  # not negated: of a single class it would be -0

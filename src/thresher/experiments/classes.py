"""Classes of which a coreset keeps no sample, so that nothing is learned of them, and a sentence that says so."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from thresher.ranking.groups import MOST_CLASSES
from thresher.selectors._base import Selector
from thresher.types import Ids

_NAMED = 3  # classes in a note


def emptied(targets: NDArray[np.int64], kept: Ids) -> dict[int, int]:
    """Return the classes that have samples in `targets` (N,), but none among the `kept` ids, with how many they have.

    >>> emptied(np.array([0, 0, 1, 3, 3, 3]), np.array([0, 3]))
    {1: 1}
    >>> emptied(np.array([0, 10**12, 5]), np.array([0, 2]))
    {1000000000000: 1}
    """
    labels = None
    if targets.min() < 0 or targets.max() >= MOST_CLASSES:  # counting would take memory for every number below the largest
        labels, targets = np.unique(targets, return_inverse=True)
    counts = np.bincount(targets)
    none = np.flatnonzero((counts > 0) & (np.bincount(targets[kept], minlength=len(counts)) == 0))
    named = none if labels is None else labels[none]
    return dict(zip(named.tolist(), counts[none].tolist(), strict=True))


def emptied_text(
    method: str, selector: Selector, found: dict[int, int], kept: int, of: int, names: Sequence[str] | None = None
) -> str:  # fmt: skip
    """Return a sentence on the classes that a method's coreset of `kept` of `of` samples leaves empty, and what helps;
    "" if there are none.

    >>> from thresher.selectors import Top
    >>> emptied_text("el2n", Top(), {1: 30}, 20, 200, ["cat", "dog"])
    'el2n keeps none of class dog (30 samples): el2n:balanced=true keeps classes in proportion'
    """
    if not found:
        return ""
    sized = [(number, f"{count} sample{'' if count == 1 else 's'}") for number, count in list(found.items())[:_NAMED]]
    shown = [f"{names[number] if names else number} ({size})" for number, size in sized]
    more = f" and {len(found) - _NAMED} more" if len(found) > _NAMED else ""
    which = f"{'class' if len(found) == 1 else 'classes'} {', '.join(shown)}{more}"
    balanced = selector.params().get("balanced")
    if balanced is None:
        return f"{method} keeps none of {which}"
    if balanced:
        return f"{method} keeps none of {which}: a class that is due less than one sample may get none: keep more"
    label = ":".join(part for part in method.split(":") if part.partition("=")[0].strip() != "balanced")
    helps = f"{label}:balanced=true keeps classes in proportion"
    few = sum(count * kept < of for count in found.values())  # proportional quotas may leave these empty, too
    if few:
        told = "but each of these is" if few == len(found) else f"but {few} of these {'is' if few == 1 else 'are'}"
        helps += f", {told} due less than one sample and may still get none: keep more"
    return f"{method} keeps none of {which}: {helps}"

"""What the literature's methods are set to for a data set and a kept share, and how sure that is.

Each function returns `Published`: parameters to put in, the epoch to ask at, and a sentence on what was picked and why.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from thresher.settings import TddsSetting, tdds_settings

Table = Mapping[Fraction, float]


@dataclass(frozen=True)
class Published:
    """Parameters for scorer and selector, completed epochs `at` which to ask (None = the end), and why.

    `why` speaks of the scorer and of `at`, `selector_why` of the selector; "" where there was nothing to pick.
    """

    scorer: Mapping[str, Any] = field(default_factory=dict)
    selector: Mapping[str, Any] = field(default_factory=dict)
    at: int | None = None
    why: str = ""
    selector_why: str = ""


def dataset_key(dataset: str) -> str:
    """Return the name under which a data set stands in the published tables; changed and resized data stand under its own.

    >>> dataset_key("CIFAR-10"), dataset_key("imagenet:size=64"), dataset_key("digits"), dataset_key("cifar100+mislabel=0.2")
    ('cifar10', 'imagenet1k', 'digits', 'cifar100')
    """
    plain = dataset.partition("+")[0].partition(":")[0].lower().replace("-", "").replace("_", "")
    return "imagenet1k" if plain in ("imagenet", "imagenet1k", "ilsvrc2012") else plain


def nearest(rates: Iterable[Fraction], rate: Fraction) -> Fraction:
    """Return the published rate closest to `rate`; of two equally close ones the smaller.

    >>> nearest([Fraction(3, 10), Fraction(5, 10)], Fraction(4, 10))
    Fraction(3, 10)
    """
    return min(sorted(rates), key=lambda published: abs(published - rate))


def tdds(dataset: str, share: Fraction, surrogate: str | None = None) -> Published:
    """Return TDDS's published (T, K) for the data set and the share pruned, or the nearest there is.

    `surrogate` is the recorded model: on ImageNet Swin-T (`swin_t`) has rows of its own, any other model gets ResNet-34's.
    CIFAR-100's are not published but for (0.3, T=90, K=10), which a thread quotes from the paper; CIFAR-10's serve for its
    other rates (an inference). Any other data set gets K=10 at the end of the recording.
    """
    key, rate = dataset_key(dataset), 1 - share
    if key not in ("cifar10", "cifar100", "imagenet1k"):
        why = f"no (T, K) is published for {dataset or 'this data set'}: K=10 at the end of the recording"
        return Published({"window": 10}, why=why)
    rows = _tdds_rows("cifar10" if key == "cifar100" else key, surrogate)
    chosen = {row.pruning_rate: row for row in rows}[nearest((row.pruning_rate for row in rows), rate)]
    epochs, window, origin = chosen.epochs, chosen.window, f"published for {key}/{chosen.surrogate}"
    if key == "cifar100" and chosen.pruning_rate == Fraction(3, 10):
        epochs, window, origin = 90, 10, "quoted from the paper for cifar100"
    elif key == "cifar100":
        origin = "published for cifar10; cifar100's own is not (an inference)"
    distance = "" if chosen.pruning_rate == rate else f", the nearest to {_percent(rate)}"
    why = f"T={epochs}, K={window}: {origin} at {_percent(chosen.pruning_rate)} pruned{distance}"
    return Published({"window": window}, at=epochs, why=why)


def _tdds_rows(key: str, surrogate: str | None) -> list[TddsSetting]:
    """Return the data set's rows for that surrogate; without one, or with one that has no rows, the first surrogate's."""
    rows = [row for row in tdds_settings() if row.dataset == key]
    names = [row.surrogate for row in rows]
    wanted = surrogate if surrogate in names else names[0]
    return [row for row in rows if row.surrogate == wanted]


SCALED_LOSS = frozenset({"cifar10", "cifar100"})
"""Where TDDS's coreset trainings multiply the loss by the score: the data sets of its official training script."""

_RATES = tuple(Fraction(rate) for rate in ("0.3", "0.5", "0.7", "0.8", "0.9"))
CCS_CUTOFFS: Mapping[str, Table] = {
    "cifar10": dict(zip(_RATES, (0.0, 0.0, 0.1, 0.1, 0.3), strict=True)),
    "cifar100": dict(zip(_RATES, (0.1, 0.2, 0.2, 0.4, 0.5), strict=True)),
    "imagenet1k": dict(zip(_RATES, (0.0, 0.1, 0.2, 0.2, 0.3), strict=True)),
}
"""CCS's beta by data set and pruning rate; the README of the official code has those of `_CONFIRMED`, the rest is
recollected from the paper's appendix and not verified."""
_CONFIRMED = {("cifar10", Fraction("0.9")), ("imagenet1k", Fraction("0.8")), ("imagenet1k", Fraction("0.9"))}


def ccs(dataset: str, share: Fraction, surrogate: str | None = None) -> Published:
    """Return CCS's cutoff beta for the nearest published pruning rate; a data set without a table gets CIFAR-10's.

    It is never more than the share that is pruned anyway.
    """
    key, rate = dataset_key(dataset), 1 - share
    table = CCS_CUTOFFS.get(key, CCS_CUTOFFS["cifar10"])
    published = nearest(table, rate)
    cutoff = table[published]
    origin = f"for {key}" if key in CCS_CUTOFFS else f"for cifar10 (none for {dataset or 'this data set'})"
    distance = "" if published == rate else f", the nearest to {_percent(rate)}"
    known = (key if key in CCS_CUTOFFS else "cifar10", published) in _CONFIRMED
    doubt = "" if known else " (recalled from the paper, not verified)"
    why = f"cutoff={cutoff:g}: published {origin} at {_percent(published)} pruned{distance}{doubt}"
    if Fraction(str(cutoff)) > rate:
        cutoff = float(rate)
        why += f"; lowered to {cutoff:g}, the share pruned in all"
    return Published(selector={"cutoff": cutoff}, selector_why=why)


def dual(dataset: str, share: Fraction, surrogate: str | None = None) -> Published:
    """Return DUAL's trajectory length: the first 30 epochs, on ImageNet 60 (official code)."""
    if dataset_key(dataset) == "imagenet1k":
        return Published({"epochs": 60}, why="the first 60 epochs: the official ImageNet script's")
    return Published({"epochs": 30})


_C_D = {
    "cifar10": (5.5, "said to be the paper's for cifar10, not verified"),
    "cifar100": (4.0, "the official CIFAR script's"),
    "imagenet1k": (11.0, "the official ImageNet script's"),
}


def dual_beta(dataset: str, share: Fraction, surrogate: str | None = None) -> Published:
    """Return DUAL's trajectory length and the c_d of its Beta sampling."""
    c_d, origin = _C_D.get(dataset_key(dataset), (4.0, "the official CIFAR script's default"))
    length = dual(dataset, share)
    return Published(length.scorer, {"c_d": c_d}, why=length.why, selector_why=f"c_d={c_d:g}: {origin}")


def _percent(rate: Fraction) -> str:
    return f"{float(100 * rate):g} %"

"""The targets of `thresher reproduce`: every published table and figure as a list of entries, at full and at small scale.

Full scale is the published recipe (official TDDS code; supplementary, Tables 6 to 10 and Figure 7): ResNet-18 surrogate of
200 epochs, batch 100; coresets 200 epochs, batch 128 where the table says nothing else. Small scale is a miniature for a
CPU, all of it with one seed in about two hours of two quiet cores: the small network, a surrogate of 30 epochs and a fixed
budget of about 4 700 steps of batch 32 a cell, so that kept shares and methods compare at equal cost. A published number
stands beside a small cell as the pattern to look for, not as its target.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

from thresher.boards.cells import Cell, Entry
from thresher.errors import InputError, nearest
from thresher.experiments.defaults import recipe
from thresher.settings.tables import PublishedNumber, published_table
from thresher.train.spec import TrainSpec

SCALES = ("full", "small")
NOISE, CORRUPTION = "0.2", "intended"  # 20 % symmetric; 4 % of each of five corruptions
CANDIDATES = ((90, 10), (70, 10), (60, 20), (30, 10), (20, 10), (10, 5))
"""(T, K) for CIFAR-100: (30, 10) from the official README's example at 90 % pruned, and those that DUAL's re-implementation
sweeps, plausibly the paper's for 30 to 90 % pruned; not verified."""

_SURROGATE = TrainSpec("resnet18", epochs=200, batch_size=100)
_CORESET = TrainSpec("resnet18", epochs=200, batch_size=128)
_SMALL_SURROGATE = TrainSpec("small", epochs=30, batch_size=100)
_SMALL_STEPS, _SMALL_BATCH = 4700, 32
_SMALLEST = "shufflenet_v2"  # the published network whose numbers stand beside those of the miniature's smaller one
_TRAINING_IMAGES = 50_000


def entries(target: str, scale: str = "full") -> list[Entry]:
    """Return the entries of a target; `all` is everything that was published, so all targets but `auto`.

    Raises InputError for an unknown target or scale, naming the nearest.

    >>> len(entries("table6")), sum(entry.labels["method"] == "tdds" for entry in entries("table6", "small"))
    (76, 2)
    """
    if scale not in SCALES:
        raise InputError(f"Expected a scale, full or small, but got {scale!r}{nearest(scale, SCALES)}.")
    if target == PICTURE:
        raise InputError(f"{PICTURE} is a picture of the corruptions and has no entries; `thresher reproduce` writes it.")
    if target == "all":
        return [entry for name in TARGETS if name != "auto" for entry in TARGETS[name](scale)]
    if target not in TARGETS:
        known = [*TARGETS, PICTURE, "all"]
        raise InputError(f"Expected a target, one of {', '.join(known)}, but got {target!r}{nearest(target, known)}.")
    return TARGETS[target](scale)


def table6(scale: str) -> list[Entry]:
    """Small batches: CIFAR-10 and CIFAR-100, keep 0.2 and 0.1.

    TDDS's (T, K) for CIFAR-100 is not published: every candidate is tried, keep 0.1 at batch 32 and keep 0.2 at batch 64.
    """
    if scale == "small":
        wanted = ("random", "el2n", "moderate", "ccs", "tdds")
        beside = _by_place(n for n in published_table("table6") if n.dataset == "cifar100" and n.batch_size == _SMALL_BATCH)
        return [
            _small("table6", "cifar100", keep, method, published=beside.get((method, keep)))
            for keep in (0.1, 0.3)
            for method in wanted
        ]
    found = [_from_number(number) for number in published_table("table6")]
    smallest = {("0.1", "32"), ("0.2", "64")}
    tried = [
        e for e in found
        if e.cell.data == "cifar100" and e.cell.method == "tdds" and (e.labels["keep"], e.labels["batch"]) in smallest
    ]  # fmt: skip
    return found + [_with_setting(entry, epochs, window) for entry in tried for epochs, window in CANDIDATES]


def table7(scale: str) -> list[Entry]:
    """Coresets of a ResNet-18 surrogate for other architectures, CIFAR-10."""
    return _cross("table7", "cifar10", scale)


def table8(scale: str) -> list[Entry]:
    """As table 7, CIFAR-100."""
    return _cross("table8", "cifar100", scale)


def table9(scale: str) -> list[Entry]:
    """Image corruption, CIFAR-100: 20 % of the training images, five kinds."""
    return _perturbed("table9", scale, corrupt=CORRUPTION)


def table10(scale: str) -> list[Entry]:
    """Label noise, CIFAR-100: 20 % symmetric."""
    return _perturbed("table10", scale, mislabel=NOISE)


def figure7(scale: str) -> list[Entry]:
    """The (T, K) grid of TDDS on CIFAR-10, one recording for all of it; the miniature adds CIFAR-100."""
    small = scale == "small"
    sets = ("cifar10", "cifar100") if small else ("cifar10",)
    lengths = (5, 10, 20, 30) if small else tuple(range(10, 101, 10))
    windows = (5, 10) if small else (5, 10, 15, 20)
    keeps = (0.1,) if small else (0.7, 0.5, 0.3, 0.2, 0.1)
    made = []
    for data, keep in itertools.product(sets, keeps):
        base = (_small if small else _plain)("figure7", data, keep, "tdds")
        made += [_with_setting(base, t, k) for t in lengths for k in windows if k <= t]
        # Beside the grid: what all of it is measured by, and in the miniature the setting derived from the recording.
        beside = ("tdds:at=auto", "random") if small else ("random",)
        made += [replace(base, cell=replace(base.cell, method=m), labels={**base.labels, "method": m}) for m in beside]
    return made


def imagenet_resnet34(scale: str) -> list[Entry]:
    """ImageNet-1k, ResNet-34, keep 0.7, 0.5 and 0.3, with TDDS's published (T, K)."""
    surrogate = TrainSpec("resnet34_imagenet", epochs=90, batch_size=256, nesterov=False, weight_decay=1e-4)
    settings = {0.7: (20, 10), 0.5: (20, 10), 0.3: (30, 20)}
    return _imagenet("imagenet-resnet34", surrogate, replace(surrogate, epochs=60), settings, scale)


def imagenet_swin(scale: str) -> list[Entry]:
    """ImageNet-1k, Swin-T, keep 0.75, 0.7, 0.6 and 0.5, with TDDS's published (T, K)."""
    spec = TrainSpec(
        "swin_t", epochs=300, batch_size=1024, lr=1e-3, weight_decay=0.05, optimizer="adamw", warmup_epochs=20,
        label_smoothing=0.1, clip_norm=5.0, precision="bf16",
    )  # fmt: skip
    settings = {0.75: (200, 10), 0.7: (180, 10), 0.6: (150, 10), 0.5: (100, 10)}
    return _imagenet("imagenet-swin", spec, spec, settings, scale)


def auto(scale: str) -> list[Entry]:
    """The judgement of `auto` (decision 0022): data that its making did not see, most wanted first; nothing published."""
    if scale == "full":
        noisy = [("cifar100", "noise", keep, 128) for keep in (0.1, 0.3, 0.5)]
        clean = [("cifar100", "", 0.1, 32), ("cifar100", "", 0.2, 64), ("cifar10", "", 0.1, 32)]
        return [
            _changed(_plain("auto", data, keep, method, batch=batch), change)
            for data, change, keep, batch in noisy + clean
            for method in ("auto", "random", "tdds")
        ]
    rivals = ("random", "tdds", "ccs", "dual_beta")
    made = [
        _changed(_small("auto", data, keep, method), change)
        for data, change in _UNSEEN
        for keep in (0.1, 0.3)
        for method in (*rivals, *([FILTERED] if change == "noise" else []), "auto")
    ]
    made += [_small("auto", "cifar100", keep, method, model="tiny") for keep in (0.1, 0.3) for method in (*rivals, "auto")]
    return made + [_digits(keep, method) for keep in (0.1, 0.3) for method in (*rivals, "auto")]


FILTERED = "auto:late=false:weighted=false"
"""Cut suspects, then draw at random."""
_UNSEEN = (
    ("cifar100", "noise"), ("cifar100", ""), ("cifar10", "noise"), ("cifar100", "corruption"), ("cifar10", "corruption"),
)  # fmt: skip
_CHANGES: dict[str, dict[str, Any]] = {"": {}, "noise": {"mislabel": NOISE}, "corruption": {"corrupt": CORRUPTION}}


def _changed(entry: Entry, change: str) -> Entry:
    """Return the entry on data with this change, or none, and a label that says so."""
    labels = {"data": entry.labels["data"], "change": change or "none", **entry.labels}
    return replace(entry, cell=replace(entry.cell, **_CHANGES[change]), labels=labels)


def _digits(keep: float, method: str) -> Entry:
    """Return an entry of the digits' own recipe, with about as many steps at every kept share."""
    base = recipe("digits")
    epochs = round(base.coreset.epochs * 0.1 / keep)
    return _entry("auto", Cell("digits", method, keep, base.surrogate, replace(base.coreset, epochs=epochs)), None)


PICTURE = "figure8"
"""The target that is no table: a picture of the corrupted images."""
TARGETS: dict[str, Callable[[str], list[Entry]]] = {
    "table6": table6, "table7": table7, "table8": table8, "table9": table9, "table10": table10, "figure7": figure7,
    "imagenet-resnet34": imagenet_resnet34, "imagenet-swin": imagenet_swin, "auto": auto,
}  # fmt: skip
"""What can be reproduced, by name."""


def _imagenet(
    target: str, surrogate: TrainSpec, coreset: TrainSpec, settings: dict[float, tuple[int, int]], scale: str
) -> list[Entry]:
    """Return Random and TDDS for every kept share; nothing at small scale, for there is no small ImageNet.

    TDDS's own ImageNet recipe is not published. ResNet-34 has batch, rate and decay of CCS's, for the 90 and 60 epochs
    that a later paper (RAM-APL, ICML 2025) tells of TDDS, where CCS has 60 and 300 000 steps; Swin-T is Dyn-Unc's without
    its AutoAugment and stochastic depth. Cosines fall to 0, where those two end at 1e-4 and 1e-5. No number stands beside
    ours.
    """
    if scale != "full":
        return []
    remark = "the study's own recipe is not published"
    made = []
    for keep, (epochs, window) in settings.items():
        for method in ("random", f"tdds:at={epochs}:window={window}"):
            made.append(replace(_entry(target, Cell("imagenet", method, keep, surrogate, coreset), None), remark=remark))
    return made


def _plain(
    target: str, data: str, keep: float, method: str, *, model: str = "resnet18", batch: int = 128,
    corrupt: str | None = None, mislabel: str | None = None, published: PublishedNumber | None = None,
) -> Entry:  # fmt: skip
    """Return an entry of the published recipe."""
    coreset = replace(_CORESET, model=model, batch_size=batch)
    cell = Cell(data, method, keep, _SURROGATE, coreset, corrupt=corrupt, mislabel=mislabel)
    return _entry(target, cell, published)


def _small(
    target: str, data: str, keep: float, method: str, *, model: str = "small", corrupt: str | None = None,
    mislabel: str | None = None, published: PublishedNumber | None = None,
) -> Entry:  # fmt: skip
    """Return an entry of the miniature: as many epochs as give the budget of steps, one at least."""
    steps = -(-round(_TRAINING_IMAGES * keep) // _SMALL_BATCH)
    coreset = TrainSpec(model, epochs=max(1, round(_SMALL_STEPS / steps)), batch_size=_SMALL_BATCH, precision="bf16")
    cell = Cell(data, method, keep, _SMALL_SURROGATE, coreset, corrupt=corrupt, mislabel=mislabel)
    return _entry(target, cell, published)


def _entry(target: str, cell: Cell, published: PublishedNumber | None) -> Entry:
    labels = {
        "data": cell.data, "model": cell.coreset.model, "keep": f"{cell.keep:g}", "batch": str(cell.coreset.batch_size),
        "method": cell.method,
    }  # fmt: skip
    return Entry(target, cell, labels, published, "" if published is None else published.remark)


def _with_setting(entry: Entry, epochs: int, window: int) -> Entry:
    """Return TDDS's entry with (T, K) given instead of picked; no number is published for it."""
    cell = replace(entry.cell, method=f"tdds:at={epochs}:window={window}")
    return Entry(entry.target, cell, {**entry.labels, "T": str(epochs), "K": str(window)}, None)


def _from_number(number: PublishedNumber, corrupt: str | None = None, mislabel: str | None = None) -> Entry:
    """Return the entry of the published recipe for a published number."""
    return _plain(
        number.table, number.dataset, number.keep, number.method, model=number.model or "resnet18",
        batch=number.batch_size or 128, corrupt=corrupt, mislabel=mislabel, published=number,
    )  # fmt: skip


def _cross(table: str, data: str, scale: str) -> list[Entry]:
    if scale == "full":
        return [_from_number(number) for number in published_table(table)]
    beside = _by_place(number for number in published_table(table) if number.model == _SMALLEST)
    return [
        _small(table, data, keep, method, model="tiny", published=beside.get((method, keep)))
        for keep in (0.1, 0.3)
        for method in ("random", "el2n", "tdds")
    ]


def _perturbed(table: str, scale: str, corrupt: str | None = None, mislabel: str | None = None) -> list[Entry]:
    numbers = published_table(table)
    if scale == "full":
        return [_from_number(number, corrupt, mislabel) for number in numbers]
    beside = _by_place(numbers)
    return [
        _small(table, "cifar100", keep, m, corrupt=corrupt, mislabel=mislabel, published=beside.get((m, keep)))
        for keep in (0.1, 0.3)
        for m in ("random", "el2n", "tdds")
    ]


def _by_place(numbers: Iterable[PublishedNumber]) -> dict[tuple[str, float], PublishedNumber]:
    """Return numbers of one data set and recipe by method and kept share."""
    return {(number.method, round(number.keep, 6)): number for number in numbers}


__all__ = ["CANDIDATES", "PICTURE", "SCALES", "TARGETS", "entries"]

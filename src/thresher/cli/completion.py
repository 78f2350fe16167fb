"""Shell completion of methods, data sets, models and targets. The names are hard-coded, so that completion is fast.

The names of data sets, models, targets and selectors are repeated here, since the modules that define them import torch or
NumPy; a test compares them. Scorers and selectors of installed packages are known by their entry points, without importing
any. Shells ask through `_THRESHER_COMPLETE` (click's mechanism, see docs/cli.md).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from functools import cache
from typing import Any

import click
from click.shell_completion import CompletionItem

DATA_SETS = ("digits", "cifar10", "cifar100", "imagenet", "folder")
SELECTORS = ("beta", "learnable", "near_median", "stratified", "top", "uniform")
MODELS = (
    "tiny", "small", "resnet18", "resnet34", "resnet50", "resnet101", "vgg16", "mobilenet_v2", "shufflenet_v2",
    "shufflenet_v2_x0_5", "shufflenet_v2_x1_5", "shufflenet_v2_x2_0", "shufflenet_g2", "shufflenet_g3", "resnet34_imagenet",
    "resnet50_imagenet", "swin_t",
)  # fmt: skip
TARGETS = (
    "table6", "table7", "table8", "table9", "table10", "figure7", "figure8", "imagenet-resnet34", "imagenet-swin", "auto",
    "all",
)  # fmt: skip

Complete = Callable[[click.Context, click.Parameter, str], list[CompletionItem]]


def among(*names: str) -> Complete:
    """Return a function that completes one of these names."""

    def complete(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        return _beginning(incomplete, ((name, None) for name in names))

    return complete


def methods(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Complete the last of several methods, separated by commas, to one that is not there yet.

    >>> [item.value for item in methods(None, None, "random,dua")]
    ['random,dual', 'random,dual_beta']
    """
    there, comma, last = incomplete.rpartition(",")
    named = {label.partition(":")[0] for label in there.split(",")}
    left = ((name, about) for name, about in _known() if name not in named)
    return _beginning(last, left, there + comma)


def method(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Complete one method, or a selector alone."""
    rules = [*((name, "a selector") for name in SELECTORS), *_brought("selectors", SELECTORS)]
    return _beginning(incomplete, [*_known(), *rules])


def _known() -> Iterator[tuple[str, str]]:
    """Yield the methods with descriptions, then the scorers of installed packages with their packages."""
    from thresher.literature import METHODS

    yield from ((name, found.title) for name, found in METHODS.items())
    yield from _brought("scorers", METHODS)


def _brought(kind: str, ours: Collection[str]) -> Iterator[tuple[str, str]]:
    """Yield the scorers or selectors of installed packages with their packages, but those named as one of `ours`, which are
    refused."""
    brought = {point.name: point for point in _installed().select(group=f"thresher.{kind}")}
    for name, point in sorted(brought.items()):
        if name not in ours:
            yield name, f"from the package {point.dist.name}" if point.dist else "from a package"


@cache
def _installed() -> Any:  # of another type in Python 3.11 than later
    """Return the entry points of all installed packages, which takes a tenth of a second to read; `select` finds a group."""
    from importlib.metadata import entry_points

    return entry_points()


def _beginning(start: str, names: Iterable[tuple[str, str | None]], before: str = "") -> list[CompletionItem]:
    return [CompletionItem(before + name, help=about) for name, about in names if name.startswith(start)]

"""Shell completion of methods, data sets, models and targets. The names are hard-coded, so that completion is fast.

The names of data sets, models and targets are repeated here, since the modules that define them import torch; a test
compares them. Scorers of installed packages are known by their entry points, without importing any. Shells ask through
`_THRESHER_COMPLETE` (click's mechanism, see docs/cli.md).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import click
from click.shell_completion import CompletionItem

DATA_SETS = ("digits", "cifar10", "cifar100", "imagenet", "folder")
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
    """Complete one method."""
    return _beginning(incomplete, _known())


def _known() -> Iterator[tuple[str, str]]:
    """Yield the methods with descriptions, then the scorers of installed packages with their packages."""
    from importlib.metadata import entry_points

    from thresher.literature import METHODS

    yield from ((name, found.title) for name, found in METHODS.items())
    brought = {point.name: point for point in entry_points(group="thresher.scorers")}
    for name, point in sorted(brought.items()):
        if name not in METHODS:  # which is refused
            yield name, f"from the package {point.dist.name}" if point.dist else "from a package"


def _beginning(start: str, names: Iterable[tuple[str, str | None]], before: str = "") -> list[CompletionItem]:
    return [CompletionItem(before + name, help=about) for name, about in names if name.startswith(start)]

"""Thresher keeps the training samples that matter.

It watches one training run, scores every sample by its training dynamics, keeps a coreset, retrains on it and shows what
that gained. Names are loaded on first use, so `import thresher` costs nothing and scoring needs no torch.

>>> import thresher
>>> sorted(thresher.__all__)[:3]
['Coreset', 'Frame', 'Pool']
"""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

from thresher.version import __version__ as __version__

if TYPE_CHECKING:
    from thresher.coreset import Coreset
    from thresher.recorder import Recorder
    from thresher.replay import replay
    from thresher.selection import select
    from thresher.trajectory.reader import Trajectory
    from thresher.trajectory.writer import TrajectoryWriter
    from thresher.types import Frame, Pool, Scores

_HOMES = {
    "Coreset": "thresher.coreset",
    "Frame": "thresher.types",
    "Pool": "thresher.types",
    "Recorder": "thresher.recorder",
    "Scores": "thresher.types",
    "Trajectory": "thresher.trajectory.reader",
    "TrajectoryWriter": "thresher.trajectory.writer",
    "replay": "thresher.replay",
    "select": "thresher.selection",
}

__all__ = [
    "Coreset",
    "Frame",
    "Pool",
    "Recorder",
    "Scores",
    "Trajectory",
    "TrajectoryWriter",
    "replay",
    "select",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'thresher' has no attribute {name!r}")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    loaded = (name for name, value in globals().items() if name.startswith("__") or _is_room(value))
    return sorted({*__all__, *loaded})


def _is_room(value: object) -> bool:
    """Return whether this is one of the package's own modules."""
    return isinstance(value, ModuleType) and value.__name__.startswith("thresher.")


class _Package(ModuleType):
    """This package. Whoever imports its module `thresher.replay` first sets that in the place of the function `replay`."""

    def __setattr__(self, name: str, value: Any) -> None:
        taken = name in _HOMES and isinstance(value, ModuleType)
        super().__setattr__(name, getattr(value, name) if taken else value)


sys.modules[__name__].__class__ = _Package

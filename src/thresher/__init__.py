"""Thresher keeps the training samples that matter.

It watches one training run, scores every sample by its training dynamics, keeps a coreset, retrains on it and shows what
that gained. Names are loaded on first use, so `import thresher` costs nothing and scoring needs no torch.

>>> import thresher
>>> sorted(thresher.__all__)[:3]
['Coreset', 'Frame', 'Pool']
"""

from __future__ import annotations

from importlib import import_module
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

"""Some samples of a recording as a separate source: what replay reads again if a few scores are not settled yet."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from thresher.types import Floats, Frame, Ids


class Recording(Protocol):
    """The recording that a part is taken from."""

    @property
    def epochs(self) -> int: ...
    @property
    def num_classes(self) -> int | None: ...
    @property
    def signals(self) -> tuple[str, ...]: ...
    @property
    def targets(self) -> NDArray[np.int64] | None: ...
    @property
    def info(self) -> Mapping[str, Any]: ...
    def frames(self, names: Sequence[str], start: int, stop: int) -> Iterator[Frame]: ...


class Part:
    """The samples `ids` (sorted, unique) of a recording, renumbered from 0; it has no features."""

    features: Floats | None = None

    def __init__(self, whole: Recording, ids: Ids) -> None:
        self._whole, self._ids = whole, ids
        self.n, self.epochs, self.num_classes = len(ids), whole.epochs, whole.num_classes
        self.signals, self.info = whole.signals, whole.info
        self.targets = None if whole.targets is None else whole.targets[ids]

    def frames(self, names: Sequence[str], start: int, stop: int) -> Iterator[Frame]:
        """Yield the frames of epochs `start` to `stop - 1`, these samples only."""
        for frame in self._whole.frames(names, start, stop):
            _, mine, theirs = np.intersect1d(self._ids, frame.ids, assume_unique=True, return_indices=True)
            values = {name: value[theirs] for name, value in frame.values.items()}
            yield Frame(frame.epoch, mine.astype(np.int64), values, self.n)

    def only(self, ids: Ids) -> Part:
        """Return some samples of this part."""
        return Part(self, ids)

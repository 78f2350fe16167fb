"""Where the cells of a study run, and the results that are there: they are compared with the data, if these are at hand.

A cell only names its data; a result carries the fingerprints of those it was trained and measured on.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from thresher.boards.cells import Cell
from thresher.data import Data
from thresher.engines import Engine, make_engine
from thresher.errors import CorruptFileError, ThresherError
from thresher.experiments.jobs import cached_data
from thresher.experiments.rundir import read_json, refuse_other_data

Origin = tuple[str | None, ...]
PUBLIC = ("digits", "cifar10", "cifar100")
"""Data sets whose files are the same everywhere: they are not loaded just to compare results with them."""


@dataclass(frozen=True)
class Place:
    """Where cells run: `root` holds everything that is written, `data_dir` the data sets.

    Trainings run as `engine` says, `processes` at a time (None: as many as the engine has workers). Ray's nodes must see
    `root` and `data_dir` under the same paths; `address` is the cluster's. With `eval_every` > 0 the test set is measured
    every so many epochs, too (`Job`).
    """

    root: Path
    data_dir: Path | None = None
    device: str = "cpu"
    processes: int | None = 1
    threads: int | None = None
    engine: str = "processes"
    address: str | None = None
    eval_every: int = 0
    _known: dict[Origin, tuple[str, str]] = field(default_factory=dict, init=False, repr=False, compare=False)
    _unread: dict[Origin, str] = field(default_factory=dict, init=False, repr=False, compare=False)

    def result(self, cell: Cell) -> Path:
        """Return the file of a cell's result."""
        return self.root / "results" / f"{cell.digest}.json"

    def coreset(self, cell: Cell) -> Path:
        """Return the file of a cell's coreset."""
        return self.root / "coresets" / f"{cell.digest}.parquet"

    def failure(self, cell: Cell) -> Path:
        """Return the file that says why a cell failed."""
        return self.root / "failed" / f"{cell.digest}.json"

    def make_engine(self) -> Engine:
        """Return what runs the trainings, each with a GPU of its own where they need one of a cluster's."""
        gpus = 1 if self.engine == "ray" and self.device.startswith("cuda") else 0
        return make_engine(self.engine, self.processes, self.address, gpus)

    @property
    def training_device(self) -> str:
        """The device to pass to a training: Ray gives each any one GPU and hides the others from it."""
        return "cuda" if self.engine == "ray" and self.device.startswith("cuda") else self.device

    def load(self, cell: Cell) -> Data:
        """Return the data a cell trains on, loaded once for all that follow; remembers their fingerprints."""
        root = str(self.data_dir) if self.data_dir else None
        data = cached_data(cell.data, root, cell.corrupt, cell.mislabel, cell.holdout)
        key = tuple(cell.origin.values())
        self._known[key] = (data.fingerprint, data.test_fingerprint)
        self._unread.pop(key, None)
        return data

    def fingerprints(self, cell: Cell) -> tuple[str, str] | None:
        """Return the fingerprints of the training and the test samples at hand, None where they are not known.

        Public data are known once they have been loaded for a training; others are loaded to find out.
        """
        key = tuple(cell.origin.values())
        if key not in self._known and key not in self._unread and cell.data not in PUBLIC:
            try:
                self.load(cell)
            except ThresherError as error:
                self._unread[key] = str(error)
        return self._known.get(key)

    def unread(self, cell: Cell) -> str:
        """Return why results could not be compared with the cell's data, "" if nothing prevented it."""
        return self._unread.get(tuple(cell.origin.values()), "")


def read_result(place: Place, cell: Cell) -> dict[str, Any] | None:
    """Return a cell's result, None where it has none.

    Raises CorruptFileError for a file that is not this cell's result, FingerprintError for a result of other data than those
    at hand.
    """
    path = place.result(cell)
    if not path.exists():
        return None
    found = read_json(path)
    accuracy, steps = found.get("test_accuracy"), found.get("steps")
    whole = isinstance(accuracy, float) and 0 <= accuracy <= 1 and type(steps) is int and steps >= 0
    if not whole or found.get("cell") != cell.to_json():
        raise CorruptFileError(
            f"Expected the result of {cell.method} at keep={cell.keep:g} on {cell.data} (seed {cell.seed}) in {path}, but "
            "it holds something else. Move it away and run again to recreate it."
        )
    known = place.fingerprints(cell)
    if known is not None:
        what = f"the result of {cell.method} at keep={cell.keep:g} (seed {cell.seed}) on the {cell.data} at hand in {path}"
        refuse_other_data(what, found, *known)
    return dict(found)

"""A run, opened for looking: what its stages left there, read once and kept as arrays."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from thresher.coreset import Coreset
from thresher.data import NAMES, Data, load, split_name
from thresher.errors import FingerprintError, InputError, MissingFileError, ThresherError, one_line
from thresher.experiments.dynamics import Means, means, trajectories
from thresher.experiments.rundir import read_json
from thresher.ranking.blocks import Block
from thresher.ranking.order import Ranking
from thresher.report.content import ImageOf
from thresher.score_table import read_scores
from thresher.trajectory.layout import MANIFEST
from thresher.trajectory.reader import Trajectory
from thresher.types import Ids, Scores

_HELD = 1 << 25
"""Sample-epochs whose trajectories are kept in memory (128 MB); beyond, each is read when it is asked for."""
SELECTIONS = "selections"


@dataclass(frozen=True, eq=False)
class OpenRun:
    """What a run holds. `columns` are its scores and, after them, what the recording alone says of every sample; a random
    draw is the last of them, since the first is what is shown at first.

    `image` is None where the pictures are not at hand; `class_names` are empty then.
    """

    path: Path
    name: str
    trajectory: Trajectory
    means: Means
    targets: NDArray[np.int64]
    class_names: tuple[str, ...]
    columns: Mapping[str, Scores]
    image: ImageOf | None
    fingerprint: str | None
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _loaded: dict[Path, tuple[int, Coreset | str]] = field(default_factory=dict)
    _held: list[NDArray[np.float32]] = field(default_factory=list)

    @property
    def n(self) -> int:
        """Number of samples."""
        return self.trajectory.n

    def ranking(self, column: str, end: str) -> Ids:
        """Return all ids, hardest or easiest first, in the very order in which `thresher select` takes them.

        Samples without a score come last.
        """
        scores = self.columns[column]
        block = Block(0, scores.values, scores.hard_end)
        order = Ranking("hardest" if end == "hard" else "easiest")
        ids = np.arange(self.n)
        found: Ids = np.lexsort((order.hashes(block, ids), order.keys(block))).astype(np.int64)
        return found

    def trajectory_of(self, sample_id: int) -> list[float | None]:
        """Return the target probability of one sample by epoch, None where it was not seen."""
        if self.n * self.trajectory.epochs > _HELD:
            row = trajectories(self.trajectory, np.array([sample_id]))[0]
        else:
            with self._lock:  # a browser asks in several threads
                if not self._held:
                    self._held.append(trajectories(self.trajectory, np.arange(self.n)))
            row = self._held[0][sample_id]
        return [None if np.isnan(value) else round(float(value), 4) for value in row]

    def coresets(self) -> dict[str, Coreset]:
        """Return the coresets of the run and those that were exported from here, by file name, as they are now."""
        return {name: coreset for name, coreset in self._files().items() if isinstance(coreset, Coreset)}

    def left_out(self) -> list[str]:
        """Return why files among the coresets are not shown: damaged, or of other data."""
        return [why for why in self._files().values() if isinstance(why, str)]

    def _files(self) -> dict[str, Coreset | str]:
        """Return the coreset in each file, or why there is none."""
        found = {}
        for folder in ("coresets", SELECTIONS):
            for path in sorted((self.path / folder).glob("*.parquet")):
                with suppress(FileNotFoundError):  # it was there a moment ago
                    stamp = path.stat().st_mtime_ns
                    told, held = self._loaded.get(path, (None, ""))
                    if told != stamp:
                        held = self._read(path)
                        self._loaded[path] = stamp, held
                    found[path.stem if folder == "coresets" else f"{SELECTIONS}/{path.stem}"] = held
        return found

    def _read(self, path: Path) -> Coreset | str:
        try:
            return Coreset.load(path, fingerprint=self.fingerprint, n=self.n)
        except ThresherError as error:
            return one_line(error)


def open_run(path: Path, data_dir: Path | None = None) -> tuple[OpenRun, str]:
    """Open the run directory `path`; also return what a person should know, "" where everything is there.

    Pictures need the data set: it is loaded under the name that the run remembers, from `data_dir`. Raises MissingFileError
    where there is no recording, FingerprintError where `data_dir` holds other data, CorruptFileError for damaged files.
    """
    store = path / "trajectory"
    if not (store / MANIFEST).is_file():
        raise MissingFileError(
            f"Expected a run with a recording, but {store} holds none. Make one with `thresher run` or `thresher record`."
        )
    trajectory = Trajectory.open(store)
    if not trajectory.epochs or "target_prob" not in trajectory.signals:
        raise InputError(
            f"Expected recorded epochs with the signal target_prob in {store}, but it has {trajectory.epochs} epochs of "
            f"{', '.join(trajectory.signals)}. Record with `thresher record`, or name that signal to the TrajectoryWriter."
        )
    found = means(trajectory)
    data, notice = _data(path, trajectory, data_dir)
    targets = trajectory.targets if data is None else data.train.targets
    if targets is None:
        targets = np.zeros(trajectory.n, dtype=np.int64)
    name = str(trajectory.info.get("data", path.name))
    fingerprint = _fingerprint(path, trajectory)
    run = OpenRun(
        path, name, trajectory, found, targets, () if data is None else data.class_names, _columns(path, found, fingerprint),
        None if data is None else data.train.image, fingerprint,
    )  # fmt: skip
    if any(len(scores.values) != run.n for scores in run.columns.values()):
        raise FingerprintError(
            f"Expected scores of {run.n} samples in {path / 'scores.parquet'}, but it holds another number. "
            "Score this recording again."
        )
    return run, notice


def _columns(path: Path, found: Means, fingerprint: str | None) -> dict[str, Scores]:
    file = path / "scores.parquet"
    table = read_scores(file) if file.is_file() else None
    of = None if table is None else table.info.get("fingerprint")
    if fingerprint is not None and of not in (None, fingerprint):
        raise FingerprintError(
            f"Expected scores of the data set that {path} was recorded on (fingerprint {fingerprint[:16]}), but {file} is "
            f"of another one ({str(of)[:16]}). Score this recording again."
        )
    scores = {} if table is None else dict(table.columns)
    plain: dict[str, Any] = {
        "mean target probability": (found.target_prob, "low"),
        "variability": (found.variability, "high"),
        "mean error norm": (found.error_norm, "high"),
        "mean logit margin": (found.logit_margin, "low"),
    }
    for name, (values, end) in plain.items():
        if values is not None and name not in scores:
            scores[name] = Scores(values, end, {"scorer": name, "at": found.epochs})
    return dict(sorted(scores.items(), key=lambda item: item[1].source.get("scorer") == "random"))


def _fingerprint(path: Path, trajectory: Trajectory) -> str | None:
    told = trajectory.info.get("fingerprint")
    if told is None and (path / "spec.json").is_file():
        told = read_json(path / "spec.json").get("fingerprint")
    return None if told is None else str(told)


def _data(path: Path, trajectory: Trajectory, data_dir: Path | None) -> tuple[Data | None, str]:
    """Return the data set of a run, or None and why it is not at hand."""
    name = trajectory.info.get("data")
    if not isinstance(name, str):
        return None, "The recording does not say which data set it is of: no pictures."
    kind, changes = split_name(name)
    if data_dir is not None and kind.partition(":")[0] not in NAMES:  # of somebody's own loop, which named it freely
        kind = "folder"
    try:
        data = load(
            kind, data_dir, corrupt=changes.get("corrupt"), mislabel=changes.get("mislabel"), holdout=changes.get("holdout")
        )  # fmt: skip
    except (MissingFileError, InputError, KeyError) as error:  # the rest can be looked at without
        return None, f"No pictures: {error} Name the folder with --data-dir."
    told = _fingerprint(path, trajectory)
    if told is not None and data.fingerprint != told:
        raise FingerprintError(
            f"Expected the data set that {path} was recorded on (fingerprint {told[:16]}), but found "
            f"{data.fingerprint[:16]}. Give the --data-dir it was recorded with."
        )
    if len(data.train) != trajectory.n:  # a recording without a fingerprint, of a part of it or of a changed one
        return None, (
            f"No pictures: the recording is of {trajectory.n} samples, but {name} has {len(data.train)} training samples. "
            "Name the folder of the data set that was recorded with --data-dir."
        )
    return data, ""

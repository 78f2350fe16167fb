"""A coreset training as a job: JSON-ready, with the name of its result file.

A result is one file under the digest of everything that determines it (data fingerprint, recipe, seed, kept ids), so jobs
that have run are skipped, and results of several machines are merged by copying.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from thresher.data import pathless
from thresher.errors import CorruptFileError
from thresher.experiments.rundir import digest_of
from thresher.types import Floats

_CHANGES = ("corrupt", "mislabel", "holdout")
_UNTOLD = ("data_dir", "coreset", "scores", "eval_every")  # paths, and what changes no training


@dataclass(frozen=True)
class Job:
    """One training. `coreset` None trains on everything; `scale_column` of the table `scores` scales the loss.
    `corrupt`, `mislabel` and `holdout` change the data as `thresher.data.load` says. `dynamic` names a rule that draws each
    epoch's samples (`thresher.dynamic.parse_rule`), instead of a coreset.

    `eval_every` > 0 also measures the test set after every so many epochs, so that the result has the best accuracy, too;
    this changes neither the training nor the result's name.

    Files are named with digests of their contents, so that a result is the same wherever they lie. `fingerprint` is that of
    the training samples, `test_fingerprint` that of the test samples, None where it is not known.
    """

    method: str
    keep: float
    kept: int
    data: str
    data_dir: str | None
    fingerprint: str
    train: dict[str, Any]
    seed: int
    coreset: str | None = None
    coreset_digest: str | None = None
    scores: str | None = None
    scale_column: str | None = None
    scale_digest: str | None = None
    corrupt: str | None = None
    mislabel: str | None = None
    holdout: str | None = None
    dynamic: str | None = None
    test_fingerprint: str | None = None
    eval_every: int = 0

    @property
    def work(self) -> int:
        """How many samples go through the network, counted again in every epoch."""
        return self.kept * int(self.train["epochs"])

    @property
    def digest(self) -> str:
        """16 hexadecimal digits naming what is computed; where files lie does not matter."""
        identity = self.told()
        if self.dynamic is None:  # earlier versions had no such field
            del identity["dynamic"]
        # the fingerprint says how the data was changed; that of the test samples is compared with the result's instead,
        # since results of earlier versions do not have it
        for irrelevant in ("method", "keep", "scale_column", "test_fingerprint", *_CHANGES):
            del identity[irrelevant]
        identity["data"] = pathless(self.data)
        return digest_of(identity)

    def told(self) -> dict[str, Any]:
        """Return the fields that a result's file repeats of its job: what determines the result, but no paths."""
        return {name: value for name, value in asdict(self).items() if name not in _UNTOLD}

    def result_path(self, results: Path) -> Path:
        """Where the result goes; the method is in the name for people who look into the folder."""
        return results / f"{self.method.replace(':', '_').replace('/', '_')}-{self.keep:g}-{self.seed}-{self.digest}.json"


def values_digest(values: Floats) -> str:
    """Return 16 hexadecimal digits that name a score column's contents."""
    return hashlib.sha256(values.astype("<f4").tobytes()).hexdigest()[:16]


@dataclass(frozen=True)
class Task:
    """A job, the file its result goes to, and further facts (JSON-ready) to write there with it."""

    job: Job
    path: Path
    about: Mapping[str, Any] = field(default_factory=dict)

    def refuse_other(self, result: Mapping[str, Any]) -> None:
        """Raise CorruptFileError if the file is named as the job's result, but holds that of another job.

        A board's files are named by their cells instead, and compared by those who read them. Results of earlier versions,
        which repeat fewer fields of their jobs, are accepted.
        """
        told = {f.name: result[f.name] for f in fields(Job) if f.name in result}
        job = self.job
        if not self.path.stem.endswith(job.digest) or not job.told().keys() <= told.keys():
            return
        found = Job(**{"data_dir": None, **told, "data": str(told["data"])})
        if found.digest != job.digest:
            raise CorruptFileError(
                f"Expected in {self.path} the result of {job.method} at keep={job.keep:g} with seed {job.seed}, but it "
                f"holds another training's: {found.method} at keep={found.keep:g} with seed {found.seed}. "
                "Delete it and run the same command again."
            )

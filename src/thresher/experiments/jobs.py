"""Coreset trainings as jobs: a job is JSON-ready, names its result file, and runs anywhere.

A result is one file under the digest of everything that determines it (data fingerprint, recipe, seed, kept ids), so jobs
that have run are skipped, and results of several machines are merged by copying.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch

from thresher.coreset import Coreset
from thresher.data import Data, load
from thresher.dynamic import DynamicSampler, parse_rule
from thresher.engines import engine_of, make_engine
from thresher.errors import FingerprintError
from thresher.experiments.rundir import digest_of, environment, locked, read_result
from thresher.files import write_json
from thresher.ranks import Alone, current, together
from thresher.recorder import Recorder
from thresher.score_table import read_scores
from thresher.train.loop import fit, normalised
from thresher.train.spec import TrainSpec
from thresher.types import Floats

_CHANGES = ("corrupt", "mislabel", "holdout")


@dataclass(frozen=True)
class Job:
    """One training. `coreset` None trains on everything; `scale_column` of the table `scores` scales the loss.
    `corrupt`, `mislabel` and `holdout` change the data as `thresher.data.load` says. `dynamic` names a rule that draws each
    epoch's samples (`thresher.dynamic.parse_rule`), instead of a coreset.

    Files are named with digests of their contents, so that a result is the same wherever they lie.
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

    @property
    def digest(self) -> str:
        """16 hexadecimal digits naming what is computed; where files lie does not matter."""
        identity = asdict(self)
        if self.dynamic is None:  # as before there was such a thing
            del identity["dynamic"]
        # the fingerprint says how the data was changed
        for irrelevant in ("method", "keep", "data_dir", "coreset", "scores", "scale_column", *_CHANGES):
            del identity[irrelevant]
        identity["data"] = self.data.partition(":")[0]  # folder:PATH is folder, wherever it lies
        return digest_of(identity)

    def result_path(self, results: Path) -> Path:
        """Where the result goes; the method is in the name for people who look into the folder."""
        return results / f"{self.method.replace(':', '_').replace('/', '_')}-{self.keep:g}-{self.seed}-{self.digest}.json"


def values_digest(values: Floats) -> str:
    """Return 16 hexadecimal digits that name a score column's contents."""
    return hashlib.sha256(values.astype("<f4").tobytes()).hexdigest()[:16]


@lru_cache(maxsize=2)
def cached_data(
    name: str, root: str | None, corrupt: str | None = None, mislabel: str | None = None, holdout: str | None = None
) -> Data:
    """Load a data set once per process."""
    return load(name, Path(root) if root else None, corrupt=corrupt, mislabel=mislabel, holdout=holdout)


@dataclass(frozen=True)
class Task:
    """A job, the file its result goes to, and further facts (JSON-ready) to write there with it."""

    job: Job
    path: Path
    about: Mapping[str, Any] = field(default_factory=dict)


def run_task(task: Task, device: str = "cpu", threads: int | None = None) -> dict[str, Any]:
    """Train, write the result file and return the result; a result that is there already is returned as it is.

    Raises BusyError while another process trains for the same file, FingerprintError where data or scores are not those
    the job was made for, and what training raises.
    """
    with locked(task.path.with_suffix(".lock")):
        if task.path.exists():
            return read_result(task.path)
        result = {**train(task.job, device, threads), **task.about}
        write_json(task.path, result)
        return result


def train(job: Job, device: str = "cpu", threads: int | None = None) -> dict[str, Any]:
    """Run the training of a job and return its result: what determines it, accuracy, cost and environment."""
    data = cached_data(job.data, job.data_dir, job.corrupt, job.mislabel, job.holdout)
    if data.fingerprint != job.fingerprint:
        raise FingerprintError(
            f"Expected the data set {job.data} that this training was planned for (fingerprint {job.fingerprint[:16]}), "
            f"but found {data.fingerprint[:16]}. Give the --data-dir it was planned with."
        )
    ids = None
    if job.coreset is not None:
        coreset = Coreset.load(Path(job.coreset), fingerprint=data.fingerprint, n=len(data.train))
        if coreset.digest != job.coreset_digest:
            raise FingerprintError(f"{job.coreset} was changed since this training was planned. Run the command again.")
        ids = coreset.ids
    spec = TrainSpec(**job.train)
    sampler = None if job.dynamic is None else _sampler(job.dynamic, data, spec, job.seed)
    before = torch.get_num_threads()
    torch.set_num_threads(threads or before)
    try:
        fitted = fit(
            data, spec, job.seed, ids=ids, loss_scale=_loss_scale(job), device=device, dynamic=sampler,
            eval_pass=sampler is not None and sampler.rule.reads_evaluation,
        )  # fmt: skip
    finally:
        torch.set_num_threads(before)  # in this process others may be at work
    return {
        **{k: v for k, v in asdict(job).items() if k not in ("data_dir", "coreset", "scores")},
        "test_accuracy": fitted.test_accuracy,
        "train_loss": fitted.train_loss,
        "steps": fitted.steps,
        **({} if sampler is None else {"shown": sampler.shown}),
        "seconds": round(fitted.seconds, 3),
        "mean_loss_scale": fitted.mean_loss_scale,
        "threads": threads or before,
        "environment": environment(),
    }


def _sampler(rule: str, data: Data, spec: TrainSpec, seed: int) -> DynamicSampler:
    """Return what draws a training's epochs; each training is of one process, whatever ranks share the jobs."""
    parsed = parse_rule(rule, data.name)
    recorder = Recorder(len(data.train), data.num_classes, parsed.scorers, missing="allow", ranks=Alone())
    return DynamicSampler(parsed, recorder, epochs=spec.epochs, seed=seed)


def _loss_scale(job: Job) -> Floats | None:
    if job.scale_column is None or job.scores is None:
        return None
    values = read_scores(Path(job.scores)).columns[job.scale_column].values
    if values_digest(values) != job.scale_digest:
        raise FingerprintError(f"{job.scores} was changed since this training was planned. Run the command again.")
    return normalised(values)


def run_jobs(
    jobs: Sequence[Job],
    results: Path,
    *,
    device: str = "cpu",
    processes: int = 1,
    threads: int | None = None,
    engine: str | None = None,
    on_result: Callable[[Job, dict[str, Any]], None] | None = None,
) -> list[dict[str, Any]]:
    """Run the jobs that have no result yet, `processes` at a time, and return all results in order.

    `engine` says how; by default that of the device (`engines.engine_of`).

    The ranks of torch.distributed, where it is set up, deal the jobs out among them, and all return all results; every rank
    must make the call, with the same jobs.
    """
    ranks = current()
    done: dict[str, dict[str, Any]] = {}

    def finished(task: Task, result: dict[str, Any]) -> None:
        done[task.job.digest] = result
        if on_result is not None:
            on_result(task.job, result)

    tasks = [Task(job, job.result_path(results)) for job in jobs]
    there = ranks.share("trainings", [task.path.exists() for task in tasks])[0]
    todo = []
    for task, complete in zip(tasks, there, strict=True):
        if complete:
            finished(task, read_result(task.path))
        else:
            todo.append(task)
    with together(ranks, "trainings"), make_engine(engine or engine_of(device), processes) as runner:
        mine = todo[ranks.rank :: ranks.size]
        runner.run(mine, lambda task: (run_task, (task, device, threads)), on_result=finished)
    for task in todo:  # what other ranks have trained
        if task.job.digest not in done:
            finished(task, read_result(task.path))
    return [{**done[job.digest], "method": job.method, "keep": job.keep} for job in jobs]

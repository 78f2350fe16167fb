"""Running coreset trainings: one, or all that have no result yet, on an engine and over ranks."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import lru_cache, partial
from pathlib import Path
from threading import Lock
from typing import Any

import torch

from thresher.coreset import Coreset
from thresher.data import Data, load
from thresher.dynamic import DynamicSampler, parse_rule
from thresher.engines import Call, engine_of, make_engine
from thresher.errors import CorruptFileError, FingerprintError, MissingFileError
from thresher.experiments.job import Job, Task, values_digest
from thresher.experiments.rundir import environment, locked, read_training, refuse_other_data
from thresher.files import remove_parts, write_json
from thresher.held import Held
from thresher.ranks import Alone, Ranks, current, together
from thresher.ranks.alike import check_alike
from thresher.recorder import Recorder
from thresher.score_table import read_scores
from thresher.stepwise import Steps, stepwise
from thresher.train.checkpoint import load_checkpoint
from thresher.train.loop import Progress, fit
from thresher.train.loss_scale import normalised
from thresher.train.spec import TrainSpec
from thresher.types import Floats

OnEpoch = Callable[[Progress], None]
CHECKPOINT_SECONDS = 60.0
THREADS = Held(torch.get_num_threads, torch.set_num_threads, of_thread=True)
"""How many cores torch uses for an operation."""
_LOADING = Lock()


def cached_data(
    name: str, root: str | None, corrupt: str | None = None, mislabel: str | None = None, holdout: str | None = None
) -> Data:
    """Load a data set once per process, also when several threads ask for it at once."""
    with _LOADING:
        return _loaded(name, root, corrupt, mislabel, holdout)


@lru_cache(maxsize=2)
def _loaded(name: str, root: str | None, corrupt: str | None, mislabel: str | None, holdout: str | None) -> Data:
    return load(name, Path(root) if root else None, corrupt=corrupt, mislabel=mislabel, holdout=holdout)


@stepwise
def run_task(
    task: Task, device: str = "cpu", threads: int | None = None, on_epoch: OnEpoch | None = None
) -> Steps[dict[str, Any]]:  # fmt: skip
    """Train, write the result file and return the result; a result that is already there is returned as it is.

    An interrupted training goes on from its checkpoint in the folder `unfinished`, which is written at most once a minute.
    `on_epoch` is called after every epoch. Raises BusyError while another process trains for the same file,
    FingerprintError if data or scores are not those the job was made for or the result is of other data, CorruptFileError
    if the result is another job's, and what training raises.
    """
    with locked(task.path.with_suffix(".lock")):
        if task.path.exists():
            return _finished(task)
        checkpoint = _checkpoint(task)
        remove_parts(checkpoint.parent, checkpoint.name)  # a killed writer's, each as large as a checkpoint
        found = yield from train.steps(task.job, device, threads, on_epoch, checkpoint)
        result = {**found, **task.about}
        write_json(task.path, result)
        checkpoint.unlink(missing_ok=True)
        return result


def _checkpoint(task: Task) -> Path:
    """Return where a training's progress is kept: named by the job, since a cell's file name does not depend on the data."""
    return task.path.parent / "unfinished" / f"{task.path.stem}-{task.job.digest}.safetensors"


def _finished(task: Task) -> dict[str, Any]:
    """Return the result that is there. Raises FingerprintError if it is of other data, CorruptFileError if another job's."""
    result, job = read_training(task.path), task.job
    what = f"the result of {job.method} at keep={job.keep:g} on the data at hand in {task.path}"
    refuse_other_data(what, result, job.fingerprint, job.test_fingerprint)
    task.refuse_other(result)
    _checkpoint(task).unlink(missing_ok=True)
    return result


@stepwise
def train(
    job: Job, device: str = "cpu", threads: int | None = None, on_epoch: OnEpoch | None = None,
    checkpoint: Path | None = None,
) -> Steps[dict[str, Any]]:  # fmt: skip
    """Run the training of a job and return its result: what determines it, accuracy, cost and environment.

    It goes on from `checkpoint`, if there is one, and keeps its progress there. If the loss was not finite at the end,
    the result has `diverged` true and `train_loss` None.
    """
    data = cached_data(job.data, job.data_dir, job.corrupt, job.mislabel, job.holdout)
    what, advice = f"a training planned for the {job.data} at hand", "Give the --data-dir it was planned with."
    refuse_other_data(what, asdict(job), data.fingerprint, data.test_fingerprint, advice)
    ids = None
    if job.coreset is not None:
        coreset = Coreset.load(job.coreset, fingerprint=data.fingerprint, n=len(data.train), data=data.name)
        if coreset.digest != job.coreset_digest:
            raise FingerprintError(f"{job.coreset} was changed since this training was planned. Run the command again.")
        ids = coreset.ids
    spec = TrainSpec(**job.train)
    if checkpoint is not None and checkpoint.exists():
        _discard_damaged(checkpoint)
    sampler = None if job.dynamic is None else _sampler(job.dynamic, data, spec, job.seed)
    threads_used = threads or torch.get_num_threads()
    with THREADS.at(threads_used):  # other trainings may be at work in this process
        fitted = yield from fit.steps(
            data, spec, job.seed, ids=ids, loss_scale=_loss_scale(job), device=device, dynamic=sampler,
            eval_pass=sampler is not None and sampler.rule.reads_evaluation, on_epoch=on_epoch, eval_every=job.eval_every,
            checkpoint=checkpoint, checkpoint_every=CHECKPOINT_SECONDS, resume=True,
            workers=0 if threads == 1 else 2,  # with one core there is none for workers, and starting them takes seconds
        )  # fmt: skip
    return {
        **job.told(),
        "test_fingerprint": data.test_fingerprint,
        "test_accuracy": fitted.test_accuracy,
        **({"best_test_accuracy": fitted.best_test_accuracy, "eval_every": job.eval_every} if job.eval_every else {}),
        "train_loss": _finite(fitted.train_loss),
        "diverged": _finite(fitted.train_loss) is None,
        "steps": fitted.steps,
        **({} if sampler is None else {"shown": sampler.shown}),
        "seconds": round(fitted.seconds, 3),
        "mean_loss_scale": _finite(fitted.mean_loss_scale),
        "threads": threads_used,
        "environment": environment(device),
    }


def _finite(value: float | None) -> float | None:
    """Return a number that JSON can hold: None if it is not finite."""
    return value if value is not None and math.isfinite(value) else None


def _sampler(rule: str, data: Data, spec: TrainSpec, seed: int) -> DynamicSampler:
    """Return the sampler of a dynamic training, which is of one process even if ranks share the jobs."""
    parsed = parse_rule(rule, data.name)
    recorder = Recorder(len(data.train), data.num_classes, parsed.scorers, missing="allow", ranks=Alone())
    return DynamicSampler(parsed, recorder, epochs=spec.epochs, seed=seed)


def _discard_damaged(checkpoint: Path) -> None:
    try:
        load_checkpoint(checkpoint)
    except CorruptFileError:
        checkpoint.unlink()  # what was trained is lost, and nothing else


def _loss_scale(job: Job) -> Floats | None:
    if job.scale_column is None or job.scores is None:
        return None
    column = read_scores(Path(job.scores)).columns.get(job.scale_column)
    if column is None or values_digest(column.values) != job.scale_digest:
        raise FingerprintError(f"{job.scores} was changed since this training was planned. Run the command again.")
    return normalised(column.values)


def run_jobs(
    jobs: Sequence[Job],
    results: Path,
    *,
    device: str = "cpu",
    processes: int = 1,
    threads: int | None = None,
    engine: str | None = None,
    on_result: Callable[[Job, dict[str, Any]], None] | None = None,
    on_epoch: Callable[[Job, Progress], None] | None = None,
) -> list[dict[str, Any]]:
    """Run the jobs that have no result yet, `processes` at a time, and return all results in the order of the jobs.

    `engine` names the engine (default: that of the device, `engines.engine_of`). `on_result` is called for every job, also
    for those that have a result already; `on_epoch` after the epochs of trainings in this process, if it runs one at a time.

    If torch.distributed is set up, its ranks share the jobs, and each returns all results. Every rank must make the call
    with the same jobs; otherwise all raise InputError.
    """
    ranks = current()
    done: dict[Path, dict[str, Any]] = {}

    def finished(task: Task, result: dict[str, Any]) -> None:
        done[task.path] = result  # equal trainings under several names have a file each
        if on_result is not None:
            on_result(task.job, result)

    tasks = [Task(job, job.result_path(results)) for job in jobs]
    named = {f"result {number}": task.path.name for number, task in enumerate(tasks)}
    check_alike(ranks, {"their number": len(tasks), **named}, "trainings")
    there = ranks.share("trainings", [task.path.exists() for task in tasks])[0]
    todo, again = dict[Path, Task](), list[Task]()
    for task, complete in zip(tasks, there, strict=True):
        if complete:
            finished(task, _finished(task))
        elif task.path in todo:  # two kept shares that keep the same samples: one training stands for both
            again.append(task)
        else:
            todo[task.path] = task
    mine = list(todo.values())[ranks.rank :: ranks.size]
    watched = on_epoch if engine != "ray" and (processes == 1 or len(mine) == 1) else None  # only what runs here

    def call(task: Task) -> Call:
        return run_task, (task, device, threads, None if watched is None else partial(watched, task.job))

    with together(ranks, "trainings"), make_engine(engine or engine_of(device), processes) as runner:
        runner.run(mine, call, on_result=finished)
    for task in todo.values():
        if task.path not in done:
            finished(task, _of_another_rank(task, ranks))
    for task in again:
        finished(task, done[task.path])
    return [{**done[task.path], "method": task.job.method, "keep": task.job.keep} for task in tasks]


def _of_another_rank(task: Task, ranks: Ranks) -> dict[str, Any]:
    """Return the result of a training that another rank has run; raises MissingFileError if this one does not see it."""
    if not task.path.exists():
        raise MissingFileError(
            f"Rank {ranks.rank} does not see {task.path}, which another rank has made. Choose a folder that all "
            "machines share."
        )
    return _finished(task)

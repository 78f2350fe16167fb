"""Coreset trainings as jobs: a job is JSON-ready, names its result file, and runs anywhere.

A result is one file under the digest of everything that determines it (data fingerprint, recipe, seed, kept ids), so jobs
that have run are skipped, and results of several machines are merged by copying.
"""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch

from thresher.coreset import Coreset
from thresher.data import Data, load
from thresher.errors import FingerprintError, WorkerLostError
from thresher.experiments.rundir import digest_of, environment, read_result
from thresher.files import write_json
from thresher.score_table import read_scores
from thresher.train.loop import TrainSpec, fit, normalised
from thresher.types import Floats


@dataclass(frozen=True)
class Job:
    """One training. `coreset` None trains on everything; `scale_column` of the table `scores` scales the loss.

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

    @property
    def digest(self) -> str:
        """16 hexadecimal digits naming what is computed; where files lie does not matter."""
        identity = asdict(self)
        for irrelevant in ("method", "keep", "data_dir", "coreset", "scores", "scale_column"):
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
def cached_data(name: str, root: str | None) -> Data:
    """Load a data set once per process."""
    return load(name, Path(root) if root else None)


def run_job(job: Job, results: Path, device: str = "cpu", threads: int | None = None) -> dict[str, Any]:
    """Train, write the result file and return the result; a result that is there already is returned as it is."""
    path = job.result_path(results)
    if path.exists():
        return read_result(path)
    if threads:
        torch.set_num_threads(threads)
    data = cached_data(job.data, job.data_dir)
    ids = None
    if job.coreset is not None:
        coreset = Coreset.load(Path(job.coreset), fingerprint=data.fingerprint, n=len(data.train))
        if coreset.digest != job.coreset_digest:
            raise FingerprintError(f"{job.coreset} was changed since this training was planned. Run the command again.")
        ids = coreset.ids
    scale = None
    if job.scale_column is not None and job.scores is not None:
        values = read_scores(Path(job.scores)).columns[job.scale_column].values
        if values_digest(values) != job.scale_digest:
            raise FingerprintError(f"{job.scores} was changed since this training was planned. Run the command again.")
        scale = normalised(values)
    fitted = fit(data, TrainSpec(**job.train), job.seed, ids=ids, loss_scale=scale, device=device)
    result = {
        **{k: v for k, v in asdict(job).items() if k not in ("data_dir", "coreset", "scores")},
        "test_accuracy": fitted.test_accuracy,
        "train_loss": fitted.train_loss,
        "steps": fitted.steps,
        "seconds": round(fitted.seconds, 3),
        "mean_loss_scale": fitted.mean_loss_scale,
        "threads": torch.get_num_threads(),
        "environment": environment(),
    }
    write_json(path, result)
    return result


def run_jobs(
    jobs: Sequence[Job],
    results: Path,
    *,
    device: str = "cpu",
    processes: int = 1,
    threads: int | None = None,
    on_result: Callable[[Job, dict[str, Any]], None] | None = None,
) -> list[dict[str, Any]]:
    """Run the jobs that have no result yet, in this process or in several, and return all results in order."""
    done: dict[str, dict[str, Any]] = {}
    todo = []
    for job in jobs:
        path = job.result_path(results)
        if path.exists():
            done[job.digest] = read_result(path)
            if on_result is not None:
                on_result(job, done[job.digest])
        else:
            todo.append(job)
    for job, result in _run_missing(todo, results, device, processes, threads):
        done[job.digest] = result
        if on_result is not None:
            on_result(job, result)
    return [{**done[job.digest], "method": job.method, "keep": job.keep} for job in jobs]


def _begin_worker(parent: int) -> None:
    """Leave Ctrl-C to the parent, and end soon after it is gone (`kill -9`), so that no orphan goes on computing."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _run_missing(todo: Sequence[Job], results: Path, device: str, processes: int, threads: int | None) -> Any:
    if processes <= 1 or len(todo) <= 1:
        for job in todo:
            yield job, run_job(job, results, device, threads)
        return
    # "spawn": forking a process that has used torch's thread pool may hang.
    context, others = multiprocessing.get_context("spawn"), set(multiprocessing.active_children())
    with ProcessPoolExecutor(processes, mp_context=context, initializer=_begin_worker, initargs=(os.getpid(),)) as pool:
        with _interrupts_ignored():  # the workers inherit that while they start
            futures = {pool.submit(run_job, job, results, device, threads): job for job in todo}
        try:
            for future in as_completed(futures):
                yield futures[future], future.result()
        except BrokenProcessPool as error:
            raise WorkerLostError(
                "The process of a training was killed, often for lack of memory. Finished trainings are kept; run the same "
                "command again, with a smaller --jobs."
            ) from error
        except KeyboardInterrupt:  # finished trainings are on disk; the running ones are given up, not waited for
            for process in set(multiprocessing.active_children()) - others:
                process.terminate()
            pool.shutdown(cancel_futures=True)
            raise
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


@contextmanager
def _interrupts_ignored() -> Iterator[None]:
    """Ignore Ctrl-C for a moment; only the main thread may say so."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    usual = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, usual)

"""`kill -9` at random moments: after the same call again all is as if nothing had happened, and nothing is half-written.

Each kill is a real SIGKILL of a real process. Half of them come from outside at a random moment of the job's time; half
at a random file operation, which is the same one for the same seed. A job may be killed several times before it may end.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
from children import answer, count_events, die_at, ended, fork, import_what, kill_after

from thresher.coreset import Coreset
from thresher.data import Data, load
from thresher.data.base import ArraySplit
from thresher.experiments.jobs import cached_data
from thresher.experiments.rundir import read_json, read_training
from thresher.experiments.study import StudySpec, record, run_study
from thresher.large.scoring import score_store
from thresher.large.selecting import select_file
from thresher.replay import Request, open_source
from thresher.score_file import ScoreFile
from thresher.score_table import read_scores, write_scores
from thresher.scorers import AUM, TDDS
from thresher.selectors.top import Top
from thresher.train.checkpoint import load_checkpoint
from thresher.train.spec import TrainSpec
from thresher.trajectory.reader import Trajectory
from thresher.trajectory.writer import TrajectoryWriter
from thresher.types import Frame, Scores

N = 320
TINY = TrainSpec("tiny", epochs=3, batch_size=80)
_OUT_OF_LUCK = 40  # tries to hit a job that ends too soon


@dataclass(frozen=True)
class Job:
    """`run(folder)` does it, and when it was killed, does the rest; what it leaves equals what it left undisturbed."""

    run: Callable[[Path], object]
    prepare: Callable[[Path], object] = lambda folder: None


@lru_cache(maxsize=1)
def digits() -> Data:
    """Return some of the digits."""
    whole = load("digits")
    part = ArraySplit(whole.train.images[:N], whole.train.targets[:N])  # type: ignore[attr-defined]
    return Data(
        "digits", part, whole.test, whole.class_names, whole.mean, whole.std, whole.augment, whole.image_size, whole.channels
    )


def frame(epoch: int) -> Frame:
    """Return an epoch of a recording, always the same."""
    names = ("change", "prob_margin", "error_norm")
    values = np.random.default_rng(epoch).random((len(names), N)).astype(np.float32)
    return Frame(epoch, np.arange(N), dict(zip(names, values, strict=True)), N)


def commit(folder: Path) -> None:
    """Append epochs, each with targets and features that replace the last."""
    store = folder / "trajectory"
    there = (store / "manifest.json").exists()
    signals = tuple(frame(0).values)
    with (
        TrajectoryWriter.resume(store)
        if there
        else TrajectoryWriter.create(store, N, 10, signals, bucket_size=150) as writer
    ):
        for epoch in range(writer.epochs, 12):
            features = np.full((N, 2), epoch, dtype=np.float32)
            writer.append(frame(epoch), targets=np.arange(N) % 10, features=features)


def score(folder: Path) -> None:
    """Score what `commit` left, in the place of an older table."""
    requests = [Request("tdds", TDDS(window=4)), Request("aum", AUM())]
    score_store(open_source(folder), requests, folder / "scores.parquet")


def old_scores(folder: Path) -> None:
    """Lay out a recording, and a table that is there already."""
    commit(folder)
    write_scores(folder / "scores.parquet", {"old": Scores(np.zeros(N, dtype=np.float32))})


def select(folder: Path) -> None:
    """Select from the table, in the place of an older coreset; twice, in both ways of writing one."""
    file = ScoreFile.open(folder / "scores.parquet")
    select_file(file, "tdds", folder / "coresets" / "tdds.parquet", 0.3, Top())
    Coreset(np.arange(9), np.ones(9, dtype=np.float32), N).save(folder / "coresets" / "weighted.parquet")


def old_coresets(folder: Path) -> None:
    """Lay out scores, and coresets that are there already."""
    commit(folder)
    score(folder)
    for name in ("tdds", "weighted"):
        Coreset(np.arange(5), None, N).save(folder / "coresets" / f"{name}.parquet")


def experiment(folder: Path) -> None:
    """Run a whole study: record, score, select, train."""
    coreset = TrainSpec("tiny", epochs=1, batch_size=40)
    surrogate = TrainSpec("tiny", epochs=2, batch_size=480)
    run_study(StudySpec("digits", surrogate, coreset, ("el2n", "random"), (0.05,), (0, 1)), folder)


JOBS = {
    "recording": Job(lambda folder: record(digits(), TINY, 1, folder)),
    "committing": Job(commit),
    "scoring": Job(score, old_scores),
    "selecting": Job(select, old_coresets),
    "experimenting": Job(experiment),
}


def files_of(folder: Path) -> Iterator[Path]:
    """Yield the files that count: not locks, and not parts, which the next writer removes."""
    for path in sorted(folder.rglob("*")):
        inside = path.relative_to(folder)
        if path.is_file() and path.suffix != ".lock" and not any(name.endswith(".part") for name in inside.parts):
            yield path


def check_whole(folder: Path) -> None:
    """Raise unless every file that a reader would look at is complete."""
    if (folder / "trajectory" / "manifest.json").exists():
        recording = Trajectory.open(folder / "trajectory")
        recording.verify()
        list(recording.frames(recording.signals))
    for path in files_of(folder):
        name = path.relative_to(folder).parts[0]
        if path.name == "scores.parquet":
            read_scores(path)
        elif name == "coresets" and path.suffix == ".parquet":
            Coreset.load(path)
        elif name == "results":
            read_training(path)
        elif path.suffix == ".json":
            read_json(path)
        elif path.suffix == ".safetensors":
            load_checkpoint(path)


def contents(folder: Path) -> dict[str, str]:
    """Return a digest of every file that is left at the end; what tells of times is left out of it.

    So is the checkpoint: of a recording that was killed between its last epoch and the checkpoint after it, nothing is
    trained again, and the checkpoint stays that of the epoch before. Of a killed writer outside a run or a store, whose
    writers sweep, a part may be left, which no reader looks at.
    """
    found = {}
    for path in files_of(folder):
        content = path.read_bytes()
        if path.parent.name == "results":
            result = json.loads(content)
            content = json.dumps({k: v for k, v in result.items() if k not in ("seconds", "environment")}).encode()
        if path.name not in ("log.jsonl", "env.json") and path.parent.name != "checkpoints":
            found[str(path.relative_to(folder))] = hashlib.sha256(content).hexdigest()
    swept = [folder / "trajectory", *([folder] if (folder / "spec.json").exists() else [])]
    assert not [part for place in swept for part in place.rglob("*.part")], "parts are left where a writer should sweep"
    return found


@dataclass(frozen=True)
class Undisturbed:
    """What a job leaves and takes when nobody disturbs it."""

    contents: dict[str, str]
    seconds: float
    events: int


def undisturbed(job: Job, room: Path) -> Undisturbed:
    """Run a job in peace, twice, so that what it leaves is known to be always the same."""
    calm, again = room / "calm", room / "again"
    for folder in (calm, again):
        folder.mkdir(parents=True)
        answer(partial(_nothing, job.prepare, folder))
    started = time.perf_counter()
    answer(partial(_nothing, job.run, calm))
    seconds = time.perf_counter() - started
    events = count_events(lambda: job.run(again))
    found, other = answer(lambda: contents(calm)), answer(lambda: contents(again))
    if found != other:
        raise RuntimeError(f"two undisturbed runs differ: {sorted(set(found.items()) ^ set(other.items()))}")
    return Undisturbed(found, seconds, events)


def _nothing(call: Callable[[Path], object], folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    call(folder)


def killed(job: Job, calm: Undisturbed, folder: Path, rng: np.random.Generator, kills: int) -> tuple[int, list[str]]:
    """Kill a job so often, let it end, and compare; return how often it was hit, and what is wrong then."""
    folder.mkdir()
    answer(partial(_nothing, job.prepare, folder))
    hits, wrong = 0, []
    for _ in range(_OUT_OF_LUCK):
        if hits == kills:
            break
        if rng.random() < 0.5:
            hit = kill_after(fork(lambda: job.run(folder)), float(rng.uniform(0, calm.seconds)))
        else:
            event = int(rng.integers(1, calm.events + 1))
            hit = _killed_at(job, folder, event)
        if not hit:
            continue
        hits += 1
        try:
            answer(partial(_nothing, check_whole, folder))
        except RuntimeError:
            wrong.append(f"half-written after kill {hits}")
    answer(partial(_nothing, job.run, folder))
    found = answer(lambda: contents(folder))
    if found != calm.contents:
        names = sorted({name for name, _ in set(found.items()) ^ set(calm.contents.items())})
        wrong.append(f"after {hits} kills these files differ: {', '.join(names)}")
    shutil.rmtree(folder)
    return hits, wrong


def _killed_at(job: Job, folder: Path, event: int) -> bool:
    def work() -> None:
        die_at(event)
        job.run(folder)

    status = ended(fork(work))
    if status > 0:
        raise RuntimeError("a job failed by itself; what it said is above")
    return status < 0


def run_kills(name: str, count: int, seed: int, room: Path) -> dict[str, Any]:
    """Kill one kind of job `count` times in all, and return the counts and what was wrong."""
    job, rng = JOBS[name], np.random.default_rng([seed, *name.encode()])
    import_what(lambda: _nothing(lambda folder: (job.prepare(folder), job.run(folder), check_whole(folder)), room / "warm"))
    cached_data("digits", None)  # and what they load
    digits()
    calm = undisturbed(job, room)
    done, runs, wrong = 0, 0, list[str]()
    while done < count:
        hits, found = killed(job, calm, room / f"run{runs}", rng, min(count - done, int(rng.integers(1, 4))))
        done, runs = done + hits, runs + 1
        wrong += [f"run {runs}: {text}" for text in found]
    return {"kills": done, "runs": runs, "half_written": sum("half" in t for t in wrong), "wrong": len(wrong), "told": wrong}

"""`score_store`: from a recording of any size to a score file.

A score does not depend on other samples, so the buckets of a recording are scored separately, wherever an engine has
workers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from thresher.cores import cores
from thresher.engines import Call, Engine
from thresher.engines.turns import Serial, Turns
from thresher.replay import Request, Source, check_requests, first_start, provenance, replay
from thresher.score_file import ScoreColumn
from thresher.score_table import write_score_parts
from thresher.trajectory.reader import Trajectory
from thresher.types import Floats

OnStep = Callable[[int, int], None]
_PART_ROWS = 1 << 18
_PARTS = 4  # a worker; enough that the last ones to end leave no worker idle for long
# Values to read and update from which several workers save time. Two threads start at once and are faster than two
# processes, but more than two wait for the interpreter (decision 0017).
_WORTH_THREADS, _WORTH_PROCESSES, _MOST_THREADS = 3 * 10**7, 3 * 10**8, 2


def score_store(
    source: Source, requests: Sequence[Request], out: Path, *, exact: bool = False, engine: Engine | None = None,
    on_step: OnStep | None = None,
) -> None:  # fmt: skip
    """Replay recorded dynamics for these requests and write the score table to `out`, part by part.

    The scores are those of `replay`, bit for bit, whatever the engine. Memory holds some parts' scores, the targets, and
    the columns of scorers that must see all samples (`Scorer.reads_pool`). Official dumps are one part. `on_step(done,
    total)` reports progress: parts, or epochs of parts.

    Raises what `replay` raises, before anything is read, and WorkerDied.
    """
    asked, engine = check_requests(source, requests), engine or Serial()
    columns = {r.column: ScoreColumn(r.scorer.hard_end, provenance(r.scorer, at)) for r, at in asked}
    pooled = [request for request, _ in asked if request.scorer.reads_pool]
    whole = replay(source, pooled, exact=exact, on_step=on_step) if pooled else {}
    rest = [request for request, _ in asked if not request.scorer.reads_pool]
    targets = source.targets
    parts = _score_parts(source, rest, exact, engine, on_step) if rest else iter([(0, source.n, dict[str, Floats]())])

    def rows() -> Iterator[tuple[dict[str, Floats], NDArray[np.int64] | None]]:
        for start, stop, found in parts:
            sliced = {name: scores.values[start:stop] for name, scores in whole.items()}
            yield {**sliced, **found}, None if targets is None else targets[start:stop]

    write_score_parts(out, columns, targets is not None, rows(), source.info)


def _score_parts(
    source: Source, requests: Sequence[Request], exact: bool, engine: Engine, on_step: OnStep | None
) -> Iterator[tuple[int, int, dict[str, Floats]]]:
    """Yield first id, end and columns of one part after the other; as many are made at a time as keep the workers busy."""
    if not isinstance(source, Trajectory):
        yield 0, source.n, _score_part(source, requests, exact, on_step)
        return
    cuts = _bucket_cuts(source, engine.workers)
    count = len(cuts) - 1
    if isinstance(engine, Turns):  # which is this process: parts can be watched from within
        for number, (a, b) in enumerate(pairwise(cuts)):
            part = source.part(a, b)
            start = part.start - source.start  # which may be a part itself
            yield start, start + part.n, _score_part(part, requests, exact, _within(on_step, number, count))
        return
    wave = _PARTS * engine.workers if engine.workers > 1 else 1
    for first in range(0, count, wave):
        parts = [source.part(a, b) for a, b in pairwise(cuts[first : first + wave + 1])]
        largest_first = sorted(range(len(parts)), key=lambda number: -parts[number].n)  # so that all workers end together
        found: dict[int, dict[str, Floats]] = {}
        engine.run(
            largest_first, partial(_call, parts, requests, exact), on_result=partial(_take, found, on_step, first, count)
        )
        for number, part in enumerate(parts):
            start = part.start - source.start
            yield start, start + part.n, found.pop(number)


def _within(on_step: OnStep | None, number: int, count: int) -> OnStep | None:
    """Return what to tell of the steps of one of `count` parts."""
    return None if on_step is None else lambda done, total: on_step(number * total + done, count * total)


def _take(
    found: dict[int, dict[str, Floats]], on_step: OnStep | None, first: int, count: int, number: int,
    columns: dict[str, Floats],
) -> None:  # fmt: skip
    """Keep the columns of a part that is done, and tell of it."""
    found[number] = columns
    if on_step is not None:
        on_step(first + len(found), count)


def _call(parts: Sequence[Trajectory], requests: Sequence[Request], exact: bool, number: int) -> Call:
    return _score_part, (parts[number], requests, exact)


def _bucket_cuts(source: Trajectory, workers: int) -> list[int]:
    """Return where to cut the buckets into parts: of bounded size, and several for each worker."""
    fewest = -(-source.n // _PART_ROWS)
    count = min(source.buckets, max(fewest, _PARTS * workers if workers > 1 else 1))
    return [source.buckets * part // count for part in range(count + 1)]


def _score_part(
    source: Source, requests: Sequence[Request], exact: bool, on_step: OnStep | None = None
) -> dict[str, Floats]:  # fmt: skip
    """Replay a part, in whatever process this is."""
    return {column: scores.values for column, scores in replay(source, requests, exact=exact, on_step=on_step).items()}


def usual_engine(
    source: Source, requests: Sequence[Request], workers: int | None = None, *, exact: bool = False
) -> str:  # fmt: skip
    """Return the engine that scores fastest on this machine: two threads, more processes, or for little work neither.

    Raises what `replay` does where a request cannot be met.
    """
    asked = check_requests(source, requests)
    epochs = max(at for _, at in asked) - (0 if exact else first_start(asked))
    at_once = workers or cores()
    signals = {name for request in requests for name in request.scorer.needs}
    work = source.n * epochs * (len(signals) + len(requests))
    several = isinstance(source, Trajectory) and source.buckets > 1 and at_once > 1
    name, worth = ("threads", _WORTH_THREADS) if at_once <= _MOST_THREADS else ("processes", _WORTH_PROCESSES)
    return name if several and work >= worth else "serial"

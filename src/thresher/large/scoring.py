"""`score_store`: from a recording of any size to a score file.

A score needs nothing of other samples, so the buckets of a recording are scored apart, wherever an engine has workers.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from thresher.engines import Call, Engine
from thresher.engines.serial import Serial
from thresher.replay import Request, Source, check_requests, first_start, provenance, replay
from thresher.score_table import ScoreColumn, write_score_parts
from thresher.trajectory.reader import Trajectory
from thresher.types import Floats

_PART_ROWS = 1 << 18
_PARTS = 4  # a worker; enough that the last ones to end leave no worker idle for long
_WORTH = 3 * 10**8  # values to read and update; below, starting processes takes longer than they save


def score_store(
    source: Source, requests: Sequence[Request], out: Path, *, exact: bool = False, engine: Engine | None = None
) -> None:
    """Replay recorded dynamics for these requests and write the score table to `out`, part by part.

    The scores are those of `replay`, bit for bit, whoever makes them. Held at once are some parts' scores, the targets, and
    the columns of scorers that must see all samples (`Scorer.reads_pool`). Official dumps are one part.

    Raises what `replay` raises, before anything is read, and WorkerDied.
    """
    asked, engine = check_requests(source, requests), engine or Serial()
    columns = {r.column: ScoreColumn(r.scorer.hard_end, provenance(r.scorer, at)) for r, at in asked}
    pooled = [request for request, _ in asked if request.scorer.reads_pool]
    whole = replay(source, pooled, exact=exact) if pooled else {}
    rest = [request for request, _ in asked if not request.scorer.reads_pool]
    targets = source.targets
    parts = _score_parts(source, rest, exact, engine) if rest else iter([(0, source.n, dict[str, Floats]())])

    def rows() -> Iterator[tuple[dict[str, Floats], NDArray[np.int64] | None]]:
        for start, stop, found in parts:
            sliced = {name: scores.values[start:stop] for name, scores in whole.items()}
            yield {**sliced, **found}, None if targets is None else targets[start:stop]

    write_score_parts(out, columns, targets is not None, rows(), source.info)


def _score_parts(
    source: Source, requests: Sequence[Request], exact: bool, engine: Engine
) -> Iterator[tuple[int, int, dict[str, Floats]]]:
    """Yield first id, end and columns of one part after the other; as many are made at a time as keep the workers busy."""
    if not isinstance(source, Trajectory):
        yield 0, source.n, _score_part(source, requests, exact)
        return
    cuts = _bucket_cuts(source, engine.workers)
    wave = _PARTS * engine.workers if engine.workers > 1 else 1
    for first in range(0, len(cuts) - 1, wave):
        parts = [source.part(a, b) for a, b in pairwise(cuts[first : first + wave + 1])]
        found: dict[int, dict[str, Floats]] = {}
        engine.run(range(len(parts)), partial(_call, parts, requests, exact), on_result=found.__setitem__)
        for number, part in enumerate(parts):
            yield part.start, part.start + part.n, found.pop(number)


def _call(parts: Sequence[Trajectory], requests: Sequence[Request], exact: bool, number: int) -> Call:
    return _score_part, (parts[number], requests, exact)


def _bucket_cuts(source: Trajectory, workers: int) -> list[int]:
    """Return where to cut the buckets into parts: of bounded size, and several for each worker."""
    fewest = -(-source.n // _PART_ROWS)
    count = min(source.buckets, max(fewest, _PARTS * workers if workers > 1 else 1))
    return [source.buckets * part // count for part in range(count + 1)]


def _score_part(source: Source, requests: Sequence[Request], exact: bool) -> dict[str, Floats]:
    """Replay a part, in whatever process this is."""
    return {column: scores.values for column, scores in replay(source, requests, exact=exact).items()}


def usual_engine(
    source: Source, requests: Sequence[Request], workers: int | None = None, *, exact: bool = False
) -> str:  # fmt: skip
    """Return the engine that scores fastest on this machine: processes where there is more to do than to start them.

    Raises what `replay` does where a request cannot be met.
    """
    asked = check_requests(source, requests)
    epochs = max(at for _, at in asked) - (0 if exact else first_start(asked))
    cores = workers or os.cpu_count() or 1
    signals = {name for request in requests for name in request.scorer.needs}
    work = source.n * epochs * (len(signals) + len(requests))
    several = isinstance(source, Trajectory) and source.buckets > 1 and cores > 1
    return "processes" if several and work >= _WORTH else "serial"

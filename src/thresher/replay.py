"""Replay: scores from recorded dynamics, by the same scorers and the same `update` as during recording.

One pass over the epochs serves any number of requests, so a whole (T, K) grid costs one reading. If only TDDS is
requested, the pass starts at the earliest epoch that can still change a float32 score, and proves that none before could.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from thresher.errors import InputError, MissingFileError, TooFewEpochsError
from thresher.places import as_place, is_remote
from thresher.registry import make_scorer
from thresher.scorers._base import Scorer, State, as_scorers, check_count, check_end, computed, lacking
from thresher.types import Floats, Frame, Ids, Pool, Scores, is_whole


class Source(Protocol):
    """Recorded dynamics, whatever their format: a `Trajectory` or `OfficialDumps`."""

    @property
    def n(self) -> int:
        """Number of samples."""

    @property
    def num_classes(self) -> int | None:
        """Number of classes, if known."""

    @property
    def epochs(self) -> int:
        """Number of recorded epochs."""

    @property
    def signals(self) -> tuple[str, ...]:
        """Names of the signals that frames can hold."""

    @property
    def targets(self) -> NDArray[np.int64] | None:
        """(N,) class labels, if known."""

    @property
    def features(self) -> Floats | None:
        """(N, D) features of the evaluation pass, if recorded."""

    @property
    def info(self) -> Mapping[str, Any]:
        """Provenance."""

    def frames(self, names: Sequence[str], start: int, stop: int) -> Iterator[Frame]:
        """Yield the frames of epochs `start` to `stop - 1`."""

    def only(self, ids: Ids) -> Source:
        """Return the samples `ids` (sorted, unique) as a separate source, renumbered from 0, without features."""


@dataclass(frozen=True)
class Request:
    """One score column: the score of `scorer` after `at` completed epochs (None: all recorded epochs)."""

    column: str
    scorer: Scorer
    at: int | None = None


def open_source(path: Path | str) -> Source:
    """Open the recording at `path`: a trajectory store, a run directory that holds one, or a folder of official TDDS dumps.

    A store may be at a URL (`s3://bucket/store`). Raises MissingFileError if there is none of these, CorruptFileError if it
    is damaged.
    """
    from thresher.trajectory.layout import MANIFEST
    from thresher.trajectory.reader import Trajectory

    path = as_place(path)
    if not path.is_dir():
        came = "it is a file, not the recording itself. Give the run's folder" if path.is_file() else "there is none"
        raise MissingFileError(f"Expected a folder of recorded dynamics at {path}, but {came}.")
    for folder in (path, path / "trajectory"):
        if (folder / MANIFEST).is_file():
            return Trajectory.open(folder)
    if any(path.glob("*_Output.npy")) or any(path.glob("*_Index.npy")):
        from thresher.trajectory.official import OfficialDumps

        if is_remote(path):
            raise InputError(
                f"Expected official TDDS dumps on this machine, but got {path}. Copy them here; only stores can be URLs."
            )
        return OfficialDumps(path)
    raise MissingFileError(
        f"Expected {path} to be a trajectory store (manifest.json), a run directory, or a folder of official TDDS dumps "
        "({t}_Output.npy and {t}_Index.npy), but it holds none of these."
    )


def grid_requests(name: str, windows: Sequence[int], ats: Sequence[int | None], params: Mapping[str, Any]) -> list[Request]:
    """Return one request for every window K and epoch T: column `name` if there is only one, else `name[K=10,T=30]`.

    >>> [request.column for request in grid_requests("tdds", [5, 10], [30], {})]
    ['tdds[K=5,T=30]', 'tdds[K=10,T=30]']
    """
    single = len(windows) == 1 and len(ats) == 1
    requests = []
    for at in ats:
        for window in windows:
            scorer = make_scorer(name, {**params, "window": window})
            where = f"K={window}" if at is None else f"K={window},T={at}"
            requests.append(Request(name if single else f"{name}[{where}]", scorer, at))
    return requests


def replay(
    source: Source, requests: Sequence[Request], *, exact: bool = False,
    on_step: Callable[[int, int], None] | None = None,
) -> dict[str, Scores]:  # fmt: skip
    """Return the scores of all requests, by column name.

    From a store they are bit for bit what a Recorder with these scorers would have given live; from official dumps they
    agree up to rounding, since NumPy computes the signals there and torch in a Recorder. Epochs that cannot change them are
    not read, unless `exact`. `on_step(done, total)` is called as epochs are read. Raises TooFewEpochsError if a request
    asks for more epochs than there are or fewer than its scorer needs; InputError if the source lacks a signal, two columns
    share a name or a scorer does not return (N,) scores; UnknownNameError if a scorer reads a signal that does not exist.

    >>> import tempfile
    >>> from thresher import TrajectoryWriter
    >>> from thresher.scorers import AUM
    >>> folder = Path(tempfile.mkdtemp()) / "trajectory"
    >>> with TrajectoryWriter.create(folder, 2, 10, ["prob_margin"]) as store:
    ...     for epoch, values in enumerate([[-0.5, 1.0], [0.0, 1.0]]):
    ...         store.append(Frame(epoch, np.arange(2), {"prob_margin": np.array(values, dtype=np.float32)}, 2))
    >>> found = replay(open_source(folder), [Request("aum", AUM()), Request("early", AUM(), at=1)])
    >>> {name: scores.values.tolist() for name, scores in found.items()}
    {'aum': [-0.25, 1.0], 'early': [-0.5, 1.0]}
    """
    asked = check_requests(source, requests)
    start = 0 if exact else first_start(asked)
    columns, unsettled = _pass(source, asked, start, on_step)
    if unsettled:
        _settle(source, asked, columns, unsettled)
    return columns


def check_requests(source: Source, requests: Sequence[Request]) -> list[tuple[Request, int]]:
    """Return every request with its number of epochs; raises what `replay` does if one cannot be met."""
    if not hasattr(source, "frames"):
        raise InputError(f"Expected an open recording, open_source(path) or Trajectory.open(path), but got {source!r}.")
    if isinstance(requests, Request) or not all(isinstance(request, Request) for request in requests):
        raise InputError(f"Expected a list of requests, such as [Request('tdds', TDDS())], but got {requests!r}.")
    if not requests or len({request.column for request in requests}) != len(requests):
        raise InputError(f"Expected each score column once, but got {[r.column for r in requests]}.")
    return [(request, _checked_at(source, request)) for request in requests]


def _settle(
    source: Source, asked: Sequence[tuple[Request, int]], columns: dict[str, Scores], unsettled: Mapping[str, Ids]
) -> None:
    """Score again, from the first epoch on, those samples for which the epochs that were not read could matter."""
    again = [(request, at) for request, at in asked if request.column in unsettled]
    ids = np.unique(np.concatenate(list(unsettled.values())))
    few = len(ids) < source.n / 8
    exact, _ = _pass(source.only(ids) if few else source, again, 0)
    for column, found in exact.items():
        values = found.values
        if few:
            values = columns[column].values.copy()
            values[ids] = found.values
        columns[column] = Scores(values, found.hard_end, found.source)


def _checked_at(source: Source, request: Request) -> int:
    at, scorer = source.epochs if request.at is None else request.at, request.scorer
    as_scorers({request.column: scorer})
    if not is_whole(at):
        raise InputError(f"Expected {request.column} after a number of epochs, an integer, but got {at!r}.")
    if at > source.epochs:
        raise TooFewEpochsError(
            f"{request.column} is asked for after {at} epochs, but {source.epochs} are recorded. Ask for fewer."
        )
    if at < max(1, scorer.min_epochs):
        raise TooFewEpochsError(
            f"{request.column} needs at least {max(1, scorer.min_epochs)} epochs, but is asked for after {at}. "
            "Ask for more epochs or choose a smaller window."
        )
    check_end(request.column, scorer, at, source.epochs)
    check_count(at)
    missing = lacking(scorer, source.signals)
    if missing:
        raise InputError(
            f"{scorer.name} reads {', '.join(missing)}, but this source gives {', '.join(source.signals)}. "
            "Record it (in a loop of your own if `thresher record` leaves it out: docs/signals.md), or, for official dumps, "
            "add a targets.npy to their folder."
        )
    return at


def provenance(scorer: Scorer, at: int) -> dict[str, Any]:
    """Return the provenance that a score column keeps."""
    return {"scorer": scorer.name, "params": scorer.params(), "at": int(at)}


def first_start(asked: Sequence[tuple[Request, int]]) -> int:
    """Return the epoch to start at, from what the scorers say they need; 0 if one needs everything."""
    starts = [0 if r.scorer.trailing_epochs is None else at - r.scorer.trailing_epochs for r, at in asked if r.scorer.needs]
    return max(0, min(starts, default=0))


def _pass(
    source: Source, asked: Sequence[tuple[Request, int]], start: int, on_step: Callable[[int, int], None] | None = None
) -> tuple[dict[str, Scores], dict[str, Ids]]:  # fmt: skip
    """Run one pass from epoch `start`; return the columns, and the ids whose score an earlier epoch could have changed.

    A pass that starts late is run twice in parallel: from the smallest state that the omitted epochs can have left, and
    from the largest. A scorer's recursion is monotone, in float arithmetic too, so wherever both give the same bits, so
    does every state between them, the true one included.
    """
    scorers = list(dict.fromkeys(request.scorer for request, _ in asked))
    low: dict[Scorer, State] = {scorer: scorer.init(source.n) for scorer in scorers}
    high = {scorer: scorer.init_highest(source.n) for scorer in scorers} if start else {}
    pool = Pool(source.n, num_classes=source.num_classes)
    if any(scorer.reads_pool for scorer in scorers):
        pool = Pool(source.n, source.targets, source.features, source.num_classes)
    names = sorted({name for scorer in scorers for name in scorer.needs})
    last = {scorer: max(at for request, at in asked if request.scorer == scorer) for scorer in scorers if scorer.needs}
    found: dict[str, Scores] = {}
    unsettled: dict[str, Ids] = {}

    def ask(requests: Iterable[tuple[Request, int]]) -> None:
        for request, at in requests:
            values = computed(request.scorer, low[request.scorer], pool)
            if start and request.scorer.needs:
                above = computed(request.scorer, high[request.scorer], pool)
                open_ = np.flatnonzero((values != above) & ~(np.isnan(values) & np.isnan(above)))
                if len(open_):
                    unsettled[request.column] = open_
            found[request.column] = Scores(values, request.scorer.hard_end, provenance(request.scorer, at))

    ask(one for one in asked if not one[0].scorer.needs)  # whatever epochs are read
    if names:
        for frame in source.frames(names, start, max(last.values())):
            for scorer, until in last.items():
                if frame.epoch < until:
                    seen = frame.having(scorer.needs)
                    for states in (low, high) if start else (low,):
                        scorer.update(states[scorer], seen)
            ask(one for one in asked if one[1] == frame.epoch + 1 and one[0].scorer.needs)
            if on_step is not None:
                on_step(frame.epoch + 1 - start, max(last.values()) - start)
    return {request.column: found[request.column] for request, _ in asked}, unsettled

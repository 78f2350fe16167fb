"""`select_file`: from a score file of any size to a coreset file, in bounded memory.

The scores are read a few times, block by block, and never held. The selectors are those of `thresher.select`: what they find
out about the samples adds up over blocks, so the coreset is the same, bit for bit, whoever read which part.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

from thresher.coreset_file import write_coreset
from thresher.engines import Engine
from thresher.engines.turns import Serial, Turns
from thresher.errors import InputError, UnknownNameError, nearest
from thresher.keep import Keep, keep_count
from thresher.ranking.blocks import Block, Mask, Step, reduce_blocks
from thresher.score_file import ScoreFile
from thresher.selection import check_found, check_picked, provenance
from thresher.selectors._base import Rule
from thresher.types import Ids, Pool, check_seed

R = TypeVar("R")
_PARTS = 4  # a worker and pass; enough that the last ones to end leave no worker idle for long


def select_file(
    file: ScoreFile,
    column: str,
    out: str | os.PathLike[str],
    keep: Keep,
    selector: Rule,
    seed: int = 0,
    *,
    source: Mapping[str, Any] | None = None,
    engine: Engine | None = None,
    on_step: Callable[[int, int, int], None] | None = None,
) -> int:
    """Write the coreset that `thresher.select` would pick by a column of a score file to `out`; return its size.

    Same errors and bits as `thresher.select` and `Coreset.save`; `selector` must be a `Rule`. Raises UnknownNameError for a
    column that the file has not. Memory does not grow with the number of samples, but with the largest class label (and the
    strata). `engine` says where to read; by default this process does, with a thread that reads ahead. With Ray, all nodes
    must see the file under the same path. `on_step(number, done, total)` is called with the pass over the file (from 1), and
    the samples it has read of all.

    >>> import tempfile
    >>> from pathlib import Path
    >>> from thresher.coreset import Coreset
    >>> from thresher.score_table import write_scores
    >>> from thresher.selectors.top import Top
    >>> from thresher.types import Scores
    >>> folder = Path(tempfile.mkdtemp())
    >>> write_scores(folder / "scores.parquet", {"tdds": Scores(np.array([0.1, 0.7, 0.4, 0.9]))})
    >>> select_file(ScoreFile.open(folder / "scores.parquet"), "tdds", folder / "kept.parquet", 0.5, Top())
    2
    >>> Coreset.load(folder / "kept.parquet").ids.tolist()
    [1, 3]
    """
    check_seed(seed)
    if not isinstance(selector, Rule):
        raise InputError(
            f"Expected a selector that reads block by block, such as thresher.selectors.Top(), but got {selector!r}. Give "
            "others, and names of selectors, to thresher.select."
        )
    if column not in file.columns:
        known = ", ".join(file.columns) or "none"
        raise UnknownNameError(
            f"Expected a score column of {file.path}, one of {known}, but got {column!r}{nearest(column, file.columns)}."
        )
    count = keep_count(file.n, keep)
    samples = FileSamples(file, column, engine or Serial(), on_step)
    kept = selector.kept(samples, count, np.random.default_rng(seed))
    about = file.columns[column]
    told = provenance(about.source, about.hard_end, selector, keep, count, seed)
    return write_coreset(out, file.n, {**(source or {}), **told}, _exactly(count, selector, samples.where(kept)))


def _exactly(count: int, selector: Rule, chunks: Iterator[Ids]) -> Iterator[Ids]:
    """Yield the chunks; raises InputError where they hold another number of ids, before the file takes its place."""
    found = 0
    for ids in chunks:
        found += len(ids)
        yield ids
    check_picked(selector, count, found)


@dataclass
class FileSamples:
    """The samples of a score file: `Samples` whose steps run wherever the engine has workers.

    The first step also looks whether every score is there and finite, and every id where it belongs.
    """

    file: ScoreFile
    column: str
    engine: Engine
    on_step: Callable[[int, int, int], None] | None = None
    has_labels: bool = False
    checked: bool = False
    passes: int = 0

    @property
    def n(self) -> int:
        """How many there are."""
        return self.file.n

    def labelled(self, who: str) -> FileSamples:
        """Read the labels too from now on, and return these samples; raises InputError where the file has none."""
        if not self.file.labelled:
            Pool(self.n).need_targets(who)
        self.has_labels = True
        return self

    def reduce(self, step: Step[R]) -> R:
        """Return what a step finds out about all samples."""
        first, self.checked = not self.checked, True
        told = self._begin_pass()
        inside = told if isinstance(self.engine, Turns) else None  # this process: blocks can be counted
        found: list[tuple[_Health, R]] = []  # one at most: parts are merged as they come, so that many do not add up
        parts = self._parts()

        def take(part: int, result: tuple[_Health, R]) -> None:
            if found:
                (health, before), (other, more) = found.pop(), result
                result = _Survey().merge(health, other), step.merge(before, more)
            found.append(result)
            if inside is None:
                told(sum(self.file.group_rows[slice(*parts[part])]))

        self.engine.run(
            range(len(parts)),
            lambda part: (_reduce, (self.file, self.column, *parts[part], self.has_labels, first, step, inside)),
            on_result=take,
        )
        health, result = found.pop()
        if first:
            check_found(self.n, health.missing, health.first_missing, health.infinite)
        return result

    def glimpse(self) -> Iterator[Block]:
        """Yield short blocks from all over the file, which this process reads."""
        return self.file.glimpse(self.column)

    def where(self, mask: Mask) -> Iterator[Ids]:
        """Yield the ids that stay, sorted, in chunks; as many parts at a time are at work as there are workers."""
        parts = self._parts()
        told = self._begin_pass()
        if self.engine.workers == 1:
            for block in _counted(self.file.blocks(self.column, labelled=self.has_labels, checked=False), told):
                yield block.first + np.flatnonzero(mask(block))
            return
        for start in range(0, len(parts), self.engine.workers):
            found: dict[int, list[Ids]] = {}
            self.engine.run(
                range(start, min(len(parts), start + self.engine.workers)),
                lambda part: (_where, (self.file, self.column, *parts[part], self.has_labels, mask)),
                on_result=found.__setitem__,
            )
            for part in sorted(found):
                yield from found[part]
                told(sum(self.file.group_rows[slice(*parts[part])]))

    def _begin_pass(self) -> Callable[[int], None]:
        """Return what to tell how many more samples are read in this pass."""
        self.passes += 1
        number, done = self.passes, 0

        def told(more: int) -> None:
            nonlocal done
            done += more
            if self.on_step is not None:
                self.on_step(number, done, self.n)

        return told

    def _parts(self) -> list[tuple[int, int]]:
        """Return ranges of row groups, about equally large and none empty."""
        ends = np.cumsum(self.file.group_rows)
        count = 1 if self.engine.workers == 1 else min(len(ends), _PARTS * self.engine.workers)
        stops = np.searchsorted(ends, self.n * np.arange(1, count + 1) / count) + 1
        stops = np.unique(np.minimum(stops, len(ends)))
        starts = np.append(0, stops[:-1])
        return [(int(a), int(b)) for a, b in zip(starts, stops, strict=True)]


@dataclass(frozen=True)
class _Health:
    """What is wrong with the scores of some samples: how many are NaN, the first of these, an infinite one."""

    missing: int = 0
    first_missing: tuple[int, ...] = ()
    infinite: int | None = None


@dataclass(frozen=True)
class _Survey(Step[_Health]):
    """Looks at every score."""

    def __call__(self, block: Block) -> _Health:
        if np.isfinite(block.values).all():
            return _Health()
        missing, infinite = np.flatnonzero(np.isnan(block.values)), np.flatnonzero(np.isinf(block.values))
        first = tuple(int(block.first + row) for row in missing[:6])
        return _Health(len(missing), first, int(block.first + infinite[0]) if len(infinite) else None)

    def merge(self, one: _Health, other: _Health) -> _Health:
        infinite = [place for place in (one.infinite, other.infinite) if place is not None]
        first = tuple(sorted((*one.first_missing, *other.first_missing))[:6])
        return _Health(one.missing + other.missing, first, min(infinite, default=None))


@dataclass(frozen=True)
class _Both(Step[tuple[_Health, Any]]):
    """A step, and the survey beside it."""

    step: Step[Any]

    def __call__(self, block: Block) -> tuple[_Health, Any]:
        return _Survey()(block), self.step(block)

    def merge(self, one: tuple[_Health, Any], other: tuple[_Health, Any]) -> tuple[_Health, Any]:
        return _Survey().merge(one[0], other[0]), self.step.merge(one[1], other[1])

    def add(self, found: tuple[_Health, Any], block: Block) -> tuple[_Health, Any]:
        return _Survey().add(found[0], block), self.step.add(found[1], block)


def _counted(blocks: Iterable[Block], told: Callable[[int], None]) -> Iterator[Block]:
    """Yield the blocks, and tell of each after its work."""
    for block in blocks:
        yield block
        told(len(block.values))


def _reduce(
    file: ScoreFile, column: str, first: int, stop: int, labelled: bool, survey: bool, step: Step[R],
    told: Callable[[int], None] | None = None,
) -> tuple[_Health, R]:  # fmt: skip
    """Run a step over a part of the file, in whatever process this is."""
    blocks = file.blocks(column, first=first, stop=stop, labelled=labelled, checked=survey)
    blocks = blocks if told is None else _counted(blocks, told)
    return reduce_blocks(_Both(step), blocks) if survey else (_Health(), reduce_blocks(step, blocks))


def _where(file: ScoreFile, column: str, first: int, stop: int, labelled: bool, mask: Mask) -> list[Ids]:
    """Return the ids that stay of a part of the file."""
    blocks = file.blocks(column, first=first, stop=stop, labelled=labelled, checked=False)
    return [np.concatenate([block.first + np.flatnonzero(mask(block)) for block in blocks])]

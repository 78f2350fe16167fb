"""Where to cut a ranking so that exactly the asked number of samples lies before it, in every group, without sorting.

The key of a sample is 32 bits of its score and, where these are equal, 64 bits of a hash of its id, so no two are alike. A
histogram over the high 16 bits of all keys says in which bin the cut lies, one over the low 16 bits of the samples in that
bin where exactly. Histograms of parts of the samples add up, so the parts may lie in other processes or machines. As soon as
few samples are left in the bins of the cuts, their keys are fetched and ranked at once; where many have the very same score,
the histograms go on with the bits of the hash.

Many groups share the memory of the histograms: their digits have fewer bits, and there are more of them.

Often it is known beforehand, but for chance, between which keys a cut lies: a draw ranks by hashes alone, which spread
evenly, and of very many samples a few from all over tell. Then one look at the samples around there finds the cut, without a
histogram; where it was not there, nothing is lost but that look.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from thresher.ranking.blocks import Block, Samples, Step
from thresher.ranking.groups import Counts, Groups
from thresher.ranking.guess import Between, of_draw, of_glimpse
from thresher.ranking.keys import LAST, Hashes, Keys
from thresher.ranking.order import Cut, Ranking

FEW = 1 << 20
_HARDLY_ANY = 1 << 12  # a histogram costs as much as ranking these
_KEY_BITS, _HASH_BITS, _DIGIT_BITS, _TABLE_BITS = 32, 64, 16, 20  # a table of 2 ** 20 counts takes 8 MB


@dataclass(frozen=True, eq=False)
class _Search:
    """What is known of the cuts: group g's lies among the keys `key[g]` to `key[g] + span`, where `open[g]`.

    With `span` 0 the keys are known, and the cut lies among the hashes `hash[g]` to `hash[g] + hash_span`.
    """

    ranking: Ranking
    groups: Groups
    open: NDArray[np.bool_]
    key: Keys
    hash: Hashes
    span: int = 2**_KEY_BITS - 1
    hash_span: int = 2**_HASH_BITS - 1

    @cached_property
    def _by_group(self) -> tuple[NDArray[np.bool_], Keys]:
        """(G + 1,) each: -1 is no group, and finds the last entry."""
        return np.append(self.open, False), np.append(self.key, np.uint32(0))

    def candidates(self, block: Block) -> tuple[NDArray[np.int64] | slice, NDArray[np.int64] | None, Keys, Hashes | None]:
        """Return rows, groups, keys and (where keys are known) hashes of the samples among which a cut still lies."""
        group, key = self.groups.of(block), self.ranking.keys(block)
        span = np.uint32(self.span)
        if group is None:
            if self.span == 2**_KEY_BITS - 1:
                return slice(None), None, key, None
            rows = np.flatnonzero(key - self.key[0] <= span)  # below the first key it wraps around to more than any span
        else:
            open_, first = self._by_group
            inside = open_[group]
            if self.span < 2**_KEY_BITS - 1:
                inside &= key - first[group] <= span
            elif inside.all():
                return slice(None), group, key, None
            rows = np.flatnonzero(inside)
        hashes = None
        if self.span == 0:
            hashes = self.ranking.hashes(block, rows)
            start = self.hash[0] if group is None else self.hash[group[rows]]
            inside = hashes - start <= np.uint64(self.hash_span)
            rows, hashes = rows[inside], hashes[inside]
        return rows, None if group is None else group[rows], key[rows], hashes


@dataclass(frozen=True, eq=False)
class _Histogram(Step[Counts]):
    """Counts the candidates of every group by the next `bits` bits after `shift` of their keys, or hashes."""

    search: _Search
    shift: int
    bits: int

    def __call__(self, block: Block) -> Counts:
        count = len(self.search.open)
        return np.bincount(self._bins(block), minlength=count << self.bits).reshape(count, -1)

    def add(self, found: Counts, block: Block) -> Counts:
        np.add.at(found.reshape(-1), self._bins(block), 1)
        return found

    def _bins(self, block: Block) -> NDArray[np.int64]:
        """Return where the candidates of a block are counted."""
        search = self.search
        _, group, key, hashes = search.candidates(block)
        digits: NDArray[np.unsignedinteger]
        if hashes is None:
            digits = (key - (search.key[0] if group is None else search.key[group])) >> np.uint32(self.shift)
        else:
            digits = (hashes - (search.hash[0] if group is None else search.hash[group])) >> np.uint64(self.shift)
        return digits.astype(np.int64) if group is None else (group << self.bits) + digits.astype(np.int64)

    def merge(self, one: Counts, other: Counts) -> Counts:
        return np.add(one, other, out=one if one.flags.writeable else None)  # what Ray hands over is not


class _Found(NamedTuple):
    group: NDArray[np.int64]
    key: Keys
    hash: Hashes


class _Looked(NamedTuple):
    """How many samples every group has before a guess, how many lie where it was made, and these, or none if too many."""

    before: Counts
    fetched: int
    found: list[_Found]


@dataclass(frozen=True, eq=False)
class _Fetch(Step[list[_Found]]):
    """Fetches the candidates themselves."""

    search: _Search

    def __call__(self, block: Block) -> list[_Found]:
        rows, group, key, hashes = self.search.candidates(block)
        if isinstance(rows, slice):
            rows = np.arange(len(block))
        if hashes is None:
            hashes = self.search.ranking.hashes(block, rows)
        return [_Found(np.zeros(len(rows), dtype=np.int64) if group is None else group, key, hashes)]

    def merge(self, one: list[_Found], other: list[_Found]) -> list[_Found]:
        one += other
        return one


@dataclass(frozen=True, eq=False)
class _Guess(Step[_Looked]):
    """Counts the samples of every open group before the key `low[g]`, and fetches those up to `high[g]`, while they are not
    more than `most`."""

    search: _Search
    low: Keys
    high: Keys
    most: int

    def __call__(self, block: Block) -> _Looked:
        ranking = self.search.ranking
        group, key = self.search.groups.of(block), ranking.keys(block)
        if group is None:
            before = np.array([np.count_nonzero(key < self.low[0])])
            rows = np.flatnonzero(key - self.low[0] <= self.high[0] - self.low[0])  # below `low` it wraps around to more
            mine = np.zeros(len(rows), dtype=np.int64)
        else:
            lows, spans, open_ = self._by_group
            low = lows[group]
            before = np.bincount(group[key < low], minlength=len(self.low)).astype(np.int64)
            rows = np.flatnonzero(key - low <= spans[group])
            rows = rows[open_[group[rows]]]
            mine = group[rows]
        return self._bounded(_Looked(before, len(rows), [_Found(mine, key[rows], ranking.hashes(block, rows))]))

    @cached_property
    def _by_group(self) -> tuple[Keys, Keys, NDArray[np.bool_]]:
        """(G + 1,) each: -1 is no group, and finds the last entry, before which there is no key."""
        none = np.uint32(0)
        return np.append(self.low, none), np.append(self.high - self.low, none), np.append(self.search.open, False)

    def merge(self, one: _Looked, other: _Looked) -> _Looked:
        one.found.extend(other.found)
        return self._bounded(_Looked(one.before + other.before, one.fetched + other.fetched, one.found))

    def _bounded(self, looked: _Looked) -> _Looked:
        if looked.fetched > self.most:  # the guess was none
            looked.found.clear()
        return looked


def first_of(
    samples: Samples, ranking: Ranking, groups: Groups, quotas: Counts, few: int = FEW, sizes: Counts | None = None
) -> Cut:  # fmt: skip
    """Return the cut after the first `quotas[g]` samples of every group g in the ranking.

    `quotas` is (G,) int64, no more than the group has; `sizes` (G,) says how many it has, where that is known: then a draw
    is found by one look. Exact whatever the scores, NaN and infinities too (NaN comes last). Memory: the histograms (8 MB
    each, up to a million groups), and a few times `few` keys. Random scores of one group are read twice, very many once.

    >>> from thresher.ranking.blocks import InMemory
    >>> from thresher.ranking.groups import Everybody
    >>> from thresher.types import Pool, Scores
    >>> samples = InMemory(Scores(np.array([0.5, 2, 2, 1], dtype=np.float32)), Pool(4))
    >>> cut = first_of(samples, Ranking("hardest"), Everybody(), np.array([3]))
    >>> samples.where(cut).tolist()
    [1, 2, 3]
    """
    count = len(quotas)
    left = quotas.astype(np.int64)
    search = _Search(ranking, groups, left > 0, np.zeros(count, dtype=np.uint32), np.zeros(count, dtype=np.uint64))
    cut = Cut(ranking, groups, np.full(count, -1, dtype=np.int64), np.full(count, LAST))
    guess = of_draw(left, sizes) if ranking.order == "drawn" else of_glimpse(samples, ranking, left)
    if guess is not None and guess.size <= 2 * few and _is_there(samples, search, cut, left, guess, 8 * few):
        return cut
    width = max(1, min(_DIGIT_BITS, _TABLE_BITS - (count - 1).bit_length()))
    size, enough = samples.n, min(few, _HARDLY_ANY)
    for name, bits in (("key", _KEY_BITS), ("hash", _HASH_BITS)):
        shift = bits
        while shift and size > enough and search.open.any():
            shift, digit = max(0, shift - width), min(width, shift)
            counts = samples.reduce(_Histogram(search, shift, digit))
            search, size = _narrowed(search, cut, counts, left, name, shift)
            enough = few
    if search.open.any():
        _ranked(samples.reduce(_Fetch(search)), cut, left, search.open)
    return cut


def _is_there(samples: Samples, search: _Search, cut: Cut, left: Counts, guess: Between, most: int) -> bool:
    """Look for the cuts where they are guessed, and take them into `cut`; return whether all were there."""
    before, fetched, found = samples.reduce(_Guess(search, guess.low, guess.high, most))
    if fetched > most:
        return False
    there = before + sum(np.bincount(one.group, minlength=len(left)) for one in found)
    if ((before >= left) | (there < left))[search.open].any():
        return False
    if search.open.any():
        _ranked(found, cut, left - before, search.open)
    return True


def _narrowed(search: _Search, cut: Cut, counts: Counts, left: Counts, name: str, shift: int) -> tuple[_Search, int]:
    """Take a histogram into the search; return it and how many candidates are left. Whole bins need no more."""
    groups = np.flatnonzero(search.open)
    totals = np.cumsum(counts[groups], axis=1)
    bins = (totals < left[groups, None]).sum(axis=1)
    inside = counts[groups, bins]
    left[groups] -= totals[np.arange(len(groups)), bins] - inside
    span = (1 << shift) - 1
    kind = np.uint32 if name == "key" else np.uint64
    starts = getattr(search, name).copy()
    starts[groups] += bins.astype(kind) << kind(shift)
    whole = inside == left[groups]
    done = groups[whole]
    if name == "key":
        cut.keys[done] = starts[done].astype(np.int64) + span
        search = replace(search, key=starts, span=span)
    else:
        cut.keys[done], cut.hashes[done] = search.key[done], starts[done] + kind(span)
        search = replace(search, hash=starts, hash_span=span)
    still = search.open.copy()
    still[done] = False
    return replace(search, open=still), int(inside[~whole].sum())


def _ranked(found: list[_Found], cut: Cut, left: Counts, open_: NDArray[np.bool_]) -> None:
    """Rank the candidates and put the last one that stays into the cut of each open group."""
    group, key, hashes = (np.concatenate(column) for column in zip(*found, strict=True))
    groups = np.flatnonzero(open_)
    places, firsts = group << _KEY_BITS | key, groups << _KEY_BITS
    ranked = np.sort(places)
    lasts = ranked[np.searchsorted(ranked, firsts) + left[groups] - 1]
    tied = np.flatnonzero(lasts[np.minimum(np.searchsorted(lasts, places), len(lasts) - 1)] == places)
    tied = tied[np.lexsort((hashes[tied], places[tied]))]  # hashes decide
    above = np.searchsorted(ranked, lasts) - np.searchsorted(ranked, firsts)
    last = tied[np.searchsorted(places[tied], lasts) + left[groups] - above - 1]
    cut.keys[groups], cut.hashes[groups] = key[last], hashes[last]

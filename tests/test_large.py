"""Ranks without a sort, and selection from files that need not fit into memory: the same as sorting it all in memory."""

from __future__ import annotations

import importlib.util
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from thresher import score_file, score_table
from thresher.coreset import Coreset
from thresher.engines import make_engine
from thresher.engines.turns import Serial
from thresher.errors import (
    CorruptFileError,
    InputError,
    MissingSamplesError,
    RunDirectoryError,
    TooFewEpochsError,
    UnknownNameError,
)
from thresher.large import scoring
from thresher.large.scoring import score_store
from thresher.large.selecting import FileSamples, select_file
from thresher.ranking import blocks, cut
from thresher.ranking.blocks import Block, InMemory, reduce_blocks
from thresher.ranking.cut import first_of
from thresher.ranking.groups import Classes, Everybody
from thresher.ranking.keys import id_hash, key_values, order_keys
from thresher.ranking.order import Ranking
from thresher.registry import make_scorer, make_selector, scorers
from thresher.replay import Request, replay
from thresher.score_file import ScoreColumn, ScoreFile
from thresher.score_table import read_scores, write_scores
from thresher.selection import select
from thresher.selectors._base import Rule
from thresher.selectors.learnable import Learnable
from thresher.selectors.stratified import Stratified
from thresher.selectors.top import Top
from thresher.trajectory.reader import Trajectory
from thresher.types import Pool, Scores

FLOATS = st.floats(width=32, allow_nan=True, allow_infinity=True) | st.sampled_from([0.0, -0.0, 1.0, float("nan")])
FILES = [HealthCheck.function_scoped_fixture]


def sorted_way(values: Any, targets: Any, quotas: Any, order: str, seed: int = 0) -> list[int]:
    """Return the first `quotas[g]` ids of every group by a plain sort: by score, NaN last, then by the hash of the id."""
    ids = np.arange(len(values))
    signed = {"hardest": -values, "easiest": values, "drawn": np.zeros(len(values))}[order] + 0.0
    kept = []
    for group, quota in enumerate(quotas):
        members = ids[targets == group]
        rank = np.lexsort((id_hash(members, seed), signed[members]))
        kept += members[rank[:quota]].tolist()
    return sorted(kept)


class Shards(InMemory):
    """Samples in small blocks, each found out about alone, merged as engines do."""

    def blocks(self) -> Any:
        """Yield blocks of seven."""
        for block in super().blocks():
            for row in range(0, len(block), 7):
                rows = slice(row, row + 7)
                targets = None if block.targets is None else block.targets[rows]
                yield Block(block.first + row, block.values[rows], block.hard_end, targets)

    def reduce(self, step: Any) -> Any:
        """Reduce two halves apart, then together."""
        found = list(self.blocks())
        half = max(1, len(found) // 2)
        parts = [reduce_blocks(step, part) for part in (found[:half], found[half:]) if part]
        return parts[0] if len(parts) == 1 else step.merge(*parts)


@settings(max_examples=200, deadline=None)
@given(st.lists(FLOATS, min_size=1, max_size=60))
def test_keys_order_as_a_sort_does(values: list[float]) -> None:
    found = np.array(values, dtype=np.float32)
    np.testing.assert_array_equal(np.sort(found), found[np.argsort(order_keys(found), kind="stable")])
    distinct = len(np.unique(found))  # -0 is 0, and NumPy counts NaN once
    assert len(np.unique(order_keys(found))) == distinct
    falling = order_keys(found, falling=True)
    np.testing.assert_array_equal(np.sort(-found), -found[np.argsort(falling, kind="stable")])
    np.testing.assert_array_equal(key_values(order_keys(found)), found)
    np.testing.assert_array_equal(key_values(falling, falling=True), found)


def test_the_hash_is_a_bijection_and_fair() -> None:
    hashes = id_hash(np.arange(200_000), 5)
    assert len(np.unique(hashes)) == 200_000
    shares = np.bincount((hashes >> np.uint64(58)).astype(np.int64), minlength=64) / 200_000
    assert abs(shares * 64 - 1).max() < 0.1


@settings(max_examples=200, deadline=None)
@given(
    values=arrays.arrays(np.float32, st.integers(1, 90), elements=FLOATS) | arrays.arrays(
        np.float32, st.integers(1, 90), elements=st.sampled_from([0.0, -0.0, 1.0, 2.0])
    ),
    classes=st.integers(1, 5),
    order=st.sampled_from(["hardest", "easiest", "drawn"]),
    few=st.sampled_from([0, 3, 1 << 20]),
    digit=st.sampled_from([1, 3, 16]),
    low_is_hard=st.booleans(),
    sizes_known=st.booleans(),
    glimpse=st.booleans(),
    data=st.data(),
)  # fmt: skip
def test_any_ranking_is_cut_where_a_sort_cuts_it(
    values: Any, classes: int, order: Literal["hardest", "easiest", "drawn"], few: int, digit: int, low_is_hard: bool,
    sizes_known: bool, glimpse: bool, data: st.DataObject,
) -> None:  # fmt: skip
    """`few` 0 makes the histograms go through all bits of score and hash; a glimpse of so few samples guesses badly."""
    n = len(values)
    targets = np.arange(n) * 7 % classes
    counts = np.bincount(targets, minlength=classes)
    quotas = np.array([data.draw(st.integers(0, int(count))) for count in counts])
    samples = Shards(Scores(-values if low_is_hard else values, "low" if low_is_hard else "high"), Pool(n, targets))
    groups, ranking = Classes() if classes > 1 else Everybody(), Ranking(order, 11 if order == "drawn" else 0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cut, "_DIGIT_BITS", digit)
        if glimpse:
            small_glimpses(patch, 8, 4, 3)
        found = first_of(samples, ranking, groups, quotas, few, counts if sizes_known else None)
    assert samples.where(found).tolist() == sorted_way(values, targets, quotas, order, ranking.seed)


@dataclass(frozen=True)
class ButTheFirst:
    """Everybody but sample 0, which belongs to no group."""

    def of(self, block: Block) -> Any:
        """Return -1 for sample 0, 0 for the others."""
        return np.where(np.arange(block.first, block.first + len(block)) > 0, 0, -1)


def test_whoever_is_drawn_first_stays_out_where_nobody_or_no_group_stays() -> None:
    """With this seed the hash of sample 0 is 0, the key that stands for nobody."""
    seed = (1 << 64) - 0x9E3779B97F4A7C15
    assert id_hash(np.arange(1), seed).tolist() == [0]
    samples = Shards(Scores(np.zeros(20, np.float32)), Pool(20, np.arange(20) % 2))
    ranking = Ranking("drawn", seed)
    for quotas in ([0, 3], [3, 0], [0, 0], [1, 10]):
        kept = samples.where(first_of(samples, ranking, Classes(), np.array(quotas))).tolist()
        assert kept == sorted_way(np.zeros(20), np.arange(20) % 2, quotas, "drawn", seed)
    for sizes in (None, np.array([19])):
        assert 0 not in samples.where(first_of(samples, ranking, ButTheFirst(), np.array([5]), sizes=sizes))


@pytest.mark.parametrize("low_is_hard", [False, True])
@pytest.mark.parametrize("order", ["hardest", "easiest"])
@pytest.mark.parametrize("digit", [1, 3, 8, 16])
def test_a_cut_at_the_end_of_a_bin_is_at_no_other_score(
    monkeypatch: pytest.MonkeyPatch, digit: int, order: Literal["hardest", "easiest"], low_is_hard: bool
) -> None:
    """The last key of a bin may be that of no number, or of -0, which compares as 0 does: every quota of awkward scores."""
    monkeypatch.setattr(cut, "_DIGIT_BITS", digit)
    values = np.array([np.inf, 3e38, 1, 1e-45, 0.0, -0.0, 0.0, -1e-45, -1e-40, -1, -3e38, -np.inf], dtype=np.float32)
    samples = Shards(Scores(values, "low" if low_is_hard else "high"), Pool(len(values)))
    signed = -values if low_is_hard else values
    for quota in range(len(values) + 1):
        found = samples.where(first_of(samples, Ranking(order), Everybody(), np.array([quota]), few=0))
        assert found.tolist() == sorted_way(signed, np.zeros(len(values)), [quota], order), quota


@pytest.mark.parametrize("end", ["high", "low"])
def test_strata_are_those_of_what_is_left_however_far_off_the_dropped_ones_are(end: Literal["high", "low"]) -> None:
    values = np.array([1e38, 1e30, 1, 1, 1, 1], dtype=np.float32) * (1 if end == "high" else -1)
    kept = select(Scores(values, end), Pool(6), 3, Stratified(cutoff=0.34)).ids
    assert len(kept) == 3
    assert kept.min() >= 2


@pytest.mark.parametrize("lucky", [True, False])
def test_a_draw_is_found_by_one_look_where_it_lies_as_expected(monkeypatch: pytest.MonkeyPatch, lucky: bool) -> None:
    """Groups from 3 samples to 240 000; where a group's hashes do not lie as they should, the histograms find its cut."""
    n = 300_000
    sizes = np.array([3, 50, 947, 9_000, 50_000, 240_000])
    targets = np.repeat(np.arange(6), sizes)
    samples, quotas = InMemory(Scores(np.zeros(n, np.float32)), Pool(n, targets)), np.array([1, 50, 0, 1, 2_000, 200_000])
    steps: list[str] = []
    plain = InMemory.reduce

    def told(self: InMemory, step: Any) -> Any:
        steps.append(type(step).__name__)
        return plain(self, step)

    monkeypatch.setattr(InMemory, "reduce", told)
    if not lucky:  # as if there were more samples than there are: the cut lies elsewhere
        sizes = sizes * 3
    kept = samples.where(first_of(samples, Ranking("drawn", 5), Classes(), quotas, sizes=sizes))
    assert kept.tolist() == sorted_way(np.zeros(n), targets, quotas, "drawn", 5)
    assert steps == ["_Guess"] if lucky else steps[:2] == ["_Guess", "_Histogram"]


def small_glimpses(patch: pytest.MonkeyPatch, many: int, blocks_: int, rows: int) -> None:
    """Have samples glimpsed from `many` on, so many blocks of so many rows."""
    for module in (blocks, score_file):
        for name, value in (("MANY", many), ("GLIMPSES", blocks_), ("GLIMPSE", rows)):
            patch.setattr(module, name, value)


@pytest.mark.parametrize(
    ("kind", "steps"),
    [
        ("random", ["_Guess"]),
        ("many equal", ["_Histogram"]),  # too many lie where the cut must be, and that is seen beforehand
        ("sorted", ["_Histogram"]),  # the blocks differ too much to tell
        ("other", ["_Guess", "_Histogram"]),  # what was glimpsed is unlike the rest: the cut is elsewhere
        ("crowded", ["_Guess", "_Histogram"]),  # and here far more lie there than expected
    ],
)
def test_of_many_samples_a_glimpse_tells_where_to_look(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, kind: str, steps: list[str]
) -> None:
    n, keep, rows = 64_000, 6_400, 200
    seen = np.arange(n) % (n // 32) < rows
    values = np.random.default_rng(0).standard_normal(n).astype(np.float32)
    if kind == "many equal":
        values = np.float32(values > 0)
    elif kind == "sorted":
        values.sort()
    elif kind == "other":
        values[seen] += 5
    elif kind == "crowded":
        values[~seen] = 1.28 + values[~seen] / 1000
    small_glimpses(monkeypatch, n, 32, rows)
    monkeypatch.setattr(score_table, "_GROUP", n // 32)
    write_scores(tmp_path / "scores.parquet", {"x": Scores(values)})
    ran: list[str] = []

    def counted(self: Any, step: Any) -> Any:
        ran.append(type(step).__name__)
        return reduce(self, step)

    for samples in (
        InMemory(Scores(values), Pool(n)),
        FileSamples(ScoreFile.open(tmp_path / "scores.parquet"), "x", Serial()),
    ):
        reduce = type(samples).reduce
        monkeypatch.setattr(type(samples), "reduce", counted)
        ran.clear()
        found = samples.where(first_of(samples, Ranking("hardest"), Everybody(), np.array([keep]), few=5_000))
        ids = found if isinstance(found, np.ndarray) else np.concatenate(list(found))
        assert ids.tolist() == sorted_way(values, np.zeros(n), [keep], "hardest")
        assert ran[: len(steps)] == steps
        assert (ran == ["_Guess"]) == (kind == "random")


def test_histograms_add_up_and_stay_small_with_many_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    n, classes = 300_000, 3_000
    values, targets = rng.normal(size=n).astype(np.float32), rng.integers(classes, size=n)
    quotas = np.bincount(targets, minlength=classes) // 3
    sizes: list[int] = []
    plain = cut._Histogram.__call__

    def counted(self: Any, block: Block) -> Any:
        found = plain(self, block)
        sizes.append(found.nbytes)
        return found

    monkeypatch.setattr(cut._Histogram, "__call__", counted)
    samples = InMemory(Scores(values), Pool(n, targets))
    kept = samples.where(first_of(samples, Ranking("hardest"), Classes(), quotas, few=1000))
    assert kept.tolist() == sorted_way(values, targets, quotas, "hardest")
    assert max(sizes) <= 2**23


SELECTORS = [
    ("top", {}), ("top", {"end": "easy"}), ("top", {"balanced": True}),
    ("near_median", {}), ("near_median", {"balanced": True}), ("uniform", {}), ("uniform", {"balanced": True}),
    ("stratified", {"strata": 4}), ("stratified", {"cutoff": 0.3}),
    ("stratified", {"cutoff": 0.2, "strata": 7, "balanced": True}),
]  # fmt: skip


@settings(max_examples=60, deadline=None, suppress_health_check=FILES)
@given(
    values=st.lists(st.floats(-9, 9, width=32) | st.sampled_from([0.0, 1.0]), min_size=1, max_size=70),
    chosen=st.sampled_from(SELECTORS),
    hard_end=st.sampled_from(["high", "low"]),
    rows=st.integers(1, 40),
    seed=st.integers(0, 9),
    data=st.data(),
)
def test_a_file_gives_the_coreset_that_memory_gives(
    tmp_path: Path, values: list[float], chosen: Any, hard_end: Any, rows: int, seed: int, data: st.DataObject
) -> None:
    n, selector = len(values), make_selector(chosen[0], chosen[1])
    assert isinstance(selector, Rule)
    keep = data.draw(st.integers(1, n - int(selector.params().get("cutoff", 0) * n)))
    scores, pool = Scores(np.array(values), hard_end, {"scorer": "x"}), Pool(n, np.arange(n) * 5 % 3)
    path = tmp_path / "scores.parquet"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(score_table, "_GROUP", rows)
        write_scores(path, {"x": scores}, pool.targets)
    select(scores, pool, keep, selector, seed).save(tmp_path / "memory.parquet")
    assert select_file(ScoreFile.open(path), "x", tmp_path / "file.parquet", keep, selector, seed) == keep
    found, wanted = (Coreset.load(tmp_path / f"{name}.parquet") for name in ("file", "memory"))
    assert (found.digest, found.n, found.source) == (wanted.digest, wanted.n, wanted.source)


def stored(path: Path, n: int = 5_000) -> tuple[Scores, Pool]:
    """Write n scores with ties in row groups of 300 and return them."""
    rng = np.random.default_rng(3)
    scores, pool = Scores(np.round(rng.normal(size=n), 1), "low", {"scorer": "x"}), Pool(n, rng.integers(7, size=n))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(score_table, "_GROUP", 300)
        write_scores(path, {"x": scores}, pool.targets)
    assert len(ScoreFile.open(path).group_rows) == -(-n // 300)
    return scores, pool


@pytest.mark.parametrize("selector", [Top(balanced=True), Stratified(cutoff=0.1)], ids=str)
def test_processes_give_the_same_coreset(tmp_path: Path, selector: Rule) -> None:
    scores, pool = stored(tmp_path / "scores.parquet")
    with make_engine("processes", 2) as engine:
        select_file(ScoreFile.open(tmp_path / "scores.parquet"), "x", tmp_path / "c.parquet", 0.3, selector, engine=engine)
    assert Coreset.load(tmp_path / "c.parquet").digest == select(scores, pool, 0.3, selector).digest


def test_what_cannot_be_selected_from_is_told_as_in_memory(tmp_path: Path, call: Any) -> None:
    path, out = tmp_path / "scores.parquet", tmp_path / "c.parquet"
    for values in ([1, np.nan, 3, np.nan], [1, np.inf, -np.inf, 2], [np.nan] * 9):
        scores = Scores(np.array(values))
        write_scores(path, {"x": scores})
        with pytest.raises((MissingSamplesError, InputError)) as in_memory:
            select(scores, Pool(len(values)), 2, Top())
        with pytest.raises(type(in_memory.value)) as from_file:
            select_file(ScoreFile.open(path), "x", out, 2, Top())
        assert str(from_file.value) == str(in_memory.value)
    with pytest.raises(UnknownNameError, match=r"score column of .*, one of x, but got 'tdds'"):
        select_file(ScoreFile.open(path), "tdds", out, 2, Top())
    for other in ("top", Learnable(), Top):
        with pytest.raises(InputError, match="selector that reads block by block"):
            select_file(ScoreFile.open(path), "x", out, 2, other)  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"top\(balanced=True\) needs the class label"):
        select_file(ScoreFile.open(path), "x", out, 2, Top(balanced=True))
    write_scores(path, {"x": Scores(np.zeros(3))}, np.array([0, -1, 2]))
    with pytest.raises(InputError, match="labels from 0 on, but got -1"):
        select_file(ScoreFile.open(path), "x", out, 2, Top(balanced=True))
    for far in (10**9, 10**12, 2**62):  # hashes of names, say
        write_scores(path, {"x": Scores(np.zeros(3))}, np.array([0, far, 2]))
        with pytest.raises(InputError, match=f"number the classes from 0, but got {far}"):
            select_file(ScoreFile.open(path), "x", out, 2, Top(balanced=True))
        write_scores(path, {"el2n": Scores(np.zeros(3))}, np.array([0, far, 2]))
        call(
            "select", path, "--method", "el2n", "--keep", 2, "--out", tmp_path / "kept.parquet"
        )  # which asks for no classes
    pq.write_table(pa.table({"sample_id": [0, 2, 1], "x": [0.1, 0.2, 0.3]}), path)
    with pytest.raises(CorruptFileError, match="ascending"):
        select_file(ScoreFile.open(path), "x", out, 2, Top())
    assert not out.exists()


@dataclass(frozen=True)
class TooMany(Top):
    """Keeps two more than it was asked for."""

    def kept(self, samples: Any, keep: int, rng: np.random.Generator) -> Any:
        return super().kept(samples, keep + 2, rng)


def test_a_rule_that_keeps_another_number_writes_no_coreset(tmp_path: Path) -> None:
    stored(tmp_path / "s.parquet", 200)
    select_file(ScoreFile.open(tmp_path / "s.parquet"), "x", tmp_path / "c.parquet", 5, Top())
    before = (tmp_path / "c.parquet").read_bytes()
    with pytest.raises(InputError, match=r"Expected 5 samples from the selector .*, but it picked 7.*check_selector"):
        select_file(ScoreFile.open(tmp_path / "s.parquet"), "x", tmp_path / "c.parquet", 5, TooMany())
    assert (tmp_path / "c.parquet").read_bytes() == before
    assert {path.name for path in tmp_path.iterdir()} == {"s.parquet", "c.parquet", "c.parquet.json"}


def test_a_damaged_page_is_seen_and_no_coreset_is_left(tmp_path: Path) -> None:
    path = tmp_path / "scores.parquet"
    stored(path)
    content = bytearray(path.read_bytes())
    place = len(content) // 3
    content[place] ^= 1
    path.write_bytes(content)
    with pytest.raises(CorruptFileError, match="score again"):
        select_file(ScoreFile.open(path), "x", tmp_path / "c.parquet", 0.1, Top(balanced=True))
    assert [p.name for p in tmp_path.iterdir()] == ["scores.parquet"]


@pytest.mark.parametrize("ours", [True, False])
def test_a_table_that_is_replaced_between_two_passes_is_told(tmp_path: Path, ours: bool) -> None:
    """It was told as a fault of the selector, which kept another number than it was asked for, or not at all."""
    path, other = tmp_path / "scores.parquet", tmp_path / "other.parquet"
    for seed, place in enumerate((path, other)):
        values = np.random.default_rng(seed).random(5000, dtype=np.float32)
        if ours:
            write_scores(place, {"x": Scores(values)})
        else:
            pq.write_table(pa.table({"sample_id": np.arange(5000), "x": values}), place)
    time = path.stat().st_mtime_ns + (not ours)  # of another tool's table that and the size are all there is to go by
    os.utime(other, ns=(0, time))
    file = ScoreFile.open(path)

    def replace(number: int, done: int, total: int) -> None:
        if number == 1 and done == total:
            os.replace(other, path)

    with pytest.raises(RunDirectoryError, match="was replaced or written to while it was read"):
        select_file(file, "x", tmp_path / "c.parquet", 500, Top(), on_step=replace)
    assert [p.name for p in tmp_path.iterdir()] == ["scores.parquet"]


def test_a_copy_of_a_table_is_the_same_table(tmp_path: Path) -> None:
    """Machines that select together may each have a copy, made at another time."""
    path = tmp_path / "scores.parquet"
    write_scores(path, {"x": Scores(np.arange(5000, dtype=np.float32))})
    file = ScoreFile.open(path)
    os.utime(path, ns=(0, 0))
    assert select_file(file, "x", tmp_path / "c.parquet", 500, Top()) == 500


def test_tables_of_other_tools_are_read_from_the_file_too(tmp_path: Path) -> None:
    path = tmp_path / "scores.parquet"
    pq.write_table(pa.table({"mine": [0.5, None, 0.25], "sample_id": [0, 1, 2]}), path)
    with pytest.raises(MissingSamplesError, match=r"1 of 3 have none \(ids 1\)"):
        select_file(ScoreFile.open(path), "mine", tmp_path / "c.parquet", 2, Top())
    pq.write_table(pa.table({"mine": [5, 1, 3], "sample_id": [0, 1, 2]}), path)
    select_file(ScoreFile.open(path), "mine", tmp_path / "c.parquet", 2, Top())
    assert Coreset.load(tmp_path / "c.parquet").ids.tolist() == [0, 2]


def test_the_command_selects_alike_with_every_engine(tmp_path: Path, call: Any) -> None:
    scores, pool = stored(tmp_path / "scores.parquet")
    told = {}
    for engine in ("serial", "processes"):
        out = tmp_path / f"{engine}.parquet"
        options = ["--method", "tdds", "--column", "x", "--keep", "0.1", "--out", out, "--engine", engine]
        call("select", tmp_path / "scores.parquet", *options, *(["--workers", 2] if engine == "processes" else []))
        told[engine] = json.loads((tmp_path / f"{engine}.parquet.json").read_text())
    assert told["serial"] == told["processes"]
    assert told["serial"]["checksum"] == select(scores, pool, 0.1, Top()).digest
    assert "one of serial, turns, threads, processes, ray" in call.refused(
        "select", tmp_path / "scores.parquet", "--column", "x", "--keep", "0.1", "--out", tmp_path / "c", "--engine", "spark"
    )


def test_ties_do_not_follow_the_order_of_the_data() -> None:
    """All scores equal, samples sorted by class: every class keeps about its share."""
    n = 10_000
    kept = select(Scores(np.zeros(n)), Pool(n), 0.1, Top()).ids
    assert abs(np.bincount(kept // 1000, minlength=10) - 100).max() < 40


def test_samples_of_a_file_are_samples_in_memory(tmp_path: Path) -> None:
    scores, pool = stored(tmp_path / "scores.parquet")
    with make_engine("serial") as engine:
        samples = FileSamples(ScoreFile.open(tmp_path / "scores.parquet"), "x", engine).labelled("this test")
        found = first_of(samples, Ranking("easiest"), Classes(), np.full(7, 9))
        kept = np.concatenate(list(samples.where(found)))
    assert kept.tolist() == InMemory(scores, pool).where(found).tolist()


@pytest.mark.parametrize("holes", [False, True], ids=["complete", "with holes"])
def test_a_store_is_scored_part_by_part_to_the_same_bits(
    tmp_path: Path, holes: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every scorer of the house, those that must see all samples among them, with one bucket a part."""
    monkeypatch.setattr(scoring, "_PART_ROWS", 1)
    record_store(tmp_path / "t", holes)
    source = Trajectory.open(tmp_path / "t")
    assert source.buckets == 3
    requests = [Request(name, make_scorer(name, {})) for name in scorers()]
    requests.append(Request("early", make_scorer("tdds", {"window": 4}), 9))
    score_store(source, requests, tmp_path / "parts.parquet")
    for name in ("processes", "threads"):
        with make_engine(name, 2) as engine:
            score_store(source, requests, tmp_path / f"{name}.parquet", engine=engine)
        assert (tmp_path / "parts.parquet").read_bytes() == (tmp_path / f"{name}.parquet").read_bytes()
    found, whole = read_scores(tmp_path / "parts.parquet"), replay(source, requests)
    np.testing.assert_array_equal(found.targets, np.arange(60) % 5)
    for name, wanted in whole.items():
        np.testing.assert_array_equal(found.columns[name].values, wanted.values, err_msg=name)
        assert (found.columns[name].hard_end, found.columns[name].source) == (wanted.hard_end, wanted.source)


def record_store(folder: Path, holes: bool) -> None:
    """Record 60 samples in buckets of 25 as the tests of replay do."""
    spec = importlib.util.spec_from_file_location("replay_tests", Path(__file__).parent / "test_replay.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.record(folder, holes=holes)


def test_a_part_is_a_recording_of_its_buckets(tmp_path: Path) -> None:
    record_store(tmp_path / "t", True)
    whole = Trajectory.open(tmp_path / "t")
    part = whole.part(1, 3)
    assert (part.start, part.n, part.epochs, part.targets, part.features) == (25, 35, whole.epochs, None, None)
    for all_, some in zip(whole.frames(["loss"]), part.frames(["loss"]), strict=True):
        mine = all_.ids >= 25
        np.testing.assert_array_equal(some.ids, all_.ids[mine] - 25)
        np.testing.assert_array_equal(some.values["loss"], all_.values["loss"][mine])
    assert part.part(1, 2).start == 50
    requests = [Request(name, make_scorer(name)) for name in ("el2n", "random")]
    for engine in (Serial(), make_engine("threads", 2)):
        with engine:
            score_store(part, requests, tmp_path / "part.parquet", engine=engine)
        found = read_scores(tmp_path / "part.parquet").columns
        assert found == replay(part, requests)


def test_scoring_names_what_it_cannot_do_before_it_reads(tmp_path: Path) -> None:
    record_store(tmp_path / "t", False)
    with pytest.raises(TooFewEpochsError, match="after 70 epochs"):
        score_store(Trajectory.open(tmp_path / "t"), [Request("x", make_scorer("tdds", {}), 70)], tmp_path / "s.parquet")
    assert not (tmp_path / "s.parquet").exists()


def test_row_groups_do_not_depend_on_the_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(score_table, "_GROUP", 10)
    values = np.arange(47, dtype=np.float32)
    for name, sizes in {"one": [47], "some": [3, 30, 14], "many": [1] * 47}.items():
        stops = np.cumsum(sizes)
        parts = [({"x": values[a:b]}, None) for a, b in zip(stops - sizes, stops, strict=True)]
        score_table.write_score_parts(tmp_path / name, {"x": ScoreColumn("high", {})}, False, parts)
    assert len({(tmp_path / name).read_bytes() for name in ("one", "some", "many")}) == 1
    assert ScoreFile.open(tmp_path / "many").group_rows == (10, 10, 10, 10, 7)


def test_several_workers_come_only_for_large_stores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    record_store(tmp_path / "t", False)
    source, requests = Trajectory.open(tmp_path / "t"), [Request("x", make_scorer("tdds", {}))]
    assert scoring.usual_engine(source, requests, 2) == "serial"
    monkeypatch.setattr(scoring, "_WORTH_THREADS", 1000)
    assert [scoring.usual_engine(source, requests, workers) for workers in (1, 2, 8)] == ["serial", "threads", "serial"]
    monkeypatch.setattr(scoring, "_WORTH_PROCESSES", 1000)
    assert [scoring.usual_engine(source, requests, workers) for workers in (1, 2, 8)] == ["serial", "threads", "processes"]

"""Suspects: two humps of the margins are told from a tail, and `auto` leaves them out."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from scipy.stats import norm

from thresher.errors import InputError
from thresher.learned import late
from thresher.selection import select
from thresher.selectors._quota import class_quotas
from thresher.selectors.learnable import Learnable
from thresher.suspects import Suspects, find_suspects
from thresher.trajectory.writer import TrajectoryWriter
from thresher.types import Frame, Pool, Scores


def humps(wrong: int, n: int = 2000, distance: float = 4.0) -> Any:
    """Return margins of n samples of which the first `wrong` have wrong labels."""
    rng = np.random.default_rng(1)
    return np.concatenate([rng.normal(1 - distance, 1, wrong), rng.normal(1, 1, n - wrong)]).astype(np.float32)


@pytest.mark.parametrize("share", [0.05, 0.2, 0.4])
def test_the_share_of_wrong_labels_is_estimated(share: float) -> None:
    wrong = int(share * 2000)
    found = find_suspects(humps(wrong))
    assert found.share == pytest.approx(share, abs=0.02)
    assert found.mask[:wrong].mean() > 0.85
    assert found.mask[wrong:].mean() < 0.03
    assert found.to_json()["suspects"] == found.mask.sum()


@pytest.mark.parametrize("shape", ["normal", "skewed", "flat", "hard and flat", "hard and broad", "tail", "constant", "few"])
def test_one_hump_has_no_suspects_whatever_its_tail(shape: str) -> None:
    rng = np.random.default_rng(0)
    margins = {
        "normal": rng.normal(0, 3, 5000),
        "skewed": 4 - rng.gamma(2.0, 2.0, 5000),
        "flat": rng.uniform(-2, 3, 5000),
        "hard and flat": rng.uniform(-8, 5, 5000),
        "hard and broad": rng.uniform(-4, 3, 5000) + rng.normal(0, 0.5, 5000),
        "tail": 10 * rng.beta(1.2, 1.5, 5000) - 6,
        "constant": np.full(100, -1.0),
        "few": np.array([-5.0, 5.0]),
    }[shape]
    found = find_suspects(margins.astype(np.float32))
    assert (found.mask.sum(), found.share, found.wrong.max()) == (0, 0.0, 0.0)
    assert found.reason


def test_two_humps_of_right_labels_have_no_suspects() -> None:
    """Easy and hard samples apart, but none argued against."""
    assert find_suspects(humps(400) + 10).mask.sum() == 0


def test_a_wide_lower_hump_does_not_reach_over_the_upper_one() -> None:
    rng = np.random.default_rng(2)
    margins = np.concatenate([rng.normal(-6, 3, 600), rng.normal(2, 0.5, 1400), [5, 6]]).astype(np.float32)
    found = find_suspects(margins)
    assert not found.mask[margins > 3.5].any()
    assert found.wrong[-2:].tolist() == [0, 0]
    assert found.mask[:600].mean() > 0.95


def test_what_is_argued_against_most_is_suspected_most() -> None:
    """The tail of a wide upper hump reaches below a narrow lower one, and clears nobody there."""
    rng = np.random.default_rng(0)
    margins = np.concatenate([rng.normal(5, 4, 8000), rng.normal(-3, 0.7, 2000)]).astype(np.float32)
    found = find_suspects(margins)
    assert found.mask[np.argsort(margins)[:1000]].all()
    assert (np.diff(found.wrong[np.argsort(margins)]) <= 1e-6).all()


@pytest.mark.parametrize(("distance", "separation"), [(1.8, 1.63), (2.4, 2.13)])
def test_humps_count_as_two_from_a_separation_of_2(distance: float, separation: float) -> None:
    """Evenly spread quantiles, 3 of 20 in the lower hump, which the fit finds a little nearer than it is."""
    upper, lower = (norm.ppf((np.arange(n) + 0.5) / n) for n in (17_000, 3000))
    found = find_suspects(np.concatenate([0.3 + upper, 0.3 - distance + lower]).astype(np.float32))
    assert found.separation == pytest.approx(separation, abs=0.1)
    assert found.mask.any() == (separation > 2)


def test_a_shallow_valley_is_a_valley() -> None:
    """Two humps of 2 and 3 fifths, 3 standard deviations apart: in between the density is 0.8 of the lower peak."""
    found = find_suspects(humps(1600, n=4000, distance=3.0))
    assert found.share == pytest.approx(0.4, abs=0.04)


def test_a_small_hump_on_a_slope_is_found() -> None:
    """Wrong labels of a hard set: no valley between the humps."""
    rng = np.random.default_rng(0)
    margins = np.concatenate([rng.normal(0, 1.5, 8000), rng.normal(-4.2, 1.5, 2000)]).astype(np.float32)
    found = find_suspects(margins)
    assert found.share == pytest.approx(0.2, abs=0.02)
    assert found.wrong[margins.argmin()] > 0.999  # the farther, the surer, also below the lower centre


def test_a_small_hump_on_a_slope_must_be_argued_against_more_than_the_others_are_argued_for() -> None:
    """Hard samples of an easy set: apart, a fifth of all and below 0, but by less than the others are above."""
    rng = np.random.default_rng(0)
    margins = np.concatenate([rng.normal(3.5, 1.5, 8000), rng.normal(-0.8, 1.5, 2000)]).astype(np.float32)
    found = find_suspects(margins)
    assert found.separation > 2
    assert -found.centres[1] < found.centres[0] < 0
    assert (found.mask.sum(), found.reason) == (0, "the logit margins have one broad hump, without a valley")


def test_a_hump_of_too_few_samples_is_not_called_a_broad_one() -> None:
    """Two samples of 2000, far below all others: apart, and yet none is suspected, for another reason than width."""
    rng = np.random.default_rng(0)
    found = find_suspects(np.concatenate([rng.normal(-6, 0.2, 2), rng.normal(8, 0.5, 1998)]).astype(np.float32))
    assert found.separation > 5
    assert found.mask.sum() == 0
    assert found.reason == "the lower of two humps holds about 2 of 2000 samples, too few to be told from a tail"


def test_separation_and_share_are_those_of_the_two_humps() -> None:
    """Ashman's D of N(-3, 1) and N(5, 4^2): 8 / sqrt(17 / 2) = 2.74."""
    rng = np.random.default_rng(0)
    found = find_suspects(np.concatenate([rng.normal(5, 4, 40_000), rng.normal(-3, 1, 10_000)]).astype(np.float32))
    assert found.separation == pytest.approx(2.74, abs=0.15)
    assert found.centres == (pytest.approx(-3, abs=0.2), pytest.approx(5, abs=0.4))
    assert found.share == pytest.approx(float(found.wrong.mean()), abs=1e-6)
    np.testing.assert_array_equal(found.mask, found.wrong > 0.5)


def test_what_is_written_of_suspects_is_rounded_and_no_more() -> None:
    nobody = np.zeros(3, np.float32)
    found = Suspects(nobody, np.array([True, False, True]), nobody, 0.123456, 2.3456, (-1.23456, 4.0))
    assert found.to_json() == {"suspects": 2, "share": 0.1235, "separation": 2.35, "centres": [-1.235, 4.0]}


def test_fifty_samples_are_enough_to_tell_humps_apart() -> None:
    margins = np.concatenate([np.linspace(-6, -4, 10), np.linspace(2, 4, 40)]).astype(np.float32)
    assert find_suspects(margins).mask.sum() == 10
    assert "too few samples" in find_suspects(margins[:49]).reason


@pytest.mark.parametrize("most", ["_MOST", "_DENSITY"])
def test_no_class_stands_for_all_where_classes_take_turns(most: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every second sample, of classes without wrong labels, stood for all where there are more than are looked at."""
    monkeypatch.setattr(f"thresher.suspects.{most}", 2000)
    rng = np.random.default_rng(0)
    margins = rng.normal(4.5, 1, 8000)
    wrong = (np.arange(8000) % 2 > 0) & (rng.random(8000) < 0.4)
    margins[wrong] = rng.normal(-4, 1, wrong.sum())
    order = rng.permutation(8000)
    found, shuffled = (find_suspects(m.astype(np.float32)) for m in (margins, margins[order]))
    np.testing.assert_array_equal(found.mask[order], shuffled.mask)
    assert found.mask[wrong].mean() > 0.99
    assert found.mask[~wrong].mean() < 0.01


def test_margins_that_are_missing_are_refused() -> None:
    margins = humps(100)
    margins[7] = np.nan
    with pytest.raises(InputError, match="1 of 2000 have none: sample 7 has nan"):
        find_suspects(margins)


@pytest.mark.parametrize("share", [0.01, 0.3, 1.0])
def test_late_is_who_missed_more_than_the_kept_share_of_the_typical_ones_right_time(share: float) -> None:
    """In whole epochs of 40; t is the smallest time that 55 % of the samples asked about do not exceed."""
    rng = np.random.default_rng(0)
    wrong, among = rng.integers(41, size=200), rng.random(200) < 0.7
    for asked in (None, among, np.zeros(200, dtype=bool)):
        times = sorted(wrong if asked is None else wrong[asked])
        typical = next((t for t in times if sum(w <= t for w in times) >= 0.55 * len(times)), 0)
        wanted = [w > typical + share * (40 - typical) for w in wrong]
        assert late((1 - wrong / 40).astype(np.float32), share, asked).tolist() == wanted


def noisy(classes: int = 4) -> tuple[Scores, Pool]:
    """Return 2 000 samples, the first 400 of them suspects, with a correctness that follows the margin."""
    margins = humps(400, distance=6)
    rng = np.random.default_rng(3)
    correctness = np.clip(0.5 + margins / 4, 0, 1).astype(np.float32)
    aux = {"correctness": correctness, "logit_margin": margins}
    return Scores(np.tanh(margins / 4), "low"), Pool(2000, rng.integers(classes, size=2000), None, classes, aux)


@pytest.mark.parametrize("keep", [0.1, 0.3])
def test_what_is_kept_is_neither_suspect_nor_late(keep: float) -> None:
    scores, pool = noisy()
    coreset = select(scores, pool, keep, Learnable())
    assert not find_suspects(pool.aux["logit_margin"]).mask[coreset.ids].any()
    wrong = 1 - pool.aux["correctness"]
    typical = float(np.quantile(wrong[~find_suspects(pool.aux["logit_margin"]).mask], 0.55))
    assert (wrong[coreset.ids] <= typical + keep * (1 - typical) + 1e-3).all()
    why = coreset.source["why"]
    assert why["suspects"] == pytest.approx(400, abs=8)
    assert why["text"].startswith(f"{why['suspects']} suspects")
    assert why["came_back"] == {"suspects": 0, "late": 0}
    assert why["of_hardest_first"]["suspects"] == min(why["suspects"], len(coreset))


def test_samples_that_score_0_come_last_and_are_drawn_by_the_seed() -> None:
    right = np.ones(1000, dtype=np.float32)
    pool = Pool(1000, np.arange(1000) % 2, None, 2, {"correctness": right, "logit_margin": 5 * right})
    scores = Scores(np.where(np.arange(1000) < 100, 1, 0).astype(np.float32))
    one, two = (set(select(scores, pool, 400, Learnable(), seed=seed).ids.tolist()) for seed in (0, 1))
    assert set(range(100)) <= one & two
    assert 170 < len(one & two) < 230  # of each 300 of 900 a third is the same by chance
    assert one == set(select(scores, pool, 400, Learnable(), seed=0).ids.tolist())


def test_the_late_come_back_before_the_suspects() -> None:
    scores, pool = noisy(classes=1)
    suspects = find_suspects(pool.aux["logit_margin"]).mask
    coreset = select(scores, pool, 1900, Learnable())
    ids, why = coreset.ids, coreset.source["why"]
    assert why["came_back"] == {"suspects": suspects[ids].sum(), "late": why["late"]}
    assert f"and {why['late']} late ones and {suspects[ids].sum()} suspects to fill up" in why["text"]
    assert f"drew {(~suspects).sum() - why['late']} of the {(~suspects).sum() - why['late']} others" in why["text"]
    assert (~suspects[ids]).sum() == (~suspects).sum()  # all others first
    out = np.setdiff1d(np.flatnonzero(suspects), ids)
    assert scores.values[out].max() <= scores.values[ids[suspects[ids]]].min()


@pytest.mark.parametrize("keep", [1, 7, 300, 1300, 2000])
def test_classes_of_any_size_and_number_keep_their_quotas(keep: int) -> None:
    """Of each class the first of the one ranking, as of that class alone; many classes, some of them empty."""
    scores, pool = noisy()
    targets = np.random.default_rng(0).zipf(1.5, pool.n).clip(max=400)
    ids = select(scores, Pool(pool.n, targets, None, 401, pool.aux), keep, Learnable(weighted=False)).ids
    np.testing.assert_array_equal(np.bincount(targets[ids], minlength=401), class_quotas(targets, keep))
    wrong, suspects = 1 - pool.aux["correctness"], find_suspects(pool.aux["logit_margin"]).mask
    level = np.where(suspects, 2, late(1 - wrong, keep / pool.n, ~suspects))
    for label in np.unique(targets[ids]):
        kept, out = (level[rows][targets[rows] == label] for rows in (ids, np.setdiff1d(np.arange(pool.n), ids)))
        assert kept.max() <= out.min(initial=2)


def test_what_is_told_is_what_was_there() -> None:
    """Ashman's D is no distance in logits, and where nobody is left out nothing is to be compared."""
    scores, pool = noisy()
    why = select(scores, pool, 0.1, Learnable()).source["why"]
    assert f"two humps, separation {why['separation']:.1f})" in why["text"]
    assert f"{why['late']} late ones (wrong in at least {int(100 * why['late_from'])}% of the epochs)" in why["text"]
    assert "A random draw would have held" in why["text"]
    suspects, right = find_suspects(pool.aux["logit_margin"]).mask, pool.aux["correctness"]
    open_late = late(right, 0.1, ~suspects) & ~suspects
    assert (why["late"], why["late_from"]) == (open_late.sum(), pytest.approx((1 - right[open_late]).min(), abs=1e-4))
    assert why["of_random"] == {"suspects": round(0.1 * suspects.sum()), "late": round(0.1 * open_late.sum())}
    few = Pool(10, np.arange(10) % 2, None, 2, {name: values[-10:] for name, values in pool.aux.items()})
    told = select(Scores(scores.values[-10:]), few, 10, Learnable()).source["why"]["text"]
    assert told == (
        "no suspects (too few samples to tell two humps from one: 10, not at least 50); "
        "drew 10 of the 10 others, classes in proportion"
    )


def test_a_share_of_epochs_is_told_that_all_late_ones_reach() -> None:
    """Two thirds are no 67 %, and one is no many."""
    right = np.append(np.ones(9, np.float32), np.float32(1 / 3))
    pool = Pool(10, np.zeros(10, np.int64), None, 1, {"correctness": right, "logit_margin": right})
    text = select(Scores(right), pool, 5, Learnable()).source["why"]["text"]
    assert "; 1 late one (wrong in at least 66% of the epochs); drew 5 of the 9 others" in text
    pool.aux["correctness"][9] = 0.71  # type: ignore[index]  # 0.29 in binary is a little less
    assert "at least 29%" in select(Scores(right), pool, 2, Learnable()).source["why"]["text"]


def test_without_suspects_only_the_late_are_left_out() -> None:
    scores, pool = noisy()
    coreset = select(scores, pool, 0.9, Learnable(suspects=False))
    assert "were not searched for" in coreset.source["why"]["text"]
    assert find_suspects(pool.aux["logit_margin"]).mask[coreset.ids].any()


def test_the_draw_follows_the_score() -> None:
    """With all samples open, chances are proportional: of two halves that weigh 3 and 1, 3 of 4 are of the first."""
    n = 20_000
    values = np.where(np.arange(n) < n // 2, 3, 1).astype(np.float32)
    pool = Pool(n, aux={"correctness": np.ones(n, np.float32), "logit_margin": np.ones(n, np.float32)})
    chosen = select(Scores(values), pool, 0.05, Learnable(balanced=False)).ids
    assert (chosen < n // 2).mean() == pytest.approx(0.745, abs=0.04)
    uniform = select(Scores(values), pool, 0.05, Learnable(balanced=False, weighted=False)).ids
    assert (uniform < n // 2).mean() == pytest.approx(0.5, abs=0.05)


def test_learnable_says_what_it_lacks() -> None:
    scores, pool = noisy()
    for name in pool.aux:
        others = {key: value for key, value in pool.aux.items() if key != name}
        with pytest.raises(InputError, match=f"needs the {name} of every sample .* of auto returns the scorers"):
            select(scores, Pool(pool.n, pool.targets, aux=others), 0.1, Learnable())
    with pytest.raises(InputError, match="correctness in"):
        select(scores, Pool(pool.n, pool.targets, aux={**pool.aux, "correctness": scores.values - 9}), 0.1, Learnable())


def test_the_command_shows_the_most_suspect_and_counts_the_others(tmp_path: Path, call: Any) -> None:
    margins = np.concatenate([np.linspace(2, 6, 175), np.linspace(-4, -6, 25)]).astype(np.float32)
    with TrajectoryWriter.create(tmp_path / "store", 200, 7, ["logit_margin"]) as store:
        store.append(Frame(0, np.arange(200), {"logit_margin": margins}, 200), targets=np.arange(200) % 7)
    told = call("suspects", tmp_path / "store").splitlines()
    assert "about 12.5% wrong labels: 25 suspects (separation 9." in told[0]
    assert told[0].endswith(", centres -5.00 and +4.00)")
    assert [line.split() for line in told[2:4]] == [["199", "3", "-6.00", "1.000"], ["198", "2", "-5.92", "1.000"]]
    assert (len(told), told[-1]) == (23, "... and 5 more; --out writes all of them")
    with TrajectoryWriter.create(tmp_path / "fewer", 195, 7, ["logit_margin"]) as store:
        store.append(Frame(0, np.arange(195), {"logit_margin": margins[:195]}, 195))
    assert "more" not in call("suspects", tmp_path / "fewer")  # of 20 all are shown
    call("suspects", tmp_path / "store", "--out", tmp_path / "s.csv")
    with (tmp_path / "s.csv").open() as file:
        found = list(csv.DictReader(file))
    assert [int(row["sample_id"]) for row in found] == list(range(199, 174, -1))
    assert {name: float(value) for name, value in found[0].items()} == {
        "sample_id": 199,
        "target": 3,
        "margin": -6,
        "wrong": 1,
    }
    call("suspects", tmp_path / "store", "--out", tmp_path / "s.parquet")
    assert pq.read_table(tmp_path / "s.parquet").to_pylist()[0] == {"sample_id": 199, "target": 3, "margin": -6, "wrong": 1}


def test_the_command_says_how_to_look_on_where_none_is_suspected(tmp_path: Path, call: Any) -> None:
    with TrajectoryWriter.create(tmp_path / "store", 200, 7, ["logit_margin"]) as store:
        margins = np.random.default_rng(0).normal(2, 1, 200).astype(np.float32)
        store.append(Frame(0, np.arange(200), {"logit_margin": margins}, 200), targets=np.arange(200) % 7)
    told = call("suspects", tmp_path / "store")
    assert "none suspected" in told
    assert "--method aum:margin=logit" in told


@pytest.mark.parametrize(("share", "told"), [(0.45, False), (0.7, True)])
def test_the_command_doubts_that_most_labels_are_wrong(tmp_path: Path, call: Any, share: float, told: bool) -> None:
    margins = np.where(np.arange(200) < 200 * share, -4, 4) + np.random.default_rng(0).normal(0, 0.5, 200)
    with TrajectoryWriter.create(tmp_path / "store", 200, 3, ["logit_margin"]) as store:
        store.append(Frame(0, np.arange(200), {"logit_margin": margins.astype(np.float32)}, 200))
    said = call("suspects", tmp_path / "store")
    assert f"{200 * share:.0f} suspects" in said
    assert ("More than half of the labels are suspected" in said and "after 1 epoch. Record more" in said) == told


def test_margins_of_epochs_are_no_mean_margins() -> None:
    with pytest.raises(InputError, match=r"shape \(N,\), one per sample, but got \(3, 60\)"):
        find_suspects(np.zeros((3, 60), np.float32))


@pytest.mark.parametrize("shape", ["normal", "skewed", "tails", "steep"])
def test_chance_makes_no_hump_of_a_thousand_samples(shape: str) -> None:
    """Of fifty it does now and then, as `find_suspects` says."""
    for seed in range(15):
        rng = np.random.default_rng(seed)
        margins = {
            "normal": rng.normal(1, 2, 1000),
            "skewed": 3 - rng.gumbel(0, 2, 1000),
            "tails": 1 + 1.5 * rng.standard_t(4, 1000),
            "steep": 4 - rng.exponential(3, 1000),
        }[shape]
        assert not find_suspects(margins.astype(np.float32)).mask.any(), seed

"""`keep`: shares and counts, exactly."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from thresher.dynamic import parse_rule
from thresher.errors import InputError
from thresher.keep import keep_count, keep_share, parse_keep, share_of, share_times
from thresher.methods import resolve


@pytest.mark.parametrize(
    ("n", "keep", "count"),
    [
        (50000, 0.7, 35000), (50000, 0.5, 25000), (50000, 0.3, 15000), (50000, 0.2, 10000), (50000, 0.1, 5000),
        (1281167, 0.75, 960876), (1281167, 0.7, 896817), (1281167, 0.6, 768701), (1281167, 0.5, 640584),
        (1281167, 0.3, 384351), (10, 1.0, 10), (10, 3, 3), (10, "3", 3), (10, "1e-1", 1), (3, 0.01, 1),
        (50000, 1 - 0.7, 15000), (100, 0.1 + 0.2, 30), (1000, 3 * 0.1, 300), (99, 2 / 3, 66), (100, 1 / 3, 34),
        (100, 0.29, 29), (10, 1e-17, 1),
    ],
)  # fmt: skip
def test_published_sizes(n: int, keep: Any, count: int) -> None:
    assert keep_count(n, keep) == count


@pytest.mark.parametrize(
    "keep",
    [
        0, 0.0, -0.1, 1.1, 11, -1, float("nan"), float("inf"), True, "0", "many", "", "2.5", [1], None, "1/2", "+1", "0_1",
        "\uff11", "-0", "0_.5",
    ],
)  # fmt: skip
def test_outside_is_refused(keep: Any) -> None:
    with pytest.raises(InputError, match="keep"):
        keep_count(10, keep)


@given(st.integers(1, 10**7), st.decimals("0.001", "1", places=3))
def test_a_share_is_exact(n: int, share: Any) -> None:
    count = keep_count(n, float(share))
    assert 1 <= count <= n
    assert count == n - ((1 - Fraction(share)) * n).__floor__()


@given(st.integers(1, 10**7), st.sampled_from([1, 10, 1000]))
def test_one_minus_a_rate_keeps_what_its_decimal_does(n: int, times: int) -> None:
    for thousandths in range(1, 1000, 7):
        assert keep_count(n * times, 1 - thousandths / 1000) == keep_count(n * times, (1000 - thousandths) / 1000)


def test_what_is_nearly_nothing_or_all_is_neither() -> None:
    assert 0 < share_times(Fraction(1, 10**17), 10) < 1
    assert 9 < share_times(1 - Fraction(1, 10**17), 10) < 10


def test_text() -> None:
    assert parse_keep("500") == 500
    assert parse_keep("1.0") == 1.0
    assert [parse_keep(text) for text in (".5", "+.5", "1.", "5e-1", "1e0")] == [0.5, 0.5, 1, 0.5, 1]
    assert keep_share("0.25") == Fraction(1, 4)
    with pytest.raises(InputError, match="share"):
        keep_share("1e-999999999")  # at once, not after writing it out
    for text in ("1.00000000000000000001", "1e-400"):  # whose nearest floats are 1 and 0
        with pytest.raises(InputError, match="share"):
            keep_share(text)
    with pytest.raises(InputError, match="at least one sample"):
        keep_count(0, 0.5)


def test_a_count_is_not_asked_for_where_only_a_share_will_do() -> None:
    with pytest.raises(InputError, match=r"share .* but got 500\. Of a count k of n samples give k / n\."):
        resolve("auto", "digits", 500)
    with pytest.raises(InputError, match=r"share .* but got 3\.0\. Of a count"):
        parse_rule("redraw:method=el2n:keep=3")
    with pytest.raises(InputError, match=r"or as a count of samples, but got 2\.5\."):
        keep_count(10, 2.5)
    with pytest.raises(InputError, match=r"or as a count of samples, but got '2\.5'\."):
        parse_keep("2.5")


@given(st.integers(1, 10**7), st.data())
def test_the_share_of_a_count_keeps_that_many(n: int, data: st.DataObject) -> None:
    count = data.draw(st.integers(1, n))
    share = share_of(n, count)
    assert isinstance(share, float)
    assert keep_count(n, share) == count
    assert share_of(n, share) == share

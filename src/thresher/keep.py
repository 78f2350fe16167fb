"""The one rule that turns a user's `keep` into a count of samples.

`keep` is the share that is kept, or a count of samples; never the share that is removed.
"""

from __future__ import annotations

from fractions import Fraction

import numpy as np

from thresher.errors import InputError

Keep = int | float | str
"""A count (int), a share in (0, 1] (float), or either as a string."""

_DIGITS = 18  # of a count of samples
_NOISE = Fraction(1, 2**52)  # how far from the decimal meant a sum or difference of shares lies at most: 1 - 0.7, 0.1 + 0.2


def keep_share(keep: float | str) -> Fraction:
    """Return a kept share as the exact fraction that its decimal form denotes.

    `0.1` means one tenth, not the nearest binary number: sizes must not depend on rounding.

    Raises InputError outside (0, 1].

    >>> keep_share(0.1)
    Fraction(1, 10)
    """
    share = _share(keep)
    if share is None:
        raise InputError(
            f"Expected keep as a share in (0, 1] such as 0.1 (keeps a tenth), but got {keep!r}. Of a count k of n "
            "samples give k / n."
        )
    return share


def _share(keep: object) -> Fraction | None:
    """Return the exact fraction that a share in (0, 1] denotes, None for anything else."""
    try:
        near = float(keep)  # type: ignore[arg-type]  # first, so that "1e-999999999" is not written out as a fraction
        share = Fraction(str(keep).strip()) if 0 < near <= 1 else Fraction(0)
    except (TypeError, ValueError):
        return None
    return share if 0 < share <= 1 else None


def share_times(share: Fraction, n: int) -> Fraction:
    """Return `share * n`, as a whole number where the share is that number's but for a float's rounding.

    `1 - 0.7` is a float just above 0.3: of 50 000 samples it would keep one more than 0.3 does. A share above 0 is some
    samples still, and one below 1 not all.

    >>> share_times(Fraction(str(1 - 0.7)), 50000), share_times(Fraction("0.15"), 10)
    (Fraction(15000, 1), Fraction(3, 2))
    """
    product = share * n
    whole = round(product)
    return Fraction(whole) if abs(product - whole) <= _NOISE * n and 0 < whole < n else product


def keep_count(n: int, keep: Keep) -> int:
    """Return how many of `n` samples `keep` asks for: a count unchanged, a share as `N - floor((1 - keep) * N)`.

    This is the rule of the official TDDS code (it removes `trunc(P * N)` samples), in exact rational arithmetic. CCS, DUAL
    and others truncate `keep * N` instead, which is one sample fewer if the product is not an integer. A share that differs
    from a whole number of samples by no more than a float's rounding is that number.

    Raises InputError for a share outside (0, 1] or a count outside [1, N].

    >>> keep_count(50000, 0.1), keep_count(50000, 123), keep_count(1281167, "0.7"), keep_count(50000, 1 - 0.7)
    (5000, 123, 896817, 15000)
    """
    if n < 1:
        raise InputError(f"Expected a data set of at least one sample, but got n={n}.")
    if isinstance(keep, str):
        keep = parse_keep(keep)
    if isinstance(keep, bool | np.bool_):
        raise _share_error(keep)
    if isinstance(keep, int | np.integer):
        if not 1 <= keep <= n:
            raise InputError(
                f"Expected a count of samples to keep between 1 and {n}, but got {keep}. "
                "A share is written with a point: 0.1 keeps a tenth, 1.0 everything."
            )
        return int(keep)
    share = _share(keep)
    if share is None:
        raise _share_error(keep)
    return int(n) - int(n - share_times(share, n))


def share_of(n: int, keep: Keep) -> float:
    """Return the share that keeps exactly as many of `n` samples as `keep` asks for; a share is returned unchanged.

    >>> keep_count(1437, share_of(1437, 200)), share_of(1437, 0.1)
    (200, 0.1)
    """
    count = keep_count(n, keep)
    value = parse_keep(keep) if isinstance(keep, str) else keep
    if not isinstance(value, int | np.integer):
        return float(value)
    share = count / n
    # the nearest decimal may lie just above; `keep_count` forgives that, but names of results hold the share as it was
    while n - int((1 - keep_share(share)) * n) > count:
        share = float(np.nextafter(share, 0))
    return share


def parse_keep(text: str) -> int | float:
    """Return the count (`500`) or share (`0.1`, `1.0`, `1e-2`) that `text` denotes.

    A whole number without a point is a count, so `1` is one sample and `1.0` is everything.

    Raises InputError if the text is neither; counts are checked against N later, by `keep_count`.

    >>> parse_keep("500"), parse_keep("0.1"), parse_keep("1.0")
    (500, 0.1, 1.0)
    """
    stripped = text.strip()
    if stripped.isascii() and stripped.isdigit():
        if len(stripped) > _DIGITS:  # Python refuses to read thousands of digits, with an error of its own
            raise _share_error(f"{stripped[:_DIGITS]}...")
        count = int(stripped)
        if count == 0:
            raise _share_error(text)
        return count
    try:
        share = float(stripped)
    except ValueError:
        raise _share_error(text) from None
    # +1 and 0_1 are 1.0 to Python
    plain = stripped.isascii() and "_" not in stripped and not stripped.lstrip("+-").isdigit()
    if not plain or _share(share) is None:
        raise _share_error(text)
    return share


def _share_error(keep: object) -> InputError:
    return InputError(
        f"Expected keep as a share in (0, 1] such as 0.1 (keeps a tenth) or as a count of samples, but got {keep!r}."
    )

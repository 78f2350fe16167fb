"""What a ranking compares: the order of float32 numbers as integers, and a hash of the sample id where they are equal.

Equal scores are common (counts of forgetting, a score that saturates), and samples of one class often lie side by side in a
data set. Were equal ones taken in the order of their ids, a coreset would hold the first classes only.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from thresher.types import Floats, Ids

Keys = NDArray[np.uint32]
Hashes = NDArray[np.uint64]
LAST = np.uint64(2**64 - 1)
NAN = np.uint32(2**32 - 1)  # the key of NaN, in either direction
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_FIRST, _SECOND = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)


def order_keys(values: Floats, falling: bool = False) -> Keys:
    """Return (M,) uint32 that order as the float32 `values` do: -inf first, -0 equal to 0, inf, and NaN (any) last.

    With `falling` inf comes first and -inf before NaN.

    >>> values = np.array([np.nan, 1, -np.inf, -0.0, 0.0, -2, np.inf], dtype=np.float32)
    >>> keys = order_keys(values)
    >>> np.argsort(keys, kind="stable").tolist(), bool(keys[3] == keys[4])
    ([2, 5, 3, 4, 1, 6, 0], True)
    >>> np.argsort(order_keys(values, falling=True), kind="stable").tolist()
    [6, 1, 3, 4, 5, 2, 0]
    """
    with np.errstate(invalid="ignore"):  # what a signalling NaN is
        plain = np.add(values, np.float32(0), dtype=np.float32)  # -0 + 0 is 0
    missing = np.isnan(plain)
    bits = plain.view(np.int32)
    # The bits of positive floats order like integers; those of negative ones the other way round.
    flips = bits >> np.int32(31)  # all bits of negative ones, no bit of the others
    if falling:
        np.invert(flips, out=flips)
        flips &= np.int32(0x7FFFFFFF)
    else:
        flips |= np.int32(-(2**31))
    flips ^= bits
    keys: Keys = flips.view(np.uint32)
    if missing.any():
        keys[missing] = NAN
    return keys


def key_values(keys: Keys, falling: bool = False) -> Floats:
    """Return (M,) float32, the values that have these keys: the inverse of `order_keys`.

    >>> values = np.array([1, -np.inf, 0.0, -2, np.nan], dtype=np.float32)
    >>> [key_values(order_keys(values, falling), falling).tolist() for falling in (False, True)]
    [[1.0, -inf, 0.0, -2.0, nan], [1.0, -inf, 0.0, -2.0, nan]]
    """
    bits = keys ^ np.uint32(0x7FFFFFFF if falling else 0x80000000)
    negative = bits >> np.uint32(31) == 1
    bits[negative] ^= np.uint32(0x7FFFFFFF)
    values: Floats = bits.view(np.float32)
    values[keys == NAN] = np.nan
    return values


def id_hash(ids: Ids, seed: int = 0) -> Hashes:
    """Return (M,) uint64, SplitMix64's output number `id` from the state `seed`: no two ids have the same.

    Source: Steele, Lea and Flood 2014, "Fast splittable pseudorandom number generators", and its reference code.

    >>> [hex(value) for value in id_hash(np.array([0, 1])).tolist()]
    ['0xe220a8397b1dcdaf', '0x6e789e6aa1b965f4']
    """
    z: Hashes = np.asarray(ids).astype(np.uint64)
    z += np.uint64(1)
    z *= _GOLDEN
    z += np.uint64(seed)
    shifted = z >> np.uint64(30)
    z ^= shifted
    z *= _FIRST
    z ^= np.right_shift(z, np.uint64(27), out=shifted)
    z *= _SECOND
    z ^= np.right_shift(z, np.uint64(31), out=shifted)
    return z

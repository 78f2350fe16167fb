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
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_FIRST, _SECOND = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)


def order_keys(values: Floats) -> Keys:
    """Return (M,) uint32 that order as the float32 `values` do: -inf first, -0 equal to 0, inf, and NaN (any) last.

    >>> keys = order_keys(np.array([np.nan, 1, -np.inf, -0.0, 0.0, -2, np.inf], dtype=np.float32))
    >>> np.argsort(keys, kind="stable").tolist(), bool(keys[3] == keys[4])
    ([2, 5, 3, 4, 1, 6, 0], True)
    """
    plain = np.asarray(values, dtype=np.float32) + np.float32(0)  # -0 + 0 is 0
    bits = plain.view(np.int32)
    # The bits of positive floats order like integers; those of negative ones the other way round.
    signed = bits ^ ((bits >> 31) & np.int32(0x7FFFFFFF))
    keys: Keys = signed.view(np.uint32)
    keys ^= np.uint32(0x80000000)
    missing = np.isnan(plain)
    if missing.any():
        keys[missing] = np.uint32(0xFFFFFFFF)
    return keys


def id_hash(ids: Ids, seed: int = 0) -> Hashes:
    """Return (M,) uint64, SplitMix64's output number `id` from the state `seed`: no two ids have the same.

    Source: Steele, Lea and Flood 2014, "Fast splittable pseudorandom number generators", and its reference code.

    >>> [hex(value) for value in id_hash(np.array([0, 1])).tolist()]
    ['0xe220a8397b1dcdaf', '0x6e789e6aa1b965f4']
    """
    z = (np.asarray(ids).astype(np.uint64) + np.uint64(1)) * _GOLDEN
    z += np.uint64(seed)
    z = (z ^ (z >> np.uint64(30))) * _FIRST
    z = (z ^ (z >> np.uint64(27))) * _SECOND
    mixed: Hashes = z ^ (z >> np.uint64(31))
    return mixed

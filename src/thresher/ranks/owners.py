"""Who owns which samples: every rank a run of whole buckets, so that each writes its own files of a store."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

BUCKET = 65536
"""Sample ids per file of a store, by default."""

MOST_BUCKETS = 1024
"""Files per epoch, by default: the manifest lists each, and is rewritten with every epoch."""


@dataclass(frozen=True)
class Owners:
    """`n` samples in buckets of `bucket_size`, dealt out to `size` ranks in runs of whole buckets.

    >>> owners = Owners(10, 3, 2)
    >>> owners.bounds.tolist(), owners.buckets(1), owners.span(1)
    ([0, 6, 10], range(2, 4), (6, 10))
    """

    n: int
    bucket_size: int
    size: int

    @property
    def count(self) -> int:
        """Number of buckets."""
        return -(-self.n // self.bucket_size)

    def buckets(self, rank: int) -> range:
        """Return the buckets of a rank."""
        return range(rank * self.count // self.size, (rank + 1) * self.count // self.size)

    @property
    def bounds(self) -> NDArray[np.int64]:
        """(R + 1,) first id of every rank, then n."""
        firsts = np.arange(self.size, dtype=np.int64) * self.count // self.size * self.bucket_size
        return np.append(firsts, self.n)

    def span(self, rank: int) -> tuple[int, int]:
        """Return a rank's first id and the one after its last; equal where it owns nothing."""
        first, end = self.bounds[rank : rank + 2].tolist()
        return first, end

    @property
    def largest(self) -> int:
        """The most samples that a rank owns."""
        return int(np.diff(self.bounds).max())


def even_bucket(n: int, size: int) -> int:
    """Return the bucket size with which `size` ranks own about as many samples each: at most 65 536 ids, or as many more as
    keep the files of an epoch at about 1 024.

    >>> even_bucket(50000, 1), even_bucket(50000, 2), even_bucket(1281167, 8), even_bucket(10**9, 1)
    (65536, 25000, 53382, 976563)
    """
    most = max(BUCKET, -(-n // MOST_BUCKETS))
    if size == 1:
        return most
    each = -(-n // size)
    return -(-each // -(-each // most))

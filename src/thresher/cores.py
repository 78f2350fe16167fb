"""How many cores there are to work on."""

from __future__ import annotations

import os


def cores() -> int:
    """Return the number of cores that this process may use: fewer than the machine has where a scheduler says so.

    >>> 1 <= cores() <= os.cpu_count()
    True
    """
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(allowed, os.cpu_count() or 1))


def threads(share: int) -> int:
    """Return how many threads of a calculation use a share of the cores, no more than OMP_NUM_THREADS, where that is set.

    >>> threads(1)
    1
    """
    told = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0].strip()
    return max(1, min(share, int(told)) if told.isascii() and told.isdigit() and int(told) else share)

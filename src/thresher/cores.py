"""How many cores there are to work on."""

from __future__ import annotations

import math
import os
from contextlib import suppress
from pathlib import Path


def cores() -> int:
    """Return the number of cores that this process may use: fewer than the machine has where a scheduler or a container's
    limit says so, that of `docker --cpus` or of Kubernetes for instance; a part of a core counts as one.

    >>> 1 <= cores() <= os.cpu_count()
    True
    """
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    with suppress(OSError):  # not Linux
        allowed = min(allowed, math.ceil(_limit(Path("/proc/self/cgroup").read_text(), Path("/sys/fs/cgroup"))))
    return max(1, min(allowed, os.cpu_count() or 1))


def _limit(groups: str, root: Path) -> float:
    """Return how many cores' time per second the control groups of a process allow, the machine's where none limits it.

    `groups` lists them as the kernel does; the folders of the groups, in `root`, have the limits, in microseconds of a
    period: `cpu.max` in version 2, two files in version 1. (joblib can tell it too, but importing it takes longer than what
    `thresher score` does with a small file.)
    """
    least = float(os.cpu_count() or 1)
    for line in groups.splitlines():
        _, controllers, group = line.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        place = root / controllers / group.strip("/")
        for folder in (place, *place.parents):
            if not folder.is_relative_to(root):
                break
            with suppress(OSError, ValueError):  # no limit: no file, "max", -1
                names = ("cpu.max",) if not controllers else ("cpu.cfs_quota_us", "cpu.cfs_period_us")
                time, period = map(int, " ".join((folder / name).read_text() for name in names).split())
                least = min(least, time / period if time > 0 and period > 0 else least)
    return least


def threads(share: int) -> int:
    """Return how many threads of a calculation use a share of the cores, no more than OMP_NUM_THREADS, where that is set.

    >>> threads(1)
    1
    """
    told = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0].strip()
    return max(1, min(share, int(told)) if told.isascii() and told.isdigit() and int(told) else share)

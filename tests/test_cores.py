"""How many cores a process may use: the machine's, or what a control group leaves it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from thresher import cores


@pytest.mark.parametrize(
    ("groups", "limits", "wanted"),
    [
        ("0::/\n", {}, 64),
        ("0::/\n", {"cpu.max": "max 100000"}, 64),
        ("0::/\n", {"cpu.max": "150000 100000"}, 1.5),  # docker --cpus=1.5
        ("0::/\n", {"cpu.max": "9900000 100000"}, 64),
        ("0::/u/job\n", {"cpu.max": "400000 100000", "u/cpu.max": "200000 100000", "u/job/cpu.max": "max 100000"}, 2),
        ("0::/u\n", {"u/job/cpu.max": "100000 100000"}, 64),  # another's
        ("0::/../../job\n", {"cpu.max": "300000 100000"}, 3),  # as seen from inside a container
        ("3:memory:/\n1:cpu,x:/job\n", {"cpu,x/job/cpu.cfs_quota_us": "50000", "cpu,x/job/cpu.cfs_period_us": "25000"}, 2),
        ("1:cpu:/\n", {"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, 64),
        ("1:cpuset:/\n", {"cpuset/cpu.max": "100000 100000"}, 64),
    ],
)  # fmt: skip
def test_the_least_limit_of_a_process_and_of_the_groups_around_it_counts(
    groups: str, limits: dict[str, str], wanted: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    for name, text in limits.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text + "\n")
    assert cores._limit(groups, tmp_path) == wanted


@pytest.mark.parametrize(("limit", "wanted"), [(0.2, 1), (1.0, 1), (1.5, 2), (3.0, 3), (64.0, 4)])
def test_a_part_of_a_core_is_one_and_no_more_are_used_than_the_scheduler_allows(
    limit: float, wanted: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(4)), raising=False)
    monkeypatch.setattr(cores, "_limit", lambda *_: limit)
    assert cores.cores() == wanted


def test_a_system_without_control_groups_has_its_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(_: Path) -> str:
        raise FileNotFoundError

    monkeypatch.setattr(Path, "read_text", missing)
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    assert cores.cores() == 2

"""Processes killed at random moments, flipped bits and mutated inputs: a short run of the suite.

docs/reliability.md has the counts of the long one (`make faults`).
"""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
SUITE = Path(__file__).parent / "faults" / "suite.py"


def run_suite(*options: str) -> dict[str, dict[str, Any]]:
    """Run a part of the suite in a process of its own, for it forks and must have no threads, and return its counts."""
    done = subprocess.run([sys.executable, str(SUITE), *options], capture_output=True, text=True, check=False)
    found: dict[str, dict[str, Any]] = {}
    for line in done.stdout.splitlines():
        found |= {name: counts for name, counts in json.loads(line).items() if name != "seconds"}
    wrong = {name: counts["told"] for name, counts in found.items() if counts["told"]}
    assert (done.returncode, wrong) == (0, {}), done.stderr[-4000:]
    return found


def test_killed_at_random_moments_and_resumed() -> None:
    found = run_suite("--kills", "10", "--inputs", "0", "--every", "0")
    assert {name: counts["kills"] for name, counts in found.items()} == {
        "kill: recording": 2, "kill: committing": 2, "kill: scoring": 2, "kill: selecting": 2, "kill: experimenting": 2,
    }  # fmt: skip


def test_flipped_bytes_and_mutated_inputs() -> None:
    found = run_suite("--kills", "0", "--inputs", "250", "--every", "61", "--seed", "1")
    flips = found.pop("flip: store")
    assert flips["files"] == 15
    assert flips["flips"] == flips["seen_by_verify"] + flips["harmless"] > 300
    assert len(found) == 10
    for name, counts in found.items():
        assert counts["refused"] + counts["answered"] == counts["inputs"] == 250, name
        assert counts["refused"] > 50 < 250 - counts["answered"], name
        assert counts["answered"] > 0, name  # some mutations change nothing that counts


def test_the_suite_sees_what_is_wrong() -> None:
    """Half-written files, code that runs, writes elsewhere, other errors and other answers are told when they are there.

    So are damaged files that scoring refuses without their names.
    """
    script = f"""
import sys
sys.path.insert(0, {str(SUITE.parent)!r})
import os, tempfile, json, time
from pathlib import Path
import numpy as np
import flips, kills, suite, watch, fuzz
from thresher.errors import InputError

def careless(folder):
    path = folder / "spec.json"
    with path.open("w") as file:
        file.write('{{"a": ')
        file.flush()
        time.sleep(0.5)
        file.write("1}}")

kills.JOBS["careless"] = kills.Job(careless)
room = Path(tempfile.mkdtemp())
found = kills.run_kills("careless", 3, 0, room / "kills")
seen = watch.Watch(room)
def wrong(): return 2
def acts(): os.mkdir(room.parent / (room.name + "x"))
def runs(): exec("1")
def escapes(): return [][1]
def hangs():
    while True: pass
def refuses(): raise InputError("no")
hows = [watch.verdict(read, lambda found: found == 1, seen, 1)[0] for read in (wrong, acts, runs, escapes, hangs, refuses)]
os.rmdir(room.parent / (room.name + "x"))
scored, calls = flips.score_store, []
def vague(folder):
    calls.append(folder)
    if len(calls) > 1: refuses()
    return scored(folder)
flips.score_store = vague
(room / "flips").mkdir()
flipped = flips.run_flips(4999, 0, room / "flips")
print(json.dumps([found["half_written"], hows, flipped, suite.faults_of(flipped)]))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    half_written, verdicts, flipped, faults = json.loads(done.stdout.splitlines()[-1])
    assert half_written >= 1
    assert flipped["not_named"] == flipped["refused_by_scoring"] == flipped["flips"] == faults > 0
    assert verdicts == ["wrong", "acted", "acted", "escaped", "hung", "refused"]


def test_another_story_is_right_only_under_the_right_seal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(SUITE.parent))
    ours = importlib.import_module("ours")
    ours.make_store(tmp_path)
    path, good = tmp_path / "trajectory" / "manifest.json", ours.score_store(tmp_path)
    raw = json.loads(path.read_text())
    raw["info"]["data"] = "cifar10"
    told = {**good, "told": "another story"}
    for content, right in ((raw, False), ({**raw, "seal": ours.seal_of(raw)}, True)):
        path.write_text(json.dumps(content))
        assert ours.right_store(told, good, tmp_path) is right
        assert ours.right_store(good, good, tmp_path)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("kept.csv", '"sample_id","weight"\r\n"4","1.0"\r\n"7","0.5"\r\n'),
        ("aum_values.csv", "sample_id,aum\n3,0.5\n1,-2.0\n"),
    ],
    ids=["quoted", "margins"],
)
def test_what_a_table_of_another_tool_says_is_compared(
    name: str, content: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(SUITE.parent))
    foreign = importlib.import_module("foreign")
    (tmp_path / "which").write_text(name)
    (tmp_path / name).write_bytes(content.encode())
    answer = foreign.read_foreign(tmp_path)
    assert foreign.right_foreign(answer, None, tmp_path)
    (tmp_path / name).write_bytes(content.replace("7", "8").replace("-2.0", "2.0").encode())
    assert not foreign.right_foreign(answer, None, tmp_path)


def test_what_dynamics_of_another_tool_say_is_compared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(SUITE.parent))
    foreign = importlib.import_module("foreign")
    foreign.make_foreign(tmp_path)
    name = foreign.FOREIGN[7]
    (tmp_path / "which").write_text(name)
    answer = foreign.read_foreign(tmp_path)
    assert foreign.right_foreign(answer, None, tmp_path)
    lines = (tmp_path / name).read_text().splitlines()
    for other in (lines[::-1], [lines[0].replace("[", "[1"), *lines[1:]]):
        (tmp_path / name).write_text("\n".join(other))
        assert not foreign.right_foreign(answer, None, tmp_path)


def test_the_page_is_made_of_the_counts() -> None:
    spec = importlib.util.spec_from_file_location("faults_page", SUITE.with_name("page.py"))
    assert spec is not None
    assert spec.loader is not None
    page = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(page)
    counts = json.loads((ROOT / "docs" / "reliability.json").read_text())
    assert (ROOT / "docs" / "reliability.md").read_text() == page.text(counts), "run python tests/faults/page.py"


def test_the_counts_are_those_of_the_whole_suite_and_without_a_fault() -> None:
    parts = json.loads((ROOT / "docs" / "reliability.json").read_text())["parts"]
    kinds = {kind: {name: p for name, p in parts.items() if name.startswith(kind)} for kind in ("kill", "flip", "read")}
    assert sum(part["kills"] for part in kinds["kill"].values()) >= 200
    assert [part["every"] for part in kinds["flip"].values()] == [1]
    assert len(kinds["read"]) == 10
    assert min(part["inputs"] for part in kinds["read"].values()) >= 10_000
    for name, part in parts.items():
        faults = ("wrong", "half_written", "not_seen", "not_named", "escaped", "hung", "acted", "crashed")
        assert part["told"] == [], name
        assert {fault: part[fault] for fault in faults if part.get(fault)} == {}, name

"""Runs that are renamed, clocks that jump, and a second writer: none of them does harm."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from thresher.data import load
from thresher.experiments.recording import record
from thresher.experiments.study import StudySpec, run_study
from thresher.train.spec import TrainSpec
from thresher.trajectory.reader import Trajectory

SURROGATE = TrainSpec("tiny", epochs=4, batch_size=480)
STUDY = StudySpec("digits", SURROGATE, TrainSpec("tiny", epochs=1, batch_size=40), ("el2n",), (0.05,), (0, 1))
YEARS = (0, 4102444800, 86400)  # 1970, 2100, 1970


def stamp(folder: Path, when: int) -> None:
    """Let everything in a folder look as if it was written then."""
    for path in folder.rglob("*"):
        os.utime(path, (when, when))


def files(folder: Path) -> dict[str, bytes]:
    """Return the store and the coresets, by their names within the run."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*.parquet"))}


def test_a_run_goes_on_under_another_name_and_another_clock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calm, moved, clock = tmp_path / "calm", tmp_path / "run0", iter(range(10**9, 0, -86400))
    wanted = run_study(STUDY, calm)
    monkeypatch.setattr(time, "time", lambda: float(next(clock)))  # a day back with every look
    for number, when in enumerate(YEARS):
        record(load("digits"), SURROGATE, STUDY.surrogate_seed, moved, until=number + 1)
        stamp(moved, when)
        moved = moved.rename(tmp_path / f"run {number + 1}")
    assert Trajectory.open(moved / "trajectory").epochs == 3
    for path in moved.iterdir():
        if path.name not in ("trajectory", "checkpoints"):
            raise AssertionError(f"recording alone left {path.name}")
    target = tmp_path / "elsewhere" / "run"
    target.mkdir(parents=True)
    with pytest.raises(OSError, match="it is not a run"):
        run_study(STUDY, moved)  # there is no spec.json yet, so it may be anybody's
    (moved / "spec.json").write_bytes((calm / "spec.json").read_bytes())
    for path in moved.iterdir():
        path.rename(target / path.name)
    found = run_study(STUDY, target)
    assert [r["test_accuracy"] for r in found] == [r["test_accuracy"] for r in wanted]
    assert files(target) == files(calm)


def test_a_finished_run_is_not_made_again_because_it_has_moved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = run_study(STUDY, tmp_path / "run")
    moved = (tmp_path / "run").rename(tmp_path / "other name")
    stamp(moved, 0)

    def train(*_: Any, **__: Any) -> None:
        raise AssertionError("trained again")

    monkeypatch.setattr("thresher.experiments.jobs.fit", train)
    monkeypatch.setattr("thresher.experiments.recording.fit", train)
    assert run_study(STUDY, moved) == first


HOLDER = """
import sys, time
from pathlib import Path
from thresher.experiments.rundir import RunDirectory
from thresher.trajectory.writer import TrajectoryWriter
with RunDirectory(Path(sys.argv[1]), {"held": 1}), TrajectoryWriter.create(Path(sys.argv[1]) / "trajectory", 9, 2, ["loss"]):
    print("held", flush=True)
    time.sleep(600)
"""


def test_a_second_process_is_refused_until_the_first_is_gone(tmp_path: Path, call: Any) -> None:
    from thresher.errors import BusyError
    from thresher.trajectory.writer import TrajectoryWriter

    run = tmp_path / "run"
    holder = subprocess.Popen([sys.executable, "-c", HOLDER, str(run)], stdout=subprocess.PIPE, text=True)
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
        for command in ("record", "run"):
            assert "being written by another process" in call.refused(command, "--epochs", 1, "--out", run)
        with pytest.raises(BusyError, match="another process"):
            TrajectoryWriter.resume(run / "trajectory")
        assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before
    finally:
        holder.send_signal(signal.SIGKILL)
        holder.communicate()
    TrajectoryWriter.resume(run / "trajectory").close()  # the lock died with its holder
    assert "1 epochs of 1437 samples" in call("record", "--epochs", 1, "--out", run)  # nothing had begun there
    assert "another spec" in call.refused("record", "--epochs", 2, "--out", run)

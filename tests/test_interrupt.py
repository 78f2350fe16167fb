"""Ctrl-C: exit status 130 with one line and no traceback, trainings end at once, and the same command goes on."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from thresher.trajectory.reader import Trajectory

RECORDING = ("--surrogate-epochs", "4", "--method", "random", "--keep", "0.1", "--no-full", "--jobs", "2")


def start(*arguments: str) -> subprocess.Popen[bytes]:
    """Start a command in a process group of its own, as a shell does."""
    return subprocess.Popen(
        [sys.executable, "-m", "thresher.cli", *arguments],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
    )  # fmt: skip


def interrupt(process: subprocess.Popen[bytes], path: Path, pattern: str, later: float) -> str:
    """Press Ctrl-C `later` seconds after `pattern` is there, and return what was said in the end."""
    for _ in range(12000):
        if any(path.glob(pattern)):
            break
        if process.poll() is not None:
            pytest.fail(f"ended early: {process.communicate()[0].decode()}")
        time.sleep(0.01)
    time.sleep(later)
    os.killpg(process.pid, signal.SIGINT)
    said = process.communicate(timeout=120)[0].decode()
    assert process.returncode == 130, said
    assert "Traceback" not in said
    assert said.strip().endswith("thresher: interrupted; run the same command again to continue.")
    return said


def test_a_recording_is_interrupted_and_goes_on(tmp_path: Path) -> None:
    command = ("record", "--out", str(tmp_path / "run"), "--epochs", "8")
    interrupt(start(*command), tmp_path, "run/trajectory/epoch=0002", 0.02)
    kept = Trajectory.open(tmp_path / "run" / "trajectory")
    kept.verify()
    assert 2 <= kept.epochs < 8
    again = start(*command)
    said = again.communicate(timeout=300)[0].decode()
    assert again.returncode == 0, said
    assert Trajectory.open(tmp_path / "run" / "trajectory").epochs == 8


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with one finished training."""
    out = tmp_path_factory.mktemp("interrupt") / "run"
    done = start("run", "--out", str(out), *RECORDING, "--seeds", "0", "--epochs", "1", "--no-report")
    said = done.communicate(timeout=300)[0].decode()
    assert done.returncode == 0, said
    return out


@pytest.mark.parametrize(
    ("pattern", "later"),
    [("coresets/*seed3.parquet", 0.3), ("results/random-0.1-2-*.lock", 1.0)],  # the second of two workers has begun
    ids=["while workers start", "while they train"],
)
def test_trainings_that_would_take_days_end_at_once(recorded: Path, tmp_path: Path, pattern: str, later: float) -> None:
    out = Path(shutil.copytree(recorded, tmp_path / "run"))
    (finished,) = (out / "results").glob("*.json")
    before = finished.read_bytes()
    endless = ("run", "--out", str(out), *RECORDING, "--seeds", "1-3", "--epochs", "1000000")
    interrupt(start(*endless), out, pattern, later)
    assert finished.read_bytes() == before
    assert list((out / "results").glob("*.json")) == [finished]

"""`kill -9` in the middle of an epoch: the run goes on and every score has the same bits."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from thresher.replay import Request, open_source, replay
from thresher.scorers import AUM, TDDS, Entropy

EPOCHS = 6


def start(out: Path) -> subprocess.Popen[bytes]:
    """Start `thresher record` on digits as a process of its own, on one thread."""
    command = [
        sys.executable,
        "-m",
        "thresher.cli",
        "record",
        "--out",
        str(out),
        "--epochs",
        str(EPOCHS),
        "--batch-size",
        "96",
    ]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def wait_for(path: Path, process: subprocess.Popen[bytes]) -> None:
    """Wait until `path` is there, or fail with what the process said."""
    for _ in range(6000):
        if path.exists():
            return
        if process.poll() is not None:
            pytest.fail(f"ended early: {process.stdout.read().decode() if process.stdout else ''}")
        time.sleep(0.01)
    pytest.fail(f"{path.name} did not come")


def test_killed_twice_and_resumed_gives_the_same_bits(tmp_path: Path) -> None:
    calm, killed = tmp_path / "calm", tmp_path / "killed"
    undisturbed = start(calm)
    for epoch in (1, 3):
        process = start(killed)
        wait_for(killed / "trajectory" / f"epoch={epoch:04d}", process)
        time.sleep(0.05)  # into the next epoch
        process.send_signal(signal.SIGKILL)
        process.communicate()
    last = start(killed)
    for process in (undisturbed, last):
        said = process.communicate(timeout=300)[0].decode()
        assert process.returncode == 0, said
    requests = [Request("tdds", TDDS(window=4)), Request("aum", AUM()), Request("entropy", Entropy())]
    wanted, found = replay(open_source(calm), requests, exact=True), replay(open_source(killed), requests, exact=True)
    assert open_source(killed).epochs == EPOCHS
    for name, scores in wanted.items():
        np.testing.assert_array_equal(found[name].values, scores.values, err_msg=name)

"""The locks that keep a second writer out, and where there are none."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from thresher import TrajectoryWriter, locks
from thresher.errors import BusyError, RunDirectoryError
from thresher.experiments import rundir
from thresher.experiments.rundir import RunDirectory, locked
from thresher.files import sync_folder
from thresher.locks import free_lock, take_lock
from thresher.trajectory.opening import lock_store


def test_a_lock_is_held_by_one(tmp_path: Path) -> None:
    path = tmp_path / "some.lock"
    lock = take_lock(path, "busy")
    with pytest.raises(BusyError, match="wait for it"):
        take_lock(path, "wait for it")
    free_lock(lock)
    free_lock(lock)  # once more harms nobody
    free_lock(take_lock(path, "busy"))


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.ENOTSUP, errno.ENOLCK])
def test_a_file_system_without_locks_is_told_of(number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def flock(file: Any, operation: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(locks.fcntl, "flock", flock)
    with pytest.raises(RunDirectoryError, match=f"that of {tmp_path} has none .*second writer.*flock"):
        lock_store(tmp_path)
    with pytest.raises(RunDirectoryError, match="has none"):
        RunDirectory(tmp_path / "run", {})
    with pytest.raises(RunDirectoryError, match="has none"), locked(tmp_path / "one.lock"):
        pass


def test_a_system_without_locks_is_told_of(tmp_path: Path) -> None:
    """What needs no lock can be imported and used there."""
    code = (
        "import sys; sys.modules['fcntl'] = None\n"
        "import numpy as np, thresher.experiments.study\n"
        "from thresher import Coreset, TrajectoryWriter\n"
        f"Coreset(np.array([1]), None, 2).save({str(tmp_path / 'kept.parquet')!r})\n"
        f"TrajectoryWriter.create({str(tmp_path / 'store')!r}, 2, 3, ['loss'])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "RunDirectoryError: Expected a system with file locks" in done.stderr
    assert "WSL" in done.stderr
    assert (tmp_path / "kept.parquet").is_file()


def test_what_cannot_be_begun_is_not_kept_locked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error may be kept, and with it everything that it passed through."""

    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(rundir, "environment", full)
        with pytest.raises(OSError, match="No space") as kept:
            RunDirectory(tmp_path / "run", {})
    RunDirectory(tmp_path / "run", {}).close()
    with monkeypatch.context() as patch:
        patch.setattr("thresher.trajectory.layout.write_json", full)
        with pytest.raises(OSError, match="No space") as also:
            TrajectoryWriter.create(tmp_path / "store", 2, 3, ["loss"])
    TrajectoryWriter.create(tmp_path / "store", 2, 3, ["loss"]).close()
    del kept, also


@pytest.mark.skipif(sys.platform != "linux", reason="needs a file system that does not sync folders")
def test_a_file_system_that_does_not_sync_folders_is_written_to() -> None:
    sync_folder(Path("/proc"))

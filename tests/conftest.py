"""What several test files share: the real CIFAR folders, where they can be had, and the command line in this process."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from thresher.cli import main

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # in the background: nothing that tests start could be interrupted
    signal.signal(signal.SIGINT, signal.default_int_handler)

collect_ignore = ["faults"]  # a program of its own, which test_faults.py runs
collect_ignore_glob = ["ranks_*.py"]  # programs that tests start under torchrun
_UNPACK = Path(__file__).resolve().parents[2] / "shared" / "data" / "unpack_cifar.py"


@pytest.fixture(scope="session")
def cifar_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that holds `cifar-10-batches-py` and `cifar-100-python`: THRESHER_CIFAR, else unpacked, else a skip."""
    named = os.environ.get("THRESHER_CIFAR")
    if named:
        root = Path(named)
        if not root.is_dir():
            pytest.fail(f"THRESHER_CIFAR names {root}, which is no folder.")
        return root
    if not _UNPACK.is_file():
        pytest.skip("needs CIFAR: set THRESHER_CIFAR to the folder that holds cifar-10-batches-py and cifar-100-python")
    base = tmp_path_factory.getbasetemp()
    root = (base.parent if os.environ.get("PYTEST_XDIST_WORKER") else base) / "cifar"
    with (root.parent / "cifar.lock").open("w") as lock:  # workers of one run share what the first of them unpacks
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (root / "done").exists():
            done = subprocess.run([sys.executable, str(_UNPACK), str(root)], capture_output=True, text=True, check=False)
            if done.returncode:
                pytest.skip(f"needs CIFAR, but unpacking it failed: {done.stderr[-300:]}")
            (root / "done").touch()
    return root


@pytest.fixture
def bystander() -> Iterator[Callable[[], None]]:
    """Forks a process that does nothing but keep the files open that are open now, as a loader's workers do."""
    pids = []

    def fork() -> None:
        pid = os.fork()
        if not pid:
            signal.pause()
            os._exit(0)
        pids.append(pid)

    yield fork
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


class Call:
    """A command line in this process."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self.monkeypatch, self.capsys = monkeypatch, capsys

    def __call__(self, *arguments: Any, status: int = 0) -> str:
        """Run a command, compare its exit status and return what it said to the terminal and to stderr."""
        self.monkeypatch.setattr("sys.argv", ["thresher", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            main()
        out, err = self.capsys.readouterr()
        assert end.value.code == status, out + err
        return out + err if status == 0 else err

    def refused(self, *arguments: Any) -> str:
        """Run a command that must fail and return the one line that says why; notes may stand before it."""
        *notes, line = self(*arguments, status=1).strip().splitlines()
        assert line.startswith("thresher: ")
        assert not any("Traceback" in note or note.startswith("thresher: ") for note in notes)
        return line


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Call:
    return Call(monkeypatch, capsys)


@pytest.fixture(scope="session")
def small_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole run on digits with a tenth of the labels wrong, as small as it can be; made once, only to be read."""
    from thresher.experiments.reporting import report_run
    from thresher.experiments.study import StudySpec, run_study
    from thresher.train.spec import TrainSpec

    out = tmp_path_factory.mktemp("run") / "digits"
    surrogate = TrainSpec("tiny", epochs=5, batch_size=64, lr=0.05)
    coreset = TrainSpec("tiny", epochs=1, batch_size=64, lr=0.05)
    spec = StudySpec("digits", surrogate, coreset, ("random", "el2n", "aum"), (0.1,), (0,), (0,), mislabel="0.1:seed=0")
    report_run(out, spec, run_study(spec, out, threads=1), None)
    return out

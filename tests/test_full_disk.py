"""A really full disk: one clear error, what was there stays as it was, and with room again the same call succeeds."""

from __future__ import annotations

import contextlib
import errno
import os
import resource
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from thresher.cli import main
from thresher.coreset import Coreset
from thresher.experiments import reporting
from thresher.experiments.study import StudySpec
from thresher.files import write_json
from thresher.recorder import Recorder
from thresher.replay import Request, open_source, replay
from thresher.score_table import read_scores, write_scores
from thresher.scorers import AUM, TDDS
from thresher.train.checkpoint import load_checkpoint, save_checkpoint
from thresher.train.spec import TrainSpec
from thresher.trajectory.reader import Trajectory
from thresher.trajectory.writer import TrajectoryWriter
from thresher.types import Frame, Scores

FULL = (errno.ENOSPC, errno.EFBIG)


class Disk:
    """A small file system of its own where that may be mounted, else a folder of a process that may write no more."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.mkdir()
        command = ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(path)]
        try:
            self.mounted = subprocess.run(command, capture_output=True, check=False).returncode == 0
        except OSError:
            self.mounted = False

    def resize(self, size: str) -> None:
        """Give the file system another size."""
        subprocess.run(["mount", "-o", f"remount,size={size}", str(self.path)], check=True, capture_output=True)

    @contextlib.contextmanager
    def full(self, room: int = 0) -> Iterator[None]:
        """Leave no room for a while, or so many bytes where it is a file system."""
        if not self.mounted:
            soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
            resource.setrlimit(resource.RLIMIT_FSIZE, (16, hard))
            try:
                yield
            finally:
                resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
            return
        filler = self.path / "filler"
        with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
            while True:
                file.write(bytes(4096))
        os.truncate(filler, filler.stat().st_size - room)
        yield
        filler.unlink()

    def contents(self) -> dict[str, bytes]:
        """Return every file but locks and filler."""
        files = (p for p in self.path.rglob("*") if p.is_file() and p.suffix != ".lock" and p.name != "filler")
        return {str(p.relative_to(self.path)): p.read_bytes() for p in files}


@pytest.fixture(autouse=True)
def one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let commands that train in this process leave torch at one thread, as all tests have it."""
    monkeypatch.setattr("os.cpu_count", lambda: 1)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    made = Disk(tmp_path / "disk")
    yield made
    if made.mounted:
        subprocess.run(["umount", "-l", str(made.path)], check=True)


def save_scores(path: Path, version: int) -> None:
    write_scores(path, {"tdds": Scores(np.full(5000, version, dtype=np.float32))}, targets=np.zeros(5000, dtype=np.int64))


def save_coreset(path: Path, version: int) -> None:
    Coreset(np.arange(3000) + version, None, 5000).save(path)


def save_result(path: Path, version: int) -> None:
    write_json(path, {"version": version, "text": "x" * 9000})


def save_state(path: Path, version: int) -> None:
    save_checkpoint(path, {"version": version, "weights": torch.full((5000,), float(version))})


def save_report(path: Path, version: int) -> None:
    spec = StudySpec("digits", TrainSpec("tiny"), TrainSpec("tiny"), ("random",), (0.1,), (0,))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reporting, "gather", lambda *_: None)
        patch.setattr(reporting, "render", lambda _: f"{version}" * 9000)
        assert reporting.report_run(path.parent, spec, [], None) == path


WRITERS: dict[str, tuple[str, Callable[[Path, int], None], Callable[[Path], Any]]] = {
    "scores": ("scores.parquet", save_scores, lambda p: int(read_scores(p).columns["tdds"].values[0])),
    "coreset": ("coreset.parquet", save_coreset, lambda p: int(Coreset.load(p).ids[0])),
    "result": ("result.json", save_result, lambda p: int(p.read_text().split('"version": ')[1].split("\n")[0])),
    "checkpoint": ("c.safetensors", save_state, lambda p: load_checkpoint(p)["version"]),
    "report": ("report.html", save_report, lambda p: int(p.read_text()[0])),
}


@pytest.mark.parametrize("kind", WRITERS)
def test_what_was_written_stays(disk: Disk, kind: str) -> None:
    name, save, load = WRITERS[kind]
    path = disk.path / name
    save(path, 1)
    before = disk.contents()
    with disk.full(), pytest.raises(OSError, match=r"No space left|too large") as raised:
        save(path, 2)
    assert raised.value.errno in FULL
    assert str(path) in str(raised.value)  # the error names the file
    assert disk.contents() == before  # no rests either, which would keep the disk full
    assert load(path) == 1
    save(path, 2)
    assert load(path) == 2


def test_the_store_keeps_its_epochs_targets_and_features(disk: Disk) -> None:
    folder, n = disk.path / "trajectory", 3000
    features = np.ones((n, 2), dtype=np.float32)

    def append(store: TrajectoryWriter, epoch: int) -> None:
        loss = {"loss": np.full(n, epoch, dtype=np.float32)}
        store.append(Frame(epoch, np.arange(n), loss, n), targets=np.full(n, epoch), features=(epoch + 1) * features)

    with TrajectoryWriter.create(folder, n, 4, ["loss"], bucket_size=1000) as store:
        for epoch in range(2):
            append(store, epoch)
        before = disk.contents()
        for room in range(0, 64 << 10, 4 << 10) if disk.mounted else (0,):  # it is full now at this write, now at that
            with disk.full(room), pytest.raises(OSError, match=r"No space left|too large"):
                append(store, 2)
            assert disk.contents() == before, room  # what is left of a failure would keep the disk full
        kept = Trajectory.open(folder)
        kept.verify()
        assert kept.epochs == store.epochs == 2
        assert kept.targets is not None
        assert kept.features is not None
        assert (int(kept.targets[0]), float(kept.features[0, 0])) == (1, 2.0)
        append(store, 2)
    grown = Trajectory.open(folder)
    grown.verify()
    assert grown.features is not None
    assert (grown.epochs, float(grown.features[0, 0])) == (3, 3.0)


def test_a_recorder_keeps_its_epoch_open(disk: Disk) -> None:
    n = 3000
    store = TrajectoryWriter.create(disk.path / "trajectory", n, 3, ["change"])
    recorder = Recorder(n, 3, {"aum": AUM()}, store=store)
    ids = np.arange(n)
    for _ in range(2):
        recorder.update(np.random.default_rng(0).normal(size=(n, 3)), ids % 3, ids)
        with disk.full(), pytest.raises(OSError, match=r"No space left|too large"):
            recorder.end_epoch()
        recorder.end_epoch()
    store.close()
    assert Trajectory.open(disk.path / "trajectory").epochs == recorder.epoch == 2


COMMANDS = {
    "score": ("score", "{source}", "--method", "aum", "--out", "{disk}/scores.parquet"),
    "select": ("select", "{scores}", "--keep", "0.5", "--method", "aum", "--out", "{disk}/coreset.parquet"),
    "record": ("record", "--epochs", "2", "--out", "{disk}/run"),
    "run": ("run", "--method", "random", "--surrogate-epochs", "2", "--epochs", "1", "--out", "{disk}/run"),
    "train": ("train", "--epochs", "1", "--jobs", "1", "--out", "{disk}/results"),
}


@pytest.mark.parametrize("command", COMMANDS)
def test_commands_say_it_in_one_line(disk: Disk, tmp_path: Path, command: str, call: Any) -> None:
    if not disk.mounted:
        pytest.skip("needs a file system of its own: the test's own output would meet the limit too")
    n = 3000
    with TrajectoryWriter.create(tmp_path / "source", n, 3, ["prob_margin"]) as store:
        store.append(Frame(0, np.arange(n), {"prob_margin": np.zeros(n, dtype=np.float32)}, n))
    write_scores(tmp_path / "scores.parquet", {"aum": Scores(np.arange(n, dtype=np.float32), "low")})
    places = {"disk": disk.path, "source": tmp_path / "source", "scores": tmp_path / "scores.parquet"}
    with disk.full():
        line = call.refused(*(a.format(**places) for a in COMMANDS[command]))
    assert "No space left on device" in line
    assert "Free some space and run the same command again" in line
    assert not any(content for content in disk.contents().values())


def test_recording_goes_on_when_there_is_room_again(
    disk: Disk, tmp_path: Path, call: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not disk.mounted:
        pytest.skip("needs a file system of its own that can be made larger")
    disk.resize("400k")
    options = ("--epochs", 10, "--batch-size", 128)
    assert "No space left" in call.refused("record", "--out", disk.path / "run", *options)
    kept = Trajectory.open(disk.path / "run" / "trajectory")
    kept.verify()
    assert 0 < kept.epochs < 10
    assert not [p for p in disk.path.rglob("*") if p.name.endswith(".part")]
    disk.resize("4m")
    for out in (disk.path / "run", tmp_path / "calm"):
        monkeypatch.setattr("sys.argv", ["thresher", "record", "--out", str(out), *map(str, options)])
        with pytest.raises(SystemExit, match="0"):
            main()
    requests = [Request("tdds", TDDS(window=4)), Request("aum", AUM())]
    found, wanted = (replay(open_source(out), requests) for out in (disk.path / "run", tmp_path / "calm"))
    for name, scores in wanted.items():
        np.testing.assert_array_equal(found[name].values, scores.values)

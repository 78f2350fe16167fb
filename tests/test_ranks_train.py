"""`thresher record`, `run` and `train` under torchrun: a killed rank stops the others, and the same command goes on."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch.distributed as dist

from thresher.commands.options import pick_device
from thresher.errors import InputError, RankLostError
from thresher.ranks.torchrun import _forget, _own_gpu, joined
from thresher.replay import Request, open_source, replay
from thresher.scorers import AUM, TDDS, ClassDistance, Entropy
from thresher.trajectory.reader import Trajectory

EPOCHS, SIZE = 4, 2
COMMON = ("--epochs", EPOCHS, "--batch-size", 60)
TORCHRUN = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", SIZE, "-m", "thresher.cli")
FORKED = (Path(__file__).with_name("ranks_start.py"), SIZE, "thresher")  # in half the time; of dead ranks any is told


def start(how: tuple[Any, ...], *arguments: Any) -> subprocess.Popen[bytes]:
    """Start a command of the house on ranks."""
    command = [sys.executable, *how]
    return subprocess.Popen(list(map(str, [*command, *arguments])), stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def said_by(process: subprocess.Popen[bytes], status: int = 0) -> str:
    """Wait for the end and return what was said."""
    said = process.communicate(timeout=120)[0].decode()
    assert process.returncode == status, said
    return said


def kill(process: subprocess.Popen[bytes], rank: int) -> None:
    """End one rank of a running torchrun with SIGKILL: its processes began in the ranks' order."""
    children = []
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # gone meanwhile
            if int((folder / "stat").read_text().rsplit(")", 1)[1].split()[1]) == process.pid:
                children.append(int(folder.name))
    os.kill(sorted(children)[rank], signal.SIGKILL)


def wait_for(folder: Path, pattern: str, process: subprocess.Popen[bytes]) -> None:
    """Wait until something matches `pattern` in a folder."""
    for _ in range(24000):
        if any(folder.glob(pattern)):
            return
        assert process.poll() is None, said_by(process)
        time.sleep(0.005)
    pytest.fail(f"{pattern} did not come")


@pytest.fixture(scope="module")
def calm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An undisturbed recording."""
    run = tmp_path_factory.mktemp("calm") / "run"
    said_by(start(TORCHRUN, "record", "--out", run, *COMMON))
    return run


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="finds a rank by /proc")
@pytest.mark.parametrize(
    ("rank", "moment"), [(0, "epoch=0001"), (1, "epoch=0001*")], ids=["in an epoch", "in a commit or soon after"]
)
def test_a_killed_rank_ends_all_and_the_same_command_goes_on(
    calm: Path, tmp_path: Path, call: Any, rank: int, moment: str
) -> None:
    killed = tmp_path / "killed"
    process = start(TORCHRUN, "record", "--out", killed, *COMMON)
    wait_for(killed / "trajectory", moment, process)
    kill(process, rank)
    started = time.monotonic()
    said = said_by(process, status=1)
    assert time.monotonic() - started < 20
    assert "stops, as another rank has ended or did not answer" in said
    assert "run the same command again" in said
    assert f"rank      : {rank} (local_rank: {rank})\n  exitcode  : -9" in said
    left = Trajectory.open(killed / "trajectory")
    left.verify()
    assert 1 <= left.epochs < EPOCHS
    if (killed / "checkpoints" / "surrogate.safetensors").exists():  # else another number of ranks would begin anew
        said = call.refused("record", "--out", killed, *COMMON)
        assert f"of a recording on {SIZE} ranks, but this one has 1. Continue with as many as before" in said
        assert Trajectory.open(killed / "trajectory").manifest == left.manifest

    said_by(start(FORKED, "record", "--out", killed, *COMMON))
    one, other = Trajectory.open(calm / "trajectory"), Trajectory.open(killed / "trajectory")
    other.verify()
    assert other.epochs == EPOCHS
    requests = [Request("tdds", TDDS(window=3)), Request("aum", AUM()), Request("entropy", Entropy())]
    requests.append(Request("moderate", ClassDistance()))
    found = replay(open_source(killed), requests)
    for name, scores in replay(open_source(calm), requests).items():
        np.testing.assert_array_equal(found[name].values, scores.values, err_msg=name)
    for signal_ in one.signals:
        for mine, theirs in zip(one.frames([signal_]), other.frames([signal_]), strict=True):
            np.testing.assert_array_equal(mine.values[signal_], theirs.values[signal_], err_msg=signal_)
    assert not list(killed.rglob("*.part"))
    assert sorted(p.name for p in (killed / "checkpoints").iterdir()) == [
        *(f"surrogate-epoch{EPOCHS}-rank{r}of{SIZE}.safetensors" for r in range(SIZE)), "surrogate.safetensors",
    ]  # fmt: skip


def test_a_run_on_ranks_deals_out_the_trainings(tmp_path: Path, call: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """What does not hang on the surrogate (the full set, random coresets) gives the results of one process, to the bit."""
    monkeypatch.setattr("os.cpu_count", lambda: 1)
    options = ("--surrogate-epochs", 2, "--epochs", 2, "--seeds", "0,1", "--keep", "0.2", "--method", "random,el2n")
    said = said_by(start(FORKED, "run", "--out", tmp_path / "two", *options))
    assert said.count("two/ holds scores.parquet") == 1
    call("run", "--out", tmp_path / "one", *options, "--no-report")
    one, two = (
        {p.name: json.loads(p.read_text()) for p in (tmp_path / name / "results").glob("*")} for name in ("one", "two")
    )
    assert len(one) == len(two) == 6
    alike = {name for name in one if not name.startswith("el2n")}
    assert len(alike) == 4
    for name in alike:
        assert (one[name]["test_accuracy"], one[name]["train_loss"]) == (two[name]["test_accuracy"], two[name]["train_loss"])
    assert (tmp_path / "two" / "report.html").exists()
    assert "another spec" in call.refused("run", "--out", tmp_path / "two", *options[2:], "--surrogate-epochs", 3)


@pytest.mark.parametrize(
    ("device", "message"),
    [("cuda", "for each process of this machine, but process 2 finds 1"), ("cuda:0", "its own GPU, but got cuda:0")],
)
def test_processes_that_have_no_gpu_each_are_told_so(device: str, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"WORLD_SIZE": 2, "RANK": 1, "LOCAL_RANK": 1, "LOCAL_WORLD_SIZE": 2}.items():
        monkeypatch.setenv(name, str(value))
    monkeypatch.setattr("torch.cuda.device_count", lambda: 1)
    with pytest.raises(InputError, match=message), joined(device):
        pytest.fail("it began")


def test_to_choose_the_gpu_takes_no_memory_of_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.zeros", lambda *_, **__: pytest.fail("each process would have a place on the first GPU"))
    assert [pick_device(name) for name in ("auto", "cuda")] == ["cuda", "cuda"]
    monkeypatch.undo()
    with pytest.raises(InputError, match="an available device"):
        pick_device("cuda:99")


def test_a_number_of_processes_without_a_rank_is_not_torchruns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.delenv("RANK", raising=False)
    with joined("cpu") as (ranks, device):
        assert (ranks.size, device) == (1, "cpu")


def test_the_one_process_of_a_machine_may_name_its_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "1")
    assert _own_gpu("cuda:1") == "cuda:1"


def test_a_rank_that_is_told_to_stop_leaves_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    """torchrun sends SIGTERM to all when one has died; whoever starts something else afterwards is ended by it as usual."""
    begin = dist.init_process_group
    monkeypatch.setattr(dist, "init_process_group", lambda _: begin("gloo", store=dist.HashStore(), rank=0, world_size=1))
    for name, value in {"WORLD_SIZE": "2", "RANK": "0"}.items():
        monkeypatch.setenv(name, value)
    usual = signal.getsignal(signal.SIGTERM)
    try:
        with pytest.raises(RankLostError, match=r"Rank 0 stops, .*told to stop \(SIGTERM\)"), joined("cpu"):
            os.kill(os.getpid(), signal.SIGTERM)
        assert signal.getsignal(signal.SIGTERM) is usual
    finally:
        _forget()
        dist.destroy_process_group()

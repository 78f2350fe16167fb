"""Folders with odd names, terminals that lack characters, closed streams: what works elsewhere works there."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
import tarfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image
from rich.table import Table

from thresher import Coreset
from thresher.commands.output import Output
from thresher.commands.training import results_table
from thresher.data import load
from thresher.data.folders import read_picture
from thresher.errors import CorruptFileError, ThresherError
from thresher.exchange.uids import read_pool
from thresher.experiments.tables import Row
from thresher.score_table import read_scores
from thresher.train.checkpoint import save_checkpoint
from thresher.trajectory.reader import Trajectory

SMALL = ("--model", "tiny", "--epochs", "1", "--batch-size", "240", "--device", "cpu")


def thresher(*arguments: object, environment: dict[str, str] | None = None, closed: tuple[int, ...] = ()) -> tuple[str, str]:
    """Run a command in a process of its own, which must succeed, and return what it said on stdout and stderr."""
    command = [sys.executable, "-m", "thresher", *map(os.fsencode, map(str, arguments))]
    shut = "".join(f" {number}>&-" for number in closed)
    done = subprocess.run(
        ["bash", "-c", f'"$@"{shut}', "bash", *command],
        capture_output=True,
        env={**os.environ, **(environment or {})},
        check=False,
    )
    out, err = done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace")
    assert done.returncode == 0, out + err
    return out, err


@pytest.mark.parametrize("name", ["o\udcfct", "a b'c\"d#e%20[f]*g$HOME"])
def test_folders_with_any_name_hold_runs(name: str, tmp_path: Path, call: Any) -> None:
    """A lone byte, as in ISO 8859, is what text in UTF-8 cannot name."""
    folder = tmp_path / name
    try:
        folder.mkdir()
    except OSError:
        pytest.skip("needs a file system that takes such names")
    call("record", "--out", folder / "run", *SMALL)
    call("record", "--out", folder / "run", *SMALL)  # goes on from the checkpoint
    call("score", folder / "run", "--method", "el2n", "--out", folder / "scores.parquet")
    call("select", folder / "scores.parquet", "--method", "el2n", "--keep", 100, "--out", folder / "kept.parquet")
    call("suspects", folder / "run")
    call("train", "--coreset", folder / "kept.parquet", "--out", folder / "trained", *SMALL)
    call("export", folder / "kept.parquet", "--to", "csv", "--out", folder / "kept.csv")
    assert len(Coreset.load(folder / "kept.parquet")) == 100
    assert not list(folder.rglob("*.part"))


def test_where_the_locale_is_not_utf8_files_lie_where_they_are_named(small_run: Path, tmp_path: Path) -> None:
    folder = tmp_path / "ü"
    plain = {"PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "LC_ALL": "C"}
    thresher("score", small_run, "--method", "el2n", "--out", folder / "scores.parquet", environment=plain)
    thresher(
        "select",
        folder / "scores.parquet",
        "--method",
        "el2n",
        "--keep",
        9,
        "--out",
        folder / "k.parquet",
        environment=plain,
    )
    assert len(Coreset.load(folder / "k.parquet")) == 9


def test_a_terminal_that_lacks_characters_shows_the_table_all_the_same(tmp_path: Path) -> None:
    out, _ = thresher(
        "train", "--seeds", "0-1", "--jobs", 1, "--out", tmp_path / "日本", *SMALL, environment={"PYTHONIOENCODING": "ascii"}
    )
    assert "full" in out
    assert f"results in {tmp_path}" in out


@pytest.mark.parametrize("encoding", ["ascii", "utf-8"])
def test_json_is_json_whatever_the_encoding(encoding: str, small_run: Path, tmp_path: Path) -> None:
    names = [tmp_path / "日本.parquet", tmp_path / "\udcfc.parquet"]
    for name in names:
        out, _ = thresher(
            "score",
            small_run,
            "--method",
            "el2n",
            "--out",
            name,
            "--json",
            environment={"PYTHONIOENCODING": f"{encoding}:strict"},
        )
        assert json.loads(out)["wrote"] == [str(name)]


def test_closed_streams_stop_nothing(small_run: Path, tmp_path: Path) -> None:
    out, _ = thresher("score", small_run, "--method", "el2n", "--out", tmp_path / "scores.parquet", closed=(2,))
    assert "1437 samples" in out
    thresher(
        "select", tmp_path / "scores.parquet", "--method", "el2n", "--keep", 9, "--out", tmp_path / "k", closed=(0, 1, 2)
    )
    assert len(Coreset.load(tmp_path / "k")) == 9


@pytest.mark.parametrize("width", [20, 40, 60])
def test_narrow_terminals_cut_off_no_digits(
    width: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [Row("tdds:window=5:at=10", 0.100209, 144, 3, 98.76, 5.29, 1.23, 4.56, 3, 123.4)]
    monkeypatch.setenv("COLUMNS", str(width))
    Output().table(lambda: results_table(rows))
    words = capsys.readouterr().out.split()
    assert {"0.100209", "144", "98.76", "5.29", "+1.23", "4.56", "123.4", "accuracy"} <= set(words)
    assert "\u2026" not in "".join(words)


@pytest.mark.parametrize("width", ["0", "1", "9"])
@pytest.mark.parametrize("columns", [1, 3, 12])
def test_no_table_is_lost_where_the_width_is_unknown_or_nothing(
    width: str, columns: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """COLUMNS=0, as where a terminal tells no width, printed nothing at all, other small ones a frame without numbers."""
    names = [f"{number}.2345" for number in range(columns)]

    def table() -> Table:
        view = Table(*names)
        view.add_row(*(name[::-1] for name in names))
        return view

    monkeypatch.setenv("COLUMNS", width)
    Output().table(table)
    words = capsys.readouterr().out.split()
    assert {*names, *(name[::-1] for name in names)} <= set(words)


@pytest.mark.parametrize("call", ["check_scorer(Broken())", "check_selector(Picks())"])
def test_without_asserts_no_check_passes(call: str, tmp_path: Path) -> None:
    """Of a scorer without a source, which every check would pass."""
    program = f"""
from dataclasses import dataclass
from thresher.scorers import LastLoss
from thresher.selectors.top import Top
from thresher.testing import check_scorer, check_selector

@dataclass(frozen=True)
class Broken(LastLoss):
    "Its source is not said."

@dataclass(frozen=True)
class Picks(Top):
    "Nor is that of this."

{call}
"""
    place = tmp_path / "program.py"
    place.write_text(program)
    for flag, message in (("-B", "Source: "), ("-O", "Expected Python without -O"), ("-OO", "Expected Python without -O")):
        done = subprocess.run([sys.executable, flag, str(place)], capture_output=True, text=True, check=False)
        assert done.returncode == 1
        assert message in done.stderr


@contextmanager
def no_more_open_files() -> Iterator[None]:
    """As a user without permission, who cannot be had in every test run, this gets no file opened."""
    resource = pytest.importorskip("resource", reason="needs limits as POSIX has them")
    usual = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, usual[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, usual)


def picture(path: Path) -> Path:
    Image.fromarray(np.zeros((2, 2, 3), np.uint8)).save(path.with_suffix(".png"))
    return path.with_suffix(".png")


def archive(path: Path) -> Path:
    tarfile.open(path, "w").close()
    return path


def pool(path: Path) -> Path:
    pq.write_table(pa.table({"uid": ["0" * 32]}), path.with_suffix(".parquet"))
    return path.with_suffix(".parquet")


@pytest.mark.parametrize("kind", ["recording", "scores", "picture", "archive", "uids"])
def test_what_the_system_refuses_is_nothing_against_the_file(kind: str, small_run: Path, tmp_path: Path) -> None:
    """It was called damaged, and the advice was to delete it, or to cut a whole recording back."""
    bucket = next(small_run.glob("trajectory/epoch=0001/*"))
    cases: dict[str, tuple[Path, Callable[[Path], object]]] = {
        "recording": (bucket, lambda path: list(recording.frames(["entropy"], 1, 2))),
        "scores": (small_run / "scores.parquet", read_scores),
        "picture": (picture(tmp_path / "p"), read_picture),
        "archive": (archive(tmp_path / "a.tar"), lambda path: load("cifar10", path)),
        "uids": (pool(tmp_path / "u"), read_pool),
    }
    recording = Trajectory.open(small_run / "trajectory")
    path, read = cases[kind]
    with suppress(CorruptFileError):  # of the empty archive
        read(path)  # what has yet to be imported
    with no_more_open_files(), pytest.raises(OSError, match="Too many open files") as refused:
        read(path)
    assert not isinstance(refused.value, ThresherError)
    assert refused.value.errno == errno.EMFILE
    assert path.name in str(refused.value)


@pytest.mark.parametrize("length", [255, 240, 225])
def test_a_name_too_long_is_told_as_it_was_given(length: int, small_run: Path, tmp_path: Path, call: Any) -> None:
    """What was told was the part file's name, which nobody had given. The shorter ones are too long only as that."""
    path = tmp_path / ("n" * (length - 8) + ".parquet")
    told = call.refused("select", small_run / "scores.parquet", "--method", "el2n", "--keep", 9, "--out", path)
    assert "File name too long" in told
    assert "Choose a shorter name" in told
    assert path.name in told
    assert ".part'" not in told
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("error", [errno.EROFS, errno.EACCES])
def test_a_place_that_takes_no_file_is_told_by_the_name_given(error: int, tmp_path: Path, monkeypatch: Any) -> None:
    """As on a read-only file system, which refuses to remove even what is not there."""

    def refuse(path: Path, *_: object, **__: object) -> None:
        raise OSError(error, os.strerror(error), str(path))

    monkeypatch.setattr(Path, "open", refuse)
    monkeypatch.setattr(Path, "unlink", refuse)
    with pytest.raises(OSError, match="kept") as refused:
        Coreset(np.arange(3), None, 9, {}).save(tmp_path / "kept.parquet")
    assert refused.value.filename == str(tmp_path / "kept.parquet")


def test_a_backend_of_matplotlib_that_is_not_installed_stops_no_command(tmp_path: Path) -> None:
    """In a notebook's kernel MPLBACKEND names that of notebooks, which the environment of the commands may lack: the report
    of a whole run was lost with a traceback."""
    picture = tmp_path / "c.png"
    thresher("corrupt", "--show", picture, "--sample", "0", environment={"MPLBACKEND": "none of these"})
    with Image.open(picture) as drawn:
        assert drawn.width > 100


@pytest.mark.parametrize("mask", [0o002, 0o077])
def test_checkpoints_are_as_open_to_others_as_all_files_of_a_run(mask: int, tmp_path: Path) -> None:
    """With umask 002 a group shares a run; only the owner could read its checkpoint, so no one else could continue it."""
    plain = tmp_path / "plain"
    before = os.umask(mask)
    try:
        plain.touch()
        for _ in range(2):  # the second replaces the first
            save_checkpoint(tmp_path / "c.safetensors", {"weights": torch.zeros(3)})
    finally:
        os.umask(before)
    assert (tmp_path / "c.safetensors").stat().st_mode == plain.stat().st_mode


def test_tests_pass_where_nothing_can_be_written_beside_them(tmp_path: Path) -> None:
    """As in a checkout of another user's; Hypothesis warned, and all of its tests failed."""
    one = tmp_path / "test_one.py"
    one.write_text("from hypothesis import given, strategies as st\n\n@given(st.integers())\ndef test_one(n):\n    pass\n")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-c", str(Path(__file__).parents[1] / "pyproject.toml"), str(one)],
        env={**os.environ, "HYPOTHESIS_STORAGE_DIRECTORY": os.devnull + "/none"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout

"""Files that are written aside and renamed, whoever writes beside whom."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from thresher import Coreset, Scores
from thresher.errors import RunDirectoryError
from thresher.exchange.place import all_or_none, new_folder
from thresher.files import write_atomic
from thresher.score_table import read_scores, write_scores

KEPT = Coreset(np.arange(1000), None, 2000)
WRITERS: dict[str, Callable[[Path], None]] = {
    "bytes": lambda path: write_atomic(path, b"0123456789" * 1000),
    "coreset": KEPT.save,
    "scores": lambda path: write_scores(path, {"el2n": Scores(np.zeros(1000, np.float32))}),
}


@pytest.mark.parametrize("name", WRITERS)
def test_threads_that_write_one_file_do_not_meet(name: str, tmp_path: Path) -> None:
    """Nor do containers that share a folder, in which every process may have the number 1."""
    path = tmp_path / "one.parquet"
    with ThreadPoolExecutor(4) as pool:
        for _ in pool.map(WRITERS[name], [path] * 60):
            pass
    if name == "bytes":
        assert path.read_bytes() == b"0123456789" * 1000
    else:
        assert len(Coreset.load(path) if name == "coreset" else read_scores(path).columns["el2n"].values) == 1000
    assert not list(tmp_path.glob("*.part"))


@pytest.mark.parametrize("name", WRITERS)
def test_a_pipe_is_not_replaced_by_a_file(name: str, tmp_path: Path) -> None:
    """As `/dev/null` would be, for who may write there."""
    path = tmp_path / "pipe"
    os.mkfifo(path)
    with pytest.raises(RunDirectoryError, match="a device or pipe is there"):
        WRITERS[name](path)
    assert stat.S_ISFIFO(path.stat().st_mode)


def test_what_a_killed_export_left_is_in_nobodys_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a container the next process has the number of the killed one."""
    monkeypatch.setattr(os, "getpid", lambda: 1)
    (tmp_path / "kept.1.part").mkdir()
    with new_folder(tmp_path / "kept") as folder:
        (folder / "a").touch()
    (tmp_path / "kept" / "1.part").mkdir()
    with all_or_none(tmp_path / "kept") as folder:
        (folder / "b").touch()
    assert {path.name for path in (tmp_path / "kept").iterdir()} >= {"a", "b"}


@pytest.mark.parametrize("name", WRITERS)
def test_an_error_names_the_file_not_the_one_beside_it(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Path, *arguments: object, **more: object) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(self))

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(PermissionError) as refused:
        WRITERS[name](tmp_path / "one.parquet")
    assert refused.value.filename == str(tmp_path / "one.parquet")


def test_a_name_that_leaves_no_room_for_the_part_is_told_itself(tmp_path: Path) -> None:
    path = tmp_path / ("n" * 250)
    with pytest.raises(OSError, match="too long") as refused:
        write_atomic(path, b"")
    assert str(refused.value.filename) == str(path)

"""What was opened by a relative path is read on when the program goes to another folder, as notebooks do."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from thresher import Frame, Scores, Trajectory, TrajectoryWriter
from thresher.data import load
from thresher.replay import open_source
from thresher.score_file import ScoreFile
from thresher.score_table import write_scores


@pytest.fixture
def moved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that one is in, and another one below it to go to."""
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path / "elsewhere"


def test_recordings(moved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with TrajectoryWriter.create("store", 2, 3, ["loss"]) as store:
        store.append(Frame(0, np.arange(2), {"loss": np.zeros(2, np.float32)}, 2), targets=np.array([0, 1]))
    Path("dumps").mkdir()
    np.save("dumps/0_Output.npy", np.zeros((2, 3), np.float32))
    np.save("dumps/0_Index.npy", np.arange(2))
    opened, dumps = Trajectory.open("store"), open_source("dumps")
    monkeypatch.chdir(moved)
    assert opened.targets is not None
    assert len(list(opened.frames(["loss"]))) == len(list(dumps.frames(["entropy"], 0, 1))) == 1


def test_score_tables(moved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_scores("scores.parquet", {"el2n": Scores(np.zeros(2, np.float32))})
    file = ScoreFile.open("scores.parquet")
    monkeypatch.chdir(moved)
    assert [len(block) for block in file.blocks("el2n")] == [2]


def test_pictures(moved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for half in ("train", "val"):
        for name in ("cat", "dog"):
            folder = Path("pictures") / half / name
            folder.mkdir(parents=True)
            Image.new("RGB", (8, 8)).save(folder / "0.png")
    data = load("folder", "pictures")
    monkeypatch.chdir(moved)
    assert data.train.image(1).shape == (8, 8, 3)

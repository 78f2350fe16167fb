"""Scorers and selectors of other packages, found by their entry points, and broken ones, which stop nothing else."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import thresher.scorers
from thresher.errors import InputError, MissingPackageError
from thresher.registry import Room
from thresher.scorers import Scorer
from thresher.types import HardEnd

SCORER = '''
from dataclasses import dataclass
from thresher.scorers import LastLoss

@dataclass(frozen=True)
class NewestLoss(LastLoss):
    """The newest loss, times something.

    Source: this test.
    """
    scale: float = 1.0

    def compute(self, state, pool):
        return super().compute(state, pool) * self.scale
'''
SELECTOR = SCORER.replace("scorers import LastLoss", "selectors.top import Top").partition("    def")[0]
SELECTOR = SELECTOR.replace("NewestLoss(LastLoss)", "EveryOther(Top)")
ENTRY_POINTS = """
[thresher.scorers]
newest_loss = mine.newest_loss:NewestLoss
misnamed = mine.newest_loss:NewestLoss
absent = mine.absent:Absent
text = json:JSONEncoder
tdds = mine.newest_loss:NewestLoss
ccs = mine.newest_loss:NewestLoss

[thresher.selectors]
every_other = mine.every_other:EveryOther
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as pip leaves one, with a package that brings good plug-ins and bad, and a recording `dumps` beside it."""
    site = tmp_path_factory.mktemp("site")
    for name, text in (("newest_loss", SCORER), ("every_other", SELECTOR)):
        (site / "mine").mkdir(exist_ok=True)
        (site / "mine" / f"{name}.py").write_text(text)
    about = site / "my_scores-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: my-scores\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text(ENTRY_POINTS)
    rng = np.random.default_rng(0)
    (site / "dumps").mkdir()
    np.save(site / "dumps" / "targets.npy", np.arange(20) % 3)
    for epoch in range(4):
        np.save(site / "dumps" / f"{epoch}_Output.npy", rng.normal(size=(20, 3)).astype(np.float32))
        np.save(site / "dumps" / f"{epoch}_Index.npy", np.arange(20))
    return site


def thresher_command(site: Path, *arguments: str, status: int = 0) -> str:
    """Run a command in a process that sees the site, and return what it said."""
    paths = os.pathsep.join([str(site), str(Path(thresher.__file__).parents[1])])
    done = subprocess.run(
        [sys.executable, "-m", "thresher.cli", *arguments],
        cwd=site, env={**os.environ, "PYTHONPATH": paths}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == status, done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout + done.stderr


def test_an_installed_package_brings_a_scorer_and_a_selector(site: Path) -> None:
    thresher_command(site, "score", "dumps", "--method", "newest_loss:scale=2,last_loss", "--out", "scores.parquet")
    method = ("--method", "newest_loss:scale=2:selector=every_other", "--keep", "5", "--out")
    thresher_command(site, "select", "scores.parquet", *method, "mine.parquet")
    thresher_command(site, "select", "scores.parquet", "--method", "last_loss", "--keep", "5", "--out", "ours.parquet")
    from thresher.coreset import Coreset
    from thresher.score_table import read_scores

    columns = read_scores(site / "scores.parquet").columns
    np.testing.assert_array_equal(columns["newest_loss"].values, 2 * columns["last_loss"].values)
    mine, ours = (Coreset.load(site / f"{name}.parquet") for name in ("mine", "ours"))
    assert mine.ids.tolist() == ours.ids.tolist()
    assert mine.source["selector"]["name"] == "every_other"


def test_plug_ins_are_listed_with_what_is_wrong_with_them(site: Path) -> None:
    found = json.loads(thresher_command(site, "methods", "--json", "--quiet"))
    assert found["scorers"]["newest_loss"] == "The newest loss, times something."
    assert found["selectors"]["every_other"] == "The newest loss, times something."
    assert "cannot be imported: ModuleNotFoundError" in found["scorers"]["absent"]
    assert [sentence.split(" is ignored")[0] for sentence in found["refused"]] == [
        "The scorer ccs (my-scores, mine.newest_loss:NewestLoss)",
        "The scorer tdds (my-scores, mine.newest_loss:NewestLoss)",
    ]


@pytest.mark.parametrize(
    ("method", "message"),
    [
        ("absent", "The scorer absent (my-scores, mine.absent:Absent) cannot be imported: ModuleNotFoundError"),
        ("text", "(my-scores, json:JSONEncoder) to be a frozen dataclass that extends Scorer, but it is no class that"),
        ("misnamed", "in a file misnamed.py, since it is named after its file, but it is in mine.newest_loss"),
        ("newest_los", "(did you mean newest_loss?)"),
        ("every_other", "every_other', which is a selector. Combine it with a method: tdds:selector=every_other"),
        ("newest_loss:window=2", "the scorer newest_loss has scale"),
    ],
)
def test_plug_ins_that_cannot_be_used_are_named(site: Path, method: str, message: str) -> None:
    assert message in thresher_command(site, "score", "dumps", "--method", method, "--out", "no.parquet", status=1)


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("def", MissingPackageError, r"margin_gain \(thresher.scorers.margin_gain\) cannot be imported: SyntaxError"),
        ("import nothing_of_that_name", MissingPackageError, "No module named 'nothing_of_that_name'"),
        ("VALUE = 3", InputError, "it is no class that extends Scorer"),
    ],
)
def test_a_broken_file_of_the_house_stops_nothing_else(
    text: str, error: type[Exception], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "margin_gain.py").write_text(text)
    monkeypatch.setattr(thresher.scorers, "__path__", [*thresher.scorers.__path__, str(tmp_path)])
    monkeypatch.delitem(sys.modules, "thresher.scorers.margin_gain", raising=False)
    room: Room[Scorer] = Room("thresher.scorers", Scorer)  # type: ignore[type-abstract]
    hard: HardEnd = room["tdds"].hard_end
    assert hard == "high"
    with pytest.raises(error, match=message):
        room["margin_gain"]


def test_packages_are_looked_up_for_names_that_are_not_of_the_house_only(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    monkeypatch.setattr("importlib.metadata.entry_points", lambda group: asked.append(group) or [])
    room: Room[Scorer] = Room("thresher.scorers", Scorer)  # type: ignore[type-abstract]
    assert room["tdds"].hard_end == "high"
    assert asked == []
    assert "mine" not in room
    assert asked == ["thresher.scorers"]

"""A coreset that is there trains its cell without the recording: it is small, can be copied, and a recording takes hours."""

from __future__ import annotations

import errno
import json
import shutil
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from click.testing import CliRunner

from thresher.boards import targets
from thresher.boards.cells import Cell, Entry
from thresher.boards.outcome import Outcome
from thresher.boards.place import Place, read_result
from thresher.boards.reproduce import recording_left, run_cells
from thresher.cli import app
from thresher.coreset import Coreset
from thresher.data import load
from thresher.experiments.pace import Pace
from thresher.experiments.recording import identity
from thresher.experiments.rundir import RunDirectory, digest_of
from thresher.score_table import read_scores, write_scores
from thresher.train.spec import TrainSpec
from thresher.trajectory.reader import Trajectory
from thresher.types import Scores

SURROGATE = TrainSpec("tiny", epochs=6, batch_size=256, lr=0.05)
CORESET = TrainSpec("tiny", epochs=1, batch_size=256, lr=0.05)


def cell(method: str, **changes: Any) -> Cell:
    """Return a cell on digits that takes a second."""
    return replace(Cell("digits", method, 0.2, SURROGATE, CORESET), **changes)


SHORT, LONG = cell("el2n:epochs=2"), cell("aum")
SCALED, DERIVED = cell("tdds:window=3:at=5", scale_loss="all"), cell("tdds:at=auto", scale_loss="all")
CELLS = [SHORT, LONG, SCALED, DERIVED]
FOLDER = f"recordings/{digest_of(SHORT.source)}"


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """All cells, run."""
    place = Place(tmp_path_factory.mktemp("finished"))
    assert run_cells(CELLS, place, Pace()).done == CELLS
    return place


def copied(place: Place, root: Path, cells: Iterable[Cell] = CELLS, what: str = "") -> Place:
    """Return a place that has of another one the coresets of these cells, and the files that `what` names."""
    (root / "coresets").mkdir()
    for one in cells:
        for path in (place.coreset(one), place.coreset(one).with_suffix(".parquet.json")):
            shutil.copy(path, root / "coresets")
    for path in place.root.glob(what) if what else []:
        (root / path.relative_to(place.root)).parent.mkdir(parents=True, exist_ok=True)
        (shutil.copytree if path.is_dir() else shutil.copy)(path, root / path.relative_to(place.root))
    return Place(root)


def outcome_of(place: Place, one: Cell) -> dict[str, Any]:
    """Return a cell's result, without what differs from run to run."""
    result = read_result(place, one)
    assert result is not None
    return {key: value for key, value in result.items() if key not in ("seconds", "scale_column")}


def left(cells: Iterable[Cell], place: Place) -> list[int]:
    """Return how many epochs of each recording a dry run would announce."""
    return [epochs for _, _, epochs in recording_left(cells, place, pytest.fail)]


def told(cells: Iterable[Cell], place: Place) -> tuple[Outcome, str]:
    """Run cells; return what became of them, and the notices."""
    notices: list[str] = []
    outcome = run_cells(cells, place, Pace(), lambda event, d: notices.append(d["text"]) if event == "notice" else None)
    return outcome, "\n".join(notices)


@pytest.mark.parametrize("sidecar", [True, False])
def test_coresets_train_without_a_recording(finished: Place, tmp_path: Path, sidecar: bool) -> None:
    place = copied(finished, tmp_path, [SHORT, LONG])
    if not sidecar:
        place.coreset(SHORT).with_suffix(".parquet.json").unlink()
    assert left([SHORT, LONG], place) == []
    assert told([SHORT, LONG], place) == (Outcome(done=[SHORT, LONG]), "")
    assert not (tmp_path / "recordings").exists()
    for one in (SHORT, LONG):
        assert outcome_of(place, one) == outcome_of(finished, one)


@pytest.mark.parametrize("one", [SCALED, DERIVED], ids=lambda one: one.method)
def test_a_scaled_loss_needs_the_score_table_too(finished: Place, tmp_path: Path, one: Cell) -> None:
    place = copied(finished, tmp_path, [one], f"{FOLDER}/scores-*.parquet")
    (tmp_path / FOLDER / "scores-0.parquet").write_bytes(b"PAR1 and no more")  # comes first, and says nothing of the other
    assert left([one], place) == []
    assert told([one], place) == (Outcome(done=[one]), "")
    assert not (tmp_path / FOLDER / "trajectory").exists()
    result = outcome_of(place, one)
    assert result == outcome_of(finished, one)
    assert result["scale_digest"] == Coreset.load(place.coreset(one)).source["loss_scale"]
    assert result["mean_loss_scale"] is not None


def test_without_the_scores_that_scale_its_loss_a_cell_is_recorded(finished: Place, tmp_path: Path) -> None:
    place = copied(finished, tmp_path, [SCALED], f"{FOLDER}/scores-*.parquet")
    (path,) = (tmp_path / FOLDER).glob("scores-*.parquet")
    others = {name: Scores(c.values + 1, c.hard_end, c.source) for name, c in read_scores(path).columns.items()}
    write_scores(path, others)  # as of a recording that was made elsewhere
    assert left([SCALED], place) == [5]
    shutil.rmtree(tmp_path / FOLDER)
    outcome, notices = told([SCALED], place)
    assert outcome.done == [SCALED]
    assert "1 coresets that are there cannot be used" in notices
    assert "Copy them, too" in notices
    assert outcome_of(place, SCALED) == outcome_of(finished, SCALED)


def shorten(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:200])


def alter_the_sidecar(path: Path) -> None:
    path.with_suffix(".parquet.json").write_text("{}")


def put_another_cells(path: Path) -> None:
    """Write other samples, as another cell's file under this name would hold them."""
    there = Coreset.load(path)
    Coreset(np.arange(288), None, there.n, {**there.source, "cell": LONG.digest}).save(path)


def put_other_datas(path: Path) -> None:
    there = Coreset.load(path)
    Coreset(np.arange(288), None, there.n, {**there.source, "fingerprint": "other"}).save(path)


def put_one_without_provenance(path: Path) -> None:
    Coreset(np.arange(288), None, 1437).save(path)


def put_one_of_fewer(path: Path) -> None:
    there = Coreset.load(path)
    Coreset(np.arange(288), None, 1000, there.source).save(path)


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (shorten, "Expected a complete coreset file"), (alter_the_sidecar, "disagrees with its sidecar"),
        (put_another_cells, "it is that of another cell"), (put_other_datas, "is of digits (fingerprint other)"),
        (put_one_without_provenance, "it is that of another cell"), (put_one_of_fewer, "was selected from 1000"),
    ],
)  # fmt: skip
def test_a_coreset_that_is_not_the_cells_is_selected_anew(finished: Place, tmp_path: Path, spoil: Any, why: str) -> None:
    place = copied(finished, tmp_path, [SHORT])
    spoil(place.coreset(SHORT))
    assert left([SHORT], place) == [2]
    outcome, notices = told([SHORT], place)
    assert outcome.done == [SHORT]
    assert notices.startswith("1 coresets that are there cannot be used and have to be selected anew; the first: Expected")
    assert why in notices
    assert outcome_of(place, SHORT) == outcome_of(finished, SHORT)
    assert Coreset.load(place.coreset(SHORT)).is_at(finished.coreset(SHORT))


def test_a_coreset_of_a_later_version_is_neither_used_nor_replaced(finished: Place, tmp_path: Path) -> None:
    place = copied(finished, tmp_path, [SHORT])
    path = place.coreset(SHORT)
    table = pq.read_table(path)
    about = {**json.loads(table.schema.metadata[b"thresher"]), "format": 2}
    pq.write_table(table.replace_schema_metadata({b"thresher": json.dumps(about)}), path)
    there = path.read_bytes()
    outcome, _ = told([SHORT], place)
    assert "Expected format 1 in" in outcome.failed[SHORT]
    assert path.read_bytes() == there


def test_a_group_is_recorded_for_those_that_need_it(
    finished: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place, before = copied(finished, tmp_path, [LONG]), []  # which alone would take 6 epochs
    from thresher.boards.reproduce import record

    def recorded(*arguments: Any, **options: Any) -> Any:
        before.append(place.result(LONG).exists())  # a recording may take all the time there is
        return record(*arguments, **options)

    monkeypatch.setattr("thresher.boards.reproduce.record", recorded)
    assert left([LONG, SHORT], place) == [2]
    assert set(run_cells([SHORT, LONG], place, Pace()).done) == {SHORT, LONG}
    assert before == [True]
    assert Trajectory.open(tmp_path / FOLDER / "trajectory").epochs == 2
    assert left([replace(SHORT, seed=1), replace(LONG, seed=1)], place) == [4]
    for one in (SHORT, LONG):
        assert outcome_of(place, one) == outcome_of(finished, one)


def test_a_recording_that_cannot_be_made_costs_those_with_coresets_nothing(
    finished: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any, **__: Any) -> None:
        raise torch.OutOfMemoryError("no memory")

    place = copied(finished, tmp_path, [LONG])
    with RunDirectory(tmp_path / FOLDER, identity(load("digits"), SURROGATE, 42)):
        outcome = run_cells([SHORT, LONG], place, Pace())
    assert (outcome.done, outcome.left) == ([LONG], {SHORT: "its recording is not finished"})
    place.result(LONG).unlink()
    monkeypatch.setattr("thresher.boards.reproduce.record", broken)
    outcome = run_cells([SHORT, LONG], place, Pace())
    assert (outcome.done, outcome.failed) == ([LONG], {SHORT: "OutOfMemoryError: no memory"})


def test_a_damaged_recording_costs_those_with_coresets_nothing(finished: Place, tmp_path: Path) -> None:
    place = copied(finished, tmp_path, [LONG], FOLDER)
    (tmp_path / FOLDER / "trajectory" / "manifest.json").write_text("{")
    failed: list[Cell] = []
    assert recording_left([SHORT, LONG], place, lambda one, error: failed.append(one)) == []
    assert failed == [SHORT]
    outcome = run_cells([SHORT, LONG], place, Pace())
    assert outcome.done == [LONG]
    assert "CorruptFileError" in outcome.failed[SHORT]


def test_a_coreset_that_may_not_be_read_costs_the_others_nothing(
    finished: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place, real = copied(finished, tmp_path, [SHORT, LONG]), Coreset.load

    def forbidden(path: Path, *rest: Any, **more: Any) -> Coreset:
        if path == place.coreset(SHORT):
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return real(path, *rest, **more)

    monkeypatch.setattr(Coreset, "load", forbidden)
    outcome = run_cells([SHORT, LONG], place, Pace())
    assert outcome.done == [LONG]
    assert "Permission denied" in outcome.failed[SHORT]  # at once, not after the recording
    assert not (tmp_path / "recordings").exists()


def test_where_the_recording_is_coresets_are_selected_from_it(finished: Place, tmp_path: Path) -> None:
    place = copied(finished, tmp_path, CELLS, FOLDER)
    there = Coreset.load(place.coreset(SHORT))
    Coreset(np.arange(288), None, there.n, there.source).save(place.coreset(SHORT))
    times = [place.coreset(one).stat().st_mtime_ns for one in CELLS[1:]]
    assert left(CELLS, place) == []
    assert run_cells(CELLS, place, Pace()).done == CELLS
    assert Coreset.load(place.coreset(SHORT)).digest == there.digest
    assert [place.coreset(one).stat().st_mtime_ns for one in CELLS[1:]] == times
    again = Place(tmp_path / "again")
    shutil.copytree(tmp_path / "coresets", again.root / "coresets")
    shutil.copytree(tmp_path / FOLDER, again.root / FOLDER)
    for one in CELLS:  # one by one, so that others share the score table: a coreset's file does not depend on that
        assert run_cells([one], again, Pace()).done == [one]
        assert again.coreset(one).read_bytes() == place.coreset(one).read_bytes()


def test_a_dry_run_counts_no_recording_and_says_what_cannot_be_used(
    finished: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = copied(finished, tmp_path, [SHORT, LONG])
    there = [Entry("digits", one, {"method": one.method}) for one in (SHORT, LONG)]
    monkeypatch.setitem(targets.TARGETS, "table6", lambda scale: there)
    arguments = ["reproduce", "table6", "--seeds", "0", "--jobs", "1", "--out", str(tmp_path), "--dry-run"]
    said = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert "2 cells, 0 of them done, 2 to run; 0 recordings" in said.stdout
    assert "cannot be used" not in said.output
    shorten(place.coreset(SHORT))
    said = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert "2 to run; 1 recordings" in said.stdout
    assert "1 coresets that are there cannot be used" in said.output
    said = CliRunner().invoke(app, [*arguments, "--json", "--quiet"], catch_exceptions=False)
    assert json.loads(said.stdout)["recordings"] == 1

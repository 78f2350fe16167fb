"""Published tables as cells: run what is missing, stop anywhere, merge, and show the board."""

from __future__ import annotations

import csv
import json
import re
import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from thresher.boards import targets
from thresher.boards.board import HEADINGS, as_csv, as_markdown, board, columns, in_common, lines
from thresher.boards.cells import Cell, Entry, Filter
from thresher.boards.outcome import Outcome
from thresher.boards.place import Place, read_result
from thresher.boards.reproduce import recording_left, run_cells
from thresher.boards.targets import SCALES, TARGETS, entries
from thresher.cli import app
from thresher.commands import reproduce as reproduce_command
from thresher.commands.output import Output
from thresher.data import load
from thresher.errors import InputError
from thresher.experiments.pace import Pace
from thresher.experiments.recording import identity
from thresher.experiments.rundir import RunDirectory, digest_of, locked
from thresher.settings.tables import TABLES, PublishedNumber, published_table
from thresher.train.spec import TrainSpec
from thresher.trajectory.reader import Trajectory

SURROGATE = TrainSpec("tiny", epochs=8, batch_size=128, lr=0.05)
CORESET = TrainSpec("tiny", epochs=1, batch_size=64, lr=0.05)


def entry(method: str, **changes: object) -> Entry:
    """Return an entry on digits that takes a second."""
    cell = replace(Cell("digits", method, 0.2, SURROGATE, CORESET), **changes)  # type: ignore[arg-type]
    number = PublishedNumber("table0", "digits", method, 0.2, 50.0, 1.0)
    return Entry("digits", cell, {"data": "digits", "keep": f"{cell.keep:g}", "method": method}, number)


ENTRIES = [entry("full", keep=1.0), entry("random"), entry("el2n:epochs=3"), entry("tdds:window=3:at=5")]
CELLS = [cell for e in ENTRIES for cell in e.cells((0, 1))]


def unexpected(cell: Cell, error: Exception) -> None:
    """Stand where nothing may fail."""
    raise error


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Place, Outcome]:
    """All cells, run."""
    place = Place(tmp_path_factory.mktemp("reproduce"))
    return place, run_cells(CELLS, place, Pace())


def test_all_cells_run_and_share_one_recording(finished: tuple[Place, Outcome]) -> None:
    place, outcome = finished
    assert (set(outcome.done), outcome.failed, outcome.left) == (set(CELLS), {}, {})
    recordings = list((place.root / "recordings").iterdir())
    assert len(recordings) == 1
    assert Trajectory.open(recordings[0] / "trajectory").epochs == 5  # as far as the cells need it, not all 8
    for cell in CELLS:
        result = read_result(place, cell)
        assert result is not None
        assert result["kept"] == (1437 if cell.method == "full" else 288)


def test_running_again_does_nothing(finished: tuple[Place, Outcome]) -> None:
    place, _ = finished
    times = {p: p.stat().st_mtime_ns for p in place.root.rglob("*.json")}
    assert set(run_cells(CELLS, place, Pace()).done) == set(CELLS)
    assert {p: p.stat().st_mtime_ns for p in place.root.rglob("*.json")} == times


def test_a_recording_goes_on_where_more_is_needed(finished: tuple[Place, Outcome], tmp_path: Path) -> None:
    shutil.copytree(finished[0].root, tmp_path / "copy")
    place = Place(tmp_path / "copy")
    more = entry("aum").cell  # reads every epoch
    assert [(spec, epochs) for _, spec, epochs in recording_left([more, *CELLS], place, unexpected)] == [(SURROGATE, 3)]
    assert run_cells([more, *CELLS], place, Pace()).failed == {}
    assert recording_left([more], place, unexpected) == []
    straight = Place(tmp_path / "straight")
    run_cells([more], straight, Pace())
    one, other = read_result(place, more), read_result(straight, more)
    assert one is not None
    assert other is not None
    assert one["coreset_digest"] == other["coreset_digest"]


def test_the_board_has_published_ours_and_the_gap(finished: tuple[Place, Outcome]) -> None:
    place, _ = finished
    rows = board([*ENTRIES, entry("dual")], (0, 1), place)
    assert [len(row.accuracies) for row in rows] == [2, 2, 2, 2, 0]
    assert rows[1].gap is None
    assert rows[3].gap == pytest.approx((rows[3].mean or 0) - (rows[1].mean or 0))
    assert rows[3].difference == pytest.approx((rows[3].mean or 0) - 50)
    assert rows[0].gap is None  # another kept share than Random's
    text = as_markdown(rows)
    assert "| tdds:window=3:at=5 |" in text
    assert "50.00 ± 1.00" in text
    assert text.count("not yet run") == 1
    assert columns(rows)[:2] == ("keep", "method")
    lines = list(csv.DictReader(as_csv(rows).splitlines()))
    assert [line["status"] for line in lines] == ["", "", "", "", "not yet run"]
    assert {(line["data"], line["epochs"]) for line in lines} == {("digits", "1")}  # also what all rows have in common
    assert "1 of 2 seeds" not in text
    assert board(ENTRIES, (0, 1, 2), place)[1].status == "2 of 3 seeds"


@pytest.mark.parametrize("scale", SCALES)
def test_a_board_says_what_its_rows_are_of(scale: str) -> None:
    rows = board(entries("all", scale), (0,), Place(Path("nowhere")))
    assert columns(rows)[0] == "target"
    labels = len(columns(rows)) - len(HEADINGS)
    assert len({line[:labels] for line in lines(rows)}) == len(rows)
    few = [row for row in rows if row.entry.target == "table10" and row.entry.labels["keep"] == "0.1"]
    model, batch = ("resnet18", 128) if scale == "full" else ("small", 32)
    assert in_common(few) == f"target table10, data cifar100, model {model}, keep 0.1, batch {batch}"
    assert as_markdown(few).startswith(f"{in_common(few)}\n\n| method |")
    assert "| target | data |" in as_markdown(rows)


def test_a_gap_says_of_how_many_pairs_it_is(finished: tuple[Place, Outcome], tmp_path: Path) -> None:
    shutil.copytree(finished[0].root / "results", tmp_path / "results")
    place = Place(tmp_path)
    place.result(replace(entry("random").cell, seed=1)).unlink()
    rows = board(ENTRIES, (0, 1), place)
    assert [row.pairs for row in rows] == [0, 0, 1, 1]
    assert as_markdown(rows).count("(1 pair) |") == 2
    assert [row["pairs"] for row in csv.DictReader(as_csv(rows).splitlines())] == ["", "", "1", "1"]


def test_a_board_pairs_what_differs_in_nothing_but_the_method(tmp_path: Path) -> None:
    """Numbers by hand: 4.3027 / sqrt(3) times 11 for the accuracies, times 1 for their differences."""
    random, tdds = entry("random"), replace(entry("tdds:window=3:at=5"), remark="doubtful")
    others: list[dict[str, object]] = [{"keep": 0.3}, {"mislabel": "0.2"}, {"coreset": replace(CORESET, batch_size=32)}]
    decoys = [entry("random", **changes) for changes in others]
    place = Place(tmp_path)
    (tmp_path / "results").mkdir()
    trained = ((tdds, (0.55, 0.66, 0.77)), (random, (0.5, 0.6, 0.7)), *((decoy, (0.1, 0.4, 0.2)) for decoy in decoys))
    for one, accuracies in trained:
        for cell, accuracy in zip(one.cells((0, 1, 2)), accuracies, strict=True):
            told = {"cell": cell.to_json(), "test_accuracy": accuracy, "steps": 9}
            told |= {"trained_as": "tdds"} if one is tdds else {}
            place.result(cell).write_text(json.dumps(told))
    rows = board([tdds, random, *decoys], (0, 1, 2), place)
    budget, remark = "1 epochs, batch 64, 9 steps", "trained once, as tdds; doubtful"
    assert rows[0].texts() == ("50.00 ± 1.00", "66.00 ± 27.33", "3", "+16.00", "+6.00 ± 2.48", budget, remark)
    assert [row.gap for row in rows[1:]] == [None] * 4
    line = next(csv.DictReader(as_csv(rows).splitlines()))
    names = ("published", "published_std", "mean", "half_width", "n", "difference", "gap", "gap_half_width", "pairs")
    assert [line[name] for name in names] == [
        "50.0000", "1.0000", "66.0000", "27.3255", "3", "16.0000", "6.0000", "2.4841", "3",
    ]  # fmt: skip
    assert line["accuracies"] == "0:55.00 1:66.00 2:77.00"


def test_results_of_other_machines_are_merged_by_copying(finished: tuple[Place, Outcome], tmp_path: Path) -> None:
    place, _ = finished
    shutil.copytree(place.root / "results", tmp_path / "results")
    elsewhere = Place(tmp_path)
    assert as_csv(board(ENTRIES, (0, 1), elsewhere)) == as_csv(board(ENTRIES, (0, 1), place))
    assert set(run_cells(CELLS, elsewhere, Pace()).done) == set(CELLS)
    assert not (tmp_path / "recordings").exists()


OWN = {"cell": entry("random").cell.to_json(), "test_accuracy": 0.5}
FOREIGN = [
    '{"test_acc', "[]", "\x00", json.dumps(OWN), json.dumps({**OWN, "steps": "abc"}), json.dumps({**OWN, "steps": True}),
    json.dumps({**OWN, "steps": 5, "cell": {"data": "other"}}), json.dumps({**OWN, "steps": 5, "test_accuracy": 2.0}),
]  # fmt: skip


@pytest.mark.parametrize("content", FOREIGN)
def test_a_file_that_is_no_result_is_named_and_left(tmp_path: Path, content: str) -> None:
    place, cell = Place(tmp_path), entry("random").cell
    path = place.result(cell)
    path.parent.mkdir()
    path.write_text(content)
    outcome = run_cells([cell, replace(cell, seed=1)], place, Pace())
    assert outcome.done == [replace(cell, seed=1)]
    assert path.name in outcome.failed[cell]
    assert path.read_text() == content
    assert "is not its result" in board([entry("random")], (0, 1), place)[0].status


def test_a_folder_in_a_results_place_costs_the_others_nothing(tmp_path: Path) -> None:
    place, cell = Place(tmp_path), entry("random").cell
    place.result(cell).mkdir(parents=True)
    outcome = run_cells([cell, replace(cell, seed=1)], place, Pace())
    assert outcome.done == [replace(cell, seed=1)]
    assert "it is a folder" in outcome.failed[cell]


def test_a_dry_run_counts_what_would_fail(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    absent = entry("el2n:epochs=3", data="imagenet")
    foreign = Place(tmp_path).result(entry("random").cell)
    foreign.parent.mkdir()
    foreign.write_text("{}")
    monkeypatch.setitem(targets.TARGETS, "table6", lambda scale: [*ENTRIES[1:], absent])
    arguments = ["reproduce", "table6", "--seeds", "0", "--jobs", "1", "--out", str(tmp_path), "--dry-run"]
    result = CliRunner().invoke(app, [*arguments, "--data-dir", str(tmp_path)], catch_exceptions=False)
    assert result.exit_code == 0
    assert "4 cells, 0 of them done, 2 to run; 1 recordings" in result.stdout
    assert (
        f"1 cell cannot run or be used: Expected the result of random at keep=0.2 on digits (seed 0) in {foreign}"
        in result.output
    )
    assert "1 cell cannot run or be used: Expected the folders train and val" in result.output
    app([*arguments, "--data-dir", str(tmp_path), "--json"], standalone_mode=False)
    document = json.loads(capsys.readouterr().out)
    assert [(cell["data"], cell["method"]) for cell in document["failed"]] == [
        ("digits", "random"),
        ("imagenet", "el2n:epochs=3"),
    ]
    assert foreign.read_text() == "{}"
    assert not (tmp_path / "failed").exists()


def test_a_cell_that_fails_is_marked_and_the_others_go_on(tmp_path: Path) -> None:
    place = Place(tmp_path)
    bad = entry("random", coreset=replace(CORESET, model="swin_t")).cell
    outcome = run_cells([bad, entry("random").cell], place, Pace())
    assert outcome.done == [entry("random").cell]
    reason = json.loads(place.failure(bad).read_text())["reason"]
    assert reason == outcome.failed[bad]
    assert "swin_t" in reason
    row = board([replace(entry("random"), cell=bad)], (0,), place)[0]
    assert row.status == f"failed: {reason}"


def test_a_cell_is_filled_by_one_process(tmp_path: Path) -> None:
    place, cell = Place(tmp_path), entry("random").cell
    with locked(place.result(cell).with_suffix(".lock")):
        outcome = run_cells([cell], place, Pace())
    assert "being made by another process" in outcome.left[cell]
    assert not place.failure(cell).exists()


def test_nothing_starts_that_cannot_finish(tmp_path: Path) -> None:
    class Late(Pace):
        @property
        def left(self) -> float:
            return 0.0

    place = Place(tmp_path)
    outcome = run_cells(CELLS, place, Late(limit_minutes=1))
    assert set(outcome.left) == set(CELLS)
    assert not (tmp_path / "results").exists()
    for minutes in (0.0, -1.0, float("inf"), float("nan")):
        with pytest.raises(InputError, match="more than 0 minutes"):
            Pace(limit_minutes=minutes)


def test_a_recording_of_other_data_is_refused(finished: tuple[Place, Outcome], tmp_path: Path) -> None:
    shutil.copytree(finished[0].root / "recordings", tmp_path / "recordings")
    spec = next((tmp_path / "recordings").iterdir()) / "spec.json"
    spec.write_text(json.dumps({**json.loads(spec.read_text()), "fingerprint": "other"}))
    outcome = run_cells([entry("aum").cell, entry("random").cell], Place(tmp_path), Pace())
    assert "different: fingerprint" in outcome.failed[entry("aum").cell]
    assert outcome.done == [entry("random").cell]


def test_doubtful_numbers_of_the_paper_are_marked() -> None:
    """Only those of table 7 that are another paper's, and a row that falls where it should rise."""
    others = ("random", "entropy", "forgetting", "el2n", "aum", "moderate", "ccs")  # the paper's own ran TDDS and Dyn-Unc
    doubtful = [n for name in TABLES for n in published_table(name) if n.remark]
    assert {(n.table, n.model, n.method, n.remark.partition(" ")[0]) for n in doubtful} == {
        *(("table7", "resnet50", method, "coincides") for method in others), ("table7", "mobilenet_v2", "entropy", "not"),
    }  # fmt: skip


def test_every_published_number_is_an_entry() -> None:
    for name in TABLES:
        numbers = [e.published for e in entries(name) if e.published is not None]
        assert Counter(numbers) == Counter(published_table(name))
    batches = {(e.labels["keep"], e.cell.coreset.batch_size) for e in entries("table6")}
    assert {("0.1", 32), ("0.2", 64), ("0.1", 128)} <= batches
    assert all(e.cell.mislabel == "0.2" and e.cell.corrupt is None for e in entries("table10"))
    assert {e.cell.coreset.model for e in entries("table7")} == {"resnet50", "vgg16", "mobilenet_v2", "shufflenet_v2"}


@pytest.mark.parametrize("scale", SCALES)
def test_entries_are_told_apart_and_resolve(scale: str) -> None:
    from thresher.methods import resolve

    found = entries("all", scale) + entries("auto", scale)
    assert len({(e.target, *sorted(e.labels.items())) for e in found}) == len(found)
    for e in found:
        if e.cell.method != "full":
            resolve(e.cell.method, e.cell.data, e.cell.keep, epochs_available=e.cell.surrogate.epochs)
    assert {e.target for e in found} == {name for name in TARGETS if scale == "full" or "imagenet" not in name}


def test_small_cells_have_one_budget() -> None:
    for e in entries("all", "small") + entries("auto", "small"):
        digits = e.cell.data == "digits"
        steps = e.cell.coreset.epochs * -(-round((1437 if digits else 50_000) * e.cell.keep) // e.cell.coreset.batch_size)
        assert 350 <= steps <= 370 if digits else 4500 <= steps <= 5000


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("methid=tdds", "did you mean method"), ("method=tdd", "did you mean tdds"), ("method", "Expected conditions"),
        ("method=tdds method=random", "Expected conditions"), ("keep=0.4", "There are: 0.1, 0.2"),
    ],
)  # fmt: skip
def test_impossible_conditions(text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        Filter.parse(text, entries("table6"))


def test_conditions_choose() -> None:
    found = entries("table6")
    chosen = Filter.parse("method=tdds,random keep=0.1 batch=32", found)
    assert sum(chosen.admits(e) for e in found) == 4 + len(targets.CANDIDATES)
    published = Filter.parse("method=tdds,random keep=0.1 batch=32 T=none", found)
    assert sum(published.admits(e) for e in found) == 4


def test_a_loss_that_is_scaled_otherwise_makes_other_cells_of_the_methods_whose_loss_that_changes() -> None:
    recipe = {entry.cell.digest: entry.cell for entry in entries("table6")}
    rules: dict[str, set[str]] = {}
    for rule in ("published", "none", "all"):
        variant = reproduce_command.Variant(scale_loss=rule)
        cells = [entry.cell for entry in variant.entries("table6", "full")]
        rules[rule] = {cell.method.partition(":")[0] for cell in cells if cell.digest not in recipe}
        assert variant.file_name("table6", "full") == {"published": "table6-full"}.get(
            rule, f"table6-full-scale-loss-{rule}"
        )
    assert rules["published"] == set()
    assert rules["none"] == {"tdds"}
    assert rules["all"] == {cell.method for cell in recipe.values() if ":" not in cell.method} - {"random", "tdds"}
    assert (
        reproduce_command.Variant("bf16", True, "none").file_name("auto", "small")
        == "auto-small-bf16-compiled-scale-loss-none"
    )
    with pytest.raises(InputError, match="published, none or all, but got 'some'"):
        reproduce_command.Variant(scale_loss="some")


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("table66", "did you mean table6"), ("table1", "Expected a target"), ("figure9", "figure8, all"),
        ("figure8", "is a picture"),
    ],
)  # fmt: skip
def test_unknown_targets(target: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        entries(target)


def test_the_command(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    grid = [entry(f"tdds:window={k}:at={t}") for k in (3, 4) for t in (4, 5)]
    labelled = [
        replace(e, labels={**e.labels, "K": str(k), "T": str(t)})
        for e, (k, t) in zip(grid, [(3, 4), (3, 5), (4, 4), (4, 5)], strict=True)
    ]
    monkeypatch.setitem(targets.TARGETS, "table6", lambda scale: [*ENTRIES[1:], *labelled])
    arguments = ["reproduce", "table6", "--scale", "small", "--seeds", "0", "--jobs", "1", "--out", str(tmp_path)]
    said = CliRunner().invoke(app, [*arguments, "--dry-run"], catch_exceptions=False).output
    assert re.search(r"6 cells, 0 of them done, 6 to run; 1 recordings to make or finish; about \d+\.\d hours", said)
    assert not (tmp_path / "results").exists()
    result = CliRunner().invoke(app, [*arguments, "--only", "method=random"], catch_exceptions=False)
    assert result.exit_code == 0
    assert len(list((tmp_path / "results").glob("*.json"))) == 1
    assert "tdds" not in result.stdout
    assert CliRunner().invoke(app, arguments, catch_exceptions=False).exit_code == 0
    whole = (tmp_path / "table6-small.csv").read_bytes()
    result = CliRunner().invoke(app, [*arguments, "--only", "T=4 K=3", "--json"], catch_exceptions=False)
    (row,) = json.loads(result.stdout)["rows"]
    assert row["gap"] is not None  # Random's results are there, though not asked for
    assert (tmp_path / "table6-small.csv").read_bytes() == whole  # a part that is asked for takes nothing away
    page = (tmp_path / "table6-small.html").read_text()
    assert "Heat maps" in page
    assert "TDDS on digits, keep 0.2" in page
    assert "<script" not in page
    assert "All rows: target digits, data digits, keep 0.2." in page
    text = (tmp_path / "table6-small.md").read_text()
    assert "50.00 ± 1.00" in text
    assert "Published: mean ± standard deviation. Ours: mean over n seeds" in text  # one sign, two meanings
    said = CliRunner().invoke(app, [*arguments, "--dry-run"], catch_exceptions=False).output
    assert "6 of them done, 0 to run; 0 recordings" in said
    looked = [*arguments, "--only", "T=4 K=3", "--eval-every", "1"]
    said = CliRunner().invoke(app, looked, catch_exceptions=False).output
    assert "1 of 1 rows have trainings that had run, or had begun, without --eval-every 1" in said
    other = [*arguments, "--only", "method=random", "--scale-loss", "none"]
    assert CliRunner().invoke(app, other, catch_exceptions=False).exit_code == 0
    assert "<h1>table6, small scale</h1>" in page
    name = tmp_path / "table6-small-scale-loss-none"
    assert "<h1>table6, small scale, scale-loss-none</h1>" in name.with_suffix(".html").read_text()
    assert name.with_suffix(".md").read_text().startswith("target digits, data digits, keep 0.2, variant scale-loss-none\n")
    assert {row["variant"] for row in csv.DictReader(name.with_suffix(".csv").read_text().splitlines())} == {
        "scale-loss-none"
    }
    assert "variant" not in (tmp_path / "table6-small.csv").read_text()


def test_the_picture_is_a_target(monkeypatch: pytest.MonkeyPatch, cifar_root: Path, tmp_path: Path) -> None:
    pictures = [tmp_path / f"figure8-{variant}.png" for variant in ("intended", "published-code")]
    given = ["--data-dir", str(cifar_root), "--out", str(tmp_path), "--jobs", "1", "--seeds", "0"]
    result = CliRunner().invoke(app, ["reproduce", "figure8", *given, "--only", "method=tdds"])
    assert "Omit --only" in str(result.exception)
    result = CliRunner().invoke(app, ["reproduce", "figure8", *given, "--dry-run"], catch_exceptions=False)
    assert "2 pictures of CIFAR-100 to draw" in result.output
    assert list(tmp_path.iterdir()) == []
    assert CliRunner().invoke(app, ["reproduce", "figure8", *given], catch_exceptions=False).exit_code == 0
    drawn = [path.read_bytes() for path in pictures]
    assert all(picture.startswith(b"\x89PNG") for picture in drawn)
    assert drawn[0] != drawn[1]  # the fog
    monkeypatch.setattr(targets, "TARGETS", {"table6": lambda scale: ENTRIES[1:2]})
    for path in pictures:
        path.unlink()
    assert (
        CliRunner().invoke(app, ["reproduce", "all", *given, "--only", "method=random"], catch_exceptions=False).exit_code
        == 0
    )
    assert not pictures[0].exists()
    assert CliRunner().invoke(app, ["reproduce", "all", *given], catch_exceptions=False).exit_code == 0
    assert [path.read_bytes() for path in pictures] == drawn


def test_a_recipe_with_a_long_warm_up_is_measured() -> None:
    assert Pace().step(load("digits"), replace(CORESET, epochs=30, warmup_epochs=5)) > 0


def test_a_dry_run_measures_the_rest_of_a_recording(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:  # fmt: skip
    rest = [(load("digits"), replace(SURROGATE, epochs=300, warmup_epochs=20), 10)]
    monkeypatch.setattr(reproduce_command, "recording_left", lambda *_: rest)
    monkeypatch.setattr(Pace, "step", lambda self, data, spec: 36.0)
    reproduce_command._announce([], Place(tmp_path), Pace(sharing=4), Output())
    said = capsys.readouterr()
    # 10 epochs of 12 steps, a test set that is worth one more, and the margin: it has no other beside it
    assert "1 recordings to make or finish; about 1.4 hours" in said.out
    assert said.err == ""


def test_a_dry_run_shares_the_trainings_among_the_workers_and_makes_recordings_alone(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:  # fmt: skip
    monkeypatch.setattr(reproduce_command, "recording_left", lambda *_: [(load("digits"), SURROGATE, 3)])
    monkeypatch.setattr(Pace, "training", lambda self, data, spec, kept: 36.0 * kept)
    monkeypatch.setattr(Pace, "alone", lambda self, data, spec, kept: 1800.0)
    cells = [replace(entry("random").cell, keep=keep, seed=seed) for keep, seed in ((0.2, 0), (0.1, 0), (0.1, 1))]
    reproduce_command._announce(cells, Place(tmp_path, processes=2, threads=1), Pace(), Output())
    said = capsys.readouterr().out  # half an hour, and 36 s for each of 288 + 144 + 144 samples, by two
    assert "3 to run; 1 recordings to make or finish; about 3.4 hours here (2 at a time, cpu)" in said


def test_heat_maps_need_a_grid() -> None:
    rows = board(entries("table6"), (0,), Place(Path("nowhere")))
    assert reproduce_command.heat_maps(rows) == []
    grids = reproduce_command.heat_maps(board(entries("figure7"), (0,), Place(Path("nowhere"))))
    assert [grid.title for grid in grids][:1] == ["TDDS on cifar10, keep 0.7: accuracy %"]
    assert (len(grids), grids[0].rows, len(grids[0].columns)) == (5, ("5", "10", "15", "20"), 10)


def test_heat_maps_have_each_mean_in_its_place() -> None:
    rows = board(entries("figure7", "small"), (0,), Place(Path("nowhere")))
    told = [row.entry.labels for row in rows]
    means = [float(labels["T"]) + float(labels["K"]) / 10 if "T" in labels else None for labels in told]
    rows = [replace(row, accuracies={0: 1.0}, mean=mean) for row, mean in zip(rows, means, strict=True)]
    grid = reproduce_command.heat_maps(rows)[0]
    assert (grid.rows, grid.columns) == (("5", "10"), ("5", "10", "20", "30"))
    assert grid.values == ((5.5, 10.5, 20.5, 30.5), (None, 11.0, 21.0, 31.0))
    assert [grid.strength(value) for value in (5.5, 18.25, 31.0)] == [0.0, 0.5, 1.0]


def test_heat_maps_say_where_their_means_are_of_unequal_seeds() -> None:
    rows = board(entries("figure7", "small"), (0, 1), Place(Path("nowhere")))
    one, both = ([replace(row, accuracies=found, mean=50.0) for row in rows] for found in ({0: 50.0}, {0: 50.0, 1: 50.0}))
    assert reproduce_command.heat_maps([*both[:2], *rows[2:]])[0].title == "TDDS on cifar10, keep 0.1: accuracy %"
    first = reproduce_command.heat_maps([*both[:2], *one[2:]])[0]
    assert first.title == "TDDS on cifar10, keep 0.1: accuracy %, means over 1 to 2 seeds"


def test_a_recording_that_another_process_makes_is_left_to_it(tmp_path: Path) -> None:
    place, cell = Place(tmp_path), entry("el2n:epochs=3").cell
    folder = tmp_path / "recordings" / digest_of(cell.source)
    with RunDirectory(folder, identity(load("digits"), SURROGATE, 42)):
        outcome = run_cells([cell, entry("random").cell], place, Pace())
    assert outcome.done == [entry("random").cell]
    assert outcome.left == {cell: "its recording is not finished"}


@pytest.mark.parametrize(("device", "slower"), [("cuda:0", 4), ("cpu", 1)])
def test_trainings_at_once_share_a_gpu_and_not_the_cores(monkeypatch: pytest.MonkeyPatch, device: str, slower: int) -> None:
    monkeypatch.setattr(Pace, "step", lambda *_: 0.01)
    data, alone = load("digits"), Pace(device)
    pace = Pace.shared(device, 1, None, 4)
    assert pace.training(data, CORESET, 288) == pytest.approx(slower * alone.training(data, CORESET, 288))

"""A part of the training set in the test set's place, and the tuning that measures on it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from thresher.boards.board import BoardRow
from thresher.boards.cells import Cell, Entry
from thresher.boards.outcome import Outcome
from thresher.boards.place import Place
from thresher.cli import app
from thresher.commands import tune
from thresher.commands.tune import best, candidates
from thresher.data import DatasetSplit, load
from thresher.data.holdout import Holdout, PartSplit, hold_out, split_rows
from thresher.errors import FailedTrainingsError, InputError
from thresher.train.spec import TrainSpec

DIGITS = load("digits")


def test_the_parts_are_the_training_set_and_nothing_else() -> None:
    part = hold_out(DIGITS, "0.2:seed=3")
    assert (len(part.train), len(part.test)) == (1437 - 287, 287)
    both = sorted(s.image(i).tobytes() for s in (part.train, part.test) for i in range(len(s)))
    assert both == sorted(DIGITS.train.image(i).tobytes() for i in range(1437))
    assert part.fingerprint != DIGITS.fingerprint
    assert hold_out(DIGITS, Holdout(0.2, 3)).fingerprint == part.fingerprint != hold_out(DIGITS, "0.2").fingerprint


def test_lazy_and_in_memory_parts_are_alike() -> None:
    pairs = [(DIGITS.train.image(i), int(DIGITS.train.targets[i])) for i in range(50)]
    lazy = DatasetSplit(pairs)
    rows = np.array([3, 7, 31])
    part = PartSplit(lazy, rows)
    assert part.targets.tolist() == [pairs[i][1] for i in rows]
    assert torch.equal(part[2][0], lazy[31][0])
    assert part.image(1).tobytes() == pairs[7][0].tobytes()
    assert list(part.content()) != list(PartSplit(lazy, rows[:2]).content())


def test_wrong_labels_are_held_out_too() -> None:
    part = load("digits", mislabel="0.2", holdout="0.5")
    clean = load("digits", holdout="0.5")
    assert part.name == "digits+mislabel=0.2+holdout=0.5"
    assert 0.15 < np.mean(part.test.targets != clean.test.targets) < 0.25


@pytest.mark.parametrize("text", ["0", "1", "1.5", "a", "0.1:sed=1", "1e-9", "0.1:seed=-1"])
def test_impossible_parts(text: str) -> None:
    with pytest.raises(InputError):
        load("digits", holdout=text)


def test_a_share_of_fewer_than_one_sample_is_told() -> None:
    with pytest.raises(InputError, match=r"holds out some of 1437 samples, but 0\.0005 gives none"):
        load("digits", holdout="0.0005")
    for share in (0.0, 1.0):
        with pytest.raises(InputError, match=rf"a share to hold out in \(0, 1\), but got {share}"):
            Holdout(share)
    left, held = split_rows(4, Holdout(0.999999))
    assert (len(left), len(held)) == (1, 3)


def test_candidates_begin_with_what_is_published() -> None:
    assert candidates("cifar10", 0.3, TrainSpec(epochs=200))[0] == "tdds:at=80:window=10"
    tried = [(12, 10), (10, 10), (5, 5), (10, 5), (12, 5)]  # in an order that stays the same on every machine
    assert candidates("digits", 0.1, TrainSpec(epochs=12)) == [f"tdds:at={at}:window={window}" for at, window in tried]
    assert (
        len(set(candidates("digits", 0.1, TrainSpec(epochs=12))))
        == len(candidates("digits", 0.1, TrainSpec(epochs=12)))
        == 5
    )
    assert best([]) is None


def measured(method: str, accuracies: dict[int, float]) -> BoardRow:
    """Return a board's row with these accuracies."""
    train = TrainSpec("tiny", epochs=1)
    entry = Entry("tune", Cell("digits", method, 0.1, train, train), {"method": method})
    mean = sum(accuracies.values()) / len(accuracies) if accuracies else None
    return BoardRow(entry, accuracies, mean, None, None, None, None, 0, None, "")


def test_settings_are_compared_on_the_seeds_that_all_have() -> None:
    first, second, third = (f"tdds:at={length}:window=10" for length in (10, 30, 20))
    rows = [measured("random", {0: 99.0, 1: 99.0}), measured(first, {0: 88.0, 1: 99.0}), measured(second, {0: 90.0})]
    rows += [measured(third, {0: 85.0}), measured("tdds:at=5:window=5", {})]
    found = best(rows)  # the time ended in the second seed, after its first setting
    assert found is not None
    assert (found.row.entry.cell.method, found.settings, found.seeds) == (second, 3, (0,))
    found = best([measured(first, {0: 70.0, 1: 60.0}), measured(second, {0: 60.0, 1: 75.0})])
    assert found is not None
    assert (found.row.entry.cell.method, found.settings, found.seeds) == (second, 2, (0, 1))
    # one failed in the first seed: none is shared by all, most have the second
    found = best([measured(first, {0: 99.0}), measured(second, {1: 60.0}), measured(third, {1: 61.0})])
    assert found is not None
    assert (found.row.entry.cell.method, found.settings, found.seeds) == (third, 2, (1,))


def test_tuning_says_what_failed(tmp_path: Path) -> None:
    arguments = ["tune", "--data", "folder", "--data-dir", str(tmp_path), "--keep", "0.2", "--budget-minutes", "500"]
    result = CliRunner().invoke(app, [*arguments, "--out", str(tmp_path / "out"), "--jobs", "1"])
    assert isinstance(result.exception, FailedTrainingsError)
    assert "trainings failed; the first: MissingFileError: Expected the folders train and val" in str(result.exception)
    assert "No setting could be compared." in result.output
    assert "budget" not in result.output


def test_the_table_has_the_interval_of_each_number() -> None:
    row = replace(measured("tdds:at=5:window=5", {0: 60.0, 1: 62.0}), half=2.5, gap=1.5, gap_half=0.5, pairs=2)
    assert [list(column.cells) for column in tune._view([row], "a part").columns] == [
        ["tdds:at=5:window=5"], ["61.00 ± 2.50"], ["+1.50 ± 0.50"], ["2"],
    ]  # fmt: skip


def test_the_best_setting_stands_first(tmp_path: Path) -> None:
    told: list[Any] = []
    say: Any = SimpleNamespace(table=lambda made: told.append(made()), line=told.append, result=told.append)
    means = {"random": 70.0, "tdds:at=5:window=5": 60.0, "tdds:at=9:window=5": 80.0}
    rows = [measured(method, {0: mean}) for method, mean in means.items()]
    tune._tell(rows, say, Place(tmp_path), Outcome(), "a part")
    assert list(told[0].columns[0].cells) == ["tdds:at=9:window=5", "random", "tdds:at=5:window=5"]
    assert told[1].startswith("best: --method tdds:at=9:window=5, of 2 compared on seed 0")
    assert "Random" not in told[1]
    assert told[2]["above_random"] == 10.0


@pytest.mark.parametrize(
    ("random", "said"),
    [({0: 83.0, 1: 99.0}, "the best is 3.00 points below it"), ({0: 80.0}, "the best is on a par with it")],
)
def test_where_random_is_as_good_tuning_says_so(tmp_path: Path, random: dict[int, float], said: str) -> None:
    told: list[Any] = []
    say: Any = SimpleNamespace(table=lambda made: None, line=told.append, result=told.append)
    rows = [measured("random", random), measured("tdds:at=5:window=5", {0: 80.0}), measured("tdds:at=9:window=5", {0: 60.0})]
    tune._tell(rows, say, Place(tmp_path), Outcome(), "a part")
    assert f"no setting is above Random here: {said}\n" in told[0]
    assert told[1]["above_random"] == 80.0 - random[0]


def test_tuning_ends_with_a_setting(tmp_path: Path) -> None:
    arguments = [
        "tune", "--keep", "0.2", "--budget-minutes", "500", "--surrogate-epochs", "5", "--epochs", "1",
        "--out", str(tmp_path), "--jobs", "1", "--mislabel", "0.2",
    ]  # fmt: skip
    result = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert result.exit_code == 0
    assert "held-out part of the training set, wrong labels (0.2) included" in " ".join(result.output.split())
    assert "best: --method tdds:at=" in result.output
    assert "of 1 compared on seed 0" in result.output
    lines = (tmp_path / "tune-0.2.csv").read_text().splitlines()
    assert len(lines) == 1 + 1 + len(candidates("digits", 0.2, TrainSpec(epochs=5)))
    result = CliRunner().invoke(app, [*arguments, "--keep", "0.1,0.2"])
    assert isinstance(result.exception, InputError)


def test_tuning_on_a_folder_that_the_name_tells_goes_to_one_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    """A colon is no part of a file's name everywhere, and where the pictures lie is no part of the run's."""
    places = list[Path]()

    def stop(cells: Any, place: Place, *_: Any) -> None:
        places.append(place.root)
        raise InputError("Enough.")

    monkeypatch.setattr(tune, "run_cells", stop)
    for data in ("folder:size=32:/some/pictures", "cifar10"):
        assert CliRunner().invoke(app, ["tune", "--data", data, "--keep", "0.2", "--budget-minutes", "1"]).exception
    assert places == [Path("runs/tune-folder_size=32"), Path("runs/tune-cifar10")]


def test_trainings_that_tune_on_a_gpu_take_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    places = list[Place]()

    def stop(cells: Any, place: Place, *_: Any) -> None:
        places.append(place)
        raise InputError("Enough.")

    monkeypatch.setattr(tune, "run_cells", stop)
    monkeypatch.setattr(tune, "pick_device", lambda name: name)
    for device in ("cuda:0", "cpu"):
        arguments = ["tune", "--data", "digits", "--keep", "0.2", "--budget-minutes", "1", "--jobs", "4", "--device", device]
        assert CliRunner().invoke(app, arguments).exception
    assert [(place.engine, place.processes) for place in places] == [("turns", 4), ("processes", 4)]


def test_the_parts_stay_the_same_on_every_machine_and_in_order() -> None:
    left, held = split_rows(10, Holdout(0.3))
    assert (left.tolist(), held.tolist()) == ([2, 4, 5, 6, 7, 8, 9], [0, 1, 3])
    assert split_rows(10, Holdout(0.3, 1))[1].tolist() != held.tolist()
    assert len(split_rows(100, Holdout(0.29))[1]) == 29  # 0.29 * 100 is 28.999... in binary
    part = hold_out(DIGITS, Holdout(0.3))
    rows = split_rows(1437, Holdout(0.3))
    assert all((np.diff(some) > 0).all() for some in rows)
    for split, wanted in zip((part.train, part.test), rows, strict=True):
        assert split.targets.tolist() == DIGITS.train.targets[wanted].tolist()


def test_a_part_read_late_is_known_by_its_images() -> None:
    rows = np.array([0, 2])
    grey, black = (DatasetSplit([(np.full((8, 8, 1), level, np.uint8), 0)] * 3) for level in (9, 0))
    assert list(PartSplit(grey, rows).content()) != list(PartSplit(black, rows).content())

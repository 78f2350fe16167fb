"""What the public objects are as values: equal by what they hold, told in a line, copied whole, not changed by accident."""

from __future__ import annotations

import copy
import multiprocessing
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from thresher import Coreset, Frame, Pool, Scores, Trajectory, TrajectoryWriter
from thresher.data import Indexed
from thresher.data.base import ArraySplit, DatasetSplit
from thresher.errors import InputError
from thresher.replay import open_source
from thresher.score_table import ScoreTable
from thresher.suspects import Suspects, find_suspects

NAN = float("nan")


def scores(*values: float, **options: Any) -> Scores:
    return Scores(np.array(values, np.float32), **options)


def frame(*losses: float) -> Frame:
    return Frame(0, np.arange(len(losses)), {"loss": np.array(losses, np.float32)}, 3)


def suspects(high: float) -> Suspects:
    return find_suspects(np.linspace(-1, high, 60, dtype=np.float32))


ALIKE = [
    (scores(0.5, NAN), scores(0.5, NAN, source={"scorer": "tdds"})),
    (Coreset([1, 4], None, 10), Coreset(np.array([1, 4], np.int32), None, 10, {"method": "tdds"})),
    (Coreset([1, 4], [0.5, 2.0], 10), Coreset([1, 4], torch.tensor([0.5, 2.0]), 10)),
    (Pool(2, [0, 1], aux={"a": np.zeros(2, np.float32)}), Pool(2, np.array([0, 1]), aux={"a": np.zeros(2, np.float32)})),
    (frame(0.5, NAN), frame(0.5, NAN)),
    (ScoreTable(2, None, {"a": scores(0, 1)}), ScoreTable(2, None, {"a": scores(0, 1)}, {"data": "mine"})),
    (suspects(5), suspects(5)),
]
OTHER = [
    (scores(0.5, NAN), scores(0.5, 1)),
    (scores(0.5, 1), scores(0.5, 1, hard_end="low")),
    (scores(0.5, 1), scores(0.5)),
    (scores(0.5, 1), np.array([0.5, 1.0]).tolist()),
    (Coreset([1, 4], None, 10), Coreset([1, 4], None, 11)),
    (Coreset([1, 4], None, 10), Coreset([1, 5], None, 10)),
    (Coreset([1, 4], None, 10), Coreset([1, 4], [1.0, 1.0], 10)),
    (Coreset([1, 4], None, 10), [1, 4]),
    (Pool(2), Pool(2, [0, 1])),
    (Pool(2, [0, 1]), Pool(2)),
    (Pool(2), Pool(2, aux={"a": np.zeros(2, np.float32)})),
    (frame(0.5), frame(0.25)),
    (ScoreTable(2, None, {"a": scores(0, 1)}), ScoreTable(2, None, {"b": scores(0, 1)})),
    (ScoreTable(2, None, {"a": scores(0, 1)}), ScoreTable(2, None, {"a": scores(0, 2)})),
    (suspects(5), suspects(4)),
]


@pytest.mark.parametrize(("one", "other"), ALIKE)
def test_what_holds_the_same_is_equal_whatever_it_came_from(one: object, other: object) -> None:
    assert one == other
    assert copy.copy(one) == copy.deepcopy(one) == pickle.loads(pickle.dumps(one)) == one


@pytest.mark.parametrize(("one", "other"), OTHER)
def test_what_holds_something_else_is_not_equal(one: object, other: object) -> None:
    assert one != other


def test_equal_coresets_are_one_in_a_set_and_large_arrays_are_in_none() -> None:
    assert len({Coreset([1, 4], None, 10), Coreset([1, 4], None, 10, {"a": 1}), Coreset([1, 4], None, 11)}) == 2
    for value in (scores(0.5), Pool(2), frame(0.5)):
        with pytest.raises(TypeError, match="unhashable"):
            hash(value)


def test_a_coreset_holds_copies_that_torch_takes_without_a_warning() -> None:
    ids, weights, source = np.array([1, 4]), np.array([0.5, 2.0], np.float32), {"method": "mine"}
    coreset = Coreset(ids, weights, 10, source)
    ids[0], weights[0], source["method"] = 3, 9.0, "other"
    assert coreset == Coreset([1, 4], [0.5, 2.0], 10)
    assert coreset.source == {"method": "mine"}
    assert torch.arange(10)[coreset.ids].tolist() == torch.from_numpy(coreset.ids).tolist() == [1, 4]


def digest_of(coreset: Coreset) -> str:
    """Return what another process makes of a coreset."""
    return coreset.digest


def test_values_go_to_a_process_that_is_spawned() -> None:
    coreset = Coreset([1, 4], [0.5, 2.0], 10)
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.apply(digest_of, (coreset,)) == coreset.digest


def test_a_coreset_is_a_collection_of_its_ids() -> None:
    coreset = Coreset([1, 4, 7], None, 10)
    assert (len(coreset), list(coreset)) == (3, [1, 4, 7])
    assert all(type(i) is int for i in coreset)
    assert [i in coreset for i in (1, np.int64(7), 0, 9, 100, -1, 4.0, True, "4", None)] == [True, True, *[False] * 8]
    assert np.asarray(coreset).tolist() == [1, 4, 7]
    assert np.array(coreset, dtype=np.float32).dtype == np.float32
    np.array(coreset)[0] = 5
    assert list(coreset) == [1, 4, 7]


def test_scores_become_arrays_but_not_scores_of_another_direction() -> None:
    low = scores(0.5, 0.25, hard_end="low")
    assert len(low) == 2
    np.testing.assert_array_equal(np.asarray(low), low.values)
    np.testing.assert_array_equal(np.argsort(low), [1, 0])
    for wrong in (lambda: Scores(low), lambda: Coreset([0, 1], low, 2)):
        with pytest.raises(InputError, match=r"a Scores, which also says which end is hard|Expected weights as numbers"):
            wrong()
    with pytest.raises(InputError, match="source as a mapping"):
        Scores([0.5], "low", None)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="source as a mapping"):
        Coreset([0], None, 2, None)  # type: ignore[arg-type]
    source = {"scorer": "mine"}
    held = Scores([0.5], "low", source)
    source["scorer"] = "other"
    assert held.source == {"scorer": "mine"}


def test_scores_are_columns_of_a_data_frame() -> None:
    pandas = pytest.importorskip("pandas", reason="needs pandas: pip install 'thresher[files]'")
    frame = pandas.DataFrame({"a": scores(0.5, NAN), "b": scores(2, 1)})
    assert frame["a"].dtype == np.float32
    np.testing.assert_array_equal(frame["b"], [2, 1])
    assert list(scores(2, 1)) == [2.0, 1.0]


def test_values_are_told_in_a_line(tmp_path: Path) -> None:
    with TrajectoryWriter.create(tmp_path / "t", 3, 10, ["loss"]) as store:
        store.append(frame(0.5, 0.25, 0.125))
        told = {repr(store): f"<thresher.TrajectoryWriter of 1 epochs, 3 samples, in {tmp_path / 't'}>"}
    told[repr(store)] = f"<thresher.TrajectoryWriter of 1 epochs, 3 samples, in {tmp_path / 't'}, closed>"
    opened = f"<thresher.Trajectory of 1 epochs, 3 samples in 10 classes, in {tmp_path / 't'}: loss>"
    told[repr(Trajectory.open(tmp_path / "t"))] = opened
    np.save(tmp_path / "0_Output.npy", np.zeros((4, 3), np.float32))
    np.save(tmp_path / "0_Index.npy", np.arange(4))
    told[repr(open_source(tmp_path))] = f"<OfficialDumps of 1 epochs, 4 samples in 3 classes, in {tmp_path}>"
    by = {"scorer": "tdds", "at": 30}
    told |= {
        repr(scores(0.5, NAN, 2, source=by)): "<thresher.Scores of 3 samples by tdds after 30 epochs: 0.5 to 2, "
        "1 without one, high = hard>",
        repr(scores(NAN, hard_end="low")): "<thresher.Scores of 1 samples: no sample has one, low = hard>",
        repr(scores(source={"scorer": ["?"], "at": "?"})): "<thresher.Scores of 0 samples: no sample has one, high = hard>",
        repr(Coreset([1], [0.5], 10, {"method": "ccs"})): "<thresher.Coreset of 1 of 10 samples by ccs, weighted>",
        repr(Pool(9)): "<thresher.Pool of 9 samples: neither targets nor features>",
        repr(Pool(2, [0, 1], None, 2, {"mean_prob": np.zeros(2, np.float32)})): "<thresher.Pool of 2 samples in 2 classes: "
        "targets, mean_prob>",
        repr(frame(0.5)): "<thresher.Frame of epoch 0, 1 of 3 samples: loss>",
        repr(ScoreTable(1, np.array([0]), {"a": scores(0)})): "<ScoreTable of 1 samples with targets: a>",
        repr(suspects(5)): "<Suspects: 0 of 60 samples: ",
        repr(ArraySplit(torch.zeros(2, 3, 8, 8, dtype=torch.uint8), [0, 1])): "<ArraySplit of 2 images 3 x 8 x 8>",
        repr(DatasetSplit([(np.zeros((8, 8, 3), np.uint8), 1)])): "<DatasetSplit of 1 images of a list>",
        repr(Indexed([("a", 0)])): "<Indexed list of 1 samples>",
    }
    for found, wanted in told.items():
        assert found.startswith(wanted), found
        assert "\n" not in found

"""What needs no framework: probabilities of boosting rounds, columns of batches, holes and processes that are refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.datasets import load_breast_cancer
from sklearn.ensemble import GradientBoostingClassifier

from thresher import Recorder, Trajectory, TrajectoryWriter
from thresher.data import Indexed
from thresher.errors import InputError, SampleIdError
from thresher.integrations._common import check_epoch, check_processes, check_start, column, ids_of
from thresher.integrations.probabilities import logits_of, record_rounds
from thresher.scorers import AUM, EL2N, TDDS, MeanProb
from thresher.train.checkpoint import load_checkpoint, save_checkpoint

X, Y = load_breast_cancer(return_X_y=True)
ROUNDS = 12


@pytest.fixture(scope="module")
def boosting() -> GradientBoostingClassifier:
    return GradientBoostingClassifier(n_estimators=ROUNDS, max_depth=2, random_state=0).fit(X, Y)


def recorder(**options: Any) -> Recorder:
    return Recorder(len(Y), 2, scorers={"aum": AUM(), "tdds": TDDS(window=5), "mean": MeanProb()}, **options)


def test_boosting_rounds_are_epochs(boosting: GradientBoostingClassifier) -> None:
    whole = recorder()
    record_rounds(whole, boosting.staged_predict_proba(X), Y)
    assert whole.epoch == ROUNDS
    stages = np.stack(list(boosting.staged_predict_proba(X)))
    own = stages[:, np.arange(len(Y)), Y]
    scores = whole.scores()
    np.testing.assert_allclose(scores["mean"].values, own.mean(0), rtol=1e-5)
    np.testing.assert_allclose(scores["aum"].values, (2 * own - 1).mean(0), rtol=1e-4, atol=1e-6)


def test_the_rows_may_come_in_any_order(boosting: GradientBoostingClassifier) -> None:
    straight, shuffled = recorder(), recorder()
    order = np.random.default_rng(0).permutation(len(Y))
    record_rounds(straight, boosting.staged_predict_proba(X), Y)
    record_rounds(shuffled, boosting.staged_predict_proba(X[order]), Y[order], sample_ids=order)
    for name, scores in straight.scores().items():
        np.testing.assert_array_equal(scores.values, shuffled.scores()[name].values)


def test_a_resumed_boosting_has_no_holes(boosting: GradientBoostingClassifier, tmp_path: Path) -> None:
    whole = recorder()
    record_rounds(whole, boosting.staged_predict_proba(X), Y)
    names = ["logit_margin", "target_prob"]
    rounds = list(boosting.staged_predict_proba(X))
    with TrajectoryWriter.create(tmp_path / "store", len(Y), 2, names) as store:
        first = recorder(store=store)
        record_rounds(first, rounds[:5], Y)
        save_checkpoint(tmp_path / "state.safetensors", first.state_dict())
        record_rounds(first, rounds[:6], Y)  # an epoch that the saved state does not know
        assert store.epochs == 6
    with TrajectoryWriter.resume(tmp_path / "store") as store:
        again = recorder(store=store)
        again.load_state_dict(load_checkpoint(tmp_path / "state.safetensors"))
        record_rounds(again, rounds, Y)
        assert (again.epoch, store.epochs) == (ROUNDS, ROUNDS)
    for name, scores in whole.scores().items():
        np.testing.assert_array_equal(scores.values, again.scores()[name].values)
    stored = list(Trajectory.open(tmp_path / "store").frames(names))
    assert [(frame.epoch, len(frame.ids)) for frame in stored] == [(epoch, len(Y)) for epoch in range(ROUNDS)]


def test_shuffled_ids_are_noticed(boosting: GradientBoostingClassifier) -> None:
    one = recorder()
    stages = boosting.staged_predict_proba(X)
    record_rounds(one, [next(stages)], Y)
    order = np.random.default_rng(0).permutation(len(Y))
    with pytest.raises(InputError, match=r"came with target ., but earlier with .*Ids and samples are mixed up"):
        record_rounds(one, [next(stages), next(stages)[order]], Y[order])
    assert one.epoch == 1  # nothing of it was committed


def test_probabilities_are_checked() -> None:
    assert np.isfinite(logits_of([[0.0, 1.0]])).all()
    np.testing.assert_allclose(logits_of(np.array([[0, 1]], np.float16)), [[-87.34, 0]], atol=0.01)  # NumPy 1: 16 bits
    with pytest.raises(InputError, match=r"in \[0, 1\].*logits directly to Recorder.update"):
        logits_of([[-3.0, 4.0]])
    with pytest.raises(InputError, match=r"in \[0, 1\]"):
        logits_of([[np.nan, 1.0]])
    with pytest.raises(InputError, match=r"sum to 1 in each row, but those of row 1 sum to 1.5"):
        logits_of([[0.5, 0.5], [0.9, 0.6]])
    with pytest.raises(InputError, match="float probabilities"):
        logits_of([[0, 1]])
    with pytest.raises(InputError, match=r"logits of shape \(B, 3\), but got \(2, 2\)"):
        record_rounds(Recorder(2, 3, scorers={"el2n": EL2N()}), [[0.5, 0.5]], [0, 1])
    for rounds in ([np.full((2, 2), 0.5)], np.full((3, 2), 0.5)):  # of other samples; one round instead of many
        with pytest.raises(InputError, match="all 3 samples in each round, but round 0 has 2 rows"):
            record_rounds(Recorder(3, 2, scorers={"el2n": EL2N()}), rounds, [0, 1, 1])


def test_a_column_is_found_or_named() -> None:
    assert column({"a": 1}, "a", "targets") == 1
    assert column((1, 2), -1, "targets") == 2
    with pytest.raises(InputError, match=r"sample ids at 'sample_id', but got one with the columns \['a'\].*Indexed"):
        column({"a": 1}, "sample_id", "sample ids")
    with pytest.raises(InputError, match=r"targets at 2, but got one of 2 parts"):
        column((1, 2), 2, "targets")
    with pytest.raises(InputError, match=r"sample ids at 0, but got one of type int"):
        column(5, 0, "sample ids")
    for images in (torch.zeros(2, 3), np.zeros(2, np.float32), torch.zeros(2, 4, dtype=torch.uint8)):
        with pytest.raises(SampleIdError, match=r"sample ids at 0 of a batch of 2 parts, but got .*thresher\.data\.Indexed"):
            ids_of((images, [0, 1]), 0)


def test_holes_and_other_processes_are_refused() -> None:
    one = Recorder(2, 2, {})
    check_epoch(one, 0)
    with pytest.raises(InputError, match="in epoch 3, but the Recorder has 0 epochs"):
        check_epoch(one, 3)
    check_start(one, 0)
    with pytest.raises(InputError, match="after 3 steps, but the Recorder is empty"):
        check_start(one, 3)
    one.update(np.zeros((2, 2), np.float32), np.arange(2), np.arange(2))
    check_start(one, 3)
    with pytest.raises(InputError, match="holds a part of epoch 0"):
        check_start(one, 0)
    check_processes(one, 1)
    with pytest.raises(InputError, match=r"has 2\. Each would see only its own share"):
        check_processes(one, 2)


def test_indexed_adds_a_column_to_mappings() -> None:
    items = [{"text": "a", "label": 1}, {"text": "b", "label": 0}]
    indexed = Indexed(items)
    assert indexed[-1] == {"text": "b", "label": 0, "sample_id": 1}
    assert "sample_id" not in items[1]
    with pytest.raises(InputError, match=r"has one.*omit Indexed; else rename it"):
        Indexed(indexed)[0]


def test_lost_ids_are_noticed() -> None:
    """Ids that count the rows of a batch, the commonest mistake, are seen twice in the second batch."""
    one = Recorder(4, 2, scorers={"el2n": EL2N()})
    one.update(np.zeros((2, 2), np.float32), np.array([0, 1]), np.arange(2))
    with pytest.raises(SampleIdError, match="seen twice"):
        one.update(np.zeros((2, 2), np.float32), np.array([0, 1]), np.arange(2))

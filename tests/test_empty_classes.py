"""Classes without a single sample, and classes that a coreset leaves empty, through everything that counts classes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from thresher.coreset import Coreset
from thresher.data import ArraySplit, Data, load
from thresher.experiments.classes import emptied, emptied_text
from thresher.experiments.dynamics import means
from thresher.recorder import Recorder
from thresher.registry import make_scorer, make_selector, scorers, selectors
from thresher.report import Content, Line, ScoreColumn, Selection, render
from thresher.selection import select
from thresher.train.loop import fit
from thresher.train.spec import TrainSpec
from thresher.trajectory.reader import Trajectory
from thresher.trajectory.writer import TrajectoryWriter
from thresher.types import Pool, Scores

CLASSES, EMPTY = 6, (0, 3, 5)  # at both ends and in the middle


def gappy_data(per_class: int = 12) -> Data:
    """Return digits of the classes 1, 2 and 4, of six that are named."""
    digits = load("digits")
    splits = []
    for half in (digits.train, digits.test):
        ids = np.concatenate([np.flatnonzero(half.targets == c)[:per_class] for c in range(CLASSES) if c not in EMPTY])
        assert isinstance(half, ArraySplit)
        splits.append(ArraySplit(half.images[ids], half.targets[ids]))
    return replace(digits, train=splits[0], test=splits[1], class_names=digits.class_names[:CLASSES])


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> tuple[Data, Recorder, Path]:
    """A recorded training on it with every scorer."""
    data, folder = gappy_data(), tmp_path_factory.mktemp("empty") / "trajectory"
    n = len(data.train)
    made = {name: make_scorer(name, {}) for name in scorers()}
    small = {"window": 3}
    made |= {name: make_scorer(name, small) for name in ("tdds", "dyn_unc", "dual")}
    with TrajectoryWriter.create(folder, n, CLASSES, ["target_prob", "correct"]) as store:
        recorder = Recorder(n, CLASSES, made, store=store)
        fit(data, TrainSpec("tiny", epochs=5, batch_size=7, lr=0.05), seed=0, recorder=recorder, eval_pass=True)
    return data, recorder, folder


def test_every_scorer_scores_every_sample(recorded: tuple[Data, Recorder, Path]) -> None:
    for name, scores in recorded[1].scores().items():
        assert np.isfinite(scores.values).all(), name


@pytest.mark.parametrize("name", selectors())
@pytest.mark.parametrize("balanced", [False, True])
def test_every_selector_keeps_what_was_asked(recorded: tuple[Data, Recorder, Path], name: str, balanced: bool) -> None:
    _, recorder, _ = recorded
    has = "balanced" in make_selector(name).params()
    selector: Any = make_selector(name, {"balanced": True} if balanced and has else {})
    scores = recorder.scores()
    read = {"mean_prob": "mean_prob", "correctness": "correctness", "logit_margin": "aum"}
    pool = replace(recorder.pool(), aux={key: scores[scorer].values for key, scorer in read.items()})
    assert pool.targets is not None
    for keep in (1, 2, 7, pool.n):  # fewer than there are classes, too
        coreset = select(scores["el2n"], pool, keep, selector)
        assert len(coreset) == keep
        if balanced and has and keep >= 3:
            assert set(pool.targets[coreset.ids]) == {1, 2, 4}


def test_a_class_that_is_due_more_than_half_a_sample_may_be_left_empty() -> None:
    targets = np.repeat(np.arange(5), 60)  # three of five: each is due 0.6
    selector = make_selector("top", {"balanced": True})
    kept = select(Scores(np.linspace(0, 1, 300, dtype=np.float32)), Pool(300, targets), 3, selector).ids
    found = emptied(targets, kept)
    assert found == {3: 60, 4: 60}
    assert emptied_text("el2n:balanced=true", selector, found).endswith("due less than one sample may get none: keep more")


def test_a_coreset_that_leaves_classes_empty_trains(recorded: tuple[Data, Recorder, Path]) -> None:
    data = recorded[0]
    ids = np.flatnonzero(data.train.targets == 2)
    result = fit(data, TrainSpec("tiny", epochs=1, batch_size=5), seed=0, ids=ids)
    assert result.test_accuracy is not None
    assert np.isfinite(result.train_loss)


def test_the_report_shows_them(recorded: tuple[Data, Recorder, Path]) -> None:
    data, recorder, folder = recorded
    scores = recorder.scores()["el2n"]
    only = np.flatnonzero(data.train.targets == 2)
    page = render(
        Content(
            "title", "text", data.train.targets, data.class_names,
            lines=(Line("el2n", 0.3, len(only), 1, 50.0, None, None, None, 1.0),),
            scores=(ScoreColumn("el2n", scores.values),), selections=(Selection("el2n", 0.3, only, "el2n"),),
            data_map=means(Trajectory.open(folder)).map(), image=data.train.image,
        )
    )  # fmt: skip
    assert "el2n" in page


def test_a_pool_of_one_sample_and_one_class() -> None:
    scores = Scores(np.array([0.5], dtype=np.float32))
    names = ("mean_prob", "correctness", "logit_margin")
    pool = Pool(1, np.array([4]), aux={name: np.array([0.5], dtype=np.float32) for name in names})
    for name in selectors():
        coreset = select(scores, pool, 1, make_selector(name))
        assert coreset.ids.tolist() == [0], name
        assert isinstance(coreset, Coreset)


@pytest.mark.parametrize("batch_size", [1, 3])
def test_single_samples_in_a_training_give_the_recorder_one_row_each(batch_size: int) -> None:
    data = gappy_data(per_class=1)
    recorder = Recorder(3, CLASSES, {"el2n": make_scorer("el2n")})
    seen: list[torch.Tensor] = []
    update = recorder.update
    recorder.update = lambda logits, *rest: (seen.append(logits), update(logits, *rest))[1]  # type: ignore[method-assign]
    fit(data, TrainSpec("tiny", epochs=2, batch_size=batch_size), seed=0, recorder=recorder)
    assert [len(logits) for logits in seen] == [batch_size] * (6 // batch_size)
    assert np.isfinite(recorder.scores()["el2n"].values).all()

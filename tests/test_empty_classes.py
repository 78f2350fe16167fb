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
from thresher.experiments.study import StudySpec, run_study
from thresher.methods import resolve
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
    told = emptied_text("el2n:balanced=true", selector, found, 3, 300)
    assert told.endswith("due less than one sample may get none: keep more")


def test_what_would_leave_a_class_empty_all_the_same_is_not_praised_as_the_help() -> None:
    """Proportional quotas keep a tenth of 30 samples, but may keep none of one or nine."""
    found, top = {0: 30, 1: 9, 2: 1}, make_selector("top")
    told = emptied_text("el2n", top, found, 20, 200)
    assert "2 (1 sample): el2n:balanced=true keeps classes in proportion, but 2 of these are due less than" in told
    assert "but 1 of these is due less" in emptied_text("el2n", top, {0: 10, 1: 9}, 20, 200)
    assert "but each of these is due less" in emptied_text("el2n", top, {1: 9, 2: 1}, 20, 200)
    assert emptied_text("el2n", top, {0: 30, 1: 10}, 20, 200).endswith("el2n:balanced=true keeps classes in proportion")


def test_the_method_that_is_named_as_the_help_can_be_asked_for() -> None:
    """A label that says balanced=false already took none with balanced=true added."""
    method = resolve("auto:balanced=false:late=false", "digits", 0.1)
    told = emptied_text(method.name, method.selector, {0: 30}, 20, 200)
    help_ = told.partition("): ")[2].partition(" ")[0]
    assert resolve(help_, "digits", 0.1).selector == replace(method.selector, balanced=True)  # type: ignore[call-arg]


def test_a_study_tells_which_draw_leaves_classes_empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Eight of 1437 digits: Random leaves other classes empty with every seed, EL2N the same ones."""
    monkeypatch.setattr("thresher.experiments.study.run_jobs", lambda *_, **__: [])  # no coreset need be trained
    said: list[str] = []
    spec = TrainSpec("tiny", epochs=3, batch_size=128, lr=0.05)
    study = StudySpec("digits", spec, spec, ("random", "el2n"), (0.005,), (4, 5))
    run_study(study, tmp_path, notify=lambda event, d: said.append(d["text"]) if event == "notice" else None)
    assert [text.partition(" keeps none of")[0] for text in said if " keeps none of" in text] == [
        "keep 0.005, seed 4: random",
        "keep 0.005: el2n",
    ]


def test_three_classes_are_named_and_more_are_counted() -> None:
    top = make_selector("top", {})
    assert "more" not in emptied_text("el2n", top, dict.fromkeys(range(3), 9), 100, 200)
    told = emptied_text("el2n", top, dict.fromkeys(range(4), 9), 100, 200)
    assert "classes 0 (9 samples), 1 (9 samples), 2 (9 samples) and 1 more:" in told


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

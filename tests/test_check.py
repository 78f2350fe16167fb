"""`--check`: measured on a held-out part, real trainings on digits; what does not hold is Random's."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from thresher.coreset import Coreset
from thresher.data import load
from thresher.data.holdout import Holdout, split_rows
from thresher.errors import InputError
from thresher.experiments import check as checking
from thresher.experiments.check import Verdict, check_asked
from thresher.experiments.reporting import gather
from thresher.experiments.study import StudySpec, run_study
from thresher.keep import keep_count
from thresher.score_table import read_scores
from thresher.train.spec import TrainSpec


def study(**changes: Any) -> StudySpec:
    """Return a study of seconds."""
    surrogate, coreset = (TrainSpec("tiny", epochs=e, batch_size=b, lr=0.05) for e, b in ((4, 64), (3, 16)))
    parts = {"methods": ("random", "auto"), "keeps": (0.1,), "seeds": (0, 1), "check_minutes": 500.0, **changes}
    return StudySpec("digits", surrogate, coreset, **parts)


def test_the_check_trains_pairs_on_what_is_left_and_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checking, "PAIRS", 2)
    said: list[str] = []
    results = run_study(study(), tmp_path, notify=lambda event, d: said.append(d["text"]) if event == "notice" else None)
    verdict = json.loads((tmp_path / "check" / "verdict-auto-0.1.json").read_text())
    assert verdict["text"] in said
    assert len(verdict["accuracies"]) == len(verdict["random"]) == 2
    assert verdict["holds"] == (sum(verdict["accuracies"]) >= sum(verdict["random"]))

    files = sorted((tmp_path / "check" / "results").glob("*.json"))
    made = [json.loads(file.read_text()) for file in files]
    held = load("digits", holdout="0.1")
    kept_each = keep_count(len(held.train), 0.1)
    facts = [(r["method"], r["holdout"], r["kept"]) for r in made]
    assert facts == [(m, "0.1", kept_each) for m in ("auto", "auto", "random", "random")]
    for name in ("auto", "random"):
        kept = Coreset.load(tmp_path / "check" / "coresets" / f"{name}-0.1-seed0.parquet", fingerprint=held.fingerprint)
        assert kept.n == len(held.train)

    before = [file.stat().st_mtime_ns for file in files]
    again = run_study(study(), tmp_path)  # everything is there
    assert [file.stat().st_mtime_ns for file in files] == before
    assert [r["test_accuracy"] for r in again] == [r["test_accuracy"] for r in results]
    monkeypatch.setattr("thresher.experiments.study.run_jobs", lambda *_, **__: [])  # only the check is looked at
    run_study(study(check_minutes=1e-6, keeps=(0.2, 0.1)), tmp_path)  # no time for more, but these pairs are there
    assert _read(tmp_path / "check" / "verdict-auto-0.1.json") == verdict
    assert _read(tmp_path / "check" / "verdict-auto-0.2.json")["holds"] is None


def test_what_does_not_hold_is_randoms(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lost = Verdict("auto", 0.1, (50.0,), (60.0,))
    monkeypatch.setattr(checking, "check", lambda *_, **__: lost)
    results = {(r["method"], r["seed"]): r for r in run_study(study(), tmp_path)}
    for seed in (0, 1):
        assert results["auto", seed]["test_accuracy"] == results["random", seed]["test_accuracy"]
        auto, random = (Coreset.load(tmp_path / "coresets" / f"{m}-0.1-seed{seed}.parquet") for m in ("auto", "random"))
        np.testing.assert_array_equal(auto.ids, random.ids)
        assert auto.source["method"] == "auto"
        assert "so Random's coreset is taken" in auto.source["check"]["text"]
    content = gather(tmp_path, study(), list(results.values()), load("digits"))
    assert lost.text in content.notices  # where it stays, not on the screen alone


def test_a_tie_holds_whatever_binary_fractions_leave_of_it() -> None:
    up, down = ((100 * (k / 143), 100 * ((k + step) / 143)) for k, step in ((100, 1), (100, -1)))
    tied = Verdict("auto", 0.1, (up[1], down[1]), (up[0], down[0]))
    assert sum(tied.gaps) < 0  # by 1e-14
    assert tied.holds
    assert "+0.00 ± 8.89" in tied.text
    assert (
        "-0.70 to Random on a held-out tenth of the training set (1 pair)"
        in replace(tied, accuracies=down[1:], random=down[:1]).text
    )


def test_a_verdict_says_that_the_held_out_labels_are_as_wrong_as_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    monkeypatch.setattr(checking, "PAIRS", 1)
    monkeypatch.setattr("thresher.experiments.study.run_jobs", lambda *_, **__: [])  # only the check is looked at
    run_study(replace(study(seeds=(0,)), mislabel="0.2"), tmp_path)
    text = _read(tmp_path / "check" / "verdict-auto-0.1.json")["text"]
    assert "to Random on a held-out tenth of the training set, wrong labels (0.2) included (1 pair): it" in text


def test_what_fell_back_is_not_scaled_by_the_method_that_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checking, "check", lambda *_, **__: Verdict("auto", 0.1, (50.0,), (60.0,)))
    results = {r["method"]: r for r in run_study(study(methods=("tdds", "auto"), seeds=(0,), scale_loss="all"), tmp_path)}
    assert results["tdds"]["mean_loss_scale"] is not None
    assert results["auto"]["mean_loss_scale"] is None


def test_a_budget_too_short_changes_nothing_and_classes_left_empty_are_told(tmp_path: Path) -> None:
    said: list[str] = []
    few = study(check_minutes=1e-6, keeps=(0.005,), seeds=(0,))
    run_study(few, tmp_path, notify=lambda event, d: said.append(d["text"]) if event == "notice" else None)
    assert "auto, keep 0.005: the budget was too short to check it" in " ".join(said)
    assert any(text.startswith("keep 0.005: auto keeps none of class") for text in said)
    (path,) = (tmp_path / "coresets").glob("auto-0.005*.parquet")
    why = Coreset.load(path).source["why"]["text"]
    assert "suspects (" in why
    assert f"auto, keep 0.005: {why}" in said


def test_a_check_scales_the_loss_as_the_study_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checking, "PAIRS", 1)
    monkeypatch.setattr(Verdict, "holds", True)  # so that both are trained on what they chose, whatever a tiny net says
    results = {r["method"]: r for r in run_study(study(seeds=(0,), scale_loss="all"), tmp_path)}
    made = {r["method"]: r for r in map(_read, (tmp_path / "check" / "results").glob("*.json"))}
    assert made["auto"]["mean_loss_scale"] == pytest.approx(results["auto"]["mean_loss_scale"], abs=0.1)
    assert made["random"]["mean_loss_scale"] is results["random"]["mean_loss_scale"] is None
    (path,) = (tmp_path / "check").glob("scores-*.parquet")
    left, _ = split_rows(len(load("digits").train), Holdout.parse("0.1"))
    whole = read_scores(tmp_path / "scores.parquet").columns["tdds"].values
    np.testing.assert_array_equal(read_scores(path).columns["auto"].values, whole[left])


def _read(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text())
    return found


def test_rows_are_those_of_the_held_out_data() -> None:
    data, held = load("digits"), load("digits", holdout="0.2:seed=3")
    left, out = split_rows(len(data.train), Holdout(0.2, 3))
    np.testing.assert_array_equal(data.train.targets[left], held.train.targets)
    np.testing.assert_array_equal(data.train.targets[out], held.test.targets)
    assert len(np.intersect1d(left, out)) == 0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"methods": ("random", "tdds")}, "auto among the methods.* but got random, tdds. Add it"),
        ({"check_minutes": 0.0}, "--budget-minutes as a number above 0, such as 30, but got 0"),
        ({"check_minutes": float("nan")}, "but got nan"),
        ({"check_minutes": float("inf")}, "but got inf"),
    ],
)
def test_a_check_that_cannot_be_is_refused_before_anything_is_trained(
    changes: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=message):
        run_study(study(**changes), tmp_path / "run")
    assert not (tmp_path / "run").exists()
    with pytest.raises(InputError, match="a tenth of the training set, which is none of 9 samples"):
        check_asked(("auto",), 5.0, 9)


def test_check_and_budget_come_together() -> None:
    from click.testing import CliRunner

    from thresher.cli import app

    result = CliRunner().invoke(app, ["run", "--check"])
    assert result.exit_code != 0
    assert isinstance(result.exception, InputError) or "--budget-minutes" in result.output

"""Label noise: exact counts, other classes only, the truth kept apart, and the way through `thresher run`."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from thresher.cli import app
from thresher.coreset import Coreset
from thresher.data import ArraySplit, Data, DatasetSplit, load
from thresher.data.corrupt import CorruptedSplit, corrupt_data
from thresher.data.mislabel import Mislabeling, RelabeledSplit, flip_targets, mislabel_data
from thresher.errors import FingerprintError, InputError
from thresher.experiments.defaults import run_folder
from thresher.experiments.job import Job, Task
from thresher.experiments.jobs import run_task
from thresher.experiments.reporting import command_line
from thresher.experiments.study import StudySpec, resolve_all
from thresher.score_table import read_scores
from thresher.train.spec import TrainSpec

RNG = np.random.default_rng(0)
SMALL = ("--surrogate-epochs", 4, "--epochs", 1, "--batch-size", 64, "--surrogate-batch-size", 64, "--device", "cpu")


def call(*arguments: Any) -> str:
    """Run a command that must succeed and return what it said."""
    result = CliRunner().invoke(app, [str(a) for a in arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def lazily(data: Data) -> Data:
    """Return the same data, read one by one."""
    pairs = [(image.numpy(), target) for image, target in (data.train[i] for i in range(len(data.train)))]
    return dataclasses.replace(data, train=DatasetSplit([(image.transpose(1, 2, 0), t) for image, t in pairs]))


# ---- which labels


@settings(max_examples=60, deadline=None)
@given(st.integers(10, 2000), st.integers(2, 12), st.sampled_from([10, 15, 20, 29, 57, 100]), st.integers(0, 9))
def test_counts_are_exact_and_every_flip_is_wrong(n: int, classes: int, percent: int, seed: int) -> None:
    targets = np.random.default_rng(n).integers(0, classes, n)
    flipped, noisy = flip_targets(targets, classes, Mislabeling(percent / 100, seed))
    assert flipped.sum() == n * percent // 100
    assert np.array_equal(noisy != targets, flipped)
    assert noisy.min() >= 0
    assert noisy.max() < classes
    assert noisy.dtype == np.int64


def test_other_classes_are_equally_likely() -> None:
    targets = np.repeat(np.arange(5), 4000)
    flipped, noisy = flip_targets(targets, 5, Mislabeling(0.5))
    table = np.zeros((5, 5), np.int64)
    np.add.at(table, (targets[flipped], noisy[flipped]), 1)
    assert (np.diag(table) == 0).all()
    others = table[~np.eye(5, dtype=bool)]
    assert stats.chisquare(others).pvalue > 0.001
    assert stats.chisquare(table.sum(axis=1)).pvalue > 0.001  # class-agnostic


def test_seeds_and_independence_from_corruption() -> None:
    digits = load("digits")
    one, same, other = (mislabel_data(digits, Mislabeling(0.2, seed)) for seed in (1, 1, 2))
    assert np.array_equal(one.data.train.targets, same.data.train.targets)
    assert not np.array_equal(one.flipped, other.flipped)
    both = np.mean(mislabel_data(digits, Mislabeling(0.2, 3)).flipped[corrupt_data(digits, "intended:seed=3").codes > 0])
    assert both == pytest.approx(0.2, abs=0.08)  # 285 corrupted samples: not the same ones, and not only others


@pytest.mark.parametrize("late", [False, True])
def test_what_stays_and_what_differs(late: bool) -> None:
    data = lazily(load("digits")) if late else load("digits")
    made = mislabel_data(data, "0.2:seed=7")
    assert isinstance(made.data.train, RelabeledSplit if late else ArraySplit)
    assert made.flipped.sum() == 287
    assert np.array_equal(made.clean_targets, data.train.targets)
    assert np.array_equal(made.data.train.targets != made.clean_targets, made.flipped)
    assert not made.flipped.flags.writeable
    assert not made.clean_targets.flags.writeable
    assert made.data.test is data.test
    assert made.data.fingerprint != data.fingerprint
    assert made.data.fingerprint != mislabel_data(data, "0.2:seed=8").data.fingerprint
    assert made.data.name == "digits+mislabel=0.2:seed=7"
    for i in (0, 11, 1436):
        image, target = made.data.train[i]
        assert torch.equal(image, data.train[i][0])
        assert target == made.data.train.targets[i]
        assert np.array_equal(made.data.train.image(i), data.train.image(i))


def test_both_changes_at_once() -> None:
    data = load("digits", corrupt="intended", mislabel="0.2")
    corrupted, wrong = corrupt_data(load("digits")), mislabel_data(load("digits"))
    assert data.name == "digits+corrupt=intended+mislabel=0.2"
    assert np.array_equal(data.train.targets, wrong.data.train.targets)
    assert all(np.array_equal(data.train.image(i), corrupted.data.train.image(i)) for i in range(0, 1437, 50))
    late = mislabel_data(corrupt_data(lazily(load("digits")), "intended").data, "0.2").data
    assert isinstance(late.train, RelabeledSplit)
    assert isinstance(late.train._base, CorruptedSplit)
    assert all(torch.equal(late.train[i][0], data.train[i][0]) for i in range(0, 1437, 50))


@pytest.mark.parametrize("name", ["cifar10", "cifar100"])
def test_real_cifar(name: str, cifar_root: Path) -> None:
    clean = load(name, cifar_root)
    made = mislabel_data(clean, "0.2")
    assert made.flipped.sum() == len(clean.train) // 5
    assert np.array_equal(made.data.train.targets != clean.train.targets, made.flipped)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("0", "For no label noise, omit it"),
        ("1.2", r"Expected share as a number in \[0, 1\], but got 1\.2"),
        ("-0.2", r"Expected share as a number in \[0, 1\]"),
        ("nan", "Expected share as a number"),
        ("much", "Expected share as a number, as in 0.2:seed=0, but got 'much'"),
        ("", "Expected share as a number, as in"),
        ("0.2:sead=1", "did you mean seed?"),
        ("0.2:seed=x", "Expected seed as a whole number"),
        ("0.0001", "at least one of 1437 samples"),
    ],
)
def test_impossible_texts(text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        load("digits", mislabel=text)


def test_one_class_cannot_be_confused() -> None:
    split = ArraySplit(torch.zeros(5, 1, 8, 8, dtype=torch.uint8), np.zeros(5, np.int64))
    data = Data("one", split, split, ("only",), (0.5,), (0.5,), "crop", 8, 1)
    with pytest.raises(InputError, match="at least two classes to confuse, but there is 1"):
        mislabel_data(data, "0.2")


# ---- through the commands


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of `thresher run` on mislabeled digits."""
    out = tmp_path_factory.mktemp("mislabeled") / "run"
    options = ("--method", "random,el2n", "--seeds", "0", "--jobs", 1, "--out", out)
    said = call("run", "--data", "digits", "--mislabel", "0.2:seed=0", *SMALL, *options)
    assert "digits+mislabel=0.2: 1437 training" in said
    return out


def test_a_run_trains_on_the_wrong_labels(finished: Path) -> None:
    wrong = mislabel_data(load("digits"), "0.2")
    table = read_scores(finished / "scores.parquet")
    assert table.targets is not None
    assert np.array_equal(table.targets, wrong.data.train.targets)
    results = [json.loads(path.read_text()) for path in (finished / "results").glob("*.json")]
    assert len(results) == 3
    assert {(r["fingerprint"], r["mislabel"], r["data"]) for r in results} == {
        (wrong.data.fingerprint, "0.2:seed=0", "digits")
    }
    el2n = table.columns["el2n"].values
    assert el2n[wrong.flipped].mean() > el2n[~wrong.flipped].mean()  # wrong labels are hard, which is the point
    page = (finished / "report.html").read_text()
    assert "0.2:seed=0, training split only" in page
    assert "--mislabel 0.2:seed=0" in page


def test_a_run_belongs_to_its_data(finished: Path) -> None:
    options = ("--method", "random", "--seeds", "0", "--out", str(finished), *map(str, SMALL))
    result = CliRunner().invoke(app, ["run", "--data", "digits", "--no-full", *options])
    assert re.search(r"another spec \(different: data .* here; fingerprint .* here\)", str(result.exception))
    coreset = next((finished / "coresets").glob("el2n*.parquet"))
    assert Coreset.load(coreset).source["data"] == "digits+mislabel=0.2"
    with pytest.raises(FingerprintError):
        call("train", "--coreset", coreset, "--epochs", 1, "--out", finished / "other", "--device", "cpu")
    options = ("--epochs", "1", "--jobs", "1", "--device", "cpu", "--out", str(finished / "other"))
    assert "el2n" in call("train", "--mislabel", "0.2", "--coreset", coreset, *options)


def test_record_takes_both(tmp_path: Path) -> None:
    options = ("--epochs", 1, "--batch-size", 64, "--device", "cpu", "--no-features")
    call("record", "--out", tmp_path / "run", "--corrupt", "published-code", "--mislabel", "0.1", *options)
    spec = json.loads((tmp_path / "run" / "spec.json").read_text())
    assert spec["data"] == "digits+corrupt=published-code+mislabel=0.1"
    assert spec["fingerprint"] == load("digits", corrupt="published-code", mislabel="0.1").fingerprint


def test_the_corrupt_command(tmp_path: Path) -> None:
    said = call("corrupt", "--show", tmp_path / "new" / "a.png", "--variant", "published-code:seed=2", "--sample", "0-1")
    assert "2 samples of digits, clean and corrupted (published-code:seed=2)" in said
    assert (tmp_path / "new" / "a.png").read_bytes().startswith(b"\x89PNG")
    for options, message in (
        (("--show", "a.jpg"), "a .png file"),
        (("--show", "a.png", "--sample", "x"), "distinct sample ids"),
        (("--show", "a.png", "--variant", "intent"), "did you mean intended"),
    ):
        assert message in str(CliRunner().invoke(app, ["corrupt", *options]).exception)


def test_jobs_say_how_their_data_was_changed() -> None:
    train = TrainSpec("tiny", epochs=1, batch_size=256, lr=0.05).to_json()
    plain = Job("full", 1.0, 1437, "digits", None, "f", train, 0)
    assert plain.digest == dataclasses.replace(plain, mislabel="0.2").digest  # what differs is the fingerprint
    assert plain.digest == "34190b5682ed8773"  # as it was before data could be changed: old results are still found


def test_a_job_loads_the_changed_data(tmp_path: Path) -> None:
    train = TrainSpec("tiny", epochs=1, batch_size=256, lr=0.05).to_json()
    fingerprint = load("digits", corrupt="intended").fingerprint
    path = tmp_path / "kept.parquet"
    kept = Coreset(np.arange(64), None, 1437, {"fingerprint": fingerprint})
    kept.save(path)
    job = Job("x", 0.1, 64, "digits", None, fingerprint, train, 0, str(path), kept.digest, corrupt="intended")
    assert run_task(Task(job, job.result_path(tmp_path)))["corrupt"] == "intended"
    with pytest.raises(FingerprintError):
        run_task(Task(dataclasses.replace(job, fingerprint="other", corrupt=None), tmp_path / "other.json"))


def test_published_settings_are_still_found() -> None:
    train = TrainSpec("resnet18", epochs=200)
    spec = StudySpec("cifar100", train, train, ("tdds",), (0.7,), (0,), corrupt="intended", mislabel="0.2:seed=1")
    assert resolve_all(spec, 200)["tdds", 0.7].at == 90
    assert "--corrupt intended --mislabel 0.2:seed=1" in command_line(dataclasses.replace(spec, seeds=(0,)))
    assert run_folder(spec.data, spec.corrupt, spec.mislabel).name == "cifar100+corrupt=intended+mislabel=0.2_seed=1"
    assert run_folder("digits", None, None) == Path("runs/digits")
    assert [run_folder(name, None, None).name for name in ("folder:a/b", "folder:size=32:a/b")] == [
        "folder",
        "folder_size=32",
    ]


def test_the_labels_stay_the_same_on_every_machine() -> None:
    flipped, noisy = flip_targets(np.arange(10) % 5, 5, Mislabeling(0.3))
    assert (np.flatnonzero(flipped).tolist(), noisy[flipped].tolist()) == ([0, 6, 9], [1, 3, 1])


def test_the_data_set_itself_may_still_be_written_to() -> None:
    data = load("digits")
    mislabel_data(data, "0.2")
    assert data.train.targets.flags.writeable

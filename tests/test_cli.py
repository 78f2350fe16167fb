"""The command line: every command does its part, and what cannot work ends in one clear line."""

from __future__ import annotations

import inspect
import json
import re
import shutil
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from thresher.cli import app
from thresher.coreset import Coreset
from thresher.errors import InputError
from thresher.experiments.defaults import parse_seeds
from thresher.experiments.recording import RECORDED
from thresher.methods import METHODS
from thresher.recorder import Recorder
from thresher.score_table import read_scores, write_scores
from thresher.trajectory.writer import TrajectoryWriter
from thresher.types import Scores

GOLDEN = np.load(Path(__file__).parent / "golden" / "tdds_official_real_dynamics.npz")
COMMANDS = ("run", "record", "score", "select", "train", "corrupt", "methods", "export")


def call(*arguments: Any) -> str:
    """Run a command that must succeed and return what it said."""
    result = CliRunner().invoke(app, [str(a) for a in arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


@pytest.fixture(scope="module")
def dumps(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Official dumps of the golden dynamics."""
    folder = tmp_path_factory.mktemp("dumps")
    for epoch, order in enumerate(GOLDEN["orders"]):
        np.save(folder / f"{epoch}_Output.npy", GOLDEN["logits"][epoch].astype(np.float32)[order])
        np.save(folder / f"{epoch}_Index.npy", order)
    np.save(folder / "targets.npy", GOLDEN["targets"])
    return folder


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recording of digits made by `thresher record`."""
    out = tmp_path_factory.mktemp("recorded") / "run"
    said = call("record", "--out", out, "--epochs", 4, "--batch-size", 64, "--device", "cpu")
    assert "4 epochs of 1437 samples" in said
    return out


@pytest.mark.parametrize("command", COMMANDS)
def test_help_is_worth_reading(command: str) -> None:
    said = call(command, "--help")
    assert len(said) > 300
    assert "Usage:" in said


def test_dumps_to_scores_to_coreset(dumps: Path, tmp_path: Path) -> None:
    scores, coreset = tmp_path / "scores.parquet", tmp_path / "coreset.parquet"
    assert "400 samples, tdds" in call("score", dumps, "--method", "tdds", "--window", 10, "--at", 30, "--out", scores)
    table = read_scores(scores)
    np.testing.assert_allclose(table.columns["tdds"].values, GOLDEN["tdds_T30_K10"], rtol=1e-5)
    assert table.targets is not None
    np.testing.assert_array_equal(table.targets, GOLDEN["targets"])
    assert "40 of 400 samples by tdds" in call("select", scores, "--method", "tdds", "--keep", 0.1, "--out", coreset)
    wanted = np.sort(np.argsort(-table.columns["tdds"].values, kind="stable")[:40])
    np.testing.assert_array_equal(Coreset.load(coreset).ids, wanted)


def test_the_published_column_is_that_of_the_recorded_model(tmp_path: Path) -> None:
    made = {at: {"scorer": "tdds", "params": {"window": 10}, "at": at} for at in (20, 100)}
    columns = {f"tdds[T={at}]": Scores(np.arange(10.0) % at % 7, "high", source) for at, source in made.items()}
    for model, at in (("swin_t", 100), ("resnet34_imagenet", 20)):
        path = tmp_path / f"{model}.parquet"
        write_scores(path, columns, info={"data": "imagenet", "train": {"model": model}})
        found = call("select", path, "--method", "tdds", "--keep", 0.5, "--out", tmp_path / "c.parquet", "--json", "--quiet")
        assert json.loads(found)["column"] == f"tdds[T={at}]"


def test_a_grid_of_dumps(dumps: Path, tmp_path: Path) -> None:
    out = tmp_path / "grid.parquet"
    call("score", dumps, "--window", "5,10", "--at", "10,20,30", "--out", out)
    names = [f"tdds[K={k},T={t}]" for t in (10, 20, 30) for k in (5, 10)]
    assert list(read_scores(out).columns) == names


def test_several_scorers_of_dumps(dumps: Path, tmp_path: Path) -> None:
    out = tmp_path / "scores.parquet"
    said = call(
        "score",
        dumps,
        "--method",
        "tdds,el2n,entropy,ccs:cutoff=0.1,aum,forgetting:never_learned=max,dual_beta",
        "--out",
        out,
    )
    assert "no evaluation pass" in said
    columns = read_scores(out).columns
    assert list(columns) == ["tdds", "el2n", "entropy", "aum", "forgetting", "dual", "mean_prob"]
    assert columns["aum"].hard_end == "low"


def test_a_store_without_an_evaluation_pass_is_scored_without(tmp_path: Path) -> None:
    with TrajectoryWriter.create(tmp_path / "t", 20, 3, RECORDED) as store:
        recorder = Recorder(20, 3, store=store)
        for seed in range(2):
            logits = np.random.default_rng(seed).normal(size=(20, 3)).astype(np.float32)
            recorder.update(logits, np.arange(20) % 3, np.arange(20))
            recorder.end_epoch()
    out = tmp_path / "s.parquet"
    assert "entropy: no evaluation pass was recorded" in call("score", tmp_path / "t", "--method", "entropy", "--out", out)
    assert np.isfinite(read_scores(out).columns["entropy"].values).all()


def test_what_auto_reads_besides_is_scored_too(dumps: Path, tmp_path: Path) -> None:
    scores, coreset = tmp_path / "scores.parquet", tmp_path / "coreset.parquet"
    assert "400 samples, tdds, aum, correctness" in call("score", dumps, "--method", "auto", "--out", scores)
    assert "40 of 400 samples by auto" in call("select", scores, "--method", "auto", "--keep", 0.1, "--out", coreset)


def test_recording_to_training(recorded: Path, tmp_path: Path) -> None:
    scores, coreset = tmp_path / "scores.parquet", tmp_path / "coreset.parquet"
    call("score", recorded, "--method", "tdds:window=3,moderate", "--out", scores)
    said = call("select", scores, "--method", "moderate", "--keep", 200, "--out", coreset)
    assert "200 of 1437 samples by moderate" in said
    out = tmp_path / "train"
    options = ("--coreset", coreset, "--seeds", "0-1", "--epochs", 2, "--jobs", 1, "--out", out, "--device", "cpu")
    said = call("train", "--data", "digits", *options)
    assert re.search(r"moderate .* 200 ", said)
    assert len(list(out.glob("*.json"))) == 2


def test_a_recording_that_is_not_finished_is_told(recorded: Path, tmp_path: Path) -> None:
    score = ("score", recorded, "--method", "el2n", "--out", tmp_path / "s.parquet")
    assert "el2n; of 4 epochs" in call(*score)
    assert "are recorded; first" not in call(*score)
    run = Path(shutil.copytree(recorded, tmp_path / "run"))
    spec = json.loads((run / "spec.json").read_text())
    spec["surrogate"]["epochs"] = 60
    (run / "spec.json").write_text(json.dumps(spec))
    note = f"4 of 60 epochs are recorded; first repeat the command that began {run}"
    for place in (run, run / "trajectory"):
        assert note in call("score", place, *score[2:])
        assert note in call("suspects", place)
    (run / "spec.json").unlink()
    said = call("suspects", run)
    assert "1437 samples, 4 epochs" in said
    assert "are recorded" not in said


def test_run_goes_on_with_a_recording(recorded: Path) -> None:
    options = ("--surrogate-epochs", 4, "--surrogate-batch-size", 64, "--epochs", 1, "--batch-size", 64, "--device", "cpu")
    said = call("run", "--out", recorded, *options, "--method", "random,el2n", "--seeds", "0", "--no-full", "--jobs", 1)
    assert "el2n" in said
    assert (recorded / "report.html").stat().st_size > 10_000
    assert (recorded / "table.md").read_text().startswith("| method | keep |")


def test_methods_are_listed_and_shown() -> None:
    said = call("methods")
    assert all(name in said for name in METHODS)
    assert "S = sum_k b (1-b)^(T-K-k) v[k]" in call("methods", "tdds")


CASES: dict[str, tuple[tuple[str, ...], str]] = {
    "no source": (("score", "{tmp}/nowhere", "--out", "{tmp}/s.parquet"), "Expected a folder"),
    "window too small": (("score", "{dumps}", "--window", "2", "--out", "{tmp}/s.parquet"), "window >= 3"),
    "window of words": (("score", "{dumps}", "--window", "five", "--out", "{tmp}/s.parquet"), "as integers"),
    "window larger than T": (("score", "{dumps}", "--window", "10", "--at", "5", "--out", "{tmp}/s"), "at least 10 epochs"),
    "T beyond the dumps": (("score", "{dumps}", "--at", "31", "--out", "{tmp}/s"), "30 are recorded"),
    "unknown scorer": (("score", "{dumps}", "--method", "tdss", "--out", "{tmp}/s"), "Expected a method"),
    "no features in dumps": (("score", "{dumps}", "--method", "grand", "--out", "{tmp}/s"), "grand reads"),
    "keep too large": (("select", "{scores}", "--keep", "1.5", "--out", "{tmp}/c"), "share in"),
    "keep zero": (("select", "{scores}", "--keep", "0", "--out", "{tmp}/c"), "share in"),
    "more than there are": (("select", "{scores}", "--keep", "4", "--out", "{tmp}/c"), "between 1 and 3"),
    "no such column": (
        ("select", "{scores}", "--keep", "1", "--method", "el2n", "--out", "{tmp}/c"),
        "reads the column el2n",
    ),
    "no scores": (("select", "{tmp}/none", "--keep", "1", "--out", "{tmp}/c"), "there is none"),
    "unknown data": (("run", "--data", "mnist", "--out", "{tmp}/r"), "no data set 'mnist'"),
    "unknown model": (("record", "--model", "vgg", "--out", "{tmp}/r"), "vgg"),
    "bad precision": (("record", "--precision", "fp8", "--out", "{tmp}/r"), "fp32 or bf16"),
    "bad device": (("record", "--device", "tpu9", "--out", "{tmp}/r"), "an available device"),
    "no device to compute on": (("train", "--device", "meta", "--out", "{tmp}/r"), "an available device"),
    "bad seeds": (("run", "--seeds", "3-1", "--out", "{tmp}/r"), "distinct seeds"),
    "bad loss scale": (("run", "--scale-loss", "some", "--out", "{tmp}/r"), "published, none or all"),
    "no CIFAR there": (("run", "--data", "cifar10", "--data-dir", "{tmp}", "--out", "{tmp}/r"), "cifar-10"),
    "scores as CSV": (("score", "{dumps}", "--out", "{tmp}/s.CSV"), "Name it .parquet; pandas"),
    "a coreset as text": (("select", "{scores}", "--keep", "1", "--out", "{tmp}/c.txt"), "`thresher export` converts"),
    "workers of one": (("select", "{scores}", "--keep", "1", "--workers", "2", "--out", "{tmp}/c"), "got 2 with serial"),
    "serial workers": (
        ("score", "{dumps}", "--engine", "serial", "--workers", "2", "--out", "{tmp}/s"),
        "--engine processes",
    ),
    "serial jobs": (
        ("reproduce", "table6", "--engine", "serial", "--jobs", "2", "--out", "{tmp}/r"),
        "Expected --jobs with",
    ),
    "no coreset": (("train", "--coreset", "{tmp}/none", "--out", "{tmp}/r"), "Expected a coreset"),
}


@pytest.mark.parametrize("case", CASES)
def test_what_cannot_work_is_one_clear_line(case: str, dumps: Path, tmp_path: Path, call: Any) -> None:
    write_scores(tmp_path / "scores.parquet", {"tdds": Scores(np.array([1.0, 2.0, 3.0]))})
    arguments, message = CASES[case]
    places = {"tmp": tmp_path, "dumps": dumps, "scores": tmp_path / "scores.parquet"}
    assert message in call.refused(*(a.format(**places) for a in arguments))


@pytest.mark.parametrize("name", sorted(app.commands))
def test_every_command_shows_an_example(name: str) -> None:
    assert f"\nthresher {name}" in inspect.cleandoc(app.commands[name].help or "")


@pytest.mark.parametrize("name", sorted(app.commands))
def test_every_option_reaches_its_command(name: str) -> None:
    """The functions of the command line pass options on by name: both sides must know the same ones.

    What all commands share, --quiet and --json, reaches them as `say`.
    """
    rooms = [
        import_module(f"thresher.commands.{room}")
        for room in (
            "training", "scoring", "selecting", "reproduce", "tune", "corrupt", "exporting", "explore", "planning",
            "suspects", "methods",
        )
    ]  # fmt: skip
    (command,) = {getattr(room, f"{name}_command") for room in rooms if hasattr(room, f"{name}_command")}
    options = {parameter.name for parameter in app.commands[name].params}
    assert {"quiet", "as_json"} <= options
    assert options - {"quiet", "as_json"} == set(inspect.signature(command).parameters) - {"say"}


def test_seeds() -> None:
    assert parse_seeds("0-2,7") == (0, 1, 2, 7)
    for slip in ("0,5-3", "0-", "-1", "0_2"):  # no seed of it is left out without a word
        with pytest.raises(InputError, match="distinct seeds"):
            parse_seeds(slip)


@pytest.mark.parametrize(
    "command", ["run", "record", "score", "select", "reproduce", "tune", "methods", "corrupt", "export"]
)
def test_examples_in_the_help_stand_on_lines_of_their_own(command: str) -> None:
    lines = CliRunner().invoke(app, [command, "--help"]).output.splitlines()
    examples = [line for line in lines if line.startswith(f"  thresher {command}")]
    assert examples or command == "record"
    assert all(line.count("thresher ") == 1 for line in examples)

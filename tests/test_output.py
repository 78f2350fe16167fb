"""What commands say and where: one document with --json, nothing with --quiet, bars with the time left in a terminal."""

from __future__ import annotations

import json
import os
import pty
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from click.testing import CliRunner
from rich.progress import TextColumn

import thresher
from thresher.boards import targets
from thresher.boards.cells import Cell, Entry
from thresher.cli import app, main
from thresher.commands import bars
from thresher.commands.output import Output
from thresher.commands.screen import Screen, parallel
from thresher.commands.training import results_table
from thresher.engines import MOST
from thresher.errors import InputError
from thresher.experiments.tables import Row
from thresher.explore.server import Server
from thresher.train.spec import TrainSpec

Said = tuple[int, str, str]
Speak = Callable[..., Said]


@pytest.fixture
def speak(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Speak:
    """Run a command line in this process; return its exit status and what it said on stdout and stderr."""

    def run(*arguments: Any) -> Said:
        monkeypatch.setattr("sys.argv", ["thresher", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            main()
        out, err = capsys.readouterr()
        assert isinstance(end.value.code, int)
        return end.value.code, out, err

    return run


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for all of these commands, in any order: a recording, a score table and a coreset are there."""
    folder = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "cpu_count", lambda: 1)
        for name in ("record", "score", "select"):
            arguments = [argument.format(home=folder) for argument in COMMANDS[name]]
            done = CliRunner().invoke(app, [name, *arguments, "--quiet"])
            assert done.exit_code == 0, done.output
    return folder


SMALL = ("--epochs", "1", "--batch-size", "64", "--device", "cpu")
# What --json is told is looked at by CHECKS; the second time, with --quiet, trainings are there already.
COMMANDS: dict[str, tuple[str, ...]] = {
    "record": ("--out", "{home}/recorded", "--epochs", "3", "--batch-size", "64", "--device", "cpu", "--model", "tiny"),
    "score": ("{home}/recorded", "--method", "tdds:window=3,aum", "--out", "{home}/scores.parquet"),
    "select": ("{home}/scores.parquet", "--method", "aum", "--keep", "100", "--out", "{home}/kept.parquet"),
    "export": ("{home}/kept.parquet", "--to", "csv", "--out", "{home}/kept.csv", "--force"),
    "train": ("--coreset", "{home}/kept.parquet", "--seeds", "0-1", "--jobs", "1", "--out", "{home}/trained", *SMALL),
    "run": (
        "--out", "{home}/run", "--surrogate-epochs", "3", "--surrogate-batch-size", "64", *SMALL, "--model", "tiny",
        "--method", "random,aum", "--seeds", "0", "--no-full", "--jobs", "1",
    ),
    "suspects": ("{home}/recorded", "--out", "{home}/suspects.csv", "--force"),
    "plan": ("--n", "1000", "--classes", "10", "--epochs", "5", "--keep", "1.0"),
    "methods": ("tdds",),
    "corrupt": ("--show", "{home}/corrupt.png", "--sample", "0-1"),
    "explore": ("{home}/recorded", "--port", "0"),
    "reproduce": (
        "table6", "--scale", "small", "--seeds", "0", "--jobs", "1", "--device", "cpu", "--out", "{home}/reproduce",
    ),
    "tune": (
        "--keep", "0.1", "--budget-minutes", "500", "--surrogate-epochs", "3", *SMALL, "--jobs", "1", "--model", "tiny",
        "--out", "{home}/tune",
    ),
}  # fmt: skip


def rows(found: dict[str, Any]) -> list[tuple[Any, ...]]:
    return [(row["method"], row["kept"], row["n_seeds"], row["gap_mean"] is None) for row in found["rows"]]


CHECKS: dict[str, Callable[[dict[str, Any]], bool]] = {
    "record": lambda found: (found["epochs"], found["samples"]) == (3, 1437) and "correct" in found["signals"],
    "score": lambda found: [(name, told["scorer"], told["at"]) for name, told in found["columns"].items()]
    == [("tdds", "tdds", 3), ("aum", "aum", 3)],
    "select": lambda found: (found["kept"], found["samples"], found["column"]) == (100, 1437, "aum"),
    "export": lambda found: (found["format"], found["kept"], found["samples"]) == ("csv", 100, 1437),
    "train": lambda found: rows(found) == [("aum", 100, 2, True)] and len(found["wrote"]) == 2
    and found["rows"][0]["keep"] == 0.069589,  # 100 of 1437
    "run": lambda found: rows(found) == [("random", 144, 1, True), ("aum", 144, 1, False)]
    and any("digits: 1437 training" in note for note in found["notes"]),
    "suspects": lambda found: found["samples"] == 1437 and len(found["rows"]) == min(20, found["suspects"]),
    "plan": lambda found: found["bytes"]["state"] > 0 and found["pays_after_trainings"] is None
    and found["where_a_full_training_takes_seconds"] is None,  # never pays: infinite, which JSON has no number for
    "methods": lambda found: found["method"]["scorer"] == "tdds" and "formula" in found["card"],
    "corrupt": lambda found: found["sample_ids"] == [0, 1],
    "explore": lambda found: found["url"].startswith("http://127.0.0.1:") and found["samples"] == 1437,
    "reproduce": lambda found: (found["cells"], found["done"], found["failed"]) == (1, 1, [])
    and 0 < found["rows"][0]["mean"] <= 100,
    "tune": lambda found: found["best"].startswith("tdds:at=3") and found["rows"][0]["n"] == 1,
}  # fmt: skip


@pytest.fixture
def places(home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small target of `reproduce`, and an explorer that is left at once."""
    spec = TrainSpec("tiny", epochs=1, batch_size=64)
    entry = Entry("table6", Cell("digits", "random", 0.1, spec, spec), {"data": "digits", "method": "random"})
    monkeypatch.setitem(targets.TARGETS, "table6", lambda scale: [entry])

    def leave(self: Server, poll_interval: float = 0.5) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Server, "serve_forever", leave)
    monkeypatch.setattr(os, "cpu_count", lambda: 1)  # one thread a training, as in the other tests
    return home


def test_every_command_is_looked_at() -> None:
    assert set(COMMANDS) == set(CHECKS) == set(app.commands)


@pytest.mark.parametrize("name", COMMANDS)
def test_json_is_one_document_and_quiet_is_silence(name: str, places: Path, speak: Speak) -> None:
    arguments = [name, *(argument.format(home=places) for argument in COMMANDS[name])]
    status, out, _ = speak(*arguments, "--json")
    assert status == 0
    found = json.loads(out)
    assert (found["command"], found["version"]) == (name, thresher.__version__)
    assert CHECKS[name](found), found
    assert all(Path(path).exists() for path in found["wrote"])
    assert bool(found["wrote"]) == (name not in ("plan", "methods", "explore"))
    assert speak(*arguments, "--quiet") == (0, "", "")


def test_without_a_terminal_a_line_now_and_then_says_how_far_it_is(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("thresher.commands.screen.SIGN_SECONDS", 0.0)
    for say in (Output("score"), Output("score", quiet=True)):
        with Screen(say) as screen:
            screen.step("scoring", 1, 4)
            screen.step("scoring", 2, 4, "2 of 4")
    assert capsys.readouterr().err.splitlines() == ["scoring: 25%", "scoring: 2 of 4"]
    monkeypatch.setattr("thresher.commands.screen.SIGN_SECONDS", 60.0)
    with Screen(Output("score")) as screen:
        screen.step("scoring", 1, 4)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(("told", "each"), [("", 3), ("1", 1), ("2,1", 2), ("8", 3), ("many", 3)])
def test_cores_are_those_that_may_be_used(told: str, each: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(6)), raising=False)
    monkeypatch.setenv("OMP_NUM_THREADS", told)
    assert parallel(None, "cpu") == (6, 1)
    assert parallel(2, "cpu") == (2, each)


def test_trainings_advance_by_their_work_and_one_that_runs_by_its_epochs() -> None:
    shown: list[tuple[float, str]] = []
    screen = Screen(Output("run"))
    screen._bars = cast(Any, SimpleNamespace(show=lambda label, share, count, *_, **__: shown.append((share, count))))
    result = {"method": "random", "keep": 0.1, "seed": 0, "test_accuracy": 0.5, "reason": "no"}
    screen.notify("jobs", {"total": 2, "work": 30.0})
    screen.notify("jobs", {"total": 1, "work": 10.0})
    screen.notify("training", {"name": "a", "work": 20.0, "epoch": 3, "epochs": 4})
    screen.notify("result", {**result, "work": 20.0})
    screen.notify("failure", {**result, "work": 10.0})
    assert shown == [(0.0, "0/2"), (0.0, "0/3"), (0.375, "0/3"), (0.5, "1/3"), (0.75, "2/3")]


def test_the_table_of_results_says_of_how_many_seeds_what_is() -> None:
    rows = [
        Row("full", 1.0, 1437, 1, 98.5, None, None, None, 0, 12.34),
        Row("aum", 0.1, 144, 3, 80.0, 1.5, -2.0, 0.25, 2, 3.0, 1),
    ]
    columns = [list(column.cells) for column in results_table(rows).columns]
    assert list(zip(*columns, strict=True)) == [
        ("full", "1.0", "1437", "98.50", "", "1", "12.3"),
        ("aum", "0.1", "144", "80.00 ± 1.50", "-2.00 ± 0.25 (2 pairs)", "3 (1 diverged)", "3.0"),
    ]


def test_under_torchrun_a_rank_trains_one_at_a_time() -> None:
    for jobs in (None, 1):
        assert parallel(jobs, "cpu", ranks=2) == (1, None)
    with pytest.raises(InputError, match="no --jobs under torchrun, which starts 2 processes itself, but got 2"):
        parallel(2, "cpu", ranks=2)


def test_jobs_are_from_1_to_as_many_as_an_engine_takes() -> None:
    assert [parallel(jobs, "cuda") for jobs in (1, MOST)] == [(1, None), (MOST, None)]
    for jobs in (0, MOST + 1):
        with pytest.raises(InputError, match=f"--jobs from 1 to {MOST}, but got {jobs}"):
            parallel(jobs, "cpu")


def test_notes_go_to_stderr_and_into_the_document(tmp_path: Path, speak: Speak) -> None:
    for epoch in range(3):
        np.save(tmp_path / f"{epoch}_Output.npy", np.random.default_rng(epoch).normal(size=(20, 3)).astype(np.float32))
        np.save(tmp_path / f"{epoch}_Index.npy", np.arange(20))
    np.save(tmp_path / "targets.npy", np.arange(20) % 3)
    command = ("score", tmp_path, "--method", "entropy", "--out", tmp_path / "scores.parquet")
    note = "entropy: no evaluation pass was recorded; using the train-mode logits"
    status, out, err = speak(*command)
    assert (status, err) == (0, note + "\n")
    assert "20 samples, entropy" in out
    status, out, err = speak(*command, "--json")
    assert (status, err, json.loads(out)["notes"]) == (0, note + "\n", [note])
    status, out, err = speak(*command, "--json", "--quiet")
    assert (status, err, json.loads(out)["notes"]) == (0, "", [note])


@pytest.mark.parametrize("how", ["--json", "--quiet"])
def test_errors_are_one_line_on_stderr(how: str, home: Path, tmp_path: Path, speak: Speak) -> None:
    status, out, err = speak("score", tmp_path / "none", "--out", tmp_path / "s.parquet", how)
    assert (status, out, err.count("\n")) == (1, "", 1)
    assert err.startswith("thresher: Expected a folder")


def test_the_other_documents_of_reproduce_and_methods(places: Path, speak: Speak, monkeypatch: pytest.MonkeyPatch) -> None:
    table = ("reproduce", "table6", "--scale", "small", "--seeds", "0,1", "--jobs", "1", "--device", "cpu")
    status, out, _ = speak(*table, "--out", places / "dry", "--dry-run", "--json")
    assert status == 0
    found = json.loads(out)
    assert (found["cells"], found["to_run"], found["done"], found["recordings"]) == (2, 2, 0, 0)
    status, out, _ = speak("methods", "--json")
    assert {"tdds", "random", "auto"} <= {method["name"] for method in json.loads(out)["methods"]}


def test_what_fails_is_said_in_silence_too(places: Path, tmp_path: Path, speak: Speak) -> None:
    """A cell whose result is somebody else's fails; the others go on."""
    cell = targets.TARGETS["table6"]("small")[0].cells([0])[0]
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / f"{cell.digest}.json").write_text("{}")
    table = ("reproduce", "table6", "--scale", "small", "--seeds", "0", "--jobs", "1", "--device", "cpu", "--out", tmp_path)
    status, out, err = speak(*table, "--quiet")
    assert (status, out) == (1, "")
    assert err.startswith("failed: random at keep=0.1 on digits, seed 0: Expected the result of random")
    assert "thresher: 1 of 1 cells failed" in err.splitlines()[-1]
    status, out, _ = speak(*table, "--json")
    assert status == 1
    assert json.loads(out)["failed"][0]["method"] == "random"
    assert (tmp_path / "table6-small.md").exists()


@contextmanager
def terminal(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[bytes]]:
    """Make stderr a terminal of 160 columns and collect what is drawn there."""
    monkeypatch.setattr(bars, "_SETTLE", 0.0)  # these steps take less than the second in which no speed is told
    for name, value in {"TERM": "xterm", "COLUMNS": "160", "LINES": "40"}.items():
        monkeypatch.setenv(name, value)
    master, slave = pty.openpty()
    drawn: list[bytes] = []

    def read() -> None:
        while True:
            try:
                found = os.read(master, 65536)
            except OSError:  # the other end is closed
                return
            if not found:
                return
            drawn.append(found)

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    with os.fdopen(slave, "w") as stream:
        monkeypatch.setattr(sys, "stderr", stream)
        yield drawn
        stream.flush()
        monkeypatch.setattr(sys, "stderr", sys.__stderr__)
    reader.join(10)
    os.close(master)


BARS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "record": (
        ("--out", "{tmp}/run", "--epochs", "2", "--model", "tiny", "--device", "cpu", "--no-features"),
        ("surrogate", "2/2 epochs"),
    ),
    "score": (("{home}/recorded", "--out", "{tmp}/s.parquet", "--method", "aum"), ("scoring", "100%")),
    "select": (
        ("{home}/scores.parquet", "--method", "aum", "--keep", "9", "--out", "{tmp}/c.parquet"),
        ("pass 1 over the scores",),
    ),
    "suspects": (("{home}/recorded",), ("reading", "100%")),
    "corrupt": (("--show", "{tmp}/c.png", "--sample", "0-2"), ("drawing", "100%")),
    "train": (
        ("--coreset", "{home}/kept.parquet", "--seeds", "2-3", "--jobs", "1", "--out", "{tmp}", *SMALL),
        ("trainings", "2/2"),
    ),
    "run": (
        ("--out", "{home}/run", "--surrogate-epochs", "3", "--surrogate-batch-size", "64", *SMALL, "--model", "tiny",
         "--method", "random,el2n", "--seeds", "3", "--no-full", "--jobs", "1"),
        ("scoring", "trainings", "2/2", "report", "100%"),
    ),
    "reproduce": (
        ("table6", "--scale", "small", "--seeds", "5", "--jobs", "1", "--device", "cpu", "--out", "{tmp}"),
        ("trainings", "1/1"),
    ),
}  # fmt: skip


def test_bars_tell_the_time_that_is_left() -> None:
    now = time.monotonic()
    told = [((now - 60, 0.0, now, 0.5), "0:01:00 left"), ((now, 0.5, now, 0.5), ""), ((now - 60, 0.0, now, 1.0), "")]
    told += [((now - 60, 0.5, now, 0.5), ""), ((now, 0.2, now, 0.5), "")]  # nothing done, or in no time
    for seen, text in told:
        assert bars.TimeLeft().render(cast(Any, SimpleNamespace(fields={"seen": seen}))).plain == text


def test_a_speed_is_measured_from_what_was_not_there_before(monkeypatch: pytest.MonkeyPatch) -> None:
    now, drawn, seen = [0.0], bars.Bars(), []
    monkeypatch.setattr(bars.time, "monotonic", lambda: now[0])
    for now[0], share in ((0.0, 0.2), (0.5, 0.3), (10.0, 0.5), (11.0, 0.4), (20.0, 0.6), (30.0, 1.5)):
        drawn.show("a [red]b[/]", share, anew=share == 0.6)
        seen.append(drawn._seen["a [red]b[/]"])
    assert seen[:3] == [(0.0, 0.2, 0.0, 0.2), (0.0, 0.3, 0.5, 0.3), (0.0, 0.3, 10.0, 0.5)]  # in its first second no speed
    assert seen[3:] == [(11.0, 0.4, 11.0, 0.4), (20.0, 0.6, 20.0, 0.6), (20.0, 0.6, 30.0, 1.0)]
    (task,) = drawn._progress.tasks
    assert (task.completed, task.fields["count"]) == (1.0, "100%")
    texts = [column.render(task) for column in drawn._progress.columns if isinstance(column, TextColumn)]
    assert [text.plain for text in texts] == ["a [red]b[/]", "100%", ""]


def test_notes_above_the_bars_stay_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    note = "a [red]folder[/]" + " of a long name" * 20
    bars.Bars().print(note)
    assert capsys.readouterr().err == note + "\n"


@pytest.mark.parametrize("name", BARS)
def test_long_steps_draw_bars_in_a_terminal(
    name: str, places: Path, tmp_path: Path, speak: Speak, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments, shown = BARS[name]
    filled = [name, *(argument.format(home=places, tmp=tmp_path) for argument in arguments)]
    with terminal(monkeypatch) as drawn:
        status, out, _ = speak(*filled, "--json")
    assert status == 0
    assert json.loads(out)["command"] == name  # and nothing else is there
    text = b"".join(drawn).decode()
    assert all(part in text for part in shown), text
    with terminal(monkeypatch) as drawn:
        assert speak(*filled, "--quiet")[:2] == (0, "")
    assert not drawn

"""Scores and dynamics in the files of other tools, with the real packages where they are installed."""

from __future__ import annotations

import csv
import json
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from PIL import Image
from sklearn.linear_model import SGDClassifier

from thresher.boards import targets
from thresher.boards.cells import Cell, Entry
from thresher.coreset import Coreset
from thresher.data import load
from thresher.errors import (
    CorruptFileError,
    FingerprintError,
    InputError,
    MissingFileError,
    MissingSamplesError,
    RunDirectoryError,
    SampleIdError,
    ThresherError,
)
from thresher.exchange.aum import read_aum, write_aum
from thresher.exchange.cartography import dynamics_to_dumps, write_dynamics
from thresher.exchange.explorer import write_explorer
from thresher.exchange.frames import from_frame, to_arrow
from thresher.integrations.cleanlab import cleanlab_inputs, label_quality, suspected_label_errors
from thresher.recorder import Recorder
from thresher.replay import Request, open_source, replay
from thresher.score_table import ScoreTable, read_scores, write_scores
from thresher.scorers.aum import AUM
from thresher.scorers.tdds import TDDS
from thresher.tracking import followed, open_tracker, tracked
from thresher.train.spec import TrainSpec
from thresher.trajectory.official import OfficialDumps
from thresher.trajectory.reader import Trajectory
from thresher.trajectory.writer import TrajectoryWriter
from thresher.types import Frame, Scores

N, EPOCHS = 300, 6
DATA = load("digits")
WRONG = np.arange(0, N, 12)
TARGETS = DATA.train.targets[:N].copy()
TARGETS[WRONG] = (TARGETS[WRONG] + 1) % 10


@pytest.fixture(scope="module")
def epochs() -> list[tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]]:
    """Real dynamics: the logits and the order of six epochs of a linear model on digits, every twelfth label wrong."""
    pixels = DATA.train.images[:N].flatten(1).numpy() / 255.0  # type: ignore[attr-defined]
    model, rng = SGDClassifier("log_loss", random_state=0), np.random.default_rng(0)
    found = []
    for _ in range(EPOCHS):
        order = rng.permutation(N)
        model.partial_fit(pixels[order], TARGETS[order], classes=np.arange(10))
        found.append((model.decision_function(pixels).astype(np.float32), order))
    return found


@pytest.fixture(scope="module")
def recording(epochs: Any, tmp_path_factory: pytest.TempPathFactory) -> Trajectory:
    folder = tmp_path_factory.mktemp("recorded") / "trajectory"
    names = ("logit_margin", "change", "target_prob", "correct")
    store = TrajectoryWriter.create(folder, N, 10, names, logits="float32", info={})
    recorder = Recorder(N, 10, store=store)
    for logits, order in epochs:
        recorder.update(torch.from_numpy(logits[order]), torch.from_numpy(TARGETS[order]), torch.from_numpy(order))
        recorder.end_epoch()
    store.close()
    return Trajectory.open(folder)


@pytest.fixture(scope="module")
def table(recording: Trajectory, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("scored") / "scores.parquet"
    scores = replay(recording, [Request("aum", AUM("logit")), Request("tdds", TDDS(window=3))])
    write_scores(path, scores, targets=TARGETS)
    return path


def same(one: ScoreTable, other: ScoreTable) -> None:
    np.testing.assert_array_equal(one.targets, other.targets)
    assert list(one.columns) == list(other.columns)
    for name, scores in one.columns.items():
        np.testing.assert_array_equal(scores.values, other.columns[name].values)
        assert scores.hard_end == other.columns[name].hard_end


def test_pandas_there_and_back(table: Path) -> None:
    pandas = pytest.importorskip("pandas")
    scores = read_scores(table)
    frame = to_arrow(scores).to_pandas()
    pandas.testing.assert_frame_equal(frame, pandas.read_parquet(table))
    same(from_frame(frame.sample(frac=1, random_state=0)), scores)


def test_polars_there_and_back(table: Path) -> None:
    polars = pytest.importorskip("polars")
    scores = read_scores(table)
    frame = polars.from_arrow(to_arrow(scores))
    assert frame.equals(polars.read_parquet(table))
    same(from_frame(frame.sample(fraction=1, shuffle=True, seed=0)), scores)


def test_duckdb_there_and_back_and_over_the_store(table: Path, recording: Trajectory) -> None:
    duckdb = pytest.importorskip("duckdb")
    scores = read_scores(table)
    with duckdb.connect() as base:
        relation = base.sql(f"select * from '{table}' order by aum")
        same(from_frame(relation.to_arrow_table()), scores)
        query = (
            f"select sample_id, avg(logit_margin) from '{recording.folder}/epoch=*/bucket=*.parquet' group by 1 order by 1"
        )
        found = base.sql(query).fetchall()
    np.testing.assert_allclose([margin for _, margin in found], scores.columns["aum"].values, rtol=1e-5)


def test_frames_that_are_no_scores_are_refused() -> None:
    import pyarrow as pa

    cases: list[tuple[Any, type[ThresherError]]] = [
        ([1, 2], InputError), (pa.table({"id": [0]}), InputError),
        (pa.table({"sample_id": [0, 0], "a": [1.0, 2.0]}), SampleIdError),
        (pa.table({"sample_id": [0, 2], "a": [1.0, 2.0]}), MissingSamplesError),
        (pa.table({"sample_id": ["0"]}), SampleIdError),
        (pa.table({"sample_id": [0], "a": ["x"]}), InputError), (pa.table({"sample_id": [-1, 0]}), SampleIdError),
    ]  # fmt: skip
    for frame, error in cases:
        with pytest.raises(error):
            from_frame(frame)


def test_aum_there_and_back(table: Path, tmp_path: Path) -> None:
    scores = read_scores(table).columns["aum"]
    write_aum(scores, tmp_path / "aum_values.csv")
    np.testing.assert_array_equal(read_aum(tmp_path / "aum_values.csv", N).values, scores.values)
    with pytest.raises(InputError, match="margin=logit"):
        write_aum(Scores(scores.values, "low", {"scorer": "aum", "params": {"margin": "prob"}}), tmp_path / "no.csv")
    with pytest.raises(SampleIdError, match="another data set"):
        read_aum(tmp_path / "aum_values.csv", N - 1)
    whole = (tmp_path / "aum_values.csv").read_bytes()
    for cut in (0, 5, 13, 20, 500):
        (tmp_path / "cut.csv").write_bytes(whole[:cut].rpartition(b",")[0] if cut > 13 else whole[:cut])
        if cut != 13:
            with pytest.raises(CorruptFileError):
                read_aum(tmp_path / "cut.csv", N)


def test_the_aum_package_writes_what_we_read(epochs: Any, table: Path, tmp_path: Path) -> None:
    """The package itself on the same logits gives the same file as our scorer."""
    aum = pytest.importorskip("aum")
    calculator = aum.AUMCalculator(str(tmp_path))
    for logits, order in epochs:
        calculator.update(torch.from_numpy(logits[order]), torch.from_numpy(TARGETS[order]), order.tolist())
    calculator.finalize()
    theirs, ours = read_aum(tmp_path / "aum_values.csv", N), read_scores(table).columns["aum"]
    np.testing.assert_allclose(theirs.values, ours.values, rtol=1e-4, atol=1e-5)


def test_cartography_there_and_back(recording: Trajectory, table: Path, tmp_path: Path) -> None:
    assert write_dynamics(recording, tmp_path / "model") == EPOCHS
    first = json.loads((tmp_path / "model" / "training_dynamics" / "dynamics_epoch_3.jsonl").read_text().splitlines()[7])
    assert list(first) == ["guid", "logits_epoch_3", "gold"]
    assert dynamics_to_dumps(tmp_path / "model", tmp_path / "dumps") == list(range(N))
    scores = replay(open_source(tmp_path / "dumps"), [Request("tdds", TDDS(window=3))])["tdds"]
    np.testing.assert_allclose(scores.values, read_scores(table).columns["tdds"].values, rtol=1e-5, atol=1e-6)


def test_cartography_of_texts_shuffled(epochs: Any, tmp_path: Path) -> None:
    """Guids as NLI data sets have them, another order every epoch, and the name that the authors' reader looks for."""
    for epoch, (logits, order) in enumerate(epochs):
        lines = [{"guid": f"q{i}", f"logits_epoch_{epoch}": logits[i].tolist(), "gold": int(TARGETS[i])} for i in order]
        (tmp_path / f"dynamics_epoch_{epoch}.json").write_text("\n".join(map(json.dumps, lines)))
    guids = dynamics_to_dumps(tmp_path, tmp_path / "dumps")
    ids = np.array([int(str(guid)[1:]) for guid in guids])
    dumps = OfficialDumps(tmp_path / "dumps")
    assert dumps.targets is not None
    np.testing.assert_array_equal(dumps.targets, TARGETS[ids])
    np.testing.assert_array_equal(dumps.rows(5, np.arange(N)), epochs[5][0][ids])


LINE = '{"guid": 0, "logits_epoch_0": [1.0, 2.0], "gold": 1}\n'
BAD_JSONL = {
    "empty": "", "cut off": LINE + LINE[:30], "not JSON": "sample_id,aum\n1,2\n", "a list": "[1]\n", "twice": LINE + LINE,
    "other epoch": LINE.replace("epoch_0", "epoch_1"), "no gold": '{"guid": 0, "logits_epoch_0": [1.0, 2.0]}',
    "gold out of range": LINE.replace('"gold": 1', '"gold": 2'),
    "nan": LINE.replace("2.0", "NaN"), "text": LINE.replace("2.0", '"x"'),
    "classes change": LINE + '{"guid": 1, "logits_epoch_0": [1.0, 2.0, 3.0], "gold": 1}',
    "no id": LINE.replace("0,", "null,", 1), "nested": "[" * 100_000, "huge": LINE.replace("2.0", "1" + "0" * 400),
    "more than 32 bits": LINE.replace("2.0", "1e39"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD_JSONL)
def test_bad_dynamics_are_one_clear_error(tmp_path: Path, case: str) -> None:
    (tmp_path / "dynamics_epoch_0.jsonl").write_text(BAD_JSONL[case])
    with pytest.raises(ThresherError, match="dynamics_epoch_0"):
        dynamics_to_dumps(tmp_path, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_cleanlab_finds_the_wrong_labels(recording: Trajectory) -> None:
    labels, pred_probs = cleanlab_inputs(recording)
    np.testing.assert_array_equal(labels, TARGETS)
    np.testing.assert_allclose(pred_probs.sum(axis=1), 1, rtol=1e-5)
    pytest.importorskip("cleanlab")
    quality, suspects = label_quality(recording), suspected_label_errors(recording)
    assert quality.hard_end == "low"
    found = np.isin(suspects, WRONG)
    assert found.sum() >= 8  # a third of the 25: confident learning is careful
    assert found.mean() > 0.8
    assert np.median(quality.values[WRONG]) < np.median(np.delete(quality.values, WRONG))


def test_the_explorers_table(table: Path, tmp_path: Path) -> None:
    for i in range(30):
        place = tmp_path / "train" / str(int(DATA.train.targets[i]))
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(DATA.train.image(i)[..., 0]).save(place / f"{i}.png")
    (tmp_path / "val").symlink_to("train")
    pictures: Any = load("folder", tmp_path, image_size=8)
    scores = ScoreTable(30, pictures.train.targets, {"aum": Scores(np.r_[np.nan, np.arange(29.0)], "low")})
    write_explorer(tmp_path / "e.csv", pictures.train, scores, Coreset(np.array([3]), None, 30), pictures.class_names)
    lines = (tmp_path / "e.csv").read_text().splitlines()
    assert lines[0] == "filepath,sample_id,label,kept,aum"
    path, sample_id, label, kept, aum = lines[4].split(",")
    assert (sample_id, kept, aum) == ("3", "True", "2.0")
    assert Path(path).parent.name == label
    assert lines[1].endswith(",")
    first = pictures.train.path(0)
    first.rename(first.with_name("caf\udce9.png"))
    pictures = load("folder", tmp_path, image_size=8)
    with pytest.raises(InputError, match=r"UTF-8, but got .*caf\\xe9\.png'"):
        write_explorer(tmp_path / "f.csv", pictures.train, scores)


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")
@pytest.mark.parametrize("kind", ["tensorboard", "mlflow"])
def test_trackers_keep_what_a_study_tells(tmp_path: Path, kind: str) -> None:
    pytest.importorskip(kind)
    tracker = open_tracker(f"{kind}:{tmp_path / 'tracked'}", "digits")
    tracker.params({"data": "digits", "train": {"lr": 0.1}})
    notify = followed(lambda event, details: None, tracker)
    notify("epoch", {"epoch": 1, "epochs": 2, "loss": 0.5})
    notify("result", {"method": "tdds:window=5", "keep": 0.1, "seed": 2, "test_accuracy": 0.75})
    tracker.close()
    if kind == "tensorboard":
        from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

        read = EventAccumulator(str(tmp_path / "tracked" / "digits"))
        read.Reload()
        assert [(e.step, e.value) for e in read.Scalars("surrogate/loss")] == [(1, 0.5)]
        assert [(e.step, e.value) for e in read.Scalars("test_accuracy/tdds:window=5/0.1")] == [(2, 0.75)]
    else:
        (metric,) = (tmp_path / "tracked").rglob("metrics/surrogate/loss")
        assert metric.read_text().split()[1:3] == ["0.5", "1"]
        assert [p.read_text() for p in (tmp_path / "tracked").rglob("params/train.lr")] == ["0.1"]


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")
@pytest.mark.parametrize(
    ("error", "status"), [(None, "FINISHED"), (ThresherError("no"), "FAILED"), (KeyboardInterrupt(), "KILLED")]
)
def test_mlflow_says_how_a_run_ended(tmp_path: Path, error: BaseException | None, status: str) -> None:
    pytest.importorskip("mlflow")
    from mlflow.entities import RunStatus

    with suppress(ThresherError, KeyboardInterrupt), tracked(f"mlflow:{tmp_path / 'tracked'}", "digits", {"lr": 0.1}):
        if error is not None:
            raise error
    (meta,) = (path for path in (tmp_path / "tracked").rglob("meta.yaml") if "run_id" in path.read_text())
    assert f"status: {RunStatus.from_string(status)}" in meta.read_text()


@pytest.mark.parametrize("spec", ["wandb:x", "tensorboard", "mlflow:", ":x"])
def test_unknown_trackers_are_refused(spec: str) -> None:
    with pytest.raises(ThresherError, match="--track"):
        open_tracker(spec, "run")


def test_a_run_is_tracked_from_the_command_line(tmp_path: Path, call: Any) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    small = ("--surrogate-epochs", 2, "--surrogate-batch-size", 128, "--epochs", 1, "--batch-size", 128, "--device", "cpu")
    less = ("--method", "random", "--seeds", "3", "--no-full", "--no-report", "--jobs", 1)
    call("run", "--out", tmp_path / "mine", *small, *less, "--track", f"tensorboard:{tmp_path / 'tracked'}")
    read = EventAccumulator(str(tmp_path / "tracked" / "mine"))
    read.Reload()
    assert [e.step for e in read.Scalars("surrogate/loss")] == [1, 2]
    (result,) = read.Scalars("test_accuracy/random/0.1")
    assert result.step == 3
    assert 0 < result.value < 1
    assert "--track" in call.refused("run", "--out", tmp_path / "other", *small, *less, "--track", "wandb:x")


def test_every_training_command_is_tracked(tmp_path: Path, call: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    def scalars(name: str) -> dict[str, list[int]]:
        read = EventAccumulator(str(tmp_path / "tb" / name))
        read.Reload()
        return {tag: [event.step for event in read.Scalars(tag)] for tag in read.Tags()["scalars"]}

    track = ("--track", f"tensorboard:{tmp_path / 'tb'}", "--device", "cpu")
    tiny = ("--model", "tiny", "--batch-size", 256)
    call("record", "--out", tmp_path / "recorded", "--epochs", 2, "--no-features", *tiny, *track)
    assert scalars("recorded") == {"surrogate/loss": [1, 2]}
    call("train", "--out", tmp_path / "trained", "--epochs", 2, "--seeds", "4", "--jobs", 1, *tiny, *track)
    assert scalars("trained") == {"full 1 (seed 4)/loss": [1, 2], "test_accuracy/full/1": [4]}
    cell = Cell("digits", "random", 0.1, TrainSpec("tiny"), TrainSpec("tiny", epochs=1, batch_size=64))
    cells = [cell, replace(cell, coreset=replace(cell.coreset, batch_size=128))]
    monkeypatch.setitem(targets.TARGETS, "table6", lambda scale: [Entry("table6", c, {"method": "random"}) for c in cells])
    call("reproduce", "table6", "--out", tmp_path / "board", "--seeds", "5", "--jobs", 1, *track)
    kinds = [f"tiny on digits, 1 epochs, batch {batch}" for batch in (64, 128)]
    accuracies = {f"test_accuracy/{kind}/random/0.1": [5] for kind in kinds}
    losses = {f"{kind}/random 0.1 (seed 5)/loss": [1] for kind in kinds}
    assert scalars("table6-full") == accuracies | losses


def test_aum_files_take_no_other_score(tmp_path: Path) -> None:
    scores = Scores(np.array([0.5, 0.9], np.float32), "low", {"scorer": "mean_prob", "params": {}})
    with pytest.raises(InputError, match="Expected scores of aum, but these are of mean_prob"):
        write_aum(scores, tmp_path / "aum_values.csv")
    assert not list(tmp_path.iterdir())


def test_a_target_column_with_a_hole_is_named() -> None:
    for target in (pa.array([1, None, None], pa.int64()), pa.array([1.0, None, None])):
        with pytest.raises(InputError, match="Expected a label in every row of target, but 2 labels are missing"):
            from_frame(pa.table({"sample_id": [0, 1, 2], "target": target, "el2n": [0.1, 0.2, 0.3]}))


def short(folder: Path, epochs: int, value: float) -> Path:
    """Write cartography's files of two samples."""
    (folder / "training_dynamics").mkdir(parents=True)
    for epoch in range(epochs):
        lines = [json.dumps({"guid": guid, f"logits_epoch_{epoch}": [value, 0.0], "gold": 0}) for guid in range(2)]
        (folder / "training_dynamics" / f"dynamics_epoch_{epoch}.jsonl").write_text("\n".join(lines))
    return folder


def test_a_shorter_export_leaves_no_later_epochs_of_a_longer_one(tmp_path: Path) -> None:
    long, brief, dumps = short(tmp_path / "long", 5, 9.0), short(tmp_path / "brief", 3, 1.0), tmp_path / "dumps"
    dynamics_to_dumps(long, dumps)
    for name in ("Output", "Index"):
        for epoch in range(3):
            (dumps / f"{epoch}_{name}.npy").unlink()
    for name in ("targets.npy", "guids.json"):
        (dumps / name).unlink()
    with pytest.raises(RunDirectoryError, match=r"3_Index\.npy is of an epoch that this export of 3 epochs does not have"):
        dynamics_to_dumps(brief, dumps)
    assert len(list(dumps.iterdir())) == 4
    (dumps / "9_notes.txt").write_text("mine")
    dynamics_to_dumps(brief, dumps, force=True)
    assert OfficialDumps(dumps).epochs == 3
    assert (dumps / "9_notes.txt").exists()


def test_shorter_dynamics_leave_no_later_epochs_of_longer_ones(tmp_path: Path) -> None:
    for epochs in (4, 2):
        with TrajectoryWriter.create(tmp_path / f"{epochs}", 2, 2, ["loss"], logits="float32") as store:
            for epoch in range(epochs):
                frame = Frame(epoch, np.arange(2), {"loss": np.ones(2, np.float32)}, 2)
                store.append(frame, np.full((2, 2), epochs, np.float32), targets=np.zeros(2, np.int64))
    write_dynamics(Trajectory.open(tmp_path / "4"), tmp_path / "out")
    brief = Trajectory.open(tmp_path / "2")
    for epoch in range(2):
        (tmp_path / "out" / "training_dynamics" / f"dynamics_epoch_{epoch}.jsonl").unlink()
    with pytest.raises(RunDirectoryError, match=r"dynamics_epoch_2\.jsonl is of an epoch that this export"):
        write_dynamics(brief, tmp_path / "out")
    assert write_dynamics(brief, tmp_path / "out", force=True) == 2
    found = sorted(path.name for path in (tmp_path / "out" / "training_dynamics").iterdir())
    assert found == ["dynamics_epoch_0.jsonl", "dynamics_epoch_1.jsonl"]


def test_dynamics_that_break_off_leave_the_dumps_as_they_were(tmp_path: Path) -> None:
    whole, broken, dumps = short(tmp_path / "whole", 3, 9.0), short(tmp_path / "broken", 3, 1.0), tmp_path / "dumps"
    last = broken / "training_dynamics" / "dynamics_epoch_2.jsonl"
    last.write_text(last.read_text()[:-5])
    with pytest.raises(CorruptFileError, match="truncated"):
        dynamics_to_dumps(broken, dumps)
    assert not dumps.exists()
    dynamics_to_dumps(whole, dumps)
    before = {path.name: path.read_bytes() for path in dumps.iterdir()}
    with pytest.raises(CorruptFileError, match="truncated"):
        dynamics_to_dumps(broken, dumps, force=True)
    assert {path.name: path.read_bytes() for path in dumps.iterdir()} == before


def test_an_epoch_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    place = short(tmp_path, 2, 1.0) / "training_dynamics"
    (place / "dynamics_epoch_1.json").write_bytes((place / "dynamics_epoch_1.jsonl").read_bytes())
    with pytest.raises(InputError, match=r"epoch_1\.jsonl and dynamics_epoch_1\.json"):
        dynamics_to_dumps(tmp_path, tmp_path / "dumps")


def test_numbers_that_32_bits_cannot_hold_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"32-bit numbers in the column el2n, but got 1e\+300"):
        from_frame(pa.table({"sample_id": [0, 1], "el2n": [1e300, 1.0]}))
    assert np.isinf(from_frame(pa.table({"sample_id": [0, 1], "el2n": [np.inf, 1.0]})).columns["el2n"].values[0])
    (tmp_path / "aum_values.csv").write_text("sample_id,aum\n0,1e300\n")
    with pytest.raises(CorruptFileError, match=r"line 2.*'1e300' is not a finite 32-bit number"):
        read_aum(tmp_path / "aum_values.csv", 2)


def test_frames_need_every_column_once_and_a_number_in_every_row() -> None:
    ids = pa.array([1, 0])
    cases: list[tuple[Any, type[ThresherError], str]] = [
        (pa.Table.from_arrays([ids, ids, ids], ["sample_id", "a", "a"]), InputError, "every column once"),
        (pa.table({"sample_id": [0, None]}), SampleIdError, "integer in every row of sample_id, but 1 rows have none"),
        (pa.table({"sample_id": pa.array([], pa.int64())}), MissingSamplesError, "there is none"),
        (pa.table({"sample_id": [0, 1, 3]}), MissingSamplesError, "sample 2 has none"),
        (pa.table({"sample_id": [-1, 0]}), SampleIdError, "-1 is negative"),
        (
            pa.table({"sample_id": [0, 1], "target": [0.5, 1.0]}),
            InputError,
            "labels in the column target, but got double.*0.5",
        ),
        (pa.table({"sample_id": [0, 1], "target": ["a", "b"]}), InputError, "labels in the column target, but got string"),
        (pa.table({"sample_id": [0], "target": pa.array([2**63], pa.uint64())}), InputError, "not in range"),
        (pa.table({"sample_id": [0, 1], "a": [True, False]}), InputError, "numbers in the column a, but got bool"),
    ]
    for frame, error, said in cases:
        with pytest.raises(error, match=said):
            from_frame(frame)
    frame = {"sample_id": ids, "target": [7, 5], "rank": [3, 4], "aum": [0.5, None], "__index_level_0__": [8, 9]}
    read = from_frame(pa.table(frame), {"rank": "low"})
    assert read.targets is not None
    assert (read.targets.tolist(), list(read.columns)) == ([5, 7], ["rank", "aum"])
    assert read.columns["rank"].values.tolist() == [4.0, 3.0]
    assert np.isnan(read.columns["aum"].values).tolist() == [True, False]
    assert [scores.hard_end for scores in read.columns.values()] == ["low", "low"]
    assert from_frame(pa.table(frame), {"aum": "high"}).columns["aum"].hard_end == "high"
    for name in ("marign", "sample_id", "target"):  # what is misspelt would be of the other end without a word
        with pytest.raises(InputError, match=f"hard ends of score columns, but got {name} for sample_id, target, rank, aum"):
            from_frame(pa.table(frame).drop(["__index_level_0__"]), {name: "low"})


def test_frames_of_names_say_how_to_number_them() -> None:
    with pytest.raises(InputError, match="Rename the column of positions, make it one if it is an index"):
        from_frame(pa.table({"uid": ["a"], "loss": [0.5]}))
    with pytest.raises(SampleIdError, match=r"but got string.*number them: np\.unique"):
        from_frame(pa.table({"sample_id": ["b", "a"], "loss": [0.5, 0.25]}))
    with pytest.raises(MissingSamplesError, match=r"sample 0 has none\. Ids count from 0"):
        from_frame(pa.table({"sample_id": [1, 2], "loss": [0.5, 0.25]}))


def test_whole_floats_are_labels_and_decimals_scores() -> None:
    """pandas makes labels floats where it joins, and DuckDB reads 0.5 as a decimal."""
    half = pa.array([0.5, 0.25]).cast(pa.decimal128(18, 6))
    for target in (pa.array([7.0, 5.0]), pa.array([7, 5]).cast(pa.decimal128(38, 0)), pa.array([7, 5], pa.uint8())):
        read = from_frame(pa.table({"sample_id": [1, 0], "target": target, "el2n": half}))
        assert read.targets is not None
        assert (read.targets.tolist(), read.targets.dtype) == ([5, 7], np.int64)
        assert read.columns["el2n"].values.tolist() == [0.25, 0.5]


def test_aum_files_hold_the_largest_margin_first(tmp_path: Path) -> None:
    path = tmp_path / "aum_values.csv"
    write_aum(Scores(np.ones(40, np.float32), "low"), path)
    assert list(np.loadtxt(path, delimiter=",", skiprows=1)[:, 0]) == list(range(40))  # where they are equal, by id
    path.unlink()
    write_aum(Scores(np.array([0.1, 2.0, np.nan, 2.0], np.float32), "low"), path)
    assert path.read_text() == "sample_id,aum\n1,2.0\n3,2.0\n0,0.1\n"
    with pytest.raises(RunDirectoryError, match="already exists"):
        write_aum(Scores(np.zeros(2, np.float32), "low"), path)
    read = read_aum(path, 5)
    assert (read.hard_end, read.source["params"]) == ("low", {"margin": "logit", "skip": 0})
    assert np.isnan(read.values).tolist() == [False, False, True, False, True]
    with pytest.raises(InputError, match="these scores say high"):
        write_aum(Scores(np.zeros(2, np.float32)), tmp_path / "other.csv")
    path.write_text("sample_id,aum\n0,1\n1,2\n0,3\n")
    with pytest.raises(SampleIdError, match="line 4 has 0 again"):
        read_aum(path, 2)


def dynamics(folder: Path, *epochs: list[tuple[Any, Any, Any]]) -> Path:
    """Write cartography's files of (guid, logits, gold)."""
    folder.mkdir(parents=True)
    for epoch, rows in enumerate(epochs):
        lines = [json.dumps({"guid": guid, f"logits_epoch_{epoch}": row, "gold": gold}) for guid, row, gold in rows]
        (folder / f"dynamics_epoch_{epoch}.jsonl").write_text("\n\n".join(lines))
    return folder


@pytest.mark.parametrize(
    ("guids", "listed"),
    [([2, 0, 1], [0, 1, 2]), ([7, 0, 3], [7, 0, 3]), (["2", "0", "1"], ["2", "0", "1"]), ([0, "1", 2], [0, "1", 2])],
    ids=str,
)
def test_guids_that_count_are_the_sample_ids(guids: list[Any], listed: list[Any], tmp_path: Path) -> None:
    rows = [(guid, [float(place), 9.0, 8.0], place) for place, guid in enumerate(guids)]
    place = dynamics(tmp_path / "a", rows, rows[::-1])
    (place / "dynamics_epoch_2.jsonl.old").write_text("notes")
    assert dynamics_to_dumps(place, tmp_path / "out") == listed
    assert json.loads((tmp_path / "out" / "guids.json").read_text()) == listed
    dumps, back = OfficialDumps(tmp_path / "out"), [guids.index(guid) for guid in listed]
    assert dumps.targets is not None
    assert (dumps.epochs, dumps.targets.tolist()) == (2, back)
    for epoch in range(2):
        assert dumps.rows(epoch, np.arange(3))[:, 0].tolist() == back


FIRST = [(0, [1.0, 2.0], 1), (1, [3.0, 4.0], 0)]


@pytest.mark.parametrize(
    ("second", "error", "said"),
    [
        ([FIRST[0], (2, [1.0, 2.0], 0)], SampleIdError, "guid 2 is new there"),
        (FIRST[:1], MissingSamplesError, "Expected the 2 samples of epoch 0 .* but it has 1"),
        ([FIRST[0], (1, [3.0, 4.0], 1)], InputError, "same classes and labels"),
        ([(0, [1.0, 2.0, 0.0], 1), (1, [3.0, 4.0, 0.0], 0)], InputError, "same classes and labels"),
        ([FIRST[0], (True, [3.0, 4.0], 0)], CorruptFileError, "line 3, .* guid must be"),
        ([FIRST[0], (1, [3.0, 4.0], False)], CorruptFileError, "gold an integer"),
        ([FIRST[0], (1, [3.0, 4.0], -1)], CorruptFileError, "gold -1 is not one of 2 classes"),
        ([(0, [1.0], 0)], CorruptFileError, "expected at least 2 finite logits"),
        ([(0, [[1.0, 2.0], [1.0, 2.0]], 0)], CorruptFileError, "expected at least 2 finite logits"),
    ],
)
def test_dynamics_of_other_samples_are_refused(second: Any, error: type[ThresherError], said: str, tmp_path: Path) -> None:
    place = dynamics(tmp_path / "a", FIRST, second)
    with pytest.raises(error, match=said) as refused:
        dynamics_to_dumps(place, tmp_path / "out")
    assert "dynamics_epoch_1.jsonl" in str(refused.value)
    assert not (tmp_path / "out").exists()


def test_dynamics_without_a_first_epoch_are_none(tmp_path: Path) -> None:
    place = dynamics(tmp_path / "a", FIRST, FIRST, FIRST)
    for epoch, left in ((1, "0, 2"), (0, "2")):
        (place / f"dynamics_epoch_{epoch}.jsonl").unlink()
        with pytest.raises(MissingFileError, match=rf"without a gap, .* there are epochs \[{left}\]"):
            dynamics_to_dumps(place, tmp_path / "out")


def test_neither_dumps_nor_dynamics_are_replaced_without_force(recording: Trajectory, tmp_path: Path) -> None:
    place = dynamics(tmp_path / "a", FIRST)
    dynamics_to_dumps(place, tmp_path / "out")
    with pytest.raises(RunDirectoryError, match=r"0_Output\.npy already exists"):
        dynamics_to_dumps(place, tmp_path / "out")
    dynamics_to_dumps(place, tmp_path / "out", force=True)
    write_dynamics(recording, tmp_path / "model")
    with pytest.raises(RunDirectoryError, match=r"dynamics_epoch_0\.jsonl already exists"):
        write_dynamics(recording, tmp_path / "model")


def test_dynamics_want_logits_targets_and_every_sample(tmp_path: Path) -> None:
    kinds: dict[str, dict[str, Any]] = {"bare": {}, "unlabelled": {"logits": "float32"}, "holes": {"logits": "float32"}}
    for name, options in kinds.items():
        with TrajectoryWriter.create(tmp_path / name, 3, 2, ["loss"], **options) as store:
            ids = np.arange(3) if name != "holes" else np.array([0, 2])
            frame = Frame(0, ids, {"loss": np.ones(len(ids), np.float32)}, 3)
            logits = np.ones((len(ids), 2), np.float32) if options else None
            store.append(frame, logits, targets=None if name == "unlabelled" else np.zeros(3, np.int64))
    for name in ("bare", "unlabelled"):
        with pytest.raises(InputError, match="Expected a recording with logits and targets"):
            write_dynamics(Trajectory.open(tmp_path / name), tmp_path / "out")
    with pytest.raises(MissingSamplesError, match="sample 1 is missing from epoch 0"):
        write_dynamics(Trajectory.open(tmp_path / "holes"), tmp_path / "out")
    assert not (tmp_path / "out" / "training_dynamics").exists()


class Named:
    """Two pictures, named from where the program runs."""

    root = Path("pictures")

    def __len__(self) -> int:
        return 2

    def path(self, sample_id: int) -> Path:
        return self.root / f"{sample_id}.png"


def test_the_explorers_table_takes_names_that_end_a_line(tmp_path: Path) -> None:
    class Odd(Named):
        def path(self, sample_id: int) -> Path:
            return Path("/pictures", ("a\rb.png", "a\nb.png")[sample_id])

    write_explorer(tmp_path / "odd.csv", Odd(), ScoreTable(2, None, {"el2n": Scores(np.zeros(2, np.float32))}))
    with (tmp_path / "odd.csv").open(newline="") as file:
        assert [row["filepath"] for row in csv.DictReader(file)] == ["/pictures/a\rb.png", "/pictures/a\nb.png"]


def test_the_explorers_table_has_the_columns_that_are_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    scores = {"el2n": Scores(np.array([0.1, 0.5], np.float32))}
    write_explorer("bare.csv", Named(), ScoreTable(2, None, scores))
    at = tmp_path.resolve() / "pictures"
    assert Path("bare.csv").read_text() == f"filepath,sample_id,el2n\n{at}/0.png,0,0.1\n{at}/1.png,1,0.5\n"
    labelled = ScoreTable(2, np.array([1, 0]), scores)
    write_explorer("labelled.csv", Named(), labelled)
    assert [line.split(",")[2] for line in Path("labelled.csv").read_text().splitlines()] == ["label", "1", "0"]
    write_explorer("named.csv", Named(), labelled, class_names=("cat", "dog"))
    assert [line.split(",")[2] for line in Path("named.csv").read_text().splitlines()] == ["label", "dog", "cat"]
    write_explorer("unnamed.csv", Named(), ScoreTable(2, np.array([-1, 2]), scores), class_names=("cat", "dog"))
    assert [line.split(",")[2] for line in Path("unnamed.csv").read_text().splitlines()] == ["label", "-1", "2"]
    with pytest.raises(RunDirectoryError, match="already exists"):
        write_explorer("named.csv", Named(), labelled)
    three = ScoreTable(3, None, {"el2n": Scores(np.zeros(3, np.float32))})
    for table, coreset in ((three, None), (three, Coreset([0], None, 3)), (labelled, Coreset([0], None, 3))):
        with pytest.raises(FingerprintError, match=r"they have \[2, 3\] samples"):
            write_explorer("other.csv", Named(), table, coreset)

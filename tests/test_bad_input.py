"""Bad input as a user meets it, at the command line: exit status 1, one clear line, and nothing lost."""

from __future__ import annotations

import json
import os
import pickle
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from thresher.coreset import Coreset
from thresher.data import load
from thresher.errors import RunDirectoryError
from thresher.experiments.recording import record
from thresher.files import seal_of
from thresher.score_table import read_scores, write_scores
from thresher.train.spec import TrainSpec
from thresher.trajectory.reader import Trajectory
from thresher.types import Scores

GOLDEN = np.load(Path(__file__).parent / "golden" / "tdds_official_real_dynamics.npz")
N, CLASSES, EPOCHS = 400, 10, 5


@pytest.fixture(autouse=True)
def one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let commands that train in this process leave torch at one thread, as all tests have it."""
    monkeypatch.setattr("os.cpu_count", lambda: 1)


def contents(folder: Path) -> dict[str, bytes]:
    """Return every file below a folder but locks."""
    files = (p for p in folder.rglob("*") if p.is_file() and p.suffix != ".lock")
    return {str(p.relative_to(folder)): p.read_bytes() for p in files}


# ---- official dumps


def altered(array: Any, index: Any, value: Any) -> Any:
    """Return a copy with one entry replaced."""
    copy = array.copy()
    copy[index] = value
    return copy


def logits(epoch: int) -> Any:
    return GOLDEN["logits"][epoch].astype(np.float32)[GOLDEN["orders"][epoch]]


ORDER = GOLDEN["orders"][3]
DUMPS: dict[str, tuple[str, Any, str]] = {
    "NaN": ("3_Output.npy", altered(logits(3), (5, 2), np.nan), "Expected finite logits, but row 5"),
    "infinity": ("3_Output.npy", altered(logits(3), (5, 2), np.inf), "Expected finite logits, but row 5"),
    "wrong C": ("3_Output.npy", logits(3)[:, :9], "Expected logits of shape (400, 10)"),
    "missing samples": ("3_Output.npy", logits(3)[:300], "drop_last=False"),
    "ids out of range": ("3_Index.npy", altered(ORDER, 0, 400), "Expected ids in [0, 400)"),
    "float ids": ("3_Index.npy", ORDER * 1.0, "integer ids"),
    "duplicated ids": ("3_Index.npy", altered(ORDER, 0, ORDER[1]), "Expected every id once"),
    "objects": ("3_Index.npy", np.array([print] * N, dtype=object), "could run code"),
    "too few targets": ("targets.npy", GOLDEN["targets"][:5], "400 integer labels"),
    "missing epoch": ("2_Output.npy", None, "2_Output.npy"),
    "cut off": ("3_Output.npy", b"", "3_Output.npy"),
}


@pytest.mark.parametrize("case", DUMPS)
def test_dumps(case: str, tmp_path: Path, call: Any) -> None:
    name, content, message = DUMPS[case]
    folder, out = tmp_path / "dumps", tmp_path / "scores.parquet"
    folder.mkdir()
    for epoch in range(EPOCHS):
        np.save(folder / f"{epoch}_Output.npy", logits(epoch))
        np.save(folder / f"{epoch}_Index.npy", GOLDEN["orders"][epoch])
    call("score", folder, "--window", 3, "--out", out)
    before = out.read_bytes()
    if content is None:
        (folder / name).unlink()
    elif isinstance(content, bytes):
        (folder / name).write_bytes((folder / name).read_bytes()[:5000])
    else:
        np.save(folder / name, content, allow_pickle=True)
    assert message in call.refused("score", folder, "--window", 3, "--out", out)
    assert out.read_bytes() == before


# ---- a run directory


RUN = ("--method", "random,el2n", "--seeds", "0", "--no-full", "--jobs", "1", "--device", "cpu")
SMALL = ("--surrogate-epochs", "3", "--surrogate-batch-size", "128", "--epochs", "1", "--batch-size", "64")


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run on digits."""
    from click.testing import CliRunner

    from thresher.cli import app

    out = tmp_path_factory.mktemp("finished") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("os.cpu_count", lambda: 1)
        result = CliRunner().invoke(app, ["run", "--out", str(out), *RUN, *SMALL], catch_exceptions=False)
    assert result.exit_code == 0
    return out


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> Path:
    """A copy of it that may be damaged."""
    return Path(shutil.copytree(finished, tmp_path / "run"))


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


@pytest.mark.parametrize("content", ['{"data": ', "null", "[]", '"x"', "", "\xff"])
def test_a_run_with_a_broken_spec_is_left_alone(run: Path, content: str, call: Any) -> None:
    (run / "spec.json").write_text(content, encoding="latin1")
    before = contents(run)
    line = call.refused("run", "--out", run, *RUN, *SMALL)
    assert "spec.json" in line
    assert "Restore it from a copy, or choose another --out" in line
    assert contents(run) == before


@pytest.mark.parametrize("content", ['{"seed": ', "null", "[]", "{}", '{"test_accuracy": null}', '{"test_accuracy": true}'])
def test_a_broken_result_is_named(run: Path, content: str, call: Any) -> None:
    path = next((run / "results").glob("el2n*.json"))
    path.write_text(content)
    line = call.refused("run", "--out", run, *RUN, *SMALL)
    assert path.name in line
    assert "Delete it and run the same command again" in line


@pytest.mark.parametrize("content", ["{", "null", '"x"'])
def test_a_broken_environment_is_named(run: Path, content: str, call: Any) -> None:
    (run / "env.json").write_text(content)
    assert "env.json" in call.refused("run", "--out", run, *RUN, *SMALL)


@pytest.mark.parametrize("content", [None, "", "{", "[]", '{"format": 1}'])
def test_a_run_without_its_manifest_keeps_its_epochs(run: Path, content: str | None, call: Any) -> None:
    manifest = run / "trajectory" / "manifest.json"
    if content is None:
        manifest.unlink()
    else:
        manifest.write_text(content)
    before = contents(run / "trajectory")
    assert "manifest.json" in call.refused("run", "--out", run, *RUN, *SMALL)
    assert contents(run / "trajectory") == before


def test_what_is_gone_or_good_again_is_gone_on_with(run: Path, call: Any) -> None:
    """A result that was deleted is made again, an environment written, a manifest that came back read."""
    result, manifest = next((run / "results").glob("el2n*.json")), run / "trajectory" / "manifest.json"
    before, good = json.loads(result.read_text()), manifest.read_bytes()
    result.unlink()
    (run / "env.json").unlink()
    manifest.unlink()
    call.refused("run", "--out", run, *RUN, *SMALL)
    manifest.write_bytes(good)
    call("run", "--out", run, *RUN, *SMALL)
    assert json.loads(result.read_text())["test_accuracy"] == before["test_accuracy"]
    assert (run / "env.json").is_file()


@pytest.mark.parametrize("name", ["epoch=0001/bucket=000.parquet", "targets.parquet"])
@pytest.mark.parametrize("damage", [cut, lambda path: path.unlink()], ids=["cut off", "gone"])
def test_a_damaged_store_file_is_named(run: Path, name: str, damage: Any, tmp_path: Path, call: Any) -> None:
    damage(run / "trajectory" / name)
    out = tmp_path / "scores.parquet"
    assert name in call.refused("score", run, "--method", "el2n", "--out", out)
    assert not out.exists()
    said = call.refused("run", "--out", run, *RUN, *SMALL)  # which would train nothing
    assert name in said
    assert "record into a new --out" in said


def test_damaged_scores_and_coresets_are_named(run: Path, tmp_path: Path, call: Any) -> None:
    cut(run / "scores.parquet")
    assert "scores.parquet" in call.refused(
        "select", run / "scores.parquet", "--method", "el2n", "--keep", "0.1", "--out", tmp_path / "c.parquet"
    )
    path = next((run / "coresets").glob("el2n*.parquet"))
    cut(path)
    assert path.name in call.refused("train", "--coreset", path, "--epochs", 1, "--out", tmp_path / "train")
    assert not (tmp_path / "c.parquet").exists()


def test_a_damaged_checkpoint_is_named_and_the_recording_kept(tmp_path: Path, call: Any) -> None:
    out = tmp_path / "run"
    record = ("record", "--epochs", "4", "--batch-size", "128", "--device", "cpu", "--out", out)
    call(*record)
    store = out / "trajectory"
    manifest = json.loads((store / "manifest.json").read_text())
    manifest["epochs"] = manifest["epochs"][:3]  # as if the last epoch had not been committed
    manifest["seal"] = seal_of(manifest)
    (store / "manifest.json").write_text(json.dumps(manifest))
    checkpoint = out / "checkpoints" / "surrogate.safetensors"
    good = checkpoint.read_bytes()
    for bad in (b"", good[:1000], good[:-10], pickle.dumps({"epoch": 3})):
        checkpoint.write_bytes(bad)
        assert "surrogate.safetensors is not a complete checkpoint" in call.refused(*record)
        assert Trajectory.open(store).epochs == 3
        Trajectory.open(store).verify()


def test_rests_of_a_killed_writer_are_swept_away(run: Path, call: Any) -> None:
    rests = [
        run / "spec.json.99.part", run / "scores.parquet.99.part", run / "results" / "x.json.99.part",
        run / "coresets" / "x.parquet.99.new.part", run / "checkpoints" / "surrogate.safetensors.99.part",
    ]  # fmt: skip
    for rest in rests:
        rest.write_bytes(b"half")
    call("run", "--out", run, *RUN, *SMALL)
    assert not any(rest.exists() for rest in rests)


def test_a_diverged_recording_keeps_its_epochs(tmp_path: Path, call: Any) -> None:
    line = call.refused("record", "--epochs", 3, "--lr", 1e30, "--out", tmp_path / "run")
    assert "Expected finite logits" in line
    Trajectory.open(tmp_path / "run" / "trajectory").verify()


def test_other_logits_than_begun_with_are_refused(tmp_path: Path, call: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "run"
    common = ("record", "--epochs", "2", "--batch-size", "256", "--out", out)
    call(*common)
    manifest = out / "trajectory" / "manifest.json"
    raw = json.loads(manifest.read_text())
    raw["epochs"] = raw["epochs"][:1]
    manifest.write_text(json.dumps({**raw, "seal": seal_of(raw)}))
    assert "was begun with logits=None" in call.refused(*common, "--logits", "float16")


def test_a_finished_recording_is_not_taken_for_one_of_other_options(tmp_path: Path, call: Any) -> None:
    common = ("record", "--model", "tiny", "--epochs", "1", "--batch-size", "256", "--out")
    call(*common, tmp_path / "whole", "--logits", "float16")
    assert "was begun with logits=float16" in call.refused(*common, tmp_path / "whole", "--logits", "float32")
    assert "was begun with --features" in call.refused(*common, tmp_path / "whole", "--no-features")
    call(*common, tmp_path / "whole")  # no word of logits takes those that are there
    call(*common, tmp_path / "bare", "--no-features")
    assert "was begun with --no-features" in call.refused(*common, tmp_path / "bare")


def test_a_recording_without_features_goes_on_without(tmp_path: Path) -> None:
    """Whatever goes on with it: an evaluation pass at its end would give features without the signals beside them."""
    data, spec = load("digits"), TrainSpec("tiny", epochs=2, batch_size=256, lr=0.05)
    record(data, spec, 0, tmp_path, until=1, eval_pass=False)
    with pytest.raises(RunDirectoryError, match="was begun with --no-features"):
        record(data, spec, 0, tmp_path, eval_pass=True)
    finished = record(data, spec, 0, tmp_path)
    assert (finished.epochs, finished.features) == (2, None)


# ---- coresets of other data


def test_coresets_of_other_data_are_refused(tmp_path: Path, call: Any) -> None:
    ids = np.arange(100)
    cases = {
        "other fingerprint": (Coreset(ids, None, 1437, {"fingerprint": "other"}), "fingerprint other"),
        "of another": (
            Coreset(ids, None, 1437, {"fingerprint": "f" * 64, "data": "cifar10"}),
            f"is of cifar10 (fingerprint {'f' * 16}). The coreset is of cifar10, but this is digits: add --data cifar10,",
        ),
        "of other files": (Coreset(ids, None, 1437, {"fingerprint": "other", "data": "digits"}), "changed since"),
        "of other labels": (
            Coreset(ids, None, 1437, {"fingerprint": "other", "data": "digits+mislabel=0.2"}),
            "--corrupt and --mislabel",
        ),
        "other size": (Coreset(ids, None, 1000, {"fingerprint": load("digits").fingerprint}), "1437 samples"),
        "other size, no fingerprint": (Coreset(ids, None, 400), "1437 samples"),
    }
    for coreset, message in cases.values():
        coreset.save(tmp_path / "c.parquet")
        out = tmp_path / "train"
        assert message in call.refused("train", "--coreset", tmp_path / "c.parquet", "--epochs", 1, "--out", out)
        assert not out.exists()


# ---- kept shares


@pytest.mark.parametrize("keep", ["0", "0.0", "-0.1", "1.5", "many", "", "0.1,0.1", "1438", "nan"])
def test_kept_shares_of_a_run(keep: str, tmp_path: Path, call: Any) -> None:
    line = call.refused("run", "--keep", keep, "--out", tmp_path / "run")
    assert "keep" in line
    assert not (tmp_path / "run").exists()


def test_a_count_means_the_same_in_run_and_select(finished: Path, run: Path, tmp_path: Path, call: Any) -> None:
    call("run", "--out", run, *RUN, *SMALL, "--keep", "2,50,1.0")
    said = (run / "table.md").read_text()
    for kept in (2, 50, 1437):
        assert f"| {kept} |" in said
    call("select", run / "scores.parquet", "--method", "el2n", "--keep", 50, "--out", tmp_path / "c.parquet")
    mine = Coreset.load(tmp_path / "c.parquet")
    theirs = [Coreset.load(p) for p in (run / "coresets").glob("el2n-*.parquet")]
    assert mine.digest in {coreset.digest for coreset in theirs}


# ---- code in files


class Touch:
    """Pickles into a call that makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.path),)


def test_pickles_that_would_run_code(tmp_path: Path, call: Any) -> None:
    folder, touched = tmp_path / "cifar-10-batches-py", tmp_path / "touched"
    folder.mkdir()
    for name in (*(f"data_batch_{i}" for i in range(1, 6)), "test_batch", "batches.meta"):
        (folder / name).write_bytes(pickle.dumps(Touch(touched)))
    for command in ("run", "record", "train"):
        line = call.refused(command, "--data", "cifar10", "--data-dir", tmp_path, "--out", tmp_path / "out")
        assert "contains code" in line
    assert not touched.exists()
    pickle.loads((folder / "test_batch").read_bytes())
    assert touched.exists()  # the trap works


# ---- classes and batches


def pictures(root: Path, counts: dict[str, int]) -> Path:
    """Make an image folder with so many training pictures per class."""
    rng = np.random.default_rng(0)
    for half in ("train", "val"):
        for name, count in counts.items():
            (root / half / name).mkdir(parents=True)
            for i in range(count):
                Image.fromarray(rng.integers(0, 255, (24, 24, 3), dtype=np.uint8)).save(root / half / name / f"{i}.png")
    return root


def test_an_empty_class_of_pictures_is_named(tmp_path: Path, call: Any) -> None:
    root = pictures(tmp_path / "data", {"cat": 3, "dog": 0})
    line = call.refused("record", "--data", "folder", "--data-dir", root, "--model", "tiny", "--out", tmp_path / "run")
    assert "Training class without a picture" in line
    assert "dog" in line


def test_a_folder_may_be_named_by_its_path(tmp_path: Path, call: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from thresher.data import folders

    root = pictures(tmp_path / "data", {"cat": 3, "dog": 3})
    load_folder = folders.load_folder
    monkeypatch.setattr(folders, "load_folder", lambda where, image_size: load_folder(where, image_size=16))
    monkeypatch.chdir(tmp_path)
    options = ("--model", "tiny", "--method", "random", "--keep", "0.5", "--seeds", "0", "--jobs", "1", "--no-report")
    call("run", "--data", f"folder:{root}", *options, "--surrogate-epochs", 1, "--epochs", 1)
    assert len(list((tmp_path / "runs" / "folder" / "results").glob("*.json"))) == 2


def test_single_samples_where_the_model_cannot_train_on_them(tmp_path: Path, call: Any) -> None:
    common = ("train", "--model", "resnet18", "--epochs", "1", "--out", tmp_path / "out", "--jobs", "1")
    line = call.refused(*common, "--batch-size", 1)
    assert "batches of 2 samples or more" in line
    coreset = Coreset(np.arange(9), None, 1437)
    coreset.save(tmp_path / "c.parquet")
    call(*common, "--coreset", tmp_path / "c.parquet", "--batch-size", 4)  # 4 + 3 + 2, not 4 + 4 + 1
    Coreset(np.arange(1), None, 1437).save(tmp_path / "c.parquet")
    assert "keep more samples" in call.refused(*common, "--coreset", tmp_path / "c.parquet")


# ---- which column is selected from


def test_labels_that_differ_get_columns_that_differ(finished: Path, tmp_path: Path, call: Any) -> None:
    out = tmp_path / "s.parquet"
    call("score", finished, "--method", "el2n:epochs=1,el2n:epochs=2,el2n,aum", "--out", out)
    columns = read_scores(out).columns
    assert list(columns) == ["el2n[epochs=1]", "el2n[epochs=2]", "el2n[epochs=3]", "aum"]
    assert not np.array_equal(columns["el2n[epochs=1]"].values, columns["el2n[epochs=2]"].values)
    call("select", out, "--method", "el2n:epochs=2", "--keep", 10, "--out", tmp_path / "c.parquet")
    wanted = np.sort(np.argsort(-columns["el2n[epochs=2]"].values, kind="stable")[:10])
    np.testing.assert_array_equal(Coreset.load(tmp_path / "c.parquet").ids, wanted)


def test_what_is_selected_from_is_told(tmp_path: Path, call: Any) -> None:
    def scores(seed: int, window: int, at: int) -> Scores:
        source = {"scorer": "tdds", "params": {"window": window, "decay": 0.9, "absolute": True, "spread": "norm"}, "at": at}
        return Scores(np.random.default_rng(seed).random(50, dtype=np.float32), "high", source)

    one, grid, core = tmp_path / "one.parquet", tmp_path / "grid.parquet", tmp_path / "c.parquet"
    write_scores(one, {"tdds": scores(0, 10, 30)})
    write_scores(grid, {"tdds[K=10,T=30]": scores(0, 10, 30), "tdds[K=5,T=10]": scores(1, 5, 10)}, info={"data": "cifar10"})
    said = call("select", one, "--data", "cifar10", "--keep", "0.1", "--out", core)
    assert "holds window=10 instead of 5, at=30 instead of 10" in said
    assert "holds window=10 instead of 5" in str(Coreset.load(core).source["notice"])
    assert "tdds[window=5" in call.refused("select", one, "--method", "tdds:window=5", "--keep", "0.1", "--out", core)
    said = call("select", grid, "--keep", "0.1", "--out", core)  # the table knows its data set, the grid has its (T, K)
    assert "T=10, K=5: published for cifar10" in said
    assert Coreset.load(core).source["scorer"]["at"] == 10
    call("select", grid, "--data", "cifar100", "--method", "tdds:window=5:at=10", "--keep", "0.1", "--out", core)
    assert Coreset.load(core).source["data"] == "cifar10"  # whose settings are used does not change what was scored
    assert "holds scores of" not in call("select", grid, "--column", "tdds[K=10,T=30]", "--keep", "0.1", "--out", core)
    said = call("select", grid, "--method", "el2n", "--column", "tdds[K=5,T=10]", "--keep", "0.1", "--out", core)
    told = "the column tdds[K=5,T=10] holds scores of tdds, not of el2n"  # whose name the coreset has
    assert told in " ".join(said.split())
    assert told in str(Coreset.load(core).source["notice"])


def test_scores_of_ones_own_are_selected_by_a_selector(tmp_path: Path, call: Any) -> None:
    """A coreset of a column that no method made carries no method's name."""
    table, core = tmp_path / "mine.parquet", tmp_path / "c.parquet"
    values = np.random.default_rng(0).random(50, dtype=np.float32)
    targets = np.arange(50) % 5
    write_scores(table, {"loss": Scores(values), "tdds": Scores(values, "high", {"scorer": "tdds"})}, targets)
    said = call("select", table, "--column", "loss", "--keep", "0.2", "--out", core)
    assert "10 of 50 samples by top of the column loss" in " ".join(said.split())
    kept = Coreset.load(core)
    assert kept.ids.tolist() == np.sort(np.argsort(values)[-10:]).tolist()
    assert (kept.source["method"], kept.source["column"], kept.source["notice"]) == ("top", "loss", "")
    call("select", table, "--column", "loss", "--method", "top:balanced=true:end=easy", "--keep", "0.2", "--out", core)
    assert np.bincount(targets[Coreset.load(core).ids]).tolist() == [2] * 5
    assert Coreset.load(core).source["selector"]["params"] == {"balanced": True, "end": "easy"}
    for column in ("tdds", ""):  # an empty name is none
        call("select", table, "--column", column, "--keep", "0.2", "--out", core)
        assert Coreset.load(core).source["method"] == "tdds"
    call("select", table, "--column", "loss", "--method", "random", "--keep", "0.2", "--out", core)
    assert Coreset.load(core).source["notice"] == "random: the column loss holds scores of loss, not of random"
    for given, told in (
        (("--column", "los"), "one of loss, tdds, but got 'los' (did you mean loss?)"),
        (("--method", "top"), "name one of loss, tdds with --column, or combine it with a method: tdds:selector=top"),
        (("--column", "", "--method", "top"), "name one of loss, tdds with --column"),
        (("--column", "loss", "--method", "top:window=3"), "The selector top has no parameter window"),
        (("--column", "loss", "--method", "topp"), "got 'topp' (did you mean top?)"),
        (
            ("--column", "loss", "--method", "beta"),
            "Add it, or score again with `thresher score --method tdds:selector=beta`",
        ),
    ):
        assert told in " ".join(call.refused("select", table, *given, "--keep", "0.2", "--out", core).split())


def test_what_a_selector_reads_besides_must_be_what_it_reads(finished: Path, tmp_path: Path, call: Any) -> None:
    scores, core = tmp_path / "s.parquet", tmp_path / "c.parquet"
    wanted = ("--method", "auto:window=3", "--keep", "0.1", "--out", core)
    call("score", finished, "--method", "tdds:window=3,aum,correctness", "--out", scores)  # AUM of probabilities
    said = call.refused("select", scores, *wanted)
    assert "aum[margin=logit" in said
    assert "aum (margin=prob" in said
    call("score", finished, "--method", "tdds:window=3:at=3,aum:margin=logit:at=2,correctness:at=3", "--out", scores)
    assert "at=3]" in call.refused("select", scores, *wanted)  # TDDS after three epochs beside margins of two
    call("score", finished, "--method", "auto:window=3", "--out", scores)
    said = call("select", scores, *wanted)
    assert f"auto:window=3, keep 0.1: {Coreset.load(core).source['why']['text']}" in " ".join(said.split())
    also = Coreset.load(core).source["also_read"]
    assert also["logit_margin"]["params"]["margin"] == "logit"
    assert also["correctness"]["at"] == Coreset.load(core).source["scorer"]["at"] == 3


def test_what_was_shortened_for_one_score_is_shortened_for_all(finished: Path, tmp_path: Path, call: Any) -> None:
    scores, core = tmp_path / "s.parquet", tmp_path / "c.parquet"
    call("score", finished, "--method", "dual_beta:window=2", "--out", scores)
    said = call("select", scores, "--method", "dual_beta:window=2", "--keep", "0.1", "--out", core)
    assert "epochs=3 instead of 30" in said
    assert Coreset.load(core).source["also_read"]["mean_prob"]["params"] == {"epochs": 3}


def test_classes_that_are_left_empty_are_told(tmp_path: Path, call: Any) -> None:
    table, core = tmp_path / "s.parquet", tmp_path / "c.parquet"
    targets, values = np.repeat([0, 1, 3], [60, 30, 10]), np.linspace(1, 0, 100, dtype=np.float32)
    write_scores(table, {"el2n": Scores(values)}, targets)
    wanted = ("select", table, "--method", "el2n", "--keep")
    said = call(*wanted, 20, "--out", core)
    assert (
        "el2n keeps none of classes 1 (30 samples), 3 (10 samples): el2n:balanced=true keeps classes in proportion" in said
    )
    assert json.loads(call(*wanted, 20, "--out", core, "--json", "--quiet"))["emptied"] == {"1": 30, "3": 10}
    said = call("select", table, "--method", "el2n:balanced=true", "--keep", 3, "--out", core)
    assert "none of class 3 (10 samples): a class that is due less than one sample may get none: keep more" in said
    assert "--keep 1 means one sample" in call(*wanted, 1, "--out", core)
    assert "--keep" not in call(*wanted, "1.0", "--out", core)
    assert "1.0 keeps everything" in call.refused("run", "--keep", "0.5,1", "--out", tmp_path / "run")


def test_settings_from_the_recording_come_with_what_the_selector_reads(finished: Path, tmp_path: Path, call: Any) -> None:
    scores = tmp_path / "s.parquet"
    said = call.refused("score", finished, "--method", "auto:at=auto", "--keep", "0.1", "--out", scores)
    assert "at least 5 epochs" in said


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--method", "tdds:window=abc"), "window as int"),
        (("--method", "tdds:at=x"), "at as a whole number"),
        (("--method", "tdds:window=3", "--window", "4"), "Expected window once"),
        (("--window", ""), "as integers"),
        (("--method", "el2n:at=2", "--at", "3"), "Expected at once"),
        (("--method", "tdds:at=auto", "--keep", "0.1", "--at", "3"), "which derives both, and as --at"),
        (("--method", "tdds:at=auto", "--keep", "0.1", "--window", "3"), "which derives both, and as --window"),
        (("--method", "el2n", "--window", "3"), "--window is only for tdds"),
        (("--method", ""), "Expected distinct methods"),
    ],
)
def test_options_that_contradict(finished: Path, tmp_path: Path, options: Any, message: str, call: Any) -> None:
    assert message in call.refused("score", finished, *options, "--out", tmp_path / "s.parquet")


def test_a_command_replaces_its_own_kind_only(finished: Path, tmp_path: Path, call: Any) -> None:
    scores, mine, core, cut_short = (tmp_path / f"{name}.parquet" for name in ("scores", "mine", "core", "cut"))
    call("score", finished, "--method", "el2n", "--out", scores)
    pq.write_table(pa.table({"sample_id": range(5), "path": list("abcde")}), mine)
    Coreset(np.arange(9), np.ones(9, np.float32), 1437, {"method": "x"}).save(core)
    shutil.copy(scores, cut_short)
    cut(cut_short)
    assert "Move it away" in call.refused("select", cut_short, "--keep", 9, "--out", tmp_path / "new.parquet")
    before = {path: path.read_bytes() for path in (mine, core, cut_short)}
    for path in before:
        said = call.refused("score", finished, "--method", "aum", "--out", path)
        assert "or damaged" in said
        assert said.endswith("or choose another --out.")
    for path in (mine, scores, cut_short):
        assert "or a coreset to replace" in call.refused("select", scores, "--method", "el2n", "--keep", 9, "--out", path)
    assert {path: path.read_bytes() for path in before} == before
    call("score", finished, "--method", "aum", "--out", scores)
    call("select", scores, "--method", "ccs:cutoff=0", "--column", "aum", "--keep", 9, "--out", core)
    assert list(read_scores(scores).columns) == ["aum"]
    assert Coreset.load(core).weights is None


def test_what_reads_the_last_pass_is_scored_at_the_end_beside_others(finished: Path, tmp_path: Path, call: Any) -> None:
    out = tmp_path / "s.parquet"
    assert "moderate: reads the last" in call("score", finished, "--method", "moderate,el2n", "--at", 2, "--out", out)
    at = {name: column.source["at"] for name, column in read_scores(out).columns.items()}
    assert at == {"class_distance": 3, "el2n": 2}
    assert "cannot be scored after 2 of 3" in call.refused(
        "score", finished, "--method", "moderate", "--at", 2, "--out", tmp_path / "t.parquet"
    )


def test_places_that_cannot_be_written(finished: Path, tmp_path: Path, call: Any) -> None:
    (tmp_path / "file").write_text("kept")
    assert "Name a file, not a folder" in call.refused("score", finished, "--method", "el2n", "--out", tmp_path)
    line = call.refused("train", "--epochs", 1, "--out", tmp_path / "file")
    assert "Name a folder, not a file" in line
    for jobs in (0, 10**20):
        assert f", but got {jobs}." in call.refused("run", "--jobs", jobs, "--out", tmp_path / "run")
    assert (tmp_path / "file").read_text() == "kept"


def test_pipes_and_devices_are_no_files_to_replace(finished: Path, tmp_path: Path, call: Any) -> None:
    call("score", finished, "--method", "el2n", "--out", tmp_path / "s.parquet")
    call("select", tmp_path / "s.parquet", "--method", "el2n", "--keep", 9, "--out", tmp_path / "c.parquet")
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for command in (
        ("score", finished, "--method", "el2n"), ("select", tmp_path / "s.parquet", "--method", "el2n", "--keep", 9),
        ("export", tmp_path / "c.parquet", "--to", "csv", "--force"),
    ):  # fmt: skip
        assert "a device or pipe is there" in call.refused(*command, "--out", pipe)
    assert pipe.is_fifo()


@pytest.mark.parametrize(
    ("options", "message"),
    [(("--engine", "processs"), "did you mean processes"), (("--address", "here"), "only with the engine ray")],
)
def test_an_engine_that_is_none_is_refused_before_anything_is_recorded(
    options: Any, message: str, tmp_path: Path, call: Any
) -> None:
    for more in ((), ("--dry-run",)):
        assert message in call.refused("reproduce", "table6", *options, *more, "--out", tmp_path / "r")
    assert not list(tmp_path.iterdir())


def test_an_empty_path_is_no_folder(finished: Path, call: Any) -> None:
    assert "Expected --out to be a path or URL, but it is empty" in call.refused("score", finished, "--out", "")
    assert "Expected --out to be a path, but it is empty" in call.refused("record", "--out", "")


@pytest.mark.parametrize("seed", [-1, 2**63])
def test_seeds_that_seed_nothing(seed: int, tmp_path: Path, call: Any) -> None:
    write_scores(tmp_path / "s.parquet", {"el2n": Scores(np.arange(9, dtype=np.float32))})
    select = ("select", tmp_path / "s.parquet", "--method", "el2n", "--keep", 3, "--out", tmp_path / "c.parquet")
    for command in (select, ("record", "--out", tmp_path / "run")):
        assert f"Expected a seed, an integer in [0, 2^63), but got {seed}." in call.refused(*command, "--seed", seed)
    assert "seeds" in call.refused("train", "--seeds", seed, "--out", tmp_path / "train")
    assert "finite lr > 0" in call.refused("record", "--lr", "inf", "--out", tmp_path / "run")
    assert [path.name for path in tmp_path.iterdir()] == ["s.parquet"]


@pytest.mark.parametrize(
    "command",
    ["run", "record --out r", "train --coreset c.parquet", "tune --keep 0.1 --budget-minutes 1", "corrupt --show s.png"],
)
def test_a_place_for_the_digits_is_refused(command: str, tmp_path: Path, call: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    said = call.refused(*command.split(), "--data-dir", tmp_path)
    assert "Expected no --data-dir with the digits" in said
    assert f"--data folder --data-dir {tmp_path}" in said
    assert not list(tmp_path.iterdir())

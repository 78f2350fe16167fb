"""What docs/stability.md promises: files of earlier versions are read and say the same, those of later ones are refused."""

from __future__ import annotations

import ast
import json
import re
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

import thresher
from thresher import Coreset, Pool, Trajectory, errors, replay, select
from thresher.errors import CorruptFileError, LaterFormatError
from thresher.exchange.place import check_kind
from thresher.experiments.rundir import save_coreset
from thresher.experiments.scoring import score
from thresher.methods import resolve
from thresher.registry import make_scorer
from thresher.replay import Request
from thresher.score_table import read_scores

ROOT = Path(__file__).parents[1]
KEPT = sorted(path for path in (Path(__file__).parent / "kept").iterdir() if (path / "trajectory").is_dir())

SELECTED = {"top": "tdds", "uniform": "random", "stratified": "aum"}
SELECTED |= {"near_median": "class_distance", "beta": "dual", "learnable": "tdds"}
AUX = {"mean_prob": "mean_prob", "correctness": "correctness", "logit_margin": "margins"}

versions = pytest.mark.parametrize("kept", KEPT, ids=lambda path: path.name)


def test_the_first_version_is_kept() -> None:
    assert [path.name for path in KEPT][:1] == ["0.1.0"]


@versions
def test_a_store_gives_the_scores_that_it_gave(kept: Path) -> None:
    store, table = Trajectory.open(kept / "trajectory"), read_scores(kept / "scores.parquet")
    assert (store.n, store.num_classes, store.epochs) == (60, 10, 12)
    assert store.info == table.info == {"data": "sixty images of CIFAR-10"}
    made = {name: (scores.source["scorer"], scores.source["params"]) for name, scores in table.columns.items()}
    assert len(made) == 13
    found = replay(store, [Request(name, make_scorer(*scorer)) for name, scorer in made.items()])
    for name, scores in table.columns.items():
        np.testing.assert_allclose(found[name].values, scores.values, rtol=1e-6, err_msg=name)
        assert (found[name].hard_end, found[name].source) == (scores.hard_end, scores.source)
    with np.load(ROOT / "tests" / "golden" / "tdds_official_real_dynamics.npz") as golden:
        assert np.array_equal(store.logits(11), golden["logits"][11, :60].astype(np.float32))
        assert np.array_equal(store.targets, golden["targets"][:60])


@versions
@pytest.mark.parametrize(("selector", "column"), SELECTED.items())
def test_scores_give_the_coreset_that_they_gave(kept: Path, selector: str, column: str) -> None:
    coreset, table = Coreset.load(kept / f"{selector}.parquet"), read_scores(kept / "scores.parquet")
    source = coreset.source
    pool = Pool(60, table.targets, aux={name: table.columns[found].values for name, found in AUX.items()})
    again = select(table.columns[column], pool, source["keep"], selector, source["seed"])
    assert (len(coreset), again.ids.tolist()) == (18, coreset.ids.tolist())
    assert again.digest == coreset.digest
    assert source["version"] == kept.name


@versions
def test_weights_are_read_and_labels_may_be_unknown(kept: Path) -> None:
    coreset, table = Coreset.load(kept / "weighted.parquet"), read_scores(kept / "unlabelled.parquet")
    assert coreset.weights is not None
    assert (coreset.ids.tolist(), coreset.n) == (list(range(0, 60, 7)), 60)
    np.testing.assert_array_equal(coreset.weights, np.linspace(0.5, 2, 9, dtype=np.float32))
    assert (table.targets, table.info) == (None, {})
    assert table.columns["tdds"] == read_scores(kept / "scores.parquet").columns["tdds"]


def of_format(path: Path, number: int, key: bytes) -> None:
    """Make a Parquet file say that it is of another format."""
    table = pq.read_table(path)
    head = {**json.loads(table.schema.metadata[key]), "format": number}
    pq.write_table(table.replace_schema_metadata({**table.schema.metadata, key: json.dumps(head)}), path)


@pytest.mark.parametrize(("number", "advice"), [(2, "the version that wrote it, or a later one"), (0, "from a copy")])
def test_another_format_is_not_guessed_at(number: int, advice: str, tmp_path: Path) -> None:
    shutil.copytree(KEPT[0], tmp_path / "kept")
    folder = tmp_path / "kept"
    manifest = folder / "trajectory" / "manifest.json"
    manifest.write_text(json.dumps({**json.loads(manifest.read_text()), "format": number}))
    of_format(folder / "scores.parquet", number, b"thresher")
    of_format(folder / "top.parquet", number, b"thresher")
    readers: dict[str, Any] = {"trajectory": Trajectory.open, "scores.parquet": read_scores, "top.parquet": Coreset.load}
    for name, read in readers.items():
        with pytest.raises(CorruptFileError, match=rf"Expected format 1 in .*, but got {number}\. .*{advice}"):
            read(folder / name)


def later(path: Path) -> bytes:
    """Make a Parquet file be of a later format; returns what it holds then."""
    of_format(path, 2, b"thresher")
    return path.read_bytes()


def test_a_file_of_a_later_format_is_not_replaced(tmp_path: Path) -> None:
    """Damaged ones are, where they can be made again; a later version's was not damaged."""
    shutil.copytree(KEPT[0], tmp_path / "kept")
    coreset, scores = tmp_path / "kept" / "top.parquet", tmp_path / "kept" / "scores.parquet"
    kept, there, table = Coreset.load(coreset), later(coreset), later(scores)
    replaced: list[Callable[[], object]] = [
        lambda: save_coreset(kept, coreset),
        lambda: check_kind(coreset, "coreset", Coreset.load),
        lambda: score(tmp_path / "kept", [resolve("el2n", "", 0.1)], scores),
        lambda: check_kind(scores, "score table", read_scores),
    ]
    for replace_it in replaced:
        with pytest.raises(LaterFormatError, match=r"Expected format 1 in .*, but got 2\."):
            replace_it()
    assert (coreset.read_bytes(), scores.read_bytes()) == (there, table)


def imported(code: str) -> set[str]:
    """Return what code imports from thresher, as dotted names."""
    found = [node for node in ast.walk(ast.parse(code)) if isinstance(node, ast.ImportFrom)]
    ours = [node for node in found if (node.module or "").split(".")[0] == "thresher"]
    return {f"{node.module}.{alias.name}" for node in ours for alias in node.names}


def home(name: str) -> Any:
    """Return the thing of a dotted name."""
    from importlib import import_module

    module, _, attribute = name.rpartition(".")
    return getattr(import_module(module), attribute)


def named(text: str) -> set[str]:
    """Return the functions and classes of thresher that a text calls by their full names, with their modules."""
    found = set()
    for name in re.findall(r"\bthresher(?:\.\w+)+(?!\.py)\b", text):
        with suppress(ImportError, AttributeError):
            if callable(home(name)) and not isinstance(home(name), ModuleType):
                found.add(name)
    return found


def test_whatever_the_pages_and_examples_use_is_in_the_reference() -> None:
    listed = set()
    for page in (ROOT / "docs" / "api").glob("*.md"):
        listed |= set(re.findall(r"^\.\. auto\w+:: ([\w.]+)|^\| `(thresher[\w.]+)`", page.read_text(), flags=re.MULTILINE))
    names = {one or other for one, other in listed}
    pages = [*(ROOT / "docs").rglob("*.md"), ROOT / "README.md", ROOT / "CONTRIBUTING.md"]
    blocks = [code for page in pages for code in re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL)]
    used = set().union(*map(imported, blocks), *(imported(p.read_text()) for p in (ROOT / "examples").glob("*.py")))
    used |= {name for page in pages if page.parent.name != "decisions" for name in named(page.read_text())}
    public = [home(name) for name in names]
    assert {name for name in used if not any(home(name) is thing for thing in public)} == set()
    assert {f"thresher.{name}" for name in thresher.__all__} <= names
    ours = {
        name for name, thing in vars(errors).items() if isinstance(thing, type) and issubclass(thing, errors.ThresherError)
    }
    assert {f"thresher.errors.{name}" for name in ours} <= names

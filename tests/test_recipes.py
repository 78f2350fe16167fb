"""The scripts of recipes/: what they refuse and how they reckon; what they train is their own affair."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from thresher.boards.targets import entries
from thresher.coreset import Coreset
from thresher.data import load
from thresher.dynamic import Fixed, InfoBatch
from thresher.dynamic._base import everything
from thresher.errors import InputError
from thresher.keep import keep_count

ROOT = Path(__file__).parents[1]


@pytest.fixture
def recipe(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Import a script of recipes/."""
    monkeypatch.syspath_prepend(str(ROOT / "recipes"))
    return importlib.import_module


def test_results_of_other_settings_are_not_taken(recipe: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    module, trained = recipe("dynamic_pruning"), []

    def fit(*_: Any, dynamic: Any, **__: Any) -> Any:
        trained.append(dynamic.rule.name)
        return SimpleNamespace(test_accuracy=0.5, steps=3)

    monkeypatch.setattr(module, "fit", fit)
    bench = module.Bench(load("digits"), tmp_path, 0)
    first, _ = bench.train("infobatch", InfoBatch(), 4)
    assert bench.train("infobatch", InfoBatch(), 4)[0] == json.loads(json.dumps(first))
    assert trained == ["infobatch", "infobatch"]  # the second brings the Recorder to where it ended
    for rule, epochs, said in (
        (InfoBatch(), 5, "epochs 4 instead of 5"),
        (InfoBatch(ratio=0.3), 4, "'ratio': 0.5"),
        (Fixed(everything(bench.n)), 4, "rule"),
    ):
        with pytest.raises(InputError, match="Choose another --out") as refused:
            bench.train("infobatch", rule, epochs)
        assert said in str(refused.value)
    assert len(trained) == 2


def test_two_runs_at_once_share_the_device(recipe: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    module = recipe("full_scale")
    data, spec = load("digits"), entries("table6")[0].cell.coreset
    found = {}
    for device in ("cpu", "cuda"):
        pace = module.shared_pace(device, 4, 60.0)
        monkeypatch.setattr(pace, "step", lambda *_: 0.01)
        alone = module.Pace(device, None, 60.0)
        monkeypatch.setattr(alone, "step", lambda *_: 0.01)
        training = pace.training(data, spec, 500) / alone.training(data, spec, 500)
        found[device] = training, alone.steps_left(data, spec) / pace.steps_left(data, spec)
    assert found["cuda"] == (8, pytest.approx(5, rel=0.01))  # four and four trainings; a recording and four
    assert found["cpu"] == (2, pytest.approx(2, rel=0.01))


def test_coresets_that_are_kept_for_a_gpu_are_those_of_cells_that_are_wanted_first(recipe: Any) -> None:
    kept = sorted((ROOT / "docs" / "results" / "full-scale" / "coresets").glob("*.parquet"))
    wanted = {cell.digest: cell for cells in recipe("full_scale").wanted(set())[:2] for cell in cells}
    assert {path.stem for path in kept} == set(wanted)
    for path in kept:
        coreset, cell = Coreset.load(path, n=50_000), wanted[path.stem]
        assert (coreset.source["cell"], coreset.source["keep"], coreset.source["seed"]) == (path.stem, cell.keep, cell.seed)
        assert len(coreset) == keep_count(50_000, cell.keep)


@pytest.mark.parametrize("path", sorted((ROOT / "recipes").glob("*.py")), ids=lambda path: path.name)
def test_recipes_name_pages_that_are_there(path: Path) -> None:
    for word in path.read_text(encoding="utf-8").split():
        if word.startswith("docs/"):
            assert (ROOT / word.strip(".,:;()`")).exists(), word

"""The scripts of recipes/: what they refuse and how they reckon; what they train is their own affair."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from thresher.boards.targets import entries
from thresher.coreset import Coreset
from thresher.data import load
from thresher.dynamic import Fixed, InfoBatch
from thresher.dynamic._base import everything
from thresher.errors import InputError
from thresher.files import write_json
from thresher.keep import keep_count
from thresher.train.spec import build_optimizer
from thresher.trajectory.writer import TrajectoryWriter
from thresher.types import Frame

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
        return SimpleNamespace(test_accuracy=0.5, steps=3, seconds=2.0)

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


def test_seconds_of_a_training_that_was_interrupted_are_not_those_of_its_rest(
    recipe: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    module = recipe("dynamic_pruning")
    monkeypatch.setattr(module, "fit", lambda *_, **__: SimpleNamespace(test_accuracy=0.5, steps=3, seconds=99.0))
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "resumed-0.safetensors").touch()
    bench = module.Bench(load("digits"), tmp_path, 0)
    whole, resumed = (bench.train(arm, InfoBatch(), 4)[0] for arm in ("whole", "resumed"))
    assert (whole["wall_seconds"], resumed["wall_seconds"], resumed["cpu_seconds"]) == (99.0, 99.0, None)
    assert whole["cpu_seconds"] < 60
    assert module.table([resumed]).endswith(" | 4 | interrupted |")


def test_suspects_are_compared_where_labels_are_wrong(recipe: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    targets = load("digits").train.targets
    with TrajectoryWriter.create(tmp_path / "clean", len(targets), 10, ["loss"]) as store:
        values = {"loss": np.zeros(len(targets), np.float32)}
        store.append(Frame(0, np.arange(len(targets)), values, len(targets)), targets=targets)
    monkeypatch.setattr("sys.argv", ["suspects_cifar.py", str(tmp_path / "clean"), "--data", "digits"])
    with pytest.raises(InputError, match=r"1437 samples of digits with wrong labels, .*Record with --mislabel"):
        recipe("suspects_cifar").main()


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


def test_the_control_of_the_learning_rate_takes_the_steps_of_a_scaled_loss(recipe: Any) -> None:
    module = recipe("tdds_margin")
    cells = {kind: module.cell(kind, "of the full set", "20 % wrong labels", "small", 128, 200, 0) for kind in module.KINDS}
    assert {cell.coreset.schedule_epochs for cell in cells.values()} == {2000}
    assert [cell.scale_loss for cell in cells.values()] == ["published", "published", "none", "published"]
    plain, control = (cells[kind].coreset for kind in (module.KINDS[0], module.KINDS[3]))
    inputs, targets = torch.randn(64, 5, generator=torch.Generator().manual_seed(0)), torch.arange(64) % 3
    ended = []
    for spec, scale in ((plain, module.SCALE), (control, 1.0)):
        torch.manual_seed(0)
        model = torch.nn.Linear(5, 3)
        optimizer = build_optimizer(spec, model)
        for _ in range(50):
            optimizer.zero_grad()
            (scale * torch.nn.functional.cross_entropy(model(inputs), targets)).backward()
            optimizer.step()
        ended.append(model.weight.detach())
    torch.testing.assert_close(*ended)


def test_controls_are_read_back_as_a_table(recipe: Any, tmp_path: Path) -> None:
    module = recipe("tdds_margin")
    place = module.Place(tmp_path)
    (tmp_path / "results").mkdir()
    ones = [module.cell("tdds", "of the coreset", "clean", "small", 128, 200, seed) for seed in range(3)]
    for one, accuracy in zip(ones[:2], (0.5, 0.52), strict=True):
        write_json(place.result(one), {"cell": one.to_json(), "test_accuracy": accuracy, "steps": 8000})
    lines = module.table({("tdds", "of the coreset", "clean"): ones}, place)
    assert lines[3] == "| of the coreset | tdds | 51.00 ± 12.71 (2) | not run |"
    assert sum("not run | not run" in line for line in lines) == 7

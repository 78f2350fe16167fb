"""What the benchmarks' page and figure say is what their results hold; what the scripts themselves refuse and compare."""

from __future__ import annotations

import importlib
import json
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from thresher.large.selecting import select_file
from thresher.score_file import ScoreFile
from thresher.selectors.top import Top

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "docs" / "results" / "benchmarks"


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Import a script of benchmarks/, which find one another on the path."""
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    return importlib.import_module


def test_the_page_is_up_to_date(module: Any) -> None:
    page = module("page").page()
    assert (RESULTS.parent / "benchmarks.md").read_text(encoding="utf-8") == page, "run `python benchmarks/page.py`"


def test_the_figure_shows_the_results(module: Any) -> None:
    figure = module("figure")
    growth = figure.load()
    assert set(growth) == {panel.result for panel in figure.PANELS}
    new, old = (ElementTree.fromstring(text) for text in (figure.figure(growth), figure.IMAGE.read_text(encoding="utf-8")))
    space = "{http://www.w3.org/2000/svg}"
    assert new.findtext(f"{space}title") == old.findtext(f"{space}title"), "run `python benchmarks/page.py`"
    assert len(old.findall(f"{space}svg")) == len(figure.PANELS)
    for panel in figure.PANELS:
        for cost, size in panel.wanted:
            assert any((one["cost"], one["size"]) == (cost, size) for one in growth[panel.result]), (panel.title, cost, size)


@pytest.mark.parametrize("name", ["recorder_sizes", "store_sizes", "network_sizes", "scoring", "selection"])
def test_growth_is_over_four_sizes_and_its_exponent_fits(name: str, module: Any) -> None:
    growth = module("_growth")
    for one in json.loads((RESULTS / f"{name}.json").read_text())["raw"]["growth"]:
        sizes, costs = np.array(one["points"]).T
        assert len(set(sizes)) >= 4
        slope = np.polyfit(np.log(sizes), np.log(costs), 1)[0]
        assert one["exponent"] == pytest.approx(slope, abs=1e-4)
        again = growth.Series(one["cost"], one["unit"], one["size"], one["line"], one["points"])
        assert again.exponent == pytest.approx(slope)


def test_a_quick_result_is_not_judged_on_the_page(module: Any) -> None:
    found = json.loads((RESULTS / "import_time.json").read_text())
    (first, *_), page = found["targets"], module("page")
    for met, said in ((True, "met"), (False, "MISSED"), (None, "not judged (--quick)")):
        text = page.section("Imports", {**found, "targets": [{**first, "met": met}]})
        assert text.endswith(f": {said}\n")


def test_a_child_that_fails_is_named(module: Any) -> None:
    measure = module("_measure")
    for command, name in (("-m no.such.module", "no.such.module"), (str(ROOT / "no_such_script.py"), "no_such_script.py")):
        with pytest.raises(SystemExit, match=f"^{name} ended with"):
            measure.run_child([sys.executable, *command.split()])


def test_both_ways_of_selecting_keep_the_same_of_any_number(module: Any, tmp_path: Path) -> None:
    selection = module("selection")
    for n in (1230, 1235):
        selection.make(tmp_path / "scores.parquet", n)
        selection.in_memory(tmp_path / "scores.parquet", tmp_path / "memory.parquet")
        select_file(ScoreFile.open(tmp_path / "scores.parquet"), "tdds", tmp_path / "ours.parquet", 0.1, Top())
        assert selection.same(tmp_path, n)


def test_a_store_without_its_numbers_is_no_small_one(module: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = module("store_sizes")
    said = {"seconds": 1.0, "bytes": 10**5, "files": 3, "manifest": 99, "plain": 1.0}
    monkeypatch.setattr(sizes, "run_child", lambda _: SimpleNamespace(output=json.dumps(said)))
    monkeypatch.setattr("sys.argv", ["store_sizes.py", "--quick"])
    with pytest.raises(SystemExit, match="10000 samples and 1 epochs has 100000 bytes for 320000"):
        sizes.main()

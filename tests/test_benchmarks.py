"""What the benchmarks' page and figure say is what their results hold; the exponents are those of a least-squares line."""

from __future__ import annotations

import importlib
import json
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import numpy as np
import pytest

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

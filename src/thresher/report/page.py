"""The page: content and figures put into the template."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import numpy as np
from markupsafe import Markup

from thresher.report import plots
from thresher.report._environment import templates
from thresher.report.content import FULL, RANDOM, Content, DataMap, Line, ScoreColumn, Selection
from thresher.report.gallery import galleries
from thresher.report.svg import LEVELS


@dataclass(frozen=True)
class Histogram:
    """A score's histogram with what is said about it."""

    title: str
    note: str
    svg: Markup | None


@dataclass(frozen=True)
class Overlap:
    """Share of common samples of every two methods at one kept share: `cells[i][j]` in [0, 1]."""

    keep: str
    methods: tuple[str, ...]
    cells: tuple[tuple[float, ...], ...]
    chance: float


def page(content: Content) -> str:
    """Return the whole report as HTML."""
    environment = templates()
    environment.filters |= {"share": plots.share, "plus_minus": _plus_minus, "verdict": _verdict}
    return environment.get_template("report.html.j2").render(
        content=content,
        FULL=FULL,
        RANDOM=RANDOM,
        keep=content.keeps[0] if content.keeps else None,
        tiles=_tiles(content),
        accuracy=_accuracy(content),
        histograms=_histograms(content),
        data_map=None if content.data_map is None else Markup(plots.data_map(content.data_map, "map")),
        map_legend=_map_legend(content.data_map),
        galleries=galleries(content, content.keeps[0]) if content.keeps else (),
        overlaps=tuple(o for keep in content.keeps if (o := _overlap(content, keep)) is not None),
        spec_json=_json(content.spec),
    )


def _plus_minus(mean: float | None, half: float | None, signed: bool = False) -> str:
    if mean is None:
        return "–"
    text = f"{mean:+.2f}" if signed else f"{mean:.2f}"
    return text if half is None else f"{text} ± {half:.2f}"


def _verdict(line: Line) -> str:
    """Return "above" or "below" where the interval of the gap to Random leaves out 0, else ""."""
    if line.gap_mean is None or line.gap_half_width is None or abs(line.gap_mean) <= line.gap_half_width:
        return ""
    return "above" if line.gap_mean > 0 else "below"


def _tiles(content: Content) -> list[tuple[str, str, str]]:
    """Return (label, value, note) of the few numbers that stand above everything."""
    tiles = []
    full = next((line for line in content.lines if line.method == FULL), None)
    if full is not None:
        tiles.append(("Full training set", _percent(full), f"{full.kept} samples"))
    for keep in content.keeps[:1]:
        lines = [line for line in content.lines if line.keep == keep and line.method != FULL]
        best = max((x for x in lines if x.method != RANDOM), key=lambda x: x.accuracy_mean, default=None)
        random = next((x for x in lines if x.method == RANDOM), None)
        if random is not None:
            tiles.append((f"Random at {plots.share(keep)}", _percent(random), f"{random.kept} samples"))
        if best is not None:
            gap = (
                ""
                if best.gap_mean is None
                else (f"{_plus_minus(best.gap_mean, best.gap_half_width, signed=True)} points against Random")
            )
            tiles.append((f"Highest mean at {plots.share(keep)}: {best.method}", _percent(best), gap))
    return tiles


def _percent(line: Line) -> str:
    return _plus_minus(line.accuracy_mean, line.accuracy_half_width) + " %"


def _accuracy(content: Content) -> list[tuple[str, Markup]]:
    """Return (caption, SVG): the curve over kept shares where there are several, and a dot plot for the smallest."""
    if not any(line.method != FULL for line in content.lines):
        return []
    figures = []
    if len(content.keeps) > 1:
        figures.append(("All kept shares", Markup(plots.accuracy_by_keep(content, "curve"))))
    for number, keep in enumerate(content.keeps):
        if any(line.keep == keep and line.method != FULL for line in content.lines):
            caption = f"{plots.share(keep)} kept"
            figures.append((caption, Markup(plots.accuracy_by_method(content, keep, f"dots{number}"))))
    return figures


def _histograms(content: Content) -> list[Histogram]:
    keep = content.keeps[0] if content.keeps else None
    chosen = {} if keep is None else content.selected(keep)
    made: list[Histogram] = []
    for column in content.scores:
        users: list[Selection | None] = [s for s in chosen.values() if s.column == column.name]
        for selection in users or [None]:
            title = (
                column.name
                if selection is None or selection.method == column.name
                else (f"{column.name} ({selection.method})")
            )
            note = f"hard end: {column.hard_end}" + ("" if selection is not None else "; no method selects by it alone")
            missing = int(np.isnan(column.values).sum())
            note += f"; {missing} without a score" if missing else ""
            made.append(_histogram(column, None if selection is None else selection.ids, title, note, len(made)))
    return made


def _histogram(column: ScoreColumn, kept: Any, title: str, note: str, number: int) -> Histogram:
    finite = column.values[np.isfinite(column.values)]
    spread = "" if not len(finite) else f" from {finite.min():.4g} to {finite.max():.4g}, median {np.median(finite):.4g}"
    alt = f"Histogram of {title}{spread}" + ("." if kept is None else f"; {len(kept)} kept samples are filled in.")
    svg = plots.histogram(column, kept, alt, f"hist{number}")
    return Histogram(title, note, None if svg is None else Markup(svg))


def _map_legend(data_map: DataMap | None) -> list[str]:
    """Return what the colour levels stand for, from rarely to always right."""
    if data_map is None or data_map.correctness is None:
        return []
    steps = len(LEVELS)
    return [f"{round(100 * k / steps)}–{round(100 * (k + 1) / steps)} %" for k in range(steps)]


def _overlap(content: Content, keep: float) -> Overlap | None:
    chosen = content.selected(keep)
    if len(chosen) < 2:
        return None
    n = max(len(content.targets), *(int(s.ids.max()) + 1 for s in chosen.values()))
    masks = np.zeros((len(chosen), n), dtype=np.float32)
    for row, selection in enumerate(chosen.values()):
        masks[row, selection.ids] = 1
    sizes = masks.sum(axis=1)
    common = (masks @ masks.T) / np.minimum.outer(sizes, sizes)
    cells = tuple(tuple(float(value) for value in row) for row in common)
    return Overlap(plots.share(keep), tuple(chosen), cells, float(sizes.mean() / n))


def _json(value: Any) -> str:
    return json.dumps(value, indent=2, sort_keys=True, default=str, ensure_ascii=False)

"""The page: content and figures put into the template."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import numpy as np
from markupsafe import Markup

from thresher.methods import FULL, RANDOM
from thresher.report import curves, plots
from thresher.report._environment import templates
from thresher.report.agreement import overlap, ranks
from thresher.report.balance import balances
from thresher.report.content import Content, Line, ScoreColumn, Selection
from thresher.report.costs import cost_lines, count, duration
from thresher.report.gallery import galleries, suspects
from thresher.report.map_data import map_data
from thresher.report.percent import gap_text, plus_minus, seeds_text


@dataclass(frozen=True)
class Histogram:
    """A score's histogram with what is said about it."""

    title: str
    note: str
    svg: Markup | None


def page(content: Content) -> str:
    """Return the whole report as HTML."""
    environment = templates()
    environment.filters |= {"share": plots.share, "plus_minus": _plus_minus, "verdict": _verdict, "gap": _gap}
    environment.filters |= {"duration": duration, "count": count, "seeds": seeds_text}
    keep = content.keeps[0] if content.keeps else None
    classes, balance = ((), ()) if keep is None else balances(content, keep)
    return environment.get_template("report.html.j2").render(
        content=content,
        FULL=FULL,
        RANDOM=RANDOM,
        keep=keep,
        classes=classes,
        tiles=_tiles(content),
        accuracy=_accuracy(content),
        histograms=_histograms(content),
        beside=[(method, Markup(svg)) for method, svg in plots.beside_published(content, "beside")],
        map_data=map_data(content),
        suspects=suspects(content),
        settling=[(caption, Markup(svg)) for caption, svg in curves.settling(content)],
        balance=balance,
        balance_plot=_markup(None if keep is None else curves.balance(balance, keep, classes)),
        galleries=() if keep is None else galleries(content, keep),
        overlaps=tuple(o for k in content.keeps if (o := overlap(content, k, plots.share(k))) is not None),
        ranks=ranks(content),
        costs=cost_lines(content),
        spec_json=_json(content.spec),
    )


def _markup(svg: str | None) -> Markup | None:
    return None if svg is None else Markup(svg)


def _plus_minus(mean: float | None, half: float | None, signed: bool = False) -> str:
    return _typeset(plus_minus(mean, half, signed))


def _gap(line: Line) -> str:
    """Return the gap to Random, and of how many pairs it is where not of every seed."""
    pairs = line.n_seeds if line.n_pairs is None else line.n_pairs
    return _typeset(gap_text(line.gap_mean, line.gap_half_width, pairs, line.n_seeds))


def _typeset(number: str) -> str:
    return number.replace("-", "−") or "–"


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
            gap = "" if best.gap_mean is None else f"{_gap(best)} points against Random"
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


def _json(value: Any) -> str:
    return json.dumps(value, indent=2, sort_keys=True, default=str, ensure_ascii=False)

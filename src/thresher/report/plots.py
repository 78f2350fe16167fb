"""The figures of the report, each a function from content to SVG."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from thresher.methods import FULL, RANDOM
from thresher.report.content import Content, Line, ScoreColumn
from thresher.report.svg import ACCENT, INK, MUTED, PAPER, REST, SERIES, draw

MARKERS = "osD^vPX<>*"


def share(keep: float) -> str:
    """Return a kept share as people say it.

    >>> share(0.1), share(0.125)
    ('10 %', '12.5 %')
    """
    return f"{100 * keep:g} %"


def accuracy_by_method(content: Content, keep: float, name: str) -> str:
    """Return accuracies at one kept share as a dot plot, best on top, with intervals and every seed as a small dot."""
    lines = sorted((x for x in content.lines if x.method != FULL and x.keep == keep), key=lambda x: x.accuracy_mean)
    full = _full(content)

    def paint(axes: Axes) -> None:
        _rows(axes, lines)
        places = {line.method: y for y, line in enumerate(lines)}
        for number in content.published:
            if abs(number.keep - keep) < 1e-6 and number.method in places:
                axes.plot(
                    [number.accuracy], [places[number.method]], "D", markersize=6, markerfacecolor=PAPER,
                    markeredgecolor=INK, markeredgewidth=1.2,
                )  # fmt: skip
        for line in lines:
            if line.method == RANDOM:
                axes.axvline(line.accuracy_mean, color=MUTED, linewidth=1, linestyle=":")
        if full is not None:
            axes.axvline(full.accuracy_mean, color=INK, linewidth=1, linestyle="--")
            axes.annotate(
                "full data", (full.accuracy_mean, 1), xycoords=("data", "axes fraction"), xytext=(-4, 3),
                textcoords="offset points", ha="right", fontsize=9, color=INK,
            )  # fmt: skip
        axes.set_yticks(range(len(lines)), [line.method for line in lines])
        axes.tick_params(axis="y", length=0, labelcolor=INK)
        axes.set_ylim(-0.6, len(lines) - 0.4)
        axes.spines["left"].set_visible(False)
        axes.grid(axis="x")
        axes.set_xlabel("accuracy on the test set, %")

    order = ", ".join(f"{x.method} {x.accuracy_mean:.2f}" for x in reversed(lines))
    alt = f"Accuracy in percent at {share(keep)} kept, best first: {order}."
    return draw((680, 60 + 26 * max(len(lines), 2)), alt, name, paint)


def _rows(axes: Axes, lines: Sequence[Line]) -> None:
    """Draw one line a method: mean with interval, and just below it every seed."""
    for y, line in enumerate(lines):
        colour = MUTED if line.method == RANDOM else ACCENT
        seeds = list(line.accuracies.values())
        axes.plot(seeds, [y - 0.26] * len(seeds), "o", color=colour, alpha=0.5, markersize=4, markeredgewidth=0)
        axes.errorbar(
            [line.accuracy_mean], [y], xerr=[line.accuracy_half_width or 0.0], fmt="o", color=colour, markersize=7,
            elinewidth=2, capsize=0, markeredgecolor=PAPER, markeredgewidth=1,
        )  # fmt: skip


def accuracy_by_keep(content: Content, name: str) -> str:
    """Return accuracy against kept share, a line per method with intervals, the full data as a level."""
    methods = [m for m in content.methods if any(x.method == m for x in content.lines)]
    full = _full(content)
    keeps = content.keeps
    logarithmic = keeps[-1] / keeps[0] > 5

    def paint(axes: Axes) -> None:
        for index, method in enumerate(methods):
            lines = sorted((x for x in content.lines if x.method == method), key=lambda x: x.keep)
            nudge = (index - (len(methods) - 1) / 2) / max(len(methods) - 1, 1)
            _curve(axes, lines, index, nudge, keeps, logarithmic)
        if full is not None:
            axes.axhline(full.accuracy_mean, color=INK, linewidth=1, linestyle="--", label="full data")
            half = full.accuracy_half_width
            if half is not None:
                axes.axhspan(full.accuracy_mean - half, full.accuracy_mean + half, color=INK, alpha=0.07, linewidth=0)
        if logarithmic:
            axes.set_xscale("log")
        axes.set_xticks(keeps, [share(keep) for keep in keeps])
        axes.set_xticks([], minor=True)
        axes.grid(axis="y")
        axes.set_xlabel("kept share of the training set" + (" (logarithmic)" if logarithmic else ""))
        axes.set_ylabel("accuracy on the test set, %")
        axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), fontsize=10)

    alt = f"Accuracy against kept share ({', '.join(map(share, keeps))}) for {', '.join(methods)}; values in the table."
    return draw((720, 400), alt, name, paint)


def beside_published(content: Content, name: str) -> list[tuple[str, str]]:
    """Return one small plot a method, (method, SVG): its accuracy against kept share, the published curve, and Random's."""
    methods = [
        m for m in content.methods
        if any(p.method == m for p in content.published) and any(x.method == m for x in content.lines)
    ]  # fmt: skip
    heights = [p.accuracy for p in content.published if p.method in methods]
    heights += [line.accuracy_mean for line in content.lines]
    if not methods:
        return []
    low, high = min(heights), max(heights)
    made = []
    for number, method in enumerate(methods):
        svg = _small(content, method, (low - 0.06 * (high - low), high + 0.06 * (high - low)), f"{name}{number}")
        made.append((method, svg))
    return made


def _small(content: Content, method: str, limits: tuple[float, float], name: str) -> str:
    mine = sorted((x for x in content.lines if x.method == method), key=lambda x: x.keep)
    random = sorted((x for x in content.lines if x.method == RANDOM), key=lambda x: x.keep)
    theirs = sorted((p for p in content.published if p.method == method), key=lambda p: p.keep)

    def paint(axes: Axes) -> None:
        if method != RANDOM:
            axes.plot([x.keep for x in random], [x.accuracy_mean for x in random], ":", color=MUTED, linewidth=1.2)
        axes.errorbar(
            [p.keep for p in theirs], [p.accuracy for p in theirs], yerr=[p.std or 0.0 for p in theirs], color=INK,
            linestyle="--", linewidth=1.2, marker="D", markersize=4.5, markerfacecolor=PAPER, elinewidth=1,
        )  # fmt: skip
        axes.errorbar(
            [x.keep for x in mine], [x.accuracy_mean for x in mine], yerr=[x.accuracy_half_width or 0.0 for x in mine],
            color=ACCENT, linewidth=1.8, marker="o", markersize=5, elinewidth=1.4, markeredgecolor=PAPER,
        )  # fmt: skip
        axes.set_ylim(*limits)
        keeps = sorted({x.keep for x in mine} | {p.keep for p in theirs})
        shown = keeps if len(keeps) <= 4 else [keeps[0], keeps[len(keeps) // 2], keeps[-1]]
        axes.set_xticks(shown, [share(keep) for keep in shown])
        axes.grid(axis="y")

    ours = ", ".join(f"{x.accuracy_mean:.2f} at {share(x.keep)}" for x in mine) or "none"
    told = ", ".join(f"{p.accuracy:.2f} at {share(p.keep)}" for p in theirs)
    return draw((300, 190), f"Accuracy of {method} in percent: ours {ours}; published {told}.", name, paint)


def _curve(axes: Axes, lines: Sequence[Line], index: int, nudge: float, keeps: Sequence[float], log: bool) -> None:
    shares = np.array([line.keep for line in lines])
    # Methods stand a little side by side, so that their intervals can be told apart.
    places = shares * 1.04**nudge if log else shares + nudge * 0.02 * (keeps[-1] - keeps[0])
    axes.errorbar(
        places, [line.accuracy_mean for line in lines], yerr=[line.accuracy_half_width or 0.0 for line in lines],
        color=SERIES[index % len(SERIES)], marker=MARKERS[index % len(MARKERS)], markersize=6, linewidth=1.6,
        elinewidth=1.2, markeredgecolor=PAPER, markeredgewidth=0.8, linestyle=("-", "--", ":")[index // len(SERIES) % 3],
        label=lines[0].method if lines else "",
    )  # fmt: skip


def histogram(column: ScoreColumn, kept: NDArray[np.int64] | None, alt: str, name: str) -> str | None:
    """Return a score's histogram, the kept samples filled in; None where no sample has a finite score.

    The outermost bars also hold what lies beyond the central 99 %.
    """
    finite = np.isfinite(column.values)
    values = column.values[finite].astype(np.float64)
    if not len(values):
        return None
    low, high = np.quantile(values, [0.005, 0.995])
    if low == high:
        low, high = values.min() - 0.5, values.max() + 0.5
    edges = np.linspace(low, high, 41)
    total = np.histogram(np.clip(values, low, high), edges)[0]
    chosen = None
    if kept is not None:
        mask = np.zeros(len(column.values), dtype=np.bool_)
        mask[kept] = True
        chosen = np.histogram(np.clip(column.values[finite & mask].astype(np.float64), low, high), edges)[0]

    def paint(axes: Axes) -> None:
        axes.stairs(total, edges, fill=True, color=REST, linewidth=0)
        if chosen is not None:
            axes.stairs(chosen, edges, fill=True, color=ACCENT, linewidth=0)
        axes.set_yticks([])
        axes.spines["left"].set_visible(False)
        axes.locator_params(axis="x", nbins=5)
        axes.margins(x=0.01)

    return draw((300, 130), alt, name, paint)


def _full(content: Content) -> Line | None:
    return next((line for line in content.lines if line.method == FULL), None)

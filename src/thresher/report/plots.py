"""The figures of the report, each a function from content to SVG."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from thresher.report.content import FULL, RANDOM, Content, DataMap, Line, ScoreColumn
from thresher.report.svg import ACCENT, INK, LEVELS, MUTED, PAPER, REST, SERIES, draw

_MARKERS = "osD^vPX<>*"
_POINTS = 3000
"""More samples than this are drawn as hexagons, fewer as points."""


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


def _curve(axes: Axes, lines: Sequence[Line], index: int, nudge: float, keeps: Sequence[float], log: bool) -> None:
    shares = np.array([line.keep for line in lines])
    # Methods stand a little side by side, so that their intervals can be told apart.
    places = shares * 1.04**nudge if log else shares + nudge * 0.02 * (keeps[-1] - keeps[0])
    axes.errorbar(
        places, [line.accuracy_mean for line in lines], yerr=[line.accuracy_half_width or 0.0 for line in lines],
        color=SERIES[index % len(SERIES)], marker=_MARKERS[index % len(_MARKERS)], markersize=6, linewidth=1.6,
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


def level_of(correctness: NDArray[np.float32]) -> NDArray[np.int64]:
    """Return the colour level 0..5 of shares in [0, 1]; NaN counts as never right."""
    return np.clip(np.nan_to_num(correctness, nan=0.0) * len(LEVELS), 0, len(LEVELS) - 1).astype(np.int64)


def data_map(content: DataMap, name: str) -> str:
    """Return mean against variability of the target probability: points, or hexagons where samples are many."""

    def paint(axes: Axes) -> None:
        usable = np.isfinite(content.mean) & np.isfinite(content.variability)
        mean, variability = content.mean[usable], content.variability[usable]
        correctness = None if content.correctness is None else content.correctness[usable]
        if len(mean) > _POINTS:
            _hexagons(axes, mean, variability, correctness)
        else:
            _points(axes, mean, variability, correctness)
        axes.set_xlabel("variability: standard deviation over epochs")
        axes.set_ylabel("confidence: mean probability of the true class")
        axes.set_ylim(-0.02, 1.02)
        axes.grid()

    alt = (
        f"Data map of {len(content.mean)} samples over {content.epochs} epochs: mean target probability (upwards) against "
        "its standard deviation, coloured by how often the prediction was right."
    )
    return draw((680, 440), alt, name, paint)


def _points(
    axes: Axes, mean: NDArray[np.float32], variability: NDArray[np.float32], correctness: NDArray[np.float32] | None
) -> None:
    level = np.full(len(mean), -1) if correctness is None else level_of(correctness)
    for value in sorted(set(level.tolist()), reverse=True):  # the rarely right lie on top: they are few
        here = level == value
        axes.scatter(
            variability[here], mean[here], s=12, color=LEVELS[value] if value >= 0 else ACCENT, alpha=0.7, linewidths=0
        )


def _hexagons(
    axes: Axes, mean: NDArray[np.float32], variability: NDArray[np.float32], correctness: NDArray[np.float32] | None
) -> None:
    extent = (0.0, max(float(variability.max()), 0.05), 0.0, 1.0)
    counts = axes.hexbin(variability, mean, gridsize=(44, 26), extent=extent, mincnt=1, linewidths=0.3)
    number = np.asarray(counts.get_array())
    colours = [ACCENT] * len(number)
    if correctness is not None:
        means = axes.hexbin(variability, mean, C=correctness, gridsize=(44, 26), extent=extent, mincnt=1)
        colours = [LEVELS[level] for level in level_of(np.asarray(means.get_array(), dtype=np.float32))]
        means.remove()
    counts.set_array(None)
    weight = np.log1p(number) / np.log1p(number.max())
    # Opacity says how many: in steps, which keeps the file small.
    opacity = np.round(0.3 + 0.7 * weight, 1)
    counts.set_facecolor([(colour, float(alpha)) for colour, alpha in zip(colours, opacity, strict=True)])
    counts.set_edgecolor("none")


def _full(content: Content) -> Line | None:
    return next((line for line in content.lines if line.method == FULL), None)

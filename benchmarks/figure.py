"""Draws docs/images/growth.svg, the growth of every cost, from the `raw["growth"]` of the results. `page.py` calls it.

The picture brings its colours for light and dark readers and a background of its own, so it can be read on any page.
"""

from __future__ import annotations

import html
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator, NullFormatter

from thresher import report
from thresher.report.plots import MARKERS
from thresher.report.svg import MUTED, SERIES, draw

ROOT = Path(__file__).resolve().parent.parent
RESULTS, IMAGE = ROOT / "docs" / "results" / "benchmarks", ROOT / "docs" / "images" / "growth.svg"
WIDTH, HEIGHT, COLUMNS, TITLE = 360, 290, 3, 26


@dataclass(frozen=True)
class Panel:
    """One diagram: the series of a result with these (cost, size); both axes are logarithmic unless `plain`."""

    title: str
    result: str
    wanted: Sequence[tuple[str, str]]
    across: str
    up: str
    plain: bool = False


PANELS = (
    Panel("Recorder: state", "recorder_sizes", (("state", "N"), ("peak of the process", "N")), "samples N", "GB"),
    Panel("Recorder: an epoch", "recorder_sizes", (("an epoch", "N"),), "samples N", "processor seconds"),
    Panel("Recorder: more classes", "recorder_sizes", (("state", "C"), ("an epoch", "C")), "classes C", "GB, processor s"),
    Panel("Store: more samples", "store_sizes", (("store", "N"), ("writing", "N")), "samples N", "GB, seconds"),
    Panel("Store: more epochs", "store_sizes", (("store", "T"), ("writing", "T")), "epochs T", "GB, seconds"),
    Panel("Scoring: more samples", "scoring", (("processor time", "N"), ("clock, 1 worker", "N")), "samples N", "seconds"),
    Panel("Scoring: more epochs", "scoring", (("processor time", "T"),), "epochs T", "processor seconds"),
    Panel("Scoring: more workers, 2 cores", "scoring", (("clock", "W"),), "workers", "seconds", plain=True),
    Panel("Selecting a tenth: time", "selection", (("clock", "N"),), "scores N", "seconds"),
    Panel("Selecting a tenth: memory", "selection", (("peak", "N"),), "scores N", "GiB"),
    Panel("Ranks: more samples", "network_sizes", (("sent an epoch", "N"),), "samples N", "GB sent an epoch"),
    Panel(
        "Ranks: more classes, features, ranks", "network_sizes",
        (("sent an epoch", "C"), ("sent an epoch", "D"), ("sent an epoch", "R")), "C, D or R", "GB sent an epoch",
    ),
)  # fmt: skip


def load() -> dict[str, list[dict[str, Any]]]:
    """Return the series of every result that is there."""
    names = {panel.result for panel in PANELS}
    paths = {name: RESULTS / f"{name}.json" for name in sorted(names)}
    return {name: json.loads(path.read_text())["raw"]["growth"] for name, path in paths.items() if path.exists()}


def short(value: float) -> str:
    """Return a number as an axis shows it.

    >>> short(0.01), short(20000.0), short(1e8)
    ('0.01', '20k', '100M')
    """
    for unit, size in (("M", 1e6), ("k", 1e3)):
        if value >= size:
            return f"{value / size:g}{unit}"
    return f"{value:g}"


def label(series: Mapping[str, Any], panel: Panel) -> str:
    """Return a line's name in the legend, with its exponent, and that between the two largest sizes where it differs."""
    several = len({cost for cost, _ in panel.wanted}) > 1
    name = ", ".join(part for part in (series["cost"] if several else "", series["line"]) if part)
    if panel.plain or series["size"] == "R":  # no power: the one ends at the cores, the other at all rows
        return name
    last = f", last {series['last']:.2f}" if abs(series["last"] - series["exponent"]) > 0.05 else ""
    return f"{name}: {series['size']}^{series['exponent']:.2f}{last}"


def picture(panel: Panel, growth: Sequence[Mapping[str, Any]], name: str) -> tuple[str, str]:
    """Return a panel's SVG and what it says in words."""
    chosen = [one for wanted in panel.wanted for one in growth if (one["cost"], one["size"]) == wanted]

    def paint(axes: Axes) -> None:
        for number, one in enumerate(chosen):
            across, up = zip(*sorted(one["points"]), strict=True)
            axes.plot(across, up, color=SERIES[number + 1], marker=MARKERS[number], markersize=4.5, label=label(one, panel))
            if panel.plain:
                ideal = [up[0] / min(count, 2) for count in across]
                axes.plot(across, ideal, color=MUTED, linestyle=":", label="half with two, and no less")
                axes.set_xticks(across)
                axes.set_ylim(0, 1.25 * max(up))
        if not panel.plain:
            axes.set_xscale("log")
            axes.set_yscale("log")
            low, high = axes.get_ylim()
            axes.set_ylim(low, high * (high / low) ** (0.1 + 0.1 * len(chosen)))  # room for the legend
            for axis, (least, most) in ((axes.xaxis, axes.get_xlim()), (axes.yaxis, axes.get_ylim())):
                axis.set_major_locator(LogLocator(subs=(1,) if most > 50 * least else (1, 2, 5)))
                axis.set_major_formatter(lambda value, place: short(value))
                axis.set_minor_formatter(NullFormatter())
        axes.grid()
        axes.set_xlabel(panel.across)
        axes.set_ylabel(panel.up)
        axes.legend(loc="upper left", fontsize=8)

    words = "; ".join(label(one, panel) for one in chosen)
    return draw((WIDTH - 20, HEIGHT - TITLE - 10), panel.title, name, paint), f"{panel.title}: {words}."


def figure(growth: Mapping[str, Sequence[Mapping[str, Any]]]) -> str:
    """Return the whole picture, a file of its own."""
    css = (Path(report.__file__).parent / "templates" / "style.css").read_text()
    palette = css[: css.index("* {")]
    parts, words = [], []
    panels = [panel for panel in PANELS if panel.result in growth]
    for place, panel in enumerate(panels):
        x, y = 10 + place % COLUMNS * WIDTH, 10 + place // COLUMNS * HEIGHT
        svg, said = picture(panel, growth[panel.result], f"p{place}")
        size = f'x="{x}" y="{y + TITLE}" width="{WIDTH - 20}" height="{HEIGHT - TITLE - 10}"'
        parts.append(f'<text class="title" x="{x}" y="{y + 16}">{html.escape(panel.title)}</text>')
        parts.append(svg.replace("<svg ", f"<svg {size} ", 1))
        words.append(said)
    width, height = COLUMNS * WIDTH, 10 + -(-len(panels) // COLUMNS) * HEIGHT
    fonts = "text { font-family: system-ui, sans-serif } .title { fill: var(--ink); font-weight: 600; font-size: 14px }"
    size = f'viewBox="0 0 {width} {height}" width="{width}" height="{height}"'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" role="img" {size}>'
    title = f"<title>{html.escape(' '.join(words))}</title>"
    paper = f'<rect width="{width}" height="{height}" fill="var(--paper)"/>'
    return "\n".join([head, title, f"<style>{palette}{fonts}</style>", paper, *parts, "</svg>", ""])


def main() -> None:
    """Write the picture."""
    IMAGE.write_text(figure(load()), encoding="utf-8")


if __name__ == "__main__":
    main()

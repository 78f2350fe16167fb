"""Matplotlib figures as inline SVG: deterministic, without metadata, coloured by the page's CSS variables.

A figure is drawn with stand-in colours; in the text of the SVG each becomes `var(--name)`, so that one drawing serves light
and dark pages.
"""

from __future__ import annotations

import html
import io
import re
import warnings
from collections.abc import Callable
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

INK, MUTED, GRID, ACCENT, REST, PAPER = (f"#0101{k:02x}" for k in range(1, 7))
SERIES = tuple(f"#0202{k:02x}" for k in range(1, 11))
LEVELS = tuple(f"#0303{k:02x}" for k in range(1, 7))

_VARIABLES = {
    INK: "--ink",
    MUTED: "--muted",
    GRID: "--grid",
    ACCENT: "--accent",
    REST: "--rest",
    PAPER: "--paper",
    **{colour: f"--s{k}" for k, colour in enumerate(SERIES)},
    **{colour: f"--m{k}" for k, colour in enumerate(LEVELS)},
}
_SETTINGS: dict[Any, Any] = {
    "svg.hashsalt": "thresher",
    "svg.fonttype": "none",
    "text.parse_math": False,
    "font.size": 10,
    "axes.edgecolor": GRID,
    "axes.labelcolor": MUTED,
    "axes.titlecolor": INK,
    "text.color": INK,
    "xtick.color": GRID,
    "ytick.color": GRID,
    "xtick.labelcolor": MUTED,
    "ytick.labelcolor": MUTED,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.unicode_minus": True,
    "axes.axisbelow": True,
    "grid.color": GRID,
    "grid.linewidth": 0.6,
    "legend.frameon": False,
}


def draw(size: tuple[float, float], alt: str, name: str, painter: Callable[[Axes], None]) -> str:
    """Return the SVG that `painter` draws on axes of `size` (in CSS pixels); `alt` is read out, `name` makes ids unique."""
    buffer = io.StringIO()
    with matplotlib.rc_context(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # glyphs missing in Matplotlib's font are drawn by the browser's
        matplotlib.rcdefaults()  # a user's own matplotlibrc does not change the page
        matplotlib.rcParams.update(_SETTINGS)
        figure = Figure(figsize=(size[0] / 72, size[1] / 72), layout="constrained")
        figure.patch.set_alpha(0)
        axes = figure.add_subplot()
        axes.patch.set_alpha(0)
        painter(axes)
        FigureCanvasSVG(figure)
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    return _inline(buffer.getvalue(), alt, name)


def _inline(text: str, alt: str, name: str) -> str:
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r"<!--.*?-->", "", text, flags=re.DOTALL)  # labels once more, as comments
    text = re.sub(r"<defs>\s*<style.*?</defs>", "", text, count=1, flags=re.DOTALL)  # would style the whole page
    text = re.sub(r" font-family: [^;\"]*;", "", text)  # the page's font serves
    text = text.replace("xlink:href", "href")
    text = re.sub(r'(?<= id=")', f"{name}-", text)
    text = re.sub(r'(?<=href="#)', f"{name}-", text)
    text = re.sub(r"(?<=url\(#)", f"{name}-", text)
    for colour, variable in _VARIABLES.items():
        text = text.replace(colour, f"var({variable})")
    view = re.search(r'viewBox="([^"]*)"', text)
    box = view.group(1) if view else "0 0 1 1"
    label = html.escape(alt, quote=True)
    text = re.sub(
        r"<svg[^>]*>", lambda _: f'<svg class="plot" role="img" aria-label="{label}" viewBox="{box}">', text, count=1
    )
    text = re.sub(r' (?:d|x|y|transform)="[^"]*"', lambda found: _short(found.group()), text)
    return re.sub(r"\s*\n\s*", "\n", text).strip()


def _short(attribute: str) -> str:
    """Cut coordinates to hundredths of a pixel."""
    return re.sub(r"(\d+\.\d\d)\d+", r"\1", attribute.replace("\n", ""))

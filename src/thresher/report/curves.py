"""Two more figures: how rankings settle over the epochs, and what coresets take from each class."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes

from thresher.report.balance import Balance
from thresher.report.content import Content
from thresher.report.plots import MARKERS, share
from thresher.report.svg import ACCENT, INK, MUTED, SERIES, draw


def settling(content: Content) -> list[tuple[str, str]]:
    """Return (caption, SVG): Spearman's correlation with the last ranking, and the overlap of the hardest samples."""
    if not content.settling:
        return []
    kept = share(content.settling_keep)
    panels = (
        ("correlation", "Rank correlation with the ranking at the end"),
        ("overlap", f"Share of the hardest {kept} that are the hardest {kept} at the end"),
    )
    return [(caption, _settling(content, what, caption)) for what, caption in panels]


def _settling(content: Content, what: str, caption: str) -> str:
    def paint(axes: Axes) -> None:
        for number, line in enumerate(content.settling):
            axes.plot(
                line.at, getattr(line, what), marker=MARKERS[number % len(MARKERS)], markersize=4.5, linewidth=1.6,
                color=SERIES[(number + 1) % len(SERIES)], label=line.name,
            )  # fmt: skip
        points = sorted({at for line in content.settling for at in line.at})
        axes.set_xscale("log")
        shown = points if len(points) <= 6 else [*points[::2], *([] if len(points) % 2 else points[-1:])]
        axes.set_xticks(shown, [str(at) for at in shown])
        axes.set_xticks([], minor=True)
        axes.set_ylim(min(0.0, axes.get_ylim()[0]), 1.03)
        axes.grid(axis="y")
        axes.set_xlabel("completed epochs (logarithmic)")
        axes.legend(loc="lower right", fontsize=9, ncols=2 if len(content.settling) > 4 else 1)

    first = "; ".join(f"{x.name} {getattr(x, what)[0]:.2f} after {x.at[0]} epochs" for x in content.settling)
    return draw((380, 280), f"{caption}, by completed epochs: {first}; 1 at the end.", f"settling-{what}", paint)


def balance(found: Sequence[Balance], keep: float, names: Sequence[str]) -> str | None:
    """Return one row a method with a mark for every class at the share of it that was kept; None without coresets."""
    if not found:
        return None
    rows = list(reversed(found))

    def paint(axes: Axes) -> None:
        for y, one in enumerate(rows):
            shares = [100 * value for value in one.shares]
            axes.plot([min(shares), max(shares)], [y, y], color=ACCENT, linewidth=1, alpha=0.35)
            axes.plot(
                shares, [y] * len(shares), "o", color=ACCENT, alpha=0.55 if len(shares) <= 20 else 0.25, markersize=6,
                markeredgewidth=0,
            )  # fmt: skip
        axes.axvline(100 * keep, color=INK, linewidth=1, linestyle="--")
        axes.annotate(
            "the whole set's proportions", (100 * keep, 1), xycoords=("data", "axes fraction"), xytext=(4, 3),
            textcoords="offset points", fontsize=9, color=MUTED,
        )  # fmt: skip
        axes.set_yticks(range(len(rows)), [one.method for one in rows])
        axes.tick_params(axis="y", length=0, labelcolor=INK)
        axes.set_ylim(-0.6, len(rows) - 0.4)
        axes.set_xlim(left=min(0.0, axes.get_xlim()[0]))
        axes.spines["left"].set_visible(False)
        axes.grid(axis="x")
        axes.set_xlabel("kept share of each class, %")

    told = "; ".join(f"{one.method} from {one.least} to {one.most}" for one in found)
    alt = f"Kept share of each of {len(names)} classes at {share(keep)}: {told}."
    return draw((680, 60 + 24 * max(len(rows), 2)), alt, "balance", paint)

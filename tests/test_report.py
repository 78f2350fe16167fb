"""The report: one file that needs nothing else, escapes everything, and comes out of any run, however small."""

from __future__ import annotations

import base64
import io
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from thresher.coreset import Coreset
from thresher.report import (
    Content,
    Cost,
    DataMap,
    Ledger,
    Line,
    Published,
    ScoreColumn,
    Selection,
    Settling,
    Suspects,
    curves,
    plots,
    render,
)
from thresher.report.agreement import overlap, ranks, spearman
from thresher.report.balance import balances
from thresher.report.costs import cost_lines, pays_from
from thresher.report.gallery import _classes_to_show, _spread, galleries
from thresher.report.map_data import map_data, sheet
from thresher.report.page import _histograms, _tiles
from thresher.report.percent import gap_text
from thresher.score_table import write_scores
from thresher.types import Frame, Scores

METHODS = ("random", "tdds", "ccs:cutoff=0.3", "a&b<c>")
VOID = {"meta", "img", "br", "link", "input", "hr"}
N = 60


def content(
    methods: tuple[str, ...] = METHODS,
    keeps: tuple[float, ...] = (0.1, 0.5),
    seeds: int = 3,
    classes: int = 3,
    n: int = N,
    full: bool = True,
) -> Content:
    rng = np.random.default_rng(0)
    pictures = rng.integers(0, 256, (n, 8, 8, 1), dtype=np.uint8)
    half = 1.5 if seeds > 1 else None
    lines = [Line("full", 1.0, n, seeds, 97.25, half, None, None, 12.0)] if full else []
    columns, selections = [], []
    for number, method in enumerate(methods):
        values = rng.gamma(2.0, 1.0, n).astype(np.float32)
        columns.append(ScoreColumn(f"score {method}", values, "low" if number % 2 else "high"))
        for keep in keeps:
            gap, gap_half = (None, None) if method == "random" else (2.0 - number, half)
            accuracies = {seed: 80.0 + number + seed for seed in range(seeds)}
            kept = int(n * keep)
            lines.append(Line(method, keep, kept, seeds, 81.0 + number, half, gap, gap_half, 3.0, accuracies))
            selections.append(Selection(method, keep, np.sort(np.argsort(values)[-kept:]), columns[-1].name, 0))
    mean = rng.random(n).astype(np.float32)
    shown = np.arange(0, n, 2)
    trajectories = rng.random((len(shown), 30)).astype(np.float32)
    trajectories[0, 3] = np.nan
    costs = tuple(Cost(method, keep, 30, 1.5, int(n * keep) * 40) for method in methods for keep in keeps)
    return Content(
        title="Pruning <b>things</b>",
        description="60 images & more",
        targets=np.arange(n, dtype=np.int64) % classes,
        class_names=("<script>alert(1)</script>", '"quoted" $x_1$', "日本")[:classes],
        lines=tuple(lines),
        scores=tuple(columns),
        selections=tuple(selections),
        data_map=DataMap(mean, np.sqrt(mean * (1 - mean)), mean, 30, shown, trajectories),
        published=tuple(Published(method, keep, 83.0, 0.3) for method in methods for keep in (0.1, 0.3)),
        published_note="Published <elsewhere>",
        settling=tuple(Settling(f"score {m}", (2, 9, 30), (0.3, 0.8, 1.0), (0.1, 0.7, 1.0)) for m in methods),
        suspects=(Suspects("Worst <first>", np.array([5, 3]), np.array([1.2, 1.1], dtype=np.float32)),),
        planted=np.arange(n) == 5,
        ledger=Ledger(30, 30 * n, 90.0, 1.0, 40 * n, 10.0, costs),
        image=lambda i: pictures[i],
        facts=(("Model", "tiny"),),
        notices=("tdds: T=10, K=5 <published>",),
        titles={"tdds": "Temporal Dual-Depth Scoring"},
        environment={"python": "3.11", "gpu": None},
        spec={"data": "</pre><script>"},
        command="thresher run",
    )


class Balance(HTMLParser):
    """Checks that every tag is closed in order; collects the attributes, the ids and the tags."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.feed(text)
        self.close()
        assert not self.open, f"never closed: {self.open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes += [(tag, name, value or "") for name, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag


@pytest.fixture(scope="module")
def page() -> str:
    return render(content())


def test_the_gallery_of_a_random_draw_is_the_last_and_ranks_nothing(page: str) -> None:
    made = galleries(content(), 0.1)
    assert [gallery.method for gallery in made] == [*METHODS[1:], "random"]
    assert [bool(gallery.highest and gallery.lowest) for gallery in made] == [True, True, True, False]
    assert made[-1].classes[0].kept_examples
    assert made[-1].classes[0].kept_examples[0].score == ""
    assert re.search(r"<details open>\s*<summary>tdds", page)


def test_every_tag_is_closed_and_ids_are_unique(page: str) -> None:
    found = Balance(page)
    ids = [value for _, name, value in found.attributes if name == "id"]
    assert len(ids) == len(set(ids))
    targets = {value[1:] for _, name, value in found.attributes if name == "href"}
    targets |= set(re.findall(r"url\(#([^)]*)\)", page))
    assert targets <= set(ids)


def test_nothing_is_fetched(page: str) -> None:
    for tag, name, value in Balance(page).attributes:
        if name in ("src", "srcset", "href", "xlink:href", "data", "poster", "action"):
            assert value.startswith(("#", "data:image/")), f"<{tag} {name}={value[:60]}>"
    assert not re.findall(r"url\((?!#)", page)
    assert "@import" not in page
    assert not re.findall(r"<(link|iframe|object|embed|base)\b", page)


def test_everything_is_escaped(page: str) -> None:
    assert page.count("<script") == 2  # our own, and the data of the map
    assert page.count("</script>") == 2
    assert "&lt;script&gt;alert(1)" in page
    assert "a&b<c>" not in page
    assert "<b>things" not in page
    assert "$x_1$" in page  # no mathematics is read into names


def test_galleries_go_from_end_to_end_and_count_what_was_kept() -> None:
    values = np.array([3, 9, np.nan, 1, 7, 5], dtype=np.float32)
    base = replace(content(n=6), targets=np.array([0, 0, 0, 1, 1, 1]), class_names=("a", "b"))
    chosen = Selection("m", 0.5, np.array([1, 4, 5]), "s")
    (made,) = galleries(replace(base, scores=(ScoreColumn("s", values),), selections=(chosen,)), 0.5)
    assert [(t.sample_id, t.score) for t in made.highest] == [(1, "9"), (4, "7"), (5, "5"), (0, "3"), (3, "1")]
    assert [t.sample_id for t in made.lowest] == [3, 0, 5, 4, 1]
    assert [(row.name, row.kept, row.size) for row in made.classes] == [("a", 1, 3), ("b", 2, 3)]
    assert [[t.sample_id for t in row.kept_examples] for row in made.classes] == [[1], [5, 4]]  # lowest score first
    assert [[t.sample_id for t in row.dropped_examples] for row in made.classes] == [[0, 2], [3]]
    assert [t.score for t in made.classes[0].dropped_examples] == ["3", ""]  # none, and so none is shown
    ids = np.arange(5)
    assert _spread(ids, np.array([50, 10, 40, 20, 30], dtype=np.float32), 3).tolist() == [1, 4, 0]


def test_of_many_classes_those_with_the_largest_and_the_smallest_shares_are_shown() -> None:
    targets = np.repeat(np.arange(12), [12, 24] * 6)  # of class c are kept c twelfths
    kept = np.concatenate([np.arange(size) < label * size // 12 for label, size in enumerate([12, 24] * 6)])
    assert _classes_to_show(targets, kept).tolist() == [11, 10, 9, 8, 7, 4, 3, 2, 1, 0]
    assert _classes_to_show(targets[:180], kept[:180]).tolist() == list(range(10))


def test_the_balance_of_classes_by_hand() -> None:
    targets = np.repeat(np.arange(4), [6, 3, 1, 2])
    kept = {"some": [0, 1, 2, 6, 7, 10], "even": [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11], "one": [0, 3]}
    chosen = tuple(Selection(method, 0.5, np.array(ids)) for method, ids in kept.items())
    base = Content("title", "text", targets, ("a", "b", "c", "d"), selections=chosen)
    names, (some, even, one) = balances(base, 0.5)
    assert names == ("a", "b", "c", "d")
    assert (some.counts, some.shares) == ((3, 2, 0, 1), (0.5, 2 / 3, 0.0, 0.5))
    assert (some.least, some.most, some.empty) == ("c: 0.0 %", "b: 66.7 %", 1)
    assert some.even == pytest.approx(1.0114 / 1.1988, abs=1e-4)  # entropies of (3, 2, 1) of 6 and (6, 3, 1, 2) of 12
    assert (even.even, even.empty) == (pytest.approx(1.0), 0)
    assert f"{one.even:.3f}" == "0.000"  # without a sign
    two = balances(replace(base, targets=np.repeat([0, 1], [9, 3])), 0.5)[1]
    assert [(found.counts, found.even) for found in two[1:]] == [((9, 3), 1.0), ((2, 0), 0.0)]


def test_names_from_right_to_left_leave_their_numbers_where_they_are() -> None:
    page = render(replace(content(), class_names=("one", "\u05e9\u05dc\u05d5\u05dd", "\u05e9")))
    kept = re.search(r"<h3><bdi>\u05e9\u05dc\u05d5\u05dd</bdi>: ([0-9]+) of 20 kept \(([0-9.]+) %\)", page)
    assert kept is not None
    assert float(kept[2]) == 5 * int(kept[1])
    assert re.search("<td>\u2068\u05e9(\u05dc\u05d5\u05dd)?\u2069: [0-9.]+ %</td>", page)


def test_every_method_and_section_appears(page: str) -> None:
    for method in ("random", "tdds", "ccs:cutoff=0.3", "a&amp;b&lt;c&gt;"):
        assert page.count(method) >= 4
    for section in (
        "results",
        "accuracy",
        "map",
        "suspects",
        "cost",
        "settling",
        "balance",
        "overlap",
        "scores",
        "galleries",
        "provenance",
    ):
        assert f'<section id="{section}">' in page
    assert '--v:1.00">100</td>' in page  # a score's correlation with itself
    assert "by the same numbers of a seed, and share more; so do auto and dual_beta." in page  # see test_selectors
    assert "All seeds share one surrogate: how much another one would change is in no interval." in page
    assert "81.00 ± 1.50" in page
    assert "+1.00 ± 1.50" in page
    assert "−1.00 ± 1.50" in page


def test_a_gap_of_fewer_pairs_than_seeds_says_so() -> None:
    lines = [Line("tdds", 0.1, 6, 2, 80.0, 1.0, -0.02, None, 1.0, {0: 80.0, 1: 80.0}, 1)]
    assert "−0.02 (1 pair)" in render(replace(content(), lines=tuple(lines)))
    assert " pair)" not in render(replace(content(), lines=(replace(lines[0], n_pairs=2),)))


def line(method: str, mean: float, half: float | None = 1.0, *gap: float | None) -> Line:
    """Return a line of two seeds at a tenth of 60, with its gap and the gap's half-width where there are any."""
    return Line(method, 0.1, 6, 2, mean, half, *(gap or (None, None)), 3.0, {0: mean - 1, 1: mean + 1})


def test_a_gap_is_marked_where_its_interval_leaves_out_0() -> None:
    lines = (
        line("better", 84.0, 0.75, 4.0, 1.5), line("worse", 77.0, 0.75, -3.0, 1.5), line("open", 81.5, 0.75, 1.5, 1.5),
        line("once", 82.0, None, 2.0, None),
    )  # fmt: skip
    page = render(Content("title", "text", np.zeros(60, np.int64), (), lines=lines))
    cells = re.findall(r'<td data-value="[-.0-9]+"( class="\w+")?>([+\u2212][^<]*)</td>', page)
    assert cells == [
        (' class="above"', "+4.00 ± 1.50"),
        (' class="below"', "\u22123.00 ± 1.50"),
        ("", "+1.50 ± 1.50"),
        ("", "+2.00"),
    ]
    assert page.count("84.00 ± 0.75") == 2  # in the table, and as the highest


def test_the_numbers_above_everything_are_of_the_smallest_share() -> None:
    random, better = line("random", 80.0), line("better", 84.0, 0.75, 4.0, 1.5)
    more = tuple(replace(one, keep=0.5, kept=30, accuracy_mean=95.0) for one in (random, better))
    full = Line("full", 1.0, 60, 1, 97.25, None, None, None, 9.0)
    lines = (*more, random, line("worse", 77.0), better, full)
    base = Content("title", "text", np.zeros(60, np.int64), (), lines=lines)
    highest = ("Highest mean at 10 %: better", "84.00 ± 0.75 %", "+4.00 ± 1.50 points against Random")
    assert _tiles(base) == [
        ("Full training set", "97.25 %", "60 samples"), ("Random at 10 %", "80.00 ± 1.00 %", "6 samples"), highest,
    ]  # fmt: skip
    lucky = replace(random, accuracy_mean=90.0)
    assert _tiles(replace(base, lines=(lucky, better)))[1:] == [highest]  # of the methods, whatever Random has


def axes_of(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Let figures be painted, not drawn, and return the list that their axes go to."""
    from matplotlib.figure import Figure

    painted: list[Any] = []

    def paint(size: object, alt: str, name: str, painter: Any) -> str:
        painted.append(Figure().add_subplot())
        painter(painted[-1])
        return alt

    for module in (plots, curves):
        monkeypatch.setattr(module, "draw", paint)
    return painted


def bars(axes: Any) -> list[list[float]]:
    """Return the ends of all error bars, across or upwards."""
    ends = [segment for group in axes.containers for segment in group.lines[2][0].get_segments()]
    return [sorted({round(float(value), 6) for value in end[:, int(end[0, 0] == end[1, 0])]}) for end in ends]


def test_figures_show_the_intervals_of_the_table(monkeypatch: pytest.MonkeyPatch) -> None:
    painted = axes_of(monkeypatch)
    here = (line("better", 84.0, 0.75, 4.0, 1.5), line("random", 80.0, 0.5), line("worse", 77.0, 0.25, -3.0, 1.5))
    there = tuple(replace(one, keep=0.5, accuracy_mean=one.accuracy_mean + 10) for one in here)
    full = Line("full", 1.0, 60, 3, 97.0, 2.0, None, None, 9.0)
    published = (Published("better", 0.1, 86.0, 0.125), Published("better", 0.5, 95.0), Published("worse", 0.1, 79.0))
    base = Content("title", "text", np.zeros(60, np.int64), (), lines=(*here, *there, full), published=published)
    alt = plots.accuracy_by_method(base, 0.1, "a")
    assert alt.endswith("at 10 % kept, best first: better 84.00, random 80.00, worse 77.00.")
    assert bars(painted[0]) == [[76.75, 77.25], [79.5, 80.5], [83.25, 84.75]]  # the best on top
    others = [(one.get_marker(), one.get_linestyle(), *one.get_xydata()[0].tolist()) for one in painted[0].lines]
    assert [x for marker, _, x, y in others if marker == "o" and y < 0] == [76.0]  # its first seed
    assert [(x, y) for marker, _, x, y in others if marker == "D"] == [(86.0, 2.0), (79.0, 0.0)]
    assert [x for _, style, x, _ in others if style == ":"] == [80.0]
    assert [x for _, style, x, _ in others if style == "--"] == [97.0]
    plots.accuracy_by_keep(base, "b")
    assert bars(painted[1])[:4] == [[83.25, 84.75], [93.25, 94.75], [79.5, 80.5], [89.5, 90.5]]
    spans = [box.get_patch_transform().transform(box.get_path().vertices)[:, 1] for box in painted[1].patches]
    assert [(span.min(), span.max()) for span in spans] == [(95.0, 99.0)]
    told = dict(plots.beside_published(base, "c"))
    assert told["better"].endswith("ours 84.00 at 10 %, 94.00 at 50 %; published 86.00 at 10 %, 95.00 at 50 %.")
    assert bars(painted[2]) == [[85.875, 86.125], [95.0], [83.25, 84.75], [93.25, 94.75]]
    assert painted[2].lines[0].get_xydata().tolist() == [[0.1, 80.0], [0.5, 90.0]]  # Random's


def test_figures_show_when_rankings_settle_and_what_classes_give(monkeypatch: pytest.MonkeyPatch) -> None:
    painted = axes_of(monkeypatch)
    settled = (Settling("a", (2, 9), (0.25, 1.0), (0.5, 1.0)), Settling("b", (4, 9), (0.75, 1.0), (0.125, 1.0)))
    chosen = (Selection("some", 0.5, np.array([0, 1, 2, 7])), Selection("one", 0.5, np.array([6])))
    base = Content("title", "text", np.repeat([0, 1], [6, 2]), ("x", "y"), settling=settled, selections=chosen)
    (_, correlation), (caption, _) = curves.settling(base)
    assert correlation.endswith(": a 0.25 after 2 epochs; b 0.75 after 4 epochs; 1 at the end.")
    assert caption == "Share of the hardest 10 % that are the hardest 10 % at the end"
    points = [[one.get_xydata().tolist() for one in axes.lines] for axes in painted]
    assert points == [[[[2, 0.25], [9, 1]], [[4, 0.75], [9, 1]]], [[[2, 0.5], [9, 1]], [[4, 0.125], [9, 1]]]]
    names, found = balances(base, 0.5)
    alt = curves.balance(found, 0.5, names)
    assert alt is not None
    assert alt.endswith("2 classes at 50 %: some from x: 50.0 % to x: 50.0 %; one from x: 0.0 % to y: 50.0 %.")
    assert [label.get_text() for label in painted[2].get_yticklabels()] == ["one", "some"]  # the first on top
    dots = [one.get_xydata().tolist() for one in painted[2].lines if one.get_marker() == "o"]
    assert dots == [[[0, 0], [50, 0]], [[50, 1], [50, 1]]]
    spans = [one.get_xydata().tolist() for one in painted[2].lines[:-1] if one.get_marker() != "o"]
    assert spans == [[[0, 0], [50, 0]], [[50, 1], [50, 1]]]  # from the least to the most of a class
    assert painted[2].lines[-1].get_xdata() == [50.0, 50.0]  # the whole set's proportions


def test_a_histogram_holds_every_sample_and_fills_in_the_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    painted = axes_of(monkeypatch)
    values = np.arange(1003, dtype=np.float32) ** 2
    values[[1001, 1002]] = np.nan, np.inf
    columns = (ScoreColumn("s", values), ScoreColumn("t", values, "low"))
    chosen = (Selection("m", 0.1, np.array([0, 1, 1000, 1001]), "s"),)
    base = Content("title", "text", np.zeros(1003, np.int64), (), scores=columns, selections=chosen)
    one, other = _histograms(base)
    assert [(found.title, found.note) for found in (one, other)] == [
        ("s (m)", "hard end: high; 1 without a score"),
        ("t", "hard end: low; no method selects by it alone; 1 without a score"),
    ]
    assert one.svg == "Histogram of s (m) from 0 to 1e+06, median 2.5e+05; 4 kept samples are filled in."
    every, kept = (patch.get_data() for patch in painted[0].patches)
    assert (every.values.sum(), every.edges[0], every.edges[-1], len(every.values)) == (1001, 25.0, 990025.0, 40)
    assert kept.values.tolist() == [2, *[0] * 38, 1]  # the outermost bars hold what lies beyond


def test_what_a_report_is_of() -> None:
    base = content()
    assert base.keeps == (0.1, 0.5)  # the full data are no kept share
    twice = replace(base, selections=tuple(replace(base.selections[0], seed=seed) for seed in (7, 3)))
    assert twice.selected(0.1)["random"].seed == 7  # the first given
    assert [base.class_name(target) for target in (-1, 2, 3)] == ["-1", "日本", "3"]


def test_every_picture_is_described(page: str) -> None:
    found = Balance(page).attributes
    assert [name for tag, name, _ in found if tag == "img"].count("alt") == page.count("<img ")
    assert all(value for tag, name, value in found if (tag, name) in (("img", "alt"), ("svg", "aria-label")))


def test_equal_content_gives_equal_bytes(page: str) -> None:
    assert render(content()) == page


def test_a_user_s_matplotlib_settings_neither_matter_nor_change(page: str) -> None:
    import matplotlib

    with matplotlib.rc_context({"font.size": 30.0, "axes.grid": True, "svg.fonttype": "path"}):
        assert render(content()) == page
        assert matplotlib.rcParams["font.size"] == 30.0


@pytest.mark.parametrize(
    "change",
    [
        {"keeps": (0.5,)},
        {"seeds": 1},
        {"full": False},
        {"classes": 1},
        {"methods": ("random",)},
        {"methods": ("tdds",), "keeps": (1.0,)},
        {"methods": ()},
        {"n": 4000, "methods": ("tdds",), "keeps": (0.1,)},
    ],
    ids=lambda change: ",".join(change),
)
def test_small_and_odd_studies(change: dict[str, object]) -> None:
    Balance(render(content(**change)))  # type: ignore[arg-type]


def test_scores_may_be_missing_constant_or_infinite() -> None:
    base = content(keeps=(0.5,))
    nothing, constant, odd = np.full(N, np.nan), np.ones(N), np.arange(N, dtype=np.float64)
    odd[:2] = np.nan, np.inf
    values = (nothing, constant, odd)
    scores = tuple(replace(c, values=v.astype(np.float32)) for c, v in zip(base.scores, values, strict=False))
    page = render(replace(base, scores=scores))
    Balance(page)
    assert "No sample has a score." in page
    assert "60 without a score" in page


def test_a_run_without_images_map_or_trainings_has_a_report() -> None:
    bare = {"published": (), "settling": (), "suspects": (), "planted": None, "ledger": None}
    page = render(replace(content(), image=None, data_map=None, lines=(), selections=(), scores=(), **bare))  # type: ignore[arg-type]
    Balance(page)
    assert "No training has finished yet." in page
    assert "<img" not in page


def test_classes_without_names_and_maps_with_unseen_samples() -> None:
    base = content()
    assert base.data_map is not None
    mean = base.data_map.mean.copy()
    mean[:5] = np.nan
    blind = replace(base.data_map, mean=mean, correctness=None)
    Balance(render(replace(base, class_names=(), data_map=blind)))


def test_many_colour_images_in_many_classes_stay_small() -> None:
    rng = np.random.default_rng(1)
    n, names = 5000, tuple(f"m{k}" for k in range(9))
    noise = rng.integers(0, 256, (64, 32, 32, 3), dtype=np.uint8)  # noise does not compress: the worst case
    big = replace(content(names, (0.1,), n=n), targets=rng.integers(0, 100, n), image=lambda i: noise[i % 64])
    assert len(render(big)) < 8_000_000


def test_fifty_thousand_samples_stay_below_fifteen_megabytes() -> None:
    rng = np.random.default_rng(2)
    n, shown = 50_000, np.arange(2000)
    noise = rng.integers(0, 256, (64, 32, 32, 3), dtype=np.uint8)
    base = content(tuple(f"m{k}" for k in range(12)), (0.1,), n=n)
    assert base.data_map is not None
    found = replace(base.data_map, shown=shown, trajectories=rng.random((2000, 200)).astype(np.float32), epochs=200)
    page = render(replace(base, data_map=found, image=lambda i: noise[i % 64]))
    assert len(page) < 15_000_000


def _map(base: Content) -> dict[str, Any]:
    """Return what the script of the data map reads."""
    found: dict[str, Any] = json.loads(str(map_data(base)))
    return found


def test_the_map_holds_what_was_put_in(page: str) -> None:
    base = content()
    assert str(map_data(base)) in page
    assert base.data_map is not None
    assert base.data_map.trajectories is not None
    packed = _map(base)
    assert packed["classes"] == list(base.class_names)

    def numbers(text: str, kind: str) -> np.ndarray:  # type: ignore[type-arg]
        return np.frombuffer(base64.b64decode(text), kind)

    np.testing.assert_allclose(numbers(packed["y"], "<u2") / 65534, base.data_map.mean, atol=1e-5)
    share = np.array([1 / 6, 0.495, 2 / 3, np.nan], dtype=np.float32)
    right = numbers(_map(replace(base, data_map=replace(base.data_map, correctness=share)))["right"], "<u2")
    assert right.tolist() == [64800 // 6, 324 * 99, 64800 * 2 // 3, 65535]  # as exact as they were: 49.5 % is told as 50 %
    trajectories = numbers(packed["trajectories"], "u1").reshape(-1, 30)
    assert trajectories[0, 3] == 255
    np.testing.assert_allclose(trajectories[1] / 254, base.data_map.trajectories[1], atol=0.003)
    variability = numbers(packed["x"], "<u2") / 65534 * packed["widest"]
    np.testing.assert_allclose(variability, base.data_map.variability, atol=1e-5)
    assert packed["widest"] == base.data_map.variability.max()
    assert numbers(packed["target"], "<u2").tolist() == base.targets.tolist()
    assert np.unpackbits(numbers(packed["planted"], "u1"), bitorder="little").nonzero()[0].tolist() == [5]
    assert numbers(packed["shown"], "<u4").tolist() == base.data_map.shown.tolist()
    assert numbers(packed["scores"][1]["values"], "<f4").tolist() == base.scores[1].values[base.data_map.shown].tolist()
    kept = np.unpackbits(numbers(packed["kept"][1]["bits"], "u1"), bitorder="little")[:N]
    assert np.flatnonzero(kept).tolist() == base.selected(0.1)[METHODS[1]].ids.tolist()
    sheet = Image.open(io.BytesIO(base64.b64decode(packed["sheet"]["src"].partition(",")[2])))
    tile, columns = packed["sheet"]["tile"], packed["sheet"]["columns"]
    row, column = divmod(7, columns)  # the eighth shown sample
    assert base.image is not None
    part = np.asarray(sheet.convert("L"))[row * tile : (row + 1) * tile, column * tile : (column + 1) * tile]
    np.testing.assert_array_equal(part, base.image(14)[..., 0])


def test_the_map_is_as_sharp_as_its_largest_picture() -> None:
    base = content(METHODS[:2], (0.29,))
    sizes = [(8, 6, 1), (40, 30, 3), (90, 60, 3)]
    packed = sheet(lambda i: np.full(sizes[i % 3], 7 + i, np.uint8), np.arange(6))
    assert packed["tile"] == 48
    assert Image.open(io.BytesIO(base64.b64decode(packed["src"].partition(",")[2]))).mode == "RGB"
    assert _map(base)["keep"] == "29 %"  # 0.29 * 100 is 28.999999999999996 to a script


def test_what_is_not_in_the_cost_is_said() -> None:
    base = content()
    assert "not counted" not in render(base)
    assert "trainings of <code>--check</code> come on top" in render(replace(base, spec={"check_minutes": 5.0}))


def test_next_to_nothing_has_no_sign() -> None:
    here = np.arange(N, dtype=np.float32)
    there = np.random.default_rng(202).permutation(here)
    almost = spearman(here, there)
    assert almost is not None
    assert -0.005 < almost < 0
    assert ">\u22120<" not in render(replace(content(), scores=(ScoreColumn("one", here), ScoreColumn("other", there))))


def test_a_tie_with_random_has_no_sign() -> None:
    """The mean of gaps of -2, 0 and +2 points, in binary fractions, is a little below 0."""
    gaps = [100 * (one - 0.1) for one in (0.08, 0.1, 0.12)]
    mean = sum(gaps) / 3
    assert mean < 0
    assert gap_text(mean, 4.97, 3, 3) == "+0.00 ± 4.97"


def test_agreement_of_methods_and_scores_by_hand() -> None:
    kept = {"a": [0, 1, 2, 3], "b": [2, 3, 4, 5], "c": [3, 9]}
    chosen = tuple(Selection(method, 0.4, np.array(ids)) for method, ids in kept.items())
    columns = (
        ScoreColumn("up", np.array([1, 2, 3, 100, np.nan], dtype=np.float32)),
        ScoreColumn("down", np.array([4, 3, 1, 2, 9], dtype=np.float32), "low"),
        ScoreColumn("constant", np.ones(5, dtype=np.float32)),
    )
    base = Content("title", "text", np.zeros(10, np.int64), (), selections=chosen, scores=columns)
    found = overlap(base, 0.4, "40 %")
    assert found is not None
    assert (found.names, found.note) == (("a", "b", "c"), "by chance: 33 %")  # 10 of 3 times 10
    assert found.cells == ((1.0, 0.5, 0.5), (0.5, 1.0, 0.5), (0.5, 0.5, 1.0))
    matrix = ranks(base)
    assert matrix is not None
    assert matrix.cells[0] == (pytest.approx(1.0), pytest.approx(0.8), None)  # 1 - 6 (1 + 1) / (4 (16 - 1))
    assert matrix.cells[2] == (None, None, None)
    assert [matrix.strength(value) for value in (-0.5, 0.25, None)] == [0.5, 0.25, 0.0]
    assert spearman(np.array([1.0, np.nan]), np.array([2.0, 3.0])) is None


def test_costs_by_hand() -> None:
    """A third of the surrogate is 30 of 90 s, and 1500 passes; scoring is 16 s; a training saves 15 s, 750 passes."""
    costs = (Cost("short", 0.1, 10, 5.0, 250), Cost("random", 0.1, 0, 5.0, 250), Cost("all", 1.0, 30, 20.0, 1000))
    spent = Ledger(30, 4500, 90.0, 16.0, 1000, 20.0, costs)
    base = Content("title", "text", np.zeros(10, np.int64), (), ledger=spent)
    short, random, everything = cost_lines(base)
    assert (short.seconds, short.seconds_share, short.pays_seconds) == ("5.0 s", "25 %", "4th")
    assert (short.passes, short.passes_share, short.pays_passes) == ("250", "25 %", "3rd")  # two save 1500
    assert (random.pays_seconds, random.pays_passes) == ("1st", "1st")
    assert (everything.seconds_share, everything.pays_seconds, everything.pays_passes) == ("100 %", "never", "never")
    unknown = cost_lines(replace(base, ledger=replace(spent, full_seconds=None)))[0]
    assert (unknown.seconds_share, unknown.pays_seconds, unknown.pays_passes) == ("–", "–", "3rd")
    assert [pays_from(n, 2, 1) for n in (1, 10, 11, 12, 20, 22, 110, 112)] == [
        "2nd", "11th", "12th", "13th", "21st", "23rd", "111th", "113th",
    ]  # fmt: skip


def test_a_ledger_says_when_it_pays(page: str) -> None:
    # 90 s of surrogate and 1 s of scoring, 10 s on everything and 1.5 s on a coreset: 91 / 8.5 is 10.7 trainings.
    assert "<td>11th</td>" in page
    assert "1 min 30 s" in page


def test_planted_labels_are_counted_among_the_suspects(page: str) -> None:
    assert "1 of these 2 carry a planted wrong label (50 %; by chance: 2 %)" in page


def test_large_images_are_scaled_down() -> None:
    from thresher.report.thumbnails import data_uri

    image = np.random.default_rng(0).integers(0, 256, (300, 200, 3), dtype=np.uint8)
    assert len(data_uri(image)) < 10_000


def test_nothing_is_said_of_labels_where_a_sample_has_no_margin() -> None:
    from thresher.experiments.reporting import _verdict

    assert [_verdict(margins) for margins in (None, np.array([1, np.nan], dtype=np.float32))] == ["", ""]


def test_a_run_directory_becomes_a_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from thresher.data import load
    from thresher.experiments.columns import column_names
    from thresher.experiments.reporting import report_run
    from thresher.experiments.study import StudySpec, resolve_all
    from thresher.train.spec import TrainSpec
    from thresher.trajectory.writer import TrajectoryWriter

    data = load("digits")
    n = len(data.train)
    train = TrainSpec("tiny", epochs=12)
    spec = StudySpec("digits", train, replace(train, epochs=3), ("random", "tdds", "ccs"), (0.1,), (0, 1), (0, 1))
    rng = np.random.default_rng(0)
    store = TrajectoryWriter.create(tmp_path / "trajectory", n, 10, ["target_prob", "correct", "logit_margin"])
    margins = rng.normal(np.where(np.arange(n) < n // 4, -4, 4), 0.5).astype(np.float32)  # a quarter is argued against
    for epoch in range(12):
        prob = rng.random(n).astype(np.float32)
        values = {"target_prob": prob, "correct": (prob > 0.5).astype(np.float32), "logit_margin": margins}
        store.append(Frame(epoch, np.arange(n), values, n), targets=data.train.targets)
    store.close()
    resolved = resolve_all(spec, 12)
    names = column_names(list(resolved.values()))
    write_scores(
        tmp_path / "scores.parquet", {c: Scores(rng.random(n, dtype=np.float32)) for c in names.values()}, data.train.targets
    )
    (tmp_path / "coresets").mkdir()
    results = []
    for seed in (0, 1):
        for method in ("full", *spec.methods):
            keep, kept = (1.0, n) if method == "full" else (0.1, 144)
            if method != "full":
                ids = np.sort(rng.choice(n, kept, replace=False))
                source = {"method": method, "keep": keep, "seed": seed, "fingerprint": data.fingerprint}
                Coreset(ids, None, n, source).save(tmp_path / "coresets" / f"{method}-0.1-seed{seed}.parquet")
            results.append({"method": method, "keep": keep, "kept": kept, "seed": seed, "seconds": 1.0})
            results[-1]["test_accuracy"] = 0.9 + 0.01 * seed
            results[-1]["environment"] = {"torch": f"2.{seed}", "gpu": None}  # the run went on on another version
    (tmp_path / "env.json").write_text(json.dumps({"torch": "2.0", "gpu": None}))
    (tmp_path / "coresets" / "damaged.parquet").write_bytes(b"PAR1")
    Coreset(np.array([1]), None, n, {"fingerprint": "another"}).save(tmp_path / "coresets" / "foreign.parquet")
    monkeypatch.setattr("thresher.experiments.reporting.SHOWN", 30)
    path = report_run(tmp_path, spec, results, None)
    page = path.read_text()
    assert page.count("A coreset is left out: ") == 2
    assert "damaged.parquet" in page
    assert "foreign.parquet" in page
    assert path == tmp_path / "report.html"
    assert len(page) < 3_000_000
    Balance(page)
    assert "torch 2.0" in page
    assert "4 of 8 trainings ran on other versions or hardware: torch 2.1 instead of 2.0" in page
    assert page.count("<details") == 5  # a gallery per method, the classes, and the spec
    said = re.search(r"About ([\d.]+)% of the labels are wrong.* finds (\d+) samples", page)
    assert said is not None
    assert (float(said[1]), int(said[2])) == (pytest.approx(25, abs=0.1), n // 4)
    assert f"finds {n // 4} samples: the first 24 of the lowest mean logit margins" in page
    assert "<dt>Kept shares</dt><dd>10 %</dd>" in page
    shown = re.search(r'"shown":"([^"]+)"', page)
    assert shown is not None
    worst = np.argsort(margins)[:24].tolist()  # the suspects are among those whose trajectory is there
    assert set(worst) < set(np.frombuffer(base64.b64decode(shown[1]), "<u4").tolist())
    assert "17.2 thousand passes in 12 epochs" in page
    assert "4311 passes" in page  # 3 epochs on everything
    first = re.search(r"Lowest mean logit margin</h3>.*?data-sample=\"(\d+)\".*?<br>(.*?)</li>", page, re.DOTALL)
    assert first is not None
    assert first.groups() == (str(margins.argmin()), f"{margins.min():.3g}")
    assert str(tmp_path) not in page


def test_rankings_are_compared_at_the_smallest_kept_share(small_run: Path) -> None:
    from thresher.data import load
    from thresher.experiments.dynamics import settling
    from thresher.experiments.reporting import gather
    from thresher.experiments.study import StudySpec
    from thresher.scorers import EL2N
    from thresher.train.spec import TrainSpec
    from thresher.trajectory.reader import Trajectory

    train = TrainSpec("tiny", epochs=5)
    spec = StudySpec("digits", train, train, ("el2n",), (0.3, 0.1, 0.5), (0,), (0,))
    found = gather(small_run, spec, [], load("digits"))
    assert found.settling_keep == 0.1
    assert found.settling == settling(Trajectory.open(small_run / "trajectory"), [EL2N()], 0.1)


def test_a_schedule_is_named_where_it_is_longer_than_the_training() -> None:
    from thresher.experiments.reporting import _training
    from thresher.train.spec import TrainSpec

    spec = TrainSpec("tiny", epochs=10, schedule_epochs=30)
    assert _training(spec) == "tiny, 10 epochs of a schedule of 30, batch 128, learning rate 0.1, fp32"
    for schedule in (None, 10):
        assert _training(replace(spec, schedule_epochs=schedule)).startswith("tiny, 10 epochs, batch")


def test_a_line_has_the_accuracy_of_every_seed_in_percent() -> None:
    from thresher.experiments.reporting import _lines

    base = {"method": "random", "kept": 6, "seconds": 1.0}
    trained = ((0.1, 3, 0.5), (0.1, 7, 0.75), (0.2, 3, 0.875))
    results = [{**base, "keep": keep, "seed": seed, "test_accuracy": accuracy} for keep, seed, accuracy in trained]
    found = {one.keep: (one.accuracy_mean, one.accuracies) for one in _lines(results)}
    assert found == {0.1: (62.5, {3: 50.0, 7: 75.0}), 0.2: (87.5, {3: 87.5})}


def test_of_what_is_shown_the_report_tells_how_many_are_suspects() -> None:
    """The gallery goes on to the 24th of the lowest margins, however few samples are suspected."""
    from thresher.experiments.reporting import _verdict

    told = _verdict(np.concatenate([np.linspace(-6, -5.5, 3), np.linspace(5, 6, 97)]).astype(np.float32))
    assert told.endswith("thresher suspects finds 3 samples: the first 3 of the lowest mean logit margins shown here.")


def test_a_report_shows_the_coresets_of_its_own_trainings(tmp_path: Path) -> None:
    from thresher.data import load
    from thresher.experiments.reporting import _selections
    from thresher.methods import resolve

    data, made = load("digits"), {}
    (tmp_path / "coresets").mkdir()
    for seed, suffix in ((0, ""), (1, "-seed1"), (2, "-seed2"), (3, "-seed3")):  # of three studies, one after another
        source = {"method": "random", "keep": 0.1, "seed": seed, "fingerprint": data.fingerprint}
        made[seed] = Coreset(np.array([seed, 9]), None, len(data.train), source)
        made[seed].save(tmp_path / "coresets" / f"random-0.1{suffix}.parquet")
    results = [{"method": "random", "keep": 0.1, "seed": seed, "coreset_digest": made[seed].digest} for seed in (3, 2)]
    resolved = {("random", 0.1): resolve("random", "digits", 0.1)}
    (shown,), told = _selections(tmp_path, resolved, data, results)
    assert (shown.seed, shown.ids.tolist(), told) == (2, [2, 9], [])
    (shown,), _ = _selections(tmp_path, resolved, data, [])  # where nothing is told of the trainings
    assert shown.seed == 0


def test_the_command_in_the_report_makes_the_same_study(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from click.testing import CliRunner

    from thresher.cli import app
    from thresher.commands import training
    from thresher.experiments.reporting import command_line
    from thresher.experiments.study import StudySpec
    from thresher.train.spec import TrainSpec

    surrogate = TrainSpec("tiny", epochs=10, schedule_epochs=30, batch_size=32, lr=0.05)
    spec = StudySpec(
        "digits", surrogate, TrainSpec("small", epochs=40, batch_size=8, lr=0.05),
        ("random", "tdds:window=5:at=10"), (0.1, 0.25), (0, 2), scale_loss="none",
    )  # fmt: skip
    seen: list[StudySpec] = []

    def catch(spec: StudySpec, out: Path, **others: object) -> list[object]:
        seen.append(spec)
        return []

    monkeypatch.setattr(training, "run_study", catch)
    words = command_line(spec).split()[1:]
    result = CliRunner().invoke(app, [*words, "--out", str(tmp_path), "--no-report"], catch_exceptions=False)
    assert (result.exit_code, seen) == (0, [spec])
    assert command_line(replace(spec, surrogate_seed=1)) == ""
    assert "--data folder:size=32 --data-dir DIR" in command_line(replace(spec, data="folder:size=32"))
    assert "--data-dir" not in command_line(replace(spec, data="folder:size=32:my/pictures"))
    checked = replace(spec, check_minutes=7.5)
    words = command_line(checked).split()[1:]
    result = CliRunner().invoke(app, [*words, "--out", str(tmp_path), "--no-report"], catch_exceptions=False)
    assert (result.exit_code, seen[1:]) == (0, [checked])

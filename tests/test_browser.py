"""Report and explorer in a real browser: the system's Chromium without a window, driven by Playwright."""

from __future__ import annotations

import importlib
import shutil
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from thresher.coreset import Coreset
from thresher.explore.run import OpenRun, open_run
from thresher.explore.server import Server
from thresher.trajectory.writer import TrajectoryWriter
from thresher.types import Frame

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

DESKTOP, PHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 844}
WAIT = 60_000  # milliseconds: a busy machine is slow, not broken


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    api = pytest.importorskip("playwright.sync_api", reason="needs Playwright: pip install playwright")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(Path(__file__).parents[1] / "benchmarks"))
        chromium = importlib.import_module("_browser")
    if chromium.program() is None:
        pytest.skip(f"needs a browser on the PATH, one of {', '.join(chromium.NAMES)}")
    with api.sync_playwright() as playwright:
        made = chromium.launched(playwright, WAIT)
        yield made
        made.close()


class Watched:
    """A page that fails the test where a script fails, something is refused, or a request leaves for elsewhere."""

    def __init__(self, browser: Browser, size: dict[str, int], scheme: str = "light", allowed: str = "file:") -> None:
        self.page: Page = browser.new_page(viewport=size, color_scheme=scheme)  # type: ignore[arg-type]
        self.page.set_default_timeout(WAIT)
        self.wrong: list[str] = []
        self.page.on("pageerror", lambda error: self.wrong.append(str(error)))
        self.page.on("console", lambda message: self.wrong.append(message.text) if message.type == "error" else None)
        self.page.on("request", lambda r: None if r.url.startswith((allowed, "data:")) else self.wrong.append(r.url))
        self.page.on("dialog", lambda dialog: (self.wrong.append("a dialog"), dialog.dismiss()))

    def __enter__(self) -> Page:
        return self.page

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self.page.close()
        if kind is None:
            assert self.wrong == []


def overflow(page: Page) -> int:
    """Return by how many pixels a page is wider than its window."""
    width: int = page.evaluate("document.documentElement.scrollWidth - innerWidth")
    return width


def place_of(page: Page, sample: int) -> tuple[float, float]:
    """Return where a sample lies on the map, in pixels of the window."""
    page.locator("#map-box").scroll_into_view_if_needed()
    page.wait_for_function("() => window.thresherMap && thresherMap.cells")
    x, y = page.evaluate("i => thresherMap.place(i)", sample)
    box = page.locator("#map-box").bounding_box()
    assert box is not None
    return box["x"] + x, box["y"] + y


def alone(page: Page) -> int:
    """Return a sample that lies well apart from the others, so that a click there means it."""
    page.wait_for_function("() => window.thresherMap && thresherMap.cells")
    sample: int = page.evaluate("""() => {
        const m = thresherMap, at = Array.from({ length: m.n }, (_, i) => m.place(i));
        const far = i => Math.min(...at.map((p, j) => j === i ? Infinity : (p[0] - at[i][0]) ** 2 + (p[1] - at[i][1]) ** 2));
        return at.map((_, i) => [far(i), i]).sort((a, b) => b[0] - a[0])[0][1];
    }""")
    return sample


def test_the_report_shows_a_sample_by_mouse_and_by_keyboard(browser: Browser, small_run: Path) -> None:
    with Watched(browser, DESKTOP) as page:
        page.goto((small_run / "report.html").as_uri(), timeout=WAIT)
        sample = alone(page)
        page.mouse.click(*place_of(page, sample))
        card = page.locator("#map-card")
        assert card.locator("h3").inner_text() == f"Sample {sample}"
        assert card.locator("svg.trajectory path").get_attribute("d").count("L") == 4  # type: ignore[union-attr]
        page.wait_for_function("""() => {
            const c = document.querySelector("#map-card canvas.picture");
            return new Set(c.getContext("2d").getImageData(0, 0, c.width, c.height).data).size > 3;
        }""")
        page.locator("#map-box").focus()
        ways = {"ArrowLeft": (-1, 0), "ArrowRight": (1, 0), "ArrowUp": (0, -1), "ArrowDown": (0, 1)}
        ahead = {key: page.evaluate("([x, y]) => thresherMap.towards(x, y)", way) for key, way in ways.items()}
        key = next(key for key, found in ahead.items() if found >= 0)
        page.keyboard.press(key)
        assert card.locator("h3").inner_text() == f"Sample {ahead[key]}"
        page.fill("#map-id", "7")
        page.keyboard.press("Enter")
        assert card.locator("h3").inner_text() == "Sample 7"
        page.locator("#suspects button").first.click()
        assert card.locator("h3").inner_text() == f"Sample {page.locator('#suspects button').first.inner_text()[1:]}"
        for choice in page.locator("#map-colour option").all_inner_texts():
            page.select_option("#map-colour", label=choice)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_report_fits_a_phone(browser: Browser, small_run: Path, scheme: str) -> None:
    with Watched(browser, PHONE, scheme) as page:
        page.goto((small_run / "report.html").as_uri(), timeout=WAIT)
        assert overflow(page) <= 0
        background = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert (background == "rgb(255, 255, 255)") == (scheme == "light")


def test_names_of_users_are_text_in_the_report(browser: Browser, tmp_path: Path) -> None:
    from thresher.report import Content, DataMap, Line, ScoreColumn, Selection, render

    bad = "</script><img src=x onerror=alert(1)>"
    values = np.linspace(0, 1, 40, dtype=np.float32)
    line = Line(bad, 0.5, 20, 1, 50.0, None, None, None, 1.0, {0: 50.0})
    content = Content(
        bad, bad, np.arange(40) % 2, (bad, "<b>bold</b>"), (line,), (ScoreColumn(bad, values),),
        (Selection(bad, 0.5, np.arange(20), bad),),
        DataMap(values, values / 2, None, 3, np.arange(40), np.ones((40, 3), np.float32)),
    )  # fmt: skip
    path = tmp_path / "report.html"
    path.write_text(render(content))
    with Watched(browser, DESKTOP) as page:
        page.goto(path.as_uri(), timeout=WAIT)
        page.fill("#map-id", "0")
        page.keyboard.press("Enter")
        assert page.locator("#map-card dd").first.inner_text() == bad
        assert page.locator("img, main b b").count() == 0


def test_many_samples_are_stamped_where_they_lie(browser: Browser, tmp_path: Path) -> None:
    """Beyond 4 000 samples the map is laid together in memory: a lone one is there, in its colour, and can be clicked."""
    from thresher.report import Content, DataMap, render

    n = 5000
    rng = np.random.default_rng(0)
    mean, spread = rng.uniform(0, 0.3, n).astype(np.float32), rng.uniform(0, 0.3, n).astype(np.float32)
    mean[7], spread[7] = 0.9, 0.15
    content = Content(
        "many", "", np.zeros(n, np.int64), ("a",), data_map=DataMap(mean, spread, np.ones(n, np.float32), 3, np.array([7]))
    )
    path = tmp_path / "report.html"
    path.write_text(render(content))
    with Watched(browser, DESKTOP) as page:
        page.goto(path.as_uri(), timeout=WAIT)
        x, y = place_of(page, 7)
        dots = """([i, up]) => {
            const m = thresherMap, [x, y] = m.place(i), pen = m.base.getContext("2d");
            return [...pen.getImageData(Math.round(x * m.ratio) - 1, Math.round((y - up) * m.ratio) - 1, 2, 2).data];
        }"""
        here = np.array(page.evaluate(dots, [7, 0])).reshape(4, 4)
        colour = page.evaluate("thresherMap.rgb(thresherMap.base.getContext('2d'), 'm5')")  # right in all epochs
        assert np.abs(here[:, :3] - colour).max() <= 3
        assert (here[:, 3] > 100).all()
        assert not np.array(page.evaluate(dots, [7, 20])).any()
        page.mouse.click(x, y)
        assert page.locator("#map-card h3").inner_text() == "Sample 7"


@pytest.fixture(scope="module")
def opened(small_run: Path) -> OpenRun:
    run, _ = open_run(small_run)
    return replace(run, class_names=("<b>nought</b>", *run.class_names[1:]))


@pytest.fixture
def server(opened: OpenRun, tmp_path: Path) -> Iterator[Server]:
    with Server(opened, 0, tmp_path / "selections") as made:
        thread = threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield made
        made.shutdown()
        thread.join()


def keep(page: Page, thousandths: int) -> None:
    """Move the slider, as arrow keys do."""
    page.locator("#keep").fill(str(thousandths))


def export_as(page: Page, name: str) -> str:
    page.fill("#name", name)
    page.click("#export")
    page.wait_for_function("() => document.getElementById('exported').textContent")
    return page.locator("#exported").inner_text()


def test_the_first_tenth_exported_is_the_coreset_of_select(browser: Browser, server: Server, opened: OpenRun) -> None:
    with Watched(browser, DESKTOP, allowed=server.url) as page:
        page.goto(server.url, timeout=WAIT)
        page.wait_for_selector("#list li")
        page.select_option("#score", label="el2n")
        keep(page, 100)
        page.wait_for_function("() => document.getElementById('count').textContent === '144'")
        assert "144 samples in" in export_as(page, "tenth")
        assert "already exists" not in page.locator("#exported").inner_text()
    coreset = Coreset.load(server.explorer.out / "tenth.parquet", fingerprint=opened.fingerprint, n=opened.n)
    assert coreset.ids.tolist() == opened.coresets()["el2n-0.1"].ids.tolist()
    assert coreset.source["selector"]["params"] == {"score": "el2n", "end": "hard", "keep": 0.1, "lasso": False}


def test_a_map_stays_usable_however_close_it_is_looked_at(browser: Browser, tmp_path: Path) -> None:
    with TrajectoryWriter.create(tmp_path / "trajectory", 4, 2, ["target_prob"]) as store:
        for epoch, values in enumerate(([0.3, 0.7, 0.5], [0.5, 0.1, 0.9])):
            rows = {"target_prob": np.array(values, np.float32)}
            store.append(Frame(epoch, np.arange(3), rows, 4), targets=np.array([0, 1, 0, 1]))
    with Server(open_run(tmp_path)[0], 0) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        with Watched(browser, DESKTOP, allowed=server.url) as page:
            page.goto(server.url, timeout=WAIT)
            page.wait_for_function("() => window.thresherMap && thresherMap.cells")
            found = page.evaluate("() => (thresherMap.pick(3), [thresherMap.x[3], thresherMap.towards(0, -1)])")
            assert (np.isnan(found[0]), found[1]) == (True, 2)  # from one that was never seen, too, arrows lead to others
            view = page.evaluate("() => { for (let k = 0; k < 200; k++) thresherMap.zoom(1.6); return thresherMap.view; }")
            for low, high in (("left", "right"), ("bottom", "top")):
                assert view[high] - view[low] > 1e-7  # below the spacing of numbers, the axes' loop had no end
        server.shutdown()
        thread.join()


def test_what_could_not_be_fetched_is_asked_for_again(browser: Browser, opened: OpenRun, tmp_path: Path) -> None:
    copied = tmp_path / "run"
    shutil.copytree(opened.path, copied)
    damaged = copied / "coresets" / "aum-0.1.parquet"
    damaged.write_bytes(b"")
    with Server(replace(opened, path=copied), 0) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        page = browser.new_page()
        page.set_default_timeout(WAIT)
        page.route("**/array/kept/**", lambda route: route.abort(), times=1)
        page.goto(server.url, timeout=WAIT)
        page.wait_for_selector("#list li")
        assert "aum-0.1.parquet" in page.locator("#left-out").inner_text()
        page.select_option("#coreset", value="el2n-0.1")
        page.wait_for_selector("#trouble", state="visible")
        assert page.locator("#export").is_disabled()  # what is listed is not what the filters say
        page.select_option("#coreset", value="")
        page.wait_for_selector("#trouble", state="hidden")
        page.select_option("#coreset", value="el2n-0.1")
        page.wait_for_function("() => document.getElementById('count').textContent === '144'")
        assert page.locator("#trouble").is_hidden()
        page.close()
        server.shutdown()
        thread.join()


def test_filters_lasso_and_a_click(browser: Browser, server: Server, opened: OpenRun) -> None:
    kept = opened.coresets()["aum-0.1"].mask
    with Watched(browser, DESKTOP, allowed=server.url) as page:
        page.goto(server.url, timeout=WAIT)
        page.wait_for_selector("#list li")
        page.select_option("#class", label="<b>nought</b>")
        page.select_option("#coreset", value="aum-0.1")
        page.select_option("#state", "dropped")
        wanted = np.flatnonzero((opened.targets == 0) & ~kept)
        page.wait_for_function("n => document.getElementById('count').textContent === String(n)", arg=len(wanted))
        page.select_option("#sort", "id")
        assert page.locator("#list button").first.get_attribute("data-sample") == str(wanted[0])
        page.locator("#list button").first.click()
        page.wait_for_selector("#map-card svg.trajectory")
        assert page.locator("#map-card h3").inner_text() == f"Sample {wanted[0]}"
        assert page.locator("#map-card dd").first.inner_text() == "<b>nought</b>"
        page.click("#clear")
        page.wait_for_function("n => document.getElementById('count').textContent === String(n)", arg=opened.n)
        page.click("#lasso")
        page.locator("#map-box").scroll_into_view_if_needed()
        box = page.locator("#map-box").bounding_box()
        assert box is not None
        left, top, right, bottom = box["x"] + 45, box["y"] + 11, box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
        page.mouse.move(left, top)
        page.mouse.down()
        for corner in ((right, top), (right, bottom), (left, bottom)):
            page.mouse.move(*corner, steps=4)
        page.mouse.up()
        page.wait_for_function("() => !document.getElementById('lasso-clear').disabled")
        middle = page.evaluate(
            """([x, y]) => {
            const m = thresherMap, v = m.view, g = m.margin;
            return [v.left + (x - g.left) / (m.width - g.left - g.right) * (v.right - v.left),
                    v.top - (y - g.top) / (m.height - g.top - g.bottom) * (v.top - v.bottom)];
        }""",
            [box["width"] / 2, box["height"] / 2],
        )
        assert "samples in" in export_as(page, "corner")
    found = opened.means
    inside = np.flatnonzero((found.variability < middle[0]) & (found.target_prob > middle[1]))
    exported = Coreset.load(server.explorer.out / "corner.parquet")
    # What lies on the very line may fall on either side of it.
    assert len(np.setxor1d(exported.ids, inside)) <= max(3, len(inside) // 50)
    assert 0 < len(exported) < opened.n
    assert exported.source["selector"]["params"]["lasso"] is True


def test_the_explorer_fits_a_phone(browser: Browser, server: Server) -> None:
    with Watched(browser, PHONE, "dark", allowed=server.url) as page:
        page.goto(server.url, timeout=WAIT)
        page.wait_for_selector("#list li")
        assert overflow(page) <= 0
        page.mouse.click(*place_of(page, alone(page)))
        page.wait_for_selector("#map-card svg.trajectory")
        assert overflow(page) <= 0


def test_a_benchmarks_move_that_fails_is_not_waited_for(browser: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    from playwright.sync_api import Error

    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "benchmarks"))
    browsing = importlib.import_module("browsing")
    page = browser.new_page()
    assert len(browsing.gaps(page, "k => k")) == browsing.FRAMES
    with pytest.raises(Error, match="thresherMap"):
        browsing.gaps(page, "k => thresherMap.zoom(k)")
    page.close()

"""How smoothly the report and the explorer move in a browser, against the number of samples.

    python benchmarks/browsing.py                      all sizes
    python benchmarks/browsing.py side report 50000    one page of one size

A real Chromium without a window, hence without a graphics card: what a laptop shows is faster. One input comes with every
frame, as from a hand that does not stop, and what is measured is the time from frame to frame; 16.7 ms is the most that a
screen of 60 Hz shows. Scores and trajectories are drawn at random; the report carries 2 000 pictures of noise, which do not
compress. Needs Playwright and a Chromium on the PATH.
"""

from __future__ import annotations

import json
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from _browser import NAMES, launched, program
from _measure import Target, finish, parser, python, run_child

if TYPE_CHECKING:
    from playwright.sync_api import Page

SIZES = (3_000, 12_500, 50_000, 200_000)
CLASSES, EPOCHS, SHOWN, FRAMES = 100, 30, 2000, 60
MOVES = {
    "slider": "k => { const s = document.getElementById('keep'); s.value = 50 + (k * 37) % 900;"
    " s.dispatchEvent(new Event('input', { bubbles: true })); }",
    "zoom": "k => thresherMap.zoom(k % 2 ? 1.3 : 1 / 1.3)",
    "hover": "k => { const b = document.getElementById('map-box').getBoundingClientRect(); thresherMap.over.dispatchEvent("
    "new PointerEvent('pointermove', { clientX: b.left + b.width * (0.2 + 0.01 * k), clientY: b.top + b.height / 2,"
    " pointerType: 'mouse', bubbles: true })); }",
    "colour": "k => { const c = document.getElementById('map-colour'); c.selectedIndex = k % 2;"
    " c.dispatchEvent(new Event('change', { bubbles: true })); }",
}
"""What a hand does in frame k, by name."""
PAGES = {"explorer": ("slider", "zoom", "hover", "colour"), "report": ("zoom", "hover", "colour")}


@contextmanager
def explorer(n: int, folder: Path) -> Iterator[str]:
    """Serve a recording of so many samples, and give its address."""
    import numpy as np

    from thresher.experiments.dynamics import means
    from thresher.explore.run import OpenRun
    from thresher.explore.server import Server
    from thresher.trajectory.reader import Trajectory
    from thresher.trajectory.writer import TrajectoryWriter
    from thresher.types import Frame, Scores

    rng = np.random.default_rng(0)
    targets = rng.integers(0, CLASSES, n)
    with TrajectoryWriter.create(folder / "trajectory", n, CLASSES, ["target_prob", "correct"]) as store:
        for epoch in range(EPOCHS):
            values = {"target_prob": rng.random(n, np.float32), "correct": rng.integers(0, 2, n).astype(np.float32)}
            store.append(Frame(epoch, np.arange(n), values, n), targets=targets if epoch == 0 else None)
    recording = Trajectory.open(folder / "trajectory")
    scores = {name: Scores(rng.random(n, np.float32), "high") for name in ("tdds", "aum")}
    names = tuple(f"class {k}" for k in range(CLASSES))
    run = OpenRun(folder, "benchmark", recording, means(recording), targets, names, scores, None, None)
    with Server(run, 0, folder / "selections") as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield server.url
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def report(n: int, folder: Path) -> Iterator[str]:
    """Write the report of a study of so many samples, twelve methods and one kept share, and give its address."""
    import numpy as np

    from thresher.report import Content, DataMap, Line, ScoreColumn, Selection, render

    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (64, 32, 32, 3), dtype=np.uint8)
    names = [f"method {k}" for k in range(12)]
    shown = np.sort(rng.permutation(n)[:SHOWN])
    moving = rng.random((len(shown), EPOCHS), np.float32)
    content = Content(
        "benchmark", "", rng.integers(0, CLASSES, n), tuple(f"class {k}" for k in range(CLASSES)),
        tuple(Line(name, 0.1, n // 10, 1, 50.0, None, None, None, 1.0, {0: 50.0}) for name in names),
        tuple(ScoreColumn(name, rng.random(n, np.float32)) for name in names),
        tuple(Selection(name, 0.1, np.sort(rng.permutation(n)[: n // 10]), name) for name in names),
        DataMap(rng.random(n, np.float32), rng.random(n, np.float32) / 2, rng.random(n, np.float32), EPOCHS, shown, moving),
        image=lambda i: noise[i % 64],
    )  # fmt: skip
    path = folder / "report.html"
    path.write_text(render(content))
    yield path.as_uri()


def gaps(page: Page, move: str) -> list[float]:
    """Return the milliseconds from frame to frame while a hand moves; raises what a move raises, without waiting."""
    found: list[float] = page.evaluate(
        f"""frames => new Promise((done, fail) => {{
            const act = {move}, times = [];
            const step = now => {{
                times.push(now);
                if (times.length > frames) return done(times.slice(1).map((t, k) => t - times[k]));
                try {{ act(times.length); }} catch (error) {{ return fail(error); }}
                requestAnimationFrame(step);
            }};
            requestAnimationFrame(step);
        }})""",
        FRAMES,
    )
    return found


def look(kind: str, n: int) -> dict[str, Any]:
    """Open a page of so many samples and return how long it takes to appear, and the time between frames in each move."""
    from playwright.sync_api import sync_playwright

    if program() is None:
        sys.exit(f"Expected a Chromium on the PATH, one of {', '.join(NAMES)}.")
    serve = {"explorer": explorer, "report": report}[kind]
    with tempfile.TemporaryDirectory() as folder, serve(n, Path(folder)) as url, sync_playwright() as playwright:
        browser = launched(playwright)
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        page.set_default_timeout(120_000)
        started = time.perf_counter()
        page.goto(url)
        page.wait_for_function("() => window.thresherMap && thresherMap.cells && thresherMap.cells.ids.length")
        found: dict[str, Any] = {"appears_ms": 1000 * (time.perf_counter() - started)}
        page.locator("#map-box").scroll_into_view_if_needed()
        for name in PAGES[kind]:
            found[name] = gaps(page, MOVES[name])
        if kind == "report":
            found["megabytes"] = (Path(folder) / "report.html").stat().st_size / 1e6
        browser.close()
    return found


def main() -> None:
    """Measure each page at each size, report."""
    if sys.argv[1:2] == ["side"]:
        print(json.dumps(look(sys.argv[2], int(sys.argv[3]))))
        return
    args = parser(__doc__).parse_args()
    sizes = tuple(n // 10 for n in SIZES) if args.quick else SIZES
    found = {
        (kind, n): json.loads(run_child(python("browsing.py", "side", kind, n)).output) for kind in PAGES for n in sizes
    }
    rows, judged = [], []
    for kind, moves in PAGES.items():
        for move in moves:
            for n in sizes:
                times = sorted(found[kind, n][move])
                middle, late = times[len(times) // 2], times[len(times) * 95 // 100]
                size = found[kind, n].get("megabytes", "")
                rows.append(
                    [f"{kind}, {move}, N = {n:_}".replace("_", " "), middle, late, found[kind, n]["appears_ms"], size]
                )
                if n == sizes[2]:
                    judged.append(middle)
    finish(
        "browsing", args,
        ["", "ms from frame to frame, median", "95th percentile", "ms until the map is there", "file MB"], rows,
        sizes={"classes": CLASSES, "epochs": EPOCHS, "frames": FRAMES},
        targets=[
            Target(f"slowest median ms a frame at N = {sizes[2]:_}".replace("_", " "), max(judged), "<=", 34.0),
            Target("MB of that report", found["report", sizes[2]]["megabytes"], "<=", 15.0),
        ],
        notes=["34 ms are two frames of a screen of 60 Hz; no frame is shorter than 16.7"],
        raw={f"{kind} x {n}": said for (kind, n), said in found.items()},
    )  # fmt: skip


if __name__ == "__main__":
    main()

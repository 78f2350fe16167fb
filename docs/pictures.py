"""Takes the pictures of docs/images from a run: `python docs/pictures.py runs/digits`, after `thresher run` has made it.

Needs Playwright and a Chromium on the PATH. Equal runs give equal pictures, up to the fonts of the machine.
"""

from __future__ import annotations

import io
import sys
import threading
from pathlib import Path
from typing import Any

from PIL import Image
from playwright.sync_api import Page, sync_playwright

from thresher.explore.run import open_run
from thresher.explore.server import Server

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))
from _browser import launched

IMAGES = Path(__file__).parent / "images"
DESKTOP, PHONE = {"width": 1180, "height": 860}, {"width": 390, "height": 844}


def save(name: str, picture: bytes) -> None:
    """Write a picture as a small PNG."""
    Image.open(io.BytesIO(picture)).convert("RGB").save(IMAGES / name, optimize=True)


def report(page: Page, run: Path) -> None:
    """The top of the report, then its data map with a sample."""
    page.goto((run / "report.html").resolve().as_uri())
    save("report.png", page.screenshot(full_page=True, clip={"x": 0, "y": 0, "width": DESKTOP["width"], "height": 1180}))
    page.wait_for_function("() => window.thresherMap && thresherMap.cells")
    page.locator("#suspects button").nth(3).click()
    page.wait_for_timeout(1500)
    box: Any = page.locator("#map").bounding_box()
    rows = {"y": box["y"] + page.evaluate("scrollY"), "height": box["height"]}
    save("report-map.png", page.screenshot(full_page=True, clip={"x": 0, "width": DESKTOP["width"], **rows}))


def explorer(page: Page, url: str) -> None:
    """The explorer with the hardest fifth by TDDS, one sample picked."""
    page.goto(url)
    page.wait_for_selector("#list li")
    page.select_option("#score", label="tdds")
    page.locator("#keep").fill("200")
    page.wait_for_timeout(500)
    page.locator("#list button").nth(3).click()
    page.wait_for_selector("#map-card svg.trajectory")
    page.wait_for_timeout(800)
    page.evaluate("scrollTo(0, 0)")
    save("explore.png", page.screenshot(full_page=True, clip={"x": 0, "y": 0, "width": DESKTOP["width"], "height": 1180}))


def main() -> None:
    """Take all pictures."""
    run = Path(sys.argv[1])
    opened, _ = open_run(run)
    with sync_playwright() as playwright, Server(opened) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        browser = launched(playwright)
        page = browser.new_page(viewport=DESKTOP, color_scheme="light")  # type: ignore[arg-type]
        report(page, run)
        explorer(page, server.url)
        phone = browser.new_page(viewport=PHONE, color_scheme="light")  # type: ignore[arg-type]
        phone.goto(server.url)
        phone.wait_for_selector("#list li")
        phone.evaluate("thresherMap.pick(thresherMap.nearest(300, 120, 200))")
        phone.wait_for_selector("#map-card svg.trajectory")
        phone.wait_for_timeout(800)
        phone.evaluate("scrollTo(0, 0)")
        save("explore-phone.png", phone.screenshot())
        browser.close()
        server.shutdown()


if __name__ == "__main__":
    main()

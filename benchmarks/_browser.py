"""The Chromium without a window that pages are looked at with: here, in the tests, and for the pictures of docs/."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Playwright

NAMES = ("chromium", "chromium-browser", "google-chrome")


def program() -> str | None:
    """Return where a Chromium is on the PATH, None where there is none."""
    return next((found for name in NAMES if (found := shutil.which(name))), None)


def launched(playwright: Playwright, timeout: float = 60_000) -> Browser:
    """Return a started Chromium, which has `timeout` milliseconds for it."""
    # A container's root may not have the namespaces that the sandbox takes; the pages are our own.
    return playwright.chromium.launch(executable_path=program(), args=["--no-sandbox"], timeout=timeout)

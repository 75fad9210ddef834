"""A real Chromium for the tests of the panel."""

import functools
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

NO_BROWSER = "no Chromium on this machine"


@functools.cache
def chromium() -> str | None:
    """Where Chromium is; null where this machine has none."""
    return next(
        (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None
    )


@contextmanager
def browsing() -> Iterator[Any]:
    """A browser; skips where there is none."""
    if chromium() is None:
        pytest.skip(NO_BROWSER)
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        flags = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-dev-shm-usage"]
        browser = playwright.chromium.launch(executable_path=chromium(), args=flags)
        try:
            yield browser
        finally:
            browser.close()

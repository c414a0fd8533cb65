"""The system's Chromium, driven through Playwright."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager

from playwright.sync_api import Browser, sync_playwright

_ARGUMENTS = (
    # The tests run as root, in containers, without a screen.
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    # Nothing but what a page asks for leaves the browser.
    "--disable-background-networking",
)


@contextmanager
def browser() -> Iterator[Browser]:
    """A running Chromium; raises LookupError where none is installed."""
    executable = shutil.which("chromium")
    if executable is None:
        raise LookupError("there is no chromium: install it with `make browser`")
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=executable, args=list(_ARGUMENTS))
        try:
            yield running
        finally:
            running.close()

"""The system's Chromium, driven through Playwright."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date

from playwright.sync_api import Browser, Locator, Page, Response, sync_playwright

from demo.airflow import USER, Airflow

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


class Clicks:
    """A person at Airflow's own pages."""

    def __init__(self, page: Page, airflow: Airflow) -> None:
        self.page = page
        self._airflow = airflow

    def log_in(self) -> None:
        """Log in as `admin`."""
        self.page.goto(self._airflow.url)
        self.page.fill('input[name="username"]', USER)
        self.page.fill('input[name="password"]', self._airflow.password())
        self.page.get_by_role("button", name="Sign in").click()
        self.page.get_by_test_id("nav-dags-link").wait_for()

    def trigger(self, dag_id: str, start: date, end: date) -> str:
        """Start one run for these days; returns its id."""
        dialog = self._dialog(dag_id)
        for name, day in (("start", start), ("end", end)):
            dialog.locator(f"#element_{name}").fill(day.isoformat())
        with self.page.expect_response(_posted("/dagRuns")) as answer:
            self.page.get_by_test_id("trigger-dag-submit").click()
        return str(answer.value.json()["dag_run_id"])

    def backfill(self, dag_id: str, first: str, last: str, behaviour: str) -> int:
        """Start a backfill from `first` to `last`, as `YYYY/MM/DD HH:MM` in UTC; returns its id."""
        dialog = self._dialog(dag_id)
        dialog.get_by_text("Backfill", exact=True).click()
        for place, moment in enumerate((first, last)):
            day, _, hour = moment.partition(" ")
            self.page.get_by_test_id("datetime-input").nth(place).click()
            picker = self.page.locator(
                '[data-scope="popover"][data-part="content"][data-state="open"]'
            )
            picker.get_by_placeholder("YYYY/MM/DD").fill(day)
            picker.get_by_placeholder("HH:mm").fill(hour)
            picker.get_by_placeholder("HH:mm").press("Enter")
            self.page.keyboard.press("Escape")
        dialog.get_by_text(behaviour, exact=True).click()
        with self.page.expect_response(_posted("/backfills")) as answer:
            dialog.get_by_role("button", name="Run Backfill").click()
        return int(answer.value.json()["id"])

    def _dialog(self, dag_id: str) -> Locator:
        self.page.goto(f"{self._airflow.url}/dags/{dag_id}")
        self.page.get_by_test_id("trigger-dag-button").first.click()
        return self.page.get_by_role("dialog").first


def _posted(path: str) -> Callable[[Response], bool]:
    return lambda answer: answer.request.method == "POST" and answer.url.endswith(path)

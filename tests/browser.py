"""The system's Chromium, driven through Playwright."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path

from playwright.sync_api import (
    Browser,
    ConsoleMessage,
    Frame,
    FrameLocator,
    Locator,
    Page,
    Response,
    sync_playwright,
)

from demo.airflow import USER, Airflow
from engagement.period import Cadence

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
        self.complaints: list[str] = []
        """What the browser's console has said of errors since the login."""
        self._airflow = airflow

    def log_in(self) -> None:
        """Log in as `admin`."""
        self.page.goto(self._airflow.url)
        self.page.fill('input[name="username"]', USER)
        self.page.fill('input[name="password"]', self._airflow.password())
        self.page.get_by_role("button", name="Sign in").click()
        self.page.get_by_test_id("nav-dags-link").wait_for()
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("console", self._listen)

    def trigger(self, dag_id: str, start: date, end: date) -> str:
        """Start one run for these days; returns its id."""
        dialog = self._dialog(dag_id)
        for name, day in (("start", start), ("end", end)):
            dialog.locator(f"#element_{name}").fill(day.isoformat())
        with self.page.expect_response(_posted("/dagRuns")) as answer:
            self.page.get_by_test_id("trigger-dag-submit").click()
        run_id = str(answer.value.json()["dag_run_id"])
        self._leave()
        return run_id

    def backfill(self, dag_id: str, first: str, last: str, behaviour: str, at_once: int) -> int:
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
        dialog.locator('input[name="max_active_runs"]').fill(str(at_once))
        with self.page.expect_response(_posted("/backfills")) as answer:
            dialog.get_by_role("button", name="Run Backfill").click()
        number = int(answer.value.json()["id"])
        self._leave()
        return number

    def reports(self, cadence: Cadence) -> list[str]:
        """The text of each row that the view lists for a cadence."""
        self.page.goto(f"{self._airflow.url}/plugin/engagement")
        link = self._frame.get_by_role("link", name=cadence.capitalize(), exact=True)
        # The first page has such a list, too: it is the next one that is read.
        with self.page.expect_event("framenavigated", _asks_for(f"cadence={cadence}")) as opened:
            link.click()
        opened.value.wait_for_load_state()
        rows: list[str] = opened.value.locator("table.reports tbody tr").all_inner_texts()
        return rows

    def download(self, target: Path) -> None:
        """Click the first archive in the list, and keep what comes."""
        with self.page.expect_download() as download:
            self._frame.get_by_role("link", name="Archive").first.click()
        download.value.save_as(target)

    def open_report(self) -> str:
        """Click the first report in the list; returns the text of its page."""
        self._frame.get_by_role("link", name="Report", exact=True).first.click()
        self._frame.get_by_role("heading", name="What happened").wait_for()
        return self._frame.locator("body").inner_text()

    def open_quality(self) -> str:
        """Click the link that the page of a report holds; returns the text of the other page."""
        self._frame.get_by_role("link", name="data_quality.html").click()
        self._frame.get_by_role("heading", name="Every check").wait_for()
        return self._frame.locator("body").inner_text()

    def open_run(self, cadence: Cadence) -> str:
        """Click the run of the first report of a cadence; returns the address that Airflow shows.

        It is Airflow's own page that changes, not the frame in it.
        """
        self.reports(cadence)
        self._frame.locator("a.run").first.click()
        self.page.get_by_test_id("state-badge").first.wait_for()
        address = self.page.url
        self._leave()
        return address

    def _leave(self) -> None:
        """Close the page, which would ask and draw without end how the run stands."""
        self.page.goto("about:blank")

    @property
    def _frame(self) -> FrameLocator:
        return self.page.frame_locator("iframe")

    def _listen(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            self.complaints.append(message.text)

    def _dialog(self, dag_id: str) -> Locator:
        self.page.goto(f"{self._airflow.url}/dags/{dag_id}")
        self.page.get_by_test_id("trigger-dag-button").first.click()
        return self.page.get_by_role("dialog").first


def _asks_for(query: str) -> Callable[[Frame], bool]:
    return lambda frame: frame.url.endswith(f"?{query}")


def _posted(path: str) -> Callable[[Response], bool]:
    return lambda answer: answer.request.method == "POST" and answer.url.endswith(path)

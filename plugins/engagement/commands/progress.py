"""What a command shows of its work on standard error."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from engagement.text_table import counted

if TYPE_CHECKING:
    from rich.console import Console

log = logging.getLogger("engagement")


class Show:
    """Where the work stands: nothing but the log's lines, where standard error is no terminal."""

    def extracted(self, table: str, rows: int) -> None:
        """Tells the rows of a table that were read so far."""

    def stage(self, name: str) -> None:
        """Tells what is being done now."""


class _Terminal(Show):
    """A last line on the terminal that moves."""

    def __init__(self, update: Callable[[str], None]) -> None:
        self._update = update
        self._rows: dict[str, int] = {}

    def extracted(self, table: str, rows: int) -> None:
        self._rows[table] = rows
        self._update(
            f"extracting {table}: {counted(rows, 'row')}, {sum(self._rows.values()):,} in all"
        )

    def stage(self, name: str) -> None:
        self._update(name)


class _ConsoleHandler(logging.Handler):
    """Writes the log above the line that moves.

    The terminal breaks long lines, which rich does not: a path could not be copied any more.
    """

    def __init__(self, console: Console) -> None:
        super().__init__()
        self._console = console

    def emit(self, record: logging.LogRecord) -> None:
        """Writes one record as one line."""
        self._console.out(self.format(record), highlight=False)


@contextmanager
def progress() -> Iterator[Show]:
    """Shows the log, and where the work stands, on standard error."""
    logging.captureWarnings(capture=True)
    log.setLevel(logging.INFO)
    # Airflow, where it is imported, tells everything once more.
    log.propagate = False
    try:
        with _terminal() if sys.stderr.isatty() else _lines() as show:
            yield show
    finally:
        log.propagate = True
        logging.captureWarnings(capture=False)


@contextmanager
def _lines() -> Iterator[Show]:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(message)s"))
    with _handled_by(handler):
        yield Show()


@contextmanager
def _terminal() -> Iterator[Show]:
    from rich.console import Console

    console = Console(stderr=True)
    with _handled_by(_ConsoleHandler(console)), console.status("connecting") as status:
        yield _Terminal(status.update)


@contextmanager
def _handled_by(handler: logging.Handler) -> Iterator[None]:
    log.addHandler(handler)
    try:
        yield
    finally:
        log.removeHandler(handler)

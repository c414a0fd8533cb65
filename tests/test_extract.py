"""The extract where something fails in the middle of it."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from threading import Event

import pytest
from upath import UPath

from engagement import extract, queries
from engagement.app_database import Address
from engagement.errors import TemporaryError
from engagement.period import Period
from engagement.settings import Settings
from tests.publish.helpers import Bucket

PERIOD = Period.parse("2025-12-29", "2026-01-04", "UTC")
# More than the driver hands on at once, and a row that cannot be computed after it.
FAILS_LATE = (
    "select n, repeat('x', 1000) as text, 1 / (60000 - n) as quotient "
    "from generate_series(1, 100000) as n"
)


@pytest.mark.parametrize("kind", ["folder", "s3"])
def test_a_query_that_fails_late_leaves_no_file(
    kind: str,
    golden_address: Address,
    settings: Settings,
    moto_bucket: Bucket,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Cut off, it would look like a table."""
    read = queries.read
    monkeypatch.setattr(
        queries, "read", lambda name: FAILS_LATE if name == "extract/events" else read(name)
    )
    seen: list[int] = []

    def report(table: str, rows: int) -> None:
        if table == "events":
            seen.append(rows)

    if kind == "folder":
        folder = UPath(tmp_path / "tables")
    else:
        server = moto_bucket.server
        folder = UPath(
            f"s3://{moto_bucket.name}/tables",
            key=server.access_key,
            secret=server.secret_key,
            endpoint_url=server.endpoint,
        )
    with pytest.raises(TemporaryError, match="division by zero"):
        extract.extract(golden_address, PERIOD, folder, settings, "tests", report)
    assert max(seen) > 0
    left = {path.name for path in folder.iterdir()} if folder.exists() else set()
    assert left <= {f"{table}.parquet" for table in extract.TABLES if table != "events"}
    assert not moto_bucket.unfinished()


def _fail() -> None:
    raise LookupError


def _interrupt() -> None:
    os.kill(os.getpid(), signal.SIGINT)


@pytest.mark.parametrize(
    ("fail", "error"),
    [(_fail, LookupError), (_interrupt, KeyboardInterrupt)],
    ids=["error", "interrupt"],
)
def test_a_failure_stops_both_readers(
    fail: Callable[[], None],
    error: type[BaseException],
    golden_address: Address,
    settings: Settings,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """At their next rows: they finish no table, and begin no other."""
    stopped = Event()
    monkeypatch.setattr(extract, "Event", lambda: stopped)
    told: list[tuple[str, int]] = []

    def report(table: str, rows: int) -> None:
        told.append((table, rows))
        if table == "events":
            fail()
        assert stopped.wait(60)

    with pytest.raises(error):
        extract.extract(golden_address, PERIOD, UPath(tmp_path), settings, "tests", report)
    assert set(told) <= {("events", 0), ("activities", 0)}
    assert list(tmp_path.iterdir()) == []

"""The benchmark: what it measures, and the page that it writes, on as little data as does."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest

from benchmarks import database, document
from benchmarks.document import History, Result
from benchmarks.measure import BenchmarkError, Days, Run, baseline, report
from demo.generate import Size

SIZE = Size(end=date(2026, 1, 26), users=60, events=3000, activities=2000, days=90, seed=7)
DAYS = Days(date(2025, 12, 27), date(2026, 1, 25))


@pytest.fixture(scope="module")
def uri() -> Iterator[str]:
    with (
        tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder,
        database.running(Path(folder) / "pg") as started,
    ):
        uri = database.database(started, SIZE)
        assert database.database(started, SIZE) == uri, "made a second time"
        yield uri


def test_measures_the_report_and_the_baseline(uri: str) -> None:
    run = report(uri, DAYS)
    assert baseline(uri, DAYS) > 0
    assert sum(run.stages.values()) <= run.seconds + 1
    assert {"extract", "compute fasts", "package"} <= run.stages.keys()
    assert run.rows["users"] == SIZE.users
    assert 0 < run.rows["activities"] < SIZE.activities
    assert run.peak > 20


def test_failure_says_what_the_process_said(uri: str) -> None:
    with pytest.raises(BenchmarkError, match="no_such_database"):
        report(uri.rpartition("/")[0] + "/no_such_database", DAYS)


def test_page_holds_the_medians_and_the_worst_peak() -> None:
    def run(seconds: float, peak: float) -> Run:
        said = f"extracted events: 2,000 rows\nextract: 5 rows, {seconds / 2:.1f} s\n"
        return Run(seconds, peak, said)

    runs = [run(4, 300), run(9, 310), run(5, 290)]
    page = document.write(
        Result(
            size=SIZE,
            days=DAYS,
            server="18.4",
            copies=[2.5, 2.0, 9.0],
            runs=runs,
            validated=run(20, 700),
            doubled=run(9, 341),
            doubled_days=Days(date(2025, 11, 27), DAYS.end),
            short=History(replace(SIZE, days=45), [2.5], [run(5, 300)]),
        )
    )
    assert "| report / baseline | **1.60** | at most 2 |" in page
    assert "| peak memory | **310 MiB** | under 1 GB |" in page
    assert "| peak memory of 60 days instead of 30 | 341 MiB (+10%) | no higher |" in page
    assert "| ratio with 90 days of history instead of 45 | -0.40 |" in page
    assert "| extract | 2.5 |" in page
    assert "| 3 | 9.0 | 5.0 | 0.56 | 290 |" in page

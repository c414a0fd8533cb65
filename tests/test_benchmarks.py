"""The benchmark: what it measures, and the page that it writes, on as little data as does."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from pathlib import Path

import psycopg
import pytest

from benchmarks import api, database, document, fast_events
from benchmarks.api import Answer, Api
from benchmarks.document import History, Result
from benchmarks.fast_events import Burst, Idle
from benchmarks.measure import BenchmarkError, Days, Run, baseline, report
from demo.generate import Size
from engagement.event_kinds import Kind

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
            idle=[
                Idle(300, {Kind.FAST_ENDINGS: 0.01}, {Kind.FAST_ENDINGS: "Scan"}),
                Idle(3000, {Kind.FAST_ENDINGS: 0.02}, {Kind.FAST_ENDINGS: "Index Scan"}),
            ],
            burst=Burst(500, 100_000, 6.25),
            api=Api(
                [Answer("/stats", 0.0421, ["Index Only Scan"]), Answer("/events", 0.015, [])],
                first_count_seconds=4.25,
                closed_days_seconds=1.5,
                closed_fast_seconds=0.2,
                first_line_seconds=0.03,
                lines_per_second=32_100.4,
            ),
        )
    )
    assert "| report / baseline | **1.60** | at most 2 |" in page
    assert "| peak memory | **310 MiB** | under 1 GB |" in page
    assert "| peak memory of 60 days instead of 30 | 341 MiB (+10%) | no higher |" in page
    assert "| ratio with 90 days of history instead of 45 | -0.40 |" in page
    assert "| extract | 2.5 |" in page
    assert "| 3 | 9.0 | 5.0 | 0.56 | 290 |" in page
    assert "| fast_endings | 10 ms | 20 ms |" in page
    assert "| 500 beginnings with 100,000 feed rows | **6.2 s** | under 10 s |" in page
    assert "```\nIndex Scan\n```" in page
    assert "| /stats | 42 ms |" in page
    assert "| the slowest request, /stats | **42 ms** | under 300 ms |" in page
    assert "a start of the API server waits for it | 4.2 s |" in page
    assert "beside the requests | 1.5 s |" in page
    assert "| first line after 30 ms, 32,100 a second |" in page
    assert "<details><summary>/stats</summary>\n\n```\nIndex Only Scan\n```" in page


def test_measuring_events_leaves_the_database_as_it_was(uri: str) -> None:
    def rows() -> list[tuple[int, ...]]:
        with psycopg.connect(uri) as connection:
            return connection.execute(
                "select (select count(*) from events_event), (select count(*) from hub_fast),"
                " (select count(*) from events_useractivityfeed),"
                " (select count(*) from events_usermilestone),"
                " (select count(*) from hub_profile_fasts), (select count(*) from hub_day)"
            ).fetchall()

    before = rows()
    idle = fast_events.measure_idle(uri, SIZE.events, SIZE.end, 1)
    burst = fast_events.measure_burst(uri, SIZE.end)
    assert set(idle.seconds) == set(idle.plans) == set(Kind)
    assert all("Scan" in plan for plan in idle.plans.values())
    assert burst.events == fast_events.FASTS
    assert 0 < burst.feed_rows <= fast_events.FASTS * SIZE.users
    assert rows() == before


def test_every_request_of_the_api_is_measured(uri: str) -> None:
    measured = api.measure(uri, SIZE.end, 1)
    assert all(answer.plans for answer in measured.answers)
    assert all("Scan" in plan for answer in measured.answers for plan in answer.plans)
    assert {answer.request.partition("?")[0] for answer in measured.answers} >= {
        "/events", "/events/{id}", "/event-types", "/stats", "/stats/user/{id}", "/stats/fast/{id}",
    }  # fmt: skip
    assert measured.lines_per_second > 0

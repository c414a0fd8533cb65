"""The API for the numbers of the app's events: what it tells, to whom, and what it refuses."""

from __future__ import annotations

import csv
import io
import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import asdict
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, NoReturn

import duckdb
import httpx
import psycopg
import pytest
import schemathesis
from hypothesis import HealthCheck, given
from hypothesis import settings as examples
from psycopg.rows import dict_row
from schemathesis.checks import CHECKS, load_all_checks

from demo import app_tables, postgres
from demo.prepare import READER, grant_roles
from engagement import (
    event_counts,
    event_pages,
    event_reader,
    event_statistics,
    queries,
    recent_events,
)
from engagement.app_database import Address
from engagement.errors import TemporaryError, UsageError
from engagement.event_pages import Event, Filters, Position
from engagement.period import local_date, parse_timezone
from engagement.settings import Settings
from tests.conftest import API_NOW, GOLDEN
from tests.servers.airflow_api import MOUNTED, Server

NOW = API_NOW
TIED = datetime(2026, 1, 4, 8, tzinfo=UTC)
ADDRESS, AGENT = "203.0.113.77", "planted-agent/9"
API = f"{MOUNTED}/api"
HOUR = timedelta(hours=1)
TEXTS = [
    "=1+1", "+1", "-1", "@a", "\ttab", "\rreturn", "", 'a "b", c', "line\nbreak", "Պահք", " ",
]  # fmt: skip
DATA = [
    '{"milestone": 25}', '{"milestone": "50"}', '{"milestone": {"a": 1}}', "[1, null]", "null",
    "-1", '"=1"', "1e400", "true",
]  # fmt: skip
PLANTED = """
insert into events_event (
    object_id, title, description, data, timestamp, ip_address, user_agent, created_at,
    content_type_id, event_type_id, user_id
)
select
    %(fast)s, %(title)s, %(description)s, %(data)s::jsonb, %(at)s, '203.0.113.77', '', %(at)s,
    (select id from django_content_type where app_label = 'hub' and model = 'fast'),
    (select id from events_eventtype where code = %(code)s), %(user)s
"""
EVERYTHING = """
select
    event.id, event.timestamp, type.code as event_type, event.user_id,
    target.app_label || '.' || target.model as target_type, event.object_id as target_id,
    event.title, event.description, event.data
from events_event as event
inner join events_eventtype as type on event.event_type_id = type.id
left join django_content_type as target on event.content_type_id = target.id
order by event.timestamp desc, event.id desc
"""

Row = dict[str, Any]


def plant(uri: str, **values: Any) -> None:
    row = {
        "fast": 2, "title": "", "description": "", "data": "{}", "at": TIED, "user": None,
        "code": "user_joined_fast",
    }  # fmt: skip
    with psycopg.connect(uri) as connection:
        connection.execute(PLANTED, {**row, **values})


@pytest.fixture(scope="module")
def uri(database_server: postgres.Server) -> Iterator[str]:
    """The golden database, with ties, awkward texts, milestones, and an address on every event."""
    uri = database_server.create_database("api")
    app_tables.apply_schema(uri)
    app_tables.load_csv_folder(uri, GOLDEN / "appdb")
    grant_roles(uri)
    for number in range(40):
        plant(
            uri, title=TEXTS[number % len(TEXTS)], description=TEXTS[-number % len(TEXTS)],
            data=DATA[number // 3 % len(DATA)], user=[1, 2, None][number % 3],
            code=["user_joined_fast", "user_left_fast", "fast_participant_milestone"][number % 3],
            fast=[2, 3, 999_999][number % 5 % 3],
        )  # fmt: skip
    # At the edges of windows and days, and after now.
    for before in (0, 1, 24, 7 * 24, 30 * 24):
        for micro in (-1, 0, 1):
            plant(uri, at=NOW - before * HOUR + micro * timedelta.resolution, user=1)
    plant(uri, at=NOW + timedelta(days=400), user=1)
    with psycopg.connect(uri, autocommit=True) as connection:
        connection.execute(
            f"update events_event set ip_address = '{ADDRESS}', user_agent = '{AGENT}'".encode()
        )
        connection.execute("vacuum (analyze) events_event")
    yield uri
    database_server.drop_database("api")


@pytest.fixture(scope="module")
def address(uri: str, database_server: postgres.Server) -> Address:
    """The same as the role of the reports sees it."""
    return Address.parse(database_server.uri("api", READER))


@pytest.fixture(scope="module")
def rows(uri: str) -> list[Row]:
    """Every event, newest first."""
    with psycopg.connect(uri, row_factory=dict_row) as connection:
        connection.execute("set timezone to 'UTC'")
        return connection.execute(EVERYTHING).fetchall()


@pytest.fixture
def connection(address: Address, settings: Settings) -> Iterator[psycopg.Connection]:
    with event_reader.reading(address, settings) as connection:
        yield connection


def matching(rows: list[Row], filters: Filters, timezone: str) -> list[Row]:
    zone = parse_timezone(timezone)
    model = {row["target_type"]: (row["target_type"] or "").split(".")[-1] for row in rows}

    def holds(row: Row) -> bool:
        day = local_date(row["timestamp"], zone)
        return (
            filters.event_type in (None, row["event_type"])
            and filters.user_id in (None, row["user_id"])
            and filters.target_type in (None, row["target_type"], model[row["target_type"]])
            and filters.target_id in (None, row["target_id"])
            and (filters.start is None or filters.start <= day)
            and (filters.end is None or day <= filters.end)
        )

    return [row for row in rows if holds(row)]


def pages(
    connection: psycopg.Connection, filters: Filters, timezone: str, limit: int
) -> Iterator[event_pages.Page]:
    after = None
    while True:
        page = event_pages.find_events(connection, filters, timezone, limit, after)
        yield page
        if page.next is None:
            return
        after = Position.parse(page.next)


ASKED = [
    Filters(),
    Filters(event_type="user_joined_fast"),
    Filters(user_id=1),
    Filters(target_type="hub.fast"),
    Filters(target_type="fast", target_id=2),
    Filters(user_id=1, event_type="user_joined_fast"),
    Filters(user_id=2, event_type="fast_beginning"),
    Filters(target_type="hub.devotional", event_type="devotional_viewed"),
    Filters(target_type="hub.fast", target_id=3, event_type="user_left_fast", user_id=2),
    Filters(start=date(2026, 1, 3), end=date(2026, 1, 4)),
    Filters(start=date(2026, 1, 4), user_id=1),
    Filters(end=date(2025, 12, 1), target_type="fast"),
    Filters(event_type="screen_view", start=date(1970, 1, 1), end=date(9998, 12, 31)),
]


@pytest.mark.parametrize("timezone", ["UTC", "America/Los_Angeles"])
@pytest.mark.parametrize("walk", [event_pages.WALK, 25])
@pytest.mark.parametrize("filters", ASKED, ids=str)
def test_pages_are_the_events_that_match(
    filters: Filters,
    walk: int,
    timezone: str,
    connection: psycopg.Connection,
    rows: list[Row],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whatever the size of the pages, under ties, and where a page ends before it is full."""
    monkeypatch.setattr(event_pages, "WALK", walk)
    expected = [row["id"] for row in matching(rows, filters, timezone)]
    for limit in (500, 37):
        found = list(pages(connection, filters, timezone, limit))
        assert [one.id for page in found for one in page.events] == expected
        assert max(len(page.events) for page in found) <= limit
        if walk > 25:
            assert len(found) <= len(expected) // limit + 1
    assert len(expected) > 5 or "fast_beginning" in str(filters) or filters.target_id == 3


def test_a_page_passes_no_more_than_its_walk(
    connection: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of two frequent values that never come together there is nothing on it, and it says so."""
    monkeypatch.setattr(event_pages, "WALK", 20)
    filters = Filters(target_type="hub.devotional", event_type="screen_view")
    page = event_pages.find_events(connection, filters, "UTC", 10)
    assert page.events == []
    assert page.next is not None


@pytest.mark.parametrize("depth", [100, 101, 300, 5000])
def test_data_that_is_nested_deeply_is_told(
    depth: int, uri: str, client: httpx.Client, address: Address, settings: Settings
) -> None:
    """As it is, or as the text that it is where most readers of JSON would give up."""
    nested = "[" * (depth - 1) + '{"]": "[\\"{"}' + "]" * (depth - 1)
    at = NOW - timedelta(days=200)
    plant(uri, at=at, data=nested, title="nested")
    try:
        filters = Filters(start=at.date(), end=at.date())
        batches = event_pages.all_events(address, settings, filters)
        (event,) = [one for batch in batches for one in batch if one.title == "nested"]
        told = [
            client.get(f"{API}/events/{event.id}").json()["data"],
            *(
                one["data"]
                for one in client.get(f"{API}/events?end_date={at.date()}").json()["events"]
                if one["id"] == event.id
            ),
        ]
        csv = client.get(f"{API}/events.csv?start_date={at.date()}&end_date={at.date()}").text
    finally:
        with psycopg.connect(uri) as owner:
            owner.execute("delete from events_event where title = 'nested'")
    expected = json.loads(nested) if depth <= 100 else nested
    assert told == [expected, expected]
    assert event.data == expected
    assert json.dumps(expected).replace('"', '""') in csv


def test_an_event_is_told_as_it_is(connection: psycopg.Connection, rows: list[Row]) -> None:
    page = event_pages.find_events(connection, Filters(), "UTC", 500)
    unlike = [
        (asdict(one), row)
        for one, row in zip(page.events, rows, strict=False)
        if asdict(one) != row
    ]
    # Read as a double it would be infinity, which JSON does not know.
    assert {one["data"] for one, _ in unlike} == {"1" + "0" * 400}
    assert all(event_pages.event(connection, one["id"]) == Event(**one) for one, _ in unlike)
    assert len(page.events) == 500


@pytest.mark.parametrize(
    ("filters", "told"),
    [
        (Filters(event_type="no_such"), "expected one of app_open, article_published"),
        (Filters(event_type="a\0b"), "expected one of app_open"),
        (Filters(target_type="no.such"), r"expected one of .*hub\.fast"),
        (Filters(target_type=""), r"expected one of .*hub\.fast"),
        (Filters(start=date(2026, 1, 2), end=date(2026, 1, 1)), "ends before it starts"),
        (Filters(start=date(1969, 12, 31)), "out of range"),
        (Filters(end=date(9999, 1, 1)), "out of range"),
    ],
    ids=str,
)
def test_what_makes_no_sense_is_refused(
    filters: Filters, told: str, connection: psycopg.Connection
) -> None:
    with pytest.raises(UsageError, match=told):
        event_pages.find_events(connection, filters, "UTC", 10)


def test_a_model_of_several_apps_needs_its_app(
    uri: str, address: Address, settings: Settings
) -> None:
    with psycopg.connect(uri, autocommit=True) as owner:
        owner.execute("insert into django_content_type (app_label, model) values ('other', 'fast')")
        try:
            with (
                event_reader.reading(address, settings) as connection,
                pytest.raises(UsageError, match=r"several: expected one of hub\.fast, other\.fast"),
            ):
                event_pages.find_events(connection, Filters(target_type="fast"), "UTC", 10)
        finally:
            owner.execute("delete from django_content_type where app_label = 'other'")


@pytest.mark.parametrize(
    "instant", [NOW, datetime(1, 1, 1, tzinfo=UTC), datetime.max.replace(tzinfo=UTC)]
)
def test_a_position_is_what_it_was(instant: datetime) -> None:
    for number in (1, (1 << 63) - 1):
        assert Position.parse(str(Position(instant, number))) == Position(instant, number)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        "MS4x=",
        "MS4x\n",
        " MS4x",
        "AAAA",
        "MS4",
        "OTk5OTk5OTk5OTk5OTk5OTk5LjE",
        "é",
        "MDEuMQ",
    ],
)
def test_any_other_position_is_refused(text: str) -> None:
    assert Position.parse("MS4x") == Position(
        datetime(1970, 1, 1, tzinfo=UTC) + timedelta.resolution, 1
    )
    with pytest.raises(UsageError, match="none of ours"):
        Position.parse(text)


@pytest.mark.parametrize("batch", [5000, 100])
@pytest.mark.parametrize("filters", ASKED, ids=str)
def test_csv_is_the_same_events(
    filters: Filters,
    batch: int,
    address: Address,
    settings: Settings,
    connection: psycopg.Connection,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """However many batches they come in."""
    monkeypatch.setattr(event_pages, "_BATCH", batch)
    monkeypatch.setattr(event_pages, "WALK", 2 * batch)
    batches = event_pages.all_events(address, settings, filters)
    text = event_pages.CSV_HEADER + "".join(map(event_pages.as_csv, batches))
    told = list(csv.DictReader(io.StringIO(text, newline=""), strict=True))
    listed = [one for page in pages(connection, filters, "UTC", 500) for one in page.events]
    assert len(told) == len(listed)
    for cells, one in zip(told, listed, strict=True):
        plain = {
            name: "" if value is None else str(value)
            for name, value in asdict(one).items()
            if name not in {"timestamp", "data"}
        }
        assert {name: cells[name].removeprefix("'") for name in plain} == plain
        assert datetime.fromisoformat(cells["timestamp"]) == one.timestamp
        assert json.loads(cells["data"].removeprefix("'")) == one.data


def test_all_events_begin_where_they_began(
    uri: str,
    address: Address,
    settings: Settings,
    rows: list[Row],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What happens meanwhile is not told, and nothing is told twice or left out for it."""
    monkeypatch.setattr(event_pages, "_BATCH", 100)
    batches = event_pages.all_events(address, settings, Filters())
    told = [one.id for one in next(batches)]
    newest = rows[0]["timestamp"]
    try:
        for number, batch in enumerate(batches):
            plant(uri, at=newest + number * HOUR, title="added later")
            told += [one.id for one in batch]
    finally:
        with psycopg.connect(uri) as owner:
            owner.execute("delete from events_event where title = 'added later'")
    assert told == [row["id"] for row in rows]


def test_each_batch_has_its_own_time(
    uri: str, address: Address, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_pages, "_BATCH", 100)
    quick = settings.model_copy(update={"api_timeout_seconds": 1})
    batches = event_pages.all_events(address, quick, Filters())
    assert len(next(batches)) == 100
    with psycopg.connect(uri) as owner:
        owner.execute("lock table events_event in access exclusive mode")
        with pytest.raises(TemporaryError, match="longer than its 1 s"):
            next(batches)


def test_a_cell_is_as_in_the_datasets(tmp_path: Path) -> None:
    """The same quotes and apostrophes as the archives have, whatever the text."""
    texts = [*TEXTS, "'", "a=b", "\n", '"', "a\rb"]
    with duckdb.connect() as session:
        session.execute(queries.read("duckdb/functions"))
        session.execute("create table texts as select unnest($texts) as text", {"texts": texts})
        session.execute(
            f"copy (select formula_safe(text), 1 from texts) to '{tmp_path}/texts.csv'"
            " (format csv, header false, nullstr '')"
        )
    ours = [
        event_pages.as_csv([Event(1, NOW, "t", None, None, None, text, "", 1)]) for text in texts
    ]
    expected = (tmp_path / "texts.csv").read_bytes().decode()
    begin, end = "1,2026-01-05T12:34:56.789012Z,t,,,,", ',"",1\n'
    assert all(line.startswith(begin) and line.endswith(end) for line in ours)
    assert "".join(f"{line.removeprefix(begin).removesuffix(end)},1\n" for line in ours) == expected


def plain_statistics(rows: list[Row], now: datetime, timezone: str) -> Row:
    """The same as the statistics, counted one by one."""
    zone = parse_timezone(timezone)
    past = [row for row in rows if row["timestamp"] <= now]
    today = local_date(now, zone)
    days = [today - timedelta(days=n) for n in range(29, -1, -1)]
    by_day = Counter((local_date(row["timestamp"], zone), row["event_type"]) for row in past)

    def since(days: int) -> list[Row]:
        return [row for row in past if row["timestamp"] > now - timedelta(days=days)]

    types = Counter(row["event_type"] for row in since(30))
    return {
        "total": len(rows),
        "last_24_hours": len(since(1)),
        "last_7_days": len(since(7)),
        "last_30_days": len(since(30)),
        "top_event_types": [
            {"event_type": code, "events": number}
            for code, number in sorted(types.items(), key=lambda one: (-one[1], one[0]))[:10]
        ],
        "events_by_day": [
            {"day": day, "events": sum(n for (d, _), n in by_day.items() if d == day)}
            for day in days
        ],
        "joins_and_leaves": [
            {
                "day": day,
                "joins": by_day[day, "user_joined_fast"],
                "leaves": by_day[day, "user_left_fast"],
            }
            for day in days
        ],
    }


@pytest.mark.parametrize("age", [timedelta(0), 59 * 60 * timedelta(seconds=1), timedelta(hours=23)])
@pytest.mark.parametrize(
    ("timezone", "now"),
    [
        ("UTC", NOW),
        ("America/Los_Angeles", NOW),
        ("Asia/Yerevan", datetime(2025, 12, 31, 20, tzinfo=UTC)),
        # A day of 25 hours is in the last 30 days, one of 23 hours in the second case.
        ("America/Los_Angeles", datetime(2025, 11, 30, 8, 30, tzinfo=UTC)),
        ("Africa/Cairo", datetime(2025, 4, 25, 12, tzinfo=UTC)),
        ("UTC", datetime(2026, 1, 4, tzinfo=UTC)),
    ],
)
def test_statistics_are_a_plain_count(
    timezone: str,
    now: datetime,
    age: timedelta,
    address: Address,
    settings: Settings,
    rows: list[Row],
) -> None:
    """Whatever was counted before, and however long ago."""
    settings = settings.model_copy(update={"timezone": timezone})
    event_counts.forget_closed_days()
    event_counts.closed_days(address, settings, now - age)
    monday = event_counts.closed_days(address, settings, now - age)
    with event_reader.reading(address, settings) as connection:
        found = event_statistics.statistics(connection, monday, timezone, now)
        types = event_statistics.event_types(connection, monday)
    told = asdict(found)
    expected = plain_statistics(rows, now, timezone)
    assert {name: told[name] for name in expected} == expected
    assert (found.at, found.counted_at) == (now, now - age)
    counts = Counter(row["event_type"] for row in rows)
    assert {one.code: one.events for one in types.event_types if one.events} == counts
    assert len(types.event_types) == 29


@pytest.fixture
def reached(uri: str) -> Iterator[list[tuple[str, datetime]]]:
    """Every milestone of users, some of them at the edges of days, of the last 30 and of `NOW`."""
    micro = timedelta.resolution
    edges = [
        NOW.replace(hour=hour, minute=0, second=0, microsecond=0) - timedelta(days=days)
        for days in (0, 1, 2, 29, 30)
        for hour in (0, 8, 20)
    ]
    planted = [NOW, NOW + micro, *(at + n * micro for at in edges for n in (-1, 0, 0))]
    with psycopg.connect(uri, autocommit=True) as owner:
        for number, at in enumerate(planted):
            owner.execute(
                "insert into events_usermilestone (user_id, milestone_type, achieved_at, data)"
                " values (%s, %s, %s, '{}')",
                (1 + number, f"planted {number % 2}", at),
            )
        yield owner.execute(
            "select milestone_type, achieved_at from events_usermilestone"
        ).fetchall()
        owner.execute("delete from events_usermilestone where milestone_type like 'planted%'")


@pytest.mark.parametrize("timezone", ["UTC", "America/Los_Angeles", "Asia/Yerevan"])
def test_recent_milestones_name_nobody(
    timezone: str,
    reached: list[tuple[str, datetime]],
    connection: psycopg.Connection,
    address: Address,
    settings: Settings,
) -> None:
    settings = settings.model_copy(update={"timezone": timezone})
    closed = event_counts.closed_days(address, settings, NOW)
    recent = event_statistics.statistics(connection, closed, timezone, NOW).recent_milestones
    zone = parse_timezone(timezone)
    today = local_date(NOW, zone)
    counts = Counter(
        (local_date(at, zone), kind)
        for kind, at in reached
        if at <= NOW and local_date(at, zone) > today - timedelta(days=30)
    )
    newest_first = sorted(counts, key=lambda one: (-one[0].toordinal(), one[1]))
    assert [(one.day, one.kind, one.users) for one in recent.users] == [
        (*one, counts[one]) for one in newest_first
    ]
    assert len(reached) > sum(counts.values()) > len(counts) > 5
    assert {one.threshold for one in recent.fasts} == {None, 25, 50}
    assert {one.fast_id: one.fast for one in recent.fasts}.items() >= {999_999: None}.items()
    assert all(one.reached_at == TIED for one in recent.fasts)
    assert not {"user", "user_id", "reached_at"} & {*asdict(recent.users[0])}


@pytest.mark.parametrize("age", [timedelta(0), timedelta(hours=23)])
@pytest.mark.parametrize("timezone", ["UTC", "America/Los_Angeles"])
@pytest.mark.parametrize("fast_id", [2, 3, 8])
def test_statistics_of_a_fast(
    fast_id: int,
    timezone: str,
    age: timedelta,
    connection: psycopg.Connection,
    address: Address,
    settings: Settings,
    rows: list[Row],
    uri: str,
) -> None:
    """Whatever was counted before, and however long ago."""
    settings = settings.model_copy(update={"timezone": timezone})
    zone = parse_timezone(timezone)
    own = [row for row in rows if (row["target_type"], row["target_id"]) == ("hub.fast", fast_id)]
    days = Counter((local_date(row["timestamp"], zone), row["event_type"]) for row in own)
    event_counts.forget_closed_days()
    event_counts.closed_fast_days(address, settings, fast_id, NOW - age)
    closed = event_counts.closed_fast_days(address, settings, fast_id, NOW)
    found = event_statistics.fast_statistics(connection, closed, timezone, fast_id, NOW)
    assert found is not None
    assert found.counted_at == NOW - age
    joins, leaves = (
        sum(row["event_type"] == code for row in own)
        for code in ("user_joined_fast", "user_left_fast")
    )
    assert (found.joins, found.leaves) == (joins, leaves)
    with psycopg.connect(uri) as owner:
        members = owner.execute(
            "select count(*) from hub_profile_fasts where fast_id = %s", (fast_id,)
        ).fetchone()
    assert (found.participants,) == members
    last = local_date(max(row["timestamp"] for row in own if row["timestamp"] <= NOW), zone)
    expected = {
        day: (days[day, "user_joined_fast"], days[day, "user_left_fast"])
        for day in sorted({local_date(row["timestamp"], zone) for row in own})
        if last - timedelta(days=365) <= day <= last
    }
    told = {one.day: (one.joins, one.leaves) for one in found.by_day}
    assert told == {day: counts for day, counts in expected.items() if any(counts)}
    milestones = [one for one in own if one["event_type"] == "fast_participant_milestone"]
    assert len(found.milestones) == len(milestones)
    closed = event_counts.closed_fast_days(address, settings, 999_999, NOW)
    assert event_statistics.fast_statistics(connection, closed, "UTC", 999_999, NOW) is None


def test_statistics_of_a_user(connection: psycopg.Connection, rows: list[Row]) -> None:
    for user_id in (1, 2, 50):
        own = [row for row in rows if row["user_id"] == user_id]
        found = event_statistics.user_statistics(connection, user_id, NOW)
        assert found is not None
        expected = plain_statistics(own, NOW, "UTC")
        windows = ("total", "last_24_hours", "last_7_days", "last_30_days")
        assert {name: getattr(found, name) for name in windows} == {
            name: expected[name] for name in windows
        }
        assert found.first_at == min(row["timestamp"] for row in own)
        assert found.last_at == max(row["timestamp"] for row in own)
        assert {one.event_type: one.events for one in found.event_types} == Counter(
            row["event_type"] for row in own
        )
        assert found.milestones == sorted(found.milestones, key=lambda one: one.reached_at)[::-1]
    assert event_statistics.user_statistics(connection, 999_999, NOW) is None


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The names of the threads that count the closed days, in the order in which they begin."""
    threads: list[str] = []
    count = event_counts._count_closed_days

    def watched(*arguments: Any) -> event_counts.ClosedDays:
        threads.append(threading.current_thread().name)
        return count(*arguments)

    monkeypatch.setattr(event_counts, "_count_closed_days", watched)
    event_counts.forget_closed_days()
    yield threads
    event_counts.forget_closed_days()


def wait_for(what: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_closed_days_are_counted_once_an_hour(
    counted: list[str], address: Address, settings: Settings
) -> None:
    """By one of those who ask at the same time; anew while nobody waits, within three days."""
    asking = [
        threading.Thread(target=event_counts.closed_days, args=(address, settings, NOW))
        for _ in range(4)
    ]
    for thread in asking:
        thread.start()
    for thread in asking:
        thread.join()
    assert len(counted) == 1
    assert event_counts.closed_days(address, settings, NOW + HOUR).counted_at == NOW
    assert len(counted) == 1
    late = NOW + HOUR + timedelta.resolution
    assert event_counts.closed_days(address, settings, late).counted_at == NOW
    wait_for(lambda: event_counts.closed_days(address, settings, late).counted_at == late)
    assert counted[1:] == ["engagement-count"]
    days_later = late + timedelta(days=3, microseconds=1)
    assert event_counts.closed_days(address, settings, days_later).counted_at == days_later
    assert counted[2:] == ["MainThread"]


def test_what_was_deleted_is_gone_after_an_hour(
    counted: list[str], uri: str, address: Address, settings: Settings
) -> None:
    def total(now: datetime) -> int:
        closed = event_counts.closed_days(address, settings, now)
        with event_reader.reading(address, settings) as connection:
            return event_statistics.statistics(connection, closed, "UTC", now).total

    before = total(NOW)
    old = datetime(2025, 12, 20, tzinfo=UTC)
    plant(uri, at=old, title="deleted later")
    try:
        assert total(NOW) == before
        later = NOW + HOUR + timedelta.resolution
        total(later)
        wait_for(lambda: total(later) == before + 1)
    finally:
        with psycopg.connect(uri) as owner:
            owner.execute("delete from events_event where title = 'deleted later'")
    later += HOUR + timedelta.resolution
    total(later)
    wait_for(lambda: total(later) == before)


def test_a_count_that_fails_keeps_the_one_before(
    counted: list[str],
    address: Address,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    event_counts.closed_days(address, settings, NOW)

    def fail(*arguments: Any) -> event_counts.ClosedDays:
        raise TemporaryError("the app's database is away")

    late = NOW + 2 * HOUR
    with monkeypatch.context() as patched:
        patched.setattr(event_counts, "_count_closed_days", fail)
        event_counts.closed_days(address, settings, late)
        wait_for(lambda: "not counted anew: the app's database is away" in caplog.text)
        assert event_counts.closed_days(address, settings, late).counted_at == NOW
    wait_for(lambda: event_counts.closed_days(address, settings, late).counted_at == late)


def test_the_newest_fasts_are_counted_before_anybody_asks(
    uri: str, address: Address, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    with psycopg.connect(uri) as owner:
        rows = owner.execute("select id from hub_fast order by id desc limit 3").fetchall()
    *newest, older = (number for (number,) in rows)
    monkeypatch.setattr(event_counts, "_FASTS_AHEAD", len(newest))
    event_counts.forget_closed_days()
    event_counts.count_ahead(address, settings, NOW)

    def fail(*arguments: Any) -> NoReturn:
        raise TemporaryError("somebody would wait")

    for count in ("_count_closed_days", "_count_closed_fast_days"):
        monkeypatch.setattr(event_counts, count, fail)
    assert event_counts.closed_days(address, settings, NOW).counted_at == NOW
    for fast_id in newest:
        assert event_counts.closed_fast_days(address, settings, fast_id, NOW).counted_at == NOW
    with pytest.raises(TemporaryError, match="somebody would wait"):
        event_counts.closed_fast_days(address, settings, older, NOW)


def test_a_query_of_the_api_is_cut_off(address: Address, settings: Settings) -> None:
    quick = settings.model_copy(update={"api_timeout_seconds": 1})
    with (
        pytest.raises(TemporaryError, match=r"longer than its 1 s.*ENGAGEMENT_API_TIMEOUT_SECONDS"),
        event_reader.reading(address, quick) as connection,
    ):
        connection.execute("select pg_sleep(20)")


def test_the_view_tells_fasts_of_one_name_apart(
    uri: str, address: Address, settings: Settings
) -> None:
    later = NOW + timedelta(days=600)
    with psycopg.connect(uri) as owner:
        owner.execute("update hub_fast set church_id = 3, name = 'Great Lent', year = 2026"
                      " where id = 9")  # fmt: skip
    planted = {2: (10, 25), 9: (10,), 3: (50,), 4: (50, 100), 999_998: (10,)}
    for fast, milestones in planted.items():
        for milestone in milestones:
            plant(
                uri, fast=fast, at=later, code="fast_participant_milestone",
                data=json.dumps({"milestone": milestone}), title="planted",
            )  # fmt: skip
    try:
        found = recent_events.read(address, settings, later + HOUR).events
    finally:
        with psycopg.connect(uri) as owner:
            owner.execute("delete from events_event where title = 'planted'")
            owner.execute("update hub_fast set church_id = 1, year = null,"
                          " name = 'Fast of St. James of Nisibis' where id = 9")  # fmt: skip
    church = "Armenian Apostolic Church"
    assert {one.fast: one.numbers for one in found} == {
        f"Great Lent (2026) ({church})": (10, 25),
        "Great Lent (2026) (St. Mary Church)": (10,),
        f"Twin fast ({church}, id 3)": (50,),
        f"Twin fast ({church}, id 4)": (50, 100),
        "a fast that is gone (id 999998)": (10,),
    }


def test_so_is_one_of_the_view(uri: str, address: Address, settings: Settings) -> None:
    quick = settings.model_copy(update={"api_timeout_seconds": 1})
    with psycopg.connect(uri) as owner:
        owner.execute("lock table events_event in access exclusive mode")
        with pytest.raises(TemporaryError, match=r"of the view .*ENGAGEMENT_API_TIMEOUT_SECONDS"):
            recent_events.read(address, quick, NOW)


@pytest.fixture(scope="module")
def server(api_server: Server, address: Address) -> Server:
    """The API in Airflow's API server, with the app's database as a connection stored there."""
    api_server.connect_app_database(address.conninfo)
    return api_server


@pytest.fixture(scope="module")
def client(server: Server) -> Iterator[httpx.Client]:
    """Somebody who may trigger."""
    with server.client("user") as client:
        yield client


COUNTS = ["/stats", "/event-types", "/stats/fast/2"]
PERSONAL = ["/events", "/events/1", "/events.csv", "/users/1/events", "/stats/user/1"]
CHECK = "/fasts/2/check-milestones"


@pytest.mark.parametrize(
    ("role", "counts", "personal", "check"),
    [(None, 401, 401, 401), ("viewer", 200, 403, 403), ("user", 200, 200, 200)],
)
def test_who_may_see_what(
    role: str | None, counts: int, personal: int, check: int, server: Server
) -> None:
    with server.client(role) as client:
        assert {client.get(API + path).status_code for path in COUNTS} == {counts}
        assert {client.get(API + path).status_code for path in PERSONAL} == {personal}
        assert client.post(API + CHECK).status_code == check
        # Whoever may not see it does not learn what is wrong with the question either.
        if role != "user":
            for path in ("/events/999999999", "/events?limit=x", "/users/999999/events"):
                assert client.get(API + path).status_code == personal


def test_every_route_is_guarded(server: Server) -> None:
    with server.client(None) as client, server.client("viewer") as viewer:
        assert client.get(f"{API}/openapi.json").status_code == 401
        paths = viewer.get(f"{API}/openapi.json").json()["paths"]
        told = {
            (method, path.removeprefix("/api"))
            for path, methods in paths.items()
            for method in methods
        }
        assert told == {
            ("get", "/events"), ("get", "/events.csv"), ("get", "/events/{event_id}"),
            ("get", "/users/{user_id}/events"), ("get", "/event-types"), ("get", "/stats"),
            ("get", "/stats/user/{user_id}"), ("get", "/stats/fast/{fast_id}"),
            ("post", "/fasts/{fast_id}/check-milestones"),
        }  # fmt: skip
        for method, path in told:
            assert (
                client.request(method, API + path.replace("{", "").replace("}", "")).status_code
                == 401
            )


def test_no_address_and_no_agent_anywhere(server: Server, uri: str, client: httpx.Client) -> None:
    with psycopg.connect(uri) as owner:
        planted = owner.execute(
            f"select count(*) from events_event where ip_address = '{ADDRESS}'".encode()
        ).fetchone()
    assert planted is not None
    assert planted[0] > 1500
    answers = [client.get(API + path) for path in (*COUNTS, *PERSONAL, "/events?limit=500")]
    for answer in (*answers, client.get(f"{API}/openapi.json")):
        assert answer.status_code == 200
        for word in (ADDRESS, AGENT, "ip_address", "user_agent"):
            assert word not in answer.text


def test_answers_are_what_the_database_holds(
    client: httpx.Client, rows: list[Row], connection: psycopg.Connection
) -> None:
    page = client.get(f"{API}/events", params={"limit": 3, "event_type": "user_joined_fast"}).json()
    expected = matching(rows, Filters(event_type="user_joined_fast"), "UTC")
    assert [one["id"] for one in page["events"]] == [row["id"] for row in expected[:3]]
    again = client.get(
        f"{API}/events",
        params={"limit": 3, "event_type": "user_joined_fast", "cursor": page["next"]},
    ).json()
    assert [one["id"] for one in again["events"]] == [row["id"] for row in expected[3:6]]
    one = rows[5]
    assert client.get(f"{API}/events/{one['id']}").json() == {
        **one, "timestamp": one["timestamp"].isoformat().replace("+00:00", "Z")
    }  # fmt: skip
    own = client.get(f"{API}/users/1/events", params={"limit": 500, "target_type": "fast"}).json()
    assert [event["id"] for event in own["events"]] == [
        row["id"] for row in matching(rows, Filters(user_id=1, target_type="fast"), "UTC")
    ]
    stats = client.get(f"{API}/stats").json()
    expected_stats = plain_statistics(rows, NOW, "UTC")
    assert stats["total"] == len(rows)
    assert stats["last_24_hours"] == expected_stats["last_24_hours"]
    assert stats["timezone"] == "UTC"
    lines = client.get(f"{API}/events.csv", params={"user_id": 1})
    assert lines.headers["content-type"] == "text/csv; charset=utf-8"
    assert len(list(csv.reader(io.StringIO(lines.text, newline="")))) == 1 + len(
        matching(rows, Filters(user_id=1), "UTC")
    )


def test_what_is_not_there_is_not_found(client: httpx.Client) -> None:
    big = (1 << 31) - 1
    for method, path in (
        ("GET", f"/events/{(1 << 63) - 1}"),
        ("GET", f"/users/{big}/events"),
        ("GET", f"/stats/user/{big}"),
        ("GET", f"/stats/fast/{(1 << 63) - 1}"),
        ("POST", f"/fasts/{(1 << 63) - 1}/check-milestones"),
    ):
        answer = client.request(method, API + path)
        assert answer.status_code == 404, path
        assert answer.json()["detail"].startswith("there is no ")


@pytest.mark.parametrize(
    ("path", "told"),
    [
        ("/events?limit=0", "greater than or equal to 1"),
        ("/events?limit=501", "less than or equal to 500"),
        ("/events?limit=1.0", "digits alone"),
        ("/events?user_id=x", "digits alone"),
        ("/events?user_id=", "digits alone"),
        ("/events?user_id=2147483648", "less than or equal to 2147483647"),
        ("/events?user_id=99999999999999999999999", "digits alone"),
        ("/events?user_id=%D9%A1", "digits alone"),
        ("/events?target_type=hub.fast&target_id=2147483648", "less than or equal"),
        ("/events?target_id=1", "expected a target_type beside it"),
        ("/events?target_type=no.such", "hub.fast"),
        ("/events?event_type=no_such", "user_joined_fast"),
        ("/events?event_type=%00", "user_joined_fast"),
        ("/events?start_date=2026-02-30", "YYYY-MM-DD"),
        ("/events?start_date=1767225600", "YYYY-MM-DD"),
        ("/events?start_date=2026-01-02&end_date=2026-01-01", "ends before it starts"),
        ("/events?end_date=9999-12-31", "out of range"),
        ("/events?cursor=abc", "none of ours"),
        ("/events?usr_id=1", "not permitted"),
        ("/events.csv?event_type=no_such", "user_joined_fast"),
        ("/events.csv?limit=1", "not permitted"),
        ("/users/1/events?user_id=2", "not permitted"),
        ("/events/0", "greater than or equal to 1"),
        ("/events/9223372036854775808", "less than or equal"),
        ("/events/abc", "digits alone"),
        ("/stats?days=3", "no such parameter"),
        ("/stats/user/2147483648", "less than or equal"),
        ("/stats/fast/-1", "greater than or equal to 1"),
    ],
)
def test_wrong_input_is_told_what_was_expected(path: str, told: str, client: httpx.Client) -> None:
    answer = client.get(API + path)
    assert answer.status_code == 422
    assert told in " ".join(problem["msg"] for problem in answer.json()["detail"])


def test_checking_milestones_starts_a_run(client: httpx.Client, server: Server) -> None:
    answer = client.post(f"{API}{CHECK}")
    run = answer.json()
    assert run["state"] == "queued"
    with server.client("admin") as admin:
        found = admin.get(f"/api/v2/dags/fast_events/dagRuns/{run['dag_run_id']}").json()
        assert found["conf"] == {"fast_ids": [2]}
        assert found["triggered_by"] == "rest_api"
        assert found["triggering_user_name"] == "user"
        assert admin.get(run["url"]).status_code == 200
        log = admin.get("/api/v2/eventLogs", params={"event": "check_milestones"}).json()
        assert log["event_logs"][0]["owner"] == "user"
    asked: list[dict[str, Any]] = [{"json": {}}, {"content": b"x"}, {"params": {"dry_run": "yes"}}]
    for options in asked:
        assert client.post(f"{API}{CHECK}", **options).status_code == 422


OLD = "timestamp = '2020-01-01Z'"
PLAIN = {"Accept-Encoding": "identity"}


@pytest.fixture(scope="module")
def owner(uri: str) -> Iterator[psycopg.Connection]:
    with closing(psycopg.connect(uri, autocommit=True)) as owner:
        yield owner


@pytest.fixture
def old(owner: psycopg.Connection) -> Iterator[list[int]]:
    """The ids of many events with long texts, the oldest last: more than are sent unless read."""
    owner.execute(
        "insert into events_event (title, description, data, timestamp, user_agent, created_at,"
        " event_type_id) select '', (select string_agg(md5(row || ' ' || n), '')"
        " from generate_series(1, 125) as n), '{}', %(at)s, '', %(at)s,"
        " (select min(id) from events_eventtype) from generate_series(1, 20000) as row",
        {"at": datetime(2020, 1, 1, tzinfo=UTC)},
    )
    yield [
        key for (key,) in owner.execute(f"select id from events_event where {OLD} order by id desc")
    ]
    owner.execute(f"delete from events_event where {OLD}")


def reading(owner: psycopg.Connection) -> int:
    row = owner.execute(
        "select count(*) from pg_stat_activity where application_name = 'engagement-api'"
    ).fetchone()
    assert row is not None
    return int(row[0])


def test_who_reads_slowly_holds_no_connection(
    client: httpx.Client, owner: psycopg.Connection, old: list[int], rows: list[Row]
) -> None:
    """And goes on with what is there by then."""
    with client.stream("GET", f"{API}/events.csv", headers=PLAIN) as answer:
        lines = answer.iter_lines()
        assert next(lines).startswith("id,timestamp")
        wait_for(lambda: reading(owner) == 0)
        with owner.transaction():
            # Granted to nobody while another transaction has read the table and goes on.
            owner.execute("set local lock_timeout = '20s'")
            owner.execute("lock table events_event in access exclusive mode")
            owner.execute("delete from events_event where id = %s", (old[-1],))
        told = [int(cells[0]) for cells in csv.reader(f"{line}\n" for line in lines)]
    assert told[-len(old) + 1 :] == old[:-1]
    assert len(told) == len(rows) + len(old) - 1


def test_who_stops_reading_ends_it(
    client: httpx.Client, server: Server, owner: psycopg.Connection, old: list[int]
) -> None:
    """However much there was to come."""

    def finished() -> int:
        return server.log().count("path=/engagement/api/events.csv")

    def connections() -> int:
        row = owner.execute(
            "select sessions from pg_stat_database where datname = current_database()"
        ).fetchone()
        assert row is not None
        return int(row[0])

    finished_before, connections_before = finished(), connections()
    with client.stream("GET", f"{API}/events.csv", headers=PLAIN) as answer:
        assert next(answer.iter_lines()).startswith("id,timestamp")
    wait_for(lambda: finished() > finished_before and reading(owner) == 0)
    assert connections() - connections_before < len(old) // 5000


@pytest.mark.parametrize("encoding", ["identity", "gzip"])
def test_a_stream_that_fails_is_cut_off(
    encoding: str,
    client: httpx.Client,
    server: Server,
    uri: str,
    owner: psycopg.Connection,
    old: list[int],
) -> None:
    """A part must not look like the whole."""
    headers = {"Accept-Encoding": encoding}
    with client.stream("GET", f"{API}/events.csv", headers=headers) as answer:
        assert answer.headers.get("content-encoding", "identity") == encoding
        chunks = answer.iter_bytes()
        assert next(chunks).startswith(b"id,timestamp")
        try:
            owner.execute(f"revoke select on events_event from {READER}")
            with pytest.raises(httpx.RemoteProtocolError, match="incomplete chunked read"):
                sum(map(len, chunks))
        finally:
            grant_roles(uri)
    assert "events.csv was cut off: the role of the connection app_db may not" in server.log()


@pytest.mark.parametrize(
    "change", [{"host": "/nowhere"}, {"conn_type": "mysql"}, {"schema": "no_such"}]
)
def test_without_the_database_it_is_unavailable(
    change: dict[str, str], server: Server, client: httpx.Client, address: Address
) -> None:
    traced = server.log().count("Traceback")
    server.connect_app_database(address.conninfo, **change)
    try:
        for path in (*COUNTS, *PERSONAL):
            answer = client.get(API + path)
            assert answer.status_code == 503, path
            told = answer.json()["detail"]
            assert told.startswith("The app's database ")
            assert told.count(".") == 1
            assert not any(word in told for word in ("nowhere", READER, "no_such", "mysql"))
        assert client.post(f"{API}{CHECK}").status_code == 503
    finally:
        server.connect_app_database(address.conninfo)
    assert client.get(f"{API}/stats").status_code == 200
    assert server.log().count("Traceback") == traced


@pytest.fixture(scope="module")
def described(server: Server) -> schemathesis.BaseSchema:
    """What the API says of itself."""
    with server.client("viewer") as client:
        description = client.get(f"{API}/openapi.json").json()
    schema = schemathesis.openapi.from_dict(description)
    schema.config.update(base_url=server.url + MOUNTED)
    load_all_checks()
    return schema


@pytest.mark.parametrize("mode", list(schemathesis.GenerationMode), ids=lambda mode: mode.value)
@pytest.mark.parametrize("place", range(9))
def test_the_description_holds(
    place: int,
    mode: schemathesis.GenerationMode,
    described: schemathesis.BaseSchema,
    server: Server,
) -> None:
    """Any request made up from it gets an answer that it tells of, and a wrong one is refused."""
    found: Any = [*described.get_all_operations()]
    operation = found[place].ok()
    # Days and types that do not exist are of the right form, and are refused.
    unfit = [CHECKS.get_one("positive_data_acceptance")]
    headers = {"Authorization": f"Bearer {server.tokens['user']}"}

    @given(case=operation.as_strategy(generation_mode=mode))
    @examples(
        max_examples=6,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    def check(case: Any) -> None:
        case.call_and_validate(headers=headers, excluded_checks=unfit)

    check()

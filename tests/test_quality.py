"""The expectation suites: each expectation fails on the rows that break it, and on no others."""

from __future__ import annotations

import json
import logging
import random
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from engagement import datasets, engine, extract, quality
from engagement.datasets import Format
from engagement.errors import DataQualityError, EngagementError
from engagement.period import Period
from engagement.settings import Settings

# Great Expectations imports modules of the standard library that Python has deprecated.
pytestmark = pytest.mark.filterwarnings("ignore:module 'sre_:DeprecationWarning")

Row = dict[str, Any]
Tables = dict[str, list[Row]]
Failed = dict[tuple[str, str, str], int]

PERIOD = Period.parse("2025-12-01", "2025-12-05")
TYPES = {
    "int32": pa.int32(),
    "int64": pa.int64(),
    "string": pa.string(),
    "timestamp[us, tz=UTC]": pa.timestamp("us", "UTC"),
}
JOIN, LEAVE, OPEN, BEGINNING = 1, 2, 3, 4


def at(day: int, month: int = 12, year: int = 2025) -> datetime:
    return datetime(year, month, day, 12, tzinfo=UTC)


TEMPLATES: dict[str, Row] = {
    "users": {"username": "anna", "email": "anna@example.org", "date_joined": at(1, 6)},
    "churches": {"name": "Saint Mary"},
    "fasts": {"name": "Great Fast", "year": 2025, "church_id": 1},
    "memberships": {"user_id": 1, "fast_id": 1},
    "event_types": {"code": "app_open", "category": "analytics"},
    "content_types": {"app_label": "hub", "model": "fast"},
    "membership_events": {
        "event_type_id": JOIN,
        "user_id": 1,
        "fast_id": 1,
        "timestamp": at(1, 11),
    },
    "events": {
        "event_type_id": OPEN,
        "user_id": 1,
        "timestamp": at(2),
        "screen": None,
    },
    "video_views": {"video_id": "1", "title": "A video"},
    "activities": {
        "user_id": 1,
        "activity_type": "event",
        "created_at": at(2),
        "title": "A title",
        "description": "",
        "content_type_id": 1,
        "object_id": 1,
    },
}


PREVIOUS: Row = {
    "active_users": 3,
    "screen_views": 40,
    "first_screen_view": at(1, 6),
    "first_activity": at(1, 7),
}


def row(table: str, id: int | None, **changes: Any) -> Row:  # noqa: A002
    return {"id": id, **TEMPLATES[table], **changes}


def valid_tables() -> Tables:
    """Users 1 to 4: one who stayed, one who came in the period, one who left, one in no fast."""
    joined_in_period = {"event_type_id": JOIN, "user_id": 2, "timestamp": at(3)}
    left_in_period = {"event_type_id": LEAVE, "user_id": 3, "timestamp": at(4)}
    return {
        "users": [row("users", n) for n in (1, 2, 3, 4)],
        "churches": [row("churches", 1)],
        "fasts": [row("fasts", 1), row("fasts", 2, year=0), row("fasts", 3, year=None)],
        "memberships": [row("memberships", 1), row("memberships", 2, user_id=2)],
        "event_types": [
            row("event_types", JOIN, code="user_joined_fast", category="user_action"),
            row("event_types", LEAVE, code="user_left_fast", category="user_action"),
            row("event_types", OPEN),
            row("event_types", BEGINNING, code="fast_beginning", category="system_event"),
        ],
        "content_types": [row("content_types", 1)],
        "membership_events": [
            row("membership_events", 1),
            row("membership_events", 2, user_id=3),
            row("membership_events", 11, **joined_in_period),
            row("membership_events", 12, **left_in_period),
            # The fast is gone, and its memberships with it.
            row("membership_events", 3, fast_id=99),
        ],
        "events": [
            row("events", 10),
            row("events", 11, **joined_in_period),
            row("events", 12, **left_in_period),
            row("events", 13, event_type_id=BEGINNING, user_id=None),
        ],
        "video_views": [row("video_views", 10), row("video_views", 11, video_id=None, title=None)],
        "previous_period": [PREVIOUS],
        "activities": [
            row("activities", 1),
            row("activities", 2, content_type_id=None, object_id=None),
        ],
    }


@pytest.fixture
def tables() -> Tables:
    return valid_tables()


def write(tables: Tables, folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    for name, rows in tables.items():
        schema = pa.schema([(c.name, TYPES[c.type]) for c in quality.TABLES[name]])
        pq.write_table(pa.Table.from_pylist(rows, schema), folder / f"{name}.parquet")
    return folder


def validate(tables: Tables, folder: Path, period: Period = PERIOD) -> quality.QualityResult:
    return quality.validate(write(tables, folder), period, Settings())


def failed(result: quality.QualityResult, severity: quality.Severity) -> Failed:
    return {
        (check.table, check.name, "+".join(check.columns)): check.unexpected
        for check in result.failures(severity)
    }


def test_every_extracted_table_has_a_suite() -> None:
    assert set(quality.TABLES) == set(extract.TABLES)


def test_valid_tables_pass(tables: Tables, tmp_path: Path) -> None:
    result = validate(tables, tmp_path)

    assert (result.status, failed(result, "warning")) == ("passed", {})
    assert all(check.success and not check.unexpected for check in result.checks)
    assert result.rows == {
        "users": 4,
        "churches": 1,
        "fasts": 3,
        "memberships": 2,
        "event_types": 4,
        "content_types": 1,
        "membership_events": 5,
        "events": 4,
        "video_views": 2,
        "previous_period": 1,
        "activities": 2,
    }
    assert all(
        check.evaluated == result.rows[check.table]
        for check in result.checks
        if check.name not in {"columns_and_types", "no_gap"}
    )
    quality.gate(result)


def test_an_empty_database_passes(tmp_path: Path) -> None:
    result = validate({name: [] for name in quality.TABLES}, tmp_path)

    assert result.status == "passed"
    assert set(result.rows.values()) == {0}
    assert len(result.checks) > 90


def test_an_empty_period_passes(tables: Tables, tmp_path: Path) -> None:
    for name in ("events", "video_views", "activities"):
        tables[name] = []

    result = validate(tables, tmp_path, Period.parse("2026-02-01", "2026-02-28"))

    assert result.status == "passed"
    assert result.rows["events"] == result.rows["activities"] == 0


BROKEN: dict[str, tuple[Tables, Failed, Failed]] = {
    "previous_period": (
        {
            "previous_period": [
                {**PREVIOUS, "active_users": -1},
                {**PREVIOUS, "active_users": None},
                {**PREVIOUS, "screen_views": -1},
                {**PREVIOUS, "screen_views": None},
                {**PREVIOUS, "first_screen_view": None, "first_activity": None},
            ]
        },
        {
            ("previous_period", "not_negative", "active_users"): 1,
            ("previous_period", "not_null", "active_users"): 1,
            ("previous_period", "not_negative", "screen_views"): 1,
            ("previous_period", "not_null", "screen_views"): 1,
        },
        {},
    ),
    "users": (
        {
            "users": [
                row("users", None),
                row("users", 21),
                row("users", 21),
                row("users", 21),
                row("users", -1),
                row("users", 22, username=None),
                row("users", 23, email=None),
                row("users", 24, email=None),
                row("users", 25, date_joined=None),
                row("users", 26, date_joined=at(31, 12, 1999)),
                row("users", 27, date_joined=datetime(2000, 1, 1, tzinfo=UTC)),
                row("users", 28, date_joined=PERIOD.end_instant),
                row("users", 29, date_joined=PERIOD.end_instant),
            ],
            "activities": [row("activities", 21, user_id=28)],
        },
        {
            ("users", "not_null", "id"): 1,
            ("users", "unique", "id"): 3,
            ("users", "not_null", "username"): 1,
            ("users", "not_null", "email"): 2,
            ("users", "not_null", "date_joined"): 1,
            ("users", "not_negative", "id"): 1,
        },
        {
            ("users", "plausible_date", "date_joined"): 1,
            ("users", "registered_first", "date_joined"): 1,
        },
    ),
    "churches": (
        {
            "churches": [
                row("churches", None),
                row("churches", 2, name=None),
                row("churches", 3),
                row("churches", 3),
                row("churches", -1),
            ],
            "fasts": [row("fasts", 20 + n, church_id=n) for n in (2, 3, -1)],
        },
        {
            ("churches", "not_null", "id"): 1,
            ("churches", "not_null", "name"): 1,
            ("churches", "unique", "id"): 2,
        },
        {
            ("churches", "not_negative", "id"): 1,
            ("fasts", "not_negative", "church_id"): 1,
        },
    ),
    "fasts": (
        {
            "fasts": [
                row("fasts", None),
                row("fasts", 21),
                row("fasts", 21),
                row("fasts", -1),
                row("fasts", 22, name=None),
                row("fasts", 23, church_id=None),
                row("fasts", 24, church_id=99),
                row("fasts", 25, church_id=98),
                row("fasts", 26, year=1899),
                row("fasts", 27, year=2201),
                row("fasts", 28, year=1900),
            ]
        },
        {
            ("fasts", "not_null", "id"): 1,
            ("fasts", "unique", "id"): 2,
            ("fasts", "not_null", "name"): 1,
            ("fasts", "not_null", "church_id"): 1,
            ("fasts", "relationship", "church_id"): 2,
            ("fasts", "not_negative", "id"): 1,
        },
        {
            ("fasts", "plausible_date", "year"): 2,
        },
    ),
    "memberships": (
        {
            "memberships": [
                row("memberships", None, user_id=3),
                row("memberships", 21, user_id=3, fast_id=2),
                row("memberships", 21, user_id=3, fast_id=3),
                row("memberships", -1, user_id=4),
                row("memberships", 22, user_id=4, fast_id=2),
                row("memberships", 23, user_id=4, fast_id=2),
                row("memberships", 24, user_id=None),
                row("memberships", 25, user_id=1, fast_id=None),
                row("memberships", 26, user_id=98),
                row("memberships", 27, user_id=99),
                row("memberships", 28, user_id=2, fast_id=98),
            ]
        },
        {
            ("memberships", "not_null", "id"): 1,
            ("memberships", "not_null", "user_id"): 1,
            ("memberships", "not_null", "fast_id"): 1,
            # The id of the first of two equal memberships stands for both.
            ("memberships", "unique", "id"): 4,
            ("memberships", "unique", "user_id+fast_id"): 2,
            ("memberships", "relationship", "user_id"): 2,
            ("memberships", "relationship", "fast_id"): 1,
        },
        {
            ("memberships", "not_negative", "id"): 1,
            # All of them but user 3, who once joined fast 1.
            ("memberships", "has_join_event", "user_id+fast_id"): 10,
        },
    ),
    "event_types": (
        {
            "event_types": [
                row("event_types", None, code="unnumbered"),
                row("event_types", 21, code=None),
                row("event_types", 22, category=None, code="unsorted"),
                row("event_types", 23, category="gossip", code="gossip"),
                row("event_types", 24),
                row("event_types", 25, code="twice"),
                row("event_types", 25, code="twice again"),
                row("event_types", -1, code="negative"),
                # No event that the report sees has it.
                row("event_types", 26, category="unused", code=None),
            ],
            "events": [
                row("events", 20 + n, event_type_id=n, user_id=None) for n in (21, 22, 23, 25, -1)
            ]
            + [row("events", 60, event_type_id=24)],
        },
        {
            ("event_types", "not_null", "id"): 1,
            ("event_types", "not_null", "code"): 1,
            ("event_types", "not_null", "category"): 1,
            ("event_types", "unique", "id"): 2,
            ("event_types", "unique", "code"): 2,
        },
        {
            ("event_types", "not_negative", "id"): 1,
            ("event_types", "accepted_values", "category"): 1,
            ("events", "not_negative", "event_type_id"): 1,
        },
    ),
    "content_types": (
        {
            "content_types": [
                row("content_types", None, model="a"),
                row("content_types", 21, app_label=None),
                row("content_types", 22, model=None),
                row("content_types", 23),
                row("content_types", 24, model="b"),
                row("content_types", 24, model="c"),
                row("content_types", -1, model="d"),
                # No activity of the period has it.
                row("content_types", 25, app_label=None),
            ],
            "activities": [
                row("activities", 40 + n, content_type_id=n) for n in (21, 22, 23, 24, -1)
            ],
        },
        {
            ("content_types", "not_null", "id"): 1,
            ("content_types", "not_null", "app_label"): 1,
            ("content_types", "not_null", "model"): 1,
            ("content_types", "unique", "id"): 2,
            ("content_types", "unique", "app_label+model"): 2,
        },
        {
            ("content_types", "not_negative", "id"): 1,
            ("activities", "not_negative", "content_type_id"): 1,
        },
    ),
    "membership_events": (
        {
            "membership_events": [
                row("membership_events", None),
                row("membership_events", 21),
                row("membership_events", 21),
                row("membership_events", -1),
                row("membership_events", 22, event_type_id=None),
                row("membership_events", 23, event_type_id=99),
                row("membership_events", 24, event_type_id=OPEN),
                row("membership_events", 25, user_id=99, fast_id=99),
                row("membership_events", 26, user_id=None),
                row("membership_events", 27, fast_id=None),
                row("membership_events", 28, fast_id=None),
                row("membership_events", 29, timestamp=None),
                row("membership_events", 30, timestamp=at(31, 12, 1999)),
                # In the period, but not among its events.
                row("membership_events", 31, timestamp=PERIOD.start_instant),
                row("membership_events", 32, timestamp=at(3)),
                # Users 3 and 4 are members of nothing; user 4 joins fast 2 twice.
                row("membership_events", 33, user_id=3, timestamp=at(4) - timedelta(days=40)),
                row("membership_events", 34, user_id=4, fast_id=2),
                row("membership_events", 35, user_id=4, fast_id=2, timestamp=at(2, 11)),
            ]
        },
        {
            ("membership_events", "not_null", "id"): 1,
            ("membership_events", "unique", "id"): 2,
            ("membership_events", "not_null", "event_type_id"): 1,
            ("membership_events", "not_null", "fast_id"): 2,
            ("membership_events", "not_null", "timestamp"): 1,
            ("membership_events", "relationship", "event_type_id"): 1,
            ("membership_events", "accepted_values", "event_type_id"): 3,
            ("membership_events", "relationship", "user_id"): 1,
            ("membership_events", "relationship", "id"): 2,
        },
        {
            ("membership_events", "not_negative", "id"): 1,
            ("membership_events", "not_null", "user_id"): 1,
            ("membership_events", "plausible_date", "timestamp"): 1,
            ("membership_events", "joined_is_member", "user_id+fast_id"): 2,
        },
    ),
    "events": (
        {
            "events": [
                row("events", None),
                row("events", 21),
                row("events", 21),
                row("events", -1),
                row("events", 22, timestamp=None),
                row("events", 23, timestamp=PERIOD.start_instant - timedelta(microseconds=1)),
                row("events", 24, timestamp=PERIOD.end_instant),
                row("events", 25, timestamp=PERIOD.end_instant),
                row("events", 26, event_type_id=None),
                row("events", 27, event_type_id=99),
                row("events", 28, user_id=98),
                row("events", 29, user_id=99),
                row("events", 30, user_id=None),
                row("events", 31, event_type_id=JOIN, user_id=None),
                row("events", 32, event_type_id=BEGINNING, user_id=None),
                row("events", 33, user_id=-5),
            ],
            "users": [row("users", -5)],
        },
        {
            ("events", "not_null", "id"): 1,
            ("events", "unique", "id"): 2,
            ("events", "not_null", "timestamp"): 1,
            ("events", "in_period", "timestamp"): 3,
            ("events", "not_null", "event_type_id"): 1,
            ("events", "relationship", "event_type_id"): 1,
            ("events", "relationship", "user_id"): 2,
            ("events", "not_negative", "user_id"): 1,
            ("users", "not_negative", "id"): 1,
        },
        {
            ("events", "not_negative", "id"): 1,
            ("events", "has_user", "user_id"): 2,
        },
    ),
    "video_views": (
        {
            "video_views": [
                row("video_views", None),
                row("video_views", 12),
                row("video_views", 12),
                row("video_views", 98),
                row("video_views", -1),
            ],
            "events": [row("events", -1)],
        },
        {
            ("video_views", "not_null", "id"): 1,
            ("video_views", "unique", "id"): 2,
            ("video_views", "relationship", "id"): 1,
        },
        {
            ("video_views", "not_negative", "id"): 1,
            ("events", "not_negative", "id"): 1,
        },
    ),
    "activities": (
        {
            "activities": [
                row("activities", None),
                row("activities", 21),
                row("activities", 21),
                row("activities", -1, object_id=-1),
                row("activities", 22, user_id=None),
                row("activities", 23, user_id=99),
                row("activities", 24, activity_type=None),
                row("activities", 25, activity_type="streak"),
                row("activities", 26, activity_type="streak"),
                row("activities", 27, activity_type=""),
                row("activities", 28, created_at=None),
                row("activities", 29, created_at=PERIOD.start_instant - timedelta(seconds=1)),
                row("activities", 30, created_at=PERIOD.end_instant),
                row("activities", 31, title=None),
                row("activities", 32, description=None),
                row("activities", 33, description=None),
                row("activities", 34, content_type_id=99),
            ]
        },
        {
            ("activities", "not_null", "id"): 1,
            ("activities", "unique", "id"): 2,
            ("activities", "not_null", "user_id"): 1,
            ("activities", "relationship", "user_id"): 1,
            ("activities", "not_null", "activity_type"): 1,
            ("activities", "not_null", "created_at"): 1,
            ("activities", "in_period", "created_at"): 2,
            ("activities", "not_null", "title"): 1,
            ("activities", "not_null", "description"): 2,
            ("activities", "relationship", "content_type_id"): 1,
            ("activities", "not_negative", "object_id"): 1,
        },
        {
            ("activities", "not_negative", "id"): 1,
            ("activities", "accepted_values", "activity_type"): 3,
        },
    ),
}


def broken(tables: Tables, name: str) -> Tables:
    added, _, _ = BROKEN[name]
    return {table: rows + added.get(table, []) for table, rows in tables.items()}


@pytest.mark.parametrize("name", BROKEN)
def test_each_expectation_fails_on_the_rows_that_break_it(
    tables: Tables, name: str, tmp_path: Path
) -> None:
    result = validate(broken(tables, name), tmp_path)

    _, critical, warning = BROKEN[name]
    assert failed(result, "critical") == critical
    assert failed(result, "warning") == warning
    assert result.status == "failed"


def test_warnings_alone_let_the_report_pass(tables: Tables, tmp_path: Path) -> None:
    tables["activities"].append(row("activities", 3, activity_type="streak"))

    result = validate(tables, tmp_path)

    assert result.status == "warned"
    quality.gate(result)


def test_what_only_warns_of_ids_below_0_keeps_the_contracts(tables: Tables, tmp_path: Path) -> None:
    """And what the contracts refuse, the checks refuse before."""
    tables["churches"].append(row("churches", -1))
    tables["fasts"].append(row("fasts", 20, church_id=-1))
    tables["memberships"].append(row("memberships", -1, user_id=4))
    tables["event_types"][0]["id"] = -1
    for each in (*tables["events"], *tables["membership_events"]):
        if each["event_type_id"] == JOIN:
            each["event_type_id"] = -1
    tables["content_types"].append(row("content_types", -1, model="negative"))
    tables["membership_events"].append(row("membership_events", -1, event_type_id=-1))
    tables["events"].append(row("events", -1))
    tables["video_views"].append(row("video_views", -1))
    tables["activities"].append(row("activities", -1, content_type_id=-1))

    result = validate(tables, tmp_path)

    quality.gate(result)
    severities = {
        (check.table, *check.columns): check.severity
        for check in result.checks
        if check.name == "not_negative"
    }
    # Every id that the checks only warn of is below 0 here.
    assert {place for place, severity in severities.items() if severity == "warning"} == {
        (check.table, *check.columns)
        for check in result.failures("warning")
        if check.name == "not_negative"
    }
    for name in datasets.NAMES:
        engine.compute(name, tmp_path, PERIOD, tmp_path, Format.JSON, Settings())


def test_a_day_without_events_between_days_with_some_is_a_warning(
    tables: Tables, tmp_path: Path
) -> None:
    tables["events"] = [row("events", 1), row("events", 2, timestamp=at(5))]
    tables["membership_events"] = tables["membership_events"][:1]
    tables["video_views"] = []

    result = validate(tables, tmp_path)

    assert failed(result, "warning")["events", "no_gap", "timestamp"] == 2
    assert result.status == "warned"


def test_the_period_and_its_days_are_cut_in_the_report_time_zone(
    tables: Tables, tmp_path: Path
) -> None:
    period = Period.parse("2025-12-01", "2025-12-05", "America/Los_Angeles")
    instants = [
        period.start_instant,
        at(2),
        # The last instant of 2 December and the first of 4 December: neighbours in UTC.
        datetime(2025, 12, 3, 7, 59, 59, 999_999, tzinfo=UTC),
        datetime(2025, 12, 4, 8, tzinfo=UTC),
        period.end_instant - timedelta(microseconds=1),
        period.end_instant,
    ]
    tables["events"] = [row("events", n, timestamp=when) for n, when in enumerate(instants)]
    tables["membership_events"] = tables["membership_events"][:2]
    tables["video_views"] = []

    result = validate(tables, tmp_path, period)

    assert failed(result, "critical") == {("events", "in_period", "timestamp"): 1}
    assert failed(result, "warning")["events", "no_gap", "timestamp"] == 1


def members_at_end(tables: Tables) -> set[tuple[int, int]]:
    """The members by a plain reading of the rule."""
    later: dict[tuple[int, int], int] = {}
    for event in sorted(
        (e for e in tables["membership_events"] if e["timestamp"] >= PERIOD.end_instant),
        key=lambda e: (e["timestamp"], e["id"]),
    ):
        later.setdefault((event["user_id"], event["fast_id"]), event["event_type_id"])
    now = {(m["user_id"], m["fast_id"]) for m in tables["memberships"]}
    registered = {u["id"] for u in tables["users"] if u["date_joined"] < PERIOD.end_instant}
    return {
        pair
        for pair in now | set(later)
        if pair[0] in registered and later.get(pair, LEAVE if pair in now else JOIN) == LEAVE
    }


def test_memberships_and_their_events_are_told_as_of_the_end(
    tables: Tables, tmp_path: Path
) -> None:
    chance = random.Random(20251205)
    tables["users"] = [
        row("users", n, date_joined=PERIOD.end_instant if n % 7 == 0 else at(1, 6))
        for n in range(1, 61)
    ]
    pairs = [(user, fast) for user in range(1, 61) for fast in (1, 2, 3)]
    tables["memberships"] = [
        row("memberships", n, user_id=user, fast_id=fast)
        for n, (user, fast) in enumerate(chance.sample(pairs, 90))
    ]
    tables["membership_events"] = [
        row(
            "membership_events",
            100 + n,
            event_type_id=chance.choice((JOIN, LEAVE)),
            user_id=user,
            fast_id=fast,
            # Few instants, so that some events of a pair share one.
            timestamp=PERIOD.end_instant + timedelta(days=chance.choice((-9, -8, -7, 0, 1))),
        )
        # Fast 99 is gone.
        for n, (user, fast) in enumerate(
            chance.choices(pairs, k=260) + [(user, 99) for user in range(1, 61) for _ in range(2)]
        )
    ]
    chance.shuffle(tables["membership_events"])
    events = sorted(
        (e for e in tables["membership_events"] if e["timestamp"] < PERIOD.end_instant),
        key=lambda e: (e["timestamp"], e["id"]),
    )
    members = members_at_end(tables)
    joined = {(e["user_id"], e["fast_id"]) for e in events if e["event_type_id"] == JOIN}
    open_joins: Counter[tuple[int, int]] = Counter()
    for event in events:
        pair = (event["user_id"], event["fast_id"])
        if event["event_type_id"] == LEAVE:
            del open_joins[pair]
        else:
            open_joins[pair] += 1
    homeless = sum(
        count for pair, count in open_joins.items() if pair not in members and pair[1] != 99
    )
    unjoined = len(members - joined)

    result = validate(tables, tmp_path)

    assert result.rows["memberships"] == len(members)
    assert result.rows["membership_events"] == len(events)
    assert min(unjoined, homeless) > 10
    assert failed(result, "critical") == {}
    warnings = failed(result, "warning")
    assert warnings["memberships", "has_join_event", "user_id+fast_id"] == unjoined
    assert warnings["membership_events", "joined_is_member", "user_id+fast_id"] == homeless


def test_what_happens_after_the_end_changes_nothing(tables: Tables, tmp_path: Path) -> None:
    tables["memberships"].append(row("memberships", 3, user_id=4, fast_id=2))
    before = validate(tables, tmp_path / "before")

    after = {"timestamp": at(9)}
    tables["users"] += [row("users", 5, date_joined=at(8)), row("users", -6, date_joined=at(8))]
    tables["churches"].append(row("churches", -2))
    tables["event_types"].append(row("event_types", 9, code="new", category="new"))
    tables["content_types"].append(row("content_types", 9, app_label="new"))
    tables["membership_events"] += [
        # User 1 leaves, user 3 comes back, user 5 is new, and one event is not as it should be.
        row("membership_events", 21, event_type_id=LEAVE, **after),
        row("membership_events", 22, user_id=3, **after),
        row("membership_events", 23, user_id=5, **after),
        row("membership_events", -1, user_id=None, fast_id=None, event_type_id=9, **after),
    ]
    tables["memberships"] = [
        *tables["memberships"][1:],
        row("memberships", 4, user_id=3),
        row("memberships", 5, user_id=5),
        # Without an event, but of somebody who registered after the end.
        row("memberships", -7, user_id=-6, fast_id=2),
    ]
    later = validate(tables, tmp_path / "later")

    assert failed(before, "warning") == {("memberships", "has_join_event", "user_id+fast_id"): 1}
    assert later.as_json() == before.as_json()


def test_large_tables_are_checked_a_few_columns_at_a_time_with_the_same_result(
    tables: Tables, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tables = broken(tables, "activities")
    whole = validate(tables, tmp_path)
    monkeypatch.setattr(quality, "_LARGE_ROWS", 10)

    assert validate(tables, tmp_path).as_json() == whole.as_json()


def test_the_order_of_rows_changes_nothing(tables: Tables, tmp_path: Path) -> None:
    tables = broken(tables, "membership_events")
    first = validate(tables, tmp_path)
    turned = {name: rows[::-1] for name, rows in tables.items()}

    assert validate(turned, tmp_path).as_json() == first.as_json()


def change_columns(folder: Path) -> None:
    (folder / "churches.parquet").unlink()
    users = pq.read_table(folder / "users.parquet")
    pq.write_table(users.drop_columns(["email"]), folder / "users.parquet")
    events = pq.read_table(folder / "events.parquet")
    narrow = events.set_column(0, "id", events["id"].cast(pa.int32()))
    pq.write_table(narrow.append_column("ip", events["screen"]), folder / "events.parquet")


def test_columns_and_types_must_be_those_of_the_extract(tables: Tables, tmp_path: Path) -> None:
    change_columns(write(tables, tmp_path))

    result = quality.validate(tmp_path, PERIOD, Settings())

    assert result.status == "failed"
    assert failed(result, "critical") == {
        ("churches", "columns_and_types", "id+name"): 2,
        ("users", "columns_and_types", "email"): 1,
        ("events", "columns_and_types", "id"): 2,
    }
    assert len(result.checks) == len(quality.TABLES)
    with pytest.raises(DataQualityError) as raised:
        quality.gate(result)
    assert str(raised.value) == (
        "the data breaks 3 critical expectations: columns_and_types of users (email): 1 of 4, "
        "columns_and_types of churches (id+name): 2 of 2, columns_and_types of events (id): 2 of "
        "6; nothing is published: compare the app's tables with the extract's queries, then run "
        "the report again"
    )


def test_a_file_that_is_no_parquet_is_an_error_that_names_the_table(
    tables: Tables, tmp_path: Path
) -> None:
    (write(tables, tmp_path) / "events.parquet").write_bytes(b"PAR1 cut short")

    with pytest.raises(DataQualityError, match=r"^the extracted table events cannot be read: "):
        quality.validate(tmp_path, PERIOD, Settings())


def test_a_damaged_page_is_an_error_without_the_engine_s_words(
    tables: Tables, tmp_path: Path
) -> None:
    path = write(tables, tmp_path) / "activities.parquet"
    content = bytearray(path.read_bytes())
    content[4:200] = b"\xff" * 196
    path.write_bytes(bytes(content))

    with pytest.raises(EngagementError, match=r"^checking the extracted tables failed with ") as e:
        quality.validate(tmp_path, PERIOD, Settings())
    assert e.value.__cause__ is None


def test_an_expectation_that_cannot_be_evaluated_is_an_error(
    tables: Tables, tmp_path: Path
) -> None:
    import pandas as pd

    run = quality._runner()
    missing = quality._not_null("user_id")

    with pytest.raises(
        DataQualityError, match=r"^the check not_null of events could not be evaluated"
    ):
        run("events", [missing], pd.DataFrame({"id": [1]}))


CANARY = "canary.person@example.org"
CANARY_ID = 987_654_321


@pytest.fixture
def everything_logged(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    with caplog.at_level(logging.DEBUG):
        yield caplog


def test_no_value_leaves_the_checks(
    tables: Tables,
    tmp_path: Path,
    everything_logged: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    early = datetime(1987, 6, 5, 4, 3, 2, tzinfo=UTC)
    text = {
        name: {column.name: CANARY for column in columns if column.type == "string"}
        for name, columns in quality.TABLES.items()
    }
    bad: dict[str, Row] = {
        "users": {"id": CANARY_ID, "date_joined": early},
        "churches": {"id": CANARY_ID},
        "fasts": {"id": CANARY_ID, "church_id": -CANARY_ID, "year": 1111},
        "memberships": {"id": CANARY_ID, "user_id": -CANARY_ID, "fast_id": -CANARY_ID},
        "event_types": {"id": CANARY_ID},
        "content_types": {"id": CANARY_ID},
        "membership_events": {
            "id": CANARY_ID,
            "event_type_id": -CANARY_ID,
            "user_id": -CANARY_ID,
            "timestamp": early,
        },
        "events": {"id": CANARY_ID, "event_type_id": CANARY_ID, "timestamp": early},
        "video_views": {"id": -CANARY_ID},
        "activities": {
            "id": CANARY_ID,
            "user_id": -CANARY_ID,
            "created_at": early,
            "content_type_id": -CANARY_ID,
            "object_id": -CANARY_ID,
        },
    }
    for name, columns in bad.items():
        tables[name] += [{**row(name, 0), **columns, **text[name]}] * 2

    result = validate(tables, tmp_path)
    with pytest.raises(DataQualityError) as raised:
        quality.gate(result)

    assert len(result.failures("critical")) > 15
    assert len(result.failures("warning")) > 8
    captured = capfd.readouterr()
    told = "\n".join(
        (
            json.dumps(result.as_json()),
            result.log_table(),
            repr(result),
            str(raised.value),
            everything_logged.text,
            captured.out,
            captured.err,
        )
    )
    for value in (CANARY, str(CANARY_ID), "1987", "1111"):
        assert value not in told


def test_the_document_holds_the_period_the_rows_and_every_check(
    tables: Tables, tmp_path: Path
) -> None:
    tables["activities"].append(row("activities", 3, activity_type="streak"))

    document = validate(tables, tmp_path).as_json()

    assert json.loads(json.dumps(document)) == document
    assert list(document) == ["schema_version", "status", "period", "summary", "rows", "checks"]
    assert document["period"] == {"start": "2025-12-01", "end": "2025-12-05", "timezone": "UTC"}
    checks = document["checks"]
    assert document["summary"] == {
        "checks": len(checks),
        "passed": len(checks) - 1,
        "warnings": 1,
        "failures": 0,
    }
    assert [check for check in checks if not check["success"]] == [
        {
            "table": "activities",
            "check": "accepted_values",
            "columns": ["activity_type"],
            "severity": "warning",
            "success": False,
            "unexpected": 1,
            "evaluated": 3,
            "description": "activity_type is one that the app knows",
        }
    ]
    assert all(check["description"] for check in checks)
    named = [(check["table"], check["check"], tuple(check["columns"])) for check in checks]
    assert len(set(named)) == len(named)


def test_the_log_table_tells_failures_first_then_warnings_then_counts() -> None:
    def check(table: str, severity: quality.Severity, unexpected: int) -> quality.Check:
        return quality.Check(
            table, "in_period", ("at",), severity, "it is", not unexpected, unexpected, 12_345
        )

    result = quality.QualityResult.of(
        PERIOD,
        {"events": 12_345, "users": 7},
        [
            check("events", "warning", 1_000),
            check("events", "critical", 3),
            check("users", "critical", 0),
        ],
    )

    assert result.log_table().splitlines() == [
        (
            "Data quality of 2025-12-01 to 2025-12-05 (UTC): failed; 3 checks, 1 critical failed, "
            "1 warning"
        ),
        "",
        "severity  table   check      columns  unexpected      of  expected",
        "CRITICAL  events  in_period  at                3  12,345  it is",
        "warning   events  in_period  at            1,000  12,345  it is",
        "",
        "table     rows  checks  critical  warnings",
        "events  12,345       2         1         1",
        "users        7       1         0         0",
    ]


def test_a_skipped_validation_says_so_and_passes_the_gate() -> None:
    result = quality.QualityResult.skipped(PERIOD)

    assert result.as_json()["status"] == "skipped"
    assert result.as_json()["checks"] == []
    assert result.log_table() == "Data quality of 2025-12-01 to 2025-12-05 (UTC): skipped"
    quality.gate(result)


def test_the_gate_names_each_failure_on_one_line(tables: Tables, tmp_path: Path) -> None:
    tables["activities"].append(row("activities", 3, user_id=99))
    tables["users"].append(row("users", 4))

    with pytest.raises(DataQualityError) as raised:
        quality.gate(validate(tables, tmp_path))

    assert str(raised.value) == (
        "the data breaks 2 critical expectations: unique of users (id): 2 of 5, relationship of "
        "activities (user_id): 1 of 3; nothing is published: correct these rows in the app's "
        "database, then run the report again"
    )

"""The demo's data: what was asked for, the same each time, and in accord with the app's tables."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import LiteralString

import psycopg
import pytest
from psycopg import sql

from demo import church_year
from demo.app_tables import apply_schema
from demo.generate import GenerateError, Size, fill, filled_with, main
from demo.postgres import Server, server

SIZE = Size(end=date(2026, 2, 10), users=120, events=6000, activities=3000, days=100, seed=3)


@pytest.fixture(scope="module")
def running() -> Iterator[Server]:
    with (
        tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder,
        server(Path(folder) / "pg", {"fsync": "off"}) as started,
    ):
        yield started


@pytest.fixture(scope="module")
def filled(running: Server) -> str:
    uri = running.create_database("filled")
    fill(uri, SIZE)
    return uri


def _one(uri: str, query: LiteralString, **values: str) -> tuple[object, ...]:
    with psycopg.connect(uri) as connection:
        row = connection.execute(query, values or None).fetchone()
    assert row is not None
    return tuple(row)


def _tables(uri: str) -> list[str]:
    with psycopg.connect(uri) as connection:
        rows = connection.execute("select tablename from pg_tables where schemaname = 'public'")
        return sorted(name for (name,) in rows)


def _content(uri: str) -> dict[str, str]:
    """A hash of the rows of each table."""
    query = sql.SQL("select md5(coalesce(string_agg(t::text, '|' order by id), '')) from {} as t")
    hashes = {}
    with psycopg.connect(uri) as connection:
        for table in _tables(uri):
            row = connection.execute(query.format(sql.Identifier(table))).fetchone()
            assert row is not None
            hashes[table] = row[0]
    return hashes


def _definitions(uri: str) -> list[tuple[object, ...]]:
    with psycopg.connect(uri) as connection:
        return connection.execute(
            "select pg_get_constraintdef(oid), conname::text, convalidated from pg_constraint"
            " where connamespace = 'public'::regnamespace"
            " union all select indexdef, indexname::text, true from pg_indexes"
            " where schemaname = 'public' order by 1, 2"
        ).fetchall()


def test_makes_what_was_asked_for(filled: str) -> None:
    assert filled_with(filled) == SIZE
    assert _one(
        filled,
        "select (select count(*) from auth_user), (select count(*) from events_event),"
        " (select count(*) from events_useractivityfeed)",
    ) == (SIZE.users, SIZE.events, SIZE.activities)


def test_same_arguments_give_the_same_rows(running: Server, filled: str) -> None:
    again = running.create_database("again")
    fill(again, SIZE)
    assert _content(again) == _content(filled)


def test_another_seed_gives_other_people_the_same_calendar(running: Server, filled: str) -> None:
    other = running.create_database("other")
    fill(other, replace(SIZE, seed=SIZE.seed + 1))
    before = _content(filled)
    changed = {name for name, value in _content(other).items() if value != before[name]}
    assert {"auth_user", "hub_profile_fasts", "events_event", "events_useractivityfeed"} <= changed
    assert not {"hub_fast", "hub_day", "hub_devotional", "learning_resources_video"} & changed


def test_leaves_the_schema_as_the_app_made_it(running: Server, filled: str) -> None:
    empty = running.create_database("empty")
    apply_schema(empty)
    assert _definitions(filled) == _definitions(empty)
    assert all(is_valid for *_, is_valid in _definitions(filled))
    assert _one(filled, "select count(*) from pg_namespace where nspname = 'demo'") == (0,)


def test_next_row_gets_the_next_id(filled: str) -> None:
    with psycopg.connect(filled) as connection:
        row = connection.execute(
            "insert into hub_church (name) values ('One more') returning id"
        ).fetchone()
        connection.rollback()
    assert row == (len(church_year.CHURCHES) + 1,)


def test_holds_every_type_and_nothing_out_of_time(filled: str) -> None:
    assert _one(
        filled,
        "select count(*) filter (where not exists"
        " (select from events_event as e where e.event_type_id = t.id)), count(*)"
        " from events_eventtype as t",
    ) == (0, 29)
    assert _one(filled, "select count(distinct activity_type) from events_useractivityfeed") == (
        13,
    )
    assert _one(
        filled,
        "select (select count(*) from events_event where timestamp >= '2026-02-11Z'),"
        " (select count(*) from events_useractivityfeed"
        " where created_at >= '2026-02-11Z' or created_at < '2025-11-03Z'),"
        " (select count(*) from events_event as e join auth_user as u on u.id = e.user_id"
        " where e.timestamp < u.date_joined),"
        " (select count(*) from events_useractivityfeed as a join auth_user as u"
        " on u.id = a.user_id where a.created_at < u.date_joined)",
    ) == (0, 0, 0, 0)


@pytest.mark.parametrize("month", ["2025-12", "2026-01"])
def test_last_two_months_have_fasts_and_devotionals(filled: str, month: str) -> None:
    assert _one(
        filled,
        "select bool_or(to_char(first, 'YYYY-MM') = %(month)s),"
        " bool_or(to_char(last, 'YYYY-MM') = %(month)s),"
        " (select bool_or(to_char(d.date, 'YYYY-MM') = %(month)s)"
        " from hub_devotional join hub_day as d on d.id = day_id) from"
        " (select min(date) as first, max(date) as last from hub_day group by fast_id) as f",
        month=month,
    ) == (True, True, True)


def test_refuses_a_database_that_holds_users(filled: str) -> None:
    with pytest.raises(GenerateError, match="holds users already"):
        fill(filled, SIZE)


def test_names_the_events_that_are_too_few(
    running: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    uri = running.create_database("small")
    assert main(["--database-uri", uri, "--users", "200", "--events", "10"]) == 1
    assert "10 events are too few for 200 users" in capsys.readouterr().err
    assert filled_with(uri) is None


def test_refuses_a_size_that_makes_no_sense(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["--database-uri", "postgresql://nowhere", "--days", "0"])
    assert "days 0 is too small: at least 1" in capsys.readouterr().err

"""Each role can do its own pipeline's work, and nothing else."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime

import psycopg
import pytest
from psycopg.rows import dict_row, scalar_row
from upath import UPath

from demo import app_tables, postgres
from demo.prepare import READER, WRITER, grant_roles
from engagement import event_counts, event_pages, event_reader, event_statistics, events, report
from engagement.app_database import EVENTS_CONNECTION_ID, Address
from engagement.errors import ConfigurationError
from engagement.event_kinds import Kind
from engagement.event_pages import Filters
from engagement.settings import Settings
from engagement.staging import StagingArea
from tests.conftest import GOLDEN, GOLDEN_REPORTS

NOW = datetime(2026, 1, 5, 12, tzinfo=UTC)
OPTIONS = events.Options(lookback_days=60)
WRITTEN = {"events_eventtype", "events_event", "events_usermilestone", "events_useractivityfeed"}

UriOf = Callable[[str], str]


@pytest.fixture
def uri_of(database_server: postgres.Server) -> Iterator[UriOf]:
    """A golden database of its own, by the name of a role; the roles are made twice."""
    uri = database_server.create_database("roles")
    app_tables.apply_schema(uri)
    app_tables.load_csv_folder(uri, GOLDEN / "appdb")
    for _ in range(2):
        grant_roles(uri)
    yield lambda role: database_server.uri("roles", user=role)
    database_server.drop_database("roles")


def test_reader_extracts(uri_of: UriOf, settings: Settings, tmp_path: UPath) -> None:
    period = GOLDEN_REPORTS[0].period
    area = StagingArea(UPath(tmp_path))
    taken = report.take_snapshot(Address.parse(uri_of(READER)), period, area, "tests", settings)
    assert taken.rows["users"] == 80


def test_reader_answers_the_api(uri_of: UriOf, settings: Settings) -> None:
    address = Address.parse(uri_of(READER))
    event_counts.count_ahead(address, settings, NOW)
    closed = event_counts.closed_days(address, settings, NOW)
    of_fast = event_counts.closed_fast_days(address, settings, 2, NOW)
    with event_reader.reading(address, settings) as connection:
        assert event_pages.find_events(connection, Filters(), "UTC", 10).events
        assert event_statistics.event_types(connection, closed).event_types
        assert event_statistics.statistics(connection, closed, "UTC", NOW).recent_milestones.users
        assert event_statistics.user_statistics(connection, 1, NOW)
        assert event_statistics.fast_statistics(connection, of_fast, "UTC", 2, NOW)


def test_writer_writes_and_reconciles(uri_of: UriOf, settings: Settings) -> None:
    with psycopg.connect(uri_of("postgres"), autocommit=True) as connection:
        connection.execute("delete from events_eventtype where code = 'user_milestone_reached'")
    address = Address.parse(uri_of(WRITER), EVENTS_CONNECTION_ID)
    added = events.sync_event_types(address, NOW, OPTIONS, settings)
    assert added == ("user_milestone_reached",)
    for kind in Kind:
        for dry_run in (True, False):
            options = events.Options(lookback_days=60, dry_run=dry_run)
            outcome = events.write(kind, address, NOW, options, settings)
            assert outcome.missing > 0
            assert outcome.written == (0 if dry_run else outcome.missing)
    assert events.reconcile(address, settings).totals.never_recorded > 0


def may_not(uri: str, statement: str) -> None:
    with psycopg.connect(uri, autocommit=True) as connection:
        # The reader's own setting would refuse some of them before its rights do.
        connection.execute("set default_transaction_read_only = off")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute(statement.encode())


def test_reader_writes_nothing_by_itself(uri_of: UriOf) -> None:
    with (
        psycopg.connect(uri_of(READER), autocommit=True) as connection,
        pytest.raises(psycopg.errors.ReadOnlySqlTransaction),
    ):
        connection.execute("create temporary table anything (id int)")


def test_neither_may_more(uri_of: UriOf) -> None:
    for role in (READER, WRITER):
        for statement in (
            "select password from auth_user",
            "select ip_address from events_event",
            "select user_agent from events_event",
            "select * from hub_profile",
            "insert into hub_church (name) values ('x')",
            "insert into hub_profile_fasts (profile_id, fast_id) values (1, 1)",
            "insert into events_event (ip_address) values ('127.0.0.1')",
            "create table anything (id int)",
            "create schema anything",
            "alter table events_event add column x int",
            "drop table events_event",
            "select setval(pg_get_serial_sequence('events_event', 'id'), 1)",
            "copy auth_user to program 'cat'",
        ):
            may_not(uri_of(role), statement)


@pytest.mark.parametrize(
    "statement",
    [
        "select email from auth_user",
        "select username from auth_user",
        "select title from events_useractivityfeed",
        "select user_id from events_useractivityfeed",
    ],
)
def test_writer_reads_nobody(statement: str, uri_of: UriOf) -> None:
    may_not(uri_of(WRITER), statement)


def test_nothing_is_changed_or_removed(uri_of: UriOf) -> None:
    """No table, the written ones included."""
    with psycopg.connect(uri_of("postgres"), row_factory=scalar_row) as connection:
        tables = connection.execute(
            "select table_name::text from information_schema.tables where table_schema = 'public'"
        ).fetchall()
    assert set(tables) > WRITTEN
    for role in (READER, WRITER):
        for table in tables:
            for statement in ("delete from {}", "truncate {}", "update {} set id = id"):
                may_not(uri_of(role), statement.format(table))


def test_the_rights_are_select_and_insert_alone(uri_of: UriOf) -> None:
    """Whatever the catalogue knows of the roles: no other kind of right, and no other table."""
    with psycopg.connect(uri_of("postgres"), row_factory=dict_row) as connection:
        rights = connection.execute(
            "select grantee::text, privilege_type::text, table_name::text"
            " from information_schema.column_privileges where grantee = any(%(roles)s)",
            {"roles": [READER, WRITER]},
        ).fetchall()
        whole_tables = connection.execute(
            "select from information_schema.table_privileges where grantee = any(%(roles)s)",
            {"roles": [READER, WRITER]},
        ).fetchall()
        sequences = connection.execute(
            "select from pg_class where relkind = 'S' and relacl is not null"
        ).fetchall()
    assert {one["privilege_type"] for one in rights if one["grantee"] == READER} == {"SELECT"}
    assert {one["privilege_type"] for one in rights} == {"SELECT", "INSERT"}
    assert {one["table_name"] for one in rights if one["privilege_type"] == "INSERT"} == WRITTEN
    assert whole_tables == sequences == []


@pytest.mark.parametrize("revoked", ["insert (title)", "select (timestamp)"])
def test_a_missing_right_is_told(revoked: str, uri_of: UriOf, settings: Settings) -> None:
    with psycopg.connect(uri_of("postgres")) as connection:
        connection.execute(f"revoke {revoked} on events_event from {WRITER}".encode())
    address = Address.parse(uri_of(WRITER), EVENTS_CONNECTION_ID)
    with pytest.raises(
        ConfigurationError, match=r"connection app_db_events may not .* include/sql/roles\.sql"
    ):
        events.write("fast_beginnings", address, NOW, OPTIONS, settings)

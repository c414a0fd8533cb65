"""The report's role can do the report's work, and nothing else."""

from __future__ import annotations

from pathlib import Path

import psycopg
import pytest
from upath import UPath

from demo import postgres
from engagement import queries, report
from engagement.app_database import Address
from engagement.settings import Settings
from engagement.staging import StagingArea
from tests.conftest import GOLDEN_REPORTS


@pytest.fixture(scope="module")
def reader_uri(database_server: postgres.Server, golden_uri: str) -> str:
    for _ in range(2):
        with psycopg.connect(golden_uri) as connection:
            connection.execute(queries.read("roles").encode())
    return database_server.uri("golden", user="engagement_reader")


def test_reader_extracts(reader_uri: str, settings: Settings, tmp_path: Path) -> None:
    period = GOLDEN_REPORTS[0].period
    area = StagingArea(UPath(tmp_path))
    taken = report.take_snapshot(Address.parse(reader_uri), period, area, "tests", settings)
    assert taken.rows["users"] == 80


@pytest.mark.parametrize(
    "statement",
    [
        "select password from auth_user",
        "select ip_address from events_event",
        "select user_agent from events_event",
        "select * from hub_profile",
        "update events_event set title = ''",
        "delete from events_useractivityfeed",
        "insert into hub_church (name) values ('x')",
        "create table anything (id int)",
    ],
)
def test_reader_may_not(statement: str, reader_uri: str) -> None:
    with (
        psycopg.connect(reader_uri, autocommit=True) as connection,
        pytest.raises(
            (psycopg.errors.InsufficientPrivilege, psycopg.errors.ReadOnlySqlTransaction)
        ),
    ):
        connection.execute(statement.encode())


@pytest.mark.parametrize("statement", ["update events_event set title = ''", "create table x ()"])
def test_reader_may_not_even_when_it_writes(statement: str, reader_uri: str) -> None:
    with psycopg.connect(reader_uri, autocommit=True) as connection:
        connection.execute("set default_transaction_read_only = off")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute(statement.encode())

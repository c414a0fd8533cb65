"""Addresses of the app's database in every form that Airflow takes, and what its errors say."""

from __future__ import annotations

import adbc_driver_manager
import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from demo import postgres
from engagement.app_database import Address, snapshot
from engagement.errors import ConfigurationError, EngagementError
from engagement.settings import Settings

EXPECTED = {
    "host": "/run/postgres",
    "port": "5433",
    "user": "reader",
    "password": "s@cret/#?",
    "dbname": "app",
}


@pytest.mark.parametrize(
    "text",
    [
        "postgresql://reader:s%40cret%2F%23%3F@%2Frun%2Fpostgres:5433/app",
        "postgres://reader:s%40cret%2F%23%3F@/app?host=%2Frun%2Fpostgres&port=5433",
        (
            '{"conn_type": "postgres", "host": "/run/postgres", "port": 5433, "schema": "app",'
            ' "login": "reader", "password": "s@cret/#?"}'
        ),
        (
            '{"conn_type": "postgres", "schema": "app", "login": "reader", "password": "s@cret/#?",'
            ' "extra": {"host": "/run/postgres", "port": 5433, "cursor": "dictcursor"}}'
        ),
        (
            '{"conn_type": "postgres", "host": "/run/postgres", "port": 5433, "schema": "app",'
            ' "login": "reader", "password": "s@cret/#?", "extra": "{\\"host\\": \\"elsewhere\\"}"}'
        ),
    ],
)
def test_an_address_is_read_in_every_form(text: str) -> None:
    address = Address.parse(text)
    assert conninfo_to_dict(address.conninfo) == EXPECTED
    assert "s@cret" not in repr(address)


@pytest.mark.parametrize("text", ["mysql://reader:s3cret@db/app", "{", "reader:s3cret@db", "[]"])
def test_what_is_no_address_is_told_without_its_password(text: str) -> None:
    with pytest.raises(ConfigurationError, match="AIRFLOW_CONN_APP_DB is not a PostgreSQL") as told:
        Address.parse(text)
    assert "s3cret" not in str(told.value)


def test_a_snapshot_outlives_what_the_server_allows_an_idle_transaction(
    database_server: postgres.Server,
) -> None:
    uri = database_server.create_database("impatient")
    with psycopg.connect(uri, autocommit=True) as owner:
        owner.execute("alter database impatient set idle_in_transaction_session_timeout = '50ms'")
    with (
        snapshot(Address.parse(uri), Settings(), "tests") as taken,
        taken.reader() as connection,
        adbc_driver_manager.AdbcStatement(connection) as statement,
    ):
        statement.set_sql_query("select pg_sleep(0.5)")
        statement.execute_update()
        assert taken.control.execute("select 1").fetchall() == [(1,)]
    database_server.drop_database("impatient")


def test_an_error_says_what_the_server_says_and_not_the_query(
    database_server: postgres.Server,
) -> None:
    address, settings = Address.parse(database_server.uri("postgres")), Settings()

    def read() -> None:
        with (
            snapshot(address, settings, "tests") as taken,
            taken.reader() as connection,
            adbc_driver_manager.AdbcStatement(connection) as statement,
        ):
            statement.set_sql_query("-- A comment.\nselect nothing_like_it from pg_class")
            statement.execute_query()

    with pytest.raises(EngagementError) as told:
        read()
    assert str(told.value) == (
        'the app\'s database lacks a column that is read: column "nothing_like_it" does not '
        "exist; check that the connection names the app's database and that its migrations have "
        "run"
    )

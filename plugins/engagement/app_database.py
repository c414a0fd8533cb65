"""Connecting to the app's database: the snapshot that an extract reads, transactions that write."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from urllib.parse import parse_qsl, urlsplit, urlunsplit

import adbc_driver_manager
import adbc_driver_postgresql
import psycopg
from psycopg import pq
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from engagement.errors import ConfigurationError, EngagementError, TemporaryError, one_line
from engagement.settings import Settings

CONNECTION_ID = "app_db"
"""The Airflow connection to the app's database that the report reads with."""

EVENTS_CONNECTION_ID = "app_db_events"
"""The Airflow connection to the same database that lifecycle events are written with."""


def variable(connection_id: str) -> str:
    """The environment variable that holds the connection `connection_id`."""
    return f"AIRFLOW_CONN_{connection_id.upper()}"


_NEEDS = {
    CONNECTION_ID: "read what the report needs",
    EVENTS_CONNECTION_ID: "read or write what the events need",
}
_EXPECTED = (
    "expected postgresql://USER:PASSWORD@HOST:PORT/DATABASE, or JSON with conn_type, host, port, "
    "schema, login and password"
)
_MISSING = {"42P01": "table", "42703": "column", "3F000": "schema"}
_INTEGRITY = "23"
# What the Arrow driver passes on of the server's message, before the place and the query.
_SAID = re.compile(r"ERROR: +(.+?)(?= (?:LINE \d+|DETAIL|HINT|Query was):|$)")


@dataclass(frozen=True, slots=True)
class Address:
    """Where the app's database is and who asks, as libpq understands it."""

    conninfo: str = field(repr=False)
    connection_id: str = CONNECTION_ID

    @property
    def variable(self) -> str:
        """The environment variable that may hold this address."""
        return variable(self.connection_id)

    @classmethod
    def of_parts(
        cls,
        *,
        host: str | None,
        port: int | None,
        user: str | None,
        password: str | None,
        database: str | None,
        options: Mapping[str, object],
        connection_id: str = CONNECTION_ID,
    ) -> Address:
        """The address out of a connection's fields; options that libpq does not know are left."""
        known = {option.keyword.decode() for option in pq.Conninfo.get_defaults()}
        fields = {
            "host": host,
            "port": port,
            "user": user,
            "password": password,
            "dbname": database,
        }
        values = {
            **{name: str(value) for name, value in options.items() if name in known},
            **{name: value for name, value in fields.items() if value},
        }
        return cls(make_conninfo("", **values), connection_id)

    @classmethod
    def parse(cls, text: str, connection_id: str = CONNECTION_ID) -> Address:
        """The address out of an Airflow connection written as a URI or as JSON."""
        read = cls._of_json if text.lstrip().startswith("{") else cls._of_uri
        try:
            return read(text, connection_id)
        except (ValueError, TypeError, AttributeError, psycopg.ProgrammingError):
            raise ConfigurationError(
                f"{variable(connection_id)} is not a PostgreSQL connection: {_EXPECTED}"
            ) from None

    @classmethod
    def _of_json(cls, text: str, connection_id: str) -> Address:
        fields = json.loads(text)
        extra = fields.get("extra") or {}
        if isinstance(extra, str):
            extra = json.loads(extra)
        return cls.of_parts(
            host=fields.get("host"),
            port=int(fields["port"]) if fields.get("port") else None,
            user=fields.get("login"),
            password=fields.get("password"),
            database=fields.get("schema"),
            options=extra,
            connection_id=connection_id,
        )

    @classmethod
    def _of_uri(cls, text: str, connection_id: str) -> Address:
        parts = urlsplit(text)
        if parts.scheme.partition("+")[0] not in {"postgres", "postgresql"}:
            raise ValueError
        # An unescaped "@" belongs to the password, as Airflow reads it; with "#" or "?" in it the
        # rest of the password would be taken for a host, and told.
        login, at, server = parts.netloc.rpartition("@")
        if parts.fragment or (not at and "@" in parts.query):
            raise ValueError
        netloc = f"{login.replace('@', '%40')}{at}{server}"
        base = conninfo_to_dict(urlunsplit(("postgresql", netloc, parts.path, "", "")))
        options: dict[str, object] = {**dict(parse_qsl(parts.query)), **base}
        return cls.of_parts(
            host=_text(options.pop("host", None)),
            port=int(str(options.pop("port"))) if options.get("port") else None,
            user=_text(options.pop("user", None)),
            password=_text(options.pop("password", None)),
            database=_text(options.pop("dbname", None)),
            options=options,
            connection_id=connection_id,
        )

    @classmethod
    def from_environment(cls, connection_id: str = CONNECTION_ID) -> Address:
        """The address in the connection's variable, `AIRFLOW_CONN_APP_DB` for `app_db`.

        Raises ConfigurationError.
        """
        text = os.environ.get(variable(connection_id), "")
        if not text.strip():
            raise ConfigurationError(
                "there is no connection to the app's database: set "
                f"{variable(connection_id)}; {_EXPECTED}"
            )
        return cls.parse(text, connection_id)

    def session(self, application_name: str, settings: Settings) -> str:
        """The libpq connection string of a session that keeps to what a guest may take.

        The settings' timeouts, and one process a connection: the app has the other cores. Memory
        enough that a bitmap of ten million rows keeps to single rows. A snapshot waits for those
        who read it, whatever the server allows a transaction that is idle.
        """
        options = conninfo_to_dict(self.conninfo).get("options")
        ours = (
            f"-c statement_timeout={settings.statement_timeout_seconds * 1000} "
            "-c idle_in_transaction_session_timeout=0 "
            "-c max_parallel_workers_per_gather=0 -c work_mem=64MB"
        )
        return make_conninfo(
            self.conninfo,
            application_name=application_name,
            connect_timeout=settings.connect_timeout_seconds,
            options=f"{options} {ours}" if options else ours,
        )


def _text(value: object) -> str | None:
    return None if value is None else str(value)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A snapshot of the app's database that several connections read at once.

    `instant` is when it was taken, by the database's clock.
    """

    name: str
    instant: datetime
    control: psycopg.Connection
    conninfo: str = field(repr=False)

    def statement(self, query: str, parameters: Mapping[str, object]) -> str:
        """`query` with its parameters bound as literals, so that it can be copied as a stream."""
        return psycopg.ClientCursor(self.control).mogrify(query, parameters)

    @contextmanager
    def reader(self) -> Iterator[adbc_driver_manager.AdbcConnection]:
        """An Arrow connection of its own that sees the snapshot."""
        with (
            adbc_driver_postgresql.connect(self.conninfo) as database,
            adbc_driver_manager.AdbcConnection(database) as connection,
        ):
            connection.set_autocommit(False)
            for command in (
                "set transaction isolation level repeatable read, read only",
                self.statement("set transaction snapshot %(name)s", {"name": self.name}),
            ):
                with adbc_driver_manager.AdbcStatement(connection) as statement:
                    statement.set_sql_query(command)
                    statement.execute_update()
            yield connection


@contextmanager
def snapshot(address: Address, settings: Settings, application_name: str) -> Iterator[Snapshot]:
    """One `REPEATABLE READ READ ONLY` snapshot, kept open until the block ends.

    Raises ConfigurationError, TemporaryError or EngagementError for whatever the database says.
    """
    conninfo = address.session(application_name, settings)
    with database_errors(settings, address), _connect(conninfo, address) as control:
        control.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        control.read_only = True
        row = control.execute("select pg_export_snapshot(), transaction_timestamp()").fetchone()
        assert row is not None  # noqa: S101  a select without FROM gives one row
        yield Snapshot(row[0], row[1], control, conninfo)


@contextmanager
def transaction(
    address: Address,
    settings: Settings,
    application_name: str,
    *,
    read_only: bool = False,
    isolation: psycopg.IsolationLevel = psycopg.IsolationLevel.READ_COMMITTED,
) -> Iterator[psycopg.Connection]:
    """A connection in one transaction, committed when the block ends.

    It waits for nobody's lock longer than the settings say, and keeps nobody waiting should this
    process stall. Raises ConfigurationError, TemporaryError or EngagementError for whatever the
    database says.
    """
    conninfo = address.session(application_name, settings)
    # The connection as a context manager would stay open where the commit fails.
    with database_errors(settings, address), closing(_connect(conninfo, address)) as connection:
        connection.isolation_level = isolation
        connection.read_only = read_only
        connection.execute(
            "select set_config('lock_timeout', %(lock)s, true),"
            " set_config('idle_in_transaction_session_timeout', %(idle)s, true)",
            {
                "lock": f"{settings.lock_timeout_seconds}s",
                "idle": f"{settings.statement_timeout_seconds}s",
            },
        )
        yield connection
        connection.commit()


def _connect(conninfo: str, address: Address) -> psycopg.Connection:
    try:
        return psycopg.connect(conninfo)
    except psycopg.Error as error:
        # A server that answers a ping refuses this login or database; else it is out of reach.
        ping = pq.PGconn.ping(conninfo.encode())
        message = one_line(error)
        if ping == pq.Ping.OK and "too many" not in message and "slots" not in message:
            raise ConfigurationError(
                f"the app's database refused the connection: {message}; check the user, the "
                "password and the database name in the connection "
                f"{address.connection_id} ({address.variable})"
            ) from None
        raise TemporaryError(
            f"the app's database cannot be reached: {message}; check the host and port in the "
            f"connection {address.connection_id} ({address.variable}), and whether the server runs"
        ) from None


@contextmanager
def database_errors(settings: Settings, address: Address, read: str = "") -> Iterator[None]:
    """Turns whatever the database says into one line for the person who reads it.

    `read` names what the block reads, where it reads one thing of several.
    """
    try:
        yield
    except (psycopg.Error, adbc_driver_manager.Error) as error:
        raise _explained(error, error.sqlstate or "", settings, address, read) from None


def _message(error: psycopg.Error | adbc_driver_manager.Error) -> str:
    """What the database says, without the query and without details: they can quote rows."""
    if isinstance(error, psycopg.Error):
        primary = error.diag.message_primary
        return " ".join(primary.split()) if primary else one_line(error)
    said = _SAID.search(one_line(error))
    return said[1] if said else one_line(error)


def _explained(
    error: psycopg.Error | adbc_driver_manager.Error,
    sqlstate: str,
    settings: Settings,
    address: Address,
    read: str,
) -> EngagementError:
    message = _message(error)
    if sqlstate in _MISSING:
        wanted = f"read for {read}" if read else "read"
        return EngagementError(
            f"the app's database lacks a {_MISSING[sqlstate]} that is {wanted}: {message}; "
            "check that the connection names the app's database and that its migrations have run"
        )
    if sqlstate == "42501":
        return ConfigurationError(
            f"the role of the connection {address.connection_id} may not "
            f"{_NEEDS[address.connection_id]}: {message}; grant it what include/sql/roles.sql lists"
        )
    if sqlstate == "57014":
        return TemporaryError(
            "a query ran longer than the statement timeout of "
            f"{settings.statement_timeout_seconds} s: try again when the database is less busy, "
            "or raise ENGAGEMENT_STATEMENT_TIMEOUT_SECONDS"
        )
    if sqlstate == "55P03":
        return TemporaryError(
            f"somebody else held a lock for longer than {settings.lock_timeout_seconds} s, another "
            "run of the same task perhaps: try again when it has ended, or raise "
            "ENGAGEMENT_LOCK_TIMEOUT_SECONDS"
        )
    if sqlstate.startswith(_INTEGRITY):
        return TemporaryError(
            f"the app changed a row while it was being used, nothing was written: {message}; "
            "try again"
        )
    return TemporaryError(f"the app's database failed: {message}")

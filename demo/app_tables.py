"""The app's tables: made as its own migrations leave them, and filled from files."""

from __future__ import annotations

import csv
from pathlib import Path

import psycopg
from psycopg import sql

SCHEMA = Path(__file__).with_name("app_schema.sql")


def apply_schema(uri: str) -> None:
    """Create the app's tables in an empty database."""
    with psycopg.connect(uri) as connection:
        connection.execute(SCHEMA.read_bytes())


def load_csv_folder(uri: str, folder: Path) -> None:
    """Copy `<table>.csv` files, whose headers name the columns, into the app's tables."""
    with psycopg.connect(uri) as connection, connection.cursor() as cursor:
        for path in sorted(folder.glob("*.csv")):
            table = sql.Identifier(path.stem)
            with path.open(newline="", encoding="utf-8") as lines:
                columns = sql.SQL(", ").join(map(sql.Identifier, next(csv.reader(lines))))
            statement = sql.SQL("copy {} ({}) from stdin (format csv, header)")
            with cursor.copy(statement.format(table, columns)) as copy, path.open("rb") as data:
                while block := data.read(1 << 20):
                    copy.write(block)
        reset_identities(connection)


def reset_identities(connection: psycopg.Connection) -> None:
    """Let the next generated id of every table follow the largest that is there."""
    tables = connection.execute(
        "select table_name::text from information_schema.columns"
        " where table_schema = 'public' and column_name = 'id' and is_identity = 'YES'"
    ).fetchall()
    for (table,) in tables:
        connection.execute(
            sql.SQL(
                "select setval(pg_get_serial_sequence({}, 'id'), coalesce(max(id), 0) + 1, false)"
                " from {}"
            ).format(sql.Literal(table), sql.Identifier(table))
        )

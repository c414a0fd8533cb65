"""An app database to try the pipeline on: demo data in it, and a role that can only read it."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import psycopg
from psycopg import sql

from demo.generate import GenerateError, Size, fill, filled_with

READER = "engagement_reader"
_ROLES = Path(__file__).resolve().parent.parent / "include" / "sql" / "roles.sql"


def yesterday() -> date:
    """The last whole day, in UTC: where new demo data end."""
    return datetime.now(UTC).date() - timedelta(days=1)


def grant_reader(uri: str, password: str | None = None) -> None:
    """Let the role `engagement_reader`, made where it is missing, read what the report reads."""
    role = sql.Identifier(READER)
    with psycopg.connect(uri, autocommit=True) as connection:
        connection.execute(_ROLES.read_text(encoding="utf-8").encode())
        if password is not None:
            connection.execute(
                sql.SQL("alter role {} password {}").format(role, sql.Literal(password))
            )


def main(arguments: Sequence[str] | None = None) -> int:
    """Prepare the database of libpq's variables (`PGHOST` and so on)."""
    parser = argparse.ArgumentParser(
        prog="python -m demo.prepare",
        description=f"{main.__doc__} The reader's password is taken from READER_PASSWORD.",
    )
    parser.parse_args(arguments)
    password = os.environ.get("READER_PASSWORD")
    if not password:
        parser.error(f"READER_PASSWORD is not set: expected the password for the role {READER}")
    try:
        if filled_with("") is None:
            fill("", Size(end=yesterday()))
        grant_reader("", password)
    except (GenerateError, psycopg.OperationalError) as error:
        sys.stderr.write(f"error: {' '.join(str(error).split())}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

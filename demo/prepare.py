"""An app database to try the pipelines on: demo data in it, and the roles that they use."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import psycopg
from psycopg import sql

from demo.generate import GenerateError, Size, fill, filled_with

READER = "engagement_reader"
WRITER = "engagement_writer"
_PASSWORDS = {READER: "READER_PASSWORD", WRITER: "WRITER_PASSWORD"}
_ROLES = Path(__file__).resolve().parent.parent / "include" / "sql" / "roles.sql"


def yesterday() -> date:
    """The last whole day, in UTC: where new demo data end."""
    return datetime.now(UTC).date() - timedelta(days=1)


def grant_roles(uri: str, passwords: Mapping[str, str] | None = None) -> None:
    """Let the roles, made where they are missing, do their pipeline's work; by role, passwords."""
    with psycopg.connect(uri, autocommit=True) as connection:
        connection.execute(_ROLES.read_text(encoding="utf-8").encode())
        for role, password in (passwords or {}).items():
            connection.execute(
                sql.SQL("alter role {} password {}").format(
                    sql.Identifier(role), sql.Literal(password)
                )
            )


def main(arguments: Sequence[str] | None = None) -> int:
    """Prepare the database of libpq's variables (`PGHOST` and so on)."""
    parser = argparse.ArgumentParser(
        prog="python -m demo.prepare",
        description=f"{main.__doc__} The roles' passwords are taken from READER_PASSWORD and"
        " WRITER_PASSWORD.",
    )
    parser.parse_args(arguments)
    passwords = {role: os.environ.get(name, "") for role, name in _PASSWORDS.items()}
    for role, password in passwords.items():
        if not password:
            parser.error(
                f"{_PASSWORDS[role]} is not set: expected the password for the role {role}"
            )
    try:
        if filled_with("") is None:
            fill("", Size(end=yesterday()))
        grant_roles("", passwords)
    except (GenerateError, psycopg.OperationalError) as error:
        sys.stderr.write(f"error: {' '.join(str(error).split())}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

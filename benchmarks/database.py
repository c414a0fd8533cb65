"""The benchmark's databases, made once for each size and kept."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg

from demo.generate import Size, fill, filled_with
from demo.postgres import Server, server

FOLDER = Path(__file__).resolve().parents[1] / ".local" / "bench" / "postgres"
# Making ten million rows needs no durability, and few checkpoints.
_SETTINGS = {"fsync": "off", "max_wal_size": "8GB", "checkpoint_timeout": "30min"}


@contextmanager
def running(folder: Path) -> Iterator[Server]:
    """The benchmark's own server."""
    with server(folder, _SETTINGS) as started:
        yield started


def database(started: Server, size: Size) -> str:
    """The address of a database of this size, made where it is not there yet."""
    name = f"app_{size.users}_{size.events}_{size.activities}_{size.days}"
    uri = started.create_database(name)
    if filled_with(uri) != size:
        started.drop_database(name)
        uri = started.create_database(name)
        began = time.monotonic()
        fill(uri, size)
        sys.stderr.write(f"made {name} in {time.monotonic() - began:.0f} s\n")
    with psycopg.connect(uri, autocommit=True) as connection:
        # What generating has left to be written must not be written while something is measured.
        connection.execute("checkpoint")
    return uri

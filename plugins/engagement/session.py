"""A DuckDB session over the extracted tables of a period, for the metrics and for the checks."""

from __future__ import annotations

import glob
import re
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import duckdb

from engagement import queries
from engagement.errors import EngagementError, one_line
from engagement.period import Period

DAYS = "days"
"""The days of the period with their instants, beside the extracted tables."""
WEEKS = "weeks"
"""The weeks from the first registration's to the period's end, with their instants."""

_RELATION = re.compile(r"\b(?:from|join)\s+([a-z_]+)", re.IGNORECASE)
_DISK = ("No space left on device", "Disk quota exceeded", "File too large", "Permission denied")
_PARAMETER = re.compile(r"\$([a-z_]+)")


@contextmanager
def open_session(
    doing: str, tables: Path, period: Period, *, threads: int, memory_limit_mb: int
) -> Iterator[Session]:
    """A session over the Parquet files in `tables`, with a spill folder of its own.

    Whatever DuckDB refuses is raised as EngagementError, which tells what was being done.
    """
    with (
        _told(doing),
        tempfile.TemporaryDirectory(prefix="engagement-spill-") as spill,
        closing(
            duckdb.connect(
                config={
                    "threads": threads,
                    "memory_limit": f"{memory_limit_mb}MB",
                    "temp_directory": spill,
                    "autoinstall_known_extensions": False,
                    # DuckDB has time zone rules of its own, and takes the machine's zone where it
                    # is told none. No query is to use either: days and weeks come as instants.
                    "TimeZone": "UTC",
                }
            )
        ) as connection,
    ):
        connection.execute(queries.read("duckdb/functions"))
        yield Session(connection, tables, period)


@contextmanager
def _told(doing: str) -> Iterator[None]:
    try:
        yield
    except duckdb.OutOfMemoryException:
        raise EngagementError(
            f"{doing} failed: the memory or the spill folder was too small; set a higher "
            "ENGAGEMENT_MEMORY_LIMIT_MB, and check the free space of the temporary folder"
        ) from None
    except duckdb.IOException as error:
        cause = next((words for words in _DISK if words.lower() in str(error).lower()), "")
        raise EngagementError(
            f"{doing} failed: {cause or 'a file could not be read or written'}; check the free "
            "space and the rights of the staging and temporary folders"
        ) from None
    except (duckdb.BinderException, duckdb.CatalogException, duckdb.ParserException) as error:
        raise EngagementError(
            f"{doing} failed: {one_line(error)}; correct the query in include/sql"
        ) from None
    except duckdb.Error as error:
        # What else the engine says may quote the data.
        raise EngagementError(
            f"{doing} failed with DuckDB's {type(error).__name__}; extract again, and if it stays "
            "so, run the queries by hand over the staged tables"
        ) from None


class Session:
    """A DuckDB connection with the relations that a query asks for, made when it asks."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, tables: Path, period: Period) -> None:
        self.connection = connection
        self._tables = tables
        self._shared = frozenset(queries.names("metrics/shared"))
        self._ready: set[str] = set()
        self.period = period
        self._parameters: dict[str, object] = {
            "start": period.start,
            "end": period.end,
            "start_instant": period.start_instant,
            "end_instant": period.end_instant,
            "previous_start_instant": period.previous_start_instant,
        }

    def bound(self, query: str) -> dict[str, object]:
        """The parameters that `query` names."""
        return {name: self._parameters[name] for name in _PARAMETER.findall(query)}

    def query(self, name: str) -> str:
        """The text of the query `name`, once all that it reads is there."""
        text = queries.read(name)
        for relation in sorted(_relations(text) - self._ready):
            self._ready.add(relation)
            self._provide(relation)
        return text

    def _provide(self, relation: str) -> None:
        if relation == DAYS:
            days = self.period.days
            text = queries.read("duckdb/days")
            values = {
                "dates": [day.date for day in days],
                "starts": [day.start for day in days],
                "ends": [day.end for day in days],
            }
            self.connection.execute(f"create temp table {relation} as {text}", values)
        elif relation == WEEKS:
            text = self.query("duckdb/first_registration")
            [(first,)] = self.connection.execute(text, self.bound(text)).fetchall()
            weeks = self.period.weeks_since(first)
            text = queries.read("duckdb/weeks")
            values = {
                "mondays": [week.monday for week in weeks],
                "starts": [week.start for week in weeks],
                "ends": [week.end for week in weeks],
            }
            self.connection.execute(f"create temp table {relation} as {text}", values)
        elif relation in self._shared:
            text = self.query(f"metrics/shared/{relation}")
            self.connection.execute(f"create temp table {relation} as {text}", self.bound(text))
        else:
            file = glob.escape(str(self._tables / f"{relation}.parquet"))
            self.connection.read_parquet(file).create_view(relation)


def _relations(query: str) -> set[str]:
    """The tables that `query` reads: what follows `from` or `join` and is no part of it."""
    code = re.sub(r"--.*", "", query)
    inner = set(re.findall(r"\b([a-z_]+) as \(", code))
    return set(_RELATION.findall(code)) - inner


def tables_read(names: Iterable[str]) -> set[str]:
    """The extracted tables that the queries `names` read."""
    shared = set(queries.names("metrics/shared"))
    found: set[str] = set()
    todo = [queries.read(name) for name in names]
    while todo:
        for relation in _relations(todo.pop()) - found:
            found.add(relation)
            if relation in shared:
                todo.append(queries.read(f"metrics/shared/{relation}"))
            elif relation == WEEKS:
                todo.append(queries.read("duckdb/first_registration"))
    return found - shared - {DAYS, WEEKS}

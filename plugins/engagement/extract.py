"""From one snapshot of the app's database to Parquet files.

The files hold the columns that the datasets and their checks need, one file a query in
`include/sql/extract`: events and activities of the period alone, everything else whole.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from queue import Empty, SimpleQueue

import adbc_driver_manager
import pyarrow as pa
from pyarrow import parquet
from upath import UPath

from engagement import queries
from engagement.app_database import Address, Snapshot, database_errors, snapshot
from engagement.period import Period
from engagement.settings import Settings

log = logging.getLogger(__name__)

Report = Callable[[str, int], None]
"""Is told a table and the rows read of it so far."""

TABLES = (
    "events",
    "activities",
    "membership_events",
    "video_views",
    "memberships",
    "users",
    "fasts",
    "churches",
    "event_types",
    "content_types",
)
"""The extracted tables, by the names of their queries; those that take longest come first."""

_CONNECTIONS = 2
"""Read at the same time; each takes the next table when it is done with one."""


@dataclass(frozen=True, slots=True)
class Extract:
    """What was read: when, by the database's clock, and how many rows of each table."""

    taken_at: datetime
    rows: Mapping[str, int]


def extract(
    address: Address,
    period: Period,
    folder: UPath,
    settings: Settings,
    application_name: str,
    report: Report | None = None,
) -> Extract:
    """Writes every table to `folder` as `<table>.parquet`, all as of one snapshot.

    Raises EngagementError, or OSError where the folder cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with snapshot(address, settings, application_name) as taken:
        parameters = _parameters(taken, period)

        def read(waiting: SimpleQueue[str]) -> dict[str, int]:
            rows: dict[str, int] = {}
            with suppress(Empty), database_errors(settings, address), taken.reader() as connection:
                while True:
                    table = waiting.get_nowait()
                    query = taken.statement(queries.read(f"extract/{table}"), parameters)
                    for count in _copy(connection, query, folder / f"{table}.parquet"):
                        rows[table] = count
                        if report:
                            report(table, count)
                    log.info("extracted %s: %s rows", table, f"{rows[table]:,}")
            return rows

        waiting: SimpleQueue[str] = SimpleQueue()
        for table in TABLES:
            waiting.put(table)
        with ThreadPoolExecutor(_CONNECTIONS) as pool:
            rows = {
                table: count
                for part in pool.map(read, [waiting] * _CONNECTIONS)
                for table, count in part.items()
            }
        return Extract(taken.instant, {table: rows[table] for table in TABLES})


def _parameters(taken: Snapshot, period: Period) -> dict[str, object]:
    """What the queries bind; ids of types depend on the database's history and are looked up."""
    ids: dict[str, list[int]] = {}
    for code, type_id in taken.control.execute(queries.read("extract/lookup/event_type_ids")):
        ids.setdefault(code, []).append(type_id)
    fasts = taken.control.execute(queries.read("extract/lookup/fast_content_type_ids")).fetchall()
    return {
        "start": period.start_instant,
        "end": period.end_instant,
        "membership_type_ids": ids.get("user_joined_fast", []) + ids.get("user_left_fast", []),
        "screen_view_type_ids": ids.get("screen_view", []),
        "video_type_ids": ids.get("tutorial_video_viewed", []),
        "fast_content_type_ids": [row[0] for row in fasts],
    }


def _copy(
    connection: adbc_driver_manager.AdbcConnection, query: str, target: UPath
) -> Iterator[int]:
    """Streams the rows of `query` into one Parquet file; yields how many there are so far."""
    with adbc_driver_manager.AdbcStatement(connection) as statement:
        statement.set_sql_query(query)
        stream, _ = statement.execute_query()
        rows = 0
        yield rows
        with (
            pa.RecordBatchReader._import_from_c(stream.address) as batches,
            target.open("wb") as file,
            # Measured: half the time to write, a quarter to read, and a smaller file.
            parquet.ParquetWriter(
                file,
                batches.schema,
                compression="zstd",
                use_dictionary=_columns(batches.schema, text=True),
                column_encoding=dict.fromkeys(
                    _columns(batches.schema, text=False), "DELTA_BINARY_PACKED"
                ),
                write_statistics=False,
            ) as writer,
        ):
            for batch in batches:
                writer.write_batch(batch)
                rows += batch.num_rows
                yield rows


def _columns(schema: pa.Schema, *, text: bool) -> list[str]:
    return [column.name for column in schema if pa.types.is_string(column.type) is text]

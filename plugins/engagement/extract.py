"""From one snapshot of the app's database to Parquet files.

The files hold the columns that the datasets and their checks need, one file a query in
`include/sql/extract`: events and activities of the period alone, counts of the previous period,
everything else whole.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator, Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import closing, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Event

import adbc_driver_manager
import pyarrow as pa
from adbc_driver_manager._reader import AdbcRecordBatchReader
from pyarrow import parquet
from upath import UPath

from engagement import queries, staging
from engagement.app_database import Address, Snapshot, database_errors, snapshot
from engagement.event_kinds import JOINED, LEFT
from engagement.period import Period
from engagement.settings import Settings
from engagement.text_table import counted

log = logging.getLogger(__name__)

Report = Callable[[str, int], None]
"""Is told a table and the rows read of it so far."""

TABLES = (
    "events",
    "activities",
    "membership_events",
    "previous_period",
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

    A file appears when its table was read to the end. Raises EngagementError, or OSError where the
    disk refuses what is written.
    """
    with snapshot(address, settings, application_name) as taken:
        parameters = _parameters(taken, period)
        waiting: SimpleQueue[str] = SimpleQueue()
        for table in TABLES:
            waiting.put(table)
        stopped = Event()

        def read() -> dict[str, int]:
            rows: dict[str, int] = {}
            with suppress(Empty), database_errors(settings, address), taken.reader() as connection:
                while not stopped.is_set():
                    table = waiting.get_nowait()
                    query = taken.statement(queries.read(f"extract/{table}"), parameters)
                    with (
                        database_errors(settings, address, table),
                        staging.written(folder) as local,
                        closing(_copy(connection, query, local / f"{table}.parquet")) as counts,
                    ):
                        for count in counts:
                            if stopped.is_set():
                                raise _Stopped
                            rows[table] = count
                            if report:
                                report(table, count)
                    log.info("extracted %s: %s", table, counted(rows[table], "row"))
            return rows

        read_rows: dict[str, int] = {}
        with ThreadPoolExecutor(_CONNECTIONS) as pool:
            try:
                for reader in as_completed([pool.submit(read) for _ in range(_CONNECTIONS)]):
                    read_rows |= reader.result()
            finally:
                # The pool waits for the readers: after an error, what they read is of no use.
                stopped.set()
        return Extract(taken.instant, {table: read_rows[table] for table in TABLES})


class _Stopped(Exception):  # noqa: N818  it tells of no error
    """Ends a reader because another one, or who waits for both, has failed."""


def _parameters(taken: Snapshot, period: Period) -> dict[str, object]:
    """What the queries bind; ids of types depend on the database's history and are looked up."""
    ids: dict[str, list[int]] = {}
    for code, type_id in taken.control.execute(queries.read("extract/lookup/event_type_ids")):
        ids.setdefault(code, []).append(type_id)
    fasts = taken.control.execute(queries.read("extract/lookup/fast_content_type_ids")).fetchall()
    return {
        "previous_start": period.previous_start_instant,
        "start": period.start_instant,
        "end": period.end_instant,
        "membership_type_ids": ids.get(JOINED, []) + ids.get(LEFT, []),
        "screen_view_type_ids": ids.get("screen_view", []),
        "video_type_ids": ids.get("tutorial_video_viewed", []),
        "fast_content_type_ids": [row[0] for row in fasts],
    }


def _copy(
    connection: adbc_driver_manager.AdbcConnection, query: str, target: Path
) -> Generator[int]:
    """Streams the rows of `query` into one Parquet file; yields how many there are so far."""
    with adbc_driver_manager.AdbcStatement(connection) as statement:
        statement.set_sql_query(query)
        stream, _ = statement.execute_query()
        rows = 0
        yield rows
        with (
            # Raises what the database says in mid-stream as the driver's errors.
            closing(AdbcRecordBatchReader._import_from_c(stream.address)) as batches,
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

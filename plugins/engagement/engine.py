"""Runs the metric queries over the extracted tables, in DuckDB, and renders what they give."""

from __future__ import annotations

import csv
import io
import json
import re
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import duckdb

from engagement import contracts, queries
from engagement.datasets import (
    ACTIVITY_TYPES,
    OTHER_METRICS,
    Column,
    Counts,
    Dataset,
    Format,
    Group,
    MeanGap,
    Part,
    Rows,
    Type,
    Values,
    file_name,
    table,
)
from engagement.errors import EngagementError, one_line
from engagement.period import Period
from engagement.settings import Settings

DAYS = "days"
"""The days of the period with their instants, beside the extracted tables."""

_RELATION = re.compile(r"\b(?:from|join)\s+([a-z_]+)", re.IGNORECASE)
_PARAMETER = re.compile(r"\$([a-z_]+)")
_DAY_US = 86_400_000_000


@dataclass(frozen=True, slots=True)
class Result:
    """One computed dataset: its file, its rows, and what other datasets must agree with.

    `fields` are the columns as the file has them, where they depend on the data.
    """

    name: str
    file: str
    rows: int
    measures: Mapping[str, int]
    fields: tuple[str, ...] = field(default=())


def tables_of(name: str) -> set[str]:
    """The extracted tables that the dataset `name` is computed from."""
    shared = set(queries.names("metrics/shared"))
    found: set[str] = set()
    todo = [queries.read(query) for query in _queries_of(name)]
    while todo:
        for relation in _relations(todo.pop()) - found:
            found.add(relation)
            if relation in shared:
                todo.append(queries.read(f"metrics/shared/{relation}"))
    return found - shared - {DAYS}


def compute(
    name: str, tables: Path, period: Period, folder: Path, file_format: Format, settings: Settings
) -> Result:
    """Computes the dataset `name` out of the Parquet files in `tables` into a file in `folder`.

    The result is held against the dataset's contract first. The same tables and period give the
    same bytes. Raises DataQualityError for a broken contract, EngagementError for a full disk.
    """
    try:
        with _session(tables, period, settings) as session:
            if name == OTHER_METRICS.name:
                return _compute_object(session, folder, file_format)
            return _compute_rows(session, table(name), folder, file_format)
    except duckdb.Error as error:
        raise EngagementError(
            f"computing {name} failed: {one_line(error)}; check the free space of the disk that "
            "holds the staging and temporary folders, and ENGAGEMENT_MEMORY_LIMIT_MB"
        ) from None


@contextmanager
def _session(tables: Path, period: Period, settings: Settings) -> Iterator[_Session]:
    with (
        tempfile.TemporaryDirectory(prefix="engagement-spill-") as spill,
        closing(
            duckdb.connect(
                config={
                    "threads": settings.threads,
                    "memory_limit": f"{settings.memory_limit_mb}MB",
                    "temp_directory": spill,
                    "autoinstall_known_extensions": False,
                    "TimeZone": period.timezone,
                }
            )
        ) as connection,
    ):
        connection.execute(queries.read("duckdb/functions"))
        yield _Session(connection, tables, period)


class _Session:
    """A DuckDB connection with the relations that a query asks for, made when it asks."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, tables: Path, period: Period) -> None:
        self.connection = connection
        self._tables = tables
        self._shared = frozenset(queries.names("metrics/shared"))
        self._ready: set[str] = set()
        self._period = period
        self._parameters: dict[str, object] = {
            "start": period.start,
            "end": period.end,
            "start_instant": period.start_instant,
            "end_instant": period.end_instant,
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
            days = self._period.days
            text = queries.read("duckdb/days")
            values = {
                "dates": [day.date for day in days],
                "starts": [day.start for day in days],
                "ends": [day.end for day in days],
            }
            self.connection.execute(f"create temp table {relation} as {text}", values)
        elif relation in self._shared:
            text = self.query(f"metrics/shared/{relation}")
            self.connection.execute(f"create temp table {relation} as {text}", self.bound(text))
        else:
            file = self._tables / f"{relation}.parquet"
            self.connection.read_parquet(str(file)).create_view(relation)


def _relations(query: str) -> set[str]:
    """The tables that `query` reads: what follows `from` or `join` and is no part of it."""
    code = re.sub(r"--.*", "", query)
    inner = set(re.findall(r"\b([a-z_]+) as \(", code))
    return set(_RELATION.findall(code)) - inner


def _queries_of(name: str) -> list[str]:
    if name != OTHER_METRICS.name:
        return [f"metrics/{name}"]
    return [f"metrics/{name}/{query}" for query in queries.names(f"metrics/{name}")]


def _compute_rows(session: _Session, dataset: Dataset, folder: Path, file_format: Format) -> Result:
    query = session.query(f"metrics/{dataset.name}")
    rows, measures = contracts.check_rows(
        dataset, session.connection.sql(query, params=session.bound(query))
    )
    file = file_name(dataset.name, file_format)
    bindings = {**session.bound(query), "path": str(folder / file)}
    fields: tuple[str, ...] = ()
    if file_format is Format.PARQUET:
        projection, options = "*", "format parquet, compression zstd"
    elif file_format is Format.JSON:
        projection, options = _json_projection(dataset), "format json, array true"
    else:
        fields, projection, values = _csv_projection(session, dataset)
        bindings |= values
        header = io.StringIO()
        csv.writer(header, lineterminator="\n").writerow(fields)
        if not rows:
            (folder / file).write_text(header.getvalue(), encoding="utf-8", newline="")
            return Result(dataset.name, file, rows, measures, fields)
        bindings |= {"header": header.getvalue(), "line_end": "\n"}
        options = "format csv, header false, nullstr '', prefix $header, suffix $line_end"
    session.connection.execute(
        f"copy (select {projection} from ({query})) to $path ({options})", bindings
    )
    return Result(dataset.name, file, rows, measures, fields)


def _json_projection(dataset: Dataset) -> str:
    return ", ".join(
        f"rfc3339({column.name}) as {_quoted(column.name)}"
        if column.type is Type.DATETIME
        else _quoted(column.name)
        for column in dataset.columns
    )


def _csv_projection(
    session: _Session, dataset: Dataset
) -> tuple[tuple[str, ...], str, dict[str, object]]:
    """The header, the projection, and what the projection binds."""
    fields: list[str] = []
    cells: list[str] = []
    values: dict[str, object] = {}
    for column in dataset.columns:
        name = _quoted(column.name)
        if column.type is Type.COUNTS:
            for position, activity_type in enumerate(_activity_types(session)):
                fields.append(f"type_{activity_type}")
                cells.append(f"coalesce({name}[$type_{position}], 0)")
                values[f"type_{position}"] = activity_type
            continue
        fields.append(column.name)
        if column.type is Type.DATETIME:
            cells.append(f"rfc3339({name})")
        elif column.type is Type.STRING:
            cells.append(f"formula_safe({name})")
        else:
            cells.append(name)
    return tuple(fields), ", ".join(cells), values


def _activity_types(session: _Session) -> list[str]:
    query = session.query("metrics/shared/activity_types")
    occurring = session.connection.execute(query).fetchall()
    return sorted({*ACTIVITY_TYPES, *(row[0] for row in occurring)})


def _quoted(identifier: str) -> str:
    return '"' + identifier.replace('"', '""') + '"'


def _compute_object(session: _Session, folder: Path, file_format: Format) -> Result:
    content = _members(session, OTHER_METRICS.parts)
    contracts.check_object(OTHER_METRICS, content)
    file = file_name(OTHER_METRICS.name, file_format)
    text = json.dumps(content, ensure_ascii=False, allow_nan=False, indent=2)
    (folder / file).write_text(text + "\n", encoding="utf-8", newline="")
    events = content["events_by_type"]
    measures = {
        "active_users": content["active_users"],
        "joins": events.get("user_joined_fast", 0),
        "leaves": events.get("user_left_fast", 0),
    }
    return Result(OTHER_METRICS.name, file, 1, measures)


def _members(session: _Session, parts: Iterable[Part]) -> dict[str, Any]:
    members: dict[str, Any] = {}
    for part in parts:
        if isinstance(part, Group):
            members[part.name] = _members(session, part.parts)
            continue
        rows = _rows(session, part.query)
        match part:
            case Values(columns=columns):
                members |= _object(columns, rows[0])
            case Rows(name=name, columns=columns):
                members[name] = [_object(columns, row) for row in rows]
            case Counts(name=name):
                members[name] = {str(text): count for text, count in rows}
            case MeanGap(column=column):
                members[column.name] = _mean_gap(rows)
    return members


def _rows(session: _Session, name: str) -> list[tuple[Any, ...]]:
    query = session.query(f"metrics/{OTHER_METRICS.name}/{name}")
    return session.connection.execute(query, session.bound(query)).fetchall()


def _object(columns: tuple[Column, ...], row: tuple[Any, ...]) -> dict[str, Any]:
    return dict(zip((column.name for column in columns), row, strict=True))


def _mean_gap(rows: Iterable[tuple[int, int, int]]) -> float:
    """Days to two decimals, halves up, of the exact mean; SQL has no exact fractions."""
    users, total = 0, Fraction(0)
    for gaps, count, span_us in rows:
        users += count
        total += Fraction(int(span_us), gaps * _DAY_US)
    return int(total * 100 / users + Fraction(1, 2)) / 100 if users else 0.0

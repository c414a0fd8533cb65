"""Runs the metric queries over the extracted tables, in DuckDB, and renders what they give."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from engagement import contracts, queries
from engagement.csv_cells import quoted
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
from engagement.event_kinds import JOINED, LEFT
from engagement.period import Period
from engagement.session import Session, open_session, tables_read
from engagement.settings import Settings

_DAY_US = 86_400_000_000


@dataclass(frozen=True, slots=True)
class Result:
    """One computed dataset: its file, its rows, and what other datasets must agree with."""

    name: str
    file: str
    rows: int
    measures: Mapping[str, int]


def tables_of(name: str) -> set[str]:
    """The extracted tables that the dataset `name` is computed from."""
    return tables_read(_queries_of(name))


def compute(
    name: str, tables: Path, period: Period, folder: Path, file_format: Format, settings: Settings
) -> Result:
    """Computes the dataset `name` out of the Parquet files in `tables` into a file in `folder`.

    The result is held against the dataset's contract first. The same tables and period give the
    same bytes. Raises DataQualityError for a broken contract, EngagementError where DuckDB fails.
    """
    with open_session(
        f"computing {name}",
        tables,
        period,
        threads=settings.threads,
        memory_limit_mb=settings.memory_limit_mb,
    ) as opened:
        if name == OTHER_METRICS.name:
            return _compute_object(opened, folder, file_format)
        return _compute_rows(opened, table(name), folder, file_format)


def _queries_of(name: str) -> list[str]:
    if name != OTHER_METRICS.name:
        return [f"metrics/{name}"]
    return [f"metrics/{name}/{query}" for query in queries.names(f"metrics/{name}")]


def _compute_rows(session: Session, dataset: Dataset, folder: Path, file_format: Format) -> Result:
    query = session.query(f"metrics/{dataset.name}")
    session.connection.execute(f"create temp table result as {query}", session.bound(query))
    result = session.connection.table("result")
    rows, measures = contracts.check_rows(dataset, result, session.period.end)
    file = file_name(dataset.name, file_format)
    bindings: dict[str, object] = {"path": str(folder / file)}
    empty = None
    if file_format is Format.PARQUET:
        projection, options = "*", "format parquet, compression zstd"
    elif file_format is Format.JSON:
        projection, options = _json_projection(dataset), "format json, array true"
        empty = "[]\n"
    else:
        fields, projection, values = _csv_projection(session, dataset)
        header = ",".join(map(quoted, fields)) + "\n"
        bindings |= {**values, "header": header, "line_end": "\n"}
        options = "format csv, header false, nullstr '', prefix $header, suffix $line_end"
        empty = header
    if not rows and empty is not None:
        (folder / file).write_text(empty, encoding="utf-8", newline="")
        return Result(dataset.name, file, rows, measures)
    # Measured: rows that are written in order take longer with a second thread.
    session.connection.execute("set threads = 1")
    session.connection.execute(
        f"copy (select {projection} from result) to $path ({options})", bindings
    )
    return Result(dataset.name, file, rows, measures)


def _json_projection(dataset: Dataset) -> str:
    return ", ".join(
        f"rfc3339({column.name}) as {_quoted(column.name)}"
        if column.type is Type.DATETIME
        else _quoted(column.name)
        for column in dataset.columns
    )


def _csv_projection(
    session: Session, dataset: Dataset
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


def _activity_types(session: Session) -> list[str]:
    query = session.query("metrics/shared/activity_types")
    occurring = session.connection.execute(query).fetchall()
    return sorted({*ACTIVITY_TYPES, *(row[0] for row in occurring)})


def _quoted(identifier: str) -> str:
    return '"' + identifier.replace('"', '""') + '"'


def _compute_object(session: Session, folder: Path, file_format: Format) -> Result:
    content = _members(session, OTHER_METRICS.parts)
    contracts.check_object(OTHER_METRICS, content)
    file = file_name(OTHER_METRICS.name, file_format)
    text = json.dumps(content, ensure_ascii=False, allow_nan=False, indent=2)
    (folder / file).write_text(text + "\n", encoding="utf-8", newline="")
    events = content["events_by_type"]
    measures = {
        "active_users": content["active_users"],
        "joins": events.get(JOINED, 0),
        "leaves": events.get(LEFT, 0),
    }
    return Result(OTHER_METRICS.name, file, 1, measures)


def _members(session: Session, parts: Iterable[Part]) -> dict[str, Any]:
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


def _rows(session: Session, name: str) -> list[tuple[Any, ...]]:
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

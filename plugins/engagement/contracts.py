"""What a computed dataset promises: its columns, types, key and bounds, and that all agree."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import date
from math import isfinite
from typing import Any

import duckdb

from engagement.datasets import Column, Counts, Dataset, Group, MeanGap, Part, Rows, Type, Values
from engagement.errors import DataQualityError
from engagement.text_table import counted

_DUCKDB_TYPES = {
    Type.INTEGER: {"INTEGER", "BIGINT"},
    Type.NUMBER: {"DOUBLE"},
    Type.STRING: {"VARCHAR"},
    Type.DATE: {"DATE"},
    Type.DATETIME: {"TIMESTAMP WITH TIME ZONE"},
    Type.COUNTS: {"MAP(VARCHAR, BIGINT)"},
}
_PYTHON_TYPES: dict[Type, type[Any]] = {Type.INTEGER: int, Type.NUMBER: float, Type.STRING: str}


def check_rows(
    dataset: Dataset, relation: duckdb.DuckDBPyRelation, end: date
) -> tuple[int, dict[str, int]]:
    """Holds `relation` against the dataset's contract; returns its rows and its measures.

    `end` is the period's last day. Raises DataQualityError that names every breach with its count,
    or every column of a wrong type, for such a column may be compared with nothing.
    """
    columns = [column.name for column in dataset.columns]
    if relation.columns != columns:
        raise DataQualityError(
            f"dataset {dataset.name} breaks its contract: columns {relation.columns}, expected "
            f"{columns}; correct include/sql/metrics/{dataset.name}.sql or the catalogue"
        )
    types = [
        f"column {column.name} has type {found}, expected {column.type}"
        for column, found in zip(dataset.columns, relation.types, strict=True)
        if str(found) not in _DUCKDB_TYPES[column.type]
    ]
    _raise_for(dataset.name, types)
    conditions = dict(_breach_conditions(dataset))
    aggregates = [
        "count(*)",
        *(f"count(case when {condition} then 1 end)" for condition in conditions.values()),
        *(f"coalesce({measure}, 0)" for measure in dataset.measures.values()),
    ]
    if dataset.key:
        aggregates.append(f"count(distinct ({', '.join(dataset.key)},))")
    [row] = relation.aggregate(", ".join(aggregates)).fetchall()
    rows, *values = (int(value) for value in row)
    found_breaches = dict(zip(conditions, values, strict=False))
    found_breaches |= {
        f"column {column.name} after the period's end": _rows_after(relation, column, end)
        for column in dataset.columns
        if column.by_end
    }
    breaches = [
        f"{name} in {counted(count, 'row')}" for name, count in found_breaches.items() if count
    ]
    if dataset.key and values[-1] != rows:
        repeated = counted(rows - values[-1], "row")
        breaches.append(f"key {', '.join(dataset.key)} repeated in {repeated}")
    _raise_for(dataset.name, breaches)
    measures = values[len(conditions) : len(conditions) + len(dataset.measures)]
    return rows, dict(zip(dataset.measures, measures, strict=True))


def _rows_after(relation: duckdb.DuckDBPyRelation, column: Column, end: date) -> int:
    after = duckdb.ColumnExpression(column.name) > duckdb.ConstantExpression(end)
    [(rows,)] = relation.filter(after).aggregate("count(*)").fetchall()
    return int(rows)


def _breach_conditions(dataset: Dataset) -> Iterator[tuple[str, str]]:
    for column in dataset.columns:
        is_finite = ""
        if not column.nullable:
            yield f"column {column.name} is null", f"{column.name} is null"
        if column.type is Type.NUMBER:
            yield f"column {column.name} no finite number", f"not isfinite({column.name})"
            is_finite = f"isfinite({column.name}) and "
        if column.type is Type.COUNTS:
            yield (
                f"column {column.name} a count that is no whole number from 0 up",
                f"len(list_filter(map_values({column.name}), lambda n: n is null or n < 0)) > 0",
            )
        if column.minimum is not None:
            yield (
                f"column {column.name} below {column.minimum}",
                f"{is_finite}{column.name} < {column.minimum}",
            )
        if column.maximum is not None:
            yield (
                f"column {column.name} above {column.maximum}",
                f"{is_finite}{column.name} > {column.maximum}",
            )
        if column.values is not None:
            allowed = ", ".join(f"'{value}'" for value in column.values)
            yield f"column {column.name} unknown value", f"{column.name} not in ({allowed})"


def check_object(group: Group, content: Mapping[str, Any]) -> None:
    """Holds an object against its description; raises DataQualityError."""
    _raise_for(group.name, list(_object_breaches(group.parts, content, "")))


def _object_breaches(
    parts: tuple[Part, ...], content: Mapping[str, Any], path: str
) -> Iterator[str]:
    for part in parts:
        match part:
            case Group(name=name, parts=inner):
                yield from _object_breaches(inner, content[name], f"{path}{name}.")
            case Values(columns=columns):
                yield from _value_breaches(columns, content, path)
            case MeanGap(column=column):
                yield from _value_breaches((column,), content, path)
            case Rows(name=name, columns=columns):
                for row in content[name]:
                    yield from _value_breaches(columns, row, f"{path}{name}.")
            case Counts(name=name):
                if any(type(count) is not int or count < 0 for count in content[name].values()):
                    yield f"{path}{name} has a count that is no whole number from 0 up"


def _value_breaches(
    columns: tuple[Column, ...], content: Mapping[str, Any], path: str
) -> Iterator[str]:
    for column in columns:
        value: Any = content[column.name]
        if value is None:
            if not column.nullable:
                yield f"{path}{column.name} is null"
        # True and False are integers to Python.
        elif type(value) is not _PYTHON_TYPES[column.type]:
            yield f"{path}{column.name} is no {column.type}"
        elif column.type is Type.NUMBER and not isfinite(value):
            yield f"{path}{column.name} is no finite number"
        elif column.minimum is not None and value < column.minimum:
            yield f"{path}{column.name} below {column.minimum}"
        elif column.maximum is not None and value > column.maximum:
            yield f"{path}{column.name} above {column.maximum}"
        elif column.values is not None and value not in column.values:
            yield f"{path}{column.name} unknown value"


def check_agreement(measures: Mapping[str, Mapping[str, int]], rows: Mapping[str, int]) -> None:
    """Holds the datasets against each other; raises DataQualityError.

    `rows` are the rows of each dataset and, as `activities`, those that were extracted. What must
    agree is told in the definitions of the metrics.
    """
    other, fasts = measures["other_metrics"], measures["fasts"]
    items = measures["user_activity"]["total_items"]
    cohorts = measures["retention_cohorts"]
    activities = counted(rows["activities"], "activity", "activities")
    spells = measures["user_fast_participation"]["active"]
    promises = {
        f"user_activity_timeline has {counted(rows['user_activity_timeline'], 'row')}, the extract "
        f"{activities}": rows["user_activity_timeline"] == rows["activities"],
        f"total_items of user_activity add up to {items:,}, the extract has {activities}": items
        == rows["activities"],
        f"other_metrics counts {counted(other['active_users'], 'active user')}, user_activity has "
        f"{counted(rows['user_activity'], 'row')}": other["active_users"] == rows["user_activity"],
        f"participants of fasts add up to {fasts['participants']:,}, user_fast_participation has "
        f"{counted(spells, 'active spell')}": fasts["participants"] == spells,
        f"retention_cohorts has {counted(cohorts['more_active_than_total'], 'week')} with more "
        "active users than users": cohorts["more_active_than_total"] == 0,
        f"active users of retention_cohorts add up to {cohorts['active_users']:,}, other_metrics "
        f"counts {other['active_users']:,}": cohorts["active_users"] <= other["active_users"],
        f"joins of fasts add up to {fasts['joins']:,}, other_metrics counts "
        f"{counted(other['joins'], 'join event')}": fasts["joins"] <= other["joins"],
        f"leaves of fasts add up to {fasts['leaves']:,}, other_metrics counts "
        f"{counted(other['leaves'], 'leave event')}": fasts["leaves"] <= other["leaves"],
    }
    breaches = [promise for promise, kept in promises.items() if not kept]
    if breaches:
        raise DataQualityError(
            f"the datasets do not agree: {'; '.join(breaches)}; nothing is published: run again "
            "from the extract, and if it stays so, correct the queries in include/sql/metrics"
        )


def _raise_for(name: str, breaches: list[str]) -> None:
    if breaches:
        raise DataQualityError(
            f"dataset {name} breaks its contract: {'; '.join(breaches)}; nothing is published: "
            f"look at the rows of the app that these come from, or correct the queries of {name}"
        )

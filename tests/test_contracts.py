"""The contracts of the datasets, each of their conditions broken by hand."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import duckdb
import pytest

from engagement import contracts, datasets
from engagement.datasets import (
    Column,
    Counts,
    Dataset,
    Group,
    MeanGap,
    Part,
    Rows,
    Type,
    Values,
)
from engagement.errors import DataQualityError

SQL_TYPES = {
    Type.INTEGER: "bigint",
    Type.NUMBER: "double",
    Type.STRING: "varchar",
    Type.DATE: "date",
    Type.DATETIME: "timestamptz",
    Type.COUNTS: "map(varchar, bigint)",
}
# Types that are easily taken for the right ones, which DuckDB counts and compares like those, and
# types that it compares with nothing.
WRONG_SQL_TYPES = {
    Type.INTEGER: ("hugeint", "varchar"),
    Type.NUMBER: ("float", "varchar"),
    Type.STRING: ("blob", "integer[]"),
    Type.DATE: ("timestamp", "varchar", "integer"),
    Type.DATETIME: ("timestamp", "varchar"),
    Type.COUNTS: ("map(varchar, integer)", "varchar"),
}
END = date(2026, 12, 31)
COLUMNS = [
    pytest.param(dataset, column, id=f"{dataset.name}.{column.name}")
    for dataset in datasets.TABLES
    for column in dataset.columns
]


def row(dataset: Dataset, number: int, **changes: Any) -> dict[str, Any]:
    """A row that keeps the contract, another one for each number."""

    def value(column: Column) -> Any:
        match column.type:
            case Type.INTEGER:
                return (column.minimum or 0) + number
            case Type.NUMBER:
                return (column.minimum or 0) + number / 4
            case Type.STRING:
                return column.values[0] if column.values else f"{column.name} {number}"
            case Type.DATE:
                return date(2026, 1, 1) + timedelta(number)
            case Type.DATETIME:
                return datetime(2026, 1, 1, tzinfo=UTC) + timedelta(number)
            case Type.COUNTS:
                return {"milestone": number}

    assert changes.keys() <= {column.name for column in dataset.columns}
    return {column.name: value(column) for column in dataset.columns} | changes


def relation(
    dataset: Dataset, rows: Sequence[Mapping[str, Any]], types: dict[str, str] | None = None
) -> duckdb.DuckDBPyRelation:
    """The rows in the types of the catalogue, or in those that `types` has for a column."""
    connection = duckdb.connect()
    names = [column.name for column in dataset.columns]
    found = {column.name: SQL_TYPES[column.type] for column in dataset.columns} | (types or {})
    columns = ", ".join(f'"{name}" {sql_type}' for name, sql_type in found.items())
    connection.execute(f"create table result ({columns})")
    places = ", ".join("?" * len(names))
    for each in rows:
        connection.execute(f"insert into result values ({places})", [each[name] for name in names])
    return connection.table("result")


def check_rows(
    dataset: Dataset, found: duckdb.DuckDBPyRelation, end: date = END
) -> tuple[int, dict[str, int]]:
    return contracts.check_rows(dataset, found, end)


def breaches(dataset: Dataset, found: duckdb.DuckDBPyRelation) -> list[str]:
    """What check_rows finds broken."""
    with pytest.raises(DataQualityError) as caught:
        check_rows(dataset, found)
    return told(caught.value, dataset.name)


def told(error: DataQualityError, name: str) -> list[str]:
    start, _, rest = str(error).partition(" breaks its contract: ")
    found, separator, advice = rest.partition("; nothing is published: ")
    assert start == f"dataset {name}"
    assert separator
    assert name in advice
    return found.split("; ")


@pytest.mark.parametrize("dataset", datasets.TABLES, ids=lambda dataset: dataset.name)
def test_rows_that_keep_the_contract(dataset: Dataset) -> None:
    rows, measures = check_rows(
        dataset, relation(dataset, [row(dataset, number) for number in range(3)])
    )
    assert rows == 3
    assert measures.keys() == dataset.measures.keys()


@pytest.mark.parametrize("dataset", datasets.TABLES, ids=lambda dataset: dataset.name)
def test_no_rows_keep_every_contract(dataset: Dataset) -> None:
    rows, measures = check_rows(dataset, relation(dataset, []))
    assert rows == 0
    assert measures == dict.fromkeys(dataset.measures, 0)


def test_measures() -> None:
    """Each is that of its name, after as many conditions as the dataset has."""
    participation = datasets.USER_FAST_PARTICIPATION
    spells = [row(participation, n, status=status) for n, status in enumerate(["active", "left"])]
    assert check_rows(participation, relation(participation, spells)) == (
        2,
        {"active": 1},
    )
    fasts = datasets.FASTS
    rows = [
        row(fasts, 0, participants=1, joins_in_period=20, leaves_in_period=300),
        row(fasts, 1, participants=4, joins_in_period=50, leaves_in_period=600),
    ]
    assert check_rows(fasts, relation(fasts, rows)) == (
        2,
        {"participants": 5, "joins": 70, "leaves": 900},
    )
    cohorts = datasets.RETENTION_COHORTS
    rows = [
        row(cohorts, 0, total_users=5, active_users=5),
        row(cohorts, 1, total_users=1, active_users=2),
    ]
    assert check_rows(cohorts, relation(cohorts, rows)) == (
        2,
        {"active_users": 7, "more_active_than_total": 1},
    )


@pytest.mark.parametrize(
    "change",
    [
        pytest.param("* exclude (count)", id="missing"),
        pytest.param("*, 1 as more", id="more"),
        pytest.param("count, date", id="order"),
        pytest.param("date, count as counts", id="name"),
    ],
)
def test_other_columns(change: str) -> None:
    dataset = datasets.NEW_USERS
    changed = relation(dataset, [row(dataset, 0)]).project(change)
    with pytest.raises(DataQualityError) as caught:
        check_rows(dataset, changed)
    message = str(caught.value)
    assert message.startswith("dataset new_users_over_time breaks its contract: columns [")
    assert f"columns {changed.columns}, expected ['date', 'count']" in message
    assert "include/sql/metrics/new_users_over_time.sql" in message


WRONG_COLUMNS = [
    pytest.param(dataset, column, wrong, id=f"{dataset.name}.{column.name}-{wrong}")
    for dataset in datasets.TABLES
    for column in dataset.columns
    for wrong in (
        *((f"enum{column.values}",) if column.values else ()),
        *WRONG_SQL_TYPES[column.type],
    )
]


@pytest.mark.parametrize(("dataset", "column", "wrong"), WRONG_COLUMNS)
def test_a_column_of_another_type(dataset: Dataset, column: Column, wrong: str) -> None:
    found = relation(dataset, [row(dataset, 1)])
    columns = (
        f"null::{wrong} as {each.name}" if each is column else each.name for each in dataset.columns
    )
    found = found.project(", ".join(columns))
    [told_type] = [str(each) for each in found.project(f'"{column.name}"').types]
    assert breaches(dataset, found) == [
        f"column {column.name} has type {told_type}, expected {column.type}"
    ]


def test_integers_of_both_widths_are_integers() -> None:
    dataset = datasets.FASTS
    found = relation(dataset, [row(dataset, 1)], {"fast_id": "integer", "participants": "bigint"})
    assert check_rows(dataset, found)[0] == 1


@pytest.mark.parametrize(("dataset", "column"), COLUMNS)
def test_null(dataset: Dataset, column: Column) -> None:
    rows = [row(dataset, 1), row(dataset, 2, **{column.name: None})]
    if column.nullable:
        assert check_rows(dataset, relation(dataset, rows))[0] == 2
    else:
        assert breaches(dataset, relation(dataset, rows)) == [
            f"column {column.name} is null in 1 row"
        ]


def test_what_may_be_null() -> None:
    """The catalogue says so of these alone: what else is missing is a breach."""
    assert {
        (dataset.name, column.name)
        for dataset in datasets.TABLES
        for column in dataset.columns
        if column.nullable
    } == {
        ("user_activity_timeline", "target_type"),
        ("user_activity_timeline", "target_id"),
        ("user_fast_participation", "joined_at"),
        ("user_fast_participation", "left_at"),
    }


@pytest.mark.parametrize(("dataset", "column"), COLUMNS)
def test_bounds(dataset: Dataset, column: Column) -> None:
    """A bound itself is kept, the next number beyond it is not."""
    numbers = (Type.INTEGER, Type.NUMBER)
    assert (column.minimum is not None) == (column.type in numbers)
    beyond = 1 if column.type is Type.INTEGER else 0.01
    bounds = (("below", column.minimum, -beyond), ("above", column.maximum, beyond))
    for side, bound, step in bounds:
        if bound is None:
            continue
        kept = relation(dataset, [row(dataset, 1, **{column.name: bound})])
        assert check_rows(dataset, kept)[0] == 1
        rows = [row(dataset, n, **{column.name: bound + step * (n > 1)}) for n in (1, 2, 3)]
        found = breaches(dataset, relation(dataset, rows))
        assert f"column {column.name} {side} {bound} in 2 rows" in found
        repeated = [breach for breach in found if breach.startswith("key ")]
        assert len(found) == 1 + len(repeated)


def test_the_only_maximum() -> None:
    dataset = datasets.RETENTION_COHORTS
    rows = [row(dataset, 1, retention_rate=100.0), row(dataset, 2, retention_rate=100.01)]
    assert breaches(dataset, relation(dataset, rows)) == [
        "column retention_rate above 100 in 1 row"
    ]


def test_an_unknown_value() -> None:
    dataset = datasets.USER_FAST_PARTICIPATION
    known = [row(dataset, n, status=status) for n, status in enumerate(("active", "left"))]
    unknown = [row(dataset, n + 2, status=status) for n, status in enumerate(("", "Left", "gone"))]
    assert breaches(dataset, relation(dataset, known + unknown)) == [
        "column status unknown value in 3 rows"
    ]


NUMBERS = [
    pytest.param(dataset, column, id=f"{dataset.name}.{column.name}")
    for dataset in datasets.TABLES
    for column in dataset.columns
    if column.type is Type.NUMBER
]


@pytest.mark.parametrize("number", ["nan", "inf", "-inf"])
@pytest.mark.parametrize(("dataset", "column"), NUMBERS)
def test_no_finite_number(dataset: Dataset, column: Column, number: str) -> None:
    rows = [row(dataset, 1), row(dataset, 2, **{column.name: float(number)})]
    assert breaches(dataset, relation(dataset, rows)) == [
        f"column {column.name} no finite number in 1 row"
    ]


@pytest.mark.parametrize("count", [-1, None])
def test_a_wrong_count(count: int | None) -> None:
    dataset = datasets.USER_ACTIVITY
    rows = [
        row(dataset, 1, by_type={"event": 1, "milestone": count}),
        row(dataset, 2, by_type={"milestone": count, "event": count}),
        row(dataset, 3, by_type={"event": 0}),
        row(dataset, 4, by_type={}),
    ]
    assert breaches(dataset, relation(dataset, rows)) == [
        "column by_type a count that is no whole number from 0 up in 2 rows"
    ]


def test_no_date_is_after_the_end() -> None:
    """Days and the Mondays of cohorts; what else has a time may be of any."""
    dated = [
        (dataset, column)
        for dataset in datasets.TABLES
        for column in dataset.columns
        if column.type is Type.DATE
    ]
    assert [(dataset.name, column.name) for dataset, column in dated] == [
        ("new_users_over_time", "date"),
        ("retention_cohorts", "cohort_start_date"),
    ]
    for dataset, column in dated:
        days = [END - timedelta(1), END, END + timedelta(1), END + timedelta(7)]
        rows = [row(dataset, n, **{column.name: day}) for n, day in enumerate(days)]
        found = relation(dataset, rows)
        assert check_rows(dataset, found, END + timedelta(7))[0] == 4
        assert breaches(dataset, found) == [
            f"column {column.name} after the period's end in 2 rows"
        ]


@pytest.mark.parametrize("dataset", datasets.TABLES, ids=lambda dataset: dataset.name)
def test_a_repeated_key(dataset: Dataset) -> None:
    rows = [row(dataset, number) for number in (1, 1, 2, 2, 2, 3)]
    if dataset.key:
        assert breaches(dataset, relation(dataset, rows)) == [
            f"key {', '.join(dataset.key)} repeated in 3 rows"
        ]
    else:
        assert check_rows(dataset, relation(dataset, rows))[0] == 6


def test_a_key_of_two_columns_is_the_pair() -> None:
    pairs = replace(datasets.FASTS, key=("fast_id", "church_name"))
    apart = [row(pairs, 1), row(pairs, 1, church_name="another"), row(pairs, 2)]
    assert check_rows(pairs, relation(pairs, apart))[0] == 3
    assert breaches(pairs, relation(pairs, [*apart, row(pairs, 2)])) == [
        "key fast_id, church_name repeated in 1 row"
    ]


def test_every_breach_is_told_and_no_value() -> None:
    dataset = datasets.USER_FAST_PARTICIPATION
    rows = [
        row(dataset, 1, user_id=-4711, username=None, status="secret"),
        row(dataset, 2, user_id=-4712, email=None),
    ]
    assert breaches(dataset, relation(dataset, rows)) == [
        "column user_id below 0 in 2 rows",
        "column username is null in 1 row",
        "column email is null in 1 row",
        "column status unknown value in 1 row",
    ]


def example(parts: tuple[Part, ...]) -> dict[str, Any]:
    """An object as these parts describe it, each list with two rows."""
    values: dict[Type, Any] = {Type.INTEGER: 2, Type.NUMBER: 0.5, Type.STRING: "text"}
    content: dict[str, Any] = {}
    for part in parts:
        match part:
            case Group(name=name, parts=inner):
                content[name] = example(inner)
            case Values(columns=columns):
                content |= {column.name: values[column.type] for column in columns}
            case MeanGap(column=column):
                content[column.name] = values[column.type]
            case Rows(name=name, columns=columns):
                content[name] = [
                    {column.name: values[column.type] for column in columns} for _ in range(2)
                ]
            case Counts(name=name):
                content[name] = {"one": 1, "none": 0}
    return content


def values_of(
    parts: tuple[Part, ...], path: tuple[str | int, ...] = ()
) -> Iterator[tuple[tuple[str | int, ...], Column]]:
    """Every value of the object with the way to it; of a list the second row."""
    for part in parts:
        match part:
            case Group(name=name, parts=inner):
                yield from values_of(inner, (*path, name))
            case Values(columns=columns):
                yield from (((*path, column.name), column) for column in columns)
            case MeanGap(column=column):
                yield (*path, column.name), column
            case Rows(name=name, columns=columns):
                yield from (((*path, name, 1, column.name), column) for column in columns)


def counts_of(parts: tuple[Part, ...], path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """The way to each object of counts."""
    for part in parts:
        match part:
            case Group(name=name, parts=inner):
                yield from counts_of(inner, (*path, name))
            case Counts(name=name):
                yield (*path, name)


def dotted(path: Sequence[str | int]) -> str:
    return ".".join(part for part in path if isinstance(part, str))


def changed(path: Sequence[str | int], value: Any) -> dict[str, Any]:
    """An object that keeps its contract but for the value at `path`."""
    content = example(datasets.OTHER_METRICS.parts)
    holder: Any = content
    for step in path[:-1]:
        holder = holder[step]
    holder[path[-1]] = value
    return content


def object_breaches(content: Mapping[str, Any]) -> list[str]:
    """What check_object finds broken."""
    with pytest.raises(DataQualityError) as caught:
        contracts.check_object(datasets.OTHER_METRICS, content)
    return told(caught.value, "other_metrics")


VALUES = [
    pytest.param(path, column, id=dotted(path))
    for path, column in values_of(datasets.OTHER_METRICS.parts)
]
COUNTS = [pytest.param(path, id=dotted(path)) for path in counts_of(datasets.OTHER_METRICS.parts)]
# Null where the event does not tell it.
NULLABLE = {
    f"engagement_patterns.tutorial_videos.top_videos.{name}" for name in ("video_id", "title")
}


def test_an_object_that_keeps_its_contract() -> None:
    contracts.check_object(datasets.OTHER_METRICS, example(datasets.OTHER_METRICS.parts))


def test_an_object_with_nothing_to_tell() -> None:
    content = example(datasets.OTHER_METRICS.parts)
    content["events_by_type"] = {}
    content["top_fasts_by_joins"] = []
    content["active_users"] = 0
    content["screen_views"]["avg_per_user"] = 0.0
    contracts.check_object(datasets.OTHER_METRICS, content)


@pytest.mark.parametrize(("path", "column"), VALUES)
def test_null_in_an_object(path: tuple[str | int, ...], column: Column) -> None:
    if dotted(path) in NULLABLE:
        contracts.check_object(datasets.OTHER_METRICS, changed(path, None))
    else:
        assert object_breaches(changed(path, None)) == [f"{dotted(path)} is null"]


@pytest.mark.parametrize(("path", "column"), VALUES)
def test_a_value_of_another_type_in_an_object(path: tuple[str | int, ...], column: Column) -> None:
    wrong = {Type.INTEGER: 2.0, Type.NUMBER: 2, Type.STRING: 2}
    assert object_breaches(changed(path, wrong[column.type])) == [
        f"{dotted(path)} is no {column.type}"
    ]


@pytest.mark.parametrize(("path", "column"), VALUES)
def test_a_value_below_its_bound_in_an_object(path: tuple[str | int, ...], column: Column) -> None:
    if column.type is Type.STRING:
        assert column.minimum is None
        return
    below = {Type.INTEGER: -1, Type.NUMBER: -0.01}[column.type]
    assert object_breaches(changed(path, below)) == [f"{dotted(path)} below 0"]


@pytest.mark.parametrize("number", ["nan", "inf", "-inf"])
@pytest.mark.parametrize(("path", "column"), VALUES)
def test_no_finite_number_in_an_object(
    path: tuple[str | int, ...], column: Column, number: str
) -> None:
    told = "no finite number" if column.type is Type.NUMBER else f"no {column.type}"
    assert object_breaches(changed(path, float(number))) == [f"{dotted(path)} is {told}"]


@pytest.mark.parametrize(
    ("value", "breach"),
    [
        ({"share": 100.0, "status": "left"}, None),
        ({"share": 100.01, "status": "left"}, "whole.share above 100"),
        ({"share": -0.01, "status": "left"}, "whole.share below 0"),
        ({"share": 1.0, "status": "secret"}, "whole.status unknown value"),
        ({"share": True, "status": "left"}, "whole.share is no number"),
    ],
)
def test_the_other_bounds_in_an_object(value: dict[str, Any], breach: str | None) -> None:
    """No value of the report's object has them today."""
    columns = (
        Column("share", Type.NUMBER, "A share.", minimum=0, maximum=100),
        Column("status", Type.STRING, "A status.", values=("active", "left")),
    )
    group = Group("other", "An object.", (Group("whole", "One.", (Values("whole", columns),)),))
    if breach is None:
        contracts.check_object(group, {"whole": value})
        return
    with pytest.raises(DataQualityError) as caught:
        contracts.check_object(group, {"whole": value})
    assert told(caught.value, "other") == [breach]


def test_a_truth_is_no_integer_in_an_object() -> None:
    assert object_breaches(changed(("active_users",), True)) == ["active_users is no integer"]


@pytest.mark.parametrize("count", [-1, 1.0, "1", None, True, float("nan")])
@pytest.mark.parametrize("path", COUNTS)
def test_a_wrong_count_in_an_object(path: tuple[str, ...], count: object) -> None:
    assert object_breaches(changed(path, {"one": 1, "wrong": count})) == [
        f"{dotted(path)} has a count that is no whole number from 0 up"
    ]


def test_every_breach_of_an_object_is_told() -> None:
    content = example(datasets.OTHER_METRICS.parts)
    content["active_users"] = None
    content["top_fasts_by_joins"][0]["joins"] = -1
    content["top_fasts_by_joins"][1]["joins"] = "secret"
    content["screen_views"]["daily_timeline"] = {"2026-01-01": -1}
    assert object_breaches(content) == [
        "active_users is null",
        "top_fasts_by_joins.joins below 0",
        "top_fasts_by_joins.joins is no integer",
        "screen_views.daily_timeline has a count that is no whole number from 0 up",
    ]


MEASURES: dict[str, dict[str, int]] = {
    "new_users_over_time": {},
    "fasts": {"participants": 4, "joins": 7, "leaves": 5},
    "user_activity": {"total_items": 30},
    "user_activity_timeline": {},
    "user_fast_participation": {"active": 4},
    "retention_cohorts": {"active_users": 9, "more_active_than_total": 0},
    "other_metrics": {"active_users": 9, "joins": 7, "leaves": 5},
}
ROWS = {
    "new_users_over_time": 31,
    "fasts": 3,
    "user_activity": 9,
    "user_activity_timeline": 30,
    "user_fast_participation": 12,
    "retention_cohorts": 5,
    "other_metrics": 1,
    "activities": 30,
}


def test_the_catalogue_measures_what_must_agree() -> None:
    """other_metrics, an object, is measured where it is computed."""
    assert {name: set(measures) for name, measures in MEASURES.items()} == {
        **{dataset.name: set(dataset.measures) for dataset in datasets.TABLES},
        "other_metrics": {"active_users", "joins", "leaves"},
    }


def agree(**changes: int) -> None:
    """Holds datasets that agree but for `changes`, by `dataset__measure` or the rows' name."""
    measures, rows = deepcopy(MEASURES), dict(ROWS)
    for name, value in changes.items():
        dataset, _, measure = name.partition("__")
        held = measures[dataset] if measure else rows
        assert (measure or dataset) in held
        held[measure or dataset] = value
    contracts.check_agreement(measures, rows)


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({}, id="exactly"),
        pytest.param({"retention_cohorts__active_users": 8}, id="cohorts"),
        pytest.param({"fasts__joins": 6}, id="joins"),
        pytest.param({"fasts__leaves": 0}, id="leaves"),
    ],
)
def test_datasets_that_agree(changes: dict[str, int]) -> None:
    agree(**changes)


PROMISES = {
    "timeline, fewer": (
        {"user_activity_timeline": 29},
        "user_activity_timeline has 29 rows, the extract 30 activities",
    ),
    "timeline, more": (
        {"user_activity_timeline": 31},
        "user_activity_timeline has 31 rows, the extract 30 activities",
    ),
    "items, fewer": (
        {"user_activity__total_items": 29},
        "total_items of user_activity add up to 29, the extract has 30 activities",
    ),
    "items, more": (
        {"user_activity__total_items": 31},
        "total_items of user_activity add up to 31, the extract has 30 activities",
    ),
    "active users, fewer": (
        {"user_activity": 10},
        "other_metrics counts 9 active users, user_activity has 10 rows",
    ),
    "active users, more": (
        {"user_activity": 8},
        "other_metrics counts 9 active users, user_activity has 8 rows",
    ),
    "participants, fewer": (
        {"fasts__participants": 3},
        "participants of fasts add up to 3, user_fast_participation has 4 active spells",
    ),
    "participants, more": (
        {"fasts__participants": 5},
        "participants of fasts add up to 5, user_fast_participation has 4 active spells",
    ),
    "a week": (
        {"retention_cohorts__more_active_than_total": 1},
        "retention_cohorts has 1 week with more active users than users",
    ),
    "cohorts": (
        {"retention_cohorts__active_users": 10},
        "active users of retention_cohorts add up to 10, other_metrics counts 9",
    ),
    "joins": (
        {"fasts__joins": 8},
        "joins of fasts add up to 8, other_metrics counts 7 join events",
    ),
    "leaves": (
        {"fasts__leaves": 6},
        "leaves of fasts add up to 6, other_metrics counts 5 leave events",
    ),
}


ONE = {
    "user_activity_timeline": 1,
    "activities": 1,
    "user_activity": 1,
    "other_metrics__active_users": 1,
    "user_fast_participation__active": 1,
    "other_metrics__joins": 1,
    "other_metrics__leaves": 1,
}


def disagreements(**changes: int) -> list[str]:
    with pytest.raises(DataQualityError) as caught:
        agree(**changes)
    start, _, rest = str(caught.value).partition(": ")
    found, separator, advice = rest.partition("; nothing is published: ")
    assert start == "the datasets do not agree"
    assert separator
    assert "run again from the extract" in advice
    return found.split("; ")


@pytest.mark.parametrize(("changes", "breach"), PROMISES.values(), ids=PROMISES.keys())
def test_a_broken_promise(changes: dict[str, int], breach: str) -> None:
    assert disagreements(**changes) == [breach]


def test_all_promises_broken_at_once() -> None:
    changes = {
        name: value
        for promise, (broken, _) in PROMISES.items()
        if not promise.endswith("fewer")
        for name, value in broken.items()
    }
    assert len(disagreements(**changes)) == 8


def test_one_is_told_as_one() -> None:
    assert disagreements(**{**ONE, "user_activity_timeline": 2, "user_activity": 2}) == [
        "user_activity_timeline has 2 rows, the extract 1 activity",
        "total_items of user_activity add up to 30, the extract has 1 activity",
        "other_metrics counts 1 active user, user_activity has 2 rows",
        "participants of fasts add up to 4, user_fast_participation has 1 active spell",
        "active users of retention_cohorts add up to 9, other_metrics counts 1",
        "joins of fasts add up to 7, other_metrics counts 1 join event",
        "leaves of fasts add up to 5, other_metrics counts 1 leave event",
    ]

"""Validating the extracted tables: Great Expectations suites, what they found, and the gate.

The checks see what the report sees: the period's rows, and everything else as of the period's end.
Results hold counts, never values.
"""

from __future__ import annotations

import gc
import logging
import multiprocessing
import signal
import tempfile
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq

from engagement import queries
from engagement.datasets import ACTIVITY_TYPES
from engagement.errors import DataQualityError, EngagementError
from engagement.period import Period
from engagement.session import open_session
from engagement.settings import Settings
from engagement.text_table import aligned, counted

if TYPE_CHECKING:
    import pandas as pd

Severity = Literal["critical", "warning"]
Status = Literal["passed", "warned", "failed", "skipped"]

SCHEMA_VERSION = 1
EVENT_CATEGORIES = ("analytics", "milestone", "notification", "system_event", "user_action")

_EARLIEST_DATE = datetime(2000, 1, 1, tzinfo=UTC)
_MEMORY_LIMIT_MB = 200
_LARGE_ROWS = 100_000


@dataclass(frozen=True, slots=True)
class Column:
    """One column of an extracted table, as the extract writes it."""

    name: str
    type: str
    nullable: bool = False


_INT, _BIGINT, _TEXT, _INSTANT = "int32", "int64", "string", "timestamp[us, tz=UTC]"
_INTEGERS = (_INT, _BIGINT)
# Keys that the datasets show, with a contract that they are 0 or more.
_SHOWN_KEYS = {("users", "id"), ("fasts", "id")}
_SHOWN_REFERENCES = {"user_id", "fast_id", "object_id"}

TABLES: Mapping[str, tuple[Column, ...]] = {
    "users": (
        Column("id", _INT),
        Column("username", _TEXT),
        Column("email", _TEXT),
        Column("date_joined", _INSTANT),
    ),
    "churches": (Column("id", _BIGINT), Column("name", _TEXT)),
    "fasts": (
        Column("id", _BIGINT),
        Column("name", _TEXT),
        Column("year", _INT, nullable=True),
        Column("church_id", _BIGINT),
    ),
    "memberships": (
        Column("id", _BIGINT),
        Column("user_id", _INT),
        Column("fast_id", _BIGINT),
    ),
    "event_types": (Column("id", _BIGINT), Column("code", _TEXT), Column("category", _TEXT)),
    "content_types": (Column("id", _INT), Column("app_label", _TEXT), Column("model", _TEXT)),
    "membership_events": (
        Column("id", _BIGINT),
        Column("event_type_id", _BIGINT),
        Column("user_id", _INT, nullable=True),
        Column("fast_id", _INT),
        Column("timestamp", _INSTANT),
    ),
    "events": (
        Column("id", _BIGINT),
        Column("event_type_id", _BIGINT),
        Column("user_id", _INT, nullable=True),
        Column("timestamp", _INSTANT),
        Column("screen", _TEXT, nullable=True),
    ),
    "video_views": (
        Column("id", _BIGINT),
        Column("video_id", _TEXT, nullable=True),
        Column("title", _TEXT, nullable=True),
    ),
    "previous_period": (
        Column("active_users", _BIGINT),
        Column("screen_views", _BIGINT),
        Column("first_screen_view", _INSTANT, nullable=True),
        Column("first_activity", _INSTANT, nullable=True),
    ),
    "activities": (
        Column("id", _BIGINT),
        Column("user_id", _INT),
        Column("activity_type", _TEXT),
        Column("created_at", _INSTANT),
        Column("title", _TEXT),
        Column("description", _TEXT),
        Column("content_type_id", _INT, nullable=True),
        Column("object_id", _INT, nullable=True),
    ),
}


@dataclass(frozen=True, slots=True)
class Check:
    """What one expectation found: how many of the evaluated rows are not as expected."""

    table: str
    name: str
    columns: tuple[str, ...]
    severity: Severity
    description: str
    success: bool
    unexpected: int
    evaluated: int

    def as_json(self) -> dict[str, Any]:
        """The check as `data_quality.json` holds it."""
        return {
            "table": self.table,
            "check": self.name,
            "columns": list(self.columns),
            "severity": self.severity,
            "success": self.success,
            "unexpected": self.unexpected,
            "evaluated": self.evaluated,
            "description": self.description,
        }


@dataclass(frozen=True, slots=True)
class QualityResult:
    """The checks of one snapshot and period, in the order of the suites."""

    status: Status
    period: Period
    rows: Mapping[str, int] = field(default_factory=dict)
    checks: tuple[Check, ...] = ()

    @classmethod
    def skipped(cls, period: Period) -> QualityResult:
        """The result of not validating."""
        return cls("skipped", period)

    @classmethod
    def of(cls, period: Period, rows: Mapping[str, int], checks: list[Check]) -> QualityResult:
        """The result of `checks`: failed by a critical one, warned by any other."""
        severities = {check.severity for check in checks if not check.success}
        status: Status = (
            "failed" if "critical" in severities else "warned" if severities else "passed"
        )
        return cls(status, period, rows, tuple(checks))

    @classmethod
    def of_json(cls, document: Mapping[str, Any]) -> QualityResult:
        """The result that `as_json` gave as `document`."""
        checks = tuple(
            Check(
                check["table"],
                check["check"],
                tuple(check["columns"]),
                check["severity"],
                check["description"],
                check["success"],
                check["unexpected"],
                check["evaluated"],
            )
            for check in document["checks"]
        )
        period = Period.parse(**document["period"])
        return cls(document["status"], period, document["rows"], checks)

    def failures(self, severity: Severity) -> list[Check]:
        """The checks of `severity` that did not succeed."""
        return [c for c in self.checks if c.severity == severity and not c.success]

    def as_json(self) -> dict[str, Any]:
        """The document `data_quality.json`: a function of the data, the period and the suites."""
        return {
            "schema_version": SCHEMA_VERSION,
            "status": self.status,
            "period": self.period.as_dict(),
            "summary": {
                "checks": len(self.checks),
                "passed": sum(check.success for check in self.checks),
                "warnings": len(self.failures("warning")),
                "failures": len(self.failures("critical")),
            },
            "rows": dict(self.rows),
            "checks": [check.as_json() for check in self.checks],
        }

    def log_table(self) -> str:
        """What was found as plain text: failures, then warnings, then each table's counts."""
        failures, warnings = self.failures("critical"), self.failures("warning")
        days = f"{self.period.start} to {self.period.end} ({self.period.timezone})"
        summary = f"Data quality of {days}: {self.status}"
        if not self.checks:
            return summary
        summary += (
            f"; {counted(len(self.checks), 'check')}, {len(failures)} critical failed, "
            f"{counted(len(warnings), 'warning')}"
        )
        lines = [summary]
        if failures or warnings:
            found = [
                (
                    "CRITICAL" if check.severity == "critical" else "warning",
                    check.table,
                    check.name,
                    ", ".join(check.columns),
                    f"{check.unexpected:,}",
                    f"{check.evaluated:,}",
                    check.description,
                )
                for check in failures + warnings
            ]
            titles = ("severity", "table", "check", "columns", "unexpected", "of", "expected")
            lines += ["", *aligned([titles, *found])]
        counts = [
            (
                table,
                f"{self.rows[table]:,}" if table in self.rows else "-",
                str(sum(check.table == table for check in self.checks)),
                str(sum(check.table == table for check in failures)),
                str(sum(check.table == table for check in warnings)),
            )
            for table in dict.fromkeys(check.table for check in self.checks)
        ]
        header = ("table", "rows", "checks", "critical", "warnings")
        return "\n".join([*lines, "", *aligned([header, *counts])])


def gate(result: QualityResult) -> None:
    """Raise DataQualityError, naming every critical failure, where there is one."""
    failures = result.failures("critical")
    if not failures:
        return
    named = ", ".join(
        f"{check.name} of {check.table}"
        + (f" ({'+'.join(check.columns)})" if check.columns else "")
        + f": {check.unexpected:,} of {check.evaluated:,}"
        for check in failures
    )
    advice = (
        "compare the app's tables with the extract's queries"
        if any(check.name == "columns_and_types" for check in failures)
        else "correct these rows in the app's database"
    )
    raise DataQualityError(
        f"the data breaks {counted(len(failures), 'critical expectation')}: {named}; "
        f"nothing is published: {advice}, then run the report again"
    )


@dataclass(frozen=True, slots=True)
class _Expectation:
    """One expectation of a suite: a Great Expectations class and its arguments.

    `columns` are the table's columns that it is about; the frame may hold them as a flag.
    """

    name: str
    columns: tuple[str, ...]
    severity: Severity
    description: str
    type: str
    arguments: Mapping[str, Any]


def _not_null(column: str, severity: Severity = "critical") -> _Expectation:
    return _Expectation(
        "not_null",
        (column,),
        severity,
        f"{column} is never missing",
        "ExpectColumnValuesToNotBeNull",
        {"column": column},
    )


def _unique(*columns: str) -> _Expectation:
    kind, arguments = (
        ("ExpectColumnValuesToBeUnique", {"column": columns[0]})
        if len(columns) == 1
        else ("ExpectCompoundColumnsToBeUnique", {"column_list": list(columns)})
    )
    return _Expectation(
        "unique",
        columns,
        "critical",
        f"no two rows share {' and '.join(columns)}",
        kind,
        arguments,
    )


def _not_negative(table: str, column: str) -> _Expectation:
    shown = column in _SHOWN_REFERENCES or (table, column) in _SHOWN_KEYS
    return _Expectation(
        "not_negative",
        (column,),
        "critical" if shown else "warning",
        f"{column} is 0 or more",
        "ExpectColumnValuesToBeBetween",
        {"column": column, "min_value": 0},
    )


def _accepted(column: str, values: tuple[str, ...], description: str) -> _Expectation:
    return _Expectation(
        "accepted_values",
        (column,),
        "warning",
        description,
        "ExpectColumnValuesToBeInSet",
        {"column": column, "value_set": list(values)},
    )


def _between(
    name: str, column: str, severity: Severity, description: str, **bounds: Any
) -> _Expectation:
    return _Expectation(
        name,
        (column,),
        severity,
        description,
        "ExpectColumnValuesToBeBetween",
        {"column": column, **bounds},
    )


def _in_period(column: str, period: Period) -> _Expectation:
    return _between(
        "in_period",
        column,
        "critical",
        f"{column} lies in the period",
        min_value=period.start_instant,
        max_value=period.end_instant,
        strict_max=True,
    )


def _holds(
    flag: str, name: str, columns: tuple[str, ...], severity: Severity, description: str
) -> _Expectation:
    return _Expectation(
        name,
        columns,
        severity,
        description,
        "ExpectColumnValuesToBeInSet",
        {"column": flag, "value_set": [True]},
    )


def _relationship(column: str, table: str) -> _Expectation:
    return _holds(
        f"{column.removesuffix('_id')}_exists",
        "relationship",
        (column,),
        "critical",
        f"{column} is the id of a row of {table}",
    )


def _suite(table: str, period: Period) -> list[_Expectation]:
    """The expectations of the frame that `include/sql/quality/<table>.sql` gives."""
    columns = TABLES[table]
    return [
        *(
            _not_null(column.name)
            for column in columns
            # A member as of the end may have left the membership table since.
            if not column.nullable and (table, column.name) != ("memberships", "id")
        ),
        # One row of counts has no key.
        *([_unique("id")] if any(column.name == "id" for column in columns) else []),
        *(
            _not_negative(table, column.name)
            for column in columns
            if column.type in _INTEGERS and column.name.endswith("id")
        ),
        *_SUITES[table](period),
    ]


def _users(period: Period) -> list[_Expectation]:
    return [
        _between(
            "plausible_date",
            "date_joined",
            "warning",
            "nobody registered before the year 2000",
            min_value=_EARLIEST_DATE,
        ),
        _between(
            "registered_first",
            "date_joined",
            "warning",
            "who appears in the report registered before the period's end",
            max_value=period.end_instant,
            strict_max=True,
        ),
    ]


def _churches(_: Period) -> list[_Expectation]:
    return []


def _fasts(_: Period) -> list[_Expectation]:
    return [
        _relationship("church_id", "churches"),
        _between(
            "plausible_date",
            "year",
            "warning",
            "the year, where there is one, is 1900 to 2200",
            min_value=1900,
            max_value=2200,
        ),
    ]


def _memberships(_: Period) -> list[_Expectation]:
    return [
        _holds("keyed", "not_null", ("id",), "critical", "id is never missing"),
        _unique("user_id", "fast_id"),
        _relationship("user_id", "users"),
        _relationship("fast_id", "fasts"),
        _holds(
            "joined",
            "has_join_event",
            ("user_id", "fast_id"),
            "warning",
            "every member as of the end has a join event",
        ),
    ]


def _event_types(_: Period) -> list[_Expectation]:
    return [
        _unique("code"),
        _accepted("category", EVENT_CATEGORIES, "category is one that the app knows"),
    ]


def _content_types(_: Period) -> list[_Expectation]:
    return [_unique("app_label", "model")]


def _membership_events(_: Period) -> list[_Expectation]:
    return [
        _relationship("event_type_id", "event_types"),
        _holds(
            "joins_or_leaves",
            "accepted_values",
            ("event_type_id",),
            "critical",
            "the event is a join or a leave",
        ),
        _relationship("user_id", "users"),
        _holds(
            "in_events",
            "relationship",
            ("id",),
            "critical",
            "a join or leave event of the period is one of the period's events",
        ),
        _between(
            "plausible_date",
            "timestamp",
            "warning",
            "nobody joined or left before the year 2000",
            min_value=_EARLIEST_DATE,
        ),
        _not_null("user_id", "warning"),
        _holds(
            "holds",
            "joined_is_member",
            ("user_id", "fast_id"),
            "warning",
            "who joined a fast that exists left it later or is a member as of the end",
        ),
    ]


def _events(period: Period) -> list[_Expectation]:
    return [
        _in_period("timestamp", period),
        _relationship("event_type_id", "event_types"),
        _relationship("user_id", "users"),
        _holds(
            "user_known",
            "has_user",
            ("user_id",),
            "warning",
            "an event of a type that a user causes has a user",
        ),
    ]


def _video_views(_: Period) -> list[_Expectation]:
    return [
        _holds(
            "in_events",
            "relationship",
            ("id",),
            "critical",
            "a viewing of a video is one of the period's events",
        ),
    ]


def _previous_period(_: Period) -> list[_Expectation]:
    return [
        _between("not_negative", count, "critical", f"{count} is 0 or more", min_value=0)
        for count in ("active_users", "screen_views")
    ]


def _activities(period: Period) -> list[_Expectation]:
    return [
        _in_period("created_at", period),
        _relationship("user_id", "users"),
        _relationship("content_type_id", "content_types"),
        _accepted("activity_type", ACTIVITY_TYPES, "activity_type is one that the app knows"),
    ]


_SUITES = {
    "users": _users,
    "churches": _churches,
    "fasts": _fasts,
    "memberships": _memberships,
    "event_types": _event_types,
    "content_types": _content_types,
    "membership_events": _membership_events,
    "events": _events,
    "video_views": _video_views,
    "previous_period": _previous_period,
    "activities": _activities,
}

_NO_GAP = _Expectation(
    "no_gap",
    ("timestamp",),
    "warning",
    "every day between the first and the last one with events has some",
    "ExpectColumnValuesToBeBetween",
    {"column": "events", "min_value": 1},
)


def validate(tables: Path, period: Period, settings: Settings) -> QualityResult:
    """The checks of the Parquet files in `tables`, a few columns in memory at a time.

    Where a table is not as the extract writes it, columns and types are all that is checked.
    Raises DataQualityError where a file cannot be read.
    """
    run = _runner()
    checks = _structure_checks(tables, run)
    if not all(check.success for check in checks):
        return QualityResult.of(period, {}, checks)
    rows: dict[str, int] = {}
    with tempfile.TemporaryDirectory(prefix="engagement-quality-") as scratch:
        frames = Path(scratch)
        _write_frames(tables, frames, period, settings)
        for table in TABLES:
            frame = frames / f"{table}.parquet"
            rows[table] = pq.read_metadata(frame).num_rows
            checks += _checks(table, _suite(table, period), frame, run)
        checks += _checks("events", [_NO_GAP], frames / "days.parquet", run)
    order = list(TABLES)
    checks.sort(key=lambda check: order.index(check.table))
    return QualityResult.of(period, rows, checks)


def validate_apart(tables: Path, period: Period, settings: Settings) -> QualityResult:
    """`validate` in a process of its own, which gives back all memory when it ends.

    Raises EngagementError where that process is ended from outside.
    """
    with ProcessPoolExecutor(
        1, multiprocessing.get_context("spawn"), initializer=_end_when_interrupted
    ) as pool:
        try:
            # A process that has only begun would tell of an interrupt with a traceback.
            before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
            result = pool.submit(validate, tables, period, settings)
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
            return result.result()
        except BrokenProcessPool:
            raise EngagementError(
                "checking the extracted tables was ended from outside: check whether the machine "
                "has run out of memory, then run again"
            ) from None
        except BaseException:
            for process in multiprocessing.active_children():
                process.terminate()
            raise


def _end_when_interrupted() -> None:
    """Who waits for this process tells of the interrupt."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})


def _structure_checks(tables: Path, run: _Run) -> list[Check]:
    """Whether each file has the columns of the extract; names those of them that it has not.

    One frame holds them all, a pair of columns for each table: a run has its own cost.
    """
    import pandas as pd

    expected = {
        table: {column.name: column.type for column in columns} for table, columns in TABLES.items()
    }
    found = {table: _columns(tables, table) for table in TABLES}
    names = {table: list(dict.fromkeys((*expected[table], *found[table]))) for table in TABLES}
    sides = {"expected": expected, "found": found}
    frame = pd.DataFrame(
        {
            f"{table} {side}": pd.Series(
                [columns[table].get(name, "none") for name in names[table]], dtype="str"
            )
            for table in TABLES
            for side, columns in sides.items()
        }
    )
    suite = [
        _Expectation(
            "columns_and_types",
            (),
            "critical",
            "the columns and their types are those of the extract",
            "ExpectColumnPairValuesToBeEqual",
            {
                "column_A": f"{table} expected",
                "column_B": f"{table} found",
                "ignore_row_if": "both_values_are_missing",
            },
        )
        for table in TABLES
    ]
    return [
        replace(
            check,
            table=table,
            columns=tuple(n for n, kind in expected[table].items() if found[table].get(n) != kind),
            evaluated=len(names[table]),
        )
        for table, check in zip(TABLES, run("structure", suite, frame), strict=True)
    ]


def _columns(tables: Path, table: str) -> dict[str, str]:
    """The columns of a file with their types; none where there is no file."""
    path = tables / f"{table}.parquet"
    try:
        return {f.name: str(f.type) for f in pq.read_schema(path)} if path.exists() else {}
    except (pa.ArrowInvalid, OSError):
        raise _unreadable(table) from None


def _checks(table: str, suite: list[_Expectation], frame: Path, run: _Run) -> list[Check]:
    """The checks of the file `frame`; of a large one, only a few columns are read at a time.

    Measured: Great Expectations takes seven times the memory of the columns that it is given.
    """
    file = pq.ParquetFile(frame)
    text = [field.name for field in file.schema_arrow if pa.types.is_string(field.type)]
    large = file.metadata.num_rows > _LARGE_ROWS
    places: dict[tuple[str, ...], list[int]] = {}
    for place, expectation in enumerate(suite):
        arguments = expectation.arguments
        columns = arguments.get("column_list", [arguments.get("column")])
        places.setdefault(tuple(columns if large else file.schema_arrow.names), []).append(place)
    checks: dict[int, Check] = {}
    for columns, of_columns in places.items():
        data = pq.read_table(frame, columns=list(columns), read_dictionary=text).to_pandas()
        found = run(table, [suite[place] for place in of_columns], data)
        checks.update(zip(of_columns, found, strict=True))
        if large:
            # Great Expectations holds its copies in cycles.
            del data
            gc.collect()
    return [checks[place] for place in range(len(suite))]


def _unreadable(table: str) -> DataQualityError:
    return DataQualityError(
        f"the extracted table {table} cannot be read: expected a Parquet file as the extract "
        "writes it; extract again"
    )


def _write_frames(tables: Path, frames: Path, period: Period, settings: Settings) -> None:
    """Writes what each query in `include/sql/quality` gives to `frames`, as Parquet."""
    with open_session(
        "checking the extracted tables",
        tables,
        period,
        threads=settings.threads,
        memory_limit_mb=min(settings.memory_limit_mb, _MEMORY_LIMIT_MB),
    ) as session:
        # The order of the rows is no matter to a check, and keeping it takes memory.
        session.connection.execute("set preserve_insertion_order = false")
        for name in queries.names("quality"):
            query = session.query(f"quality/{name}")
            session.connection.execute(
                f"copy ({query}) to $path (format parquet)",
                {**session.bound(query), "path": str(frames / f"{name}.parquet")},
            )


_Run = Callable[[str, list[_Expectation], "pd.DataFrame"], list[Check]]


def _runner() -> _Run:
    """A function that holds a frame against expectations, as one Great Expectations suite."""
    # It tells of each of its own functions, two hundred lines before the first finding.
    logging.getLogger("great_expectations").setLevel(logging.WARNING)
    import great_expectations as gx
    from great_expectations import expectations
    from great_expectations.data_context.types.base import ProgressBarsConfig

    context = gx.get_context(mode="ephemeral")
    context.enable_analytics(False)
    context.variables.progress_bars = ProgressBarsConfig(globally=False)

    def run(table: str, suite: list[_Expectation], frame: pd.DataFrame) -> list[Check]:
        # A data source keeps the frame and the metrics of its columns: one for each frame.
        source = context.data_sources.add_pandas(table)
        whole = source.add_dataframe_asset(table).add_batch_definition_whole_dataframe(table)
        batch = whole.get_batch(batch_parameters={"dataframe": frame})
        result = batch.validate(
            gx.ExpectationSuite(
                name=table,
                expectations=[
                    getattr(expectations, expectation.type)(
                        **expectation.arguments,
                        severity=expectation.severity,
                        notes=expectation.description,
                        meta={"place": place},
                    )
                    for place, expectation in enumerate(suite)
                ],
            ),
            result_format={"result_format": "BASIC", "partial_unexpected_count": 0},
        )
        context.data_sources.delete(table)
        found: dict[int, Any] = {}
        for one in result.results:
            configuration: Any = one.expectation_config
            found[configuration.meta["place"]] = one
        return [
            _check(table, expectation, found[place], len(frame))
            for place, expectation in enumerate(suite)
        ]

    return run


def _check(table: str, expectation: _Expectation, found: Any, evaluated: int) -> Check:
    # An expectation that raised has no counts, and what it raised may quote the data.
    if "unexpected_count" not in found.result:
        raise DataQualityError(
            f"the check {expectation.name} of {table} could not be evaluated: expected the columns "
            "and types of the extract; extract again"
        )
    return Check(
        table,
        expectation.name,
        expectation.columns,
        expectation.severity,
        expectation.description,
        bool(found.success),
        int(found.result["unexpected_count"]),
        evaluated,
    )

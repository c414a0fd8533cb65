"""Everything that the report's page and its summary say, gathered once from a report's datasets.

Counts and the names of fasts: nothing here is of one person.
"""

from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from pyarrow import parquet

from engagement import queries
from engagement.datasets import (
    FASTS,
    NEW_USERS,
    OTHER_METRICS,
    RETENTION_COHORTS,
    Dataset,
    Format,
    Type,
)
from engagement.event_kinds import JOINED, LEFT
from engagement.period import Period
from engagement.quality import QualityResult
from engagement.session import Session, open_session, tables_read

DATASETS = (NEW_USERS.name, FASTS.name, RETENTION_COHORTS.name, OTHER_METRICS.name)
"""The datasets that the facts are taken from; the large ones are not read."""

_THREADS = 1
_MEMORY_LIMIT_MB = 200
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_QUARTER = timedelta(minutes=15)


@dataclass(frozen=True, slots=True)
class Change:
    """A count of the period and of the previous one; None where the data does not reach back."""

    now: int
    before: int | None

    @property
    def difference(self) -> int | None:
        """How many more than before."""
        return None if self.before is None else self.now - self.before

    @property
    def percent(self) -> float | None:
        """The difference in percent of what was before; None where that is nothing."""
        return 100 * (self.now - self.before) / self.before if self.before else None


@dataclass(frozen=True, slots=True)
class Fast:
    """A fast that exists: members as of the period's end, join and leave events of the period."""

    id: int
    name: str
    church: str
    participants: int
    joins: int
    leaves: int


@dataclass(frozen=True, slots=True)
class Cohort:
    """Users by the week of their registration; `rate` is the percent active in the period."""

    week: str
    monday: date
    users: int
    active: int
    rate: float
    age_weeks: int


@dataclass(frozen=True, slots=True)
class Facts:
    """What a report tells without telling of anybody.

    `registrations` and `screen_views` have every day of the period, `cohorts` come newest first,
    `top_fasts` are pairs of the id of a fast, which can be gone, and its join events. `hours` are
    the activities by weekday, Monday first, and hour in the report time zone. `patterns` is that
    part of `other_metrics`.
    """

    period: Period
    new_users: Change
    active_users: Change
    joins: Change
    leaves: Change
    screen_views: Change
    registrations: tuple[tuple[date, int], ...]
    screen_views_by_day: tuple[tuple[date, int], ...]
    fasts: tuple[Fast, ...]
    top_fasts: tuple[tuple[int, int], ...]
    cohorts: tuple[Cohort, ...]
    hours: tuple[tuple[int, ...], ...]
    patterns: Mapping[str, Any]
    quality: QualityResult

    @property
    def activities(self) -> int:
        """Activities of the period."""
        return sum(map(sum, self.hours))

    @property
    def weekdays(self) -> tuple[int, ...]:
        """How many days of each weekday the period has, Monday first."""
        found = Counter(day.weekday() for day, _ in self.registrations)
        return tuple(found[weekday] for weekday in range(7))


def tables() -> set[str]:
    """The extracted tables that facts are gathered from."""
    return tables_read(f"page/{name}" for name in queries.names("page"))


def gather(
    tables: Path,
    data: Path,
    files: Mapping[str, str],
    file_format: Format,
    period: Period,
    quality: QualityResult,
) -> Facts:
    """The facts of a report.

    `tables` holds the extracted tables, `data` the datasets, whose files `files` names. Raises
    EngagementError where DuckDB fails.
    """

    def read(dataset: Dataset) -> list[dict[str, Any]]:
        return _read(data / files[dataset.name], dataset, file_format)

    metrics = json.loads((data / files[OTHER_METRICS.name]).read_text(encoding="utf-8"))
    with open_session(
        "gathering the facts of the page",
        tables,
        period,
        threads=_THREADS,
        memory_limit_mb=_MEMORY_LIMIT_MB,
    ) as session:
        found = {name: _rows(session, name) for name in queries.names("page")}
    [registered] = found["previous_registrations"]
    [previous] = found["previous_period"]
    flow = {row["code"]: row for row in found["flow"]}
    names = {row["fast_id"]: row for row in found["fast_names"]}

    def change(now: int, before: int, data_from_us: int | None) -> Change:
        reaches_back = (
            period.previous is not None
            and data_from_us is not None
            and data_from_us <= (period.previous_start_instant - _EPOCH) // timedelta.resolution
        )
        return Change(now, before if reaches_back else None)

    def first(*codes: str) -> int | None:
        return min((flow[code]["first_event_us"] for code in codes if code in flow), default=None)

    def events(code: str, data_from_us: int | None) -> Change:
        counts = flow.get(code, {"events": 0, "previous_events": 0})
        return change(counts["events"], counts["previous_events"], data_from_us)

    registrations = tuple((row["date"], row["count"]) for row in read(NEW_USERS))
    views = metrics["screen_views"]
    return Facts(
        period=period,
        new_users=change(
            sum(count for _, count in registrations),
            registered["registrations"],
            registered["first_registration_us"],
        ),
        active_users=change(
            metrics["active_users"], previous["active_users"], previous["first_activity_us"]
        ),
        joins=events(JOINED, first(JOINED)),
        # Nobody can leave before somebody joins: from the first join on, no leaves are none.
        leaves=events(LEFT, first(JOINED, LEFT)),
        screen_views=change(
            views["total"], previous["screen_views"], previous["first_screen_view_us"]
        ),
        registrations=registrations,
        screen_views_by_day=tuple(
            (date.fromisoformat(day), count) for day, count in views["daily_timeline"].items()
        ),
        fasts=tuple(
            Fast(
                row["fast_id"],
                names[row["fast_id"]]["fast_name"],
                names[row["fast_id"]]["church_name"],
                row["participants"],
                row["joins_in_period"],
                row["leaves_in_period"],
            )
            for row in read(FASTS)
        ),
        top_fasts=tuple((row["fast_id"], row["joins"]) for row in metrics["top_fasts_by_joins"]),
        cohorts=tuple(
            Cohort(
                row["cohort_week"],
                row["cohort_start_date"],
                row["total_users"],
                row["active_users"],
                row["retention_rate"],
                row["cohort_age_weeks"],
            )
            for row in read(RETENTION_COHORTS)
        ),
        hours=_by_hour(found["activity_by_quarter"], period.zone),
        patterns=metrics["engagement_patterns"],
        quality=quality,
    )


def _rows(session: Session, name: str) -> list[dict[str, Any]]:
    query = session.query(f"page/{name}")
    result = session.connection.execute(query, session.bound(query))
    columns = [column[0] for column in result.description]
    return [dict(zip(columns, row, strict=True)) for row in result.fetchall()]


def _read(path: Path, dataset: Dataset, file_format: Format) -> list[dict[str, Any]]:
    """The rows of a small dataset, typed alike whatever the format."""
    rows: Iterable[Mapping[str, Any]]
    if file_format is Format.PARQUET:
        rows = parquet.read_table(path).to_pylist()
    elif file_format is Format.JSON:
        rows = json.loads(path.read_text(encoding="utf-8"))
    else:
        with path.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
    types: dict[Type, Callable[[Any], Any]] = {
        Type.INTEGER: int,
        Type.NUMBER: float,
        Type.DATE: lambda cell: date.fromisoformat(str(cell)),
        Type.STRING: str,
    }
    return [
        {column.name: types[column.type](row[column.name]) for column in dataset.columns}
        for row in rows
    ]


def _by_hour(quarters: Iterable[Mapping[str, int]], zone: ZoneInfo) -> tuple[tuple[int, ...], ...]:
    hours = [[0] * 24 for _ in range(7)]
    for row in quarters:
        local = (_EPOCH + row["quarter"] * _QUARTER).astimezone(zone)
        hours[local.weekday()][local.hour] += row["activities"]
    return tuple(map(tuple, hours))

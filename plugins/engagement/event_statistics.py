"""Statistics of all events, of a user and of a fast.

Functions over a connection that `event_reader.reading` opens. Every time is in UTC, days are those
of the report time zone, and a window of some hours before `now` holds `now` and not its other end.
Nothing reads the clock.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

import psycopg

from engagement import queries
from engagement.event_counts import (
    FAST_DAYS,
    TREND_DAYS,
    ClosedDays,
    ClosedFastDays,
    Counts,
    Stretch,
    added_up,
    count_fast,
    count_stretches,
    fast_target,
)
from engagement.event_kinds import JOINED, LEFT, Kind
from engagement.event_reader import FAST, Catalogue, fetch
from engagement.period import Day, Period, local_date, parse_timezone

_TOP, _RECENT, _MILESTONES = 10, 10, 500
_INSTANT = timedelta.resolution
_DAY = timedelta(days=1)
_FASTS = {"fasts": "events/fasts"}
_MILESTONE_EVENTS = {"with_threshold": "api/with_threshold"}


@dataclass(frozen=True, slots=True)
class DayCount:
    """The events of a day."""

    day: date
    events: int


@dataclass(frozen=True, slots=True)
class TypeCount:
    """The events of a type."""

    event_type: str
    events: int


@dataclass(frozen=True, slots=True)
class EventTypeCount:
    """An event type, and how many events of it there are."""

    code: str
    name: str
    category: str
    events: int


@dataclass(frozen=True, slots=True)
class EventTypes:
    """Every event type, by code. Days before today were counted at `counted_at`, later ones now."""

    counted_at: datetime
    event_types: list[EventTypeCount]


@dataclass(frozen=True, slots=True)
class JoinsAndLeaves:
    """The joins and leaves of a day, as their events tell them."""

    day: date
    joins: int
    leaves: int


@dataclass(frozen=True, slots=True)
class UserMilestone:
    """A milestone that a user reached."""

    kind: str
    reached_at: datetime


@dataclass(frozen=True, slots=True)
class FastMilestone:
    """A fast had so many participants; `threshold` is None where the event tells none."""

    threshold: int | None
    reached_at: datetime


@dataclass(frozen=True, slots=True)
class RecentFastMilestone:
    """The same, with the fast; `fast` is None where it is gone."""

    fast_id: int | None
    fast: str | None
    threshold: int | None
    reached_at: datetime


@dataclass(frozen=True, slots=True)
class UserMilestoneCount:
    """How many users reached a milestone of a kind on a day."""

    day: date
    kind: str
    users: int


@dataclass(frozen=True, slots=True)
class RecentMilestones:
    """The newest ten milestones of fasts; those of users in the last days, by day and kind.

    The newest come first.
    """

    fasts: list[RecentFastMilestone]
    users: list[UserMilestoneCount]


@dataclass(frozen=True, slots=True)
class Statistics:
    """How many events there are, of all time and before `at`.

    Days before the one of `counted_at` were counted then, later ones at `at`. The ten types with
    the most events are those of the last 30 days. `events_by_day`, `joins_and_leaves` and the
    milestones of users are those of today and the 29 days before it.
    """

    at: datetime
    counted_at: datetime
    timezone: str
    total: int
    last_24_hours: int
    last_7_days: int
    last_30_days: int
    top_event_types: list[TypeCount]
    events_by_day: list[DayCount]
    joins_and_leaves: list[JoinsAndLeaves]
    recent_milestones: RecentMilestones


@dataclass(frozen=True, slots=True)
class UserStatistics:
    """The events and milestones of a user; types with the most events first."""

    user_id: int
    at: datetime
    total: int
    last_24_hours: int
    last_7_days: int
    last_30_days: int
    first_at: datetime | None
    last_at: datetime | None
    event_types: list[TypeCount]
    milestones: list[UserMilestone]


@dataclass(frozen=True, slots=True)
class FastStatistics:
    """The members of a fast, and its joins and leaves as their events tell them.

    Days before the one of `counted_at` were counted then, later ones at `at`. `by_day` holds the
    days with any of them in the year up to the newest event about the fast.
    """

    fast_id: int
    fast: str
    at: datetime
    counted_at: datetime
    timezone: str
    participants: int
    joins: int
    leaves: int
    milestones: list[FastMilestone]
    by_day: list[JoinsAndLeaves]


def event_types(connection: psycopg.Connection, closed: ClosedDays) -> EventTypes:
    """Every event type with the number of its events of all time."""
    live = Stretch(closed.until, None)
    counts = added_up([*closed.counts.values(), count_stretches(connection, [live])[live]])
    catalogue = Catalogue.read(connection)
    return EventTypes(
        closed.counted_at,
        [
            EventTypeCount(one.code, one.name, one.category, counts[one.id])
            for one in catalogue.event_types.values()
        ],
    )


def statistics(
    connection: psycopg.Connection, closed: ClosedDays, timezone: str, now: datetime
) -> Statistics:
    """The statistics of all events, out of the closed days and what is counted now."""
    catalogue = Catalogue.read(connection)
    zone = parse_timezone(timezone)
    now = max(now, closed.counted_at)
    windows = _windows(now)
    today = local_date(now, zone)
    days = Period(today - (TREND_DAYS - 1) * _DAY, today, timezone).days
    # What is newer is cut where a day or a window begins, and where the windows end.
    cuts = {*windows.values(), now + _INSTANT, *(day.start for day in days)}
    live = _cut(closed.until, None, cuts)
    edges = [
        Stretch(start, stretch.end)
        for stretch in closed.counts
        for start in windows.values()
        if (stretch.start or start) < start < (stretch.end or start)
    ]
    counted = count_stretches(connection, [*live, *edges])
    pieces = {**closed.counts, **{stretch: counted[stretch] for stretch in live}}

    def within(start: datetime, end: datetime) -> Counts:
        whole = [
            counts
            for stretch, counts in pieces.items()
            if stretch.start and stretch.end and start <= stretch.start and stretch.end <= end
        ]
        return added_up([*whole, *(counted[edge] for edge in edges if edge.start == start)])

    by_day = {day.date: within(day.start, day.end) for day in days}
    by_window = {name: within(start, now + _INSTANT) for name, start in windows.items()}
    join, leave = catalogue.event_type_id(JOINED), catalogue.event_type_id(LEFT)
    return Statistics(
        at=now,
        counted_at=closed.counted_at,
        timezone=timezone,
        total=added_up(pieces.values()).total(),
        **{name: counts.total() for name, counts in by_window.items()},
        top_event_types=_type_counts(catalogue, by_window["last_30_days"])[:_TOP],
        events_by_day=[DayCount(day, counts.total()) for day, counts in by_day.items()],
        joins_and_leaves=[
            JoinsAndLeaves(day, counts[join] if join else 0, counts[leave] if leave else 0)
            for day, counts in by_day.items()
        ],
        recent_milestones=_recent_milestones(connection, catalogue, days, now),
    )


def _windows(now: datetime) -> dict[str, datetime]:
    """The first instant of each window that ends at `now`."""
    days = {"last_24_hours": 1, "last_7_days": 7, "last_30_days": 30}
    return {name: now - count * _DAY + _INSTANT for name, count in days.items()}


def _cut(start: datetime, end: datetime | None, cuts: set[datetime]) -> list[Stretch]:
    inner = sorted(cut for cut in cuts if start < cut and (end is None or cut < end))
    bounds = [start, *inner, end]
    return [Stretch(bounds[n], bounds[n + 1]) for n in range(len(bounds) - 1)]


def _type_counts(catalogue: Catalogue, counts: Counts) -> list[TypeCount]:
    """The most events first."""
    told = [TypeCount(catalogue.event_types[key].code, number) for key, number in counts.items()]
    return sorted(told, key=lambda one: (-one.events, one.event_type))


def _recent_milestones(
    connection: psycopg.Connection, catalogue: Catalogue, days: Sequence[Day], now: datetime
) -> RecentMilestones:
    fasts = fetch(
        connection,
        queries.over({**_FASTS, **_MILESTONE_EVENTS}, "api/recent_fast_milestones"),
        {
            "event_type_id": catalogue.event_type_id(Kind.PARTICIPANT_MILESTONES.event_type),
            "content_type_id": catalogue.content_type_id(FAST),
            "page_size": _RECENT,
        },
    )
    users = fetch(
        connection,
        queries.read("api/recent_user_milestones"),
        {
            "starts": [day.start for day in days],
            "until": now + _INSTANT,
            "page_size": _MILESTONES,
        },
    )
    return RecentMilestones(
        [RecentFastMilestone(**row) for row in fasts],
        [UserMilestoneCount(days[row["day"] - 1].date, row["kind"], row["users"]) for row in users],
    )


def has_user(connection: psycopg.Connection, user_id: int) -> bool:
    """Whether there is a user of this id."""
    return bool(fetch(connection, queries.read("api/user"), {"user_id": user_id}))


def user_statistics(
    connection: psycopg.Connection, user_id: int, now: datetime
) -> UserStatistics | None:
    """The statistics of a user, where there is one."""
    if not has_user(connection, user_id):
        return None
    catalogue = Catalogue.read(connection)
    windows = _windows(now)
    rows = fetch(
        connection,
        queries.read("api/user_event_counts"),
        {"user_id": user_id, **windows, "now": now},
    )
    milestones = fetch(
        connection,
        queries.read("api/user_milestones"),
        {"user_id": user_id, "page_size": _MILESTONES},
    )
    return UserStatistics(
        user_id=user_id,
        at=now,
        total=sum(row["events"] for row in rows),
        **{name: sum(row[name] for row in rows) for name in windows},
        first_at=min((row["first_at"] for row in rows), default=None),
        last_at=max((row["last_at"] for row in rows), default=None),
        event_types=_type_counts(
            catalogue, Counts({row["event_type_id"]: row["events"] for row in rows})
        ),
        milestones=[UserMilestone(**row) for row in milestones],
    )


def has_fast(connection: psycopg.Connection, fast_id: int) -> bool:
    """Whether there is a fast of this id."""
    return _fast(connection, fast_id) is not None


def _fast(connection: psycopg.Connection, fast_id: int) -> dict[str, Any] | None:
    rows = fetch(connection, queries.over(_FASTS, "api/fast"), {"fast_id": fast_id})
    return rows[0] if rows else None


def fast_statistics(
    connection: psycopg.Connection,
    closed: ClosedFastDays,
    timezone: str,
    fast_id: int,
    now: datetime,
) -> FastStatistics | None:
    """The statistics of a fast, where there is one, out of its closed days and what is new."""
    catalogue = Catalogue.read(connection)
    fast = _fast(connection, fast_id)
    if fast is None:
        return None
    target = fast_target(catalogue, fast_id)
    zone = parse_timezone(timezone)
    now = max(now, closed.counted_at)
    today = Period(local_date(closed.until, zone), local_date(now, zone), timezone)
    live = count_fast(connection, target, today, Stretch(closed.until, None))
    days = {day for day in (*closed.counts, *live) if day is not None}
    first = max(days, default=today.end) - (FAST_DAYS - 1) * _DAY
    join, leave = (catalogue.event_type_id(code) or 0 for code in (JOINED, LEFT))
    by_day = {
        day: added_up([closed.counts.get(day, Counts()), live.get(day, Counts())]) for day in days
    }
    total = added_up([*closed.counts.values(), *live.values()])
    milestones = fetch(
        connection,
        queries.over(_MILESTONE_EVENTS, "api/fast_milestones"),
        {
            **target,
            "event_type_id": catalogue.event_type_id(Kind.PARTICIPANT_MILESTONES.event_type),
            "page_size": _MILESTONES,
        },
    )
    return FastStatistics(
        fast_id=fast_id,
        fast=fast["fast"],
        at=now,
        counted_at=closed.counted_at,
        timezone=timezone,
        participants=fast["participants"],
        joins=total[join],
        leaves=total[leave],
        milestones=[FastMilestone(**row) for row in milestones],
        by_day=[
            JoinsAndLeaves(day, counts[join], counts[leave])
            for day, counts in sorted(by_day.items())
            if day >= first and (counts[join] or counts[leave])
        ],
    )

"""Numbers of events by type: those of days that are over are kept, for they take seconds to count.

Days are those of the report time zone. Nothing reads the clock.
"""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any, Generic, Protocol, TypeVar

import psycopg

from engagement import queries
from engagement.app_database import Address
from engagement.errors import EngagementError, TemporaryError, one_line
from engagement.event_reader import FAST, Catalogue, connected, fetch, reading, set_parameters
from engagement.period import Period, first_instant, local_date, parse_timezone
from engagement.settings import Settings

log = logging.getLogger(__name__)

TREND_DAYS = 30
"""So many days a trend of all events has, with the day of `now`."""
FAST_DAYS = 366
"""So many days a trend of a fast has, at most, with the day of its newest event."""

_FASTS_AHEAD = 50
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_DAY = timedelta(days=1)
_RENEW_AFTER, _TOO_OLD = timedelta(hours=1), timedelta(days=3)

Counts = Counter[int]
"""Events by the id of their type."""


@dataclass(frozen=True, slots=True)
class Stretch:
    """The time from `start` until before `end`; None is without bound."""

    start: datetime | None
    end: datetime | None


@dataclass(frozen=True, slots=True)
class ClosedDays:
    """The events before the day of `counted_at`, as they were counted then.

    One stretch is all time before the days that a trend can show; then each day is one.
    """

    counted_at: datetime
    until: datetime
    counts: Mapping[Stretch, Counts]


@dataclass(frozen=True, slots=True)
class ClosedFastDays:
    """The events of a fast before the day of `counted_at`, as they were counted then, by day.

    None is the day of those that are older than the year up to the newest one.
    """

    counted_at: datetime
    until: datetime
    counts: Mapping[date | None, Counts]


class _Counted(Protocol):
    @property
    def counted_at(self) -> datetime: ...


_T = TypeVar("_T", bound=_Counted)


class _Cache(Generic[_T]):
    """What was counted last, by key; one thread at a time counts for a key."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._lock = threading.Lock()
        self._counting: dict[object, threading.Lock] = {}
        self._counted: dict[object, _T] = {}

    def get(self, key: object, now: datetime, count: Callable[[], _T], wait: float) -> _T:
        """What was counted in the last hour, or earlier, while a thread counts anew.

        Waits for `count` where nothing was in the last three days; where another thread counts,
        so many seconds: then it raises TemporaryError.
        """
        with self._lock:
            counting = self._counting.setdefault(key, threading.Lock())
        counted = self._fresh(key, now)
        if counted is None:
            if not counting.acquire(timeout=wait):
                raise TemporaryError("the events are still being counted: try again in a minute")
            try:
                # Whoever held it has perhaps counted.
                counted = self._fresh(key, now)
                return self._keep(key, count()) if counted is None else counted
            finally:
                counting.release()
        if now - counted.counted_at > _RENEW_AFTER and counting.acquire(blocking=False):
            threading.Thread(
                target=self._renew,
                args=(key, counting, count),
                name="engagement-count",
                daemon=True,
            ).start()
        return counted

    def _fresh(self, key: object, now: datetime) -> _T | None:
        counted = self._counted.get(key)
        return counted if counted and now - counted.counted_at <= _TOO_OLD else None

    def _keep(self, key: object, counted: _T) -> _T:
        with self._lock:
            # The newest last.
            self._counted.pop(key, None)
            self._counted[key] = counted
            for oldest in list(self._counted)[: -self._size]:
                del self._counted[oldest]
                self._counting.pop(oldest, None)
        return counted

    def _renew(self, key: object, counting: threading.Lock, count: Callable[[], _T]) -> None:
        try:
            self._keep(key, count())
        except EngagementError as error:
            log.warning("events were not counted anew: %s", one_line(error))
        finally:
            counting.release()

    def forget(self) -> None:
        """Nothing is counted."""
        with self._lock:
            self._counted.clear()


_all_events = _Cache[ClosedDays](16)
_fasts = _Cache[ClosedFastDays](1000)


def forget_closed_days() -> None:
    """Whatever was counted is counted anew when somebody asks."""
    _all_events.forget()
    _fasts.forget()


def closed_days(address: Address, settings: Settings, now: datetime) -> ClosedDays:
    """The closed days of the last hour, or older ones while a thread counts anew.

    Waits where there are none of the last three days. Raises ConfigurationError, TemporaryError or
    EngagementError.
    """
    return _all_events.get(
        (address.conninfo, settings.timezone),
        now,
        lambda: _count_closed_days(address, settings, now),
        settings.api_timeout_seconds,
    )


def _count_closed_days(address: Address, settings: Settings, now: datetime) -> ClosedDays:
    zone = parse_timezone(settings.timezone)
    today = local_date(now, zone)
    # More than a trend shows: a window begins in the day before, or two where clocks change.
    days = Period(today - (TREND_DAYS + 3) * _DAY, today - _DAY, settings.timezone).days
    stretches = [Stretch(None, days[0].start), *(Stretch(day.start, day.end) for day in days)]
    with connected(address, settings) as connection:
        counts = count_stretches(connection, stretches)
    return ClosedDays(now, days[-1].end, counts)


def count_stretches(
    connection: psycopg.Connection, stretches: Sequence[Stretch]
) -> dict[Stretch, Counts]:
    """The events of each stretch, counted now."""
    counts = {stretch: Counts() for stretch in stretches}
    for row in fetch(
        connection,
        queries.read("api/event_counts"),
        {
            "starts": [stretch.start for stretch in stretches],
            "ends": [stretch.end for stretch in stretches],
        },
    ):
        if row["events"]:
            counts[stretches[row["number"] - 1]][row["event_type_id"]] = row["events"]
    return counts


def closed_fast_days(
    address: Address, settings: Settings, fast_id: int, now: datetime
) -> ClosedFastDays:
    """The same of a fast's events, whether there is such a fast or not."""
    return _fasts.get(
        (address.conninfo, settings.timezone, fast_id),
        now,
        lambda: _count_closed_fast_days(address, settings, fast_id, now),
        settings.api_timeout_seconds,
    )


def count_ahead(address: Address, settings: Settings, now: datetime) -> None:
    """Counts the closed days of all events and of the newest fasts, before anybody asks for them.

    Raises what `closed_days` does.
    """
    closed_days(address, settings, now)
    with reading(address, settings) as connection:
        newest = fetch(connection, queries.read("api/newest_fasts"), {"page_size": _FASTS_AHEAD})
    for row in newest:
        closed_fast_days(address, settings, row["fast_id"], now)


def fast_target(catalogue: Catalogue, fast_id: int) -> dict[str, Any]:
    """What a query binds that reads the events about a fast."""
    return {"content_type_id": catalogue.content_type_id(FAST), "fast_id": fast_id}


def _count_closed_fast_days(
    address: Address, settings: Settings, fast_id: int, now: datetime
) -> ClosedFastDays:
    zone = parse_timezone(settings.timezone)
    until = first_instant(local_date(now, zone), zone)
    with connected(address, settings) as connection:
        target = fast_target(Catalogue.read(connection), fast_id)
        newest = fetch(connection, queries.read("api/fast_newest"), {**target, "end": until})[0]
        last = local_date(max(newest["at"] or until, _EPOCH + FAST_DAYS * _DAY), zone)
        days = Period(last - (FAST_DAYS - 1) * _DAY, last, settings.timezone)
        # Each page of the table once, and read ahead: in the order of the index it can take twice
        # as long where they are not in memory.
        set_parameters(connection, {"enable_indexscan": "off"})
        counts = count_fast(connection, target, days, Stretch(None, until))
    return ClosedFastDays(now, until, counts)


def count_fast(
    connection: psycopg.Connection, target: Mapping[str, Any], days: Period, stretch: Stretch
) -> dict[date | None, Counts]:
    """The events of a fast in a stretch, by the days of a period; None for all that are not."""
    rows = fetch(
        connection,
        queries.read("api/fast_days"),
        {
            **target,
            "start": stretch.start,
            "end": stretch.end,
            "starts": [*(day.start for day in days.days), days.end_instant],
        },
    )
    dates = [None, *(day.date for day in days.days), None]
    counts: dict[date | None, Counts] = {}
    for row in rows:
        counts.setdefault(dates[row["day"]], Counts())[row["event_type_id"]] += row["events"]
    return counts


def added_up(counts: Iterable[Counts]) -> Counts:
    """All of them together."""
    total = Counts()
    for one in counts:
        total.update(one)
    return total

"""What the API tells of the app's events: pages of them, all of them, and statistics.

Functions over a connection that `reading` opens. Every time is in UTC, days are those of the report
time zone, and a window of some hours before `now` holds `now` and not its other end. Addresses and
user agents of an event are never read. Nothing reads the clock.
"""

from __future__ import annotations

import base64
import binascii
import json
import logging
import math
import re
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from datetime import UTC, date, datetime, timedelta
from typing import Any, Generic, Protocol, Self, TypeVar

import psycopg
from psycopg.rows import dict_row
from psycopg.types.json import set_json_loads

from engagement import queries
from engagement.app_database import Address, transaction
from engagement.csv_cells import formula_safe, quoted
from engagement.errors import EngagementError, TemporaryError, UsageError, one_line
from engagement.event_kinds import JOINED, LEFT, Kind
from engagement.period import Day, Period, first_instant, local_date, parse_timezone
from engagement.settings import Settings

log = logging.getLogger(__name__)

FAST = "hub.fast"

MAX_PAGE = 500
WALK = 20_000
"""So many events are passed at most for one page."""

TREND_DAYS = 30
_TOP, _RECENT, _MILESTONES = 10, 10, 500
_FAST_DAYS = 366
_FASTS_AHEAD = 50
_BATCH = 5000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_INSTANT = timedelta.resolution
_DAY = timedelta(days=1)
_RENEW_AFTER, _TOO_OLD = timedelta(hours=1), timedelta(days=3)
_FASTS = {"fasts": "events/fasts"}
_MILESTONE_EVENTS = {"with_threshold": "api/with_threshold"}
_IN_TIME = {"in_time": "api/in_time"}
_NESTED = re.compile(r'"(?:[^"\\]|\\.)*"|[\[{]|[\]}]')
_MAX_DEPTH = 100
_POSITION = re.compile(r"(-?\d{1,18})\.(-?\d{1,19})", re.ASCII)


@contextmanager
def reading(address: Address, settings: Settings) -> Iterator[psycopg.Connection]:
    """A connection for somebody who waits: it, and each query, takes what the API's setting allows.

    Raises ConfigurationError, TemporaryError or EngagementError for whatever the database says.
    """
    seconds = settings.api_timeout_seconds
    hurried = settings.model_copy(
        update={"connect_timeout_seconds": min(settings.connect_timeout_seconds, seconds)}
    )
    with _connection(address, hurried) as connection:
        _set(connection, {"statement_timeout": f"{seconds}s"})
        try:
            yield connection
        except psycopg.errors.QueryCanceled:
            raise TemporaryError(
                f"a query of the view or the API ran longer than its {seconds} s: try again when "
                "the database is less busy, or raise ENGAGEMENT_API_TIMEOUT_SECONDS"
            ) from None


@contextmanager
def _connection(address: Address, settings: Settings) -> Iterator[psycopg.Connection]:
    snapshot = psycopg.IsolationLevel.REPEATABLE_READ
    with transaction(
        address, settings, "engagement-api", read_only=True, isolation=snapshot
    ) as connection:
        set_json_loads(_load_json, connection)
        # Compiling a query would take longer than what it saves.
        _set(connection, {"timezone": "UTC", "jit": "off"})
        yield connection


def _set(connection: psycopg.Connection, parameters: Mapping[str, str]) -> None:
    """Sets parameters of the server, until the transaction ends."""
    connection.execute(
        "select set_config(name, value, true)"
        " from unnest(%(names)s::text[], %(values)s::text[]) as parameter (name, value)",
        {"names": [*parameters], "values": [*parameters.values()]},
    )


def _number(digits: str) -> float | str:
    """A number, or the text that it is where no double holds it, as most readers of JSON need."""
    if not math.isfinite(float(digits)):
        return digits
    return int(digits) if digits.lstrip("-").isdigit() else float(digits)


_decode = json.JSONDecoder(parse_float=_number, parse_int=_number).decode
_encode = json.JSONEncoder(ensure_ascii=False).encode


def _load_json(stored: str | bytes) -> Any:
    """Any JSON; the text itself where it is nested deeper than most writers of JSON can follow."""
    text = stored if isinstance(stored, str) else stored.decode()
    return _decode(text) if _depth(text) <= _MAX_DEPTH else text


def _depth(text: str) -> int:
    if text.count("[") + text.count("{") <= _MAX_DEPTH:
        return 0
    depth = deepest = 0
    for mark in _NESTED.findall(text):
        if mark in "[{":
            depth += 1
            deepest = max(deepest, depth)
        elif mark in "]}":
            depth -= 1
    return deepest


def _rows(
    connection: psycopg.Connection, query: str, parameters: Mapping[str, object] | None = None
) -> list[dict[str, Any]]:
    return connection.cursor(row_factory=dict_row).execute(query, parameters).fetchall()


@dataclass(frozen=True, slots=True)
class EventType:
    """One type of event."""

    id: int
    code: str
    name: str
    category: str


@dataclass(frozen=True, slots=True)
class Catalogue:
    """The event types and content types that the app knows, by id."""

    event_types: Mapping[int, EventType]
    content_types: Mapping[int, str]

    @classmethod
    def read(cls, connection: psycopg.Connection) -> Self:
        """As they are in the database."""
        types = [EventType(**row) for row in _rows(connection, queries.read("api/event_types"))]
        content = _rows(connection, queries.read("api/content_types"))
        return cls({one.id: one for one in types}, {row["id"]: row["name"] for row in content})

    def event_type_id(self, code: str) -> int | None:
        """The id of the event type `code`, where there is one."""
        return next((one.id for one in self.event_types.values() if one.code == code), None)

    def content_type_id(self, name: str) -> int | None:
        """The id of the content type `app_label.model`, where there is one."""
        return next((key for key, known in self.content_types.items() if known == name), None)

    def asked_event_type_id(self, code: str) -> int:
        """The id of an event type that somebody asks for; raises UsageError naming those known."""
        found = self.event_type_id(code)
        if found is None:
            known = sorted(one.code for one in self.event_types.values())
            raise UsageError(
                f"event_type {code!r} is unknown: expected one of {', '.join(known) or 'none'}"
            )
        return found

    def asked_content_type_id(self, name: str) -> int:
        """The id of a content type that somebody asks for, as `app_label.model` or as `model`.

        Raises UsageError naming those known, or those that share the model's name.
        """
        exact = self.content_type_id(name)
        if exact is not None:
            return exact
        found = {
            key: known
            for key, known in self.content_types.items()
            if known.partition(".")[2] == name
        }
        if len(found) != 1:
            known = sorted(found.values() or self.content_types.values())
            what = "could be several" if found else "is unknown"
            raise UsageError(
                f"target_type {name!r} {what}: expected one of {', '.join(known) or 'none'}"
            )
        return next(iter(found))


@dataclass(frozen=True, slots=True)
class Event:
    """One event. `target_type` is `app_label.model`, `data` any JSON.

    Of `data`, a number that no double holds is told as text, and so is all of it where it is nested
    deeper than 100 levels.
    """

    id: int
    timestamp: datetime
    event_type: str
    user_id: int | None
    target_type: str | None
    target_id: int | None
    title: str
    description: str
    data: Any


@dataclass(frozen=True, slots=True)
class Filters:
    """Which events are asked for; raises UsageError for what makes no sense.

    `start` and `end` are days in the report time zone, both included. `event_type` is a code,
    `target_type` is `app_label.model` or `model`; `target_id` needs one.
    """

    event_type: str | None = None
    user_id: int | None = None
    target_type: str | None = None
    target_id: int | None = None
    start: date | None = None
    end: date | None = None

    def __post_init__(self) -> None:
        if self.target_id is not None and self.target_type is None:
            raise UsageError(
                f"target_id {self.target_id} is an id of nothing: expected a target_type beside it"
            )

    def bounds(self, timezone: str) -> tuple[datetime | None, datetime | None]:
        """The first instant, and the first one after; None is without bound. Raises UsageError."""
        days = [day for day in (self.start, self.end) if day is not None]
        if not days:
            return None, None
        period = Period(days[0], days[-1], timezone)
        return (
            period.start_instant if self.start is not None else None,
            period.end_instant if self.end is not None else None,
        )


@dataclass(frozen=True, slots=True)
class Position:
    """A place in the order of events, newest first: after the event `id` at `timestamp`."""

    timestamp: datetime
    id: int

    def __str__(self) -> str:
        plain = f"{(self.timestamp - _EPOCH) // _INSTANT}.{self.id}"
        return base64.urlsafe_b64encode(plain.encode()).decode().rstrip("=")

    @classmethod
    def parse(cls, text: str) -> Self:
        """The position that was told as `text`; raises UsageError for any other text."""
        try:
            padded = text + "=" * (-len(text) % 4)
            plain = base64.b64decode(padded, altchars=b"-_", validate=True).decode("ascii")
            parts = _POSITION.fullmatch(plain)
            if parts:
                position = cls(_EPOCH + int(parts[1]) * _INSTANT, int(parts[2]))
                if -(1 << 63) <= position.id < 1 << 63 and str(position) == text:
                    return position
        except (binascii.Error, ValueError, OverflowError):
            pass
        raise UsageError("cursor is none of ours: expected the `next` of a page before, unchanged")


@dataclass(frozen=True, slots=True)
class Page:
    """Some events, newest first. After them others may follow from `next` on; None: no more.

    It can hold fewer than were asked for, even none, where many events had to be passed.
    """

    events: list[Event]
    next: str | None


# The walks of `api/events`, those in the order of time first: what each binds, and the filters that
# it fulfils.
_WALKS = {
    "target": ("content_type_id", "object_id"),
    "app_user": ("user_id",),
    "event_type": ("event_type_id",),
    "everything": (),
    "content_type": ("content_type_id",),
}
_FILTERS = ("user_id", "event_type_id", "content_type_id", "object_id")


def find_events(
    connection: psycopg.Connection,
    filters: Filters,
    timezone: str,
    limit: int,
    after: Position | None = None,
) -> Page:
    """The newest events that match, or those after a position; at most `limit`.

    Raises UsageError for types that do not exist and days that cannot be.
    """
    catalogue = Catalogue.read(connection)
    asked = _asked(catalogue, filters, timezone, after)
    walk, budget = _choose_walk(connection, asked, limit + 1)
    rows = _rows(
        connection,
        queries.over(_IN_TIME, "api/events"),
        {**_bound(asked, walk), "budget": budget, "page_size": limit + 1},
    )
    matching = [row for row in rows if row["matches"]]
    last = None
    if len(matching) > limit:
        matching = matching[:limit]
        last = matching[-1]
    elif rows and rows[-1]["is_last_walked"]:
        last = rows[-1]
    return Page(
        [_event(catalogue, row) for row in matching],
        str(Position(last["timestamp"], last["id"])) if last else None,
    )


def all_events(address: Address, settings: Settings, filters: Filters) -> Iterator[list[Event]]:
    """Every event that matches, newest first, in batches; one can be empty before others follow.

    Each batch is a page, read over a connection of its own, which is closed before anybody gets
    it: however slowly they are taken, nothing stays open. It begins with the newest event of when
    it began, and no event comes twice; what is added or deleted meanwhile further down is told as
    it then is. Raises what `reading` and, before the first batch, `find_events` raise.
    """
    after = None
    while True:
        with reading(address, settings) as connection:
            page = find_events(connection, filters, settings.timezone, _BATCH, after)
        yield page.events
        if page.next is None:
            return
        after = Position.parse(page.next)


CSV_COLUMNS = tuple(column.name for column in fields(Event))
CSV_HEADER = ",".join(CSV_COLUMNS) + "\n"


def as_csv(events: Iterable[Event]) -> str:
    """A line for each event, as in the datasets: null is empty, the empty text `""`; data is JSON.

    A text that a spreadsheet would run as a formula begins with an apostrophe.
    """
    return "".join(",".join(_cells(event)) + "\n" for event in events)


def _cells(event: Event) -> Iterator[str]:
    for column in CSV_COLUMNS:
        value = getattr(event, column)
        if column == "data":
            value = _encode(value)
        if value is None:
            yield ""
        elif isinstance(value, str):
            yield quoted(formula_safe(value))
        elif isinstance(value, datetime):
            yield value.astimezone(UTC).isoformat().replace("+00:00", "Z")
        else:
            yield str(value)


def event(connection: psycopg.Connection, event_id: int) -> Event | None:
    """The event of an id, where there is one."""
    catalogue = Catalogue.read(connection)
    nothing: dict[str, Any] = dict.fromkeys((*_FILTERS, "start", "end", "after", "after_id"))
    rows = _rows(
        connection,
        queries.over(_IN_TIME, "api/events"),
        {**_bound(nothing, "everything"), "id": event_id, "budget": 1, "page_size": 1},
    )
    return _event(catalogue, rows[0]) if rows else None


def _asked(
    catalogue: Catalogue, filters: Filters, timezone: str, after: Position | None
) -> dict[str, Any]:
    start, end = filters.bounds(timezone)
    return {
        "user_id": filters.user_id,
        "event_type_id": None
        if filters.event_type is None
        else catalogue.asked_event_type_id(filters.event_type),
        "content_type_id": None
        if filters.target_type is None
        else catalogue.asked_content_type_id(filters.target_type),
        "object_id": filters.target_id,
        "start": start,
        "end": end,
        "after": after and after.timestamp,
        "after_id": after and after.id,
    }


def _choose_walk(
    connection: psycopg.Connection, asked: Mapping[str, Any], enough: int
) -> tuple[str, int]:
    """Which index to walk, and how far.

    One that fulfils all filters passes nothing in vain: as far as is `enough`. Else the one that
    passes the fewest events.
    """
    given = {name for name in _FILTERS if asked[name] is not None}
    for walk, fulfilled in _WALKS.items():
        if given == {*fulfilled} and walk != "content_type":
            return walk, enough
    row = _rows(connection, queries.over(_IN_TIME, "api/walks"), {**asked, "budget": WALK})[0]
    # Too many of a content type alone cannot be put in order.
    counts = {
        walk: row[walk]
        for walk in _WALKS
        if row[walk] is not None and (walk != "content_type" or row[walk] < WALK)
    }
    return min(counts, key=lambda walk: counts[walk]), WALK


def _bound(asked: Mapping[str, Any], walk: str) -> dict[str, Any]:
    walked = {f"walk_{name}": asked[name] if name in _WALKS[walk] else None for name in _FILTERS}
    return {"id": None, **asked, **walked}


def _event(catalogue: Catalogue, row: Mapping[str, Any]) -> Event:
    content_type_id = row["content_type_id"]
    return Event(
        id=row["id"],
        timestamp=row["timestamp"],
        event_type=catalogue.event_types[row["event_type_id"]].code,
        user_id=row["user_id"],
        target_type=None if content_type_id is None else catalogue.content_types[content_type_id],
        target_id=row["object_id"],
        title=row["title"],
        description=row["description"],
        data=row["data"],
    )


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
    with _connection(address, settings) as connection:
        counts = _count(connection, stretches)
    return ClosedDays(now, days[-1].end, counts)


def _count(connection: psycopg.Connection, stretches: Sequence[Stretch]) -> dict[Stretch, Counts]:
    counts = {stretch: Counts() for stretch in stretches}
    for row in _rows(
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


def event_types(connection: psycopg.Connection, closed: ClosedDays) -> EventTypes:
    """Every event type with the number of its events of all time."""
    live = Stretch(closed.until, None)
    counts = _sum([*closed.counts.values(), _count(connection, [live])[live]])
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
    counted = _count(connection, [*live, *edges])
    pieces = {**closed.counts, **{stretch: counted[stretch] for stretch in live}}

    def within(start: datetime, end: datetime) -> Counts:
        whole = [
            counts
            for stretch, counts in pieces.items()
            if stretch.start and stretch.end and start <= stretch.start and stretch.end <= end
        ]
        return _sum([*whole, *(counted[edge] for edge in edges if edge.start == start)])

    by_day = {day.date: within(day.start, day.end) for day in days}
    by_window = {name: within(start, now + _INSTANT) for name, start in windows.items()}
    join, leave = catalogue.event_type_id(JOINED), catalogue.event_type_id(LEFT)
    return Statistics(
        at=now,
        counted_at=closed.counted_at,
        timezone=timezone,
        total=_sum(pieces.values()).total(),
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


def _sum(counts: Iterable[Counts]) -> Counts:
    total = Counts()
    for one in counts:
        total.update(one)
    return total


def _type_counts(catalogue: Catalogue, counts: Counts) -> list[TypeCount]:
    """The most events first."""
    told = [TypeCount(catalogue.event_types[key].code, number) for key, number in counts.items()]
    return sorted(told, key=lambda one: (-one.events, one.event_type))


def _recent_milestones(
    connection: psycopg.Connection, catalogue: Catalogue, days: Sequence[Day], now: datetime
) -> RecentMilestones:
    fasts = _rows(
        connection,
        queries.over({**_FASTS, **_MILESTONE_EVENTS}, "api/recent_fast_milestones"),
        {
            "event_type_id": catalogue.event_type_id(Kind.PARTICIPANT_MILESTONES.event_type),
            "content_type_id": catalogue.content_type_id(FAST),
            "page_size": _RECENT,
        },
    )
    users = _rows(
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
    return bool(_rows(connection, queries.read("api/user"), {"user_id": user_id}))


def user_statistics(
    connection: psycopg.Connection, user_id: int, now: datetime
) -> UserStatistics | None:
    """The statistics of a user, where there is one."""
    if not has_user(connection, user_id):
        return None
    catalogue = Catalogue.read(connection)
    windows = _windows(now)
    rows = _rows(
        connection,
        queries.read("api/user_event_counts"),
        {"user_id": user_id, **windows, "now": now},
    )
    milestones = _rows(
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
    rows = _rows(connection, queries.over(_FASTS, "api/fast"), {"fast_id": fast_id})
    return rows[0] if rows else None


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
    target = _target(catalogue, fast_id)
    zone = parse_timezone(timezone)
    now = max(now, closed.counted_at)
    today = Period(local_date(closed.until, zone), local_date(now, zone), timezone)
    live = _count_fast(connection, target, today, Stretch(closed.until, None))
    days = {day for day in (*closed.counts, *live) if day is not None}
    first = max(days, default=today.end) - (_FAST_DAYS - 1) * _DAY
    join, leave = (catalogue.event_type_id(code) or 0 for code in (JOINED, LEFT))
    by_day = {
        day: _sum([closed.counts.get(day, Counts()), live.get(day, Counts())]) for day in days
    }
    total = _sum([*closed.counts.values(), *live.values()])
    milestones = _rows(
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


def count_ahead(address: Address, settings: Settings, now: datetime) -> None:
    """Counts the closed days of all events and of the newest fasts, before anybody asks for them.

    Raises what `closed_days` does.
    """
    closed_days(address, settings, now)
    with reading(address, settings) as connection:
        newest = _rows(connection, queries.read("api/newest_fasts"), {"page_size": _FASTS_AHEAD})
    for row in newest:
        closed_fast_days(address, settings, row["fast_id"], now)


def _target(catalogue: Catalogue, fast_id: int) -> dict[str, Any]:
    return {"content_type_id": catalogue.content_type_id(FAST), "fast_id": fast_id}


def _count_closed_fast_days(
    address: Address, settings: Settings, fast_id: int, now: datetime
) -> ClosedFastDays:
    zone = parse_timezone(settings.timezone)
    until = first_instant(local_date(now, zone), zone)
    with _connection(address, settings) as connection:
        target = _target(Catalogue.read(connection), fast_id)
        newest = _rows(connection, queries.read("api/fast_newest"), {**target, "end": until})[0]
        last = local_date(max(newest["at"] or until, _EPOCH + _FAST_DAYS * _DAY), zone)
        days = Period(last - (_FAST_DAYS - 1) * _DAY, last, settings.timezone)
        # Each page of the table once, and read ahead: in the order of the index it can take twice
        # as long where they are not in memory.
        _set(connection, {"enable_indexscan": "off"})
        counts = _count_fast(connection, target, days, Stretch(None, until))
    return ClosedFastDays(now, until, counts)


def _count_fast(
    connection: psycopg.Connection, target: Mapping[str, Any], days: Period, stretch: Stretch
) -> dict[date | None, Counts]:
    """The events of a fast in a stretch, by the days of a period; None for all that are not."""
    rows = _rows(
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

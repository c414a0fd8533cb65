"""Events themselves: pages of those that match, newest first, one by its id, and all as CSV.

Every time is in UTC, days are those of the report time zone. Addresses and user agents are never
read.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields
from datetime import UTC, date, datetime, timedelta
from typing import Any, Self

import psycopg

from engagement import queries
from engagement.app_database import Address
from engagement.csv_cells import formula_safe, quoted
from engagement.errors import UsageError
from engagement.event_reader import Catalogue, fetch, reading
from engagement.period import Period
from engagement.settings import Settings

MAX_PAGE = 500
WALK = 20_000
"""So many events are passed at most for one page."""

_BATCH = 5000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_INSTANT = timedelta.resolution
_IN_TIME = {"in_time": "api/in_time"}
_POSITION = re.compile(r"(-?\d{1,18})\.(-?\d{1,19})", re.ASCII)
_encode = json.JSONEncoder(ensure_ascii=False).encode


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
    rows = fetch(
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
    rows = fetch(
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
    row = fetch(connection, queries.over(_IN_TIME, "api/walks"), {**asked, "budget": WALK})[0]
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

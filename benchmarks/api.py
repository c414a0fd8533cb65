"""Measures what the API answers: connecting and writing JSON included, HTTP not."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from itertools import islice
from statistics import median
from typing import Any

import psycopg
from pydantic import TypeAdapter

from engagement import event_counts, event_pages, event_reader, event_statistics
from engagement.app_database import Address
from engagement.event_counts import ClosedDays
from engagement.event_pages import Filters, Position
from engagement.settings import Settings

BATCHES = 40
_LINE = 180
_OF_FAST = "/stats/fast/{id}"
_SETTINGS = Settings(timezone="UTC")
_LIMIT = event_pages.MAX_PAGE
# Half of a day is over, so that the windows cut days in two.
_TIME_OF_DAY = timedelta(hours=12, minutes=34)
_BIGGEST_USER = """
select user_id from events_event
where user_id is not null group by user_id order by count(*) desc, user_id limit 1
"""
_BIGGEST_FAST = """
select object_id from events_event
where
    object_id in (select id from hub_fast)
    and content_type_id in (
        select id from django_content_type where app_label = 'hub' and model = 'fast'
    )
group by object_id order by count(*) desc, object_id limit 1
"""


@dataclass(frozen=True, slots=True)
class Answer:
    """One request: its median seconds, and the plans of the queries that read events for it."""

    request: str
    seconds: float
    plans: Sequence[str]


@dataclass(frozen=True, slots=True)
class Api:
    """What was measured: every request, counting closed days, and the stream of CSV.

    The first count is one of whatever happens to be in memory, as after a start.
    """

    answers: Sequence[Answer]
    first_count_seconds: float
    closed_days_seconds: float
    closed_fast_seconds: float
    first_line_seconds: float
    lines_per_second: float


class _Explaining(psycopg.Cursor[Any]):
    """A cursor that keeps the plan of every query before it runs it."""

    plans: list[str]

    def execute(self, query: Any, params: Any = None, **options: Any) -> Any:
        super().execute(f"explain (analyze, costs off) {query}".encode(), params, **options)
        plan = "\n".join(_shortened(line) for (line,) in _plain(self))
        if any(f"{table} " in plan for table in ("on events_event", "on events_usermilestone")):
            self.plans.append(plan)
        return super().execute(query, params, **options)


def _shortened(line: str) -> str:
    """A line of a plan; what it binds can be a list of many days."""
    return line if len(line) <= _LINE else f"{line[: _LINE - 3]}..."


def _plain(cursor: psycopg.Cursor[Any]) -> Iterator[tuple[Any, ...]]:
    for row in cursor.fetchall():
        yield tuple(row.values()) if isinstance(row, dict) else row


Request = Callable[[psycopg.Connection], object]


def measure(uri: str, end: date, rounds: int) -> Api:
    """Every request, as of some hours before the end of the data's last day."""
    address = Address.parse(uri)
    now = datetime(end.year, end.month, end.day, tzinfo=UTC) + _TIME_OF_DAY
    with psycopg.connect(uri) as connection:
        user_id, fast_id = (_number(connection, query) for query in (_BIGGEST_USER, _BIGGEST_FAST))
    first_count, closed = _count_closed_days(address, now)
    closed_days_seconds = median(_count_closed_days(address, now)[0] for _ in range(rounds))
    requests = _requests(address, closed, user_id, fast_id, now)
    closed_fast_seconds = _seconds(requests[_OF_FAST], address)
    answers = [_answer(name, request, address, rounds) for name, request in requests.items()]
    first, speed = _stream(address)
    return Api(answers, first_count, closed_days_seconds, closed_fast_seconds, first, speed)


def _count_closed_days(address: Address, now: datetime) -> tuple[float, ClosedDays]:
    event_counts.forget_closed_days()
    began = time.perf_counter()
    closed = event_counts.closed_days(address, _SETTINGS, now)
    return time.perf_counter() - began, closed


def _number(connection: psycopg.Connection, query: str) -> int:
    row = connection.execute(query.encode()).fetchone()
    if row is None:
        raise AssertionError("there are no events: nothing was measured")
    return int(row[0])


def _requests(
    address: Address, closed: ClosedDays, user_id: int, fast_id: int, now: datetime
) -> Mapping[str, Request]:
    month = Filters(start=(now - timedelta(days=60)).date(), end=(now - timedelta(days=31)).date())
    user, fast = Filters(user_id=user_id), Filters(target_type="hub.fast", target_id=fast_id)
    fasts, views = Filters(target_type="hub.fast"), Filters(event_type="screen_view")
    lists = {
        "/events": Filters(),
        "/events of a month": month,
        "/events?event_type=screen_view": views,
        "/events?event_type=screen_view of a month": replace(month, event_type="screen_view"),
        "/events?event_type=fast_ending": Filters(event_type="fast_ending"),
        "/events?user_id=": user,
        "/events?user_id=&event_type=screen_view": replace(user, event_type="screen_view"),
        "/events?user_id=&event_type=fast_ending": replace(user, event_type="fast_ending"),
        "/events?target_type=hub.fast": fasts,
        "/events?target_type=learning_resources.article": Filters(
            target_type="learning_resources.article"
        ),
        "/events?target_type=hub.fast&target_id=": fast,
        "/events?target_type=hub.fast&target_id=&event_type=user_left_fast": replace(
            fast, event_type="user_left_fast"
        ),
        "/events?target_type=hub.fast&target_id=&user_id=": replace(fast, user_id=user_id),
        "/events?target_type=hub.fast&event_type=screen_view": replace(
            fasts, event_type="screen_view"
        ),
    }
    deep = Position(now - timedelta(days=45), 1)
    return {
        **{name: _listing(filters, None) for name, filters in lists.items()},
        "/events, 45 days down": _listing(Filters(), deep),
        "/events/{id}": lambda connection: event_pages.event(connection, 1),
        "/event-types": lambda connection: event_statistics.event_types(connection, closed),
        "/stats": lambda connection: event_statistics.statistics(connection, closed, "UTC", now),
        "/stats/user/{id}": lambda connection: event_statistics.user_statistics(
            connection, user_id, now
        ),
        _OF_FAST: lambda connection: event_statistics.fast_statistics(
            connection,
            event_counts.closed_fast_days(address, _SETTINGS, fast_id, now),
            "UTC",
            fast_id,
            now,
        ),
    }


def _listing(filters: Filters, after: Position | None) -> Request:
    return lambda connection: event_pages.find_events(connection, filters, "UTC", _LIMIT, after)


def _answer(name: str, request: Request, address: Address, rounds: int) -> Answer:
    return Answer(
        name,
        median(_seconds(request, address) for _ in range(rounds + 1)),
        _plans(request, address),
    )


def _seconds(request: Request, address: Address) -> float:
    began = time.perf_counter()
    with event_reader.reading(address, _SETTINGS) as connection:
        found = request(connection)
    TypeAdapter(type(found)).dump_json(found)
    return time.perf_counter() - began


def _plans(request: Request, address: Address) -> list[str]:
    plans: list[str] = []
    with event_reader.reading(address, _SETTINGS) as connection:
        connection.cursor_factory = type("Explaining", (_Explaining,), {"plans": plans})
        request(connection)
    return plans


def _stream(address: Address) -> tuple[float, float]:
    """The seconds until the first line of all events is there, and lines a second in all."""
    began = time.perf_counter()
    batches = event_pages.all_events(address, _SETTINGS, Filters())
    ended, lines = [], 0
    for batch in islice(batches, BATCHES):
        event_pages.as_csv(batch)
        ended.append(time.perf_counter() - began)
        lines += len(batch)
    return ended[0], lines / ended[-1]

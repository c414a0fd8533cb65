"""Measures the events' pipeline: a run with nothing to do, and one with very much."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from statistics import median

import psycopg

from engagement import events
from engagement.app_database import Address
from engagement.event_kinds import Kind
from engagement.events import Options
from engagement.settings import Settings

FASTS, PARTICIPANTS = 500, 200
_SETTINGS = Settings(timezone="UTC")
_WRITTEN = ("events_useractivityfeed", "events_usermilestone", "events_event", "events_eventtype")
_ADDED = ("hub_profile_fasts", "hub_day", "hub_fast")
_BURST = """
with added as (
    insert into hub_fast (name, church_id, has_day_zero)
    select 'Benchmark fast ' || number, (select min(id) from hub_church), false
    from generate_series(1, %(fasts)s) as number
    returning id
),

days as (
    insert into hub_day (date, fast_id, church_id)
    select %(day)s, id, (select min(id) from hub_church)
    from added
)

insert into hub_profile_fasts (profile_id, fast_id)
select profile.id, added.id
from added
cross join lateral (
    select id from hub_profile
    where added.id > 0
    order by id
    limit %(participants)s
) as profile
"""


@dataclass(frozen=True, slots=True)
class Idle:
    """Runs that find nothing to do: the seconds of each kind, and the plan of its statement."""

    events: int
    seconds: Mapping[Kind, float]
    plans: Mapping[Kind, str]

    @property
    def total(self) -> float:
        """The seconds of all kinds, connecting included."""
        return sum(self.seconds.values())


@dataclass(frozen=True, slots=True)
class Burst:
    """One run in which many fasts begin."""

    events: int
    feed_rows: int
    seconds: float


def measure_idle(uri: str, count: int, end: date, rounds: int) -> Idle:
    """Runs with nothing to do at the end of a database that holds `count` events."""
    address, now = Address.parse(uri), _instant(end)
    options = Options(max_events=1_000_000, fan_out=False)
    with _unchanged(uri):
        events.sync_event_types(address, now, options, _SETTINGS)
        for kind in Kind:
            events.write(kind, address, now, options, _SETTINGS)
        _analyze(uri)
        seconds = {kind: median(_again(kind, address, now, options, rounds)) for kind in Kind}
        plans = {kind: events.explain(kind, address, now, options, _SETTINGS) for kind in Kind}
    return Idle(count, seconds, plans)


def measure_burst(uri: str, end: date) -> Burst:
    """A run in which FASTS fasts with PARTICIPANTS members each begin."""
    address, day = Address.parse(uri), end + timedelta(days=5)
    options = Options()
    with _unchanged(uri):
        with psycopg.connect(uri) as connection:
            connection.execute(_BURST, {"fasts": FASTS, "participants": PARTICIPANTS, "day": day})
        _analyze(uri)
        now = _instant(day) + timedelta(hours=1)
        events.sync_event_types(address, now, options, _SETTINGS)
        began = time.perf_counter()
        outcome = events.write(Kind.FAST_BEGINNINGS, address, now, options, _SETTINGS)
        seconds = time.perf_counter() - began
    return Burst(outcome.written, outcome.fan_out, seconds)


def _again(
    kind: Kind, address: Address, now: datetime, options: Options, rounds: int
) -> Iterator[float]:
    for _ in range(rounds):
        began = time.perf_counter()
        outcome = events.write(kind, address, now, options, _SETTINGS)
        yield time.perf_counter() - began
        if outcome.written or outcome.missing:
            raise AssertionError(f"{kind} found something to do: nothing was measured")


@contextmanager
def _unchanged(uri: str) -> Iterator[None]:
    """Takes back every row that the block adds: the database serves the next benchmark too."""
    with psycopg.connect(uri, autocommit=True) as connection:
        tables = (*_WRITTEN, *_ADDED)
        before = {
            table: connection.execute(f"select coalesce(max(id), 0) from {table}").fetchone()
            for table in tables
        }
        try:
            yield
        finally:
            for table in tables:
                connection.execute(f"delete from {table} where id > %s", before[table])
            connection.execute("vacuum (analyze)")


def _analyze(uri: str) -> None:
    with psycopg.connect(uri, autocommit=True) as connection:
        connection.execute("analyze")


def _instant(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=UTC)

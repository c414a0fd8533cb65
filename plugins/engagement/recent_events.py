"""The lifecycle and milestone events of the last days, as counts of each fast and day."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from itertools import groupby

from engagement import event_reader, queries
from engagement.app_database import Address
from engagement.event_kinds import Kind
from engagement.period import Period, local_date, parse_timezone
from engagement.settings import Settings

DAYS = 14

_ROWS = 300
_RELATIONS = {"fasts": "events/fasts", "with_threshold": "api/with_threshold"}
_HAPPENED = {
    Kind.FAST_BEGINNINGS: "The fast begins",
    Kind.FAST_ENDINGS: "The fast has ended",
    Kind.DEVOTIONALS_AVAILABLE: "New devotional",
    Kind.PARTICIPANT_MILESTONES: "Participants reached",
    Kind.USER_MILESTONES: "Milestone of users",
}
_KINDS = {kind.event_type: kind for kind in _HAPPENED}
_USER_MILESTONES = {
    "first_fast_join": "First fast joined",
    "first_nonweekly_fast_complete": "First fast completed",
}


@dataclass(frozen=True, slots=True)
class RecentEvents:
    """What happened to a fast on a day.

    `numbers` are how many participants it came to have, or how many users or devotionals there
    were; none where it is one of a kind.
    """

    day: date
    what: str
    fast: str
    numbers: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Recent:
    """The events of the last days, the newest day first; `cut` where older ones are left out."""

    events: list[RecentEvents]
    cut: bool


def read(address: Address, settings: Settings, now: datetime) -> Recent:
    """The events of the last days up to `now`.

    Raises what `event_reader.reading` does.
    """
    today = local_date(now, parse_timezone(settings.timezone))
    days = Period(today - timedelta(days=DAYS - 1), today, settings.timezone).days
    parameters: dict[str, object] = {
        "starts": [day.start for day in days],
        "until": now,
        "at_most": _ROWS + 1,
    }
    with event_reader.reading(address, settings) as connection:
        types = connection.execute(
            queries.read("view/recent_event_types"), {"codes": [*_KINDS]}
        ).fetchall()
        parameters["type_ids"] = [type_id for _, type_id in types]
        rows = connection.execute(
            queries.over(_RELATIONS, "view/recent_events"), parameters
        ).fetchall()
    told = [_told(days[number - 1].date, *others) for number, *others in rows[:_ROWS]]
    events = [
        RecentEvents(day, what, fast, tuple(n for *_, numbers in several for n in numbers))
        for (day, what, _, fast), several in groupby(told, key=lambda one: one[:4])
    ]
    return Recent(events, cut=len(rows) > _ROWS)


def _told(
    day: date,
    code: str,
    fast_id: int,
    fast: str | None,
    milestone_type: str,
    participants: int | None,
    events: int,
) -> tuple[date, str, int, str, tuple[int, ...]]:
    """A row as the day, what happened, to which fast, and the numbers of it."""
    kind = _KINDS[code]
    what = _HAPPENED[kind]
    numbers = (events,) if events > 1 else ()
    if kind is Kind.PARTICIPANT_MILESTONES:
        numbers = () if participants is None else (participants,)
    elif kind is Kind.USER_MILESTONES:
        what = _USER_MILESTONES.get(milestone_type, what)
        numbers = (events,)
    return day, what, fast_id, fast or f"fast {fast_id}", numbers

"""The lifecycle and milestone events of the last days, as counts of each fast and day."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import partial
from itertools import groupby

from engagement import event_reader, fast_names, queries
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
    fasts = {
        fast_id: _Fast(fast_id, fast, church)
        for _, _, fast_id, fast, church, *_ in rows
        if fast is not None
    }
    told_apart = fast_names.told_apart([*fasts.values()], partial(fast_names.label, quote=str))
    names = dict(zip(fasts, told_apart, strict=True))
    told = [
        (days[number - 1].date, fast_id, *_told(_KINDS[code], *others))
        for number, code, fast_id, _, _, *others in rows[:_ROWS]
    ]
    events = [
        RecentEvents(
            day,
            what,
            names.get(fast_id, fast_names.gone(fast_id)),
            tuple(n for *_, numbers in several for n in numbers),
        )
        for (day, fast_id, what), several in groupby(told, key=lambda one: one[:3])
    ]
    return Recent(events, cut=len(rows) > _ROWS)


@dataclass(frozen=True, slots=True)
class _Fast:
    id: int
    name: str
    church: str


def _told(
    kind: Kind, milestone_type: str, participants: int | None, events: int
) -> tuple[str, tuple[int, ...]]:
    """What happened, and the numbers of it."""
    if kind is Kind.PARTICIPANT_MILESTONES:
        return _HAPPENED[kind], () if participants is None else (participants,)
    if kind is Kind.USER_MILESTONES:
        return _USER_MILESTONES.get(milestone_type, _HAPPENED[kind]), (events,)
    return _HAPPENED[kind], (events,) if events > 1 else ()

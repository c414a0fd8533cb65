"""The lifecycle and milestone events of the last days, as counts of each fast and day."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from itertools import groupby

from engagement import queries
from engagement.app_database import Address, transaction
from engagement.period import Period, local_date, parse_timezone
from engagement.settings import Settings

DAYS = 14

_ROWS = 300
_CONNECT_SECONDS = 3
_STATEMENT_SECONDS = 10
_HAPPENED = {
    "fast_beginning": "The fast begins",
    "fast_ending": "The fast has ended",
    "devotional_available": "New devotional",
    "fast_participant_milestone": "Participants reached",
    "user_milestone_reached": "Milestone of users",
}
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

    Raises ConfigurationError, TemporaryError or EngagementError for whatever the database says,
    after seconds and not minutes: somebody waits for it.
    """
    today = local_date(now, parse_timezone(settings.timezone))
    days = Period(today - timedelta(days=DAYS - 1), today, settings.timezone).days
    hurried = settings.model_copy(
        update={
            "connect_timeout_seconds": min(settings.connect_timeout_seconds, _CONNECT_SECONDS),
            "statement_timeout_seconds": min(
                settings.statement_timeout_seconds, _STATEMENT_SECONDS
            ),
        }
    )
    parameters: dict[str, object] = {
        "starts": [day.start for day in days],
        "until": now,
        "at_most": _ROWS,
    }
    with transaction(address, hurried, "engagement-reports view", read_only=True) as connection:
        types = connection.execute(
            queries.read("view/recent_event_types"), {"codes": [*_HAPPENED]}
        ).fetchall()
        parameters["type_ids"] = [type_id for _, type_id in types]
        rows = connection.execute(
            queries.over({"fasts": "events/fasts"}, "view/recent_events"), parameters
        ).fetchall()
    told = [_told(days[number - 1].date, *others) for number, *others in rows]
    events = [
        RecentEvents(day, what, fast, tuple(n for *_, numbers in several for n in numbers))
        for (day, what, fast), several in groupby(told, key=lambda one: one[:3])
    ]
    return Recent(events, cut=len(rows) == _ROWS)


def _told(
    day: date,
    code: str,
    fast_id: int,
    fast: str | None,
    milestone_type: str,
    participants: str | None,
    events: int,
) -> tuple[date, str, str, tuple[int, ...]]:
    """A row as the day, what happened, to which fast, and the numbers of it."""
    name = fast or f"fast {fast_id}"
    what = _HAPPENED[code]
    if code == "fast_participant_milestone":
        known = participants is not None and participants.isdecimal()
        return day, what, name, (int(participants or 0),) if known else ()
    if code == "user_milestone_reached":
        return day, _USER_MILESTONES.get(milestone_type, what), name, (events,)
    return day, what, name, (events,) if events > 1 else ()

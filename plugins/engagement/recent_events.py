"""The lifecycle and milestone events of the last days, as counts of each fast and day."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, timedelta

from engagement import queries
from engagement.app_database import Address, transaction
from engagement.period import first_instant, local_date, parse_timezone
from engagement.settings import Settings

DAYS = 14
LIMIT = 200
"""The most rows that are read."""

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
    """What happened to a fast on a day; `number` is of participants, users or devotionals."""

    day: date
    what: str
    fast: str
    number: int | None


def read(address: Address, settings: Settings, now: datetime) -> list[RecentEvents]:
    """The events of the last days up to `now`, the newest day first, at most `LIMIT` rows.

    Raises ConfigurationError, TemporaryError or EngagementError for whatever the database says,
    after seconds and not minutes: somebody waits for it.
    """
    zone = parse_timezone(settings.timezone)
    first = local_date(now, zone) - timedelta(days=DAYS - 1)
    hurried = settings.model_copy(
        update={
            "connect_timeout_seconds": min(settings.connect_timeout_seconds, _CONNECT_SECONDS),
            "statement_timeout_seconds": min(
                settings.statement_timeout_seconds, _STATEMENT_SECONDS
            ),
        }
    )
    parameters = {
        "timezone": settings.timezone,
        "since": first_instant(first, zone),
        "until": now,
        "codes": [*_HAPPENED],
        "at_most": LIMIT,
    }
    with transaction(address, hurried, "engagement-reports view", read_only=True) as connection:
        rows = connection.execute(queries.read("view/recent_events"), parameters).fetchall()
    return [_told(*row) for row in rows]


def _told(
    day: date,
    code: str,
    fast_id: int,
    fast: str | None,
    milestone_type: str,
    participants: str | None,
    events: int,
) -> RecentEvents:
    name = fast or f"fast {fast_id}"
    if code == "fast_participant_milestone":
        reached = int(participants) if participants and participants.isdecimal() else None
        return RecentEvents(day, _HAPPENED[code], name, reached)
    if code == "user_milestone_reached":
        what = _USER_MILESTONES.get(milestone_type, _HAPPENED[code])
        return RecentEvents(day, what, name, events)
    return RecentEvents(day, _HAPPENED[code], name, events if events > 1 else None)

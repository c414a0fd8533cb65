"""An app database for tests of lifecycle and milestone events, with only what a test puts there."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

import psycopg
from psycopg import sql
from psycopg.rows import dict_row

from demo import app_tables
from engagement import events
from engagement.app_database import EVENTS_CONNECTION_ID, Address
from engagement.errors import TemporaryError
from engagement.event_kinds import Kind
from engagement.settings import Settings

Row = dict[str, Any]

LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)
JOIN, LEAVE = "user_joined_fast", "user_left_fast"
CHURCHES = {1: "St. Mary Church", 2: "Սուրբ Սարգիս եկեղեցի"}
# Ids that look like nothing else, so that a mix-up shows.
FAST_TYPE, OTHER_TYPE = 8, 9
TYPE_IDS = {
    "fast_beginning": 31,
    "fast_ending": 32,
    "devotional_available": 33,
    "fast_participant_milestone": 34,
    "user_milestone_reached": 35,
    JOIN: 36,
    LEAVE: 37,
    "screen_view": 38,
}
WRITTEN = ("events_useractivityfeed", "events_event", "events_usermilestone")

_DEFAULTS: Mapping[str, Row] = {
    "auth_user": {
        "password": "!",
        "is_superuser": False,
        "first_name": "",
        "last_name": "",
        "email": "",
        "is_staff": False,
        "is_active": True,
        "date_joined": LONG_AGO,
    },
    "hub_profile": {
        **dict.fromkeys(
            (
                "receive_upcoming_fast_reminders",
                "include_weekly_fasts_in_notifications",
                "receive_daily_fast_push_notifications",
                "receive_ongoing_fast_push_notifications",
                "receive_upcoming_fast_push_notifications",
                "receive_promotional_emails",
                "receive_weekly_prayer_request_push_notifications",
            ),
            False,
        ),
        "timezone": "UTC",
    },
    "hub_fast": {"church_id": 1, "year": 2026, "has_day_zero": False},
    "hub_day": {"church_id": 1},
    "hub_devotional": {"language_code": "en", "order": 1},
    "learning_resources_video": {
        "description": "",
        "video": "videos/1.mp4",
        "created_at": LONG_AGO,
        "updated_at": LONG_AGO,
        "category": "devotional",
        "language_code": "en",
    },
    "events_eventtype": {
        "description": "",
        "category": "user_action",
        "is_active": True,
        "track_in_analytics": True,
        "requires_target": True,
        "created_at": LONG_AGO,
        "updated_at": LONG_AGO,
    },
    "events_event": {
        "title": "written by the app",
        "description": "",
        "user_agent": "app",
        "created_at": LONG_AGO,
        "content_type_id": FAST_TYPE,
        "i18n": "{}",
    },
}
_EVENTS = """
select
    type.code, event.object_id as fast_id, event.user_id, event.timestamp, event.title,
    event.description, event.data - 'milestone_id' as data, event.created_at, event.user_agent
from events_event as event
inner join events_eventtype as type on type.id = event.event_type_id
where type.code <> all(%(others)s) and event.user_agent <> 'app'
order by
    type.code, event.object_id, event.user_id, event.timestamp,
    (event.data - 'milestone_id')::text
"""
_FEED = """
select
    feed.activity_type, feed.object_id as fast_id, feed.user_id, feed.created_at, feed.title,
    feed.is_read, type.code, event.timestamp, event.data ->> 'devotional_id' as devotional_id,
    event.data ->> 'milestone_type' as milestone_type
from events_useractivityfeed as feed
inner join events_event as event on event.id = feed.event_id
inner join events_eventtype as type on type.id = event.event_type_id
order by
    feed.activity_type, feed.object_id, feed.user_id, feed.created_at,
    event.data ->> 'devotional_id', event.data ->> 'milestone_type'
"""
_MILESTONES = """
select milestone_type, user_id, object_id as fast_id, achieved_at, data
from events_usermilestone
where data ->> 'by' is null
order by milestone_type, user_id
"""


@dataclass(slots=True)
class App:
    """The app's tables; `zone` is the report time zone of the runs."""

    uri: str
    connection: psycopg.Connection[Row]
    zone: str = "UTC"

    @classmethod
    @contextmanager
    def made(cls, uri: str) -> Iterator[App]:
        """An empty app in an empty database."""
        app_tables.apply_schema(uri)
        with psycopg.connect(uri, autocommit=True, row_factory=dict_row) as connection:
            # Filling and emptying need no checks; the runs, on their own connections, have them.
            connection.execute("set session_replication_role = replica")
            connection.execute("set synchronous_commit = off")
            app = cls(uri, connection)
            app.reset()
            yield app

    def reset(self) -> None:
        """Empties every table, but for types, content types and churches."""
        self.zone = "UTC"
        tables = [*_DEFAULTS, *WRITTEN, "hub_profile_fasts", "hub_church", "django_content_type"]
        for table in dict.fromkeys(tables):
            self.connection.execute(sql.SQL("delete from {}").format(sql.Identifier(table)))
        self.insert("hub_church", [{"id": n, "name": name} for n, name in CHURCHES.items()])
        self.insert(
            "django_content_type",
            [
                {"id": FAST_TYPE, "app_label": "hub", "model": "fast"},
                {"id": OTHER_TYPE, "app_label": "hub", "model": "day"},
            ],
        )
        self.insert(
            "events_eventtype",
            [{"id": n, "code": code, "name": code} for code, n in TYPE_IDS.items()],
        )

    def insert(self, table: str, rows: Sequence[Row]) -> None:
        """Inserts rows that name the same columns; others have what the app would give them."""
        if not rows:
            return
        full = [{**_DEFAULTS.get(table, {}), **row} for row in rows]
        columns = list(full[0])
        statement = sql.SQL("insert into {} ({}) values ({})").format(
            sql.Identifier(table),
            sql.SQL(", ").join(map(sql.Identifier, columns)),
            sql.SQL(", ").join(map(sql.Placeholder, columns)),
        )
        with self.connection.cursor() as cursor:
            cursor.executemany(statement, full)

    def execute(self, statement: str, parameters: Mapping[str, object] | None = None) -> None:
        """Changes what a test needs changed."""
        self.connection.execute(statement.encode(), parameters)

    def rows(self, statement: str, parameters: Mapping[str, object] | None = None) -> list[Row]:
        """What a query gives."""
        return self.connection.execute(statement.encode(), parameters).fetchall()

    def users(self, ids: Iterable[int], joined: datetime = LONG_AGO) -> None:
        """Users with a profile, whose id is theirs and a thousand."""
        numbers = list(ids)
        self.insert(
            "auth_user",
            [{"id": n, "username": f"user-{n}", "date_joined": joined} for n in numbers],
        )
        self.insert("hub_profile", [{"id": 1000 + n, "user_id": n} for n in numbers])

    def fast(self, fast_id: int, days: Iterable[date] = (), **columns: object) -> None:
        """A fast with its days, whose ids are the fast's and the day's ordinal."""
        self.insert("hub_fast", [{"id": fast_id, "name": f"Fast {fast_id}", **columns}])
        self.days(fast_id, days)

    def days(self, fast_id: int, days: Iterable[date]) -> None:
        """The days that the fast has now; those that stay keep their ids."""
        self.execute("delete from hub_day where fast_id = %(fast)s", {"fast": fast_id})
        self.insert(
            "hub_day",
            [{"id": day_id(fast_id, day), "date": day, "fast_id": fast_id} for day in days],
        )

    def devotional(self, number: int, fast_id: int, day: date, **columns: object) -> None:
        """A devotional with a video of its own."""
        title = columns.pop("title", f"Video {number}")
        self.insert("learning_resources_video", [{"id": 500 + number, "title": title}])
        self.insert(
            "hub_devotional",
            [
                {
                    "id": number,
                    "day_id": day_id(fast_id, day),
                    "video_id": 500 + number,
                    "description": f"Text {number}",
                    **columns,
                }
            ],
        )

    def members(self, fast_id: int, users: Iterable[int]) -> None:
        """Members without an event, as the app adds them in bulk."""
        self.insert(
            "hub_profile_fasts", [{"profile_id": 1000 + n, "fast_id": fast_id} for n in users]
        )

    def no_members(self, fast_id: int, users: Iterable[int]) -> None:
        """Ends memberships without an event."""
        self.execute(
            "delete from hub_profile_fasts where fast_id = %(fast)s and profile_id = any(%(ids)s)",
            {"fast": fast_id, "ids": [1000 + n for n in users]},
        )

    def join(self, fast_id: int, users: Iterable[int], at: datetime) -> None:
        """Joins with their events."""
        numbers = list(users)
        self.members(fast_id, numbers)
        self.wrote(JOIN, fast_id, at, numbers, fast_name=f"then {fast_id}", church_id=1)

    def leave(self, fast_id: int, users: Iterable[int], at: datetime) -> None:
        """Leaves with their events."""
        numbers = list(users)
        self.no_members(fast_id, numbers)
        self.wrote(LEAVE, fast_id, at, numbers)

    def wrote(
        self,
        code: str,
        fast_id: int,
        at: datetime,
        users: Iterable[int | None] = (None,),
        **data: object,
    ) -> None:
        """Events that the app has written, one a user."""
        self.insert(
            "events_event",
            [
                {
                    "event_type_id": TYPE_IDS[code],
                    "object_id": fast_id,
                    "timestamp": at,
                    "user_id": user,
                    "data": json.dumps(data),
                }
                for user in users
            ],
        )

    @property
    def address(self) -> Address:
        """Where the runs write."""
        return Address.parse(self.uri, EVENTS_CONNECTION_ID)

    def write(self, kind: str, now: datetime, **options: Any) -> events.Outcome:
        """Runs one kind."""
        settings = Settings(timezone=self.zone)
        return events.write(kind, self.address, now, events.Options(**options), settings)

    def run(self, now: datetime, **options: Any) -> dict[str, events.Outcome]:
        """Runs every kind."""
        return {str(kind): self.write(kind, now, **options) for kind in Kind}

    def written(self, *codes: str) -> list[Row]:
        """The events that runs have written, of these types or all, in an order of their own."""
        rows = self.rows(_EVENTS, {"others": [JOIN, LEAVE, "screen_view"]})
        return [row for row in rows if not codes or row["code"] in codes]

    def feed(self) -> list[Row]:
        """The activities that runs have written, each with what tells its event."""
        return self.rows(_FEED)

    def milestones(self) -> list[Row]:
        """The milestones of users that runs have written."""
        return self.rows(_MILESTONES)

    def state(self) -> tuple[list[Row], list[Row], list[Row]]:
        """All that runs have written, without ids."""
        return self.written(), self.feed(), self.milestones()

    def forget(self) -> None:
        """Removes all that runs have written."""
        self.execute("delete from events_useractivityfeed")
        self.execute("delete from events_event where user_agent <> 'app'")
        self.execute("delete from events_usermilestone where data ->> 'by' is null")


def day_id(fast_id: int, day: date) -> int:
    """The id of a fast's day."""
    return fast_id * 10_000_000 + day.toordinal()


def days_from(first: date, count: int) -> list[date]:
    """Days one after the other."""
    return [first + timedelta(days=n) for n in range(count)]


def run_all(uri: str, now: datetime, zone: str) -> None:
    """Every kind once, as a process of its own may do it."""
    settings = Settings(timezone=zone)
    address = Address.parse(uri, EVENTS_CONNECTION_ID)
    for kind in Kind:
        events.write(kind, address, now, events.Options(), settings)


def run_till_cut(uri: str, now: datetime, zone: str) -> None:
    """The same, until somebody cuts its connection."""
    with suppress(TemporaryError):
        run_all(uri, now, zone)

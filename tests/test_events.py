"""Each kind of event against histories made by hand."""

from __future__ import annotations

import json
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any

import psycopg
import pytest

from engagement import events
from engagement.app_database import Address
from engagement.errors import EngagementError, TemporaryError, UsageError
from engagement.event_kinds import Kind
from engagement.settings import Settings
from tests.fasts import CHURCHES, FAST_TYPE, TYPE_IDS, App, day_id, days_from

DAY = timedelta(days=1)
HOUR = timedelta(hours=1)
TICK = timedelta.resolution
FIRST = date(2026, 3, 2)
DUE = datetime(2026, 3, 2, tzinfo=UTC)
LAST = date(2026, 3, 6)
OVER = datetime(2026, 3, 7, tzinfo=UTC)
KINDS = tuple(map(str, Kind))
FOR_ALL = ("fast_beginnings", "fast_endings", "devotionals_available", "participant_milestones")


@pytest.fixture
def app(module_app: App) -> App:
    module_app.reset()
    return module_app


@pytest.fixture
def lent(app: App) -> App:
    """One fast of five days, with twelve members, and a devotional on its first day."""
    app.users(range(1, 13))
    app.fast(1, days_from(FIRST, 5), name="Great Lent")
    app.join(1, range(1, 13), DUE - DAY)
    app.devotional(7, 1, FIRST, title="Prayer")
    return app


def codes(app: App) -> Counter[str]:
    return Counter(row["code"] for row in app.written())


def due_at(app: App, kind: str, due: datetime, lookback_days: int = 7) -> None:
    """The kind is due from `due` on, for as long as the run looks back."""
    lookback = lookback_days * DAY
    for now, missing in (
        (due - TICK, 0),
        (due, 1),
        (due + lookback - TICK, 1),
        (due + lookback, 0),
    ):
        outcome = app.write(kind, now, lookback_days=lookback_days, dry_run=True)
        assert outcome.missing == missing, now


# When each is due


@pytest.mark.parametrize("lookback_days", [1, 7, 30])
def test_due_to_the_microsecond(lookback_days: int, lent: App) -> None:
    due_at(lent, "fast_beginnings", DUE, lookback_days)
    due_at(lent, "devotionals_available", DUE, lookback_days)
    due_at(lent, "fast_endings", OVER, lookback_days)


@pytest.mark.parametrize(
    ("zone", "first", "due"),
    [
        ("America/Los_Angeles", date(2026, 3, 8), datetime(2026, 3, 8, 8, tzinfo=UTC)),
        ("America/Los_Angeles", date(2026, 3, 9), datetime(2026, 3, 9, 7, tzinfo=UTC)),
        ("Asia/Yerevan", date(2026, 3, 8), datetime(2026, 3, 7, 20, tzinfo=UTC)),
        ("Pacific/Auckland", date(2026, 4, 6), datetime(2026, 4, 5, 12, tzinfo=UTC)),
        # Days without a midnight, and with two of them.
        ("Asia/Tehran", date(2021, 3, 22), datetime(2021, 3, 21, 20, 30, tzinfo=UTC)),
        ("America/Havana", date(2026, 11, 1), datetime(2026, 11, 1, 4, tzinfo=UTC)),
        # A day that the clock skips begins with the next one.
        ("Pacific/Apia", date(2011, 12, 30), datetime(2011, 12, 30, 10, tzinfo=UTC)),
    ],
)
def test_days_begin_in_the_report_time_zone(
    zone: str, first: date, due: datetime, app: App
) -> None:
    app.zone = zone
    app.fast(1, [first, first + 30 * DAY])
    app.fast(2, [first - 30 * DAY, first - DAY])
    app.devotional(1, 1, first)
    due_at(app, "fast_beginnings", due, 1)
    due_at(app, "devotionals_available", due, 1)
    due_at(app, "fast_endings", due, 1)
    app.write("fast_endings", due)
    assert [row["timestamp"] for row in app.written()] == [due]


def test_over_a_summer_time_change_the_lookback_stays_days_of_24_hours(app: App) -> None:
    app.zone = "America/Los_Angeles"
    app.fast(1, [date(2026, 3, 8)])
    begins = datetime(2026, 3, 8, 8, tzinfo=UTC)
    due_at(app, "fast_beginnings", begins, 1)
    # The day itself has 23 hours.
    due_at(app, "fast_endings", begins + 23 * HOUR, 1)


def test_an_instant_in_any_time_zone_is_the_same(lent: App) -> None:
    now = DUE.astimezone(timezone(timedelta(hours=-8)))
    assert lent.write("fast_beginnings", now).written == 1
    [row] = lent.written()
    assert row["timestamp"] == row["created_at"] == DUE


def test_a_day_stands_twice_or_out_of_order(app: App) -> None:
    app.fast(1, [LAST, FIRST])
    app.insert("hub_day", [{"id": n, "date": FIRST, "fast_id": 1} for n in (1, 2)])
    app.insert("hub_day", [{"id": n, "date": LAST, "fast_id": 1} for n in (3, 4)])
    assert app.run(OVER)["fast_beginnings"].written == 1
    assert codes(app) == {"fast_beginning": 1, "fast_ending": 1}


def test_what_is_never_due(app: App) -> None:
    """A fast without days, and days without a fast."""
    app.users(range(1, 20))
    app.fast(1, [])
    app.members(1, range(1, 20))
    app.insert("hub_day", [{"id": 5, "date": FIRST, "fast_id": None}])
    app.insert("learning_resources_video", [{"id": 1, "title": "Prayer"}])
    app.insert("hub_devotional", [{"id": 1, "day_id": 5, "video_id": 1}])
    for now in (DUE, OVER):
        assert all(outcome.due == 0 for outcome in app.run(now).values())
    assert app.state() == ([], [], [])


def test_a_gap_is_caught_up_once(lent: App) -> None:
    """With the members of the time, not of now."""
    lent.leave(1, [1, 2], DUE + HOUR)
    lent.join(1, [2], DUE + 2 * HOUR)
    outcomes = lent.run(OVER + DAY)
    assert outcomes["fast_beginnings"].written == outcomes["fast_endings"].written == 1
    beginning, ending = lent.written("fast_beginning", "fast_ending")
    assert (beginning["timestamp"], beginning["data"]["participant_count"]) == (DUE, 12)
    assert (ending["timestamp"], ending["data"]["final_participant_count"]) == (OVER, 11)
    assert {row["created_at"] for row in lent.feed() if row["code"] == "fast_beginning"} == {DUE}
    again = lent.run(OVER + DAY)
    assert all((one.missing, one.written, one.fan_out) == (0, 0, 0) for one in again.values())


# Members as of an instant


def test_members_are_those_of_the_instant(app: App) -> None:
    app.fast(1, [FIRST])
    app.users([1, 2, 3, 4, 5, 6, 7])
    app.users([8], joined=DUE - TICK)
    app.users([9], joined=DUE)
    app.members(1, [1, 2, 8, 9])
    app.join(1, [3], DUE - TICK)
    app.join(1, [4], DUE)
    app.leave(1, [5], DUE)
    app.leave(1, [6], DUE - TICK)
    app.no_members(1, [2])
    # The first event at or after decides, of those that share an instant the one with the lower id.
    app.join(1, [7], DUE + HOUR)
    app.leave(1, [7], DUE + HOUR)
    app.write("fast_beginnings", DUE + DAY)
    assert [row["user_id"] for row in app.feed()] == [1, 3, 5, 8]
    assert app.written()[0]["data"]["participant_count"] == 4


def test_members_only_by_events_of_the_fast(app: App) -> None:
    app.fast(1, [FIRST])
    app.fast(2, [FIRST])
    app.users([1, 2])
    app.wrote("user_left_fast", 2, DUE + HOUR, [1])
    app.wrote("user_left_fast", 1, DUE + HOUR, [None])
    app.insert(
        "events_event",
        [
            {
                "event_type_id": TYPE_IDS["user_left_fast"],
                "content_type_id": content_type,
                "object_id": 1,
                "timestamp": DUE + HOUR,
                "user_id": 2,
                "data": "{}",
            }
            for content_type in (None, FAST_TYPE + 1)
        ],
    )
    app.write("fast_beginnings", DUE)
    assert [(row["fast_id"], row["user_id"]) for row in app.feed()] == [(2, 1)]


# Already there


def test_a_beginning_once_and_for_all(lent: App) -> None:
    lent.wrote("fast_beginning", 1, DUE - 300 * DAY)
    assert lent.write("fast_beginnings", DUE).already_there == 1
    lent.days(1, [FIRST + DAY])
    assert lent.write("fast_beginnings", DUE + DAY).counts["already_there"] == 1
    assert lent.written() == []


@pytest.mark.parametrize("how", ["another fast", "another target", "another type"])
def test_what_is_no_beginning_of_the_fast(how: str, lent: App) -> None:
    lent.wrote("fast_ending" if how == "another type" else "fast_beginning", 1, DUE)
    if how == "another fast":
        lent.execute("update events_event set object_id = 2 where event_type_id = 31")
    if how == "another target":
        lent.execute("update events_event set content_type_id = 9 where event_type_id = 31")
    assert lent.write("fast_beginnings", DUE).written == 1


@pytest.mark.parametrize(
    ("at", "written"),
    [
        (datetime(2026, 3, 6, tzinfo=UTC) - TICK, 1),
        (datetime(2026, 3, 6, tzinfo=UTC), 0),
        (OVER + 5 * HOUR, 0),
        (OVER + 400 * DAY, 0),
    ],
)
def test_an_ending_on_or_after_the_last_day_is_there(at: datetime, written: int, lent: App) -> None:
    lent.wrote("fast_ending", 1, at)
    assert lent.write("fast_endings", OVER).written == written


def test_a_prolonged_fast_ends_once_more(lent: App) -> None:
    assert lent.write("fast_endings", OVER).written == 1
    lent.days(1, days_from(FIRST, 9))
    assert lent.write("fast_endings", OVER + 2 * DAY).due == 0
    assert lent.write("fast_endings", OVER + 4 * DAY).written == 1
    assert lent.write("fast_endings", OVER + 5 * DAY).written == 0
    assert [row["timestamp"] for row in lent.written()] == [OVER, OVER + 4 * DAY]


def test_in_another_time_zone_the_app_s_own_ending_is_there(app: App) -> None:
    """The app's daily job writes at midnight in UTC, the afternoon before in California."""
    app.zone = "America/Los_Angeles"
    app.fast(1, [FIRST, LAST])
    app.wrote("fast_ending", 1, OVER)
    outcome = app.write("fast_endings", OVER + DAY)
    assert (outcome.already_there, outcome.written) == (1, 0)


# Devotionals


def test_one_devotional_a_day_and_order(app: App) -> None:
    app.fast(1, [FIRST, LAST])
    app.devotional(1, 1, FIRST, language_code="hy")
    app.devotional(2, 1, FIRST, language_code="en")
    app.devotional(3, 1, FIRST, language_code="hy", order=2)
    app.devotional(4, 1, FIRST, language_code="el", order=2)
    app.devotional(5, 1, FIRST, language_code="ru", order=None)
    app.devotional(6, 1, FIRST, language_code="en", order=None)
    app.devotional(7, 1, FIRST, language_code="en", order=None)
    app.devotional(8, 1, LAST, language_code="EN")
    outcome = app.write("devotionals_available", DUE)
    assert (outcome.due, outcome.written) == (3, 3)
    found = [(row["data"]["devotional_id"], row["data"]["order"]) for row in app.written()]
    assert sorted(found) == [(2, 1), (3, 2), (6, None)]


@pytest.mark.parametrize("named", [1, 2, "2"], ids=repr)
def test_a_devotional_in_any_language_is_there(named: object, app: App) -> None:
    app.fast(1, [FIRST])
    app.devotional(1, 1, FIRST, language_code="hy")
    app.devotional(2, 1, FIRST, language_code="en")
    app.devotional(3, 1, FIRST, order=2)
    app.wrote("devotional_available", 1, DUE - 9 * HOUR, devotional_id=named)
    outcome = app.write("devotionals_available", DUE)
    assert (outcome.already_there, outcome.written) == (1, 1)
    assert [row["data"]["devotional_id"] for row in app.written()] == [3]


def test_a_devotional_of_another_fast_is_not_there(app: App) -> None:
    app.fast(1, [FIRST])
    app.fast(2, [FIRST])
    app.devotional(1, 1, FIRST)
    app.wrote("devotional_available", 2, DUE, devotional_id=1)
    app.wrote("devotional_available", 1, DUE)
    assert app.write("devotionals_available", DUE).written == 1


# Participant milestones


def test_every_threshold_that_is_reached(app: App) -> None:
    app.users(range(1, 61))
    app.fast(1, [FIRST])
    app.members(1, range(1, 61))
    outcome = app.write("participant_milestones", DUE)
    assert (outcome.written, outcome.fan_out) == (3, 0)
    rows = app.written()
    assert sorted(row["data"]["milestone"] for row in rows) == [10, 25, 50]
    assert {row["data"]["participant_count"] for row in rows} == {60}
    assert {row["timestamp"] for row in rows} == {DUE}


@pytest.mark.parametrize(("members", "reached"), [(9, []), (10, [10]), (24, [10]), (25, [10, 25])])
def test_thresholds_are_reached_exactly(members: int, reached: list[int], app: App) -> None:
    app.users(range(1, 26))
    app.fast(1, [FIRST])
    app.members(1, range(1, members + 1))
    app.write("participant_milestones", DUE)
    assert sorted(row["data"]["milestone"] for row in app.written()) == reached


@pytest.mark.parametrize("named", [10, "10"], ids=repr)
def test_a_threshold_once_and_for_all(named: object, app: App) -> None:
    app.users(range(1, 31))
    app.fast(1, [FIRST])
    app.join(1, range(1, 31), DUE - DAY)
    app.wrote("fast_participant_milestone", 1, DUE - 200 * DAY, milestone=named)
    outcome = app.write("participant_milestones", DUE)
    assert (outcome.already_there, outcome.written) == (1, 1)
    app.leave(1, range(1, 10), DUE + HOUR)
    assert app.write("participant_milestones", DUE + HOUR).written == 0
    app.join(1, range(1, 10), DUE + 2 * HOUR)
    assert app.write("participant_milestones", DUE + 2 * HOUR).written == 0
    # As of an earlier instant there were as many, and it is there.
    assert app.write("participant_milestones", DUE - HOUR).written == 0


@pytest.mark.parametrize(
    ("days", "written"),
    [([FIRST - 7 * DAY], 0), ([FIRST - 6 * DAY], 1), ([FIRST], 1), ([date(2027, 1, 1)], 1)],
)
def test_fasts_that_are_on_or_to_come(days: list[date], written: int, app: App) -> None:
    """A fast that has a day after the lookback's begin."""
    app.users(range(1, 11))
    app.fast(1, [date(2026, 1, 1), *days])
    app.members(1, range(1, 11))
    assert app.write("participant_milestones", DUE).written == written


# Users' milestones


def milestones(app: App) -> list[tuple[str, int, int, datetime]]:
    return [
        (row["milestone_type"], row["user_id"], row["fast_id"], row["achieved_at"])
        for row in app.milestones()
    ]


def test_a_first_join(app: App) -> None:
    app.users([1, 2, 3, 4])
    app.fast(1)
    app.fast(2, name="Wednesday Fast")
    app.join(2, [1], DUE)
    app.join(1, [1], DUE + HOUR)
    app.join(1, [2, 3], DUE)
    app.leave(1, [3], DUE + HOUR)
    app.wrote("user_joined_fast", 1, DUE, [None])
    app.members(1, [4])
    outcome = app.write("user_milestones", DUE + DAY)
    assert (outcome.written, outcome.fan_out) == (3, 3)
    assert milestones(app) == [
        ("first_fast_join", 1, 2, DUE),
        ("first_fast_join", 2, 1, DUE),
        ("first_fast_join", 3, 1, DUE),
    ]
    assert {row["timestamp"] for row in app.written()} == {DUE + DAY}


@pytest.mark.parametrize(
    ("at", "written"), [(DUE - 7 * DAY, 0), (DUE - 7 * DAY + TICK, 1), (DUE, 1), (DUE + TICK, 0)]
)
def test_a_first_join_lies_in_the_lookback(at: datetime, written: int, app: App) -> None:
    app.users([1])
    app.fast(1)
    app.join(1, [1], at)
    assert app.write("user_milestones", DUE).written == written


def test_only_the_first_join_is_one(app: App) -> None:
    app.users([1, 2])
    app.fast(1)
    app.fast(2)
    app.join(1, [1], DUE - 7 * DAY)
    app.join(2, [1], DUE)
    # Of joins in one instant the one with the lower id.
    app.join(2, [2], DUE)
    app.join(1, [2], DUE)
    app.write("user_milestones", DUE)
    assert milestones(app) == [("first_fast_join", 2, 2, DUE)]


def test_joins_of_what_is_no_fast(app: App) -> None:
    app.users([1])
    app.fast(1)
    app.join(1, [1], DUE - 20 * DAY)
    app.execute("update events_event set content_type_id = 9")
    app.wrote("user_joined_fast", 1, DUE, [1])
    app.wrote("screen_view", 1, DUE - HOUR, [1])
    app.write("user_milestones", DUE)
    assert milestones(app) == [("first_fast_join", 1, 1, DUE)]


@pytest.mark.parametrize("data", ['{"fast_name": "Trial fast", "church_id": 2}', "[]", '"x"', "{}"])
def test_a_first_join_of_a_fast_that_is_gone(data: str, app: App) -> None:
    app.users([1])
    app.join(77, [1], DUE)
    app.execute("update events_event set data = %(data)s::jsonb", {"data": data})
    assert app.write("user_milestones", DUE).written == 1
    [row] = app.written()
    named = json.loads(data)
    told = named if isinstance(named, dict) else {}
    assert row["data"] == {
        "fast_id": 77,
        "fast_name": told.get("fast_name"),
        "church_id": told.get("church_id"),
        "church_name": None,
        "milestone_type": "first_fast_join",
    }
    assert told.get("fast_name", "fast 77") in row["title"]


@pytest.mark.parametrize(
    ("name", "written"),
    [
        ("Great Lent", 1),
        ("Wednesday Fast", 0),
        ("FRIDAY", 0),
        ("fridays of Lent", 0),
        ("Good Friday", 1),
    ],
)
def test_a_first_fast_completed(name: str, written: int, app: App) -> None:
    app.users([1, 2, 3])
    app.fast(1, days_from(FIRST, 5), name=name)
    app.members(1, [1])
    app.leave(1, [2], OVER)
    app.leave(1, [3], OVER - TICK)
    app.write("user_milestones", OVER + HOUR)
    expected = [("first_nonweekly_fast_complete", user, 1, OVER) for user in (1, 2)]
    assert milestones(app) == (expected if written else [])


def test_of_fasts_that_end_together_the_earliest_completes(app: App) -> None:
    app.users([1, 2])
    app.fast(1, [LAST + DAY])
    app.fast(3, [LAST])
    app.fast(2, [LAST])
    for fast in (1, 2, 3):
        app.members(fast, [1])
    app.members(1, [2])
    app.write("user_milestones", OVER + 2 * DAY)
    assert milestones(app) == [
        ("first_nonweekly_fast_complete", 1, 2, OVER),
        ("first_nonweekly_fast_complete", 2, 1, OVER + DAY),
    ]


def test_a_milestone_once_and_for_all(lent: App) -> None:
    """Whoever wrote it, and for whichever fast."""
    lent.insert(
        "events_usermilestone",
        [
            {
                "milestone_type": kind,
                "object_id": 5,
                "content_type_id": FAST_TYPE,
                "achieved_at": DUE - 100 * DAY,
                "data": '{"by": "the app"}',
                "user_id": user,
            }
            for user, kind in ((1, "first_fast_join"), (2, "first_nonweekly_fast_complete"))
        ],
    )
    outcome = lent.write("user_milestones", OVER)
    assert outcome.written == outcome.fan_out == 22
    found = Counter(row["milestone_type"] for row in lent.milestones())
    assert found == {"first_fast_join": 11, "first_nonweekly_fast_complete": 11}
    again = lent.write("user_milestones", OVER)
    assert (again.already_there, again.written) == (22, 0)


# What is written


def test_every_column_is_filled(lent: App) -> None:
    now = OVER + HOUR
    lent.run(now)
    lent.execute(
        "update events_event set data = data - 'milestone_id' where data ->> 'milestone_id' ="
        " (select id::text from events_usermilestone where user_id = events_event.user_id"
        " and milestone_type = events_event.data ->> 'milestone_type')"
    )
    common = {"fast_id": 1, "fast_name": "Great Lent", "church_id": 1, "church_name": CHURCHES[1]}
    column = {
        "object_id": 1,
        "ip_address": None,
        "user_agent": "",
        "created_at": now,
        "content_type_id": FAST_TYPE,
        "i18n": None,
    }
    label = "Great Lent (2026)"
    expected = [
        {
            "event_type_id": TYPE_IDS["fast_beginning"],
            "title": f"{label} begins",
            "description": f"The fast {label} begins.",
            "data": {**common, "year": 2026, "participant_count": 12},
            "timestamp": DUE,
            "user_id": None,
        },
        {
            "event_type_id": TYPE_IDS["fast_ending"],
            "title": f"{label} has ended",
            "description": f"The fast {label} has ended.",
            "data": {**common, "year": 2026, "final_participant_count": 12},
            "timestamp": OVER,
            "user_id": None,
        },
        {
            "event_type_id": TYPE_IDS["devotional_available"],
            "title": f"New devotional of {label}: Prayer",
            "description": f"A new devotional of the fast {label} is available.",
            "data": {
                **common,
                "devotional_id": 7,
                "devotional_title": "Prayer",
                "devotional_description": "Text 7",
                "devotional_date": "2026-03-02",
                "day_id": day_id(1, FIRST),
                "order": 1,
            },
            "timestamp": DUE,
            "user_id": None,
        },
        {
            "event_type_id": TYPE_IDS["fast_participant_milestone"],
            "title": f"{label} has 10 participants",
            "description": f"The fast {label} has reached 10 participants.",
            "data": {
                **common,
                "participant_count": 12,
                "milestone": 10,
                "milestone_type": "participant_count",
            },
            "timestamp": now,
            "user_id": None,
        },
        {
            "event_type_id": TYPE_IDS["user_milestone_reached"],
            "title": f"First fast completed: {label}",
            "description": f"You have completed your first fast, {label}.",
            "data": {**common, "milestone_type": "first_nonweekly_fast_complete"},
            "timestamp": now,
            "user_id": 3,
        },
        {
            "event_type_id": TYPE_IDS["user_milestone_reached"],
            "title": f"First fast joined: {label}",
            "description": f"You have joined your first fast, {label}.",
            "data": {**common, "milestone_type": "first_fast_join"},
            "timestamp": now,
            "user_id": 3,
        },
    ]
    rows = lent.rows(
        "select * from events_event where user_agent = '' and coalesce(user_id, 3) = 3"
        " order by event_type_id, title"
    )
    ids = [row.pop("id") for row in rows]
    assert len(set(ids)) == len(expected)
    assert rows == [{**column, **row} for row in expected]

    feed = lent.rows("select * from events_useractivityfeed where user_id = 3 order by title")
    by_title = {row["title"]: (number, row) for number, row in zip(ids, rows, strict=True)}
    for row in feed:
        assert row.pop("id") > 0
        number, event = by_title[row["title"]]
        activity_type = {
            TYPE_IDS["fast_beginning"]: "fast_start",
            TYPE_IDS["devotional_available"]: "devotional_available",
            TYPE_IDS["user_milestone_reached"]: "milestone",
        }[event["event_type_id"]]
        row["data"].pop("milestone_id", None)
        assert row == {
            "activity_type": activity_type,
            "object_id": 1,
            "title": event["title"],
            "description": event["description"],
            "is_read": False,
            "read_at": None,
            "created_at": event["timestamp"],
            "data": event["data"],
            "content_type_id": FAST_TYPE,
            "event_id": number,
            "user_id": 3,
            "i18n": None,
        }
    assert len(feed) == 4
    [first, _] = lent.rows(
        "select * from events_usermilestone where user_id = 3 order by milestone_type"
    )
    assert first.pop("id") > 0
    assert first == {
        "milestone_type": "first_fast_join",
        "object_id": 1,
        "achieved_at": DUE - DAY,
        "data": common,
        "content_type_id": FAST_TYPE,
        "user_id": 3,
    }


@pytest.mark.parametrize("year", [None, 0])
def test_a_fast_without_a_year(year: int | None, app: App) -> None:
    app.fast(1, [FIRST], name="Great Lent", year=year, church_id=2)
    app.write("fast_beginnings", DUE)
    [row] = app.written()
    assert row["title"] == "Great Lent begins"
    assert row["data"]["year"] == year
    assert row["data"]["church_name"] == CHURCHES[2]
    assert row["data"]["participant_count"] == 0


@pytest.mark.parametrize(
    ("video", "title"),
    [
        ("պ" * 200, None),
        # The last word just fits, and is one too long.
        ("a " * 20 + "b" * 72, " " + "b" * 72),
        ("a " * 20 + "b" * 73, " a…"),
        ("a " * 55 + "bc", " bc"),
        ("a " * 56 + "bcd", " a…"),
        ("a  " + "b" * 197, ": a…"),
    ],
)
def test_a_title_is_cut_at_a_word(video: str, title: str | None, app: App) -> None:
    name = "n" * 116
    app.fast(1, [FIRST], name=name)
    app.devotional(1, 1, FIRST, title=video)
    app.write("devotionals_available", DUE)
    [row] = app.written()
    whole = f"New devotional of {name} (2026): {video}"
    assert len(row["title"]) <= 255
    if title is None:
        assert row["title"] == f"New devotional of {name} (2026):…"
    else:
        assert row["title"].endswith(title)
        assert whole.startswith(row["title"].removesuffix("…"))
    assert row["data"]["devotional_title"] == video


def test_a_title_of_one_word(app: App) -> None:
    app.users([1])
    app.fast(1)
    app.join(99, [1], DUE)
    app.execute("update events_event set data = jsonb_build_object('fast_name', repeat('x', 400))")
    app.write("user_milestones", DUE)
    [row] = app.written()
    assert row["title"] == "First fast joined:…"


# Fan-out


def test_fan_out_exactly_once(lent: App) -> None:
    lent.devotional(8, 1, FIRST, order=2)
    outcomes = lent.run(DUE)
    assert {kind: outcome.fan_out for kind, outcome in outcomes.items()} == {
        "fast_beginnings": 12,
        "fast_endings": 0,
        "devotionals_available": 24,
        "participant_milestones": 0,
        "user_milestones": 12,
    }
    for now in (DUE, DUE + HOUR):
        lent.run(now)
    found = Counter(
        (row["activity_type"], row["devotional_id"], row["user_id"]) for row in lent.feed()
    )
    assert set(found.values()) == {1}
    assert len(found) == 48


def test_without_fan_out(lent: App) -> None:
    """A milestone's activity is a part of it. What was written without is never fanned out."""
    lent.run(DUE, fan_out=False)
    assert {row["activity_type"] for row in lent.feed()} == {"milestone"}
    lent.run(DUE + HOUR)
    assert {row["activity_type"] for row in lent.feed()} == {"milestone"}
    assert codes(lent)["fast_beginning"] == codes(lent)["devotional_available"] == 1


def test_what_the_app_wrote_is_not_fanned_out(lent: App) -> None:
    lent.wrote("fast_beginning", 1, DUE)
    assert lent.write("fast_beginnings", DUE).fan_out == 0
    assert lent.feed() == []


# What a run may not write


@pytest.mark.parametrize("kind", KINDS)
def test_an_inactive_type_is_respected(
    kind: str, lent: App, caplog: pytest.LogCaptureFixture
) -> None:
    code = {
        "fast_beginnings": "fast_beginning",
        "fast_endings": "fast_ending",
        "devotionals_available": "devotional_available",
        "participant_milestones": "fast_participant_milestone",
        "user_milestones": "user_milestone_reached",
    }[kind]
    lent.execute(
        "update events_eventtype set is_active = false where code = %(code)s", {"code": code}
    )
    outcome = lent.write(kind, OVER, max_events=1)
    assert (outcome.written, outcome.fan_out, outcome.reason) == (0, 0, events.INACTIVE)
    assert outcome.missing == sum(one.events for one in outcome.unwritten) > 0
    assert "type not active" in caplog.text
    assert lent.state() == ([], [], [])
    lent.execute("update events_eventtype set is_active = true")
    assert lent.write(kind, OVER).written == outcome.missing


def many_fasts(app: App, count: int) -> None:
    app.users(range(1, 11))
    for fast in range(1, count + 1):
        app.fast(fast, [FIRST])
        app.devotional(fast, fast, FIRST)
    app.execute(
        "insert into hub_profile_fasts (profile_id, fast_id)"
        " select profile.id, fast.id from hub_profile as profile, hub_fast as fast"
    )


@pytest.mark.parametrize("kind", FOR_ALL)
def test_the_fuse(kind: str, app: App) -> None:
    many_fasts(app, 12)
    with pytest.raises(events.FuseError) as caught:
        app.write(kind, DUE + DAY, max_events=11)
    message = str(caught.value)
    assert message.startswith(f"{kind}: 12 events are to be written, more than max_events 11")
    assert "1 of Fast 1 (2026) (fast 1), " in message
    assert "and 2 of others" in message
    assert "\n" not in message
    assert "user-" not in message
    outcome = caught.value.outcome
    assert outcome is not None
    assert (outcome.missing, outcome.written, outcome.reason) == (12, 0, events.OVER_FUSE)
    assert [one.fast_id for one in outcome.unwritten] == list(range(1, 13))
    assert app.state() == ([], [], [])
    # What is there already does not count, nor do activities; as many as allowed are written.
    app.write(kind, DUE + DAY, fast_ids=(1,))
    assert app.write(kind, DUE + DAY, max_events=11).written == 11


def test_users_milestones_have_no_fuse(lent: App) -> None:
    assert lent.write("user_milestones", OVER, max_events=1).written == 24


def test_a_dry_run_writes_nothing(lent: App) -> None:
    lent.execute("delete from events_eventtype where code like 'fast_%'")
    settings = Settings()
    options = events.Options(dry_run=True)
    told = events.sync_event_types(lent.address, OVER, options, settings)
    assert told == ("fast_beginning", "fast_ending", "fast_participant_milestone")
    before = lent.rows("select xmin::text, * from events_eventtype order by id")
    outcomes = lent.run(OVER, dry_run=True, max_events=1)
    assert lent.rows("select xmin::text, * from events_eventtype order by id") == before
    assert lent.state() == ([], [], [])
    for kind, outcome in outcomes.items():
        expected = 24 if kind == "user_milestones" else 1
        assert (outcome.missing, outcome.written, outcome.fan_out) == (expected, 0, 0)
        assert outcome.reason == events.DRY_RUN
        assert outcome.unwritten == (events.FastCount(1, "Great Lent (2026)", expected),)
        assert outcome.as_dict()["unwritten"] == [
            {"fast_id": 1, "fast": "Great Lent (2026)", "events": expected}
        ]


def test_a_run_writes_what_its_dry_run_told(lent: App) -> None:
    told = lent.run(OVER, dry_run=True)
    done = lent.run(OVER)
    assert {kind: one.missing for kind, one in told.items()} == {
        kind: one.written for kind, one in done.items()
    }


@pytest.mark.parametrize("kind", KINDS)
def test_only_these_fasts(kind: str, app: App) -> None:
    """What a run of some fasts writes is a part of what a run of all would."""
    many_fasts(app, 3)
    app.wrote("user_joined_fast", 2, DUE, [1, 2])
    app.wrote("user_joined_fast", 3, DUE, [3])
    some = app.write(kind, DUE + 2 * DAY, fast_ids=(3, 2, 3))
    part = app.written()
    assert {row["fast_id"] for row in part} <= {2, 3}
    assert {row["fast_id"] for row in app.feed()} <= {2, 3}
    rest = app.write(kind, DUE + 2 * DAY)
    whole = app.written()
    app.forget()
    assert app.write(kind, DUE + 2 * DAY).written == some.written + rest.written
    assert app.written() == whole
    assert all(row in whole for row in part)
    assert some.written == {"user_milestones": 3}.get(kind, 2)


def test_fasts_that_do_not_exist(lent: App) -> None:
    with pytest.raises(UsageError, match="there is no fast 5, 6: expected"):
        lent.write("fast_beginnings", DUE, fast_ids=(6, 1, 5))


# What stands twice


@pytest.mark.parametrize("kind", FOR_ALL)
def test_what_stands_twice_is_told(kind: str, lent: App, caplog: pytest.LogCaptureFixture) -> None:
    """As when the app writes in the same instant."""
    lent.run(OVER)
    lent.devotional(8, 1, FIRST, language_code="hy")
    code, named = {
        "fast_beginnings": ("fast_beginning", {}),
        "fast_endings": ("fast_ending", {}),
        "devotionals_available": ("devotional_available", {"devotional_id": 8}),
        "participant_milestones": ("fast_participant_milestone", {"milestone": 10}),
    }[kind]
    assert lent.write(kind, OVER + HOUR).doubled == ()
    lent.wrote(code, 1, OVER + HOUR, (None,), **named)
    before = lent.rows("select id from events_event order by id")
    outcome = lent.write(kind, OVER + HOUR)
    assert outcome.doubled == (events.FastCount(1, "Great Lent (2026)", 1),)
    assert f"{kind}: events stand more than once: 1 of Great Lent (2026) (fast 1)" in caplog.text
    assert lent.rows("select id from events_event order by id") == before


def test_the_endings_of_a_prolonged_fast_are_no_double(lent: App) -> None:
    lent.write("fast_endings", OVER)
    lent.days(1, days_from(FIRST, 7))
    lent.write("fast_endings", OVER + 2 * DAY)
    assert lent.write("fast_endings", OVER + 3 * DAY).doubled == ()


# Event types


def test_missing_event_types_are_added(app: App) -> None:
    app.execute("delete from events_eventtype where code not in ('fast_ending', 'screen_view')")
    app.execute("update events_eventtype set is_active = false, name = 'As it was'")
    before = app.rows("select * from events_eventtype order by code")
    missing = (
        "devotional_available fast_beginning fast_participant_milestone user_milestone_reached"
    )
    for expected in (tuple(missing.split()), ()):
        added = events.sync_event_types(app.address, DUE, events.Options(), Settings())
        assert added == expected
    rows = app.rows("select * from events_eventtype order by code")
    assert [row for row in rows if row["name"] == "As it was"] == before
    new = {row.pop("code"): row for row in rows if row["name"] != "As it was"}
    assert len({row.pop("id") for row in new.values()}) == 4
    common = {
        "description": "",
        "is_active": True,
        "track_in_analytics": True,
        "created_at": DUE,
        "updated_at": DUE,
    }
    assert new == {
        code: {"name": name, "category": category, "requires_target": target, **common}
        for code, name, category, target in (
            ("devotional_available", "Devotional Available", "notification", True),
            ("fast_beginning", "Fast Beginning", "system_event", True),
            ("fast_participant_milestone", "Fast Participant Milestone", "milestone", True),
            ("user_milestone_reached", "User Milestone Reached", "milestone", False),
        )
    }


def test_without_the_event_type(lent: App) -> None:
    lent.execute("delete from events_eventtype where code = 'fast_ending'")
    with pytest.raises(EngagementError, match="no event type fast_ending: run sync_event_types"):
        lent.write("fast_endings", OVER)


def test_without_joins_and_leaves_ever(app: App) -> None:
    app.users([1])
    app.fast(1, [FIRST])
    app.members(1, [1])
    app.execute("delete from events_eventtype where code like 'user_%_fast'")
    outcomes = app.run(DUE + DAY)
    assert outcomes["fast_beginnings"].fan_out == outcomes["user_milestones"].written == 1


def test_without_the_content_type(app: App) -> None:
    app.execute("delete from django_content_type where model = 'fast'")
    with pytest.raises(EngagementError, match=r"fast_endings: .* content type hub\.fast"):
        app.write("fast_endings", OVER)


# Values


@pytest.mark.parametrize(
    "wrong",
    [
        {"lookback_days": 0},
        {"lookback_days": 3661},
        {"max_events": 0},
        {"fast_ids": (1, 0)},
        {"fast_ids": (1 << 63,)},
    ],
)
def test_options_that_make_no_sense(wrong: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match=rf"^{next(iter(wrong))} .*expected"):
        events.Options(**wrong)


@pytest.mark.parametrize(
    "now",
    [
        datetime(2026, 3, 2),  # noqa: DTZ001  what it must refuse
        datetime(1969, 12, 31, tzinfo=UTC),
        datetime(9999, 1, 1, tzinfo=UTC),
    ],
)
def test_instants_that_cannot_be(now: datetime, app: App) -> None:
    with pytest.raises(UsageError, match="cannot be: expected one with a time zone"):
        app.write("fast_beginnings", now)


@pytest.mark.parametrize("year", [1970, 9998])
def test_instants_far_off(year: int, app: App) -> None:
    app.fast(1, [date(year, 5, 1)])
    now = datetime(year, 5, 5, tzinfo=UTC)
    assert app.write("fast_beginnings", now, lookback_days=3660).written == 1


def test_outcomes_as_plain_values(lent: App) -> None:
    lent.wrote("fast_beginning", 1, DUE)
    lent.wrote("fast_beginning", 1, DUE)
    outcomes = [*lent.run(OVER, dry_run=True).values(), *lent.run(OVER).values()]
    for outcome in outcomes:
        plain = json.loads(json.dumps(outcome.as_dict()))
        assert events.Outcome.of_dict(plain) == outcome


def test_the_summary(lent: App) -> None:
    lent.wrote("fast_beginning", 1, DUE)
    lent.wrote("fast_beginning", 1, DUE)
    outcomes = lent.run(DUE + HOUR)
    outcomes["fast_endings"] = lent.write("fast_endings", OVER, dry_run=True)
    assert events.summary_table(outcomes.values()).splitlines() == [
        "kind                    due  there  written  fan-out  not written  doubled  why not",
        "fast_beginnings           1      1        0        0            0        1",
        "fast_endings              1      0        0        0            1        0  dry run",
        "devotionals_available     1      0        1       12            0        0",
        "participant_milestones    1      0        1        0            0        0",
        "user_milestones          12      0       12       12            0        0",
    ]


def test_a_kind_that_does_not_exist(app: App) -> None:
    with pytest.raises(UsageError, match="kind 'fasts' is unknown: expected one of fast_begin"):
        app.write("fasts", DUE)


# Errors


def test_a_lock_that_is_held_for_long(lent: App) -> None:
    settings = Settings(lock_timeout_seconds=1)
    with psycopg.connect(lent.uri) as holder:
        holder.execute("select pg_advisory_xact_lock(%s, 1)", (events.LOCK_SPACE,))
        with pytest.raises(TemporaryError, match=r"held a lock for longer than 1 s.*try again"):
            events.write("fast_beginnings", lent.address, DUE, events.Options(), settings)
        # Neither another kind nor a dry run waits for it.
        assert lent.write("fast_endings", OVER).written == 1
        assert lent.write("fast_beginnings", DUE, dry_run=True).missing == 1


def test_a_user_who_goes_away_meanwhile(lent: App) -> None:
    """The keys are checked at the end: nothing is written, and nothing is told of the user."""
    with psycopg.connect(lent.uri) as other, ThreadPoolExecutor(1) as pool:
        other.execute("set session_replication_role = replica")
        other.execute("delete from auth_user where id = 3")
        writing = pool.submit(lent.write, "fast_beginnings", DUE)
        waiting = (
            "select from pg_stat_activity where wait_event_type = 'Lock'"
            " and application_name like 'engagement-events%'"
        )
        while not lent.rows(waiting):
            assert not writing.done(), writing.result()
        other.commit()
        with pytest.raises(TemporaryError, match="the app changed a row") as caught:
            writing.result()
    assert "try again" in str(caught.value)
    assert "(3)" not in str(caught.value)
    assert lent.state() == ([], [], [])
    assert lent.write("fast_beginnings", DUE).fan_out == 11


def test_the_address_of_no_server() -> None:
    address = Address.parse("postgresql://writer@%2Fnowhere/app", "app_db_events")
    with pytest.raises(TemporaryError, match=r"app_db_events \(AIRFLOW_CONN_APP_DB_EVENTS\)"):
        events.write("fast_endings", address, DUE, events.Options(), Settings())

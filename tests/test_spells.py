"""Membership, spells and cohorts of any history, and exact rounding, read in plain Python."""

from __future__ import annotations

import json
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from engagement import engine, period
from engagement.datasets import Format
from engagement.period import Period
from engagement.settings import Settings
from tests.tables import Row, write_tables

JOIN, LEAVE = "user_joined_fast", "user_left_fast"
DAY = timedelta(days=1)
TICK = timedelta.resolution

PERIODS = (
    Period.parse("2020-12-28", "2021-01-03"),
    Period.parse("2024-03-10", "2024-03-10", "America/Los_Angeles"),
    Period.parse("2024-09-15", "2024-10-15", "Pacific/Auckland"),
    # A Monday without a midnight, and one after a Sunday that has its last hour twice.
    Period.parse("2021-03-22", "2021-03-28", "Asia/Tehran"),
    Period.parse("2020-09-21", "2020-09-22", "Asia/Tehran"),
    # The rules changed of late, so that time zone databases of different age disagree.
    Period.parse("2026-11-09", "2026-11-15", "America/Havana"),
    Period.parse("2026-11-09", "2026-11-15", "America/Vancouver"),
)


@dataclass(frozen=True, slots=True)
class User:
    id: int
    joined: datetime


@dataclass(frozen=True, slots=True)
class Fast:
    id: int
    name: str
    year: int | None
    church: int

    @property
    def label(self) -> str:
        return f"{self.name} ({self.year})" if self.year else self.name


@dataclass(frozen=True, slots=True)
class Event:
    id: int
    code: str
    user: int | None
    fast: int
    at: datetime


@dataclass(frozen=True, slots=True)
class World:
    """What the app's database holds of a few users and fasts."""

    period: Period
    users: list[User]
    fasts: list[Fast]
    events: list[Event]
    members: set[tuple[int, int]]
    activities: list[int]
    type_ids: dict[str, int]

    def tables(self) -> dict[str, list[Row]]:
        return {
            "users": [
                {"id": u.id, "username": name(u.id), "email": mail(u.id), "date_joined": u.joined}
                for u in self.users
            ],
            "churches": [{"id": n, "name": f"church {n}"} for n in (1, 2)],
            "fasts": [
                {"id": f.id, "name": f.name, "year": f.year, "church_id": f.church}
                for f in self.fasts
            ],
            "memberships": [
                {"id": n, "user_id": user, "fast_id": fast}
                for n, (user, fast) in enumerate(sorted(self.members, reverse=True), start=1)
            ],
            "event_types": [
                {"id": n, "code": code, "category": "user_action"}
                for code, n in self.type_ids.items()
            ],
            "membership_events": [
                {
                    "id": event.id,
                    "event_type_id": self.type_ids[event.code],
                    "user_id": event.user,
                    "fast_id": event.fast,
                    "timestamp": event.at,
                }
                for event in self.events
            ],
            "activities": [
                {
                    "id": n,
                    "user_id": user,
                    "activity_type": "event",
                    "created_at": self.period.start_instant,
                    "title": "",
                    "description": "",
                    "content_type_id": None,
                    "object_id": None,
                }
                for n, user in enumerate(self.activities, start=1)
            ],
        }


def name(user: int) -> str:
    return f"user-{user}"


def mail(user: int) -> str:
    return f"user-{user}@example.org"


@st.composite
def worlds(draw: st.DrawFn) -> World:
    """Histories in which instants meet each other, the period's bounds and the weeks' bounds."""
    period = draw(st.sampled_from(PERIODS))
    start, end = period.start_instant, period.end_instant
    instants = st.sampled_from(
        [
            start - 400 * DAY,
            start - TICK,
            start,
            start + timedelta(hours=9),
            end - TICK,
            end,
            end + TICK,
            end + 30 * DAY,
        ]
    )
    monday = period.start - period.start.weekday() * DAY
    week = datetime.combine(monday, time.min, period.zone).astimezone(UTC)
    hours = st.builds(lambda n: week + n * timedelta(minutes=30), st.integers(-8, 8))
    users = [
        User(n, draw(st.one_of(instants, hours))) for n in range(1, 1 + draw(st.integers(1, 4)))
    ]
    fasts = [
        Fast(
            n,
            draw(st.sampled_from(["Great Fast", "Պահք"])),
            draw(st.sampled_from([None, 0, 2024])),
            draw(st.sampled_from([1, 2])),
        )
        for n in range(1, 1 + draw(st.integers(0, 3)))
    ]
    user_ids = [user.id for user in users]
    members: set[tuple[int, int]] = set()
    if fasts:
        pairs = st.tuples(st.sampled_from(user_ids), st.sampled_from([fast.id for fast in fasts]))
        members = draw(st.sets(pairs))
    # Fasts 8 and 9 are gone. Few pairs, so that each has several events.
    targets = st.sampled_from([8, 9, *(fast.id for fast in fasts), *(fast.id for fast in fasts)])
    happened = draw(
        st.lists(
            st.tuples(
                st.sampled_from([JOIN, LEAVE]),
                st.sampled_from([None, *user_ids, *user_ids[:1] * 3]),
                targets,
                instants,
            ),
            max_size=14,
        )
    )
    ids = draw(st.permutations(range(1, len(happened) + 1)))
    return World(
        period,
        users,
        fasts,
        [Event(n, *one) for n, one in zip(ids, happened, strict=True)],
        members,
        draw(st.lists(st.sampled_from(user_ids), max_size=6)),
        draw(st.sampled_from([{JOIN: 1, LEAVE: 2}, {LEAVE: 3, "app_open": 4, JOIN: 7}])),
    )


def is_member(world: World, user: User, fast: int) -> bool:
    end = world.period.end_instant
    if user.joined >= end:
        return False
    after = [e for e in world.events if (e.user, e.fast) == (user.id, fast) and e.at >= end]
    if after:
        return min(after, key=lambda e: (e.at, e.id)).code == LEAVE
    return (user.id, fast) in world.members


def spells(
    world: World, user: User, fast: int
) -> list[tuple[datetime | None, datetime | None, str]]:
    """(joined_at, left_at, status) of each spell, told from the first event to the last."""
    end = world.period.end_instant
    history = [e for e in world.events if (e.user, e.fast) == (user.id, fast) and e.at < end]
    found: list[tuple[datetime | None, datetime | None]] = []
    is_open = False
    for event in sorted(history, key=lambda e: (e.at, e.id)):
        if event.code == JOIN:
            found.append((event.at, None))
            is_open = True
        elif is_open:
            found[-1] = (found[-1][0], event.at)
            is_open = False
        else:
            found.append((None, event.at))
    member = is_member(world, user, fast)
    if member and not is_open:
        found.append((None, None))
    last = len(found) - 1
    return [
        (*spell, "active" if member and position == last else "left")
        for position, spell in enumerate(found)
    ]


def printed(instant: datetime | None) -> str | None:
    if instant is None:
        return None
    digits = f".{instant.microsecond:06}" if instant.microsecond else ""
    return f"{instant.astimezone(UTC):%Y-%m-%dT%H:%M:%S}{digits}Z"


def rounded(quotient: Fraction) -> float:
    """To two decimals, halves up: no quotient of the report is negative."""
    return int(quotient * 100 + Fraction(1, 2)) / 100


def ratio(numerator: int, denominator: int) -> float:
    return rounded(Fraction(numerator, denominator)) if denominator else 0.0


def participation(world: World) -> list[dict[str, Any]]:
    return [
        {
            "user_id": user.id,
            "username": name(user.id),
            "email": mail(user.id),
            "fast_id": fast.id,
            "fast_name": fast.label,
            "church_name": f"church {fast.church}",
            "joined_at": printed(joined),
            "left_at": printed(left),
            "status": status,
        }
        for user in world.users
        for fast in world.fasts
        for joined, left, status in spells(world, user, fast.id)
    ]


def in_period(world: World, code: str) -> Counter[int]:
    start, end = world.period.start_instant, world.period.end_instant
    return Counter(e.fast for e in world.events if e.code == code and start <= e.at < end)


def fasts(world: World) -> list[dict[str, Any]]:
    return [
        {
            "fast_id": fast.id,
            "fast_name": fast.label,
            "church_name": f"church {fast.church}",
            "participants": sum(is_member(world, user, fast.id) for user in world.users),
            "joins_in_period": in_period(world, JOIN)[fast.id],
            "leaves_in_period": in_period(world, LEAVE)[fast.id],
        }
        for fast in world.fasts
    ]


def cohorts(world: World) -> list[dict[str, Any]]:
    weeks: dict[Any, list[User]] = {}
    for user in world.users:
        if user.joined < world.period.end_instant:
            day = user.joined.astimezone(world.period.zone).date()
            weeks.setdefault(day - day.weekday() * DAY, []).append(user)
    rows = []
    for monday in sorted(weeks, reverse=True):
        ids = {user.id for user in weeks[monday]}
        active = ids & set(world.activities)
        year, week, _ = monday.isocalendar()
        rows.append(
            {
                "cohort_week": f"{year:04}-W{week:02}",
                "cohort_start_date": str(monday),
                "total_users": len(ids),
                "active_users": len(active),
                "retention_rate": ratio(100 * len(active), len(ids)),
                "avg_activities_per_user": ratio(
                    sum(user in ids for user in world.activities), len(active)
                ),
                "cohort_age_weeks": (world.period.end - monday).days // 7,
            }
        )
    return rows


def cross_engagement(world: World) -> dict[str, Any]:
    anywhere = {
        user.id
        for user in world.users
        for fast in {fast for _, fast in world.members} | {e.fast for e in world.events}
        if is_member(world, user, fast)
    }
    active = set(world.activities)
    inside = [user for user in world.activities if user in anywhere]
    return {
        "users_both_devotional_and_checklist": 0,
        "users_in_fasts_with_activity": len(active & anywhere),
        "users_without_fasts_with_activity": len(active - anywhere),
        "avg_activities_users_with_fast": ratio(len(inside), len(active & anywhere)),
        "avg_activities_users_without_fast": ratio(
            len(world.activities) - len(inside), len(active - anywhere)
        ),
    }


def top_fasts(world: World) -> list[dict[str, Any]]:
    labels = {fast.id: fast.label for fast in world.fasts}
    joins = in_period(world, JOIN)
    return [
        {"fast_id": fast, "fast": labels.get(fast, str(fast)), "joins": joins[fast]}
        for fast in sorted(joins, key=lambda fast: (-joins[fast], fast))
    ]


def computed(tables: dict[str, list[Row]], period: Period, names: Iterable[str]) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder)
        write_tables(path, tables)
        return {
            name: json.loads(
                (
                    path / engine.compute(name, path, period, path, Format.JSON, Settings()).file
                ).read_bytes()
            )
            for name in names
        }


@examples(max_examples=40, deadline=None, derandomize=True)
@given(worlds())
def test_membership_is_what_the_history_tells(world: World) -> None:
    found = computed(
        world.tables(),
        world.period,
        ("user_fast_participation", "fasts", "retention_cohorts", "other_metrics"),
    )
    assert found["user_fast_participation"] == participation(world)
    assert found["fasts"] == fasts(world)
    assert found["retention_cohorts"] == cohorts(world)
    other = found["other_metrics"]
    assert other["engagement_patterns"]["cross_engagement"] == cross_engagement(world)
    assert other["top_fasts_by_joins"] == top_fasts(world)


def registrations(of: Period, *instants: datetime) -> World:
    """A user with an activity for each of the instants, and nothing else."""
    users = [User(n, instant) for n, instant in enumerate(instants, start=1)]
    return World(of, users, [], [], set(), [user.id for user in users], {JOIN: 1, LEAVE: 2})


def around(asked: Period) -> Iterator[datetime]:
    """Every half hour about the period's bounds."""
    for instant in (asked.start_instant, asked.end_instant):
        yield from (instant + n * timedelta(minutes=30) for n in range(-8, 9))


def assert_cohorts(world: World) -> None:
    found = computed(world.tables(), world.period, ["retention_cohorts"])
    assert found == {"retention_cohorts": cohorts(world)}


def test_weeks_are_cut_by_the_rules_that_cut_the_days(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever another time zone database says: this one has Vancouver on Havana's clock."""
    zones = {"America/Vancouver": "America/Havana", "UTC": "UTC"}
    other = {name: period.parse_timezone(zone) for name, zone in zones.items()}
    monkeypatch.setattr(period, "_read_timezone", other.__getitem__)
    asked = Period.parse("2026-01-12", "2026-01-18", "America/Vancouver")
    assert_cohorts(registrations(asked, *around(asked)))


@pytest.mark.parametrize("timezone", ["America/Havana", "America/Vancouver"])
def test_weeks_where_the_rules_changed_of_late(timezone: str) -> None:
    """Databases of different age disagree: nobody is in a week that begins after the end."""
    asked = Period.parse("2026-11-09", "2026-11-15", timezone)
    world = registrations(asked, *around(asked))
    assert [row["cohort_start_date"] for row in cohorts(world)] == ["2026-11-09", "2026-11-02"]
    assert_cohorts(world)


@pytest.mark.parametrize("timezone", ["UTC", "America/Juneau", "Asia/Manila"])
def test_registrations_of_long_ago(timezone: str) -> None:
    """Local mean time, which has seconds, long before there were time zones."""
    asked = Period.parse("2026-01-12", "2026-01-18", timezone)
    weeks = (
        datetime(year, 1, 1, tzinfo=UTC) + n * DAY for year in (2, 201, 1883) for n in range(7)
    )
    instants = [
        datetime.combine(day, time.min, asked.zone).astimezone(UTC) + n * TICK
        for day in weeks
        for n in (-1, 0)
    ]
    world = registrations(asked, *instants)
    assert {row["cohort_week"] for row in cohorts(world)} > {"0002-W01", "0201-W01", "1883-W01"}
    assert_cohorts(world)


def test_registrations_before_all_weeks_are_of_the_first() -> None:
    asked = Period.parse("2026-01-12", "2026-01-18", "Asia/Tokyo")
    world = registrations(asked, datetime(1, 1, 2, tzinfo=UTC), datetime(1, 1, 9, tzinfo=UTC))
    [row] = computed(world.tables(), asked, ["retention_cohorts"])["retention_cohorts"]
    assert (row["cohort_week"], row["cohort_start_date"]) == ("0001-W02", "0001-01-08")
    assert row["total_users"] == row["active_users"] == 2


def test_nobody_has_registered_before_the_end() -> None:
    asked = Period.parse("2026-01-12", "2026-01-18")
    world = registrations(asked, asked.end_instant)
    assert computed(world.tables(), asked, ["retention_cohorts"]) == {"retention_cohorts": []}

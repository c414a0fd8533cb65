"""Histories of any kind against the specification read in plain Python."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from tests.fasts import CHURCHES, JOIN, LEAVE, LONG_AGO, App, day_id

DAY = timedelta(days=1)
TICK = timedelta.resolution
# Summer time begins in New York on the fourth day.
FIRST = date(2026, 3, 5)
DAYS = [FIRST + n * DAY for n in range(7)]
ZONES = ("UTC", "America/New_York")
THRESHOLDS = (10, 25, 50, 100, 250, 500, 1000)
USERS = range(1, 13)
# Most of them, so that a threshold is crossed often, and some.
GROUPS = (range(1, 10), range(1, 11), range(1, 13), range(9, 13), range(10, 12), (1,), (12,))

Event = dict[str, Any]


@dataclass(slots=True)
class Devotional:
    id: int
    fast: int
    day: date
    order: int | None
    language: str


@dataclass(slots=True)
class World:
    """What the app's database holds."""

    zone: ZoneInfo
    users: dict[int, datetime]
    fasts: dict[int, str]
    days: dict[int, set[date]]
    devotionals: list[Devotional]
    members: set[tuple[int, int]] = field(default_factory=set)
    history: list[tuple[str, int, int, datetime]] = field(default_factory=list)
    """Code, user, fast and instant, in the order of their ids."""
    events: list[Event] = field(default_factory=list)
    milestones: dict[tuple[str, int], tuple[int, datetime]] = field(default_factory=dict)
    feed: list[tuple[object, ...]] = field(default_factory=list)

    def begins(self, day: date) -> datetime:
        return datetime.combine(day, time.min, self.zone).astimezone(UTC)

    def is_member(self, user: int, fast: int, at: datetime) -> bool:
        if self.users[user] >= at:
            return False
        after = [
            (when, position, code)
            for position, (code, who, what, when) in enumerate(self.history)
            if (who, what) == (user, fast) and when >= at
        ]
        return min(after)[2] == LEAVE if after else (user, fast) in self.members

    def participants(self, fast: int, at: datetime) -> list[int]:
        return [user for user in self.users if self.is_member(user, fast, at)]

    def has(self, code: str, fast: int, holds: Callable[[Event], bool] = lambda _: True) -> bool:
        return any(e["code"] == code and e["fast"] == fast and holds(e) for e in self.events)

    def tell(self, code: str, fast: int, at: datetime, user: int | None, **data: Any) -> Event:
        common = {
            "fast_id": fast,
            "fast_name": self.fasts[fast],
            "church_id": 1,
            "church_name": CHURCHES[1],
        }
        event = {"code": code, "fast": fast, "at": at, "user": user, "data": {**common, **data}}
        self.events.append(event)
        return event

    def fan_out(self, activity_type: str, event: Event, users: list[int]) -> None:
        for user in users:
            told = (activity_type, event["fast"], user, event["at"])
            self.feed.append((*told, event["data"].get("devotional_id")))


def run(world: World, now: datetime, lookback_days: int, *, fan_out: bool) -> None:
    """What the specification says that a run writes."""
    after = now - lookback_days * DAY

    def is_due(at: datetime) -> bool:
        return after < at <= now

    reached: list[tuple[str, int, int, datetime]] = []
    for fast, name in world.fasts.items():
        days = sorted(world.days[fast])
        if not days:
            continue
        begin, last_day, end = map(world.begins, (days[0], days[-1], days[-1] + DAY))
        if is_due(begin) and not world.has("fast_beginning", fast):
            members = world.participants(fast, begin)
            event = world.tell(
                "fast_beginning", fast, begin, None, year=2026, participant_count=len(members)
            )
            world.fan_out("fast_start", event, members if fan_out else [])
        if is_due(end):
            members = world.participants(fast, end)
            if not world.has("fast_ending", fast, lambda e, since=last_day: e["at"] >= since):  # type: ignore[misc]
                world.tell(
                    "fast_ending", fast, end, None, year=2026, final_participant_count=len(members)
                )
            if not name.lower().startswith(("wednesday", "friday")):
                kind = "first_nonweekly_fast_complete"
                reached += [(kind, user, fast, end) for user in members]
        for day in filter(lambda day: is_due(world.begins(day)), days):
            standing = [d for d in world.devotionals if (d.fast, d.day) == (fast, day)]
            for order in {d.order for d in standing}:
                same = [d for d in standing if d.order == order]
                ids = {d.id for d in same}
                if world.has(
                    "devotional_available",
                    fast,
                    lambda e, ids=ids: e["data"].get("devotional_id") in ids,  # type: ignore[misc]
                ):
                    continue
                chosen = min(same, key=lambda d: (d.language != "en", d.id))
                event = world.tell(
                    "devotional_available",
                    fast,
                    world.begins(day),
                    None,
                    devotional_id=chosen.id,
                    devotional_title=f"Video {chosen.id}",
                    devotional_description=f"Text {chosen.id}",
                    devotional_date=str(day),
                    day_id=day_id(fast, day),
                    order=order,
                )
                members = world.participants(fast, event["at"]) if fan_out else []
                world.fan_out("devotional_available", event, members)
        if any(world.begins(day) > after for day in days):
            count = len(world.participants(fast, now))
            for milestone in THRESHOLDS:
                if count >= milestone and not world.has(
                    "fast_participant_milestone",
                    fast,
                    lambda e, milestone=milestone: e["data"].get("milestone") == milestone,  # type: ignore[misc]
                ):
                    world.tell(
                        "fast_participant_milestone",
                        fast,
                        now,
                        None,
                        participant_count=count,
                        milestone=milestone,
                        milestone_type="participant_count",
                    )
    for user in world.users:
        joins = [
            (at, position, fast)
            for position, (code, who, fast, at) in enumerate(world.history)
            if who == user and code == JOIN
        ]
        if joins and is_due(min(joins)[0]):
            at, _, fast = min(joins)
            reached.append(("first_fast_join", user, fast, at))
    for kind, user, fast, at in sorted(reached, key=lambda one: (one[3], one[2])):
        if (kind, user) not in world.milestones:
            world.milestones[kind, user] = (fast, at)
            event = world.tell("user_milestone_reached", fast, now, user, milestone_type=kind)
            world.fan_out("milestone", event, [user])


# The same changes in the world and in the app


Change = Callable[[World, App], None]


def instants(zone: ZoneInfo) -> st.SearchStrategy[datetime]:
    """Around the begins of days, where something changes."""
    begins = [
        datetime.combine(day, time.min, zone).astimezone(UTC) for day in [*DAYS, DAYS[-1] + DAY]
    ]
    hours = timedelta(hours=9)
    return st.builds(
        lambda begin, offset: begin + offset,
        st.sampled_from(begins),
        st.sampled_from([-TICK, 0 * TICK, TICK, hours]),
    )


def some_days() -> st.SearchStrategy[set[date]]:
    """None, one, several with gaps, or all of a stretch."""
    stretch = st.builds(
        lambda first, count: set(DAYS[first : first + count]), st.integers(0, 5), st.integers(1, 4)
    )
    return st.one_of(stretch, stretch, st.sets(st.sampled_from(DAYS), max_size=3))


def set_members(world: World, app: App, fast: int, users: list[int], *, are: bool) -> None:
    known = {user for user, what in world.members if what == fast}
    if are:
        app.members(fast, sorted(set(users) - known))
        world.members |= {(user, fast) for user in users}
    else:
        app.no_members(fast, users)
        world.members -= {(user, fast) for user in users}


@st.composite
def changes(draw: st.DrawFn, zone: ZoneInfo, fasts: list[int]) -> Change:
    fast = draw(st.sampled_from(fasts))
    what = draw(st.sampled_from(["days", "join", "join", "leave", "bulk", "event", "restored"]))
    at = draw(instants(zone))
    users = list(draw(st.sampled_from(GROUPS)))
    if what == "days":
        days = draw(some_days())

        def change_days(world: World, app: App) -> None:
            world.days[fast] = set(days)
            app.days(fast, sorted(days))

        return change_days
    if what in {"join", "leave", "restored"}:
        # Restored: the event tells of a leave, and the membership came back without one.
        code = JOIN if what == "join" else LEAVE

        def record(world: World, app: App) -> None:
            app.wrote(code, fast, at, users)
            world.history += [(code, user, fast, at) for user in users]
            set_members(world, app, fast, users, are=what != "leave")

        return record
    if what == "bulk":
        are = draw(st.booleans())
        return lambda world, app: set_members(world, app, fast, users, are=are)
    code, data = draw(
        st.sampled_from(
            [
                ("fast_beginning", {}),
                ("fast_ending", {}),
                ("fast_participant_milestone", {"milestone": 10}),
                ("devotional_available", {"devotional_id": 1}),
                ("devotional_available", {"devotional_id": 3}),
            ]
        )
    )

    def written_by_the_app(world: World, app: App) -> None:
        app.wrote(code, fast, at, (None,), **data)
        world.events.append({"code": code, "fast": fast, "at": at, "by": "app", "data": data})

    return written_by_the_app


Run = tuple[list[Change], datetime, int, bool]


@st.composite
def stories(draw: st.DrawFn) -> tuple[World, list[Run]]:
    zone = ZoneInfo(draw(st.sampled_from(ZONES)))
    fasts = list(range(1, 1 + draw(st.integers(1, 3))))
    names = st.sampled_from(["Great Lent", "Պահք", "friday fast"])
    devotionals = draw(
        st.lists(
            st.tuples(
                st.sampled_from(fasts),
                st.sampled_from(DAYS),
                st.sampled_from([1, 2, None]),
                st.sampled_from(["en", "hy"]),
            ),
            max_size=8,
            # Null is like no other null to the app's key, and is not asked of here.
            unique_by=lambda one: one,
        )
    )
    newcomer = draw(st.sampled_from([LONG_AGO, *(draw(instants(zone)) for _ in range(2))]))
    world = World(
        zone,
        {user: newcomer if user in {10, 12} else LONG_AGO for user in USERS},
        {fast: f"{draw(names)} {fast}" for fast in fasts},
        {fast: draw(some_days()) for fast in fasts},
        [Devotional(n, *one) for n, one in enumerate(devotionals, start=1)],
    )
    runs = st.tuples(
        st.lists(changes(zone, fasts), min_size=1, max_size=5),
        instants(zone),
        st.integers(1, 4),
        st.booleans(),
    )
    return world, draw(st.lists(runs, min_size=1, max_size=3))


def fill(world: World, app: App) -> None:
    app.reset()
    app.zone = world.zone.key
    for joined in set(world.users.values()):
        app.users([user for user, at in world.users.items() if at == joined], joined)
    for fast, name in world.fasts.items():
        app.fast(fast, sorted(world.days[fast]), name=name)
    for one in world.devotionals:
        app.devotional(one.id, one.fast, one.day, order=one.order, language_code=one.language)


def as_read(world: World) -> tuple[object, ...]:
    """What runs have written, by the reading of the specification."""
    events = [
        (e["code"], e["fast"], e["user"], e["at"], sorted(e["data"].items()))
        for e in world.events
        if "by" not in e
    ]
    return Counter(map(str, events)), Counter(map(str, world.feed)), world.milestones


def as_written(app: App) -> tuple[object, ...]:
    """The same out of the app's tables."""
    events = []
    for row in app.written():
        at = row["timestamp"].astimezone(UTC)
        data = sorted(row["data"].items())
        events.append((row["code"], row["fast_id"], row["user_id"], at, data))
    feed = []
    for row in app.feed():
        at = row["created_at"].astimezone(UTC)
        devotional = int(row["devotional_id"]) if row["devotional_id"] else None
        feed.append((row["activity_type"], row["fast_id"], row["user_id"], at, devotional))
    milestones = {
        (row["milestone_type"], row["user_id"]): (
            row["fast_id"],
            row["achieved_at"].astimezone(UTC),
        )
        for row in app.milestones()
    }
    return Counter(map(str, events)), Counter(map(str, feed)), milestones


@examples(max_examples=40, deadline=None, derandomize=True)
@given(stories())
def test_runs_write_what_the_specification_says(
    module_app: App, story: tuple[World, list[Run]]
) -> None:
    app = module_app
    world, runs = story
    fill(world, app)
    for changed, now, lookback_days, fan_out in runs:
        for change in changed:
            change(world, app)
        run(world, now, lookback_days, fan_out=fan_out)
        outcomes = app.run(now, lookback_days=lookback_days, fan_out=fan_out)
        assert as_written(app) == as_read(world)
        assert all(outcome.written == outcome.missing for outcome in outcomes.values())
    again = app.run(now, lookback_days=lookback_days, fan_out=fan_out)
    assert as_written(app) == as_read(world)
    for kind, outcome in again.items():
        assert outcome.written == outcome.missing == 0
        assert outcome.already_there >= outcomes[kind].written

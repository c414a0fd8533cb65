"""Events stand once, whatever happens: runs at the same time, killed runs, any order of runs."""

from __future__ import annotations

import multiprocessing
import random
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta

import pytest

from engagement import events
from engagement.event_kinds import Kind
from engagement.settings import Settings
from tests import fasts
from tests.fasts import App, Row, days_from

DAY = timedelta(days=1)
HOUR = timedelta(hours=1)
NOW = datetime(2026, 3, 16, 9, 30, tzinfo=UTC)
FIRST = date(2026, 3, 2)
ZONE = "America/New_York"  # Summer time begins on 8 March 2026.
RUNS_AT_ONCE = 20
KILLS = 50
LIFECYCLE = ("fast_beginnings", "fast_endings", "devotionals_available")
LIFECYCLE_CODES = ("fast_beginning", "fast_ending", "devotional_available")
OUR_CONNECTIONS = (
    "select pid from pg_stat_activity where application_name like 'engagement-events%'"
)


@pytest.fixture
def app(module_app: App) -> App:
    """Six fasts in two weeks of March, forty users, joins, leaves and devotionals."""
    app = module_app
    app.reset()
    app.zone = ZONE
    chance = random.Random(5)
    app.users(range(1, 41))
    for fast in range(1, 7):
        app.fast(fast, days_from(FIRST + 2 * fast * DAY, fast), name=f"Fast {fast}")
        members = chance.sample(range(1, 41), 30)
        begins = datetime(2026, 3, 2, tzinfo=UTC) + 2 * fast * DAY
        for user in members:
            app.join(fast, [user], begins - DAY + chance.random() * 2 * DAY)
        for user in members[:6]:
            app.leave(fast, [user], begins + DAY + chance.random() * 4 * DAY)
        for number, day in enumerate(days_from(FIRST + 2 * fast * DAY, fast)):
            app.devotional(100 * fast + 2 * number, fast, day, language_code="hy")
            app.devotional(100 * fast + 2 * number + 1, fast, day)
    return app


@pytest.fixture
def undisturbed(app: App) -> tuple[list[Row], ...]:
    """What one run writes that nobody disturbs."""
    fasts.run_all(app.uri, NOW, ZONE)
    state = app.state()
    app.forget()
    codes = Counter(row["code"] for row in state[0])
    assert min(codes.values()) >= 2
    assert len(codes) == 5
    assert len(state[1]) > 200
    return state


def test_runs_at_the_same_time_write_one_of_each(
    app: App, undisturbed: tuple[list[Row], ...]
) -> None:
    work = [kind for kind in Kind for _ in range(RUNS_AT_ONCE)]
    with ThreadPoolExecutor(RUNS_AT_ONCE) as pool:
        outcomes = list(pool.map(lambda kind: app.write(kind, NOW), work))
    assert app.state() == undisturbed
    # Of each kind one run wrote all, and nineteen found it there.
    for kind in Kind:
        counts = Counter(outcome.written for outcome in outcomes if outcome.kind == kind)
        assert sorted(counts.values()) == [1, RUNS_AT_ONCE - 1]
        assert counts[0] == RUNS_AT_ONCE - 1


def test_event_types_are_added_once(app: App) -> None:
    app.execute("delete from events_eventtype where code not like 'user_%_fast'")
    with ThreadPoolExecutor(RUNS_AT_ONCE) as pool:
        added = list(
            pool.map(
                lambda _: events.sync_event_types(app.address, NOW, events.Options(), Settings()),
                range(RUNS_AT_ONCE),
            )
        )
    assert sorted(code for codes in added for code in codes) == sorted(
        row["code"]
        for row in app.rows("select code from events_eventtype where code not like 'user_%_fast'")
    )
    assert sum(map(len, added)) == 5


@pytest.fixture(scope="module")
def processes() -> multiprocessing.context.ForkServerContext:
    """Starts processes that have imported what a run needs already."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.fasts"])
    return context


@pytest.mark.parametrize("how", ["process", "connection"])
def test_a_killed_run_is_made_good(
    how: str,
    app: App,
    undisturbed: tuple[list[Row], ...],
    processes: multiprocessing.context.ForkServerContext,
) -> None:
    """Killed at any moment of its work, and completed by the next run."""
    chance = random.Random(11)
    began = time.monotonic()
    fasts.run_all(app.uri, NOW, ZONE)
    longest = time.monotonic() - began
    left: Counter[int] = Counter()
    for _ in range(KILLS // 2):
        app.forget()
        process = processes.Process(target=fasts.run_till_cut, args=(app.uri, NOW, ZONE))
        process.start()
        while process.is_alive() and not app.rows(OUR_CONNECTIONS):
            continue
        # There is no condition to wait for: any moment will do.
        process.join(chance.random() * longest)
        if how == "process":
            process.kill()
        else:
            for row in app.rows(OUR_CONNECTIONS):
                app.rows("select pg_terminate_backend(%(pid)s)", row)
        process.join()
        left[len(app.written())] += 1
        fasts.run_all(app.uri, NOW, ZONE)
        assert app.state() == undisturbed
    # The kills fell on several moments, and not all before or after the work.
    assert len(left) >= 3


def test_a_gap_of_days_is_caught_up(app: App, undisturbed: tuple[list[Row], ...]) -> None:
    """Of runs before and after it the same as of one, but for what is dated by the run."""
    for now in (NOW - 12 * DAY, NOW - 11 * DAY, NOW - 5 * DAY, NOW):
        fasts.run_all(app.uri, now, ZONE)
    before = {key(row) for row in undisturbed[0] if row["code"] in LIFECYCLE_CODES}
    after = [key(row) for row in app.written(*LIFECYCLE_CODES)]
    assert before <= set(after)
    assert len(after) == len(set(after))


def key(row: Row) -> tuple[object, ...]:
    """All of a lifecycle event but when it was written."""
    return tuple(str(value) for name, value in row.items() if name != "created_at")


def test_any_order_of_the_same_runs_ends_in_the_same(app: App) -> None:
    """A run each hour of two weeks, one run that looks back on them, and the hours shuffled."""
    start = datetime(2026, 3, 2, tzinfo=UTC)
    hours = [start + n * HOUR for n in range(14 * 24 + 1)]

    def lifecycle(instants: list[datetime], lookback_days: int) -> list[tuple[object, ...]]:
        app.forget()

        def write(kind: str) -> None:
            for now in instants:
                app.write(kind, now, lookback_days=lookback_days, fan_out=False)

        with ThreadPoolExecutor() as pool:
            list(pool.map(write, LIFECYCLE))
        return [key(row) for row in app.written()]

    hourly = lifecycle(hours, 1)
    assert len(hourly) > 20
    assert lifecycle([hours[-1]], 14) == hourly
    # One run of each day sees all: a few more, in any order.
    shuffled = [hours[0], *hours[::7], hours[-1]]
    random.Random(3).shuffle(shuffled)
    assert lifecycle(shuffled, 1) == hourly

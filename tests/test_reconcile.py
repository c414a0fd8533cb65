"""Memberships compared with the recorded joins and leaves."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import psycopg
import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from engagement import events
from engagement.app_database import Address
from engagement.errors import EngagementError
from engagement.events import Disagreements
from engagement.settings import Settings
from tests.fasts import JOIN, LEAVE, App

AT = datetime(2026, 3, 2, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
NONE = Disagreements(never_recorded=0, gone=0, doubled=0)


@pytest.fixture
def app(module_app: App) -> App:
    module_app.reset()
    module_app.users(range(1, 10))
    module_app.fast(1, name="Great Lent")
    module_app.fast(2, name="Պահք", year=None)
    return module_app


def reconcile(app: App) -> events.Reconciliation:
    return events.reconcile(app.address, Settings())


def test_what_agrees_is_not_told(app: App) -> None:
    app.join(1, [1, 2], AT)
    app.leave(1, [1], AT + HOUR)
    app.join(1, [1], AT + 2 * HOUR)
    app.leave(1, [2], AT + HOUR)
    # The join before it was long ago, and is purged or was never seen.
    app.wrote(LEAVE, 2, AT, [3])
    assert reconcile(app) == events.Reconciliation(NONE, {})


def test_members_whose_join_was_never_recorded(app: App) -> None:
    app.members(1, [1, 2])
    app.leave(1, [3], AT)
    app.members(1, [3])
    found = Disagreements(never_recorded=3, gone=0, doubled=0)
    assert reconcile(app) == events.Reconciliation(found, {(1, "Great Lent (2026)"): found})


def test_recorded_members_who_are_gone(app: App) -> None:
    app.join(1, [1, 2], AT)
    app.no_members(1, [2])
    app.join(2, [3], AT)
    app.no_members(2, [3])
    one = Disagreements(never_recorded=0, gone=1, doubled=0)
    assert reconcile(app) == events.Reconciliation(
        Disagreements(never_recorded=0, gone=2, doubled=0),
        {(1, "Great Lent (2026)"): one, (2, "Պահք"): one},
    )


def test_pairs_with_doubled_events(app: App) -> None:
    app.join(1, [1, 2, 3, 4], AT)
    app.wrote(JOIN, 1, AT, [1])
    app.wrote(JOIN, 1, AT + 500 * HOUR, [1, 2])
    app.leave(1, [3], AT + HOUR)
    app.wrote(LEAVE, 1, AT + 2 * HOUR, [3])
    # Another fast, and another user, between them.
    app.wrote(JOIN, 2, AT + HOUR, [4])
    app.members(2, [4])
    found = Disagreements(never_recorded=0, gone=0, doubled=3)
    assert reconcile(app).fasts == {(1, "Great Lent (2026)"): found}


def test_events_of_one_instant_are_ordered_by_id(app: App) -> None:
    app.join(1, [1], AT)
    app.leave(1, [1], AT)
    assert reconcile(app).totals == NONE
    app.leave(1, [2], AT)
    app.join(1, [2], AT)
    assert reconcile(app).totals == NONE


def test_what_plays_no_part(app: App) -> None:
    """Anonymous events, other types and targets, and fasts that are gone."""
    app.wrote(JOIN, 1, AT, [None, None])
    app.wrote("screen_view", 1, AT, [1])
    app.join(77, [1], AT)
    app.no_members(77, [1])
    app.wrote(JOIN, 2, AT, [2])
    app.execute("update events_event set content_type_id = 9 where object_id = 2")
    assert reconcile(app) == events.Reconciliation(NONE, {})


def test_a_pair_can_be_told_twice(app: App) -> None:
    app.join(1, [1], AT)
    app.wrote(JOIN, 1, AT + HOUR, [1])
    app.no_members(1, [1])
    assert reconcile(app).totals == Disagreements(never_recorded=0, gone=1, doubled=1)


def test_without_joins_and_leaves_ever(app: App) -> None:
    app.members(1, [1])
    app.execute("delete from events_eventtype where code like 'user_%_fast'")
    assert reconcile(app).totals == Disagreements(never_recorded=1, gone=0, doubled=0)


def test_as_json_and_in_the_log(app: App) -> None:
    app.members(1, range(1, 6))
    app.join(2, [1], AT)
    app.wrote(JOIN, 2, AT + HOUR, [1])
    found = reconcile(app)
    assert json.loads(json.dumps(found.as_json())) == {
        "totals": {"never_recorded": 5, "gone": 0, "doubled": 1},
        "fasts": [
            {
                "fast_id": 1,
                "fast": "Great Lent (2026)",
                "never_recorded": 5,
                "gone": 0,
                "doubled": 0,
            },
            {"fast_id": 2, "fast": "Պահք", "never_recorded": 0, "gone": 0, "doubled": 1},
        ],
    }
    assert found.log_table().splitlines() == [
        "fast                        never recorded  gone  doubled",
        "Great Lent (2026) (fast 1)               5     0        0",
        "Պահք (fast 2)                            0     0        1",
        "all                                      5     0        1",
    ]


def test_nothing_is_changed(app: App) -> None:
    app.members(1, [1])
    tables = (
        "events_event",
        "hub_profile_fasts",
        "events_useractivityfeed",
        "events_usermilestone",
    )
    before = [app.rows(f"select xmin::text, * from {table}") for table in tables]
    reconcile(app)
    assert [app.rows(f"select xmin::text, * from {table}") for table in tables] == before


def test_without_the_content_type(app: App) -> None:
    app.execute("delete from django_content_type")
    with pytest.raises(EngagementError, match="reconcile: the app's database has no content type"):
        reconcile(app)


def test_the_golden_database(golden_address: Address, golden_uri: str) -> None:
    """Against the same told pair by pair."""
    with psycopg.connect(golden_uri) as connection:
        members = set(
            connection.execute(
                "select profile.user_id, member.fast_id from hub_profile_fasts as member"
                " inner join hub_profile as profile on profile.id = member.profile_id"
            ).fetchall()
        )
        rows = connection.execute(
            "select event.user_id, event.object_id, type.code from events_event as event"
            " inner join events_eventtype as type on type.id = event.event_type_id"
            " inner join hub_fast as fast on fast.id = event.object_id"
            " inner join django_content_type as target on target.id = event.content_type_id"
            " where type.code in ('user_joined_fast', 'user_left_fast')"
            " and target.app_label = 'hub' and target.model = 'fast'"
            " and event.user_id is not null order by event.timestamp, event.id"
        ).fetchall()
    history: dict[tuple[int, int], list[str]] = {}
    for user, fast, code in rows:
        history.setdefault((user, fast), []).append(code)
    assert events.reconcile(golden_address, Settings()).totals == told(members, history)


def told(members: set[tuple[int, int]], history: dict[tuple[int, int], list[str]]) -> Disagreements:
    joined = {pair for pair, codes in history.items() if codes[-1] == JOIN}
    doubled = [
        pair
        for pair, codes in history.items()
        if any(one == other for one, other in pairwise(codes))
    ]
    return Disagreements(len(members - joined), len(joined - members), len(doubled))


PAIRS = st.tuples(st.integers(1, 3), st.integers(1, 2))


@examples(max_examples=25, deadline=None, derandomize=True)
@given(
    st.sets(PAIRS),
    st.lists(st.tuples(PAIRS, st.sampled_from([JOIN, LEAVE]), st.integers(0, 3)), max_size=16),
)
def test_any_history(
    module_app: App,
    members: set[tuple[int, int]],
    happened: list[tuple[tuple[int, int], str, int]],
) -> None:
    app = module_app
    app.reset()
    app.users([1, 2, 3])
    app.fast(1)
    app.fast(2)
    for user, fast in members:
        app.members(fast, [user])
    history: dict[tuple[int, int], list[str]] = {}
    for (user, fast), code, hours in happened:
        app.wrote(code, fast, AT + hours * HOUR, [user])
    for pair, code, _ in sorted(happened, key=lambda one: one[2]):
        history.setdefault(pair, []).append(code)
    assert reconcile(app).totals == told(members, history)

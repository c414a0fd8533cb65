"""### Lifecycle and milestone events of fasts

Each run writes into the app's own tables what has become due since the last ones, and is not there
yet: exactly once, however often it runs.

| task | event | when it is due |
| --- | --- | --- |
| `fast_beginnings` | `fast_beginning` | the fast's first day begins |
| `fast_endings` | `fast_ending` | the day after its last day begins |
| `devotionals_available` | `devotional_available` | the devotional's day begins |
| `participant_milestones` | `fast_participant_milestone` | 10, 25, 50 ... 1000 take part |
| `user_milestones` | `user_milestone_reached` | a first fast is joined, or completed |

`reconcile` compares once a day who is a member with who joined and left, and changes nothing. To
check the milestones of one fast by hand, trigger a run with its number in `fast_ids`. To see what a
run would write, switch on `dry_run`. Where more events than `max_events` are due, a kind writes
none and fails: look at what its log names, and raise it if that is right.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from airflow.sdk import Asset, CronDataIntervalTimetable, Param, chain, dag, task

from engagement.event_kinds import (
    DEFAULT_LOOKBACK_DAYS,
    DEFAULT_MAX_EVENTS,
    LONGEST_LOOKBACK_DAYS,
    Kind,
)
from engagement.rim import fast_events as rim
from engagement.rim.common import DEFAULT_ARGS
from engagement.settings import load

WRITTEN = Asset(name="engagement_fast_events", uri="x-engagement://fast-events")
RECONCILED = Asset(name="engagement_reconciliation", uri="x-engagement://reconciliation")
PARAMS: dict[str, Any] = {
    "lookback_days": Param(
        DEFAULT_LOOKBACK_DAYS,
        type="integer",
        minimum=1,
        maximum=LONGEST_LOOKBACK_DAYS,
        title="Look back, in days",
        description="Events that became due in these days of 24 hours before the run's instant",
    ),
    "max_events": Param(
        DEFAULT_MAX_EVENTS,
        type="integer",
        minimum=1,
        title="At most, events of a kind",
        description="A kind with more writes none and fails; users' milestones have no such limit",
    ),
    "fan_out": Param(
        "automatic",
        type="string",
        enum=[*rim.FAN_OUT],
        title="Tell the participants",
        description="In their feeds. Automatic: yes, but not in a backfill, whose news is old",
    ),
    "fast_ids": Param(
        [],
        type=["null", "array"],
        items={"type": "integer", "minimum": 1},
        title="Only these fasts",
        description="A list of their numbers, as in [12, 34]. Empty: all",
    ),
    "dry_run": Param(
        False,
        type="boolean",
        title="Dry run",
        description="Say what would be written, and write nothing",
    ),
}
# Airflow's types know no results as arguments.
step: Any = task


@dag(
    description="Writes lifecycle and milestone events of fasts into the app",
    schedule=CronDataIntervalTimetable("0 * * * *", timezone=load().timezone),
    start_date=datetime(2020, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
    default_args=DEFAULT_ARGS,
    params=PARAMS,
    tags=["engagement", "events"],
    doc_md=__doc__,
)
def fast_events() -> None:
    """The DAG."""
    synced = step(rim.sync_event_types)()
    written = [step(task_id=kind)(rim.write)(kind) for kind in map(str, Kind)]
    summary = step(outlets=[WRITTEN], trigger_rule="all_done")(rim.summary)(
        [*map(str, Kind)], written, WRITTEN.name
    )
    chain(synced, written, summary)
    step(outlets=[RECONCILED])(rim.reconcile)(RECONCILED.name)


fast_events()

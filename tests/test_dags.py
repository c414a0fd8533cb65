"""The DAG files: what they define, and that parsing them is light."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import date, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from engagement.event_kinds import Kind
from engagement.period import Cadence, Period

ROOT = Path(__file__).resolve().parent.parent
HEAVY = {
    "great_expectations",
    "pandas",
    "duckdb",
    "pyarrow",
    "adbc_driver_manager",
    "psycopg",
    "boto3",
    "botocore",
}

# A zone with summer time, one that skips midnights, one that has midnights twice.
CLOCKS = {
    "UTC": date(2024, 2, 26),
    "America/Los_Angeles": date(2024, 3, 9),
    "Africa/Cairo": date(2024, 4, 20),
    "America/Havana": date(2024, 11, 1),
}
RUNS = 5

# Run in a process of its own: what parsing imports must not be told by what other tests import.
_PARSE = """
import importlib.util, json, os, socket, sys
import pendulum
from airflow.sdk.definitions._internal.contextmanager import DagContext
import airflow.sdk

def refuse(*arguments, **options):
    raise AssertionError("a DAG file opened a connection while it was parsed")

def parse():
    dags = {}
    for path in json.loads(sys.argv[1]):
        name = os.path.basename(path).removesuffix(".py")
        spec = importlib.util.spec_from_file_location(name, path)
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        DagContext.autoregistered_dags.clear()
        DagContext.current_autoregister_module_name = name
        spec.loader.exec_module(module)
        dags |= {dag.dag_id: dag for dag, _ in DagContext.autoregistered_dags}
    return dags

def intervals(dag, first, runs):
    timetable = coerce_to_core_timetable(dag.timetable)
    earliest = pendulum.parse(first, tz=os.environ["ENGAGEMENT_TIMEZONE"])
    bounds = TimeRestriction(earliest=earliest, latest=None, catchup=True)
    found = []
    interval = None
    for _ in range(runs):
        run = timetable.next_dagrun_info(last_automated_data_interval=interval, restriction=bounds)
        if run is None:
            break
        interval = run.data_interval
        moments = (*interval, run.run_after)
        found.append([moment.astimezone(pendulum.UTC).isoformat() for moment in moments])
    return found

connect, socket.socket.connect = socket.socket.connect, refuse
before = set(sys.modules)
dags = {}
for dag_id, dag in parse().items():
    dags[dag_id] = {
        "doc": bool(dag.doc_md), "tags": sorted(dag.tags), "owner": dag.owner,
        "params": sorted(dag.params), "catchup": dag.catchup,
        "timetable": type(dag.timetable).__name__,
        "tasks": {task.task_id: [bool(task.doc_md), task.retries] for task in dag.tasks},
        "outlets": {
            task.task_id: [asset.name for asset in task.outlets]
            for task in dag.tasks
            if task.outlets
        },
        "upstream": {task.task_id: sorted(task.upstream_task_ids) for task in dag.tasks},
    }
imported = sorted({name.partition(".")[0] for name in set(sys.modules) - before})
socket.socket.connect = connect
from airflow.serialization.encoders import coerce_to_core_timetable
from airflow.timetables.base import TimeRestriction

runs = {}
for zone, first in json.loads(sys.argv[2]).items():
    os.environ["ENGAGEMENT_TIMEZONE"] = zone
    runs[zone] = {
        dag_id: intervals(dag, first, int(sys.argv[3])) for dag_id, dag in parse().items()
    }

from types import SimpleNamespace
from engagement.rim import fast_events

params = {"lookback_days": 7, "max_events": 5, "fast_ids": None, "dry_run": False}
fan_out = {
    choice: {
        kind: fast_events._options(
            params | {"fan_out": choice}, SimpleNamespace(run_type=kind)
        ).fan_out
        for kind in ("scheduled", "manual", "backfill")
    }
    for choice in fast_events.FAN_OUT
}

def is_first(start, end, kind="scheduled"):
    run = SimpleNamespace(
        run_type=kind,
        data_interval_start=pendulum.parse(start) if start else None,
        data_interval_end=pendulum.parse(end) if end else None,
    )
    return fast_events._is_first_of_day(run, "America/Los_Angeles")

first = {
    "hour before midnight": is_first("2024-03-09T07:00Z", "2024-03-09T08:00Z"),
    "hour after midnight": is_first("2024-03-09T08:00Z", "2024-03-09T09:00Z"),
    "a week": is_first("2024-03-09T08:00Z", "2024-03-16T07:00Z"),
    "by hand": is_first(None, None, "manual"),
}
print(
    json.dumps(
        {"dags": dags, "imported": imported, "runs": runs, "fan_out": fan_out, "first": first}
    )
)
"""


@pytest.fixture(scope="module")
def parsed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    home = tmp_path_factory.mktemp("airflow")
    environment = {
        **os.environ,
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "PYTHONPATH": str(ROOT / "plugins"),
    }
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            _PARSE,
            json.dumps(sorted(map(str, (ROOT / "dags").glob("*.py")))),
            json.dumps(CLOCKS, default=str),
            str(RUNS),
        ],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


REPORTS = {
    "engagement_daily",
    "engagement_weekly",
    "engagement_monthly",
    "engagement_on_demand",
}
EVENTS = "fast_events"


def test_dag_ids(parsed: dict[str, Any]) -> None:
    assert set(parsed["dags"]) == {*REPORTS, EVENTS}


def test_dags_are_told(parsed: dict[str, Any]) -> None:
    for dag_id, dag in parsed["dags"].items():
        assert dag["doc"], dag_id
        assert {"engagement", "report" if dag_id in REPORTS else "events"} <= set(dag["tags"])
        assert dag["owner"] == "engagement-reports"
        assert dag["catchup"] is False
        assert all(told for name, (told, _) in dag["tasks"].items() if name != "settle"), dag_id
        assert {retries for _, retries in dag["tasks"].values()} == {2}


def test_parameters(parsed: dict[str, Any]) -> None:
    of_reports = ["end", "format", "replace", "s3_prefix", "start"]
    of_events = ["dry_run", "fan_out", "fast_ids", "lookback_days", "max_events"]
    for dag_id, dag in parsed["dags"].items():
        assert dag["params"] == (of_reports if dag_id in REPORTS else of_events)


def test_tasks(parsed: dict[str, Any]) -> None:
    metrics = {
        "metrics.new_users_over_time",
        "metrics.fasts",
        "metrics.user_activity",
        "metrics.user_activity_timeline",
        "metrics.user_fast_participation",
        "metrics.retention_cohorts",
        "metrics.other_metrics",
    }
    steps = {"plan", "extract", "validate", "package", "publish", "clean_up"} | metrics
    for dag_id in REPORTS:
        scheduled = dag_id != "engagement_on_demand"
        tasks = set(parsed["dags"][dag_id]["tasks"])
        assert tasks == steps | ({"settle"} if scheduled else set())


def test_the_kinds_of_events_are_written_side_by_side(parsed: dict[str, Any]) -> None:
    kinds = sorted(map(str, Kind))
    assert parsed["dags"][EVENTS]["upstream"] == {
        "sync_event_types": [],
        **{key: ["sync_event_types"] for key in kinds},
        "summary": kinds,
        "reconcile": [],
    }


def test_timetables(parsed: dict[str, Any]) -> None:
    for dag_id, dag in parsed["dags"].items():
        expected = (
            "NullTimetable" if dag_id == "engagement_on_demand" else "CronDataIntervalTimetable"
        )
        assert dag["timetable"] == expected


def test_every_dag_has_an_asset_of_its_own(parsed: dict[str, Any]) -> None:
    assert {dag_id: dag["outlets"] for dag_id, dag in parsed["dags"].items()} == {
        "engagement_daily": {"publish": ["engagement_report_daily"]},
        "engagement_weekly": {"publish": ["engagement_report_weekly"]},
        "engagement_monthly": {"publish": ["engagement_report_monthly"]},
        "engagement_on_demand": {"publish": ["engagement_report_on_demand"]},
        "fast_events": {
            "summary": ["engagement_fast_events"],
            "reconcile": ["engagement_reconciliation"],
        },
    }


def test_nothing_runs_on_demand_by_itself(parsed: dict[str, Any]) -> None:
    assert [runs["engagement_on_demand"] for runs in parsed["runs"].values()] == [[]] * len(CLOCKS)


@pytest.mark.parametrize("cadence", [Cadence.DAILY, Cadence.WEEKLY, Cadence.MONTHLY])
@pytest.mark.parametrize("timezone", CLOCKS)
def test_scheduled_runs_report_one_period_after_the_other(
    timezone: str, cadence: Cadence, parsed: dict[str, Any]
) -> None:
    runs = parsed["runs"][timezone][f"engagement_{cadence}"]
    assert len(runs) == RUNS
    periods = []
    for start, end, run_after in runs:
        bounds = datetime.fromisoformat(start), datetime.fromisoformat(end)
        assert datetime.fromisoformat(run_after) == bounds[1]
        period = Period.of_interval(*bounds, timezone)
        cadence.check(period)
        periods.append(period)
    assert periods[0].start >= CLOCKS[timezone]
    assert periods[0].start - CLOCKS[timezone] < timedelta(days=31)
    for before, after in pairwise(periods):
        assert after.start == before.end + timedelta(days=1)


def test_intervals_over_a_change_of_the_clock(parsed: dict[str, Any]) -> None:
    runs = parsed["runs"]["America/Los_Angeles"]
    assert runs["fast_events"][:2] == [
        ["2024-03-09T08:00:00+00:00", "2024-03-09T09:00:00+00:00", "2024-03-09T09:00:00+00:00"],
        ["2024-03-09T09:00:00+00:00", "2024-03-09T10:00:00+00:00", "2024-03-09T10:00:00+00:00"],
    ]
    assert runs["engagement_daily"][:2] == [
        ["2024-03-09T08:00:00+00:00", "2024-03-10T08:00:00+00:00", "2024-03-10T08:00:00+00:00"],
        ["2024-03-10T08:00:00+00:00", "2024-03-11T07:00:00+00:00", "2024-03-11T07:00:00+00:00"],
    ]
    assert runs["engagement_weekly"][0][:2] == [
        "2024-03-11T07:00:00+00:00",
        "2024-03-18T07:00:00+00:00",
    ]
    assert runs["engagement_monthly"][0][:2] == [
        "2024-04-01T07:00:00+00:00",
        "2024-05-01T07:00:00+00:00",
    ]


def test_parsing_is_light(parsed: dict[str, Any]) -> None:
    assert not HEAVY & set(parsed["imported"])


def test_a_backfill_tells_nobody_unless_it_is_asked_to(parsed: dict[str, Any]) -> None:
    assert parsed["fan_out"] == {
        "automatic": {"scheduled": True, "manual": True, "backfill": False},
        "on": {"scheduled": True, "manual": True, "backfill": True},
        "off": {"scheduled": False, "manual": False, "backfill": False},
    }


def test_one_run_a_day_reconciles(parsed: dict[str, Any]) -> None:
    assert parsed["first"] == {
        "hour before midnight": True,
        "hour after midnight": False,
        "a week": True,
        "by hand": True,
    }

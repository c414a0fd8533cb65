"""The DAG files: what they define, and that parsing them is light."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

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

# Run in a process of its own: what parsing imports must not be told by what other tests import.
_PARSE = """
import json, socket, sys

def refuse(*arguments, **options):
    raise AssertionError("a DAG file opened a connection while it was parsed")

socket.socket.connect = refuse
import airflow.sdk
before = set(sys.modules)
import importlib.util
spec = importlib.util.spec_from_file_location("engagement_reports", sys.argv[1])
module = importlib.util.module_from_spec(spec)
from airflow.sdk.definitions._internal.contextmanager import DagContext
sys.modules[spec.name] = module
DagContext.current_autoregister_module_name = spec.name
spec.loader.exec_module(module)
dags = {}
for dag, _ in DagContext.autoregistered_dags:
    dags[dag.dag_id] = {
        "doc": bool(dag.doc_md), "tags": sorted(dag.tags), "owner": dag.owner,
        "params": sorted(dag.params), "catchup": dag.catchup,
        "timetable": type(dag.timetable).__name__,
        "tasks": {task.task_id: [bool(task.doc_md), task.retries] for task in dag.tasks},
    }
imported = sorted({name.partition(".")[0] for name in set(sys.modules) - before})
print(json.dumps({"dags": dags, "imported": imported}))
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
        [sys.executable, "-c", _PARSE, str(ROOT / "dags" / "engagement_reports.py")],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def test_dag_ids(parsed: dict[str, Any]) -> None:
    assert set(parsed["dags"]) == {
        "engagement_daily",
        "engagement_weekly",
        "engagement_monthly",
        "engagement_on_demand",
    }


def test_dags_are_told(parsed: dict[str, Any]) -> None:
    for dag_id, dag in parsed["dags"].items():
        assert dag["doc"], dag_id
        assert {"engagement", "report"} < set(dag["tags"])
        assert dag["owner"] == "engagement-reports"
        assert dag["params"] == ["end", "format", "replace", "s3_prefix", "start"]
        assert dag["catchup"] is False


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
    for dag_id, dag in parsed["dags"].items():
        scheduled = dag_id != "engagement_on_demand"
        assert set(dag["tasks"]) == steps | ({"settle"} if scheduled else set())
        assert all(retries == 2 for _, retries in dag["tasks"].values())
        assert all(told for name, (told, _) in dag["tasks"].items() if name != "settle")


def test_timetables(parsed: dict[str, Any]) -> None:
    for dag_id, dag in parsed["dags"].items():
        expected = (
            "NullTimetable" if dag_id == "engagement_on_demand" else "CronDataIntervalTimetable"
        )
        assert dag["timetable"] == expected


def test_parsing_is_light(parsed: dict[str, Any]) -> None:
    assert not HEAVY & set(parsed["imported"])

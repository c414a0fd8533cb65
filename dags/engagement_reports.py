"""### Engagement reports

Each run reads the app's database as of one moment, checks what it read, computes seven datasets,
and publishes them as one archive.

| DAG | period of a run | runs |
| --- | --- | --- |
| `engagement_daily` | one day | after every midnight |
| `engagement_weekly` | Monday to Sunday | every Monday |
| `engagement_monthly` | one calendar month | on every first |
| `engagement_on_demand` | `start` to `end` | when it is triggered |

Days are those of the report time zone, `ENGAGEMENT_TIMEZONE`. Scheduled runs wait a while after
their period's end, for the app to write what is late. To make reports of the past, choose
*Trigger*, then *Backfill*, and pick the dates: each archive is the one that a scheduled run makes.
When a run failed, clear the failed task: it goes on with the snapshot that the run has taken.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from airflow.providers.standard.sensors.time_delta import TimeDeltaSensor
from airflow.sdk import (
    Asset,
    CronDataIntervalTimetable,
    Param,
    TaskGroup,
    chain,
    dag,
    task,
)

from engagement.datasets import NAMES, Format
from engagement.period import DEFAULT_DAYS, Cadence
from engagement.rim import reports as rim
from engagement.rim.common import DEFAULT_ARGS
from engagement.rim.names import report_asset, report_dag_id
from engagement.settings import load

# Airflow's types know neither results as arguments nor templates as values.
step: Any = task
sensor: Any = TimeDeltaSensor
SETTINGS = load()
CRON = {Cadence.DAILY: "0 0 * * *", Cadence.WEEKLY: "0 0 * * MON", Cadence.MONTHLY: "0 0 1 * *"}
ON_DEMAND = f"{DEFAULT_DAYS} days before the run's date", "the run's date"
SCHEDULED = "the first of the run's own period", "the last of the run's own period"


def parameters(cadence: Cadence) -> dict[str, Any]:
    """What the trigger form asks for."""
    start, end = ON_DEMAND if cadence is Cadence.ON_DEMAND else SCHEDULED
    day: dict[str, Any] = {"type": ["null", "string"], "format": "date"}
    return {
        "start": Param(None, **day, title="First day", description=f"Empty: {start}"),
        "end": Param(None, **day, title="Last day, included", description=f"Empty: {end}"),
        "format": Param(
            "json",
            type="string",
            enum=[*map(str, Format)],
            title="Format",
            description="Of the datasets",
        ),
        "s3_prefix": Param(
            None,
            type=["null", "string"],
            title="Prefix",
            description=f"Under the destination. Empty: {SETTINGS.s3_prefix}",
        ),
        "replace": Param(
            False,
            type="boolean",
            title="Replace a fuller archive",
            description="Publish even where the published archive has more activities",
        ),
    }


def report_dag(cadence: Cadence) -> None:
    """Makes the DAG whose runs each publish one report of `cadence`."""
    cron = CRON.get(cadence)
    asset = Asset(name=report_asset(cadence), uri=f"x-engagement://reports/{cadence}")

    @dag(
        dag_id=report_dag_id(cadence),
        description=f"Publishes the {cadence} engagement report",
        schedule=CronDataIntervalTimetable(cron, timezone=SETTINGS.timezone) if cron else None,
        start_date=datetime(2020, 1, 1, tzinfo=UTC),
        catchup=False,
        max_active_runs=4,
        default_args=DEFAULT_ARGS,
        params=parameters(cadence),
        tags=["engagement", "report", cadence],
        doc_md=__doc__,
    )
    def report() -> None:
        planned = step(rim.plan)(cadence)
        snapshot = step(max_active_tis_per_dag=2)(rim.extract)(planned)
        validated = step(rim.validate)(snapshot)
        with TaskGroup("metrics"):
            computed = [step(task_id=name)(rim.compute)(name, planned, snapshot) for name in NAMES]
        archive = step(rim.package)(planned, snapshot, computed)
        published = step(outlets=[asset])(rim.publish)(planned, snapshot, archive, asset.name)
        chain(snapshot, validated, computed, archive, published, step(rim.clean_up)(snapshot))
        if cron:
            minutes = f"{{{{ {SETTINGS.settle_minutes} if dag_run.data_interval_end else 0 }}}}"
            settle = sensor(task_id="settle", delta=minutes, deferrable=True)
            chain(planned, settle, snapshot)

    report()


for each in Cadence:
    report_dag(each)

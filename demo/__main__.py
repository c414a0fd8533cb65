"""`make demo`, `make up` and `make down`: Airflow on demo data, all of it under `.local`."""

from __future__ import annotations

import argparse
import json
import signal
import sys
import zipfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
from rich.console import Console
from rich.table import Table

from demo import generate, postgres
from demo.airflow import (
    ROOT,
    SERVICES,
    USER,
    Airflow,
    AirflowError,
    Client,
    Home,
    attach,
    migrate,
    start,
    stop,
    uninterrupted,
)
from demo.prepare import READER, WRITER, grant_roles, yesterday
from engagement.event_kinds import Kind
from engagement.period import Cadence
from engagement.rim.names import FAST_EVENTS, report_dag_id

LOCAL = ROOT / ".local"
DATABASE = LOCAL / "postgres"
AIRFLOW = LOCAL / "airflow"
REPORTS = LOCAL / "reports"
STAGING = LOCAL / "staging"
ON_DEMAND = report_dag_id(Cadence.ON_DEMAND)
PORT = 8080
DEADLINE_SECONDS = 600

_out = Console()
_err = Console(stderr=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m demo", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("run", help="run the report of the last full month and show it")
    up_parser = commands.add_parser("up", help="start Airflow with its user interface")
    up_parser.add_argument(
        "--port", type=int, default=PORT, help="the first port to try; default: %(default)s"
    )
    commands.add_parser("down", help="stop everything")
    options = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        if options.command == "run":
            run()
        elif options.command == "up":
            up(options.port)
        else:
            down()
    except (AirflowError, generate.GenerateError, psycopg.OperationalError) as error:
        _err.print(f"error: {error}", style="red", markup=False, highlight=False)
        return 1
    except KeyboardInterrupt:
        _err.print("interrupted: everything that was started is stopped")
        return 130
    return 0


def run() -> None:
    """Write the last full month's events and run its report through Airflow, and show both."""
    first, last = last_full_month(datetime.now(UTC).date())
    with _airflow_for_a_while() as (airflow, since):
        airflow.wait_for_dag(FAST_EVENTS, since)
        written = _write_events(airflow, first, last)
        airflow.wait_for_dag(ON_DEMAND, since)
        run_id = airflow.client.trigger(ON_DEMAND, {"start": str(first), "end": str(last)})
        _tell(f"{ON_DEMAND} runs for {first} to {last}")
        _follow(airflow, ON_DEMAND, run_id)
        (published,) = airflow.client.asset_events(ON_DEMAND, run_id)
    _out.print(written)
    show(Path(published["extra"]["address"]))


def _write_events(airflow: Airflow, first: date, last: date) -> Table:
    """Run the events' DAG as of the end of `last`, looking back to `first`; returns its summary."""
    begin = datetime.combine(first, datetime.min.time(), UTC)
    end = datetime.combine(last + timedelta(days=1), datetime.min.time(), UTC)
    # The midnight that ends the month belongs to the next one.
    interval = end - timedelta(hours=1), end - timedelta(seconds=1)
    run_id = airflow.client.trigger(FAST_EVENTS, {"lookback_days": (end - begin).days}, interval)
    _tell(f"{FAST_EVENTS} runs for {first} to {last}")
    _follow(airflow, FAST_EVENTS, run_id)
    table = Table(title=f"Events of the fasts, {first} to {last}", title_style="bold")
    table.add_column("kind")
    for column in ("due", "written now", "told in feeds"):
        table.add_column(column, justify="right")
    for event in airflow.client.asset_events(FAST_EVENTS, run_id):
        for kind, counts in event["extra"].get("kinds", {}).items():
            numbers = (counts["due"], counts["written"], counts["fan_out"])
            table.add_row(kind.replace("_", " "), *(f"{number:,}" for number in numbers))
    return table


def up(port: int) -> None:
    """Start Airflow with its user interface, unless it runs already, and say where it is."""
    airflow = attach(AIRFLOW)
    if airflow is None:
        home = _home(_database(), follow_schedules=True)
        try:
            _tell("starting Airflow")
            airflow = start(home, port)
        except BaseException:
            _stop()
            raise
    airflow.client.close()
    _out.print(f"Airflow:   {airflow.url}", highlight=False)
    _out.print(f"login:     {USER}   password: {airflow.password()}", highlight=False, markup=False)
    _out.print(f"reports:   {REPORTS}", highlight=False, soft_wrap=True)
    _out.print("stop with: make down", highlight=False)


def down() -> None:
    """Stop Airflow and the database."""
    _out.print("stopped" if _stop() else "nothing ran")


def last_full_month(today: date) -> tuple[date, date]:
    """The first and the last day of the month before the one of `today`."""
    last = today.replace(day=1) - timedelta(days=1)
    return last.replace(day=1), last


def show(archive: Path) -> None:
    """Print where an archive is, and a small table of what it says."""
    with zipfile.ZipFile(archive) as opened:
        documents = {
            name.removesuffix(".json"): json.loads(opened.read(name))
            for name in opened.namelist()
            if name.endswith(".json")
        }
    _out.print(_table(documents))
    _out.print(f"archive: {archive}", highlight=False, markup=False, soft_wrap=True)


def _table(documents: dict[str, Any]) -> Table:
    other, fasts = documents["other_metrics"], documents["fasts"]
    quality = documents["data_quality"]
    period = documents["datapackage"].get("period", {})
    table = Table(title=f"{period.get('start', '')} to {period.get('end', '')}", title_style="bold")
    table.add_column("what")
    table.add_column("value", justify="right")
    days = documents["new_users_over_time"]
    views = other["screen_views"]
    for what, value in (
        ("new users", sum(day["count"] for day in days)),
        ("active users", other["active_users"]),
        ("joins of fasts", sum(fast["joins_in_period"] for fast in fasts)),
        ("leaves of fasts", sum(fast["leaves_in_period"] for fast in fasts)),
        ("screen views", views["total"]),
    ):
        table.add_row(what, f"{value:,}")
    table.add_section()
    for code in (kind.event_type for kind in Kind):
        table.add_row(code.replace("_", " "), f"{other['events_by_type'].get(code, 0):,}")
    table.add_section()
    for top in other["top_fasts_by_joins"][:5]:
        table.add_row(f"joins: {top['fast']}", f"{top['joins']:,}")
    table.add_section()
    table.add_row("data quality", str(quality["status"]))
    for what, count in quality["summary"].items():
        table.add_row(f"  {str(what).replace('_', ' ')}", f"{count:,}")
    return table


@contextmanager
def _airflow_for_a_while() -> Iterator[tuple[Airflow, datetime]]:
    """An Airflow that runs already, or one for the time of the block that leaves nothing behind."""
    since = datetime.fromtimestamp(0, UTC)
    if (airflow := attach(AIRFLOW)) is not None:
        yield airflow, since
        airflow.client.close()
        return
    try:
        home = _home(_database(), follow_schedules=False)
        _tell("starting Airflow")
        since = datetime.now(UTC)
        # No task of this DAG waits, so it does without the triggerer.
        airflow = start(home, PORT, tuple(name for name in SERVICES if name != "triggerer"))
        yield airflow, since
        airflow.client.close()
    finally:
        _stop()


def _database() -> postgres.Server:
    """The database server, with Airflow's database migrated and the app's filled."""
    LOCAL.mkdir(exist_ok=True)
    server = postgres.start(DATABASE)
    try:
        server.create_database("airflow")
        with ThreadPoolExecutor(1) as background:
            migrated = background.submit(migrate, _home(server, follow_schedules=False))
            _fill(server)
            migrated.result()
    except BaseException:
        _stop()
        raise
    return server


def _stop() -> bool:
    """Stop Airflow and the database; False where neither ran."""
    with uninterrupted():
        airflow_ran = stop(AIRFLOW)
        database_ran = postgres.find(DATABASE) is not None
        postgres.stop(DATABASE)
    return airflow_ran or database_ran


def _fill(server: postgres.Server) -> None:
    """Make the app's data, unless there is some of the last full month."""
    _, month_end = last_full_month(datetime.now(UTC).date())
    size = generate.filled_with(server.create_database("app"))
    if size is None or size.end < month_end:
        _tell("making demo data")
        server.drop_database("app")
        generate.fill(server.create_database("app"), generate.Size(end=yesterday()))
    grant_roles(server.uri("app"))


def _home(server: postgres.Server, *, follow_schedules: bool) -> Home:
    return Home(
        folder=AIRFLOW,
        database_uri=server.uri("airflow"),
        app_db=server.uri("app", READER),
        follow_schedules=follow_schedules,
        settings={
            "AIRFLOW_CONN_APP_DB_EVENTS": server.uri("app", WRITER),
            "ENGAGEMENT_DESTINATION": str(REPORTS),
            "ENGAGEMENT_STAGING": str(STAGING),
        },
    )


def _follow(airflow: Airflow, dag_id: str, run_id: str) -> None:
    """Tell of each task as it ends, until the run has; raises AirflowError where it failed."""
    client: Client = airflow.client
    told: set[str] = set()
    for _ in airflow.looks(DEADLINE_SECONDS, every=0.5):
        state = client.run(dag_id, run_id)["state"]
        for task in client.tasks(dag_id, run_id):
            name = task["task_id"]
            if name not in told and task["state"] in {"success", "failed", "upstream_failed"}:
                told.add(name)
                _tell(f"  {name}: {task['state']} ({task['duration'] or 0:.1f} s)")
        if state == "success":
            return
        if state == "failed":
            raise AirflowError(f"the run failed\n{client.failures(dag_id, run_id)}")
    raise AirflowError(f"the run had not ended after {DEADLINE_SECONDS} seconds")


def _tell(message: str) -> None:
    _err.print(message, markup=False, highlight=False)


if __name__ == "__main__":
    sys.exit(main())

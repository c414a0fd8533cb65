"""A real Airflow, told what to do through its REST API, publishes reports of the app's database."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import quote

import psycopg
import pytest
from psycopg import sql
from upath import UPath

from demo import app_tables, postgres
from demo.airflow import Airflow, AirflowError, Home, running
from demo.prepare import READER, WRITER, grant_roles
from engagement import datasets, events, report
from engagement.app_database import Address
from engagement.datasets import Format
from engagement.destinations import open_destination
from engagement.event_kinds import Kind
from engagement.period import Cadence, Period
from engagement.publish import Archive
from engagement.settings import Settings
from engagement.staging import StagingArea
from tests.browser import Clicks, browser
from tests.conftest import GOLDEN

# Airflow and a backfill of three days take their time on a busy machine.
pytestmark = pytest.mark.timeout(600)

DAILY = "engagement_daily"
ON_DEMAND = "engagement_on_demand"
EVENTS = "fast_events"
TIMEZONE = "America/Los_Angeles"
DAYS = [date(2025, 12, 27), date(2025, 12, 28), date(2025, 12, 29)]
PURGED_DAY = date(2025, 12, 21)
FOLDER = "engagement-reports/daily/json"
GOLDEN_MONTH = "2025-12-01_2025-12-31_America-Los_Angeles.json"
PREFIX = "purged/"
PASSWORD = "planted-Password-7c1e"
MEMBERS = sorted(
    [
        *(f"{name}.json" for name in datasets.NAMES),
        "README.md",
        "data_quality.html",
        "data_quality.json",
        "report.html",
        "summary.md",
        "datapackage.json",
    ]
)


@dataclass(frozen=True, slots=True)
class World:
    """An Airflow that runs, the database that it reports on, and where it publishes."""

    airflow: Airflow
    app_uri: str
    settings: Settings

    @property
    def reports(self) -> Path:
        return Path(self.settings.destination)

    def staged(self, day: date) -> list[Path]:
        """What is left of the runs of `day` in the staging area."""
        return list(Path(self.settings.staging).glob(f"*/{period(day).label}_*"))


@dataclass(frozen=True, slots=True)
class Backfill:
    """The runs of a backfill that has ended, and the files that it has left."""

    runs: list[dict[str, Any]]
    files: dict[str, tuple[bytes, int]]

    @property
    def run_ids(self) -> list[str]:
        return [run["dag_run_id"] for run in self.runs]


def period(day: date) -> Period:
    return Period(day, day, TIMEZONE)


def name_of(day: date) -> str:
    return f"engagement_{day}_to_{day}.zip"


def with_password(uri: str) -> str:
    """The address with a password that the server does not ask for."""
    return uri.replace("@", f":{PASSWORD}@", 1)


@pytest.fixture(scope="module")
def world(
    database_server: postgres.Server, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("end-to-end")
    settings = Settings(
        timezone=TIMEZONE,
        destination=str(folder / "reports"),
        staging=str(folder / "staging"),
    )
    # A database of its own, with the golden content: a test deletes from it.
    app_uri = database_server.create_database("end_to_end_app")
    app_tables.apply_schema(app_uri)
    app_tables.load_csv_folder(app_uri, GOLDEN / "appdb")
    grant_roles(app_uri)
    reader = with_password(database_server.uri("end_to_end_app", READER))
    home = Home(
        folder / "airflow",
        database_server.create_database("end_to_end_airflow"),
        reader,
        settings={
            "AIRFLOW_CONN_APP_DB_EVENTS": with_password(
                database_server.uri("end_to_end_app", WRITER)
            ),
            "ENGAGEMENT_TIMEZONE": settings.timezone,
            "ENGAGEMENT_DESTINATION": settings.destination,
            "ENGAGEMENT_STAGING": settings.staging,
        },
    )
    since = datetime.now(UTC)
    with running(home) as airflow:
        airflow.wait_for_dag(DAILY, since)
        airflow.wait_for_dag(EVENTS, since)
        yield World(airflow, app_uri, settings)


def backfill(world: World, reprocess: str) -> Backfill:
    client = world.airflow.client
    begin, end = (period(day).start_instant.isoformat() for day in (DAYS[0], DAYS[-1]))
    number = client.create_backfill(
        DAILY, begin, end, reprocess=reprocess, max_active_runs=len(DAYS)
    )
    return backfilled(world, number)


def backfilled(world: World, number: int) -> Backfill:
    client = world.airflow.client
    runs = world.airflow.wait_for_backfill(number, seconds=300)
    # Airflow closes it only later, and lets no other begin before that.
    client.cancel_backfill(number)
    failures = "\n".join(client.failures(DAILY, run["dag_run_id"]) for run in runs)
    assert [run["state"] for run in runs] == ["success"] * len(DAYS), failures
    files = {
        path.name: (path.read_bytes(), path.stat().st_mtime_ns)
        for path in (world.reports / FOLDER).iterdir()
        if not path.name.startswith(".")
    }
    return Backfill(runs, files)


@pytest.fixture(scope="module")
def first(world: World) -> Backfill:
    return backfill(world, "none")


@pytest.fixture(scope="module")
def clicks(world: World) -> Iterator[Clicks]:
    """A person who has logged in to Airflow."""
    with browser() as running, running.new_context(locale="en-US", timezone_id="UTC") as context:
        person = Clicks(context.new_page(), world.airflow)
        person.log_in()
        yield person


@dataclass(frozen=True, slots=True)
class Clicked:
    """What the view shows before and after a backfill that was clicked, and its runs and files."""

    rows_before: list[str]
    rows: list[str]
    backfill: Backfill


@pytest.fixture(scope="module")
def clicked(world: World, first: Backfill, clicks: Clicks) -> Clicked:
    """The same backfill again, after somebody has removed all but the last of its archives."""
    for day in DAYS[:-1]:
        for path in (world.reports / FOLDER).glob(f"{name_of(day)}*"):
            path.unlink()
    rows_before = clicks.reports(Cadence.DAILY)
    begin, end = (f"{period(day).start_instant:%Y/%m/%d %H:%M}" for day in (DAYS[0], DAYS[-1]))
    number = clicks.backfill(DAILY, begin, end, "All Runs", len(DAYS))
    ended = backfilled(world, number)
    return Clicked(rows_before, clicks.reports(Cadence.DAILY), ended)


@pytest.fixture(scope="module")
def mistaken(world: World) -> str:
    """The id of a run that was triggered with half a period."""
    run_id = world.airflow.client.trigger(DAILY, {"start": "2025-12-28"})
    assert world.airflow.wait_for_run(DAILY, run_id, seconds=120) == "failed"
    return run_id


def states(world: World, run_id: str, dag_id: str = DAILY) -> dict[str, tuple[str, int]]:
    """How each task of a run stands, and how often it was tried."""
    tasks = world.airflow.client.tasks(dag_id, run_id)
    return {task["task_id"]: (task["state"], task["try_number"]) for task in tasks}


def errors(world: World, run_id: str, task_id: str) -> list[str]:
    """What one attempt of a task has logged as errors, with the exception that ended it."""
    log = world.airflow.client.log(DAILY, run_id, task_id, 1)
    return [line.removeprefix("error: ") for line in log if line.startswith("error: ")]


def no_s3() -> NoReturn:
    raise AssertionError("a folder needs no S3 client")


def purge(world: World, condition: str) -> None:
    """Deletes those activities of the purged day that meet a condition, as the app does."""
    [day] = period(PURGED_DAY).days
    with psycopg.connect(world.app_uri) as connection:
        deleted = connection.execute(
            sql.SQL(
                "delete from events_useractivityfeed"
                " where created_at >= %s and created_at < %s and {}"
            ).format(sql.SQL(condition)),
            (day.start, day.end),
        )
        assert deleted.rowcount > 0


def packaged(uri: str, day: date, folder: Path) -> Archive:
    """The archive of `day`, made by the same steps without Airflow."""
    settings = Settings(timezone=TIMEZONE)
    area = StagingArea(UPath(folder))
    snapshot = report.take_snapshot(Address.parse(uri), period(day), area, "tests", settings)
    report.check_quality(snapshot, settings)
    computed = [report.compute(snapshot, n, Format.JSON, settings) for n in datasets.NAMES]
    report.draw(snapshot, computed, Format.JSON)
    return report.package(snapshot, computed, Format.JSON, Cadence.DAILY, run=None)


def test_a_backfill_publishes_one_archive_a_day(world: World, first: Backfill) -> None:
    archives = [name_of(day) for day in DAYS]
    assert set(first.files) == {*archives, *(f"{name}.json" for name in archives), "latest.json"}
    for day, run in zip(DAYS, first.runs, strict=True):
        assert datetime.fromisoformat(run["logical_date"]) == period(day).start_instant
        record = json.loads(first.files[f"{name_of(day)}.json"][0])
        assert record["period"] == {"start": str(day), "end": str(day), "timezone": TIMEZONE}
        assert record["key"] == f"{FOLDER}/{name_of(day)}"
        assert record["sha256"] == hashlib.sha256(first.files[name_of(day)][0]).hexdigest()
        assert (record["revision"], record["run"]) == (1, run["dag_run_id"])
    newest = first.files[f"{name_of(DAYS[-1])}.json"]
    assert first.files["latest.json"][0] == newest[0]
    assert [folder for day in DAYS for folder in world.staged(day)] == []


@pytest.mark.parametrize("day", DAYS, ids=str)
def test_an_archive_holds_the_values_of_its_day(day: date, first: Backfill) -> None:
    with zipfile.ZipFile(io.BytesIO(first.files[name_of(day)][0])) as opened:
        assert opened.namelist() == MEMBERS
        assert opened.testzip() is None
        found = {n: json.loads(opened.read(f"{n}.json")) for n in datasets.NAMES}
    of_day = period(day).days[0]

    def on_day(instant: str) -> bool:
        return of_day.start <= datetime.fromisoformat(instant) < of_day.end

    month = json.loads((GOLDEN / "expected" / GOLDEN_MONTH).read_text(encoding="utf-8"))
    registered = [row for row in month["new_users_over_time"] if row["date"] == str(day)]
    timeline = [row for row in month["user_activity_timeline"] if on_day(row["timestamp"])]
    views = month["other_metrics"]["screen_views"]["daily_timeline"][str(day)]
    assert found["new_users_over_time"] == registered
    assert found["user_activity_timeline"] == timeline != []
    assert found["other_metrics"]["screen_views"]["daily_timeline"] == {str(day): views}


def test_an_archive_is_the_one_that_is_made_without_airflow(
    first: Backfill, golden_uri: str, tmp_path: Path
) -> None:
    content = first.files[name_of(DAYS[0])][0]
    assert hashlib.sha256(content).hexdigest() == packaged(golden_uri, DAYS[0], tmp_path).sha256


def test_other_dags_are_told_where_the_report_is(world: World, first: Backfill) -> None:
    for day, run_id in zip(DAYS, first.run_ids, strict=True):
        event = world.airflow.client.asset_events(DAILY, run_id)[0]
        path = world.reports / FOLDER / name_of(day)
        record = json.loads(first.files[f"{name_of(day)}.json"][0])
        told = {name: event["extra"].get(name) for name in ("sha256", "rows", "bytes", "key")}
        assert (event["name"], event["source_task_id"]) == ("engagement_report_daily", "publish")
        assert told == {name: record[name] for name in told}
        assert event["extra"]["bytes"] == len(first.files[name_of(day)][0])
        assert (event["extra"]["address"], event["extra"]["url"]) == (str(path), path.as_uri())


def test_a_backfill_by_clicks_ends_as_a_row_a_day(first: Backfill, clicked: Clicked) -> None:
    assert len(clicked.rows_before) == 1
    assert len(clicked.rows) == len(DAYS)
    for row, day, run_id in zip(clicked.rows, DAYS[::-1], first.run_ids[::-1], strict=True):
        for told in (str(day), "json", "warned", run_id):
            assert told in row


def test_the_same_backfill_again_gives_the_same_files(
    world: World, first: Backfill, clicked: Clicked
) -> None:
    again = clicked.backfill
    assert again.run_ids == first.run_ids
    assert again.files.keys() == first.files.keys()
    for day, run_id in zip(DAYS, again.run_ids, strict=True):
        name = name_of(day)
        assert again.files[name][0] == first.files[name][0]
        assert {tries for _, tries in states(world, run_id).values()} == {2}
        published = world.airflow.client.xcom(DAILY, run_id, "publish")
        removed = day != DAYS[-1]
        assert (published["revision"], published["changed"]) == (1, removed)
    # What was still there was not written again.
    for name in (name_of(DAYS[-1]), f"{name_of(DAYS[-1])}.json", "latest.json"):
        assert again.files[name] == first.files[name]
    assert [folder for day in DAYS for folder in world.staged(day)] == []


def test_a_run_by_clicks_is_shown_opened_and_downloaded(
    world: World, clicks: Clicks, tmp_path: Path
) -> None:
    run_id = clicks.trigger(ON_DEMAND, DAYS[0], DAYS[-1])
    assert world.airflow.wait_for_run(ON_DEMAND, run_id, seconds=180) == "success"
    name = f"engagement_{DAYS[0]}_to_{DAYS[-1]}.zip"
    (row,) = clicks.reports(Cadence.ON_DEMAND)
    assert f"{DAYS[0]}" in row
    assert run_id in row

    clicks.download(tmp_path / name)
    folder = world.reports / FOLDER.replace("daily", "on-demand")
    assert (tmp_path / name).read_bytes() == (folder / name).read_bytes()
    headline = clicks.open_report()
    with zipfile.ZipFile(tmp_path / name) as archive:
        metrics = json.loads(archive.read("other_metrics.json"))
        quality = json.loads(archive.read("data_quality.json"))
    assert f"{metrics['screen_views']['total']:,}" in headline
    assert f"Of {quality['summary']['checks']} checks" in clicks.open_quality()
    assert clicks.open_run(Cadence.ON_DEMAND).endswith(f"/dags/{ON_DEMAND}/runs/{quote(run_id)}")
    assert clicks.complaints == []


def test_half_a_period_fails_before_any_work(world: World, mistaken: str) -> None:
    message = (
        "only start is set: set both start and end, or neither to take the run's data interval"
    )
    found = states(world, mistaken)
    assert found.pop("plan") == ("failed", 1)
    assert {state for state, _ in found.values()} == {"upstream_failed"}
    assert errors(world, mistaken, "plan") == [
        message,
        f"Task failed with exception\nUsageError: {message}",
    ]


@pytest.mark.parametrize(
    "conf",
    [{"start": "2024-13-01"}, {"end": "01/02/2024"}, {"start": "2024-1-5"}, {"format": "xml"}],
    ids=str,
)
def test_wrong_parameters_start_no_run(conf: dict[str, str], world: World) -> None:
    client = world.airflow.client
    before = len(client.runs(DAILY))
    with pytest.raises(AirflowError, match=f"answered with 400: .*{next(iter(conf.values()))}"):
        client.trigger(DAILY, conf)
    assert len(client.runs(DAILY)) == before


@dataclass(frozen=True, slots=True)
class Resumed:
    """A run that must not publish, and that goes on once its way is free."""

    run_id: str
    refused: dict[str, tuple[str, int]]
    kept: Path
    kept_sha256: str
    published_before: bytes
    ended: str
    states: dict[str, tuple[str, int]]
    published_after: bytes


@pytest.fixture(scope="module")
def resumed(world: World, tmp_path_factory: pytest.TempPathFactory) -> Resumed:
    """What becomes of a run whose archive has fewer activities than the published one."""
    client = world.airflow.client
    fuller = packaged(world.app_uri, PURGED_DAY, tmp_path_factory.mktemp("fuller"))
    open_destination(world.settings, PREFIX, no_s3).publish(fuller, replace=False)
    purge(world, "mod(id, 2) = 0")
    conf = {"start": str(PURGED_DAY), "end": str(PURGED_DAY), "s3_prefix": PREFIX}
    run_id = client.trigger(DAILY, conf)
    assert world.airflow.wait_for_run(DAILY, run_id, seconds=180) == "failed"
    refused = states(world, run_id)
    (staging,) = world.staged(PURGED_DAY)
    kept = staging / "json" / name_of(PURGED_DAY)
    kept_sha256 = hashlib.sha256(kept.read_bytes()).hexdigest()
    published = world.reports / PREFIX / "daily" / "json" / name_of(PURGED_DAY)
    published_before = published.read_bytes()

    # Another snapshot would have no activity at all by now.
    purge(world, "true")
    published.unlink()
    client.clear(DAILY, run_id, "publish")
    ended = world.airflow.wait_for_run(DAILY, run_id, seconds=180)
    return Resumed(
        run_id,
        refused,
        kept,
        kept_sha256,
        published_before,
        ended,
        states(world, run_id),
        published.read_bytes(),
    )


def test_a_failure_keeps_what_is_published_and_what_is_finished(
    world: World, resumed: Resumed
) -> None:
    states = dict(resumed.refused)
    assert states.pop("publish") == ("failed", 1)
    assert states.pop("clean_up")[0] == "upstream_failed"
    assert {state for state, _ in states.values()} == {"success"}
    (told,) = (e for e in errors(world, resumed.run_id, "publish") if "\n" not in e)
    assert "this archive has only" in told
    assert told.endswith(f"the finished archive is kept at {resumed.kept}")
    assert hashlib.sha256(resumed.published_before).hexdigest() != resumed.kept_sha256


def test_a_cleared_task_goes_on_from_the_same_snapshot(world: World, resumed: Resumed) -> None:
    assert resumed.ended == "success"
    assert resumed.states["extract"] == ("success", 1)
    assert resumed.states["publish"] == ("success", 2)
    assert resumed.states["clean_up"][0] == "success"
    assert hashlib.sha256(resumed.published_after).hexdigest() == resumed.kept_sha256
    assert world.staged(PURGED_DAY) == []


HOUR = timedelta(hours=1)
NOW = datetime(2025, 12, 15, 12, tzinfo=UTC)
LOOKBACK_DAYS = 30


@dataclass(frozen=True, slots=True)
class Written:
    """A run of the events' DAG, what it tells on its assets, and the events that are there then."""

    run_id: str
    told: dict[str, dict[str, Any]]
    rows: list[tuple[Any, ...]]

    @property
    def kinds(self) -> dict[str, dict[str, Any]]:
        found: dict[str, dict[str, Any]] = self.told["engagement_fast_events"]["kinds"]
        return found


def write_events(world: World, conf: dict[str, object], ends: str = "success") -> Written:
    """A run of the events' DAG as of `NOW`."""
    client = world.airflow.client
    run_id = client.trigger(EVENTS, {"lookback_days": LOOKBACK_DAYS, **conf}, (NOW - HOUR, NOW))
    state = world.airflow.wait_for_run(EVENTS, run_id, seconds=180)
    assert state == ends, client.failures(EVENTS, run_id)
    told = {e["name"]: e["extra"] for e in client.asset_events(EVENTS, run_id)}
    return Written(run_id, told, event_rows(world.app_uri))


def event_rows(uri: str) -> list[tuple[Any, ...]]:
    """The lifecycle and milestone events of a database, with the size of their fan-out."""
    with psycopg.connect(uri) as connection:
        return connection.execute(
            "select type.code, event.object_id, event.user_id, event.timestamp, event.title,"
            " event.data - 'milestone_id', (select count(*) from events_useractivityfeed as fed"
            "  where fed.event_id = event.id)"
            " from events_event as event"
            " inner join events_eventtype as type on type.id = event.event_type_id"
            " where type.code like 'fast\\_%' or type.code in"
            "  ('devotional_available', 'user_milestone_reached')"
            " order by 1, 2, 3, 4, 5, 6"
        ).fetchall()


@pytest.fixture(scope="module")
def expected_events(database_server: postgres.Server) -> list[tuple[Any, ...]]:
    """The same events, written by the same functions without Airflow."""
    uri = database_server.create_database("end_to_end_events")
    app_tables.apply_schema(uri)
    app_tables.load_csv_folder(uri, GOLDEN / "appdb")
    address, settings = Address.parse(uri), Settings(timezone=TIMEZONE)
    options = events.Options(lookback_days=LOOKBACK_DAYS)
    events.sync_event_types(address, NOW, options, settings)
    for kind in Kind:
        events.write(kind, address, NOW, options, settings)
    return event_rows(uri)


@dataclass(frozen=True, slots=True)
class EventRuns:
    """The runs of the events' DAG, in the order in which they were made."""

    before: list[tuple[Any, ...]]
    dry: Written
    first: Written
    again: Written
    over: Written


@pytest.fixture(scope="module")
def event_runs(world: World, resumed: Resumed) -> EventRuns:
    """After `resumed`, which deletes activities."""
    return EventRuns(
        before=event_rows(world.app_uri),
        dry=write_events(world, {"dry_run": True}),
        first=write_events(world, {}),
        again=write_events(world, {}),
        over=write_events(world, {"max_events": 1, "lookback_days": 400}, ends="failed"),
    )


def test_a_dry_run_of_events_writes_nothing(world: World, event_runs: EventRuns) -> None:
    dry = event_runs.dry
    assert sum(kind["due"] for kind in dry.kinds.values()) > 0
    assert {kind["written"] for kind in dry.kinds.values()} == {0}
    assert dry.rows == event_runs.before
    log = world.airflow.client.log(EVENTS, dry.run_id, "summary", 1)
    table = [line for line in log if "kind" in line]
    assert any("written" in line and "why not" in line for line in table)


def test_events_are_written_once(
    world: World, event_runs: EventRuns, expected_events: list[tuple[Any, ...]]
) -> None:
    first, again = event_runs.first, event_runs.again
    assert first.rows == expected_events
    assert sum(kind["written"] for kind in first.kinds.values()) > 0
    assert sum(kind["fan_out"] for kind in first.kinds.values()) > 0
    assert first.told["engagement_fast_events"]["at"] == NOW.isoformat()

    assert {kind["written"] for kind in again.kinds.values()} == {0}
    assert again.rows == expected_events

    told = first.told["engagement_reconciliation"]
    document = json.loads(Path(told["address"]).read_bytes())
    assert Path(told["address"]) == world.reports / "engagement-reports" / "reconciliation.json"
    assert document["totals"] == {name: told[name] for name in document["totals"]}
    assert sum(document["totals"].values()) > 0


def test_a_kind_over_its_fuse_fails_and_the_others_are_told(
    world: World, event_runs: EventRuns
) -> None:
    over = event_runs.over
    found = states(world, over.run_id, EVENTS)
    failed = {task for task, (state, _) in found.items() if state == "failed"}
    assert "summary" in failed
    assert failed & set(map(str, Kind))
    # It is no use to try that again.
    assert {found[task][1] for task in failed} == {1}
    assert set(over.told) == {"engagement_reconciliation"}
    text = "\n".join(world.airflow.client.log(EVENTS, over.run_id, "summary", 1))
    assert "these kinds failed: " in text


def test_nothing_that_is_told_holds_a_secret_or_a_personal_value(
    world: World, clicked: Clicked, mistaken: str, resumed: Resumed, event_runs: EventRuns
) -> None:
    client = world.airflow.client
    with psycopg.connect(world.app_uri) as connection:
        addresses = [email for (email,) in connection.execute("select email from auth_user")]
    written = (event_runs.dry, event_runs.first, event_runs.again, event_runs.over)
    runs = [(DAILY, run_id) for run_id in (*clicked.backfill.run_ids, mistaken, resumed.run_id)]
    logs = world.airflow.folder / "logs"
    told = [path.read_text(encoding="utf-8") for path in logs.rglob("*.log")]
    for dag_id, run_id in (*runs, *((EVENTS, run.run_id) for run in written)):
        assert [*(logs / f"dag_id={dag_id}" / f"run_id={run_id}").rglob("*.log")]
        told += [str(client.xcoms(dag_id, run_id)), json.dumps(client.asset_events(dag_id, run_id))]
    text = "\n".join(told)
    assert PASSWORD not in text
    assert [address for address in addresses if address and address in text] == []

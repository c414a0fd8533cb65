"""The events on the command line."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from tests.command_line import SECRET, Runner, caller, runner
from tests.fasts import App, days_from

VARIABLE = "AIRFLOW_CONN_APP_DB_EVENTS"
FIRST = date(2026, 3, 2)
AT = ("--at", "2026-03-07T00:00:00Z")


@pytest.fixture
def app(module_app: App) -> App:
    """Three fasts of five days with twelve members, and one devotional."""
    app = module_app
    app.reset()
    app.users(range(1, 13))
    for fast in (1, 2, 3):
        app.fast(fast, days_from(FIRST, 5))
        app.members(fast, range(1, 13))
    app.devotional(1, 1, FIRST)
    return app


@pytest.fixture
def process(tmp_path: Path, app: App) -> Runner:
    """Runs `python -m engagement events`, with nothing else set."""
    return runner(tmp_path, app.uri, "events", VARIABLE)


@pytest.fixture
def command(tmp_path: Path, app: App, capfd: pytest.CaptureFixture[str]) -> Runner:
    """Calls the same in this process."""
    return caller(tmp_path, app.uri, capfd, "events", VARIABLE)


def table(out: bytes) -> dict[str, list[str]]:
    lines = out.decode().splitlines()
    assert lines[0].split()[:4] == ["kind", "due", "there", "written"]
    return {line.split()[0]: line.split()[1:] for line in lines[1:]}


def test_the_summary_is_printed(process: Runner, app: App) -> None:
    app.execute("delete from events_eventtype where code = 'fast_ending'")
    run = process(*AT)
    assert (run.code, "event types added: fast_ending" in run.err) == (0, True)
    assert "fast_beginnings: 3 due, 0 there already, 3 written, 36 activities" in run.lines
    assert table(run.out) == {
        "fast_beginnings": ["3", "0", "3", "36", "0", "0"],
        "fast_endings": ["3", "0", "3", "0", "0", "0"],
        "devotionals_available": ["1", "0", "1", "12", "0", "0"],
        "participant_milestones": ["3", "0", "3", "0", "0", "0"],
        "user_milestones": ["12", "0", "12", "12", "0", "0"],
    }
    assert len(app.written()) == 22
    again = process(*AT)
    assert [row[2:4] for row in table(again.out).values()] == [["0", "0"]] * 5


def test_json_alone_on_standard_output(command: Runner) -> None:
    run = command(*AT, "--json", "--no-fan-out", "--fast-id", "3", "--fast-id", "1")
    outcomes = {one["kind"]: one for one in json.loads(run.out)}
    assert run.code == 0
    assert outcomes["fast_beginnings"] == {
        "due": 2,
        "kind": "fast_beginnings",
        "already_there": 0,
        "missing": 2,
        "written": 2,
        "fan_out": 0,
        "doubled": [],
        "unwritten": [],
        "reason": "",
    }
    assert len(outcomes) == 5


def test_a_dry_run(command: Runner, app: App) -> None:
    run = command(*AT, "--dry-run", "--json")
    for outcome in json.loads(run.out):
        assert (outcome["written"], outcome["reason"]) == (0, "dry run")
        assert sum(one["events"] for one in outcome["unwritten"]) == outcome["missing"] > 0
    assert run.code == 0
    assert app.state() == ([], [], [])


def test_the_lookback_and_the_time_zone(command: Runner) -> None:
    first = ("--lookback-days", "1", "--at")
    assert table(command(*first, "2026-03-03T00:00:00Z").out)["fast_beginnings"][0] == "0"
    run = command(*first, "2026-03-02T16:00:00+04:00", "--dry-run")
    assert table(run.out)["fast_beginnings"][0] == "3"
    run = command(*first, "2026-03-02t07:59:59.999999z", ENGAGEMENT_TIMEZONE="America/Los_Angeles")
    assert table(run.out)["fast_beginnings"][0] == "0"
    run = command(*first, "2026-03-02 08:00:00Z", ENGAGEMENT_TIMEZONE="America/Los_Angeles")
    assert table(run.out)["fast_beginnings"][0] == "3"


def test_now_is_the_default(command: Runner, app: App) -> None:
    today = datetime.now(UTC).date()
    app.days(1, days_from(today - timedelta(days=1), 9))
    assert table(command().out)["fast_beginnings"][2] == "1"


def test_the_fuse_stops_a_kind_and_no_other(command: Runner, app: App) -> None:
    run = command(*AT, "--max-events", "2")
    assert run.code == 1
    last = run.err.splitlines()[-1]
    assert last.startswith("engagement: fast_beginnings: 3 events are to be written, more than")
    assert "; fast_endings: 3 events" in last
    assert "Traceback" not in run.err
    rows = table(run.out)
    assert rows["fast_beginnings"] == ["3", "0", "0", "0", "3", "0", "over", "max_events"]
    assert rows["devotionals_available"][2] == "1"
    assert {row["code"] for row in app.written()} == {
        "devotional_available",
        "user_milestone_reached",
    }


def failed(run_lines: list[str], *words: str) -> None:
    [line] = run_lines
    assert line.startswith("engagement")
    for word in words:
        assert word in line


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--at", "yesterday"), ("'yesterday'", "2026-01-31T12:00:00Z")),
        (("--at", "2026-03-07"), ("--at", "offset")),
        (("--at", "2026-03-07T00:00:00"), ("--at", "offset")),
        (("--at", "2026-02-30T00:00:00Z"), ("--at", "2026-02-30")),
        (("--at", "1066-10-14T00:00:00Z"), ("1066", "1970-01-01")),
        (("--lookback-days", "0"), ("lookback_days 0", "1 to 3660")),
        (("--lookback-days", "week"), ("--lookback-days", "week")),
        (("--max-events", "-1"), ("max_events -1", "1 or more")),
        (("--fast-id", "0"), ("fast_ids 0",)),
        (("--fast-id", "99", *AT), ("no fast 99",)),
        (("--fast-id", "lent"), ("--fast-id", "lent")),
        (("--start", "2026-01-01"), ("--start",)),
    ],
    ids=" ".join,
)
def test_wrong_usage(arguments: tuple[str, ...], words: tuple[str, ...], command: Runner) -> None:
    run = command(*arguments)
    assert (run.code, run.out) == (2, b"")
    failed(run.lines, *words)


@pytest.mark.parametrize(
    "uri",
    [None, "mysql://writer@db/app", f"postgresql://writer:{SECRET}@127.0.0.1:1/app"],
    ids=["none", "another database", "nobody listens"],
)
def test_no_connection(uri: str | None, command: Runner) -> None:
    run = command(*AT, uri=uri)
    assert (run.code, run.out) == (1, b"")
    failed(run.lines, VARIABLE)
    assert SECRET not in run.err


def test_the_report_s_connection_is_not_taken(command: Runner, app: App) -> None:
    run = command(*AT, uri=None, AIRFLOW_CONN_APP_DB=app.uri)
    assert run.code == 1
    failed(run.lines, VARIABLE)

"""The command line: what it writes, where, and what it says when it cannot."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import re
import signal
import socket
import subprocess
import sys
import termios
import time
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

import psycopg
import pytest

from demo import postgres
from engagement import datasets
from engagement.datasets import Format
from tests.command_line import (
    ROOT,
    SECRET,
    TEMPORARY,
    WEEK,
    Runner,
    assert_failed,
    environment_of,
    names,
)
from tests.conftest import Golden

EMPTY_WEEK = ("--start", "2001-01-01", "--end", "2001-01-07")
QUICK = (*WEEK, "--skip-validation")
DESCRIPTIONS = {
    "README.md",
    "data_quality.html",
    "data_quality.json",
    "datapackage.json",
    "report.html",
    "summary.md",
}


def files_of(file_format: str) -> set[str]:
    found = {datasets.file_name(name, Format(file_format)) for name in datasets.NAMES}
    return found | DESCRIPTIONS


def test_stdout_is_the_golden_report_alone(golden: Golden, engagement: Runner) -> None:
    period = golden.period
    dates = ("--start", str(period.start), "--end", str(period.end), "--timezone", period.timezone)
    run = engagement(*dates, "--stdout", "--skip-validation")
    assert (run.code, run.lines) == (0, [])
    assert json.dumps(json.loads(run.out)) == json.dumps(golden.report)
    assert names(run.temporary) == set()


def test_settings_time_zone_is_the_default(called: Runner) -> None:
    told = called(*QUICK, "--stdout", "--timezone", "Pacific/Auckland")
    read = called(*QUICK, "--stdout", ENGAGEMENT_TIMEZONE="Pacific/Auckland")
    utc = called(*QUICK, "--stdout")
    assert told.out == read.out != utc.out


def on_terminal(
    arguments: Sequence[str], uri: str, columns: int, stdout: BinaryIO | None = None
) -> tuple[int, str]:
    """The exit code and the text that a terminal of so many columns was sent."""
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, columns))
    process = subprocess.Popen(
        [sys.executable, "-m", "engagement", "report", *arguments],
        env=os.environ
        | {
            "AIRFLOW_CONN_APP_DB": uri,
            "PYTHONPATH": str(ROOT / "plugins"),
            "TERM": "xterm",
        },
        stdin=theirs,
        stdout=stdout or theirs,
        stderr=theirs,
    )
    os.close(theirs)
    told = b""
    with contextlib.suppress(OSError):  # So Linux ends a terminal that nobody writes to any more.
        while block := os.read(ours, 1 << 16):
            told += block
    os.close(ours)
    code = process.wait(60)
    return code, re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", told.decode())


def test_stdout_beside_a_terminal(engagement: Runner, golden_uri: str, tmp_path: Path) -> None:
    """The terminal sees the progress; standard output gets the same bytes as ever."""
    expected = engagement(*QUICK, "--stdout").out
    with (tmp_path / "report.json").open("wb") as report:
        code, shown = on_terminal((*QUICK, "--stdout"), golden_uri, 80, report)
    assert (tmp_path / "report.json").read_bytes() == expected
    assert code == 0
    assert "extracted users: 80 rows" in shown


@pytest.mark.parametrize("options", [(), ("--zip",)], ids=["files", "zip"])
def test_a_narrow_terminal_shows_whole_paths(
    options: tuple[str, ...], golden_uri: str, tmp_path: Path
) -> None:
    """The terminal breaks the line that shows the path, the program does not."""
    output = tmp_path / "/".join(["a folder [with] a :name:"] * 5)
    code, shown = on_terminal((*QUICK, *options, "--output-dir", str(output)), golden_uri, 60)
    path = output / "engagement_2025-12-29_to_2026-01-04.zip" if options else output
    assert code == 0
    assert path.exists()
    lines = [line.rpartition("\r")[2] for line in shown.split("\r\n")]
    assert f"the report is {'' if options else 'in '}{path}" in lines


@pytest.mark.parametrize("file_format", Format)
def test_files_and_archive(file_format: str, called: Runner, tmp_path: Path) -> None:
    """Each format's files, and the same files in one archive."""
    options = (*QUICK, "--format", file_format, "--output-dir")
    folder, zipped = tmp_path / "new" / "files", tmp_path / "zipped"
    run = called(*options, str(folder))
    assert (run.code, run.out, run.lines) == (0, b"", [])
    assert names(folder) == files_of(file_format)
    run = called(*options, str(zipped), "--zip")
    assert (run.code, run.out, run.lines) == (0, b"", [])
    assert names(zipped) == {"engagement_2025-12-29_to_2026-01-04.zip"}
    with zipfile.ZipFile(zipped / "engagement_2025-12-29_to_2026-01-04.zip") as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    assert members == {path.name: path.read_bytes() for path in folder.iterdir()}


def test_fresh_folder_is_printed(called: Runner) -> None:
    printed = []
    for _ in range(2):
        run = called(*QUICK)
        told = re.search(r"^the report is in (.+)$", run.err, re.MULTILINE)
        assert run.code == 0
        assert told is not None
        folder = Path(told[1])
        assert folder.parent == run.temporary
        assert names(folder) == files_of("json")
        printed.append(folder)
    assert names(printed[0].parent) == {folder.name for folder in printed}


def test_default_period_ends_today(called: Runner) -> None:
    run = called("--stdout", "--skip-validation")
    dates = json.loads(run.out)["range"]
    start, end = (int(dates[name].replace("-", "")) for name in ("start", "end"))
    assert run.code == 0
    assert start < end
    assert len(json.loads(run.out)["new_users_over_time"]) == 31


def test_what_was_not_checked_says_so(called: Runner, tmp_path: Path) -> None:
    run = called(*QUICK, "--output-dir", str(tmp_path / "output"))
    assert run.code == 0
    quality = json.loads((tmp_path / "output" / "data_quality.json").read_text(encoding="utf-8"))
    assert quality["status"] == "skipped"


@pytest.mark.parametrize("file_format", Format)
@pytest.mark.parametrize("source", ["empty database", "empty period"])
def test_nothing_to_report(
    source: str,
    file_format: str,
    called: Runner,
    golden_uri: str,
    empty_uri: str,
    tmp_path: Path,
) -> None:
    folder = tmp_path / "files"
    period = QUICK if source == "empty database" else (*EMPTY_WEEK, "--skip-validation")
    uri = empty_uri if source == "empty database" else golden_uri
    run = called(*period, "--format", file_format, "--output-dir", str(folder), uri=uri)
    assert (run.code, run.lines) == (0, [])
    assert names(folder) == files_of(file_format)
    timeline = folder / f"user_activity_timeline.{file_format}"
    header = "user_id,username,activity_type,timestamp,title,description,target_type,target_id\n"
    if file_format == Format.CSV:
        assert timeline.read_text(encoding="utf-8") == header
    elif file_format == Format.JSON:
        assert json.loads(timeline.read_bytes()) == []
    assert json.loads((folder / "other_metrics.json").read_bytes())["active_users"] == 0


def test_an_empty_database_counts_nothing_on_each_day(called: Runner, empty_uri: str) -> None:
    run = called(*QUICK, "--stdout", uri=empty_uri)
    assert run.code == 0
    report = json.loads(run.out)
    assert report["new_users_over_time"] == [
        {"date": f"{day}", "count": 0}
        for day in (
            *(f"2025-12-{n}" for n in (29, 30, 31)),
            *(f"2026-01-0{n}" for n in range(1, 5)),
        )
    ]
    assert [report[dataset.name] for dataset in datasets.TABLES[1:]] == [[]] * 5


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--start", "2024-13-01"), ("start", "'2024-13-01'", "YYYY-MM-DD")),
        (("--start", "01/02/2024"), ("start", "'01/02/2024'", "YYYY-MM-DD")),
        (("--start", ""), ("start", "''", "YYYY-MM-DD")),
        (("--end", ""), ("end", "''", "YYYY-MM-DD")),
        ((*WEEK, "--timezone", ""), ("''", "IANA")),
        (("--end", "2024-1-5"), ("end", "'2024-1-5'", "YYYY-MM-DD")),
        (("--end", "2023-02-29"), ("end", "'2023-02-29'", "YYYY-MM-DD")),
        (("--end", "2024-01-05T00:00"), ("end", "'2024-01-05T00:00'", "YYYY-MM-DD")),
        (
            ("--start", "2024-01-05", "--end", "2024-01-04"),
            ("2024-01-05", "2024-01-04", "expected"),
        ),
        ((*WEEK, "--timezone", "Mars/Olympus"), ("'Mars/Olympus'", "IANA")),
        ((*WEEK, "--timezone", "../UTC"), ("'../UTC'", "IANA")),
        ((*WEEK, "--format", "xml"), ("'xml'", "json, csv, parquet")),
        ((*WEEK, "--upload-s3", "--s3-prefix", "a/../b"), ("'a/../b'", "'..'", "expected")),
        ((*WEEK, "--upload-s3", "--s3-prefix", "/a"), ("'/a'", "slash", "expected")),
        ((*WEEK, "--upload-s3", "--s3-prefix", "a\nb"), ("'a\\nb'", "control", "expected")),
        ((*WEEK, "--upload-s3", "--s3-prefix", "a\x7fb"), ("'a\\x7fb'", "control", "expected")),
        ((*WEEK, "--upload-s3", "--skip-validation"), ("--skip-validation", "leave out")),
        ((*WEEK, "--upload-s3", "--timezone", "Asia/Tokyo"), ("Asia/Tokyo", "ENGAGEMENT_TIMEZONE")),
        ((*WEEK, "--s3-prefix", "a/"), ("--s3-prefix", "--upload-s3")),
        ((*WEEK, "--presign"), ("--presign", "--upload-s3")),
        ((*WEEK, "--replace"), ("--replace", "--upload-s3")),
        ((*WEEK, "--stdout", "--format", "csv"), ("--stdout", "csv", "JSON")),
        ((*WEEK, "--colour"), ("--colour", "--help")),
        (("--start",), ("--start", "--help")),
    ],
    ids=lambda value: " ".join(value).encode("unicode_escape").decode(),
)
def test_wrong_usage(
    options: tuple[str, ...], words: tuple[str, ...], called: Runner, tmp_path: Path
) -> None:
    output = tmp_path / "output"
    assert_failed(called(*options, "--output-dir", str(output)), 2, *words)
    assert not output.exists()


def test_a_process_exits_with_the_same_codes(engagement: Runner) -> None:
    assert_failed(engagement("--start", "2024-13-01"), 2, "start", "'2024-13-01'", "YYYY-MM-DD")
    assert_failed(engagement(*QUICK, uri=SECRET), 1, "AIRFLOW_CONN_APP_DB", "postgresql://")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("TIMEZONE", "Mars/Olympus"),
        ("S3_PREFIX", "a/../b"),
        ("MEMORY_LIMIT_MB", "plenty"),
        ("DESTINATION", "ftp://x"),
    ],
)
def test_wrong_settings(name: str, value: str, called: Runner) -> None:
    run = called(*QUICK, **{f"ENGAGEMENT_{name}": value})
    assert_failed(run, 1, f"ENGAGEMENT_{name}: ", value)


def test_upload_without_an_s3_destination(called: Runner) -> None:
    run = called(*WEEK, "--upload-s3")
    assert_failed(run, 1, "ENGAGEMENT_DESTINATION", "s3://bucket")


@pytest.mark.parametrize("uri", [None, "", "  "], ids=["unset", "empty", "blank"])
def test_no_connection(uri: str | None, called: Runner) -> None:
    assert_failed(called(*QUICK, uri=uri), 1, "AIRFLOW_CONN_APP_DB", "postgresql://")


@pytest.mark.parametrize(
    "uri",
    [
        f"postgresql://reader:{SECRET}@127.0.0.1:port/app",
        f"postgresql://reader:{SECRET}%zz@127.0.0.1/app",
        f"postgresql://reader:{SECRET}@[::1/app",
        f"postgresql://reader:12345#{SECRET}@127.0.0.1:1/app",
        f"postgresql://reader:12345?{SECRET}@127.0.0.1:1/app",
        f"mysql://reader:{SECRET}@127.0.0.1/app",
        f'{{"conn_type": "postgres", "password": "{SECRET}"',
        f'{{"password": "{SECRET}", "port": "port"}}',
        SECRET,
    ],
)
def test_unreadable_connection(uri: str, called: Runner) -> None:
    run = called(*QUICK, uri=uri)
    assert_failed(run, 1, "AIRFLOW_CONN_APP_DB", "postgresql://")
    assert SECRET not in run.err
    assert "12345" not in run.err


@pytest.fixture
def closed_port() -> Iterator[int]:
    """A port that is taken, and where nobody listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]


@pytest.mark.parametrize(
    "uri",
    [
        f"postgresql://reader:{SECRET}@127.0.0.1:{{port}}/app",
        f"postgresql://reader:first@{SECRET}@127.0.0.1:{{port}}/app",
        f"postgres://reader:{SECRET}@127.0.0.1:{{port}}/app?sslmode=prefer",
        f"postgresql://127.0.0.1:{{port}}/app?user=reader&password={SECRET}",
    ],
)
def test_unreachable_server(uri: str, closed_port: int, called: Runner) -> None:
    run = called(*QUICK, uri=uri.format(port=closed_port))
    assert_failed(run, 1, "cannot be reached", "127.0.0.1", str(closed_port), "AIRFLOW_CONN_APP_DB")
    assert SECRET not in run.err


@pytest.fixture
def locked_uri(database_server: postgres.Server, golden_uri: str) -> Iterator[str]:
    """The golden database as a role that is asked for its password."""
    rules = database_server.folder / "pg_hba.conf"
    before = rules.read_bytes()
    with psycopg.connect(golden_uri, autocommit=True) as connection:
        connection.execute("create role locked login password 'right'")
        rules.write_bytes(b"local all locked scram-sha-256\n" + before)
        connection.execute("select pg_reload_conf()")
        yield database_server.uri("golden", user="locked").replace("locked@", f"locked:{SECRET}@")
        rules.write_bytes(before)
        connection.execute("select pg_reload_conf()")
        connection.execute("drop role locked")


def test_wrong_password(locked_uri: str, called: Runner) -> None:
    run = called(*QUICK, uri=locked_uri)
    assert_failed(run, 1, "refused", "locked", "password", "AIRFLOW_CONN_APP_DB")
    assert SECRET not in run.err


def test_missing_database(database_server: postgres.Server, called: Runner) -> None:
    run = called(*QUICK, uri=database_server.uri("nowhere"))
    assert_failed(run, 1, "nowhere", "AIRFLOW_CONN_APP_DB")


@pytest.fixture
def copied_uri(database_server: postgres.Server, golden_uri: str) -> Iterator[str]:
    yield database_server.copy_database("golden", "copied")
    database_server.drop_database("copied")


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("user_activity.json", ()),
        ("report.html", ()),
        ("data_quality.json", ()),
        ("engagement_2025-12-29_to_2026-01-04.zip", ("--zip",)),
    ],
)
def test_a_folder_in_the_place_of_a_file(
    name: str, options: tuple[str, ...], called: Runner, tmp_path: Path
) -> None:
    """Nothing is read, and nothing written beside it."""
    output = tmp_path / "out"
    (output / name).mkdir(parents=True)
    run = called(*QUICK, *options, "--output-dir", str(output))
    assert_failed(run, 1, str(output), name, "expected a file")
    assert "extracted" not in run.err
    assert names(output) == {name}


def test_what_a_killed_run_has_left_is_removed(called: Runner, tmp_path: Path) -> None:
    output = tmp_path / "out"
    old, new = output / ".unfinished-old", output / ".unfinished-new"
    for left, days in ((old, 8), (new, 6)):
        left.mkdir(parents=True)
        (left / "users.parquet").write_text("personal")
        at = time.time() - days * 86_400
        os.utime(left, (at, at))
    run = called(*QUICK, "--zip", "--output-dir", str(output))
    assert run.code == 0, run.err
    assert names(output) == {new.name, "engagement_2025-12-29_to_2026-01-04.zip"}


def test_standard_output_that_is_closed(golden_uri: str, tmp_path: Path) -> None:
    command = f'"{sys.executable}" -m engagement report {" ".join(QUICK)} --stdout'
    environment = {
        **environment_of(tmp_path),
        "AIRFLOW_CONN_APP_DB": golden_uri,
        "TMPDIR": str(tmp_path),
    }
    for closed, code in ((">&-", 2), ("2>&-", 0)):
        done = subprocess.run(
            f"{command} {closed}",
            shell=True,
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == code
        if code:
            assert done.stderr == (
                "engagement: --stdout: standard output is closed; redirect it to a file, or open "
                "it\n"
            )
        else:
            assert json.loads(done.stdout)["range"]["start"] == "2025-12-29"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("drop table hub_profile_fasts", ("table", "hub_profile_fasts")),
        ("drop table events_eventtype cascade", ("table", "events_eventtype")),
        ("alter table auth_user drop column email", ("column", "email", "read for users")),
        (
            "alter table events_useractivityfeed drop column title",
            ("column", "title", "read for activities"),
        ),
    ],
)
def test_missing_table_or_column(
    change: str, words: tuple[str, ...], copied_uri: str, called: Runner, tmp_path: Path
) -> None:
    with psycopg.connect(copied_uri) as connection:
        connection.execute(change.encode())
    output = tmp_path / "output"
    run = called(*QUICK, "--output-dir", str(output), uri=copied_uri)
    assert_failed(run, 1, *words, "migrations")
    assert names(output) == set()


@pytest.mark.parametrize("path", ["file/output", "file"])
def test_output_that_cannot_be_written(path: str, called: Runner, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("kept", encoding="utf-8")
    output = tmp_path / path
    run = called(*QUICK, "--output-dir", str(output))
    assert_failed(run, 1, repr(str(output)), "cannot be written", "choose")
    assert (tmp_path / "file").read_text(encoding="utf-8") == "kept"


@pytest.mark.parametrize("options", [(), ("--zip",), ("--stdout",)], ids=" ".join)
@pytest.mark.parametrize("limit", [500, 12_000], ids=["extract", "compute"])
def test_full_disk(
    limit: int, options: tuple[str, ...], engagement: Runner, tmp_path: Path
) -> None:
    """A limit on the size of files stands in for a disk that is full at some point of the work."""
    output = tmp_path / "output"
    run = engagement(*QUICK, *options, "--output-dir", str(output), limit=limit)
    assert_failed(run, 1, "File too large", "check")
    assert ("extract: " in run.err) == (limit > 500)
    assert names(output) == set()


def test_a_failure_leaves_no_fresh_folder(engagement: Runner) -> None:
    assert_failed(engagement(*QUICK, limit=500), 1, "File too large")


def test_full_standard_output(engagement: Runner) -> None:
    full = os.open("/dev/full", os.O_WRONLY)
    try:
        run = engagement(*QUICK, "--stdout", stdout=full)
    finally:
        os.close(full)
    assert_failed(run, 1, "No space left on device", "free space")


def test_nobody_reads_standard_output(engagement: Runner) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    try:
        run = engagement(*QUICK, "--stdout", stdout=writer)
    finally:
        os.close(writer)
    assert (run.code, run.lines) == (1, [])
    assert names(run.temporary) == set()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=str)
def test_who_is_stopped_leaves_nothing(number: int, golden_uri: str, tmp_path: Path) -> None:
    (tmp_path / TEMPORARY).mkdir()
    environment = {**environment_of(tmp_path), "AIRFLOW_CONN_APP_DB": golden_uri}
    command = [sys.executable, "-m", "engagement", "report", *WEEK, "--output-dir", "out"]
    with subprocess.Popen(
        command,
        cwd=tmp_path,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        assert process.stderr is not None
        # It checks what it has extracted by then, in a process of its own.
        told = [next(process.stderr)]
        while not told[-1].startswith("extract:"):
            told.append(next(process.stderr))
        os.killpg(process.pid, number)
        told += process.stderr.readlines()
    assert process.returncode == 1
    assert told[-1] == "engagement: interrupted: what was not finished is removed\n"
    assert "Traceback" not in "".join(told)
    assert names(tmp_path / TEMPORARY) == set()
    assert names(tmp_path / "out") == set()

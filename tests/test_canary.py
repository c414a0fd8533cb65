"""Planted personal values reach the columns that are marked personal, and nothing else at all."""

from __future__ import annotations

import csv
import json
import logging
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest
from pyarrow import parquet
from upath import UPath

from demo import postgres
from engagement import datasets, report
from engagement.app_database import Address
from engagement.datasets import Format
from engagement.extract import TABLES
from engagement.period import Cadence, Period
from engagement.settings import Settings
from engagement.staging import StagingArea

ROOT = Path(__file__).parents[1]
PERIOD = Period.parse("2025-12-29", "2026-01-04", "UTC")
CANARY = "canary"
ADDRESS = "203.0.113.77"
SHOWN = {"canary-email", "canary-username", "canary-title", "canary-text"}
"""What a report may show, in columns that are marked personal."""
TYPE = "canary-type"
"""An address that somebody took for an activity type, which is free text."""
TYPED = {("user_activity", "by_type"), ("user_activity_timeline", "activity_type")}
"""The columns that show it as the type that it is; in CSV by_type is the names of columns."""

PLANTED = """
update auth_user set
    email = 'u' || id || '@canary-email.example',
    username = 'u' || id || '@canary-username.example',
    password = 'pbkdf2_sha256$canary-password',
    first_name = 'canary-first', last_name = 'canary-last';
update hub_profile set name = 'canary-profile', location = 'canary-place';
update events_event set
    title = 'u' || id || '@canary-event.example did this',
    description = 'u' || id || '@canary-event.example did that',
    data = data || '{"email": "u@canary-data.example", "username": "canary-data"}',
    i18n = '{"title_hy": "canary-i18n"}',
    ip_address = '203.0.113.77',
    user_agent = 'canary-agent/1.0';
update events_useractivityfeed set
    title = 'u' || user_id || '@canary-title.example',
    description = 'u' || user_id || '@canary-text.example',
    data = data || '{"email": "u@canary-data.example"}',
    i18n = '{"title_hy": "canary-i18n"}';
update auth_user set date_joined = '0201-01-01 00:00+00' where id = 1;
update events_useractivityfeed set activity_type = 'u@canary-type.example' where user_id % 3 = 0;
"""
"""The last two let checks fail, so that what they found is told."""


@pytest.fixture(scope="module")
def planted_uri(database_server: postgres.Server, golden_uri: str) -> Iterator[str]:
    uri = database_server.copy_database("golden", "planted")
    with psycopg.connect(uri) as connection:
        connection.execute(PLANTED)
    yield uri
    database_server.drop_database("planted")


@dataclass(frozen=True, slots=True)
class Made:
    """A report's files, and all that was said while it was made."""

    format: Format
    folder: Path
    said: str


def run(uri: str, folder: Path, file_format: Format) -> subprocess.CompletedProcess[str]:
    dates = ("--start", str(PERIOD.start), "--end", str(PERIOD.end))
    options = [*dates, "--format", file_format, "--output-dir", str(folder)]
    if file_format is not Format.JSON:
        # What the checks find is the same in every format.
        options.append("--skip-validation")
    with tempfile.TemporaryDirectory() as home:
        return subprocess.run(
            [sys.executable, "-m", "engagement", "report", *options],
            env={
                "PATH": os.environ["PATH"],
                "HOME": home,
                "PYTHONPATH": str(ROOT / "plugins"),
                "AIRFLOW_CONN_APP_DB": uri,
            },
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )


@pytest.fixture(scope="module", params=Format)
def made(
    request: pytest.FixtureRequest, planted_uri: str, tmp_path_factory: pytest.TempPathFactory
) -> Made:
    folder = tmp_path_factory.mktemp("report")
    done = run(planted_uri, folder, request.param)
    assert done.returncode == 0, done.stderr
    return Made(request.param, folder, done.stdout + done.stderr)


def rows_of(made: Made, name: str) -> list[dict[str, Any]]:
    path = made.folder / datasets.file_name(name, made.format)
    if made.format is Format.PARQUET:
        found: list[dict[str, Any]] = parquet.read_table(path).to_pylist()
    elif made.format is Format.CSV:
        with path.open(encoding="utf-8", newline="") as file:
            found = list(csv.DictReader(file))
    else:
        found = json.loads(path.read_bytes())
    return found


def is_planted(value: object) -> bool:
    return CANARY in str(value) or ADDRESS in str(value)


def planted_columns(rows: list[dict[str, Any]]) -> set[str]:
    return {name for row in rows for name, value in row.items() if is_planted(value)}


def typed_columns(dataset: str, file_format: Format) -> set[str]:
    """The columns whose values show the activity type."""
    in_names = {"by_type"} if file_format is Format.CSV else set()
    return {column for name, column in TYPED if name == dataset} - in_names


def paths(value: Any, path: str = "") -> Iterator[tuple[str, object]]:
    """The values of an object by their paths, as the data package names them."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield f"{path}.{name}", name
            yield from paths(inner, f"{path}.{name}".removeprefix("."))
    elif isinstance(value, list):
        for inner in value:
            yield from paths(inner, f"{path}[]")
    else:
        yield path, value


@pytest.mark.parametrize("dataset", datasets.TABLES, ids=lambda dataset: dataset.name)
def test_personal_values_stand_in_personal_columns(dataset: datasets.Dataset, made: Made) -> None:
    rows = rows_of(made, dataset.name)
    assert rows
    typed = typed_columns(dataset.name, made.format)
    personal = {column.name for column in dataset.columns if column.personal}
    assert planted_columns(rows) == personal | typed
    for row in rows:
        for name, value in row.items():
            shown = {TYPE} if name in typed else SHOWN
            assert set(re.findall(r"canary-[a-z]+", str(value))) <= shown
            assert ADDRESS not in str(value)
    in_names = {name for row in rows for name in row if is_planted(name)}
    of_types = made.format is Format.CSV and dataset.name == "user_activity"
    assert in_names == ({f"type_u@{TYPE}.example"} if of_types else set())


def test_personal_values_of_the_object(made: Made) -> None:
    content = json.loads((made.folder / "other_metrics.json").read_bytes())
    package = json.loads((made.folder / "datapackage.json").read_bytes())
    personal = {
        field["name"]
        for resource in package["resources"]
        if resource["name"] == "other_metrics"
        for field in resource["schema"]["fields"]
        if field.get("personal")
    }
    assert {path for path, value in paths(content) if is_planted(value)} == personal
    assert len(personal) > 0


def test_nothing_else_tells_them(made: Made) -> None:
    described = {"datapackage.json", "README.md"}
    pages = {"report.html", "summary.md", "data_quality.html", "data_quality.json"}
    for name in described | pages:
        text = (made.folder / name).read_text(encoding="utf-8")
        if made.format is Format.CSV and name in described:
            # The name of its column, once.
            quoted = '"{}"' if name == "datapackage.json" else "| `{}` |"
            column = quoted.format(f"type_u@{TYPE}.example")
            assert text.count(column) == 1
            text = text.replace(column, "")
        assert not is_planted(text), name
    assert not is_planted(made.said)
    quality = json.loads((made.folder / "data_quality.json").read_bytes())
    assert quality["status"] == ("warned" if made.format is Format.JSON else "skipped")
    assert "users" in made.said


def test_secrets_are_nowhere(made: Made) -> None:
    """Read as bytes too: a compressed file was read as values above."""
    shown = {word.encode() for word in {*SHOWN, TYPE}}
    for path in made.folder.iterdir():
        content = path.read_bytes()
        for word in shown:
            content = content.replace(word, b"")
        assert CANARY.encode() not in content, path.name
        assert ADDRESS.encode() not in content, path.name


def test_broken_data_stops_the_report_and_is_told_without_its_values(
    planted_uri: str, database_server: postgres.Server, tmp_path: Path
) -> None:
    uri = database_server.copy_database("planted", "broken")
    try:
        with psycopg.connect(uri) as connection:
            connection.execute("set session_replication_role = replica")
            connection.execute("update events_useractivityfeed set user_id = 4711")
        done = run(uri, tmp_path / "report", Format.JSON)
    finally:
        database_server.drop_database("broken")
    assert (done.returncode, done.stdout) == (1, "")
    last = done.stderr.splitlines()[-1]
    assert last.startswith("engagement: ")
    assert re.search(r"activities \(user_id\): (\d+) of \1\b", last)
    assert "Traceback" not in done.stderr
    assert not is_planted(done.stdout + done.stderr)
    assert list((tmp_path / "report").iterdir()) == []


def test_only_what_a_dataset_needs_leaves_the_database(
    planted_uri: str, settings: Settings, tmp_path: Path
) -> None:
    area = StagingArea(UPath(tmp_path))
    taken = report.take_snapshot(Address.parse(planted_uri), PERIOD, area, "tests", settings)
    found = {}
    for table in TABLES:
        rows = parquet.read_table(str(taken.tables / f"{table}.parquet")).to_pylist()
        assert rows
        columns = planted_columns(rows)
        if columns:
            found[table] = columns
    assert found == {
        "users": {"email", "username"},
        "activities": {"title", "description", "activity_type"},
    }


@pytest.mark.parametrize("file_format", Format)
def test_what_tasks_hand_to_each_other_has_no_values(
    planted_uri: str,
    file_format: Format,
    settings: Settings,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """It stands in Airflow's database and in its logs."""
    area = StagingArea(UPath(tmp_path))
    with caplog.at_level(logging.DEBUG):
        taken = report.take_snapshot(Address.parse(planted_uri), PERIOD, area, "tests", settings)
        report.skip_quality(taken)
        computed = [report.compute(taken, name, file_format, settings) for name in datasets.NAMES]
        report.draw(taken, computed, file_format)
        packaged = report.package(taken, computed, file_format, Cadence.ON_DEMAND, run=None)
    handed = json.dumps([one.as_dict() for one in computed])
    assert [report.Computed.of_dict(one) for one in json.loads(handed)] == computed
    assert not is_planted(handed)
    assert not is_planted(repr((taken, packaged)))
    assert "compute user_activity:" in caplog.text
    assert not is_planted(caplog.text)

"""The archive: fixed bytes, a description that a validator accepts, CSV that is safe to open."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import stat
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from pyarrow import parquet
from upath import UPath

from demo import postgres
from engagement import archive, datasets, report
from engagement.app_database import Address
from engagement.datasets import Format
from engagement.errors import DataQualityError
from engagement.period import Cadence, Period
from engagement.publish import Archive
from engagement.settings import Settings
from engagement.staging import StagingArea

PERIOD = Period.parse("2025-12-29", "2026-01-04", "UTC")
FORMULAS = ["=1+1", "+1", "-1", "@sum(a1)", "\t=1", "\r=1"]
TYPES = [
    "Fast_Join",
    "FAST_JOIN",
    "a,b\rc",
    'quo"ted',
    "=type",
    "два",
    "a|b\\|c",
    "tick`s",
    "``",
    "two\n\tlines",
    "<b>*bold*</b>",
    "[a](b)",
]


def make(
    address: Address, folder: Path, file_format: Format, settings: Settings
) -> tuple[report.Snapshot, Archive]:
    taken = report.take_snapshot(address, PERIOD, StagingArea(UPath(folder)), "tests", settings)
    report.skip_quality(taken)
    computed = [report.compute(taken, name, file_format, settings) for name in datasets.NAMES]
    report.draw(taken, computed, file_format)
    return taken, report.package(taken, computed, file_format, Cadence.ON_DEMAND, run=None)


@pytest.fixture(scope="module", params=Format)
def packaged(
    request: pytest.FixtureRequest,
    golden_address: Address,
    tmp_path_factory: pytest.TempPathFactory,
) -> Archive:
    return make(golden_address, tmp_path_factory.mktemp("area"), request.param, Settings())[1]


def description(packaged: Archive) -> dict[str, Any]:
    with zipfile.ZipFile(packaged.path) as opened:
        found: dict[str, Any] = json.loads(opened.read(archive.DATA_PACKAGE))
    return found


def validate(path: Path) -> tuple[bool, dict[str, Any]]:
    """What `frictionless validate` says of an archive."""
    done = subprocess.run(
        [sys.executable, "-m", "frictionless", "validate", "--json", str(path)],
        capture_output=True,
        timeout=120,
        check=False,
    )
    found: dict[str, Any] = json.loads(done.stdout)
    assert found["valid"] == (done.returncode == 0)
    return found["valid"], {task["name"]: task for task in found["tasks"]}


def test_members_are_sorted_with_fixed_times_and_modes(packaged: Archive) -> None:
    with zipfile.ZipFile(packaged.path) as opened:
        members = opened.infolist()
        assert opened.testzip() is None
    names = [member.filename for member in members]
    assert names == sorted(names)
    assert {member.date_time for member in members} == {(1980, 1, 1, 0, 0, 0)}
    assert {member.external_attr >> 16 for member in members} == {stat.S_IFREG | 0o644}
    assert {member.compress_type for member in members} == {zipfile.ZIP_DEFLATED}


def test_what_it_says_of_itself(packaged: Archive) -> None:
    content = packaged.path.read_bytes()
    assert packaged.name == "engagement_2025-12-29_to_2026-01-04.zip"
    assert packaged.bytes == len(content)
    assert packaged.sha256 == hashlib.sha256(content).hexdigest()


def test_another_snapshot_gives_the_same_bytes(
    packaged: Archive, golden_address: Address, settings: Settings, tmp_path: Path
) -> None:
    _, again = make(golden_address, tmp_path, Format(packaged.format), settings)
    assert again.path.read_bytes() == packaged.path.read_bytes()


def test_frictionless_accepts_it(packaged: Archive) -> None:
    valid, tasks = validate(packaged.path)
    assert valid, tasks
    pages = {"report_page", "summary", "data_quality_page"}
    assert set(tasks) == {*datasets.NAMES, "data_quality", "readme", *pages}


def test_frictionless_refuses_it_changed(packaged: Archive, tmp_path: Path) -> None:
    """The validator does look: one byte more in any file is noticed."""
    changed = tmp_path / "changed.zip"
    with zipfile.ZipFile(packaged.path) as opened, zipfile.ZipFile(changed, "w") as target:
        for name in opened.namelist():
            more = b"" if name == archive.DATA_PACKAGE else b"\n"
            target.writestr(name, opened.read(name) + more)
    valid, tasks = validate(changed)
    assert not valid
    assert [name for name, task in tasks.items() if task["valid"]] == []


def test_description_lists_every_file(packaged: Archive) -> None:
    package = description(packaged)
    assert package["period"] == {"start": "2025-12-29", "end": "2026-01-04"}
    assert package["timezone"] == "UTC"
    assert package["version"] == archive.SCHEMA_VERSION
    with zipfile.ZipFile(packaged.path) as opened:
        paths = [resource["path"] for resource in package["resources"]]
        assert sorted([*paths, archive.DATA_PACKAGE]) == opened.namelist()
        for resource in package["resources"]:
            content = opened.read(resource["path"])
            assert resource["bytes"] == len(content)
            assert resource["hash"] == f"sha256:{hashlib.sha256(content).hexdigest()}"


def test_every_column_is_described(packaged: Archive, tmp_path: Path) -> None:
    resources = {resource["name"]: resource for resource in description(packaged)["resources"]}
    with zipfile.ZipFile(packaged.path) as opened:
        opened.extractall(tmp_path)
        readme = opened.read(archive.README).decode()
    for dataset in datasets.TABLES:
        resource = resources[dataset.name]
        fields = resource["schema"]["fields"]
        names = [field["name"] for field in fields]
        path = tmp_path / resource["path"]
        if packaged.format == Format.CSV:
            with path.open(encoding="utf-8", newline="") as file:
                header, *rows = csv.reader(file)
            assert names == header
        elif packaged.format == Format.PARQUET:
            table = parquet.read_table(path)
            assert names == table.column_names
            rows = table.to_pylist()
        else:
            rows = json.loads(path.read_bytes())
            assert all(list(row) == names for row in rows)
        assert resource["rowCount"] == len(rows) > 0
        assert resource["schema"].get("primaryKey", []) == list(dataset.key)
        for field in fields:
            assert field["description"].strip()
            assert f"| `{field['name']}` | {field['description']}" in readme


def test_every_value_of_the_object_is_described(packaged: Archive) -> None:
    resources = {resource["name"]: resource for resource in description(packaged)["resources"]}
    resource = resources["other_metrics"]
    fields = {field["name"]: field for field in resource["schema"]["fields"]}
    with zipfile.ZipFile(packaged.path) as opened:
        content = json.loads(opened.read(resource["path"]))

    def paths(value: Any, path: str) -> Iterator[str]:
        if path in fields or not isinstance(value, dict | list):
            yield path
        elif isinstance(value, dict):
            for name, inner in value.items():
                yield from paths(inner, f"{path}.{name}" if path else name)
        else:
            for inner in value:
                yield from paths(inner, f"{path}[]")

    assert set(paths(content, "")) == set(fields)
    assert all(field["description"].strip() for field in fields.values())


def test_datasets_of_two_snapshots_never_meet(
    golden_address: Address, settings: Settings, tmp_path: Path
) -> None:
    area = StagingArea(UPath(tmp_path))
    first, second = (
        report.take_snapshot(golden_address, PERIOD, area, "tests", settings) for _ in range(2)
    )
    report.skip_quality(first)
    computed = [report.compute(first, name, Format.CSV, settings) for name in datasets.NAMES[1:]]
    with pytest.raises(DataQualityError, match=f"lacks {datasets.NAMES[0]}"):
        report.package(first, computed, Format.CSV, Cadence.ON_DEMAND, run=None)
    computed.append(report.compute(second, datasets.NAMES[0], Format.CSV, settings))
    with pytest.raises(DataQualityError, match=f"mixes in {datasets.NAMES[0]} of another"):
        report.package(first, computed, Format.CSV, Cadence.ON_DEMAND, run=None)


@pytest.fixture(scope="module")
def strange(
    database_server: postgres.Server, golden_uri: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[report.Snapshot, Archive]]:
    """The CSV report of a copy of the golden database with texts that are hard to write as CSV."""
    uri = database_server.copy_database("golden", "strange")
    with psycopg.connect(uri) as connection:
        connection.execute("delete from events_useractivityfeed")
        texts = [*FORMULAS, "", "two\nlines", 'a "quoted", text', "NULL", " padded ", "Պահք"]
        for number, text in enumerate(texts):
            connection.execute(
                "insert into events_useractivityfeed (activity_type, title, description, is_read,"
                " created_at, data, user_id) values (%s, %s, '', false,"
                " timestamptz '2026-01-01 00:00+00' - %s * interval '1 s', '{}', 1)",
                (TYPES[number % len(TYPES)], text, number),
            )
    folder = tmp_path_factory.mktemp("strange")
    yield make(Address.parse(uri), folder, Format.CSV, Settings())
    database_server.drop_database("strange")


def test_csv_texts(strange: tuple[report.Snapshot, Archive]) -> None:
    with zipfile.ZipFile(strange[1].path) as opened:
        content = opened.read("user_activity_timeline.csv").decode()
    assert not content.startswith("\ufeff")
    assert content.endswith("\n")
    assert "\r\n" not in content
    rows = list(csv.DictReader(content.splitlines(keepends=True)))
    titles = [row["title"] for row in rows]
    assert titles == [
        *(f"'{text}" for text in FORMULAS),
        "",
        "two\nlines",
        'a "quoted", text',
        "NULL",
        " padded ",
        "Պահք",
    ]
    lines = content.split("\n")
    # The title is empty text, the description too; the target is null, which is written as nothing.
    assert any(line.endswith(',"","",,') for line in lines)
    assert lines[-2].endswith(',Պահք,"",,')
    assert {(row["target_type"], row["target_id"]) for row in rows} == {("", "")}


def test_csv_columns_of_activity_types(strange: tuple[report.Snapshot, Archive]) -> None:
    """Types that differ in case or hold separators have a column each, in alphabetical order."""
    with zipfile.ZipFile(strange[1].path) as opened:
        content = opened.read("user_activity.csv").decode()
    header, row = csv.reader(io.StringIO(content, newline=""))
    types = [name.removeprefix("type_") for name in header if name.startswith("type_")]
    assert types == sorted({*datasets.ACTIVITY_TYPES, *TYPES})
    counts = dict(zip(header, row, strict=True))
    assert {counts[f"type_{name}"] for name in TYPES} == {"1"}
    assert counts["type_fast_join"] == "0"
    assert counts["total_items"] == "12"
    named = [
        field["name"]
        for resource in description(strange[1])["resources"]
        if resource["name"] == "user_activity"
        for field in resource["schema"]["fields"]
    ]
    assert named == header


def test_readme_of_activity_types(strange: tuple[report.Snapshot, Archive]) -> None:
    """Whatever a type is called, its row of the table is one line with two cells."""
    with zipfile.ZipFile(strange[1].path) as opened:
        lines = opened.read(archive.README).decode().split("\n")
    rows = [line for line in lines if "type_" in line and "Activities of this type." in line]
    told = [line.removesuffix(" | Activities of this type. (activities) |") for line in rows]
    types = sorted({*datasets.ACTIVITY_TYPES, *TYPES})
    assert len(told) == len(types)
    spans = dict(zip(types, (row.removeprefix("| ") for row in told), strict=True))
    assert spans["milestone"] == "`type_milestone`"
    assert spans["a|b\\|c"] == r"`type_a\|b\\|c`"
    assert spans["tick`s"] == "``type_tick`s``"
    assert spans["``"] == "``` type_`` ```"
    assert spans["two\n\tlines"] == r"`type_two\n\tlines`"
    assert spans["<b>*bold*</b>"] == "`type_<b>*bold*</b>`"
    assert "\t" not in "".join(lines)


def test_frictionless_accepts_strange_texts(strange: tuple[report.Snapshot, Archive]) -> None:
    valid, tasks = validate(strange[1].path)
    assert valid, [task["errors"] for task in tasks.values() if not task["valid"]]

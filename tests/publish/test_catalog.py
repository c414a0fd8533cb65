"""Reading what is published: folders, a server that verifies signatures, and moto."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

from engagement.catalog import Catalog, Entry, FolderCatalog, all_entries
from engagement.datasets import Format
from engagement.destinations import open_catalog
from engagement.errors import ConfigurationError, TemporaryError
from engagement.period import Cadence
from engagement.publish import Destination
from engagement.published_record import Record
from tests.publish.helpers import Bucket, folder_destination, make_archive, no_s3, settings
from tests.servers.faults import Proxy

DAILY = "engagement-reports/daily/json"


def entry(start: str, end: str | None = None, cadence: str = "daily") -> Entry:
    found = Entry.parse(cadence, "json", f"engagement_{start}_to_{end or start}.zip")
    assert found is not None
    return found


def zipped(**members: bytes) -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as opened:
        for name, content in members.items():
            opened.writestr(name, content)
    return target.getvalue()


@pytest.fixture(params=["folder", "swift", "moto"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Destination, Catalog]:
    """The two halves of one empty destination."""
    if request.param == "folder":
        base = tmp_path / "reports"
        return folder_destination(base), open_catalog(settings(base), no_s3)
    bucket: Bucket = request.getfixturevalue(
        "bucket" if request.param == "swift" else "moto_bucket"
    )
    return bucket.destination(), bucket_catalog(bucket)


def bucket_catalog(bucket: Bucket, client: Callable[[], Any] | None = None) -> Catalog:
    return open_catalog(settings(f"s3://{bucket.name}/base/"), client or bucket.server.client)


def test_nothing_is_published_yet(place: tuple[Destination, Catalog]) -> None:
    _, catalog = place

    assert all_entries(catalog, [*Cadence]) == {cadence: [] for cadence in Cadence}
    assert catalog.records([entry("2026-01-01")]) == [None]
    with pytest.raises(FileNotFoundError):
        catalog.open(entry("2026-01-01"))


def test_what_is_published_is_listed_told_and_read(
    place: tuple[Destination, Catalog], tmp_path: Path
) -> None:
    destination, catalog = place
    days = ["2026-01-02", "2026-01-10", "2026-01-01"]
    content = zipped(page=b"p" * 1000, large=bytes(2**20))
    for day in days:
        archive = make_archive(tmp_path, content, start=day, end=day, cadence="daily")
        destination.publish(archive, replace=False)
    destination.publish(make_archive(tmp_path, cadence="monthly"), replace=False)
    destination.put_document("reconciliation.json", b"{}")

    listed = all_entries(catalog, [*Cadence])

    assert listed[Cadence.DAILY] == [entry(day) for day in sorted(days, reverse=True)]
    assert listed[Cadence.MONTHLY] == [entry("2026-01-01", "2026-01-31", "monthly")]
    assert (listed[Cadence.WEEKLY], listed[Cadence.ON_DEMAND]) == ([], [])
    newest = listed[Cadence.DAILY][0]
    record, missing = catalog.records([newest, entry("2020-01-01")])
    assert missing is None
    assert isinstance(record, Record)
    assert (str(record.period.start), record.bytes) == ("2026-01-10", len(content))
    assert (record.revision, record.data_quality) == (1, "passed")
    assert Entry.of_key(record.key, catalog.prefix) == newest
    with catalog.open(newest) as file, zipfile.ZipFile(file) as opened:
        assert opened.read("page") == b"p" * 1000
    with catalog.open(newest) as file:
        assert file.read() == content


def test_what_is_no_archive_is_read_as_such(
    place: tuple[Destination, Catalog], tmp_path: Path
) -> None:
    destination, catalog = place
    destination.publish(make_archive(tmp_path, b"short"), replace=False)

    with (
        catalog.open(entry("2026-01-01", "2026-01-31", "monthly")) as file,
        pytest.raises(zipfile.BadZipFile),
    ):
        zipfile.ZipFile(file)


def test_the_newest_period_comes_first_whatever_the_format(tmp_path: Path) -> None:
    destination = folder_destination(tmp_path / "reports")
    destination.publish(make_archive(tmp_path, end="2026-01-30"), replace=False)
    folder = tmp_path / "reports/engagement-reports/monthly"
    (folder / "csv").mkdir()
    for name in (
        "engagement_2026-01-01_to_2026-01-31.zip",
        "engagement_2026-01-02_to_2026-01-30.zip",
    ):
        (folder / "csv" / name).touch()
    catalog = open_catalog(settings(tmp_path / "reports"), no_s3)

    found = catalog.entries(Cadence.MONTHLY)

    assert [(str(one.start), str(one.end), one.format) for one in found] == [
        ("2026-01-01", "2026-01-31", "csv"),
        ("2026-01-02", "2026-01-30", "csv"),
        ("2026-01-01", "2026-01-30", "json"),
    ]


def test_a_large_bucket_is_listed_in_pages(moto_bucket: Bucket) -> None:
    client = moto_bucket.server.client()
    for number in range(7):
        key = f"base/{DAILY}/engagement_2026-01-0{number + 1}_to_2026-01-0{number + 1}.zip"
        client.put_object(Bucket=moto_bucket.name, Key=key, Body=b"")
    pages: list[Any] = []

    def two_a_page(params: dict[str, Any], **_: object) -> None:
        params["MaxKeys"] = 2
        pages.append(params)

    client.meta.events.register("before-parameter-build.s3.ListObjectsV2", two_a_page)
    found = bucket_catalog(moto_bucket, lambda: client).entries(Cadence.DAILY, Format.JSON)

    assert [one.start.day for one in found] == [7, 6, 5, 4, 3, 2, 1]
    assert len(pages) == 4


def test_one_request_lists_a_cadence_and_none_asks_for_each_archive(
    moto_bucket: Bucket, moto_faults: Proxy
) -> None:
    client = moto_bucket.server.client()
    first = date(2026, 1, 1)
    for number in range(60):
        day, file_format = first + timedelta(days=number), [*Format][number % len(Format)]
        key = f"daily/{file_format}/engagement_{day}_to_{day}.zip"
        client.put_object(Bucket=moto_bucket.name, Key=f"base/engagement-reports/{key}", Body=b"")
    catalog = bucket_catalog(moto_bucket, moto_bucket.server.at(moto_faults.endpoint).client)

    everything = all_entries(catalog, [*Cadence])

    assert [one.start for one in everything[Cadence.DAILY]] == [
        first + timedelta(days=number) for number in reversed(range(60))
    ]
    assert len(moto_faults.requests) == len(Cadence)
    moto_faults.heal()
    some = all_entries(catalog, [Cadence.DAILY], Format.CSV)
    assert {one.format for one in some[Cadence.DAILY]} == {Format.CSV}
    assert len(some[Cadence.DAILY]) == 20
    assert len(moto_faults.requests) == 1


def test_a_member_is_read_without_the_rest(
    moto_bucket: Bucket, moto_faults: Proxy, tmp_path: Path
) -> None:
    content = zipped(before=bytes(2**22), page=b"the page", after=bytes(2**22))
    moto_bucket.destination().publish(make_archive(tmp_path, content), replace=False)
    catalog = bucket_catalog(moto_bucket, moto_bucket.server.at(moto_faults.endpoint).client)

    with (
        catalog.open(entry("2026-01-01", "2026-01-31", "monthly")) as file,
        zipfile.ZipFile(file) as opened,
    ):
        assert opened.read("page") == b"the page"

    ranges = [request.headers["Range"] for request in moto_faults.asked("GET", ".zip")]
    bounds = [one.removeprefix("bytes=").split("-") for one in ranges]
    assert ranges
    assert sum(int(last) - int(first) + 1 for first, last in bounds) < 2**20


def test_an_archive_that_is_replaced_while_it_is_read_is_told(
    moto_bucket: Bucket, tmp_path: Path
) -> None:
    destination, catalog = moto_bucket.destination(), bucket_catalog(moto_bucket)
    destination.publish(make_archive(tmp_path, bytes(2**21)), replace=False)
    with catalog.open(entry("2026-01-01", "2026-01-31", "monthly")) as file:
        file.read(10)
        destination.publish(make_archive(tmp_path, b"1" * 2**21), replace=False)

        with pytest.raises(TemporaryError, match="was replaced or removed while it was read"):
            file.read()


def test_a_folder_archive_that_is_replaced_is_read_to_its_end(tmp_path: Path) -> None:
    destination = folder_destination(tmp_path / "reports")
    destination.publish(make_archive(tmp_path, b"0" * 2**21), replace=False)
    catalog = open_catalog(settings(tmp_path / "reports"), no_s3)
    with catalog.open(entry("2026-01-01", "2026-01-31", "monthly")) as file:
        file.read(10)
        destination.publish(make_archive(tmp_path, b"1" * 2**21), replace=False)
        assert set(file.read()) == {ord("0")}


def test_only_the_records_that_are_asked_for_are_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "reports" / DAILY
    destination = folder_destination(tmp_path / "reports")
    last = date(2026, 1, 31)
    made = make_archive(tmp_path, start=str(last), end=str(last), cadence="daily")
    destination.publish(made, replace=False)
    for back in range(1, 4000):
        day = last - timedelta(days=back)
        (folder / f"engagement_{day}_to_{day}.zip").touch()
    opened: list[Path] = []
    read_bytes, path_open = Path.read_bytes, Path.open

    def counted(path: Path) -> bytes:
        opened.append(path)
        return read_bytes(path)

    def counted_open(path: Path, *arguments: Any, **options: Any) -> Any:
        opened.append(path)
        return path_open(path, *arguments, **options)

    monkeypatch.setattr(Path, "read_bytes", counted)
    monkeypatch.setattr(Path, "open", counted_open)
    catalog = open_catalog(settings(tmp_path / "reports"), no_s3)

    found = catalog.entries(Cadence.DAILY, Format.JSON)
    assert (len(found), found[0].start, opened) == (4000, last, [])
    records = catalog.records(found[:3])

    assert [record is not None for record in records] == [True, False, False]
    assert {path.name for path in opened} == {f"{one.name}.json" for one in found[:3]}


@pytest.mark.parametrize(
    "name",
    [
        "latest.json",
        ".engagement_2026-01-01_to_2026-01-01.zip.tmp",
        "engagement_2026-01-01_to_2026-01-01.zip.json",
        "engagement_2026-01-02_to_2026-01-01.zip",
        "engagement_2026-02-30_to_2026-03-01.zip",
        "engagement_2026-01-01_to_2026-01-01.zip\n",
        "../engagement_2026-01-01_to_2026-01-01.zip",
        "engagement_٢٠٢٦-01-01_to_2026-01-01.zip",
    ],
)
def test_other_names_are_no_archives(name: str) -> None:
    assert Entry.parse("daily", "json", name) is None


@pytest.mark.parametrize(("cadence", "file_format"), [("hourly", "json"), ("daily", "..")])
def test_other_folders_hold_no_archives(cadence: str, file_format: str) -> None:
    assert Entry.parse(cadence, file_format, "engagement_2026-01-01_to_2026-01-01.zip") is None


@pytest.mark.parametrize(
    "wrong",
    [
        {"snapshot_at": "yesterday"},
        {"snapshot_at": "2026-02-01T00:00:00"},
        {"snapshot_at": None},
        {"run": {"id": 1}},
        {"data_quality": 1},
        {"rows": {}},
    ],
    ids=str,
)
def test_a_damaged_record_is_none(wrong: dict[str, object], tmp_path: Path) -> None:
    folder_destination(tmp_path / "reports").publish(make_archive(tmp_path), replace=False)
    monthly = entry("2026-01-01", "2026-01-31", "monthly")
    path = tmp_path / f"reports/engagement-reports/{monthly.key}.json"
    document = json.loads(path.read_text())
    path.write_text(json.dumps({**document, **wrong}))

    assert open_catalog(settings(tmp_path / "reports"), no_s3).records([monthly]) == [None]


def test_a_destination_that_is_no_folder_is_told(tmp_path: Path) -> None:
    (tmp_path / "reports").write_text("a file")

    with pytest.raises(ConfigurationError, match=r"ENGAGEMENT_DESTINATION.*cannot be read"):
        FolderCatalog(tmp_path / "reports", "").entries(Cadence.DAILY, Format.JSON)


def test_a_bucket_that_does_not_exist_is_told(moto_bucket: Bucket) -> None:
    missing = open_catalog(settings("s3://no-such-bucket"), moto_bucket.server.client)

    with pytest.raises(ConfigurationError, match="has no bucket 'no-such-bucket'"):
        all_entries(missing, [*Cadence])


def test_a_server_that_is_away_is_told(moto_bucket: Bucket) -> None:
    away = moto_bucket.server.at("http://127.0.0.1:1").client

    with pytest.raises(TemporaryError, match="did not answer"):
        bucket_catalog(moto_bucket, away).records([entry("2026-01-01")])

"""The staging area: a local folder, S3 as fsspec reaches it, and S3 as Airflow does."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Barrier
from typing import Any, Protocol, cast

import pytest
from upath import UPath

from engagement import datasets, report, staging
from engagement.app_database import Address
from engagement.datasets import Format
from engagement.destinations import open_destination
from engagement.errors import ConfigurationError, EngagementError, PublishError, TemporaryError
from engagement.period import Cadence, Period
from engagement.publish import Archive
from engagement.settings import Settings
from engagement.staging import StagingArea
from tests.publish.helpers import Bucket
from tests.servers.faults import Answer, Proxy
from tests.servers.s3 import S3Server

ROOT = Path(__file__).parents[1]
NOW = datetime(2026, 2, 10, 12, tzinfo=UTC)
# Airflow changes the logging of the process that imports it: it has one of its own, in which these
# tests run once more.
KINDS = os.environ.get("STAGING_KINDS", "folder s3").split()
REMOTE = [kind for kind in KINDS if kind != "folder"]


class Area(Protocol):
    """A staging area, and what is really in it, past fsspec and its caches."""

    @property
    def path(self) -> UPath:
        """The area's own folder."""

    def names(self) -> set[str]:
        """Every file of the area, by its path in it."""

    def read(self, name: str) -> bytes:
        """The content of a file."""

    def put(self, name: str, content: bytes, written: datetime = NOW) -> None:
        """Writes a file as another worker does, at the time `written`."""


@dataclass(frozen=True, slots=True)
class Folder:
    """A local folder."""

    path: UPath

    def names(self) -> set[str]:
        base = Path(self.path.path)
        return {str(path.relative_to(base)) for path in base.rglob("*") if path.is_file()}

    def read(self, name: str) -> bytes:
        return Path(self.path.path, name).read_bytes()

    def put(self, name: str, content: bytes, written: datetime = NOW) -> None:
        path = Path(self.path.path, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        os.utime(path, (written.timestamp(), written.timestamp()))


PREFIX = "below/staging/"


@dataclass(frozen=True, slots=True)
class Objects:
    """A prefix of a bucket on moto, which runs in this process."""

    path: UPath
    bucket: Bucket

    def names(self) -> set[str]:
        assert not self.bucket.unfinished()
        return {name.removeprefix(PREFIX) for name in self.bucket.listing()}

    def read(self, name: str) -> bytes:
        return self.bucket.read(PREFIX + name)

    def put(self, name: str, content: bytes, written: datetime = NOW) -> None:
        from moto.core.models import DEFAULT_ACCOUNT_ID
        from moto.s3.models import s3_backends

        client = self.bucket.server.client()
        client.put_object(Bucket=self.bucket.name, Key=PREFIX + name, Body=content)
        stored = s3_backends[DEFAULT_ACCOUNT_ID]["aws"].get_object(self.bucket.name, PREFIX + name)
        assert stored is not None
        stored.last_modified = written.replace(tzinfo=None)


def connection(server: S3Server) -> str:
    """The server as an Airflow connection."""
    return json.dumps(
        {
            "conn_type": "aws",
            "login": server.access_key,
            "password": server.secret_key,
            "extra": {
                "region_name": "us-east-1",
                "endpoint_url": server.endpoint,
                "config_kwargs": {"s3": {"addressing_style": "path"}},
            },
        }
    )


def s3_path(kind: str, server: S3Server, bucket: str, monkeypatch: pytest.MonkeyPatch) -> UPath:
    """The staging area in a bucket, as `kind` reaches it."""
    if kind == "s3":
        return UPath(
            f"s3://{bucket}/{PREFIX}",
            key=server.access_key,
            secret=server.secret_key,
            endpoint_url=server.endpoint,
        )
    from airflow.sdk import ObjectStoragePath

    # Airflow keeps a connection's file system for the life of the process.
    name = f"stage_{server.endpoint.rpartition(':')[2]}"
    monkeypatch.setenv(f"AIRFLOW_CONN_{name.upper()}", connection(server))
    return cast("UPath", ObjectStoragePath(f"s3://{name}@{bucket}/{PREFIX}"))


@pytest.fixture
def make_area(
    moto_bucket: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[str], Area]:
    def make(kind: str) -> Area:
        if kind == "folder":
            return Folder(UPath(tmp_path / "staging"))
        path = s3_path(kind, moto_bucket.server, moto_bucket.name, monkeypatch)
        return Objects(path, moto_bucket)

    return make


@pytest.fixture(params=KINDS)
def area(request: pytest.FixtureRequest, make_area: Callable[[str], Area]) -> Area:
    return make_area(request.param)


@pytest.fixture(params=REMOTE)
def remote(request: pytest.FixtureRequest, make_area: Callable[[str], Area]) -> Area:
    return make_area(request.param)


def write(folder: UPath, **contents: str) -> None:
    with staging.written(folder) as local:
        for name, content in contents.items():
            (local / name).write_text(content, encoding="utf-8")


def test_what_is_written_is_fetched(area: Area) -> None:
    folder = area.path / "dag" / "snapshot"
    write(folder, a="A", b="B")
    write(folder / "tables", users="U")
    assert area.names() == {"dag/snapshot/a", "dag/snapshot/b", "dag/snapshot/tables/users"}
    with staging.fetched(folder, (name for name in ("b", "a"))) as local:
        assert [(local / name).read_text(encoding="utf-8") for name in "ab"] == ["A", "B"]
    with staging.fetched(folder / "tables", ["users"]) as local:
        assert (local / "users").read_text(encoding="utf-8") == "U"


def test_what_is_written_again_replaces(area: Area) -> None:
    folder = area.path / "dag" / "snapshot"
    write(folder, a="A", b="B")
    with staging.fetched(folder, ["a"]):
        pass
    write(folder, a="longer than before")
    with staging.fetched(folder, ["a", "b"]) as local:
        assert (local / "a").read_text(encoding="utf-8") == "longer than before"
        assert (local / "b").read_text(encoding="utf-8") == "B"


def test_only_what_is_asked_for_is_fetched(remote: Area) -> None:
    write(remote.path / "dag", a="A", b="B")
    with staging.fetched(remote.path / "dag", ["b"]) as local:
        assert [path.name for path in local.iterdir()] == ["b"]
    assert not local.exists()


def test_a_file_of_many_blocks(area: Area) -> None:
    """More than S3 takes, or s3fs reads, in one request."""
    content = os.urandom(1 << 20) * 51
    with staging.written(area.path / "dag") as local:
        (local / "large").write_bytes(content)
    assert area.read("dag/large") == content
    with staging.fetched(area.path / "dag", ["large"]) as local:
        assert (local / "large").read_bytes() == content


def test_nothing_appears_where_the_block_raises(area: Area) -> None:
    folder = area.path / "dag"
    write(folder, a="A")

    def half() -> None:
        with staging.written(folder) as local:
            (local / "a").write_text("half", encoding="utf-8")
            (local / "b").write_text("B", encoding="utf-8")
            raise LookupError

    with pytest.raises(LookupError):
        half()
    assert area.names() == {"dag/a"}
    assert area.read("dag/a") == b"A"


@pytest.mark.parametrize("megabytes", [1, 60], ids=["small", "large"])
def test_no_file_appears_cut_off(
    megabytes: int, remote: Area, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever was sent of it, before it could not be read any more."""
    folder = remote.path / "dag"
    write(folder, b="B")

    def breaks_off(source: Any, target: Any, _: int) -> None:
        target.write(source.read((megabytes << 20) // 2))
        raise OSError("broken off")

    def half() -> None:
        with staging.written(folder) as local:
            (local / "a").write_bytes(bytes(10))
            (local / "b").write_bytes(bytes(megabytes << 20))
            monkeypatch.setattr(shutil, "copyfileobj", breaks_off)

    with pytest.raises(OSError, match="broken off"):
        half()
    assert remote.names() == {"dag/b"}
    assert remote.read("dag/b") == b"B"
    monkeypatch.undo()
    write(folder, b="again")
    assert remote.read("dag/b") == b"again"


def test_a_missing_file_is_told_with_what_to_do(area: Area) -> None:
    folder = area.path / "dag" / "snapshot"
    write(folder, a="A")
    with pytest.raises(EngagementError) as caught, staging.fetched(folder, ["c", "a", "b"]):
        pytest.fail("the block ran without its files")
    message = str(caught.value)
    assert f"the staging folder {folder} lacks b, c: " in message
    assert "run again from the extract (clear the task extract and all after it)" in message
    with pytest.raises(EngagementError, match="clear the task extract"):
        report.Snapshot.load(area.path / "dag" / "gone")


def test_what_other_workers_do_is_seen(area: Area) -> None:
    """Listings are remembered by fsspec, and the folders are shared."""
    swept = StagingArea(area.path)
    assert swept.sweep(NOW, 7) == []
    write(area.path / "dag" / "snapshot", a="A")
    assert swept.sweep(NOW, 7) == []
    area.put("dag/snapshot/b", b"B")
    with staging.fetched(area.path / "dag" / "snapshot", ["b"]) as local:
        assert (local / "b").read_bytes() == b"B"
    assert swept.sweep(NOW, 7) == []
    area.put("dag/old/c", b"C", NOW - timedelta(days=30))
    assert swept.sweep(NOW, 7) == ["dag/old"]
    assert swept.sweep(NOW, 7) == []
    area.put("dag/snapshot/d", b"D")
    staging.remove(area.path / "dag" / "snapshot")
    assert area.names() == set()


def test_who_reads_keeps_what_it_reads(tmp_path: Path) -> None:
    """A file that is written again is another file, not the same one bit by bit."""
    folder = UPath(tmp_path / "dag")
    write(folder, a="A")
    with staging.fetched(folder, ["a"]) as local, (local / "a").open(encoding="utf-8") as reader:
        write(folder, a="B")
        assert reader.read() == "A"
    assert (tmp_path / "dag" / "a").read_text(encoding="utf-8") == "B"


def test_an_error_names_where_the_files_stay(area: Area) -> None:
    """Where they were fetched to, nothing is left when the error is read."""
    folder = area.path / "dag"
    write(folder, archive="A")
    with pytest.raises(TemporaryError) as caught, staging.fetched(folder, ["archive"]) as local:
        raise TemporaryError(f"no answer; it is kept at {local / 'archive'}")
    kept = local / "archive" if isinstance(area, Folder) else folder / "archive"
    assert str(caught.value) == f"no answer; it is kept at {kept}"
    assert area.names() == {"dag/archive"}


def test_every_folder_is_new(area: Area) -> None:
    folders = [StagingArea(area.path).new_folder("dag", "2026-01") for _ in range(2)]
    assert folders[0].name != folders[1].name
    assert {str(folder.parent) for folder in folders} == {str(area.path / "dag")}
    assert all(folder.name.startswith("2026-01_") for folder in folders)


def test_remove_twice(area: Area) -> None:
    write(area.path / "dag" / "one" / "tables", users="U")
    write(area.path / "dag" / "one", a="A")
    write(area.path / "dag" / "one more", b="B")
    for _ in range(2):
        staging.remove(area.path / "dag" / "one")
        assert area.names() == {"dag/one more/b"}
    staging.remove(area.path / "dag" / "never")


def test_removing_at_the_same_time(area: Area) -> None:
    """What one finds, another one may have removed by the time it removes it."""
    removers = 4
    for n in range(100 if isinstance(area, Folder) else 5):
        area.put(f"dag/snapshot/tables/{n}", b"T")
    together = Barrier(removers)

    def remove(_: int) -> None:
        together.wait(10)
        staging.remove(area.path / "dag" / "snapshot")

    with ThreadPoolExecutor(removers) as pool:
        list(pool.map(remove, range(removers)))
    assert area.names() == set()


def test_what_s3_refuses_to_remove_is_told(
    moto_bucket: Bucket, moto_faults: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = moto_bucket.server.at(moto_faults.endpoint)
    for kind in REMOTE:
        folder = s3_path(kind, server, moto_bucket.name, monkeypatch) / "dag"
        write(folder, a="A")
        moto_faults.fail(Answer(200, "AccessDenied", "DeleteResult"), "POST", "delete")
        with pytest.raises(EngagementError) as caught:
            staging.remove(folder)
        assert f"the staging folder {folder} could not be removed" in str(caught.value)
        assert "right to delete" in str(caught.value)
        moto_faults.heal()
        staging.remove(folder)
        assert moto_bucket.listing() == []


def test_sweep_takes_the_old_of_every_owner(area: Area) -> None:
    old, young = NOW - timedelta(days=7, seconds=1), NOW - timedelta(days=7)
    area.put("daily/old/snapshot.json", b"S", old)
    area.put("daily/old/tables/users.parquet", b"U", old - timedelta(days=300))
    area.put("daily/young/tables/users.parquet", b"U", young)
    area.put("weekly/old/tables/users.parquet", b"U", old)
    area.put("weekly/retried/tables/users.parquet", b"U", old)
    area.put("weekly/retried/json/fasts.json", b"F", young)
    area.put("weekly/file", b"no folder", old)
    area.put("file", b"no owner", old)
    kept = {
        "daily/young/tables/users.parquet",
        "weekly/retried/tables/users.parquet",
        "weekly/retried/json/fasts.json",
        "weekly/file",
        "file",
    }
    swept = StagingArea(area.path)
    assert swept.sweep(NOW, 7) == ["daily/old", "weekly/old"]
    assert area.names() == kept
    assert swept.sweep(NOW, 7) == []
    assert swept.sweep(NOW + timedelta(seconds=1), 8) == []
    assert swept.sweep(NOW + timedelta(seconds=1), 7) == ["daily/young", "weekly/retried"]
    assert area.names() == {"weekly/file", "file"}


def test_sweep_keeps_a_folder_that_was_just_made(tmp_path: Path) -> None:
    """Its first file may take minutes to come."""
    (tmp_path / "dag" / "snapshot" / "tables").mkdir(parents=True)
    swept = StagingArea(UPath(tmp_path))
    assert swept.sweep(datetime.now(UTC), 1) == []
    assert swept.sweep(datetime.now(UTC) + timedelta(days=2), 1) == ["dag/snapshot"]


def test_a_file_is_no_staging_area(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("kept", encoding="utf-8")
    with pytest.raises(NotADirectoryError):
        StagingArea(UPath(tmp_path / "file")).sweep(NOW, 7)


def test_sweeping_at_the_same_time(area: Area) -> None:
    """Each sweep may find what another one has just removed."""
    sweeps = 4
    leftovers = {f"dag/leftover {n}" for n in range(6)}
    for leftover in leftovers:
        for n in range(5):
            area.put(f"{leftover}/tables/{n}", b"T", NOW - timedelta(days=30))
    together = Barrier(sweeps)

    def sweep(_: int) -> list[str]:
        together.wait(10)
        return StagingArea(area.path).sweep(NOW, 7)

    with ThreadPoolExecutor(sweeps) as pool:
        swept = list(pool.map(sweep, range(sweeps)))
    assert area.names() == set()
    assert {name for names in swept for name in names} == leftovers


@dataclass(frozen=True, slots=True)
class Made:
    """A report in a staging area."""

    snapshot: report.Snapshot
    archive: Archive


def make_report(
    base: UPath, address: Address, period: Period, file_format: Format, settings: Settings
) -> Made:
    """The report's steps as the DAG's tasks call them: each has but the folder of the snapshot."""
    folder = report.take_snapshot(address, period, StagingArea(base), "dag", settings).folder
    report.check_quality(report.Snapshot.load(folder), settings)
    computed = [
        report.Computed.of_dict(
            report.compute(report.Snapshot.load(folder), name, file_format, settings).as_dict()
        )
        for name in datasets.NAMES
    ]
    snapshot = report.Snapshot.load(folder)
    return Made(snapshot, report.package(snapshot, computed, file_format, Cadence.ON_DEMAND, "run"))


@pytest.fixture(scope="session")
def week() -> Period:
    return Period.parse("2025-12-29", "2026-01-04", "UTC")


class OutletEvents(dict[Any, Any]):
    """What Airflow hands a task for its asset events."""

    def __missing__(self, key: Any) -> Any:
        from types import SimpleNamespace

        self[key] = SimpleNamespace(extra={})
        return self[key]


def publish(kind: str, made: Made, settings: Settings, server: S3Server) -> dict[str, Any]:
    """Publishes as the DAG's task does; where Airflow is not, as near to it as can be."""
    folder = made.snapshot.folder
    packaged = made.archive
    if kind == "airflow":
        from engagement.rim import reports

        planned = {
            "period": packaged.period.as_dict(),
            "cadence": packaged.cadence,
            "format": packaged.format,
            "s3_prefix": None,
            "replace": False,
        }
        names = ("cadence", "format", "sha256", "bytes", "rows", "snapshot_at", "run")
        facts = {name: getattr(packaged, name) for name in (*names, "code_version")}
        events = OutletEvents()
        with pytest.MonkeyPatch.context() as patched:
            patched.setenv("ENGAGEMENT_DESTINATION", settings.destination)
            patched.setenv("AIRFLOW_CONN_AWS_DEFAULT", connection(server))
            patched.setattr(reports, "get_current_context", lambda: {"outlet_events": events})
            reports.publish(planned, str(folder), facts, "engagement_report_on-demand")
        [event] = events.values()
        told: dict[str, Any] = event.extra
        return told
    destination = open_destination(settings, None, server.client)
    with staging.fetched(folder / packaged.format, [packaged.name]) as local:
        here = replace(packaged, path=local / packaged.name)
        published = report.publish(here, destination, replace=False)
    return {"key": published.key, "sha256": published.sha256, "revision": published.revision}


@pytest.mark.parametrize("kind", REMOTE)
def test_a_report_on_s3_is_the_same(
    kind: str,
    week: Period,
    golden_address: Address,
    settings: Settings,
    make_area: Callable[[str], Area],
    moto_bucket: Bucket,
    tmp_path: Path,
) -> None:
    """The same archive as in a folder, published from there, and no trace of it at the end."""
    area = make_area(kind)
    here = make_report(UPath(tmp_path / "here"), golden_address, week, Format.JSON, settings)
    made = make_report(area.path, golden_address, week, Format.JSON, settings)
    assert made.archive.sha256 == here.archive.sha256
    assert here.archive.path.read_bytes() == area.read(
        f"dag/{made.snapshot.id}/json/{made.archive.name}"
    )
    kept = area.names()

    nowhere = settings.model_copy(update={"destination": "s3://no-such-bucket"})
    with pytest.raises(ConfigurationError) as caught:
        publish(kind, made, nowhere, moto_bucket.server)
    assert "no-such-bucket" in str(caught.value)
    address = f"{made.snapshot.folder}/json/{made.archive.name}"
    assert str(caught.value).endswith(f"; the finished archive is kept at {address}")
    assert area.names() == kept

    reports = settings.model_copy(update={"destination": f"s3://{moto_bucket.name}/reports"})
    published = publish(kind, made, reports, moto_bucket.server)
    assert published["key"] == f"reports/engagement-reports/on-demand/json/{made.archive.name}"
    assert (published["sha256"], published["revision"]) == (here.archive.sha256, 1)
    assert moto_bucket.read(published["key"]) == here.archive.path.read_bytes()

    staging.remove(made.snapshot.folder)
    assert not any(name.startswith("dag/") for name in area.names())
    with pytest.raises(EngagementError, match="clear the task extract"):
        publish(kind, made, reports, moto_bucket.server)


def test_what_changed_since_it_was_made_is_told(
    area: Area, week: Period, settings: Settings, moto_server: S3Server, tmp_path: Path
) -> None:
    """By the name of the file in the staging area, which is the one to look at."""
    folder = area.path / "dag" / "snapshot"
    archive = Archive(Path(), week, "on-demand", "json", "0" * 64, 1, {}, "", None, "")
    write(folder / "json", **{archive.name: "changed"})
    made = Made(report.Snapshot(folder, week, "", {"user_activity_timeline": 0}), archive)
    with pytest.raises(PublishError) as caught:
        publish("s3", made, settings, moto_server)
    assert f"{made.snapshot.folder.path}/json/{archive.name} has changed" in str(caught.value)


def test_all_of_this_on_airflows_paths(tmp_path: Path) -> None:
    environment = os.environ | {"STAGING_KINDS": "airflow", "AIRFLOW_HOME": str(tmp_path)}
    file = Path(__file__).relative_to(ROOT)
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(file)),
            f"--deselect={file}::{test_all_of_this_on_airflows_paths.__name__}",
            f"--basetemp={tmp_path / 'pytest'}",
        ],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=250,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-20_000:]

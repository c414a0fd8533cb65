"""The staging area: a local folder, S3 as fsspec reaches it, and S3 as Airflow does."""

from __future__ import annotations

import errno
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
from botocore.exceptions import ClientError
from pyarrow import parquet
from upath import UPath

from engagement import datasets, report, staging
from engagement.app_database import Address
from engagement.datasets import Format
from engagement.destinations import open_destination
from engagement.errors import ConfigurationError, EngagementError, PublishError, TemporaryError
from engagement.extract import TABLES
from engagement.period import Cadence, Period
from engagement.publish import Archive
from engagement.quality import QualityResult
from engagement.s3_errors import S3Errors
from engagement.settings import Settings
from engagement.staging import StagingArea
from tests.publish.helpers import Bucket
from tests.servers.faults import Answer, Proxy
from tests.servers.processes import free_port
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
# What is to fail is asked for once.
ONCE: dict[str, Any] = {"retries": {"total_max_attempts": 1}}


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
                "config_kwargs": {"s3": {"addressing_style": "path"}, **ONCE},
            },
        }
    )


def s3_path(kind: str, server: S3Server, bucket: str, monkeypatch: pytest.MonkeyPatch) -> UPath:
    """The staging area in a bucket, as `kind` reaches it."""
    monkeypatch.setattr("s3fs.S3FileSystem.retries", 1)
    if kind == "s3":
        return UPath(
            f"s3://{bucket}/{PREFIX}",
            key=server.access_key,
            secret=server.secret_key,
            endpoint_url=server.endpoint,
            config_kwargs=ONCE,
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


def named(number: int, run: int = 0) -> str:
    """The name of a snapshot's folder, as `new_folder` makes it."""
    return f"2026-01-01_to_2026-01-31_{run:016x}{number:016x}"


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


@pytest.mark.parametrize("kind", REMOTE)
@pytest.mark.parametrize(
    ("megabytes", "request_part"), [(1, "dag/b"), (120, "partNumber=2")], ids=["small", "large"]
)
def test_no_file_appears_cut_off(
    megabytes: int,
    request_part: str,
    kind: str,
    moto_bucket: Bucket,
    moto_faults: Proxy,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whatever was sent of it, before the server took no more."""
    path = s3_path(kind, moto_bucket.server.at(moto_faults.endpoint), moto_bucket.name, monkeypatch)
    folder = path / "dag"
    write(folder, b="B")
    moto_faults.fail(Answer(403, "AccessDenied"), "PUT", request_part)

    def half() -> None:
        with staging.written(folder) as local:
            (local / "a").write_bytes(bytes(10))
            (local / "b").write_bytes(bytes(megabytes << 20))

    with pytest.raises(ConfigurationError, match=f"cannot write the staging folder {folder}: "):
        half()
    area = Objects(path, moto_bucket)
    assert area.names() == {"dag/a", "dag/b"}
    assert area.read("dag/b") == b"B"
    moto_faults.heal()
    write(folder, b="again")
    assert area.read("dag/b") == b"again"


def test_folders_are_private(tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        base = tmp_path / "parent" / "staging"
        write(UPath(base) / "dag" / "snapshot" / "tables", a="A")
        (tmp_path / "shared").mkdir(mode=0o755)
        write(UPath(tmp_path / "shared") / "dag" / "snapshot", a="A")
    finally:
        os.umask(before)
    ours = [base.parent, *(path for path in base.parent.rglob("*") if path.is_dir())]
    ours += [path for path in (tmp_path / "shared").rglob("*") if path.is_dir()]
    assert {path.name for path in ours} == {"parent", "staging", "dag", "snapshot", "tables"}
    assert {path.stat().st_mode & 0o777 for path in ours} == {0o700}
    assert (tmp_path / "shared").stat().st_mode & 0o777 == 0o755


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
    area.put(f"dag/{named(1)}/c", b"C", NOW - timedelta(days=30))
    assert swept.sweep(NOW, 7) == [f"dag/{named(1)}"]
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


def test_every_folder_is_new(area: Area, week: Period) -> None:
    """And one that is swept, whatever run it is of."""
    base = StagingArea(area.path)
    folders = [base.new_folder("dag", week.label, run) for run in (None, None, "run", "run")]
    assert len({folder.name for folder in folders}) == 4
    assert {str(folder.parent) for folder in folders} == {str(area.path / "dag")}
    assert all(folder.name.startswith(f"{week.label}_") for folder in folders)
    for folder in folders:
        area.put(f"dag/{folder.name}/a", b"A", NOW - timedelta(days=8))
    assert base.sweep(NOW, 7) == sorted(f"dag/{folder.name}" for folder in folders)


def test_a_run_is_removed_with_all_that_it_took(area: Area, week: Period) -> None:
    """Also what attempts left that were killed; nothing of other runs, nor of other DAGs."""
    base = StagingArea(area.path)
    day = Period(week.start, week.start, week.timezone)
    ours = [base.new_folder("dag", label, "run") for label in (week.label, week.label, day.label)]
    others = [
        base.new_folder("dag", week.label, "another run"),
        base.new_folder("dag", week.label),
        base.new_folder("another dag", week.label, "run"),
        area.path / "dag" / "not ours",
    ]
    for folder in (*ours, *others):
        write(folder / "tables", a="A")
    for _ in range(2):
        staging.remove_run(ours[0])
        assert area.names() == {f"{folder.parent.name}/{folder.name}/tables/a" for folder in others}


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
    first, second, third = (named(number) for number in range(3))
    area.put(f"daily/{first}/snapshot.json", b"S", old)
    area.put(f"daily/{first}/tables/users.parquet", b"U", old - timedelta(days=300))
    area.put(f"daily/{second}/tables/users.parquet", b"U", young)
    area.put(f"weekly/{first}/tables/users.parquet", b"U", old)
    area.put(f"weekly/{third}/tables/users.parquet", b"U", old)
    area.put(f"weekly/{third}/json/fasts.json", b"F", young)
    area.put(f"weekly/{second}", b"no folder", old)
    area.put("file", b"no owner", old)
    kept = {
        f"daily/{second}/tables/users.parquet",
        f"weekly/{third}/tables/users.parquet",
        f"weekly/{third}/json/fasts.json",
        f"weekly/{second}",
        "file",
    }
    swept = StagingArea(area.path)
    assert swept.sweep(NOW, 7) == [f"daily/{first}", f"weekly/{first}"]
    assert area.names() == kept
    assert swept.sweep(NOW, 7) == []
    assert swept.sweep(NOW + timedelta(seconds=1), 8) == []
    assert swept.sweep(NOW + timedelta(seconds=1), 7) == [f"daily/{second}", f"weekly/{third}"]
    assert area.names() == {f"weekly/{second}", "file"}


def test_sweep_takes_nothing_that_is_no_snapshot(area: Area) -> None:
    """Published reports, should the area hold them, and whatever else is not ours."""
    names = {
        "engagement-reports/daily/json/engagement_2025-12-30_to_2025-12-30.zip",
        "2026-01-01_to_2026-01-31/json/latest.json",
        "dag/2026-01-01_to_2026-01-31/a",
        f"dag/{named(1)}0/a",
        f"dag/old {named(1)}/a",
        f"{named(1)}/json/a",
        f"dag/below/{named(1)}/a",
    }
    for name in names:
        area.put(name, b"kept", NOW - timedelta(days=300))
    assert StagingArea(area.path).sweep(NOW, 7) == []
    assert area.names() == names


def test_sweep_keeps_a_folder_that_was_just_made(tmp_path: Path) -> None:
    """Its first file may take minutes to come."""
    (tmp_path / "dag" / named(1) / "tables").mkdir(parents=True)
    swept = StagingArea(UPath(tmp_path))
    assert swept.sweep(datetime.now(UTC), 1) == []
    assert swept.sweep(datetime.now(UTC) + timedelta(days=2), 1) == [f"dag/{named(1)}"]


def test_what_cannot_be_swept_is_told_and_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """In one line; the rest is swept all the same."""
    area = Folder(UPath(tmp_path))
    for number in range(3):
        area.put(f"dag/{named(number)}/a", b"A", NOW - timedelta(days=30))
    stuck, remove_tree = tmp_path / "dag" / named(1), shutil.rmtree

    def refuse(folder: Path) -> None:
        # Root, who may run the tests, is refused nothing.
        if folder == stuck:
            raise PermissionError(errno.EACCES, "Permission denied", str(folder / "a"))
        remove_tree(folder)

    with monkeypatch.context() as patched:
        patched.setattr(shutil, "rmtree", refuse)
        swept = StagingArea(area.path).sweep(NOW, 7)
    assert swept == [f"dag/{named(0)}", f"dag/{named(2)}"]
    [record] = caplog.records
    assert record.getMessage() == (
        f"cannot remove the staging folder {stuck}: Permission denied ({stuck / 'a'}): choose a "
        "folder that may be written, or change its rights"
    )
    assert StagingArea(area.path).sweep(NOW, 7) == [f"dag/{named(1)}"]


def test_what_s3_refuses_to_sweep_is_told_and_kept(
    moto_bucket: Bucket,
    moto_faults: Proxy,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    server = moto_bucket.server.at(moto_faults.endpoint)
    for kind in REMOTE:
        path = s3_path(kind, server, moto_bucket.name, monkeypatch)
        area = Objects(path, moto_bucket)
        for number in range(3):
            area.put(f"dag/{named(number)}/a", b"A", NOW - timedelta(days=30))
        moto_faults.fail(Answer(403, "AccessDenied"), "POST", "delete", times=1)
        assert len(StagingArea(path).sweep(NOW, 7)) == 2
        [message] = [
            record.getMessage() for record in caplog.records if record.name == staging.__name__
        ]
        assert f"cannot remove the staging folder {path / 'dag'}/2026-" in message
        assert "give the user of " in message
        caplog.clear()
        moto_faults.heal()
        assert len(StagingArea(path).sweep(NOW, 7)) == 1
        assert area.names() == set()


def test_symbolic_links_are_not_followed(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    elsewhere = Folder(UPath(tmp_path / "elsewhere"))
    old = NOW - timedelta(days=30)
    elsewhere.put(f"{named(1)}/a", b"A", old)
    area = Folder(UPath(tmp_path / "staging"))
    area.put(f"dag/{named(2)}/a", b"A", old)
    base = tmp_path / "staging"
    (base / "linked").symlink_to(tmp_path / "elsewhere")
    (base / "dag" / named(3)).symlink_to(tmp_path / "elsewhere" / named(1))
    (base / "dag" / named(4)).symlink_to(tmp_path / "nowhere")
    (base / "dag" / named(2) / "down").symlink_to(tmp_path / "elsewhere")
    (base / "dag" / named(2) / "young").symlink_to(Path(__file__))
    assert StagingArea(area.path).sweep(NOW, 7) == [f"dag/{named(2)}"]
    for number in (3, 4):
        staging.remove(area.path / "dag" / named(number))
    assert list((base / "dag").iterdir()) == []
    assert elsewhere.names() == {f"{named(1)}/a"}
    assert caplog.records == []


def test_a_file_is_no_staging_area(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("kept", encoding="utf-8")
    area = StagingArea(UPath(tmp_path / "file"))
    with pytest.raises(
        EngagementError, match=r"cannot list the staging folder .*parents are folders"
    ):
        area.sweep(NOW, 7)
    with pytest.raises(EngagementError, match=r"cannot write the staging folder .*choose a path"):
        area.check()


def test_sweeping_at_the_same_time(area: Area) -> None:
    """Each sweep may find what another one has just removed."""
    sweeps = 4
    leftovers = {f"dag/{named(number)}" for number in range(6)}
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


def test_an_area_that_works_is_left_as_it_was(area: Area) -> None:
    area.put("dag/kept/a", b"A")
    StagingArea(area.path).check()
    assert area.names() == {"dag/kept/a"}


@pytest.mark.parametrize("kind", REMOTE)
def test_no_bucket_is_made(
    kind: str,
    week: Period,
    moto_server: S3Server,
    golden_address: Address,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A bucket of that name would be somebody's typing error, and full of personal data."""
    path = s3_path(kind, moto_server, "no-such-bucket", monkeypatch)
    told = " has no bucket 'no-such-bucket': create it or correct ENGAGEMENT_STAGING"
    with pytest.raises(ConfigurationError, match=told):
        StagingArea(path).check()
    with pytest.raises(ConfigurationError, match=told):
        report.take_snapshot(golden_address, week, StagingArea(path), "dag", settings)
    buckets = moto_server.client().list_buckets()["Buckets"]
    assert "no-such-bucket" not in {bucket["Name"] for bucket in buckets}


def test_a_key_that_is_refused_is_that_of_the_bucket() -> None:
    """No setting names a key for the staging area."""
    errors = S3Errors("staging", "ENGAGEMENT_STAGING", "https://s3.example.org", "the connection x")
    answer: Any = {"Error": {"Code": "KMS.DisabledException"}}
    with (
        pytest.raises(ConfigurationError, match="correct the rights on that key") as caught,
        errors.during("write"),
    ):
        raise ClientError(answer, "PutObject")
    assert "ENGAGEMENT_S3" not in str(caught.value)


ATTEMPTS = {
    "check": lambda folder: StagingArea(folder).check(),
    "load": report.Snapshot.load,
    "written": lambda folder: write(folder, a="A"),
    "sweep": lambda folder: StagingArea(folder).sweep(NOW, 7),
    "remove": staging.remove,
    "remove_run": staging.remove_run,
}


@pytest.mark.parametrize("attempt", ATTEMPTS)
@pytest.mark.parametrize("kind", REMOTE)
def test_only_what_may_pass_is_tried_again(
    kind: str,
    attempt: str,
    moto_bucket: Bucket,
    moto_faults: Proxy,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An outage passes, a missing right does not; either is told in one line."""
    server = moto_bucket.server.at(moto_faults.endpoint)
    folder = s3_path(kind, server, moto_bucket.name, monkeypatch) / "dag" / named(1)
    write(folder, a="A", **{"snapshot.json": "{}"})
    for fault, expected, words in (
        (Answer(503, "SlowDown"), TemporaryError, "failing or busy (SlowDown, HTTP 503)"),
        (Answer(500, "InternalError"), TemporaryError, "failing or busy (InternalError, HTTP 500)"),
        (Answer(403, "AccessDenied"), ConfigurationError, "denies access to bucket"),
        (Answer(403, "InvalidAccessKeyId"), ConfigurationError, "refuses the credentials"),
    ):
        for method in ("GET", "PUT", "POST", "DELETE"):
            moto_faults.fail(fault, method)
        with pytest.raises(expected) as caught:
            ATTEMPTS[attempt](folder)
        message = str(caught.value)
        assert "the staging folder s3://" in message
        assert words in message
        assert "\n" not in message
        moto_faults.heal()


@pytest.mark.parametrize("attempt", ATTEMPTS)
@pytest.mark.parametrize("kind", REMOTE)
def test_no_answer_is_tried_again(
    kind: str, attempt: str, moto_bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing listens at a port that was just free."""
    server = moto_bucket.server.at(f"http://127.0.0.1:{free_port()}")
    folder = s3_path(kind, server, moto_bucket.name, monkeypatch) / "dag" / named(1)
    with pytest.raises(TemporaryError, match=r"the S3 server .* did not answer or broke off"):
        ATTEMPTS[attempt](folder)


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
    report.draw(snapshot, computed, file_format)
    return Made(snapshot, report.package(snapshot, computed, file_format, Cadence.ON_DEMAND, "run"))


@pytest.fixture
def plainly_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    """The checks read every table where it was fetched to, and import no library for it."""

    def validate(tables: Path, period: Period, _: Settings) -> QualityResult:
        rows = {table: parquet.read_table(tables / f"{table}.parquet").num_rows for table in TABLES}
        return QualityResult.of(period, rows, [])

    monkeypatch.setattr("engagement.quality.validate", validate)


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
        facts = {name: getattr(packaged, name) for name in (*names, "code_version", "data_quality")}
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


@pytest.mark.usefixtures("plainly_checked")
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
    archive = Archive(Path(), week, "on-demand", "json", "0" * 64, 1, {}, "", None, "", "passed")
    write(folder / "json", **{archive.name: "changed"})
    made = Made(report.Snapshot(folder, week, "", {"user_activity_timeline": 0}), archive)
    with pytest.raises(PublishError) as caught:
        publish("s3", made, settings, moto_server)
    assert f"{made.snapshot.folder.path}/json/{archive.name} has changed" in str(caught.value)


@pytest.mark.parametrize("error", [LookupError, KeyboardInterrupt])
def test_a_snapshot_that_fails_leaves_nothing(
    error: type[BaseException],
    area: Area,
    week: Period,
    golden_address: Address,
    settings: Settings,
) -> None:
    def fail(table: str, _: int) -> None:
        if table == "users":
            raise error

    with pytest.raises(error):
        report.take_snapshot(golden_address, week, StagingArea(area.path), "dag", settings, fail)
    assert area.names() == set()
    if isinstance(area, Folder):
        assert list((area.path / "dag").iterdir()) == []


def test_tasks_keep_to_their_run(
    week: Period,
    golden_uri: str,
    make_area: Callable[[str], Area],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An extract that runs again leaves the snapshot that others may read; the last task does not.

    The same report of another run stays.
    """
    from types import SimpleNamespace

    from engagement.rim import reports

    area = make_area("airflow")
    monkeypatch.setenv("ENGAGEMENT_STAGING", str(area.path))
    monkeypatch.setenv("AIRFLOW_CONN_APP_DB", golden_uri)

    def extract(run: str) -> str:
        context = {"dag": SimpleNamespace(dag_id="dag"), "run_id": run}
        monkeypatch.setattr(reports, "get_current_context", lambda: context)
        return reports.extract({"period": week.as_dict()})

    first, other, second = extract("one"), extract("other"), extract("one")
    assert {name.split("/")[1] for name in area.names()} == {
        folder.rpartition("/")[2] for folder in (first, other, second)
    }
    for _ in range(2):
        reports.clean_up(second)
        assert {name.split("/")[1] for name in area.names()} == {other.rpartition("/")[2]}


def test_a_wrong_staging_area_fails_before_any_work(
    settings: Settings,
    golden_uri: str,
    make_area: Callable[[str], Area],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from types import SimpleNamespace

    from engagement.rim import reports

    path = str(make_area("airflow").path)
    bucket = path.partition("@")[2].partition("/")[0]
    params = {"start": "2025-12-29", "end": "2025-12-29", "format": "json", "s3_prefix": None}
    run = SimpleNamespace(data_interval_start=None, data_interval_end=None)
    context = {"params": {**params, "replace": False}, "dag_run": run}
    monkeypatch.setattr(reports, "get_current_context", lambda: context)
    monkeypatch.setenv("ENGAGEMENT_DESTINATION", settings.destination)
    monkeypatch.setenv("AIRFLOW_CONN_APP_DB", golden_uri)
    for wrong, told in (
        (f"s3://missing@{bucket}/staging", "there is no connection missing to the staging area: "),
        (path.replace(bucket, "no-such-bucket"), " has no bucket 'no-such-bucket': "),
    ):
        monkeypatch.setenv("ENGAGEMENT_STAGING", wrong)
        with pytest.raises(ConfigurationError, match=told):
            reports.plan("daily")
    monkeypatch.setenv("ENGAGEMENT_STAGING", path)
    assert reports.plan("daily")["format"] == "json"


if "airflow" not in KINDS:
    # They are for the process that has Airflow.
    del test_tasks_keep_to_their_run, test_a_wrong_staging_area_fails_before_any_work


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

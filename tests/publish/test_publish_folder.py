"""Publishing to a folder."""

from __future__ import annotations

import errno
import fcntl
import json
import multiprocessing
import os
import stat
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest

from engagement import publish_folder
from engagement.errors import ConfigurationError, PublishError, TemporaryError, UsageError
from engagement.publish import Published
from tests.publish.helpers import folder_destination, make_archive

FOLDER = "engagement-reports/monthly/json"
NAME = "engagement_2026-01-01_to_2026-01-31.zip"


def _files(base: Path) -> set[str]:
    return {path.name for path in (base / FOLDER).iterdir()}


def test_a_published_archive_is_there_with_its_facts(tmp_path: Path) -> None:
    base = tmp_path / "reports"
    archive = make_archive(tmp_path, b"the content")
    destination = folder_destination(base)
    destination.check()

    published = destination.publish(archive, replace=False)

    path = base / FOLDER / NAME
    assert _files(base) == {".lock", NAME, f"{NAME}.json", "latest.json"}
    assert path.read_bytes() == b"the content"
    assert published == Published(
        address=str(path),
        url=path.as_uri(),
        key=f"{FOLDER}/{NAME}",
        sha256=archive.sha256,
        bytes=11,
        rows=archive.rows,
        revision=1,
        changed=True,
        latest_moved=True,
        data_quality="passed",
    )
    facts = {
        "period": {
            "start": "2026-01-01",
            "end": "2026-01-31",
            "timezone": "America/Los_Angeles",
        },
        "key": f"{FOLDER}/{NAME}",
        "sha256": archive.sha256,
        "bytes": 11,
        "rows": {"new_users_over_time": 31, "user_activity_timeline": 100},
        "revision": 1,
        "snapshot_at": "2026-02-01T08:15:00Z",
        "run": "scheduled__2026-02-01T00:00:00+00:00",
        "code_version": "1.2.3",
        "data_quality": "passed",
    }
    assert json.loads((path.parent / "latest.json").read_bytes()) == facts
    assert json.loads((path.parent / f"{NAME}.json").read_bytes()) == facts


def test_a_record_of_an_older_version_is_read(tmp_path: Path) -> None:
    destination = folder_destination(tmp_path / "reports")
    destination.publish(make_archive(tmp_path), replace=False)
    sidecar = tmp_path / "reports" / FOLDER / f"{NAME}.json"
    older = json.loads(sidecar.read_bytes())
    del older["data_quality"]
    sidecar.write_text(json.dumps(older))

    published = destination.publish(make_archive(tmp_path), replace=False)

    assert (published.revision, published.changed, published.data_quality) == (1, False, None)


def test_unchanged_content_is_not_written_again(tmp_path: Path) -> None:
    destination = folder_destination(tmp_path / "reports")
    destination.publish(make_archive(tmp_path), replace=False)
    folder = tmp_path / "reports" / FOLDER

    def written() -> dict[str, tuple[int, int]]:
        return {
            path.name: (path.stat().st_ino, path.stat().st_mtime_ns) for path in folder.iterdir()
        }

    before = written()

    published = destination.publish(make_archive(tmp_path, run="another"), replace=False)

    assert (published.revision, published.changed, published.latest_moved) == (1, False, False)
    assert written() == before


def test_changed_content_counts_revisions(tmp_path: Path) -> None:
    destination = folder_destination(tmp_path / "reports")
    path = tmp_path / "reports" / FOLDER / NAME
    for revision, content in enumerate((b"one", b"two", b"three"), start=1):
        published = destination.publish(make_archive(tmp_path, content), replace=False)

        assert (published.revision, published.changed) == (revision, True)
        assert path.read_bytes() == content
        for document in (path.with_name("latest.json"), path.with_name(f"{NAME}.json")):
            assert json.loads(document.read_bytes())["revision"] == revision


def test_fewer_activities_replace_only_when_told(tmp_path: Path) -> None:
    destination = folder_destination(tmp_path / "reports")
    path = tmp_path / "reports" / FOLDER / NAME
    destination.publish(make_archive(tmp_path, b"before the purge"), replace=False)
    purged = make_archive(tmp_path, b"after", activities=99)

    with pytest.raises(PublishError, match=r"100 activities.*only 99.*replace") as raised:
        destination.publish(purged, replace=False)

    assert str(purged.path) in str(raised.value)
    assert path.read_bytes() == b"before the purge"
    assert destination.publish(purged, replace=True).revision == 2
    assert path.read_bytes() == b"after"


@pytest.mark.parametrize("found", ["changed", "without a record"])
def test_a_file_of_others_is_replaced_only_when_told(tmp_path: Path, found: str) -> None:
    destination = folder_destination(tmp_path / "reports")
    path = tmp_path / "reports" / FOLDER / NAME
    destination.publish(make_archive(tmp_path), replace=False)
    path.write_bytes(b"not ours")
    if found == "without a record":
        path.with_name(f"{NAME}.json").unlink()

    with pytest.raises(PublishError, match="was not published by this pipeline, or was changed"):
        destination.publish(make_archive(tmp_path), replace=False)

    assert path.read_bytes() == b"not ours"
    # latest.json still tells of the first revision, so this is the second.
    assert destination.publish(make_archive(tmp_path), replace=True).revision == 2


def test_a_lost_record_of_the_same_content_is_made_good(tmp_path: Path) -> None:
    destination = folder_destination(tmp_path / "reports")
    sidecar = tmp_path / "reports" / FOLDER / f"{NAME}.json"
    destination.publish(make_archive(tmp_path), replace=False)
    sidecar.unlink()

    destination.publish(make_archive(tmp_path), replace=False)

    assert json.loads(sidecar.read_bytes())["sha256"] == make_archive(tmp_path).sha256


def test_a_revision_that_readers_saw_does_not_come_again(tmp_path: Path) -> None:
    destination = folder_destination(tmp_path / "reports")
    destination.publish(make_archive(tmp_path, b"one"), replace=False)
    destination.publish(make_archive(tmp_path, b"later", end="2026-02-01"), replace=False)
    (tmp_path / "reports" / FOLDER / NAME).unlink()

    assert destination.publish(make_archive(tmp_path, b"two"), replace=False).revision == 2


# Dies at once, as a killed process does, before or after its n-th rename.
_DYING_PUBLISHER = """
import os, sys
from pathlib import Path
from tests.publish.helpers import folder_destination, make_archive

base, number, moment = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
rename = os.replace

def dying(source, target):
    global number
    number -= 1
    if number == 0 and moment == "before":
        os._exit(9)
    rename(source, target)
    if number == 0:
        os._exit(9)

os.replace = dying
destination = folder_destination(base / "reports")
destination.publish(make_archive(base, b"second", activities=150), replace=False)
"""


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("number", [1, 2, 3, 4])
def test_a_publisher_that_died_is_made_good_by_the_next(
    tmp_path: Path, number: int, moment: str
) -> None:
    destination = folder_destination(tmp_path / "reports")
    folder = tmp_path / "reports" / FOLDER
    destination.publish(make_archive(tmp_path, b"first"), replace=False)

    died = subprocess.run(
        [sys.executable, "-c", _DYING_PUBLISHER, str(tmp_path), str(number), moment],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        check=False,
    )

    assert died.returncode == 9
    arrived = number > 2 or (number, moment) == (2, "after")
    assert (folder / NAME).read_bytes() == (b"second" if arrived else b"first")
    # What is visible counts: its activities guard it, whatever record was left behind.
    activities = 150 if arrived else 100
    with pytest.raises(PublishError, match=f"published with {activities} activities"):
        destination.publish(
            make_archive(tmp_path, b"third", activities=activities - 1), replace=False
        )
    published = destination.publish(
        make_archive(tmp_path, b"second", activities=150), replace=False
    )
    assert (published.revision, published.changed) == (2, not arrived)
    assert _files(tmp_path / "reports") - {f".{NAME}.json.pending"} == {
        ".lock",
        NAME,
        f"{NAME}.json",
        "latest.json",
    }
    for document in ("latest.json", f"{NAME}.json"):
        told = json.loads((folder / document).read_bytes())
        assert (told["sha256"], told["revision"]) == (published.sha256, 2)


def _publish_many(base: Path, numbers: list[int]) -> list[int]:
    """Publish one content a number under one key, and one archive of its own period each."""
    destination = folder_destination(base / "reports")
    revisions = []
    for number in numbers:
        own = make_archive(base, f"own {number}".encode(), end=f"2026-01-{number:02}")
        destination.publish(own, replace=False)
        shared = make_archive(base, f"shared {number}".encode())
        revisions.append(destination.publish(shared, replace=False).revision)
    return revisions


def test_processes_lose_nothing(tmp_path: Path) -> None:
    with ProcessPoolExecutor(3, mp_context=multiprocessing.get_context("spawn")) as pool:
        parts = [list(range(first, 25, 3)) for first in (1, 2, 3)]
        revisions = [r for part in pool.map(_publish_many, [tmp_path] * 3, parts) for r in part]

    assert sorted(revisions) == list(range(1, 25))
    folder = tmp_path / "reports" / FOLDER
    assert len(list(folder.glob("*.zip"))) == 25
    latest = json.loads((folder / "latest.json").read_bytes())
    sidecar = json.loads((folder / f"{NAME}.json").read_bytes())
    assert latest == sidecar
    assert latest["revision"] == 24


def test_a_lock_that_others_keep_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(publish_folder, "LOCK_SECONDS", 0.05)
    destination = folder_destination(tmp_path / "reports")
    destination.publish(make_archive(tmp_path), replace=False)
    with (tmp_path / "reports" / FOLDER / ".lock").open("rb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)

        with pytest.raises(TemporaryError, match="another publisher has held the lock"):
            destination.publish(make_archive(tmp_path), replace=False)


def test_leftovers_of_a_dead_publisher_are_removed(tmp_path: Path) -> None:
    destination = folder_destination(tmp_path / "reports")
    destination.publish(make_archive(tmp_path), replace=False)
    leftover = tmp_path / "reports" / FOLDER / ".engagement_2025-01-01_to_2025-01-31.zip.tmp"
    leftover.write_bytes(b"half")

    destination.publish(make_archive(tmp_path), replace=False)

    assert not leftover.exists()


@pytest.mark.parametrize(("mode", "expected"), [(None, 0o700), (0o750, 0o750), (0o755, 0o755)])
def test_what_is_published_is_as_private_as_the_folder(
    tmp_path: Path, mode: int | None, expected: int
) -> None:
    base = tmp_path / "reports"
    if mode is not None:
        base.mkdir()
        base.chmod(mode)
    previous = os.umask(0o022)
    try:
        folder_destination(base).publish(make_archive(tmp_path), replace=False)
    finally:
        os.umask(previous)

    for path in (base, *base.rglob("*")):
        bits = stat.S_IMODE(path.stat().st_mode)
        assert bits == (expected if path.is_dir() else expected & 0o666), path


@pytest.mark.parametrize(
    ("number", "error", "message"),
    [
        (errno.ENOSPC, PublishError, "is full"),
        (errno.EACCES, ConfigurationError, "cannot be written"),
        (errno.EROFS, ConfigurationError, "cannot be written"),
        (errno.EIO, PublishError, "repair it"),
    ],
)
def test_a_disk_that_fails_leaves_the_published_archive_as_it_was(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    number: int,
    error: type[Exception],
    message: str,
) -> None:
    destination = folder_destination(tmp_path / "reports")
    destination.publish(make_archive(tmp_path, b"first"), replace=False)
    before = _files(tmp_path / "reports")
    archive = make_archive(tmp_path, b"second")

    def failing(_: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", failing)
    with pytest.raises(error, match=message) as raised:
        destination.publish(archive, replace=False)

    assert "ENGAGEMENT_DESTINATION" in str(raised.value)
    assert str(archive.path) in str(raised.value)
    assert (tmp_path / "reports" / FOLDER / NAME).read_bytes() == b"first"
    assert _files(tmp_path / "reports") == before


def test_a_file_in_the_place_of_the_folder_is_told_before_any_work(tmp_path: Path) -> None:
    (tmp_path / "reports").write_text("a file")

    with pytest.raises(ConfigurationError, match="is not a folder"):
        folder_destination(tmp_path / "reports").check()


def test_a_folder_that_cannot_be_written_is_told_before_any_work() -> None:
    with pytest.raises(ConfigurationError, match=r"ENGAGEMENT_DESTINATION.*cannot be written"):
        folder_destination(Path("/proc/engagement-reports")).check()


def test_check_leaves_no_file(tmp_path: Path) -> None:
    folder_destination(tmp_path / "reports").check()

    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_an_archive_that_changed_on_disk_is_not_published(tmp_path: Path) -> None:
    archive = make_archive(tmp_path, b"as it was")
    archive.path.write_bytes(b"as it is!")

    with pytest.raises(PublishError, match="has changed since it was written"):
        folder_destination(tmp_path / "reports").publish(archive, replace=False)

    assert NAME not in _files(tmp_path / "reports")


def test_an_archive_that_is_gone_is_told(tmp_path: Path) -> None:
    archive = make_archive(tmp_path)
    archive.path.unlink()

    with pytest.raises(PublishError, match="cannot be read"):
        folder_destination(tmp_path / "reports").publish(archive, replace=False)


@pytest.mark.parametrize("document", ["latest.json", f"{NAME}.json"])
@pytest.mark.parametrize("text", ["", "[]", '{"period": {}}', "\x00", '{"period": 1}'])
def test_a_damaged_document_is_not_overwritten(tmp_path: Path, document: str, text: str) -> None:
    destination = folder_destination(tmp_path / "reports")
    destination.publish(make_archive(tmp_path, b"first"), replace=False)
    path = tmp_path / "reports" / FOLDER / document
    path.write_text(text)

    with pytest.raises(PublishError, match="is damaged"):
        destination.publish(make_archive(tmp_path, b"second"), replace=False)

    assert path.read_text() == text
    assert path.with_name(NAME).read_bytes() == b"first"


@pytest.mark.parametrize("prefix", ["../x", "a/../b", "/x", "a//b", "a\nb", "a\\b", "."])
def test_a_prefix_that_leads_elsewhere_is_refused(tmp_path: Path, prefix: str) -> None:
    with pytest.raises(UsageError, match="prefix"):
        folder_destination(tmp_path, prefix)


def test_a_prefix_through_a_symbolic_link_is_refused(tmp_path: Path) -> None:
    (tmp_path / "reports").mkdir()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "reports" / "link").symlink_to(tmp_path / "elsewhere")

    with pytest.raises(UsageError, match="leads out of the destination"):
        folder_destination(tmp_path / "reports", "link/x").publish(
            make_archive(tmp_path), replace=False
        )

    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_a_folder_has_no_presigned_urls(tmp_path: Path) -> None:
    destination = folder_destination(tmp_path / "reports")
    published = destination.publish(make_archive(tmp_path), replace=False)

    with pytest.raises(UsageError, match="the destination is a folder"):
        destination.presign(published, 60)


def test_a_document_stands_beside_the_archives_whole(tmp_path: Path) -> None:
    destination = folder_destination(tmp_path / "published", "reports/")
    first = destination.put_document("state.json", b'{"n": 1}')
    assert destination.put_document("state.json", b'{"n": 22}') == first
    assert first == str(tmp_path / "published/reports/state.json")
    assert Path(first).read_bytes() == b'{"n": 22}'
    assert sorted(p.name for p in Path(first).parent.iterdir()) == [".lock", "state.json"]

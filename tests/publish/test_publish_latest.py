"""`latest.json` under publishers that compete, in folders and on a server with If-Match."""

from __future__ import annotations

import itertools
import json
import tempfile
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from engagement import publish_s3
from engagement.errors import ConfigurationError, PublishError, TemporaryError
from engagement.publish import Archive, Destination, Published
from tests.publish.helpers import Between, Bucket, folder_destination, make_archive
from tests.servers.faults import Answer, CutAnswer, Proxy

FOLDER = "base/engagement-reports/monthly/json/"
KEY = f"{FOLDER}engagement_2026-01-01_to_2026-01-31.zip"
LATEST = f"{FOLDER}latest.json"

# Periods that share their start or their end, so that every part of the order decides once.
PERIODS = [
    ("2026-01-01", "2026-01-31"),
    ("2026-01-10", "2026-01-31"),
    ("2026-01-10", "2026-02-28"),
    ("2025-12-01", "2026-02-28"),
]


def _order(document: dict[str, Any]) -> tuple[str, str, int]:
    return document["period"]["end"], document["period"]["start"], document["revision"]


def _publish_all(
    destination: Destination, folder: Path, contents: Sequence[tuple[int, int]]
) -> list[Published]:
    """Publish archives of (number of the period, content), in that order."""
    return [
        destination.publish(
            make_archive(
                folder, str(content).encode(), start=PERIODS[period][0], end=PERIODS[period][1]
            ),
            replace=False,
        )
        for period, content in contents
    ]


def _expected(contents: Sequence[tuple[int, int]]) -> tuple[str, str, int]:
    """The greatest (end, start, revision) of all that is published in that order."""
    revisions: dict[int, int] = {}
    last: dict[int, int] = {}
    seen = []
    for period, content in contents:
        if last.get(period) != content:
            revisions[period] = revisions.get(period, 0) + 1
            last[period] = content
        seen.append((PERIODS[period][1], PERIODS[period][0], revisions[period]))
    return max(seen)


@hypothesis_settings(max_examples=40, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, len(PERIODS) - 1), st.integers(0, 2)), min_size=1, max_size=8)
)
def test_latest_in_a_folder_is_the_greatest_whatever_the_order(
    contents: list[tuple[int, int]],
) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        destination = folder_destination(folder / "published")

        _publish_all(destination, folder, contents)

        latest = folder / "published/engagement-reports/monthly/json/latest.json"
        assert _order(json.loads(latest.read_bytes())) == _expected(contents)


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_latest_on_s3_is_the_greatest_whatever_the_order(
    moto_bucket: Bucket, tmp_path: Path, order: tuple[int, ...]
) -> None:
    # Each period twice, with two contents.
    contents = [(period, 0) for period in order] + [(period, 1) for period in reversed(order)]

    published = _publish_all(moto_bucket.destination(), tmp_path, contents)

    assert _order(json.loads(moto_bucket.read(LATEST))) == _expected(contents)
    greatest = (PERIODS[0][1], PERIODS[0][0], 0)
    for (period, _), one in zip(contents, published, strict=True):
        mine = (PERIODS[period][1], PERIODS[period][0], one.revision)
        assert one.latest_moved == (mine > greatest)
        greatest = max(greatest, mine)


def test_a_backfill_of_an_older_period_does_not_move_latest(
    moto_bucket: Bucket, tmp_path: Path
) -> None:
    destination = moto_bucket.destination()
    newer, older = _publish_all(destination, tmp_path, [(2, 0), (0, 0)])

    assert (newer.latest_moved, older.latest_moved) == (True, False)
    assert json.loads(moto_bucket.read(LATEST))["key"] == newer.key


def _all_at_once(
    destination: Callable[[], Destination], archives: Sequence[Archive]
) -> list[Published]:
    """What publishers say that each publish one of the archives, all beginning together."""
    barrier = threading.Barrier(len(archives))

    def run(archive: Archive) -> Published:
        mine = destination()
        barrier.wait(timeout=30)
        return mine.publish(archive, replace=False)

    with ThreadPoolExecutor(len(archives)) as pool:
        return list(pool.map(run, archives))


@pytest.mark.parametrize("part_bytes", [2**24, 5 * 2**20])
def test_publishers_of_one_key_lose_no_revision(
    moto_bucket: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, part_bytes: int
) -> None:
    monkeypatch.setattr(publish_s3, "PART_BYTES", part_bytes)
    archives = [make_archive(tmp_path, bytes([n]) * (6 * 2**20)) for n in range(4)]

    published = _all_at_once(moto_bucket.destination, archives)

    assert sorted(one.revision for one in published) == [1, 2, 3, 4]
    last = max(published, key=lambda one: one.revision)
    latest = json.loads(moto_bucket.read(LATEST))
    assert (latest["revision"], latest["sha256"]) == (4, last.sha256)
    head = moto_bucket.server.client().head_object(Bucket=moto_bucket.name, Key=KEY)
    assert head["Metadata"]["sha256"] == last.sha256
    assert moto_bucket.unfinished() == []


def test_publishers_of_several_periods_leave_latest_at_the_greatest(
    moto_bucket: Bucket, tmp_path: Path
) -> None:
    archives = [
        make_archive(tmp_path, f"{day}".encode(), start="2026-01-01", end=f"2026-01-{day:02}")
        for day in range(1, 9)
    ]

    published = _all_at_once(moto_bucket.destination, archives)

    assert all(one.revision == 1 for one in published)
    assert len(moto_bucket.listing()) == 9
    latest = json.loads(moto_bucket.read(LATEST))
    assert latest["period"]["end"] == "2026-01-08"
    assert published[-1].latest_moved


@pytest.mark.parametrize(
    ("operation", "part_bytes"),
    [("PutObject", 2**24), ("UploadPart", 5 * 2**20), ("CompleteMultipartUpload", 5 * 2**20)],
)
@pytest.mark.parametrize("before", [False, True])
def test_a_publisher_that_comes_between_is_not_overwritten_unseen(
    moto_bucket: Bucket,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    operation: str,
    part_bytes: int,
    before: bool,
) -> None:
    """The archive of the other one has more activities, so it must be seen and kept."""
    monkeypatch.setattr(publish_s3, "PART_BYTES", part_bytes)
    if before:
        moto_bucket.destination().publish(make_archive(tmp_path, b"first"), replace=False)
    richer = make_archive(tmp_path, b"richer", activities=200)
    mine = make_archive(tmp_path, b"m" * (6 * 2**20))
    between = Between(
        moto_bucket, operation, lambda: moto_bucket.destination().publish(richer, replace=False)
    )

    with pytest.raises(PublishError, match=r"200 activities.*only 100"):
        moto_bucket.destination(lambda: between.client).publish(mine, replace=False)

    assert between.pending == []
    assert moto_bucket.read(KEY) == b"richer"
    assert json.loads(moto_bucket.read(LATEST))["sha256"] == richer.sha256
    assert moto_bucket.unfinished() == []


def test_an_archive_that_another_publisher_put_first_is_unchanged(
    moto_bucket: Bucket, tmp_path: Path
) -> None:
    archive = make_archive(tmp_path)
    between = Between(
        moto_bucket, "PutObject", lambda: moto_bucket.destination().publish(archive, replace=False)
    )

    published = moto_bucket.destination(lambda: between.client).publish(archive, replace=False)

    assert (published.revision, published.changed, published.latest_moved) == (1, False, False)


def test_a_write_whose_answer_was_lost_is_not_done_twice(
    moto_bucket: Bucket, moto_faults: Proxy, tmp_path: Path
) -> None:
    moto_faults.fail(CutAnswer(), "PUT", ".zip", times=1)
    moto_faults.fail(CutAnswer(), "PUT", "latest.json", times=1)
    server = moto_bucket.server.at(moto_faults.endpoint)
    archive = make_archive(tmp_path)

    published = moto_bucket.destination(lambda: server.client(attempts=3)).publish(
        archive, replace=False
    )

    assert published.revision == 1
    assert json.loads(moto_bucket.read(LATEST))["sha256"] == archive.sha256


@pytest.mark.parametrize("code", ["PreconditionFailed", "ConditionalRequestConflict"])
def test_endless_competition_ends_with_a_temporary_error(
    moto_bucket: Bucket, moto_faults: Proxy, tmp_path: Path, code: str
) -> None:
    moto_faults.fail(Answer(412 if code == "PreconditionFailed" else 409, code), "PUT", ".zip")
    server = moto_bucket.server.at(moto_faults.endpoint)

    with pytest.raises(TemporaryError, match="changed by other publishers"):
        moto_bucket.destination(server.client).publish(make_archive(tmp_path), replace=False)

    assert len(moto_faults.asked("PUT", ".zip")) == publish_s3.ATTEMPTS


def test_encryption_and_acl_are_sent_where_they_are_set_and_only_there(
    moto_bucket: Bucket, moto_faults: Proxy, tmp_path: Path
) -> None:
    server = moto_bucket.server.at(moto_faults.endpoint)
    archive = make_archive(tmp_path)
    moto_bucket.destination(server.client, base="plain").publish(archive, replace=False)
    headers = {name.lower() for request in moto_faults.requests for name in request.headers}
    assert not any(name.startswith(("x-amz-acl", "x-amz-server-side")) for name in headers)
    moto_faults.heal()

    encrypted = moto_bucket.destination(
        server.client,
        base="encrypted",
        s3_encryption="aws:kms",
        s3_kms_key_id="a-key",
        s3_acl="bucket-owner-full-control",
    )
    encrypted.publish(archive, replace=False)

    writes = moto_faults.asked("PUT")
    assert len(writes) == 2
    for write in writes:
        sent = {name.lower(): value for name, value in write.headers.items()}
        assert sent["x-amz-server-side-encryption"] == "aws:kms"
        assert sent["x-amz-server-side-encryption-aws-kms-key-id"] == "a-key"
        assert sent["x-amz-acl"] == "bucket-owner-full-control"


def test_a_key_without_kms_is_a_contradiction(moto_bucket: Bucket) -> None:
    with pytest.raises(ConfigurationError, match="ENGAGEMENT_S3_KMS_KEY_ID"):
        moto_bucket.destination(s3_kms_key_id="a-key")


def test_threads_on_a_folder_lose_no_revision(tmp_path: Path) -> None:
    archives = [make_archive(tmp_path, f"content {n}".encode()) for n in range(6)]

    published = _all_at_once(lambda: folder_destination(tmp_path / "published"), archives)

    assert sorted(one.revision for one in published) == [1, 2, 3, 4, 5, 6]
    latest = json.loads(
        (tmp_path / "published/engagement-reports/monthly/json/latest.json").read_bytes()
    )
    assert latest["revision"] == 6

"""Publishing to a real S3 server that verifies signatures and checksums."""

from __future__ import annotations

import json
import logging
import re
import urllib.error
import urllib.request
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from botocore.exceptions import ClientError

from engagement import publish_s3
from engagement.errors import ConfigurationError, PublishError, TemporaryError, UsageError
from tests.publish.helpers import Between, Bucket, make_archive
from tests.servers.faults import Corrupt, Proxy

KEY = "base/engagement-reports/monthly/json/engagement_2026-01-01_to_2026-01-31.zip"
LATEST = "base/engagement-reports/monthly/json/latest.json"


def test_a_published_archive_is_there_with_its_facts(bucket: Bucket, tmp_path: Path) -> None:
    archive = make_archive(tmp_path, b"the content")
    destination = bucket.destination()
    destination.check()

    published = destination.publish(archive, replace=False)

    assert sorted(bucket.listing()) == sorted([KEY, LATEST])
    assert bucket.read(KEY) == b"the content"
    assert published.address == f"s3://{bucket.name}/{KEY}"
    assert published.url == f"{bucket.server.endpoint}/{bucket.name}/{KEY}"
    assert (published.key, published.sha256, published.bytes) == (KEY, archive.sha256, 11)
    assert (published.revision, published.changed, published.latest_moved) == (1, True, True)
    head = bucket.server.client().head_object(Bucket=bucket.name, Key=KEY)
    assert head["ContentType"] == "application/zip"
    assert head["Metadata"] == {
        "sha256": archive.sha256,
        "revision": "1",
        "activities": "100",
        "rows": '{"new_users_over_time":31,"user_activity_timeline":100}',
        "period-start": "2026-01-01",
        "period-end": "2026-01-31",
        "timezone": "America/Los_Angeles",
        "snapshot": "2026-02-01T08:15:00Z",
        "run": "scheduled__2026-02-01T00:00:00+00:00",
        "code-version": "1.2.3",
        "data-quality": "passed",
    }
    assert json.loads(bucket.read(LATEST)) == {
        "period": {
            "start": "2026-01-01",
            "end": "2026-01-31",
            "timezone": "America/Los_Angeles",
        },
        "key": KEY,
        "sha256": archive.sha256,
        "bytes": 11,
        "rows": {"new_users_over_time": 31, "user_activity_timeline": 100},
        "revision": 1,
        "snapshot_at": "2026-02-01T08:15:00Z",
        "run": "scheduled__2026-02-01T00:00:00+00:00",
        "code_version": "1.2.3",
        "data_quality": "passed",
    }


def test_check_leaves_nothing_behind(bucket: Bucket) -> None:
    bucket.destination().check()

    assert bucket.listing() == []
    assert bucket.unfinished() == []


def test_check_does_not_mind_what_others_keep_there(bucket: Bucket) -> None:
    destination = bucket.destination(prefix="reports/")
    destination.put_document("latest.json", b"none of ours")
    destination.check()


@pytest.mark.parametrize("size", [5 * 2**20, 8 * 2**20])
def test_unchanged_content_is_not_uploaded_again(
    bucket: Bucket, faults: Proxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    monkeypatch.setattr(publish_s3, "PART_BYTES", size)
    archive = make_archive(tmp_path, bytes(6 * 2**20))
    destination = bucket.destination(bucket.server.at(faults.endpoint).client)
    destination.publish(archive, replace=False)
    faults.heal()

    published = destination.publish(archive, replace=False)

    assert (published.revision, published.changed, published.latest_moved) == (1, False, False)
    assert faults.asked("PUT") == []
    assert faults.asked("POST") == []
    assert faults.asked("HEAD")


def test_changed_content_counts_revisions(
    bucket: Bucket, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    destination = bucket.destination()
    for revision, content in enumerate((b"one", b"two", b"three"), start=1):
        published = destination.publish(make_archive(tmp_path, content), replace=False)
        assert (published.revision, published.changed, published.latest_moved) == (
            revision,
            True,
            True,
        )
        assert bucket.read(KEY) == content
        assert json.loads(bucket.read(LATEST))["revision"] == revision
    # Swift cannot replace conditionally, and the log says so once.
    assert [r.levelno for r in caplog.records].count(logging.WARNING) == 1
    assert "no conditional replacement (If-Match)" in caplog.text


def test_a_large_archive_goes_up_in_parts(
    bucket: Bucket, faults: Proxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publish_s3, "PART_BYTES", 5 * 2**20)
    destination = bucket.destination(bucket.server.at(faults.endpoint).client)
    for revision, letter in enumerate((b"a", b"b"), start=1):
        faults.heal()
        archive = make_archive(tmp_path, letter * (11 * 2**20))

        published = destination.publish(archive, replace=False)

        parts = faults.asked("PUT", "partNumber=")
        assert len(parts) == 3
        assert all("x-amz-checksum-sha256" in part.headers for part in parts)
        assert published.revision == revision
        assert bucket.read(KEY) == archive.path.read_bytes()
        head = bucket.server.client().head_object(Bucket=bucket.name, Key=KEY)
        assert head["Metadata"]["sha256"] == archive.sha256
        assert head["Metadata"]["revision"] == str(revision)
        assert head["ContentType"] == "application/zip"
    assert bucket.unfinished() == []


def test_fewer_activities_replace_only_when_told(bucket: Bucket, tmp_path: Path) -> None:
    destination = bucket.destination()
    destination.publish(make_archive(tmp_path, b"before the purge"), replace=False)
    purged = make_archive(tmp_path, b"after", activities=99)

    with pytest.raises(PublishError, match=r"100 activities.*only 99.*replace") as raised:
        destination.publish(purged, replace=False)

    assert str(purged.path) in str(raised.value)
    assert bucket.read(KEY) == b"before the purge"
    assert json.loads(bucket.read(LATEST))["revision"] == 1
    published = destination.publish(purged, replace=True)
    assert (published.revision, published.changed) == (2, True)
    assert bucket.read(KEY) == b"after"


def test_an_object_of_others_is_replaced_only_when_told(bucket: Bucket, tmp_path: Path) -> None:
    bucket.server.client().put_object(Bucket=bucket.name, Key=KEY, Body=b"not ours")
    destination = bucket.destination()

    with pytest.raises(PublishError, match="was not published by this pipeline"):
        destination.publish(make_archive(tmp_path), replace=False)

    assert bucket.read(KEY) == b"not ours"
    assert destination.publish(make_archive(tmp_path), replace=True).revision == 1


def test_a_revision_that_readers_saw_does_not_come_again(bucket: Bucket, tmp_path: Path) -> None:
    destination = bucket.destination()
    destination.publish(make_archive(tmp_path, b"one"), replace=False)
    bucket.server.client().delete_object(Bucket=bucket.name, Key=KEY)

    published = destination.publish(make_archive(tmp_path, b"two"), replace=False)

    assert (published.revision, published.latest_moved) == (2, True)


def test_latest_is_repaired_after_an_upload_that_was_cut_off(
    bucket: Bucket, tmp_path: Path
) -> None:
    destination = bucket.destination()
    destination.publish(make_archive(tmp_path), replace=False)
    first = bucket.read(LATEST)
    bucket.server.client().delete_object(Bucket=bucket.name, Key=LATEST)

    published = destination.publish(
        make_archive(tmp_path, run="manual__2026-03-01T00:00:00+00:00"), replace=False
    )

    assert (published.changed, published.latest_moved) == (False, True)
    assert bucket.read(LATEST) == first


def test_a_run_id_in_any_script_survives_the_metadata(bucket: Bucket, tmp_path: Path) -> None:
    run = "manual 100% Թ\N{NO-BREAK SPACE}"
    destination = bucket.destination()
    destination.publish(make_archive(tmp_path, run=run), replace=False)
    bucket.server.client().delete_object(Bucket=bucket.name, Key=LATEST)

    destination.publish(make_archive(tmp_path), replace=False)

    assert json.loads(bucket.read(LATEST))["run"] == run


@pytest.mark.parametrize(
    ("prefix", "base", "expected"),
    [
        ("team/a", "base", "base/team/a/monthly/json/"),
        ("", "base/", "base/monthly/json/"),
        ("x/", "", "x/monthly/json/"),
        ("été", "", "été/monthly/json/"),
    ],
)
def test_the_prefix_stands_under_the_base(
    bucket: Bucket, tmp_path: Path, prefix: str, base: str, expected: str
) -> None:
    destination = bucket.destination(prefix=prefix, base=base)

    published = destination.publish(make_archive(tmp_path), replace=False)

    assert published.key == f"{expected}engagement_2026-01-01_to_2026-01-31.zip"
    assert published.key in bucket.listing()


@pytest.mark.parametrize("prefix", ["../x", "a/../b", "/x", "a//b", "a\nb", "a\\b", ".", "a" * 901])
def test_a_prefix_that_leads_elsewhere_is_refused(bucket: Bucket, prefix: str) -> None:
    with pytest.raises(UsageError, match="prefix"):
        bucket.destination(prefix=prefix)


def test_a_presigned_url_opens_the_archive_and_nothing_else_does(
    bucket: Bucket, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "engagement")
    archive = make_archive(tmp_path, b"the content")
    destination = bucket.destination()
    published = destination.publish(archive, replace=False)

    url = destination.presign(published, 60)

    query = parse_qs(urlsplit(url).query)
    assert query["X-Amz-Algorithm"] == ["AWS4-HMAC-SHA256"]
    assert query["X-Amz-Expires"] == ["60"]
    assert urllib.request.urlopen(url, timeout=10).read() == b"the content"
    with pytest.raises(urllib.error.HTTPError, match=r"40[03]"):
        urllib.request.urlopen(published.url, timeout=10)
    signature = query["X-Amz-Signature"][0]
    told = repr(published) + caplog.text + bucket.read(LATEST).decode()
    assert signature not in told
    assert not re.search(r"signature|amz-credential|awsaccesskeyid", told, re.IGNORECASE)


@pytest.mark.parametrize("seconds", [0, -1, 604_801])
def test_a_presigned_url_works_for_a_week_at_most(
    bucket: Bucket, tmp_path: Path, seconds: int
) -> None:
    destination = bucket.destination()
    published = destination.publish(make_archive(tmp_path), replace=False)

    with pytest.raises(UsageError, match="expected 1 to 604800"):
        destination.presign(published, seconds)


def test_a_wrong_secret_is_told_before_any_work(bucket: Bucket) -> None:
    destination = bucket.destination(lambda: bucket.server.client(secret_key="wrong-secret"))

    with pytest.raises(ConfigurationError, match="refuses the credentials") as raised:
        destination.check()

    message = str(raised.value)
    assert "SignatureDoesNotMatch" in message
    assert "AIRFLOW_CONN_AWS_DEFAULT" in message
    assert bucket.server.access_key not in message
    assert "wrong-secret" not in message
    assert "\n" not in message


def test_a_missing_bucket_is_told_before_any_work(bucket: Bucket) -> None:
    missing = Bucket(bucket.server, "no-such-bucket")

    with pytest.raises(ConfigurationError, match=r"no bucket 'no-such-bucket'.*DESTINATION"):
        missing.destination().check()


def test_encryption_that_the_server_lacks_is_told_before_any_work(bucket: Bucket) -> None:
    destination = bucket.destination(s3_encryption="AES256")

    with pytest.raises(ConfigurationError, match="ENGAGEMENT_S3_ENCRYPTION"):
        destination.check()


def test_a_body_that_is_damaged_on_its_way_is_refused(
    bucket: Bucket, faults: Proxy, tmp_path: Path
) -> None:
    faults.fail(Corrupt(), "PUT", ".zip")
    archive = make_archive(tmp_path)
    destination = bucket.destination(bucket.server.at(faults.endpoint).client)

    with pytest.raises(TemporaryError, match="other bytes than were sent") as raised:
        destination.publish(archive, replace=False)

    assert str(archive.path) in str(raised.value)
    assert bucket.listing() == []


@pytest.mark.parametrize("part_bytes", [5, 2**20])
def test_the_server_verifies_the_checksum(
    bucket: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, part_bytes: int
) -> None:
    monkeypatch.setattr(publish_s3, "PART_BYTES", part_bytes)
    right = publish_s3._checksum
    monkeypatch.setattr(publish_s3, "_checksum", lambda data: right(data + b"x"))

    with pytest.raises(TemporaryError, match=r"other bytes than were sent \(BadDigest"):
        bucket.destination().publish(make_archive(tmp_path), replace=False)

    assert bucket.listing() == []
    assert bucket.unfinished() == []


@pytest.mark.parametrize("part_bytes", [5, 2**20])
def test_an_archive_that_changed_on_disk_is_not_published(
    bucket: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, part_bytes: int
) -> None:
    monkeypatch.setattr(publish_s3, "PART_BYTES", part_bytes)
    archive = make_archive(tmp_path, b"as it was")
    archive.path.write_bytes(b"as it is!")

    with pytest.raises(PublishError, match="has changed since it was written"):
        bucket.destination().publish(archive, replace=False)

    assert bucket.listing() == []
    assert bucket.unfinished() == []


def test_a_damaged_latest_json_is_not_overwritten(bucket: Bucket, tmp_path: Path) -> None:
    client = bucket.server.client()
    client.put_object(Bucket=bucket.name, Key=LATEST, Body=b'{"period": ')

    with pytest.raises(PublishError, match=r"latest\.json is damaged"):
        bucket.destination().publish(make_archive(tmp_path), replace=False)

    assert bucket.listing() == [LATEST]


def test_swift_has_if_none_match_and_refuses_if_match(bucket: Bucket) -> None:
    client = bucket.server.client()
    client.put_object(Bucket=bucket.name, Key="key", Body=b"1", IfNoneMatch="*")
    with pytest.raises(ClientError, match="PreconditionFailed"):
        client.put_object(Bucket=bucket.name, Key="key", Body=b"2", IfNoneMatch="*")
    etag = client.head_object(Bucket=bucket.name, Key="key")["ETag"]
    with pytest.raises(ClientError, match="NotImplemented"):
        client.put_object(Bucket=bucket.name, Key="key", Body=b"2", IfMatch=etag)


@pytest.mark.parametrize("operation", ["PutObject", "CompleteMultipartUpload"])
def test_without_if_match_another_publisher_is_still_seen_before_the_write(
    bucket: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, operation: str
) -> None:
    monkeypatch.setattr(publish_s3, "PART_BYTES", 5 * 2**20)
    bucket.destination().publish(make_archive(tmp_path, b"first"), replace=False)
    richer = make_archive(tmp_path, b"richer", activities=200)
    mine = make_archive(tmp_path, b"m" * (1 if operation == "PutObject" else 6 * 2**20))
    between = Between(
        bucket, operation, lambda: bucket.destination().publish(richer, replace=False)
    )

    with pytest.raises(PublishError, match=r"200 activities.*only 100"):
        bucket.destination(lambda: between.client).publish(mine, replace=False)

    assert between.pending == []
    assert bucket.read(KEY) == b"richer"
    assert bucket.unfinished() == []


def test_a_document_stands_beside_the_archives_whole(bucket: Bucket) -> None:
    destination = bucket.destination(prefix="reports/")
    address = destination.put_document("state.json", b'{"n": 1}')
    assert destination.put_document("state.json", b'{"n": 22}') == address
    assert address == f"s3://{bucket.name}/base/reports/state.json"
    assert bucket.read("base/reports/state.json") == b'{"n": 22}'
    assert bucket.listing() == ["base/reports/state.json"]

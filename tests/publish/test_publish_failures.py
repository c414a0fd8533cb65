"""Servers and networks that fail: a clear line, nothing half-visible, and a way on."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import pytest
from botocore.exceptions import NoCredentialsError

from engagement import publish_s3
from engagement.errors import ConfigurationError, EngagementError, PublishError, TemporaryError
from tests.publish.helpers import Bucket, make_archive
from tests.servers.faults import Answer, Cut, CutAnswer, Proxy
from tests.servers.processes import free_port
from tests.servers.s3 import S3Server

KEY = "base/engagement-reports/monthly/json/engagement_2026-01-01_to_2026-01-31.zip"
PART = 5 * 2**20


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """A few megabytes make several parts."""
    monkeypatch.setattr(publish_s3, "PART_BYTES", PART)


def _one_line(error: BaseException, *, without: tuple[str, ...] = ()) -> str:
    message = str(error)
    assert "\n" not in message
    assert error.__cause__ is None
    for secret in ("testing", "Signature=", "X-Amz-", *without):
        assert secret not in message
    return message


CUTS: list[Callable[[Proxy], None]] = [
    lambda faults: faults.fail(Cut(), "PUT", "partNumber=2"),
    lambda faults: faults.fail(CutAnswer(), "PUT", "partNumber=2"),
    lambda faults: faults.fail(Answer(503, "SlowDown"), "PUT", "partNumber=3"),
    lambda faults: faults.fail(Answer(503, "SlowDown"), "POST", "uploads"),
    lambda faults: faults.fail(Answer(500, "InternalError"), "POST", "uploadId="),
]


@pytest.mark.parametrize(
    ("fail", "before"),
    [(CUTS[0], b""), *((fail, b"published before") for fail in CUTS)],
    ids=[
        "part cut with nothing before",
        "part cut",
        "answer cut",
        "part refused",
        "start refused",
        "end refused",
    ],
)
def test_a_multipart_upload_that_fails_leaves_nothing_visible(
    bucket: Bucket,
    faults: Proxy,
    tmp_path: Path,
    fail: Callable[[Proxy], None],
    before: bytes,
) -> None:
    destination = bucket.destination(bucket.server.at(faults.endpoint).client)
    if before:
        destination.publish(make_archive(tmp_path, before), replace=False)
    listing = bucket.listing()
    latest = [bucket.read(key) for key in listing if key.endswith("latest.json")]
    archive = make_archive(tmp_path, b"x" * (2 * PART + 1))
    fail(faults)

    with pytest.raises(TemporaryError, match="try again later") as raised:
        destination.publish(archive, replace=False)

    message = _one_line(raised.value)
    assert f"s3://{bucket.name}/{KEY}" in message
    assert message.endswith(f"the finished archive is kept at {archive.path}")
    assert archive.path.exists()
    assert bucket.listing() == listing
    assert bucket.unfinished() == []
    if before:
        assert bucket.read(KEY) == before
        assert [bucket.read(key) for key in listing if key.endswith("latest.json")] == latest

    faults.heal()
    published = destination.publish(archive, replace=False)
    assert (published.revision, published.changed) == (2 if before else 1, True)
    assert bucket.read(KEY) == archive.path.read_bytes()


@pytest.mark.parametrize("fault", [Cut(), Answer(503, "ServiceUnavailable")])
def test_a_small_upload_that_fails_leaves_nothing_visible(
    bucket: Bucket, faults: Proxy, tmp_path: Path, fault: Cut | Answer
) -> None:
    destination = bucket.destination(bucket.server.at(faults.endpoint).client)
    faults.fail(fault, "PUT", ".zip")

    with pytest.raises(TemporaryError, match="try again later"):
        destination.publish(make_archive(tmp_path), replace=False)

    assert bucket.listing() == []


@pytest.mark.parametrize("fault", [Cut(), Answer(503, "SlowDown")])
def test_publishing_again_moves_latest_where_that_alone_failed(
    bucket: Bucket, faults: Proxy, tmp_path: Path, fault: Cut | Answer
) -> None:
    destination = bucket.destination(bucket.server.at(faults.endpoint).client)
    faults.fail(fault, "PUT", "latest.json")
    archive = make_archive(tmp_path)
    with pytest.raises(TemporaryError, match=r"latest\.json"):
        destination.publish(archive, replace=False)
    assert bucket.listing() == [KEY]

    faults.heal()
    published = destination.publish(archive, replace=False)

    assert (published.revision, published.changed, published.latest_moved) == (1, False, True)


def test_busy_moments_are_survived_by_a_client_that_asks_again(
    bucket: Bucket, faults: Proxy, tmp_path: Path
) -> None:
    for method, part in (
        ("GET", "latest.json"),
        ("HEAD", ".zip"),
        ("PUT", "partNumber=2"),
        ("POST", "uploadId="),
        ("PUT", "latest.json"),
    ):
        faults.fail(Answer(503, "SlowDown"), method, part, times=1)
    faults.fail(Cut(), "PUT", "partNumber=1", times=1)
    server = bucket.server.at(faults.endpoint)
    archive = make_archive(tmp_path, b"x" * (PART + 1))

    published = bucket.destination(lambda: server.client(attempts=3)).publish(
        archive, replace=False
    )

    assert (published.revision, published.changed, published.latest_moved) == (1, True, True)
    assert bucket.read(KEY) == archive.path.read_bytes()


def test_an_answer_to_the_completion_that_was_lost_is_made_good(
    bucket: Bucket, faults: Proxy, tmp_path: Path
) -> None:
    faults.fail(CutAnswer(), "POST", "uploadId=")
    archive = make_archive(tmp_path, b"x" * (PART + 1))
    destination = bucket.destination(bucket.server.at(faults.endpoint).client)
    with pytest.raises(TemporaryError, match="broke off"):
        destination.publish(archive, replace=False)

    faults.heal()
    published = destination.publish(archive, replace=False)

    assert (published.revision, published.changed, published.latest_moved) == (1, False, True)
    assert bucket.read(KEY) == archive.path.read_bytes()


def test_an_upload_that_cannot_be_aborted_is_told_in_the_log(
    bucket: Bucket, faults: Proxy, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    faults.fail(Answer(503, "SlowDown"), "PUT", "partNumber=2")
    faults.fail(Answer(503, "SlowDown"), "DELETE")
    destination = bucket.destination(bucket.server.at(faults.endpoint).client)

    with pytest.raises(TemporaryError, match="SlowDown"):
        destination.publish(make_archive(tmp_path, b"x" * (PART + 1)), replace=False)

    told = [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]
    assert len(told) == 1
    assert "could not be aborted (SlowDown)" in told[0]
    assert bucket.listing() == []


class _Interrupted(BaseException):
    """Stands for the signal that ends a task."""


def test_an_interrupted_upload_is_aborted(bucket: Bucket, tmp_path: Path) -> None:
    client = bucket.server.client()

    def interrupt(**_: object) -> None:
        raise _Interrupted

    client.meta.events.register("before-call.s3.CompleteMultipartUpload", interrupt)
    with pytest.raises(_Interrupted):
        bucket.destination(lambda: client).publish(
            make_archive(tmp_path, b"x" * (PART + 1)), replace=False
        )

    assert bucket.listing() == []
    assert bucket.unfinished() == []


@pytest.mark.parametrize(
    ("status", "code", "error", "expected"),
    [
        (400, "ExpiredToken", ConfigurationError, "credentials have expired"),
        (403, "InvalidAccessKeyId", ConfigurationError, "refuses the credentials"),
        (403, "SignatureDoesNotMatch", ConfigurationError, "refuses the credentials"),
        (403, "AccessDenied", ConfigurationError, "denies access to bucket"),
        (403, "RequestTimeTooSkewed", ConfigurationError, "clock of this machine"),
        (301, "PermanentRedirect", ConfigurationError, "is in another region"),
        (400, "KMS.DisabledException", ConfigurationError, "ENGAGEMENT_S3_KMS_KEY_ID"),
        (404, "NoSuchBucket", ConfigurationError, "has no bucket"),
        (400, "BadDigest", TemporaryError, "got other bytes"),
        (500, "InternalError", TemporaryError, "try again later"),
        (503, "SlowDown", TemporaryError, "try again later"),
        (429, "TooManyRequests", TemporaryError, "try again later"),
        (400, "EntityTooLarge", PublishError, "EntityTooLarge"),
    ],
)
def test_every_refusal_has_one_clear_line(
    bucket: Bucket,
    faults: Proxy,
    tmp_path: Path,
    status: int,
    code: str,
    error: type[EngagementError],
    expected: str,
) -> None:
    """Both in the check before any work and, where it only comes then, in the upload."""
    destination = bucket.destination(
        lambda: bucket.server.at(faults.endpoint).client(token="session-token")
    )
    archive = make_archive(tmp_path, b"x" * (PART + 1))
    faults.fail(Answer(status, code), "PUT", "partNumber=2")
    with pytest.raises(error, match=expected) as raised:
        destination.publish(archive, replace=False)
    message = _one_line(raised.value, without=("session-token", "test:tester"))
    assert code in message or code == "NoSuchBucket"
    assert bucket.name in message
    assert str(archive.path) in message
    assert bucket.listing() == []
    assert bucket.unfinished() == []

    faults.fail(Answer(status, code), "GET")
    with pytest.raises(error, match=expected) as raised:
        destination.check()
    _one_line(raised.value, without=("session-token", "test:tester"))


def test_a_denied_write_is_told_before_any_work(bucket: Bucket, faults: Proxy) -> None:
    faults.fail(Answer(403, "AccessDenied"), "POST", "uploads")

    with pytest.raises(ConfigurationError, match="denies access"):
        bucket.destination(bucket.server.at(faults.endpoint).client).check()


def test_no_server_at_the_endpoint_is_told_before_any_work() -> None:
    server = S3Server(f"http://127.0.0.1:{free_port()}", "key", "secret")

    with pytest.raises(TemporaryError, match=r"did not answer.*endpoint_url") as raised:
        Bucket(server, "bucket").destination().check()

    assert server.endpoint in _one_line(raised.value, without=("secret",))


def test_a_server_that_is_not_s3_is_told_before_any_work(faults: Proxy) -> None:
    faults.fail(Answer(404, ""), "GET")
    server = S3Server(faults.endpoint, "key", "secret")

    with pytest.raises(PublishError, match="expected an S3 server"):
        Bucket(server, "bucket").destination().check()


def test_missing_credentials_are_told_before_any_work(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    import boto3

    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    session = boto3.Session(region_name="us-east-1")
    destination = bucket.destination(
        lambda: session.client("s3", endpoint_url=bucket.server.endpoint), s3_connection="my_s3"
    )

    with pytest.raises(ConfigurationError, match=r"no complete credentials.*AIRFLOW_CONN_MY_S3"):
        destination.check()


def test_a_connection_that_makes_no_client_is_told_before_any_work(bucket: Bucket) -> None:
    def no_credentials() -> None:
        raise NoCredentialsError

    for make in (no_credentials, S3Server("not an endpoint", "key", "secret").client):
        with pytest.raises(ConfigurationError, match="AIRFLOW_CONN_AWS_DEFAULT"):
            bucket.destination(make).check()  # type: ignore[arg-type]


def test_a_bucket_name_that_cannot_be_is_told_before_any_work(bucket: Bucket) -> None:
    with pytest.raises(ConfigurationError, match="correct bucket 'a bucket'"):
        Bucket(bucket.server, "a bucket").destination().check()

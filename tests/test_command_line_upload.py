"""The command line uploads to S3: what it prints, where, and what it says when it cannot."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import psycopg
import pytest

from demo import postgres
from tests.command_line import SECRET, WEEK, Run, Runner, assert_failed, names
from tests.publish.helpers import Bucket
from tests.servers.processes import free_port
from tests.servers.s3 import S3Server

NAME = "engagement_2025-12-29_to_2026-01-04.zip"
KEY = f"reports/engagement-reports/on-demand/json/{NAME}"


def connection(server: S3Server, secret: str | None = None, endpoint: str | None = None) -> str:
    """The server as the Airflow connection that the command line reads."""
    return json.dumps(
        {
            "conn_type": "aws",
            "login": server.access_key,
            "password": secret or server.secret_key,
            "extra": {
                "region_name": "us-east-1",
                "endpoint_url": endpoint or server.endpoint,
                "config_kwargs": {
                    "s3": {"addressing_style": "path"},
                    "retries": {"total_max_attempts": 1},
                },
            },
        }
    )


@pytest.fixture
def upload(engagement: Runner) -> Callable[..., Run]:
    """Runs `report --upload-s3` for the week, to `reports` in a bucket."""

    def run(bucket: Bucket, *options: str, **variables: str) -> Run:
        settings = {
            "ENGAGEMENT_DESTINATION": f"s3://{bucket.name}/reports",
            "AIRFLOW_CONN_AWS_DEFAULT": connection(bucket.server),
        }
        return engagement(*WEEK, "--upload-s3", *options, **settings | variables)

    return run


def printed(run: Run) -> list[str]:
    """The lines on standard output of a run that did all it should."""
    assert run.code == 0, run.err
    assert "Traceback" not in run.err
    return run.out.decode().splitlines()


def revision(bucket: Bucket, key: str = KEY) -> str:
    head = bucket.server.client().head_object(Bucket=bucket.name, Key=key)
    return head["Metadata"]["revision"]


def told(run: Run) -> str:
    """What the log says became of the archive."""
    found = re.search(r"^publish: \S+, (revision \d+, \w+), ", run.err, re.MULTILINE)
    assert found is not None, run.err
    return found[1]


def test_urls_and_archive(bucket: Bucket, upload: Callable[..., Run], tmp_path: Path) -> None:
    """Swift checks the signatures; without one, the first URL opens nothing."""
    output = tmp_path / "output"
    run = upload(bucket, "--zip", "--presign", "--output-dir", str(output))
    url, presigned = printed(run)
    assert told(run) == "revision 1, new"
    assert names(output) == {NAME}
    assert set(bucket.listing()) == {KEY, KEY.replace(NAME, "latest.json")}

    assert url == f"{bucket.server.endpoint}/{bucket.name}/{KEY}"
    assert httpx.get(url, trust_env=False).is_client_error
    assert presigned.partition("?")[0] == url
    answer = httpx.get(presigned, trust_env=False)
    assert answer.status_code == 200
    assert answer.content == (output / NAME).read_bytes()
    assert answer.headers["Content-Type"] == "application/zip"

    query = urlsplit(presigned).query
    assert "X-Amz-Signature=" in query
    assert "X-Amz-Expires=3600" in query
    assert "X-Amz-" not in run.err
    assert bucket.server.secret_key not in run.err


def test_stdout_is_the_report_alone(moto_bucket: Bucket, upload: Callable[..., Run]) -> None:
    """The URLs are on standard error then, and the presigned one is nowhere in the log's lines."""
    run = upload(moto_bucket, "--stdout", "--presign")
    assert run.code == 0, run.err
    content = json.loads(run.out)
    assert content["range"] == {"start": WEEK[1], "end": WEEK[3]}
    assert len(content["new_users_over_time"]) == 7
    url = f"{moto_bucket.server.endpoint}/{moto_bucket.name}/{KEY}"
    assert next(line for line in run.lines if line.startswith("http")) == url
    assert KEY in moto_bucket.listing()


def test_the_same_again_and_what_changed(
    database_server: postgres.Server,
    golden_uri: str,
    moto_bucket: Bucket,
    upload: Callable[..., Run],
    engagement: Runner,
) -> None:
    """Unchanged content keeps its revision; fewer activities come with --replace alone."""
    with psycopg.connect(database_server.uri("postgres"), autocommit=True) as connection_:
        connection_.execute("create database purged template golden")
    purged = database_server.uri("purged")
    with psycopg.connect(purged) as connection_:
        connection_.execute(
            "delete from events_useractivityfeed where id = (select max(id) from "
            "events_useractivityfeed where created_at >= '2025-12-29' and "
            "created_at < '2026-01-05')"
        )
    first, again = upload(moto_bucket), upload(moto_bucket)
    assert (told(first), told(again)) == ("revision 1, new", "revision 1, unchanged")
    assert printed(first) == printed(again)
    assert revision(moto_bucket) == "1"
    published = moto_bucket.read(KEY)

    refused = upload(moto_bucket, uri=purged)
    assert (refused.code, refused.out) == (1, b"")
    last = refused.lines[-1]
    assert "activities" in last
    assert "replace" in last
    kept = re.search(r"; the finished archive is kept at (\S+)$", last)
    assert kept is not None
    assert Path(kept[1]).name == NAME
    assert Path(kept[1]).exists()
    assert moto_bucket.read(KEY) == published

    assert told(upload(moto_bucket, "--replace", uri=purged)) == "revision 2, new"
    assert revision(moto_bucket) == "2"
    assert moto_bucket.read(KEY) != published
    database_server.drop_database("purged")


def test_another_prefix_and_a_shorter_time(
    moto_bucket: Bucket, upload: Callable[..., Run], tmp_path: Path
) -> None:
    """Without --zip the files are written, and the archive is on S3 alone."""
    output = tmp_path / "output"
    options = ("--s3-prefix", "for them/alone", "--presign", "--output-dir", str(output))
    run = upload(moto_bucket, *options, ENGAGEMENT_S3_PRESIGN_SECONDS="77")
    key = KEY.replace("engagement-reports", "for them/alone")
    url, presigned = printed(run)
    assert url.endswith(key.replace(" ", "%20"))
    assert "X-Amz-Expires=77" in presigned
    assert key in moto_bucket.listing()
    assert revision(moto_bucket, key) == "1"
    assert "README.md" in names(output)
    assert NAME not in names(output)


def assert_failed_before_work(run: Run, *words: str) -> None:
    assert_failed(run, 1, *words)
    assert len(run.err.splitlines()) == 1


def test_a_wrong_secret(bucket: Bucket, upload: Callable[..., Run]) -> None:
    run = upload(bucket, AIRFLOW_CONN_AWS_DEFAULT=connection(bucket.server, secret=SECRET))
    assert_failed_before_work(run, "credentials", "SignatureDoesNotMatch", "aws_default")
    assert SECRET not in run.err


@pytest.mark.parametrize("kind", ["bucket", "moto_bucket"])
def test_a_missing_bucket(
    kind: str, request: pytest.FixtureRequest, upload: Callable[..., Run]
) -> None:
    bucket: Bucket = request.getfixturevalue(kind)
    run = upload(bucket, ENGAGEMENT_DESTINATION="s3://no-such-bucket/reports")
    assert_failed_before_work(run, "'no-such-bucket'", "create it", "ENGAGEMENT_DESTINATION")
    assert bucket.server.secret_key not in run.err


def test_an_unreachable_endpoint(moto_bucket: Bucket, upload: Callable[..., Run]) -> None:
    endpoint = f"http://127.0.0.1:{free_port()}"
    there = connection(moto_bucket.server, secret=SECRET, endpoint=endpoint)
    run = upload(moto_bucket, AIRFLOW_CONN_AWS_DEFAULT=there)
    assert_failed_before_work(run, endpoint, "did not answer", "endpoint_url", "aws_default")
    assert SECRET not in run.err


def test_no_credentials(moto_bucket: Bucket, upload: Callable[..., Run]) -> None:
    """Without the variable there is no connection, and nothing to sign with."""
    there = json.dumps({"conn_type": "aws", "extra": {"endpoint_url": moto_bucket.server.endpoint}})
    variables = {"AWS_EC2_METADATA_DISABLED": "true"}
    run = upload(moto_bucket, AIRFLOW_CONN_AWS_DEFAULT=there, **variables)
    assert_failed_before_work(run, "credentials", "aws_default")

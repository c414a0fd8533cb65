"""The command line uploads to S3: what it prints, where, and what it says when it cannot."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import psycopg
import pytest

from demo import postgres
from tests.command_line import SECRET, WEEK, Run, Runner, assert_failed, names, runner
from tests.conftest import new_bucket
from tests.publish.helpers import Bucket
from tests.servers.processes import free_port
from tests.servers.s3 import S3Server

NAME = "engagement_2025-12-29_to_2026-01-04.zip"
PREFIX = "for them/alone"
KEY = f"reports/{PREFIX}/on-demand/json/{NAME}"
URL = "{bucket.server.endpoint}/{bucket.name}/" + KEY.replace(" ", "%20")


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


Upload = Callable[..., Run]


def uploading(engagement: Runner) -> Upload:
    """Runs `report --upload-s3` for the week, to `reports` in a bucket."""

    def run(bucket: Bucket, *options: str, **variables: str) -> Run:
        settings = {
            "ENGAGEMENT_DESTINATION": f"s3://{bucket.name}/reports",
            "AIRFLOW_CONN_AWS_DEFAULT": connection(bucket.server),
        }
        return engagement(*WEEK, "--upload-s3", *options, **settings | variables)

    return run


@pytest.fixture
def upload(engagement: Runner) -> Upload:
    return uploading(engagement)


@dataclass(frozen=True, slots=True)
class Uploads:
    """A report uploaded, uploaded again, refused once it has fewer activities, and replaced."""

    bucket: Bucket
    zipped: Path
    files: Path
    first: Run
    again: Run
    unchanged: bytes
    refused: Run
    kept: bytes
    replaced: Run


@pytest.fixture(scope="module")
def uploads(
    database_server: postgres.Server,
    golden_uri: str,
    swift_server: S3Server,
    tmp_path_factory: pytest.TempPathFactory,
) -> Uploads:
    """Each run pays for the imports of the checks and of S3, so that four of them tell it all."""
    purged = database_server.copy_database("golden", "purged")
    with psycopg.connect(purged) as connection_:
        connection_.execute(
            "delete from events_useractivityfeed where id = (select max(id) from "
            "events_useractivityfeed where created_at >= '2025-12-29' and "
            "created_at < '2026-01-05')"
        )
    home = tmp_path_factory.mktemp("uploads")
    bucket, upload = new_bucket(swift_server), uploading(runner(home, golden_uri))
    zipped, files = home / "zipped", home / "files"
    to_prefix = ("--s3-prefix", PREFIX)
    as_zip = ("--zip", "--output-dir", str(zipped), "--presign")
    first = upload(bucket, *to_prefix, *as_zip, ENGAGEMENT_S3_PRESIGN_SECONDS="4321")
    again = upload(bucket, *to_prefix, "--stdout", "--presign")
    unchanged = bucket.read(KEY)
    refused = upload(bucket, *to_prefix, uri=purged)
    kept = bucket.read(KEY)
    replaced = upload(bucket, *to_prefix, "--replace", "--output-dir", str(files), uri=purged)
    database_server.drop_database("purged")
    return Uploads(bucket, zipped, files, first, again, unchanged, refused, kept, replaced)


def printed(run: Run) -> list[str]:
    """The lines on standard output of a run that did all it should."""
    assert run.code == 0, run.err
    assert "Traceback" not in run.err
    return run.out.decode().splitlines()


def told(run: Run) -> str:
    """What the log says became of the archive."""
    found = re.search(r"^publish: .+, (revision \d+, \w+), ", run.err, re.MULTILINE)
    assert found is not None, run.err
    return found[1]


def test_urls_and_archive(uploads: Uploads) -> None:
    """Swift checks the signatures; without one, the first URL opens nothing."""
    bucket, run = uploads.bucket, uploads.first
    url, presigned = printed(run)
    assert told(run) == "revision 1, new"
    assert set(bucket.listing()) == {KEY, KEY.replace(NAME, "latest.json")}

    assert url == URL.format(bucket=bucket)
    assert httpx.get(url, trust_env=False).is_client_error
    assert presigned.partition("?")[0] == url
    answer = httpx.get(presigned, trust_env=False)
    assert answer.headers["Content-Type"] == "application/zip"

    query = urlsplit(presigned).query
    assert "X-Amz-Signature=" in query
    assert "X-Amz-Expires=4321" in query
    assert "X-Amz-" not in run.err
    assert bucket.server.secret_key not in run.err


def test_the_archive_is_written_with_zip_and_the_files_without(uploads: Uploads) -> None:
    assert printed(uploads.replaced) == [URL.format(bucket=uploads.bucket)]
    assert names(uploads.zipped) == {NAME}
    assert (uploads.zipped / NAME).read_bytes() == uploads.unchanged == uploads.kept
    assert {"README.md", "user_activity_timeline.json"} < names(uploads.files)
    assert NAME not in names(uploads.files)


def test_stdout_is_the_report_alone(uploads: Uploads) -> None:
    """The URLs are on standard error then, and the presigned one is nowhere in the log's lines."""
    run = uploads.again
    assert run.code == 0, run.err
    content = json.loads(run.out)
    assert content["range"] == {"start": WEEK[1], "end": WEEK[3]}
    assert len(content["new_users_over_time"]) == 7
    url = next(line for line in run.lines if line.startswith("http"))
    assert url == URL.format(bucket=uploads.bucket)
    assert "X-Amz-Expires=3600" in run.err


def test_the_same_again_and_what_changed(uploads: Uploads) -> None:
    """Unchanged content keeps its revision; fewer activities come with --replace alone."""
    assert told(uploads.again) == "revision 1, unchanged"
    refused = uploads.refused
    assert (refused.code, refused.out) == (1, b"")
    last = refused.lines[-1]
    assert "activities" in last
    assert "replace" in last
    kept = re.search(r"; the finished archive is kept at (.+)$", last)
    assert kept is not None
    assert Path(kept[1]).name == NAME
    assert Path(kept[1]).exists()

    assert told(uploads.replaced) == "revision 2, new"
    client = uploads.bucket.server.client()
    head = client.head_object(Bucket=uploads.bucket.name, Key=KEY)
    assert head["Metadata"]["revision"] == "2"
    assert uploads.bucket.read(KEY) != uploads.kept


def assert_failed_before_work(run: Run, *words: str) -> None:
    assert_failed(run, 1, *words)
    assert len(run.err.splitlines()) == 1


def test_a_wrong_secret(bucket: Bucket, upload: Upload) -> None:
    run = upload(bucket, AIRFLOW_CONN_AWS_DEFAULT=connection(bucket.server, secret=SECRET))
    assert_failed_before_work(run, "credentials", "SignatureDoesNotMatch", "aws_default")
    assert SECRET not in run.err


@pytest.mark.parametrize("kind", ["bucket", "moto_bucket"])
def test_a_missing_bucket(kind: str, request: pytest.FixtureRequest, upload: Upload) -> None:
    bucket: Bucket = request.getfixturevalue(kind)
    run = upload(bucket, ENGAGEMENT_DESTINATION="s3://no-such-bucket/reports")
    assert_failed_before_work(run, "'no-such-bucket'", "create it", "ENGAGEMENT_DESTINATION")
    assert bucket.server.secret_key not in run.err


def test_an_unreachable_endpoint(moto_bucket: Bucket, upload: Upload) -> None:
    endpoint = f"http://127.0.0.1:{free_port()}"
    there = connection(moto_bucket.server, secret=SECRET, endpoint=endpoint)
    run = upload(moto_bucket, AIRFLOW_CONN_AWS_DEFAULT=there)
    assert_failed_before_work(run, endpoint, "did not answer", "endpoint_url", "aws_default")
    assert SECRET not in run.err


def test_no_credentials(moto_bucket: Bucket, upload: Upload) -> None:
    """Without the variable there is no connection, and nothing to sign with."""
    there = json.dumps({"conn_type": "aws", "extra": {"endpoint_url": moto_bucket.server.endpoint}})
    variables = {"AWS_EC2_METADATA_DISABLED": "true"}
    run = upload(moto_bucket, AIRFLOW_CONN_AWS_DEFAULT=there, **variables)
    assert_failed_before_work(run, "credentials", "aws_default")

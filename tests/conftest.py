"""What the tests share: the golden database and its reports, servers and buckets."""

from __future__ import annotations

import json
import os
import signal
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from xdist.scheduler import LoadFileScheduling

from demo import app_tables, postgres
from engagement.app_database import Address
from engagement.period import Period
from engagement.settings import Settings
from tests.command_line import Runner, caller, runner
from tests.fasts import App
from tests.publish.helpers import Bucket
from tests.servers.airflow_api import Server, airflow_api
from tests.servers.faults import Proxy, proxy
from tests.servers.moto import moto
from tests.servers.s3 import S3Server
from tests.servers.swift import swift

GOLDEN = Path(__file__).parent / "golden"
API_NOW = datetime(2026, 1, 5, 12, 34, 56, 789012, tzinfo=UTC)
"""What the API takes for the instant of every request."""
# Files that share a server which takes its time to start, by the server.
_SHARED = {
    "tests/test_api.py": "api_server",
    "tests/test_view.py": "api_server",
    "tests/publish/test_catalog.py": "swift",
    "tests/publish/test_publish_failures.py": "swift",
    "tests/publish/test_publish_latest.py": "swift",
    "tests/publish/test_publish_s3.py": "swift",
    "tests/test_command_line_upload.py": "swift",
}
# What takes longest comes first: begun last, it would keep one process while others idle.
_LONGEST_FIRST = (
    "tests/test_end_to_end.py",
    *_SHARED,
    "tests/test_canary.py",
    "tests/test_command_line.py",
    "tests/test_quality.py",
    "tests/test_page.py",
    "tests/test_spells.py",
    "tests/test_staging.py",
    "tests/test_golden.py",
    "tests/test_archive.py",
    "tests/test_period.py",
)


class _Files(LoadFileScheduling):  # type: ignore[misc]
    """Each file in one process, and those that share a server in the same one."""

    def _split_scope(self, nodeid: str) -> str:
        file = str(super()._split_scope(nodeid))
        return _SHARED.get(file, file)


def pytest_xdist_auto_num_workers() -> int:
    """One more than there are cores: with servers and browsers, tests wait as much as they work."""
    mine = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return (mine or 1) + 1


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadFileScheduling:
    """What decides which process runs which tests."""
    return _Files(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The order of files in which they are handed out."""
    places = {file: place for place, file in enumerate(_LONGEST_FIRST)}
    items.sort(key=lambda item: places.get(item.nodeid.partition("::")[0], len(places)))


@dataclass(frozen=True, slots=True)
class Golden:
    """A period and the consolidated report that the golden database gives for it."""

    name: str
    period: Period
    report: dict[str, Any]


def read_golden(path: Path) -> Golden:
    start, end, timezone = path.stem.split("_", 2)
    period = Period.parse(start, end, timezone.replace("-", "/"))
    return Golden(path.stem, period, json.loads(path.read_text(encoding="utf-8")))


GOLDEN_REPORTS = [read_golden(path) for path in sorted((GOLDEN / "expected").glob("*.json"))]


@pytest.fixture(scope="session", autouse=True)
def interruptible() -> None:
    """Ctrl-C reaches what the tests start, even where a shell runs them in its background."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session", params=GOLDEN_REPORTS, ids=lambda golden: golden.name)
def golden(request: pytest.FixtureRequest) -> Golden:
    found: Golden = request.param
    return found


@pytest.fixture(scope="session")
def database_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[postgres.Server]:
    with postgres.server(tmp_path_factory.mktemp("postgres")) as server:
        yield server


@pytest.fixture(scope="session")
def golden_uri(database_server: postgres.Server) -> str:
    uri = database_server.create_database("golden")
    app_tables.apply_schema(uri)
    app_tables.load_csv_folder(uri, GOLDEN / "appdb")
    return uri


@pytest.fixture(scope="session")
def golden_address(golden_uri: str) -> Address:
    return Address.parse(golden_uri)


@pytest.fixture(scope="session")
def empty_uri(database_server: postgres.Server) -> str:
    uri = database_server.create_database("empty")
    app_tables.apply_schema(uri)
    return uri


@pytest.fixture(scope="module")
def module_app(request: pytest.FixtureRequest, database_server: postgres.Server) -> Iterator[App]:
    """An app without anything in it, of the test file's own."""
    name = request.module.__name__.rpartition(".")[2]
    with App.made(database_server.create_database(name)) as app:
        yield app


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(destination=str(tmp_path / "reports"), staging=str(tmp_path / "staging"))


@pytest.fixture
def engagement(tmp_path: Path, golden_uri: str) -> Runner:
    """Runs `python -m engagement report` on the golden database, with nothing else set."""
    return runner(tmp_path, golden_uri)


@pytest.fixture
def called(tmp_path: Path, golden_uri: str, capfd: pytest.CaptureFixture[str]) -> Runner:
    """The same in this process, where that makes no difference."""
    return caller(tmp_path, golden_uri, capfd)


def new_bucket(server: S3Server) -> Bucket:
    """An empty bucket."""
    name = f"reports-{uuid.uuid4().hex[:12]}"
    server.client().create_bucket(Bucket=name)
    return Bucket(server, name)


@pytest.fixture(scope="session")
def swift_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """Swift, which verifies signatures and checksums."""
    with swift(tmp_path_factory.mktemp("swift")) as server:
        yield server


@pytest.fixture(scope="session")
def moto_server() -> Iterator[S3Server]:
    """moto, which has If-Match."""
    with moto() as server:
        yield server


@pytest.fixture
def bucket(swift_server: S3Server) -> Bucket:
    """An empty bucket on Swift."""
    return new_bucket(swift_server)


@pytest.fixture
def moto_bucket(moto_server: S3Server) -> Bucket:
    """An empty bucket on moto."""
    return new_bucket(moto_server)


@pytest.fixture
def faults(swift_server: S3Server) -> Iterator[Proxy]:
    """A proxy before Swift."""
    with proxy(swift_server.endpoint) as running:
        yield running


@pytest.fixture
def moto_faults(moto_server: S3Server) -> Iterator[Proxy]:
    """A proxy before moto."""
    with proxy(moto_server.endpoint) as running:
        yield running


@pytest.fixture(scope="session")
def shown_bucket(moto_server: S3Server) -> Bucket:
    """The bucket whose reports `api_server` shows."""
    return new_bucket(moto_server)


@pytest.fixture(scope="session")
def api_server(shown_bucket: Bucket, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Airflow's API server with the project's plugin, and with no connection.

    It is for the files that run in one process: for any other one, another would be started.
    """
    environment = {
        "ENGAGEMENT_CONNECT_TIMEOUT_SECONDS": "2",
        "ENGAGEMENT_DESTINATION": f"s3://{shown_bucket.name}/base",
        # Before there is a connection, the library would look for a login on the network.
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    with airflow_api(tmp_path_factory.mktemp("api-server"), API_NOW, environment) as server:
        yield server

"""Servers and buckets."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import pytest

from tests.publish.helpers import Bucket
from tests.servers.faults import Proxy, proxy
from tests.servers.moto import moto
from tests.servers.s3 import S3Server
from tests.servers.swift import swift


def _bucket(server: S3Server) -> Bucket:
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
    return _bucket(swift_server)


@pytest.fixture
def moto_bucket(moto_server: S3Server) -> Bucket:
    """An empty bucket on moto."""
    return _bucket(moto_server)


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

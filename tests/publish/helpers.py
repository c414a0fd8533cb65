"""Archives to publish, and destinations to publish them to."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engagement.destinations import open_destination
from engagement.period import Period
from engagement.publish import Archive, Destination
from engagement.settings import Settings
from tests.servers.s3 import S3Server

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


def settings(destination: str | Path, **others: Any) -> Settings:
    """Settings of which no environment variable is part."""
    return Settings.model_validate({"destination": str(destination), **others})


def make_archive(
    folder: Path,
    content: bytes = b"an archive",
    *,
    start: str = "2026-01-01",
    end: str = "2026-01-31",
    activities: int = 100,
    cadence: str = "monthly",
    run: str | None = "scheduled__2026-02-01T00:00:00+00:00",
    data_quality: str = "passed",
) -> Archive:
    """An archive with `content` on the local disk."""
    sha256 = hashlib.sha256(content).hexdigest()
    path = folder / f"{sha256}.zip"
    path.write_bytes(content)
    return Archive(
        path=path,
        period=Period.parse(start, end, "America/Los_Angeles"),
        cadence=cadence,
        format="json",
        sha256=sha256,
        bytes=len(content),
        rows={"new_users_over_time": 31, "user_activity_timeline": activities},
        snapshot_at="2026-02-01T08:15:00Z",
        run=run,
        code_version="1.2.3",
        data_quality=data_quality,
    )


def no_s3() -> S3Client:
    """In place of a client where none may be asked for."""
    raise AssertionError("an S3 client was asked for")


@dataclass(frozen=True, slots=True)
class Bucket:
    """An empty bucket of its own for each test."""

    server: S3Server
    name: str

    def destination(
        self,
        client: Callable[[], S3Client] | None = None,
        prefix: str | None = None,
        base: str = "base/",
        **others: Any,
    ) -> Destination:
        """The destination `base` of the bucket."""
        return open_destination(
            settings(f"s3://{self.name}/{base}", **others), prefix, client or self.server.client
        )

    def listing(self) -> list[str]:
        """Every key of the bucket."""
        listed = self.server.client().list_objects_v2(Bucket=self.name)
        return [found["Key"] for found in listed.get("Contents", [])]

    def read(self, key: str) -> bytes:
        """The content of the object `key`."""
        return self.server.client().get_object(Bucket=self.name, Key=key)["Body"].read()

    def unfinished(self) -> list[str]:
        """The keys of uploads that were begun and neither completed nor aborted."""
        listed = self.server.client().list_multipart_uploads(Bucket=self.name)
        return [found["Key"] for found in listed.get("Uploads", [])]


def folder_destination(base: Path, prefix: str | None = None) -> Destination:
    """The destination in the folder `base`."""
    return open_destination(settings(base), prefix, no_s3)


class Between:
    """Runs another publisher in the middle of one: before its first request of a kind."""

    def __init__(self, bucket: Bucket, operation: str, other: Callable[[], object]) -> None:
        self.client = bucket.server.client()
        self.pending = [other]
        self.client.meta.events.register(f"before-call.s3.{operation}", self._run)

    def _run(self, **_: object) -> None:
        if self.pending:
            self.pending.pop()()

"""Publishing finished archives: what is published, where, and what may replace what.

An archive is published as `<base>/<prefix><cadence>/<format>/engagement_<start>_to_<end>.zip`, and
`latest.json` beside it tells of the newest one. What is told of a published archive (its `Record`)
stands in the object's metadata, or for a folder in `<archive>.json`.

Readers see a whole archive or none. The archive is written first and `latest.json` after it, so
that publishing again completes what was cut off between the two.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Protocol

from engagement.errors import EngagementError, PublishError
from engagement.period import Period
from engagement.published_record import Record

LATEST = "latest.json"


_ARCHIVE_NAME = re.compile(r"engagement_(\d{4}-\d{2}-\d{2})_to_(\d{4}-\d{2}-\d{2})\.zip", re.ASCII)


def archive_name(period: Period) -> str:
    """The file name of the archive of a period."""
    return f"engagement_{period.label}.zip"


def archive_dates(name: str) -> tuple[date, date] | None:
    """The first and last day that an archive's file name tells; None where it is no such name."""
    matched = _ARCHIVE_NAME.fullmatch(name)
    if not matched:
        return None
    try:
        first, last = map(date.fromisoformat, matched.groups())
    except ValueError:
        return None
    return (first, last) if first <= last else None


@dataclass(frozen=True, slots=True)
class Archive:
    """A finished archive on the local disk, with the facts of how it was made."""

    path: Path
    period: Period
    cadence: str
    format: str
    sha256: str
    bytes: int
    rows: Mapping[str, int]
    snapshot_at: str
    run: str | None
    code_version: str
    data_quality: str

    @property
    def folder(self) -> str:
        """Where the archive belongs under the destination's prefix."""
        return f"{self.cadence}/{self.format}/"

    @property
    def name(self) -> str:
        """The file name under which the archive is published."""
        return archive_name(self.period)


@dataclass(frozen=True, slots=True)
class Published:
    """Where an archive is published; neither `address` nor `url` opens it without rights."""

    address: str
    url: str
    key: str
    sha256: str
    bytes: int
    rows: Mapping[str, int]
    revision: int
    changed: bool
    latest_moved: bool
    data_quality: str | None


class Destination(Protocol):
    """A place where archives are published."""

    def check(self) -> None:
        """Raise ConfigurationError or TemporaryError where publishing could not succeed."""

    def publish(self, archive: Archive, *, replace: bool) -> Published:
        """Publish `archive`; with `replace` also over content that has more activities."""

    def put_document(self, name: str, content: bytes) -> str:
        """Put a small JSON document under the prefix in place of any before; returns its address.

        A reader sees the one or the other, whole.
        """

    def presign(self, published: Published, seconds: int) -> str:
        """A URL that opens the archive to whoever holds it, for `seconds`."""


@dataclass(frozen=True, slots=True)
class Stored:
    """What stands under an archive's key: `record` is None where publishing did not put it."""

    record: Record | None
    sha256: str | None = None
    etag: str = ""


def next_record(
    archive: Archive,
    key: str,
    stored: Stored | None,
    earlier: Iterable[Record | None],
    replace: bool,
) -> Record:
    """What is to stand under `key`: the record that stands there already if `archive` is the same.

    `earlier` are further records that readers may have seen, whose revision must not come again.
    Raises PublishError where `archive` must not replace what is stored.
    """
    published = stored.record if stored else None
    if published is not None and published.sha256 == archive.sha256:
        return published
    revisions = [r.revision for r in (published, *earlier) if r is not None and r.key == key]
    record = Record(
        archive.period,
        key,
        archive.sha256,
        archive.bytes,
        dict(archive.rows),
        max(revisions, default=0) + 1,
        archive.snapshot_at,
        archive.run,
        archive.code_version,
        archive.data_quality,
    )
    if stored is None or replace:
        return record
    if published is None and stored.sha256 != archive.sha256:
        raise PublishError(
            f"{key} is there already and was not published by this pipeline, or was changed "
            "since: move it away, or publish with the parameter replace"
        )
    if published is not None and record.activities < published.activities:
        raise PublishError(
            f"{key} is published with {published.activities} activities, this archive has only "
            f"{record.activities}: the app deletes old activities, so the published archive is "
            "kept; to replace it, publish with the parameter replace"
        )
    return record


def outcome(
    record: Record, address: str, url: str, *, changed: bool, latest_moved: bool
) -> Published:
    """What publishing came to."""
    return Published(
        address,
        url,
        record.key,
        record.sha256,
        record.bytes,
        record.rows,
        record.revision,
        changed,
        latest_moved,
        record.data_quality,
    )


@contextmanager
def naming_kept_archive(archive: Archive) -> Iterator[None]:
    """Add to every failure where the finished archive still is."""
    try:
        yield
    except EngagementError as error:
        raise type(error)(f"{error}; the finished archive is kept at {archive.path}") from None


def read_blocks(archive: Archive, size: int) -> Iterator[bytes]:
    """The archive in blocks of `size` bytes; raises PublishError unless it is what it should be.

    The last block comes only after the whole content has been compared with its checksum.
    """
    digest = hashlib.sha256()
    try:
        with archive.path.open("rb") as file:
            block = file.read(size)
            while following := file.read(size):
                digest.update(block)
                yield block
                block = following
    except OSError as error:
        raise PublishError(
            f"the finished archive {archive.path} cannot be read ({error.strerror}): run the "
            "report again"
        ) from None
    digest.update(block)
    if digest.hexdigest() != archive.sha256:
        raise PublishError(
            f"the finished archive {archive.path} has changed since it was written: run the "
            "report again"
        )
    yield block

"""What is published under a prefix of the destination, for readers.

Listing opens no archive and no record: a name tells its period. Records and members are read only
of the archives that are looked at.
"""

from __future__ import annotations

import errno
import io
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Protocol, cast

from engagement.datasets import Format
from engagement.errors import ConfigurationError, PublishError, TemporaryError
from engagement.period import Cadence
from engagement.publish import archive_dates
from engagement.published_record import Record, from_json, from_metadata
from engagement.s3_errors import CHANGED, MISSING, error_code

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

    from engagement.s3_bucket import S3Bucket

BLOCK_BYTES = 1 << 18
"""How much of an archive is read at once."""

_REQUESTS_AT_ONCE = 8


@dataclass(frozen=True, slots=True)
class Entry:
    """One published archive, by what its key tells."""

    cadence: Cadence
    format: Format
    name: str
    start: date
    end: date

    @classmethod
    def parse(cls, cadence: str, file_format: str, name: str) -> Entry | None:
        """The archive of that name; None where nothing could be published as such."""
        dates = archive_dates(name)
        if cadence not in {*Cadence} or file_format not in {*Format} or dates is None:
            return None
        return cls(Cadence(cadence), Format(file_format), name, *dates)

    @classmethod
    def of_key(cls, key: str, prefix: str) -> Entry | None:
        """The archive with that key under `prefix`; None where it is elsewhere, or none."""
        parts = key.removeprefix(prefix).split("/")
        return cls.parse(*parts) if key.startswith(prefix) and len(parts) == 3 else None

    @property
    def key(self) -> str:
        """Where it stands under the prefix."""
        return f"{self.cadence}/{self.format}/{self.name}"

    @property
    def order(self) -> tuple[date, date, str]:
        """What decides which of two is the newer one."""
        return self.end, self.start, self.format


class Catalog(Protocol):
    """The archives published under a prefix.

    Every method raises ConfigurationError, TemporaryError or PublishError where the destination
    cannot be read.
    """

    @property
    def prefix(self) -> str:
        """The prefix under the destination."""

    def entries(self, cadence: Cadence, file_format: Format | None = None) -> list[Entry]:
        """Every archive of a cadence in one format, or in any, the newest period first."""

    def records(self, entries: Sequence[Entry]) -> list[Record | None]:
        """What is told of each; None where that is missing or damaged."""

    def open(self, entry: Entry) -> BinaryIO:
        """The archive, to be read and closed; raises FileNotFoundError where it is gone.

        It can be sought in: no more is fetched than is read. It stays the same one, or reading
        raises TemporaryError.
        """


def all_entries(
    catalog: Catalog, cadences: Sequence[Cadence], file_format: Format | None = None
) -> dict[Cadence, list[Entry]]:
    """Every archive of the cadences in one format, or in any, the newest period first."""
    with ThreadPoolExecutor(_REQUESTS_AT_ONCE) as pool:
        found = pool.map(lambda cadence: catalog.entries(cadence, file_format), cadences)
        return dict(zip(cadences, found, strict=True))


def _newest_first(entries: list[Entry]) -> list[Entry]:
    return sorted(entries, key=lambda entry: entry.order, reverse=True)


class FolderCatalog:
    """The archives in a folder."""

    def __init__(self, base: Path, prefix: str) -> None:
        self.base = base
        self.prefix = prefix

    def entries(self, cadence: Cadence, file_format: Format | None = None) -> list[Entry]:
        """Every archive of a cadence in one format, or in any, the newest period first."""
        formats = [file_format] if file_format else [*Format]
        found = (
            Entry.parse(cadence, one, name) for one in formats for name in self._names(cadence, one)
        )
        return _newest_first([entry for entry in found if entry])

    def _names(self, cadence: Cadence, file_format: Format) -> list[str]:
        with self._errors():
            try:
                return os.listdir(self.base / f"{self.prefix}{cadence}/{file_format}")  # noqa: PTH208  names are all that is wanted
            except FileNotFoundError:
                return []

    def records(self, entries: Sequence[Entry]) -> list[Record | None]:
        """What is told of each; None where that is missing or damaged."""
        return [self._record(entry) for entry in entries]

    def open(self, entry: Entry) -> BinaryIO:
        """The archive; whoever publishes replaces the file and leaves this one as it is."""
        with self._errors():
            return (self.base / (self.prefix + entry.key)).open("rb")

    def _record(self, entry: Entry) -> Record | None:
        path = self.base / f"{self.prefix}{entry.key}.json"
        try:
            with self._errors():
                return from_json(path.read_bytes(), str(path))
        except (FileNotFoundError, PublishError):
            return None

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError:
            raise
        except OSError as error:
            raise ConfigurationError(
                f"the destination {self.base} (ENGAGEMENT_DESTINATION) cannot be read "
                f"({error.strerror or type(error).__name__}): expected a folder that this user "
                "may read"
            ) from None


class S3Catalog:
    """The archives under a prefix of a bucket."""

    def __init__(self, bucket: S3Bucket, prefix: str) -> None:
        self.prefix = prefix
        self._bucket = bucket

    def entries(self, cadence: Cadence, file_format: Format | None = None) -> list[Entry]:
        """Every archive of a cadence in one format, or in any, the newest period first.

        A request a thousand: a listing for each format would take one for each that is not used.
        """
        folder = f"{self.prefix}{cadence}/{f'{file_format}/' if file_format else ''}"
        found: list[Entry] = []
        with self._bucket.errors.during(f"list s3://{self._bucket.name}/{folder}"):
            pages = self._bucket.client.get_paginator("list_objects_v2").paginate(
                Bucket=self._bucket.name, Prefix=folder
            )
            for page in pages:
                entries = (Entry.of_key(o["Key"], self.prefix) for o in page.get("Contents", []))
                found += (entry for entry in entries if entry)
        return _newest_first(found)

    def records(self, entries: Sequence[Entry]) -> list[Record | None]:
        """What is told of each; None where that is missing or damaged. A request each."""
        with ThreadPoolExecutor(_REQUESTS_AT_ONCE) as pool:
            return list(pool.map(self._record, entries))

    def open(self, entry: Entry) -> BinaryIO:
        """The archive, read in ranges; FileNotFoundError where it is gone."""
        key = self.prefix + entry.key
        head = self._bucket.head(key)
        if head is None:
            raise FileNotFoundError(key)
        reader = _Object(self._bucket, key, head["ContentLength"], head["ETag"])
        return cast("BinaryIO", io.BufferedReader(reader, BLOCK_BYTES))

    def _record(self, entry: Entry) -> Record | None:
        key = self.prefix + entry.key
        head = self._bucket.head(key)
        return head and from_metadata(head["Metadata"], key, head["ContentLength"])


class _Object(io.RawIOBase):
    """One object, read in ranges, as long as it is the one that it was when it was opened."""

    def __init__(self, bucket: S3Bucket, key: str, size: int, etag: str) -> None:
        self._bucket = bucket
        self._key = key
        self._size = size
        self._etag = etag
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._size}[whence]
        if base + offset < 0:
            # As a file of the disk does: who reads a zip expects it of one that is too short.
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        self._position = base + offset
        return self._position

    def readinto(self, buffer: WriteableBuffer) -> int:
        target = memoryview(buffer).cast("B")
        last = min(self._position + len(target), self._size) - 1
        if last < self._position:
            return 0
        data = self._range(self._position, last)
        target[: len(data)] = data
        self._position += len(data)
        return len(data)

    def _range(self, first: int, last: int) -> bytes:
        from botocore.exceptions import ClientError

        address = f"s3://{self._bucket.name}/{self._key}"
        with self._bucket.errors.during(f"read {address}"):
            try:
                found = self._bucket.client.get_object(
                    Bucket=self._bucket.name,
                    Key=self._key,
                    Range=f"bytes={first}-{last}",
                    IfMatch=self._etag,
                )
                with closing(found["Body"]) as body:
                    return body.read()
            except ClientError as error:
                if error_code(error) in CHANGED | MISSING:
                    raise TemporaryError(
                        f"{address} was replaced or removed while it was read: read it again"
                    ) from None
                raise

"""Publishing finished archives to an S3 prefix or to a folder.

An archive is published as `<base>/<prefix><cadence>/<format>/engagement_<start>_to_<end>.zip`, and
`latest.json` beside it tells of the newest one. What is told of a published archive (its `Record`)
stands in the object's metadata, or for a folder in `<archive>.json`.

Readers see a whole archive or none. The archive is written first and `latest.json` after it, so
that publishing again completes what was cut off between the two.
"""

from __future__ import annotations

import base64
import errno
import fcntl
import hashlib
import json
import logging
import os
import string
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import quote, unquote, urlsplit

from engagement.errors import (
    ConfigurationError,
    EngagementError,
    PublishError,
    TemporaryError,
    UsageError,
)
from engagement.period import Period
from engagement.settings import Settings, check_prefix

if TYPE_CHECKING:
    from botocore.exceptions import BotoCoreError, ClientError
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_s3.type_defs import CompletedPartTypeDef

log = logging.getLogger(__name__)

# A larger archive is uploaded in parts of this many bytes; S3 takes at most 10,000 parts.
PART_BYTES = 16 * 2**20
MAX_PARTS = 10_000
# How often one write begins again because another publisher came first.
ATTEMPTS = 20
LOCK_SECONDS = 300.0
# Keys have at most 1,024 bytes; what follows the prefix has fewer than 100.
MAX_PREFIX_BYTES = 900
MAX_PRESIGN_SECONDS = 604_800

LATEST = "latest.json"
_METADATA_SAFE = string.printable.strip().replace("%", "") + " "


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

    @property
    def folder(self) -> str:
        """Where the archive belongs under the destination's prefix."""
        return f"{self.cadence}/{self.format}/"

    @property
    def name(self) -> str:
        """The file name under which the archive is published."""
        return f"engagement_{self.period.label}.zip"


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


class Destination(Protocol):
    """A place where archives are published."""

    def check(self) -> None:
        """Raise ConfigurationError or TemporaryError where publishing could not succeed."""

    def publish(self, archive: Archive, *, replace: bool) -> Published:
        """Publish `archive`; with `replace` also over content that has more activities."""

    def presign(self, published: Published, seconds: int) -> str:
        """A URL that opens the archive to whoever holds it, for `seconds`."""


@dataclass(frozen=True, slots=True)
class Record:
    """The facts of a published archive."""

    period: Period
    key: str
    sha256: str
    bytes: int
    rows: Mapping[str, int]
    revision: int
    snapshot_at: str
    run: str | None
    code_version: str

    @property
    def activities(self) -> int:
        """The activities of the period; the app deletes old ones, so a later count is lower."""
        return self.rows["user_activity_timeline"]

    @property
    def order(self) -> tuple[Any, ...]:
        """What decides which of two records is the later one."""
        return self.period.end, self.period.start, self.revision


def _to_json(record: Record) -> bytes:
    """The record as the JSON document that stands beside the archives."""
    document = {
        "period": {
            "start": record.period.start.isoformat(),
            "end": record.period.end.isoformat(),
            "timezone": record.period.timezone,
        },
        "key": record.key,
        "sha256": record.sha256,
        "bytes": record.bytes,
        "rows": dict(record.rows),
        "revision": record.revision,
        "snapshot_at": record.snapshot_at,
        "run": record.run,
        "code_version": record.code_version,
    }
    return f"{json.dumps(document, ensure_ascii=False, indent=2)}\n".encode()


def _from_json(text: bytes, place: str) -> Record:
    """The record in the document `text` that was found at `place`; raises PublishError."""
    try:
        document = json.loads(text)
        period = document["period"]
        record = Record(
            Period.parse(period["start"], period["end"], period["timezone"]),
            str(document["key"]),
            str(document["sha256"]),
            int(document["bytes"]),
            {str(name): int(count) for name, count in document["rows"].items()},
            int(document["revision"]),
            str(document["snapshot_at"]),
            document["run"],
            str(document["code_version"]),
        )
        _ = record.activities
    except (ValueError, KeyError, TypeError, AttributeError, UsageError):
        raise PublishError(
            f"{place} is damaged: expected the JSON document that publishing writes; restore "
            "or remove it and publish again"
        ) from None
    return record


def _to_metadata(record: Record) -> dict[str, str]:
    """The record as the metadata of its S3 object, in ASCII as HTTP headers must be."""
    facts = {
        "sha256": record.sha256,
        "revision": str(record.revision),
        "activities": str(record.activities),
        "rows": json.dumps(dict(record.rows), separators=(",", ":")),
        "period-start": record.period.start.isoformat(),
        "period-end": record.period.end.isoformat(),
        "timezone": record.period.timezone,
        "snapshot": record.snapshot_at,
        "code-version": record.code_version,
    }
    if record.run is not None:
        facts["run"] = record.run
    return {name: quote(value, safe=_METADATA_SAFE) for name, value in facts.items()}


def _from_metadata(metadata: Mapping[str, str], key: str, size: int) -> Record | None:
    """The record in the metadata of the object `key`; None where it holds none."""
    facts = {name.lower(): unquote(value) for name, value in metadata.items()}
    try:
        record = Record(
            Period.parse(facts["period-start"], facts["period-end"], facts["timezone"]),
            key,
            facts["sha256"],
            size,
            {str(name): int(count) for name, count in json.loads(facts["rows"]).items()},
            int(facts["revision"]),
            facts["snapshot"],
            facts.get("run"),
            facts["code-version"],
        )
        _ = record.activities
    except (ValueError, KeyError, AttributeError, TypeError, UsageError):
        return None
    return record


@dataclass(frozen=True, slots=True)
class _Stored:
    """What stands under an archive's key: `record` is None where publishing did not put it."""

    record: Record | None
    sha256: str | None = None
    etag: str = ""


def open_destination(
    settings: Settings, prefix: str | None, s3_client: Callable[[], S3Client]
) -> Destination:
    """The destination that `settings` name, under `prefix` or else the setting's.

    Raises UsageError for a wrong prefix, ConfigurationError for settings that contradict each
    other. `s3_client` is called only where the destination is on S3, and not before it is used.
    """
    try:
        under = settings.s3_prefix if prefix is None else check_prefix(prefix)
    except ValueError as error:
        raise UsageError(f"s3_prefix: {error}") from None
    if not settings.destination.startswith("s3://"):
        return FolderDestination(Path(settings.destination).expanduser().absolute(), under)
    bucket, _, base = settings.destination.removeprefix("s3://").partition("/")
    under = check_prefix(base) + under
    if len(under.encode()) > MAX_PREFIX_BYTES:
        raise UsageError(
            f"s3_prefix is too long: base and prefix have {len(under.encode())} bytes, expected "
            f"at most {MAX_PREFIX_BYTES}"
        )
    if settings.s3_kms_key_id and settings.s3_encryption != "aws:kms":
        raise ConfigurationError(
            "ENGAGEMENT_S3_KMS_KEY_ID is set but ENGAGEMENT_S3_ENCRYPTION is "
            f"{settings.s3_encryption!r}: expected 'aws:kms' with it"
        )
    return S3Destination(settings, bucket, under, s3_client)


def _next_record(
    archive: Archive,
    key: str,
    stored: _Stored | None,
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


@contextmanager
def _naming_kept_archive(archive: Archive) -> Iterator[None]:
    """Add to every failure where the finished archive still is."""
    try:
        yield
    except EngagementError as error:
        raise type(error)(f"{error}; the finished archive is kept at {archive.path}") from None


def _read(archive: Archive, size: int) -> Iterator[bytes]:
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


class FolderDestination:
    """A folder: its own lock keeps publishers apart, a rename makes each file visible whole.

    New files and folders are as private as the folder `base`; where that is made here, nobody
    else may read it.
    """

    def __init__(self, base: Path, prefix: str) -> None:
        self.base = base
        self.prefix = prefix

    def check(self) -> None:
        """Raise ConfigurationError unless files can be written under the prefix."""
        with self._errors():
            probe = self._make(self.prefix) / f".check-{os.getpid()}.tmp"
            probe.touch(mode=0o600)
            probe.unlink(missing_ok=True)

    def publish(self, archive: Archive, *, replace: bool) -> Published:
        """Publish `archive`; with `replace` also over content that has more activities."""
        key = self.prefix + archive.folder + archive.name
        with _naming_kept_archive(archive), self._errors():
            folder = self._make(self.prefix + archive.folder)
            with self._locked(folder):
                for leftover in folder.glob(".*.tmp"):
                    leftover.unlink()
                path, latest = folder / archive.name, folder / LATEST
                stored = self._stored(path)
                before = _load(latest)
                known = _load(_sidecar(path))
                record = _next_record(archive, key, stored, (before, known), replace)
                changed = stored is None or record is not stored.record
                if changed:
                    self._write(_pending(path), [_to_json(record)])
                    self._write(path, _read(archive, 2**20))
                    _rename(_pending(path), _sidecar(path))
                moved = before is None or record.order > before.order
                if moved:
                    self._write(latest, [_to_json(record)])
        log.info(
            "%s %s, revision %d", "published" if changed else "unchanged", key, record.revision
        )
        return Published(
            str(path),
            path.as_uri(),
            key,
            record.sha256,
            record.bytes,
            record.rows,
            record.revision,
            changed,
            moved,
        )

    def presign(self, published: Published, seconds: int) -> str:
        """Raise UsageError: only S3 has presigned URLs."""
        del seconds
        raise UsageError(
            f"no presigned URL for {published.address}: the destination is a folder; expected an "
            "s3:// address in ENGAGEMENT_DESTINATION"
        )

    def _stored(self, path: Path) -> _Stored | None:
        """What stands at `path`, by the record whose checksum its content has.

        The new record is written before the archive is renamed and becomes the sidecar after it:
        whatever moment a publisher died in, one of the two is that of the content.
        """
        try:
            with path.open("rb") as file:
                sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        except FileNotFoundError:
            return None
        sidecar, pending = _sidecar(path), _pending(path)
        record = _load(sidecar)
        if record is None or record.sha256 != sha256:
            record = _load(pending)
            if record is None or record.sha256 != sha256:
                return _Stored(None, sha256)
            _rename(pending, sidecar)
        return _Stored(record, sha256)

    def _make(self, below: str) -> Path:
        """The folder `below` the base, made where it is missing."""
        self.base.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder, root = self.base, self.base.resolve()
        for part in below.split("/")[:-1]:
            folder /= part
            if not folder.resolve().is_relative_to(root):
                raise UsageError(
                    f"s3_prefix {self.prefix!r} leads out of the destination {self.base} through "
                    "a symbolic link: expected a prefix that stays under it"
                )
            folder.mkdir(mode=self._mode & 0o777, exist_ok=True)
        return folder

    @property
    def _mode(self) -> int:
        return self.base.stat().st_mode

    def _write(self, path: Path, blocks: Iterable[bytes]) -> None:
        """Write `path` whole and to the disk, or leave it as it was."""
        temporary = path.with_name(f".{path.name}.tmp")
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
        try:
            with open(os.open(temporary, flags, self._mode & 0o666), "wb") as file:  # noqa: PTH123
                file.writelines(blocks)
                file.flush()
                os.fsync(file.fileno())
            _rename(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)

    @contextmanager
    def _locked(self, folder: Path) -> Iterator[None]:
        """Hold the folder's lock; raises TemporaryError if others hold it for too long."""
        lock = os.open(folder / ".lock", os.O_RDWR | os.O_CREAT, self._mode & 0o666)
        try:
            deadline = time.monotonic() + LOCK_SECONDS
            while True:
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if time.monotonic() > deadline:
                        raise TemporaryError(
                            f"another publisher has held the lock of {folder} for more than "
                            f"{LOCK_SECONDS:.0f} seconds: try again when it is done"
                        ) from None
                    time.sleep(0.02)
            yield
        finally:
            os.close(lock)

    @contextmanager
    def _errors(self) -> Iterator[None]:
        """Raise failures of the file system as errors that say what to do."""
        try:
            yield
        except OSError as error:
            where = f"the destination {self.base} (ENGAGEMENT_DESTINATION)"
            reason = error.strerror or type(error).__name__
            if error.errno in {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}:
                raise PublishError(f"{where} is full ({reason}): make room and try again") from None
            if error.errno in {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOENT}:
                raise ConfigurationError(
                    f"{where} cannot be written ({reason}): expected a folder that this user may "
                    "write to"
                ) from None
            if isinstance(error, NotADirectoryError | FileExistsError):
                raise ConfigurationError(
                    f"{where} is not a folder, or a file stands where it needs one: expected a "
                    "folder"
                ) from None
            if error.errno == errno.ENAMETOOLONG:
                raise UsageError(
                    f"{where} with the prefix {self.prefix!r} is too long a path: expected a "
                    "shorter s3_prefix"
                ) from None
            raise PublishError(f"{where} failed ({reason}): repair it and try again") from None


def _sidecar(path: Path) -> Path:
    return path.with_name(f"{path.name}.json")


def _pending(path: Path) -> Path:
    return path.with_name(f".{path.name}.json.pending")


def _load(path: Path) -> Record | None:
    """The record in the file `path`; None where there is no such file."""
    try:
        return _from_json(path.read_bytes(), str(path))
    except FileNotFoundError:
        return None


def _rename(source: Path, target: Path) -> None:
    """Rename within a folder, so that the disk has it when this returns."""
    os.replace(source, target)  # noqa: PTH105
    folder = os.open(target.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


# What S3 servers answer where the object is no longer as it was read.
_CONFLICTS = {"PreconditionFailed", "ConditionalRequestConflict", "OperationAborted", "412", "409"}
_CREDENTIALS = {
    "InvalidAccessKeyId",
    "SignatureDoesNotMatch",
    "InvalidToken",
    "InvalidClientTokenId",
    "UnrecognizedClientException",
    "InvalidSecurity",
}
_EXPIRED = {"ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired", "RequestExpired"}
_DENIED = {"AccessDenied", "AllAccessDisabled", "AccountProblem", "Forbidden", "403", "401"}
_REGION = {
    "PermanentRedirect",
    "AuthorizationHeaderMalformed",
    "IllegalLocationConstraintException",
    "301",
}
_SKEW = {"RequestTimeTooSkewed", "RequestInTheFuture"}
_DAMAGED = {
    "BadDigest",
    "InvalidDigest",
    "XAmzContentSHA256Mismatch",
    "XAmzContentChecksumMismatch",
    "IncompleteBody",
}
_UNSUPPORTED = {
    "NotImplemented",
    "AccessControlListNotSupported",
    "InvalidEncryptionAlgorithmError",
    "InvalidArgument",
    "InvalidRequest",
}
_BUSY = {
    "SlowDown",
    "ServiceUnavailable",
    "InternalError",
    "RequestTimeout",
    "Throttling",
    "ThrottlingException",
    "TooManyRequests",
    "OperationAborted",
}


def _code(error: ClientError) -> str:
    return str(error.response.get("Error", {}).get("Code", ""))


def _checksum(data: bytes) -> str:
    """The SHA-256 of `data` as S3 writes it."""
    return base64.b64encode(hashlib.sha256(data).digest()).decode()


class S3Destination:
    """A prefix of an S3 bucket.

    Every write is conditional on the object being as it was read. Servers without If-Match (they
    answer NotImplemented) get the write after one more look instead, and a warning in the log: on
    those, two publishers in the same moment can overwrite each other.
    """

    def __init__(
        self, settings: Settings, bucket: str, prefix: str, s3_client: Callable[[], S3Client]
    ) -> None:
        self.bucket = bucket
        self.prefix = prefix
        self._settings = settings
        self._make_client = s3_client
        self._made_client: S3Client | None = None
        self._has_if_match = True

    def check(self) -> None:
        """Raise ConfigurationError or TemporaryError unless the bucket can be read and written.

        It begins an upload and aborts it: the server then judges the rights to write, the
        encryption and the ACL, and nothing becomes visible.
        """
        key = f"{self.prefix}{LATEST}"
        self._latest(key)
        with self._errors(f"write s3://{self.bucket}/{key}"):
            upload = self._client.create_multipart_upload(
                Bucket=self.bucket,
                Key=key,
                ContentType="application/json",
                ChecksumAlgorithm="SHA256",
                **self._options,
            )
        self._abort(key, upload["UploadId"])

    def publish(self, archive: Archive, *, replace: bool) -> Published:
        """Publish `archive`; with `replace` also over content that has more activities."""
        key = self.prefix + archive.folder + archive.name
        latest_key = self.prefix + archive.folder + LATEST
        with _naming_kept_archive(archive):
            record, changed = self._put_archive(archive, key, latest_key, replace)
            moved = self._move_latest(latest_key, record)
            url = self._url(key)
        log.info(
            "%s %s, revision %d", "published" if changed else "unchanged", key, record.revision
        )
        return Published(
            f"s3://{self.bucket}/{key}",
            url,
            key,
            record.sha256,
            record.bytes,
            record.rows,
            record.revision,
            changed,
            moved,
        )

    def presign(self, published: Published, seconds: int) -> str:
        """A URL that opens the archive to whoever holds it, for `seconds`."""
        if not 1 <= seconds <= MAX_PRESIGN_SECONDS:
            raise UsageError(
                f"a presigned URL cannot work for {seconds} seconds: expected 1 to "
                f"{MAX_PRESIGN_SECONDS}"
            )
        return self._signed(published.key, seconds)

    def _put_archive(
        self, archive: Archive, key: str, latest_key: str, replace: bool
    ) -> tuple[Record, bool]:
        """The record that stands under `key` now, and whether the archive was uploaded."""
        for _ in range(ATTEMPTS):
            latest, _etag = self._latest(latest_key)
            stored = self._stored(key)
            record = _next_record(archive, key, stored, (latest,), replace)
            if stored is not None and record is stored.record:
                return record, False
            with self._errors(f"upload s3://{self.bucket}/{key}"):
                if self._upload(archive, record, stored.etag if stored else None):
                    return record, True
        raise self._contended(key)

    def _move_latest(self, key: str, record: Record) -> bool:
        """Let `latest.json` tell of `record`, unless it tells of a later one."""
        body = _to_json(record)

        def send(condition: dict[str, Any]) -> None:
            self._client.put_object(
                Bucket=self.bucket,
                Key=key,
                Body=body,
                ContentType="application/json",
                ChecksumSHA256=_checksum(body),
                **self._options,
                **condition,
            )

        for _ in range(ATTEMPTS):
            latest, etag = self._latest(key)
            if latest is not None and record.order <= latest.order:
                return False
            with self._errors(f"write s3://{self.bucket}/{key}"):
                if self._conditionally(key, etag, send):
                    return True
        raise self._contended(key)

    def _upload(self, archive: Archive, record: Record, etag: str | None) -> bool:
        """Whether the archive was uploaded; not where another publisher came first."""
        request: dict[str, Any] = {
            "Bucket": self.bucket,
            "Key": record.key,
            "ContentType": "application/zip",
            "Metadata": _to_metadata(record),
            **self._options,
        }
        size = max(PART_BYTES, -(-archive.bytes // MAX_PARTS))
        if archive.bytes <= size:
            body = b"".join(_read(archive, size))
            return self._conditionally(
                record.key,
                etag,
                lambda condition: self._client.put_object(
                    Body=body, ChecksumSHA256=_checksum(body), **request, **condition
                ),
            )
        upload = self._client.create_multipart_upload(ChecksumAlgorithm="SHA256", **request)
        place: dict[str, Any] = {
            "Bucket": self.bucket,
            "Key": record.key,
            "UploadId": upload["UploadId"],
        }
        complete = False
        try:
            parts: list[CompletedPartTypeDef] = []
            for number, block in enumerate(_read(archive, size), start=1):
                checksum = _checksum(block)
                part = self._client.upload_part(
                    PartNumber=number, Body=block, ChecksumSHA256=checksum, **place
                )
                parts.append(
                    {"PartNumber": number, "ETag": part["ETag"], "ChecksumSHA256": checksum}
                )
            # The parts took their time, and some servers ignore the condition on this request.
            complete = (etag is None or self._is(record.key, etag)) and self._conditionally(
                record.key,
                etag,
                lambda condition: self._client.complete_multipart_upload(
                    MultipartUpload={"Parts": parts}, **place, **condition
                ),
            )
        finally:
            if not complete:
                self._abort(record.key, upload["UploadId"])
        return complete

    def _conditionally(
        self, key: str, etag: str | None, send: Callable[[dict[str, Any]], object]
    ) -> bool:
        """Send a write that holds only while `key` has `etag` (None: while there is no `key`).

        Returns False where that is no longer so.
        """
        from botocore.exceptions import ClientError  # noqa: PLC0415

        try:
            if etag is None:
                send({"IfNoneMatch": "*"})
            elif self._has_if_match:
                send({"IfMatch": etag})
        except ClientError as error:
            if _code(error) in _CONFLICTS or (etag is not None and _code(error) == "NoSuchKey"):
                return False
            if etag is None or _code(error) != "NotImplemented":
                raise
            self._has_if_match = False
            log.warning(
                "the S3 server %s has no conditional replacement (If-Match): let only one "
                "publisher run at a time",
                self._endpoint,
            )
        if etag is not None and not self._has_if_match:
            if not self._is(key, etag):
                return False
            send({})
        return True

    def _abort(self, key: str, upload_id: str) -> None:
        from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415

        try:
            self._client.abort_multipart_upload(Bucket=self.bucket, Key=key, UploadId=upload_id)
        except (BotoCoreError, ClientError) as error:
            log.warning(
                "an unfinished upload of s3://%s/%s could not be aborted (%s): its parts stay, "
                "unseen, until it is, or until a lifecycle rule of the bucket removes them",
                self.bucket,
                key,
                _code(error) if isinstance(error, ClientError) else type(error).__name__,
            )

    def _stored(self, key: str) -> _Stored | None:
        """What stands under `key`."""
        from botocore.exceptions import ClientError  # noqa: PLC0415

        with self._errors(f"read s3://{self.bucket}/{key}"):
            try:
                head = self._client.head_object(Bucket=self.bucket, Key=key)
            except ClientError as error:
                if _code(error) in {"404", "NoSuchKey", "NotFound"}:
                    return None
                raise
        record = _from_metadata(head["Metadata"], key, head["ContentLength"])
        return _Stored(record, record.sha256 if record else None, head["ETag"])

    def _is(self, key: str, etag: str) -> bool:
        stored = self._stored(key)
        return stored is not None and stored.etag == etag

    def _latest(self, key: str) -> tuple[Record | None, str | None]:
        """The record in `latest.json` and the document's ETag; None where there is none."""
        from botocore.exceptions import ClientError  # noqa: PLC0415

        place = f"s3://{self.bucket}/{key}"
        with self._errors(f"read {place}"):
            try:
                found = self._client.get_object(Bucket=self.bucket, Key=key)
            except ClientError as error:
                if _code(error) == "NoSuchKey":
                    return None, None
                raise
            text = found["Body"].read()
        return _from_json(text, place), found["ETag"]

    def _url(self, key: str) -> str:
        # Only the client knows how its server is addressed; the signature is cut off at once.
        return self._signed(key, 1).partition("?")[0]

    def _signed(self, key: str, seconds: int) -> str:
        # The default for URLs is the old signature, which newer regions and KMS refuse.
        handler: tuple[Any, ...] = (
            "choose-signer.s3.GetObject",
            _signature_version_4,
            "engagement-presign",
        )
        with self._errors(f"sign a URL of s3://{self.bucket}/{key}"):
            events = self._client.meta.events
            events.register_first(*handler)
            try:
                return self._client.generate_presigned_url(
                    "get_object", Params={"Bucket": self.bucket, "Key": key}, ExpiresIn=seconds
                )
            finally:
                events.unregister(*handler)

    @property
    def _options(self) -> dict[str, Any]:
        """The encryption and the ACL that the settings ask for."""
        settings = self._settings
        options: dict[str, Any] = {}
        if settings.s3_encryption != "none":
            options["ServerSideEncryption"] = settings.s3_encryption
        if settings.s3_kms_key_id:
            options["SSEKMSKeyId"] = settings.s3_kms_key_id
        if settings.s3_acl:
            options["ACL"] = settings.s3_acl
        return options

    @property
    def _client(self) -> S3Client:
        from botocore.exceptions import BotoCoreError  # noqa: PLC0415

        if self._made_client is None:
            try:
                self._made_client = self._make_client()
            except (BotoCoreError, ValueError) as error:
                raise ConfigurationError(
                    f"{self._connection} makes no S3 client ({type(error).__name__}): expected a "
                    "region, credentials and, where it is not AWS, an endpoint_url that begins "
                    "with http:// or https://"
                ) from None
        return self._made_client

    @property
    def _connection(self) -> str:
        name = self._settings.s3_connection
        return f"the connection {name} (AIRFLOW_CONN_{name.upper()}, ENGAGEMENT_S3_CONNECTION)"

    @property
    def _endpoint(self) -> str:
        """Scheme, host and port of the server, without what else its URL may hold."""
        url = urlsplit(self._client.meta.endpoint_url)
        return f"{url.scheme}://{url.netloc.rpartition('@')[2]}"

    def _contended(self, key: str) -> TemporaryError:
        return TemporaryError(
            f"s3://{self.bucket}/{key} was changed by other publishers {ATTEMPTS} times in a row: "
            "try again later"
        )

    @contextmanager
    def _errors(self, doing: str) -> Iterator[None]:
        """Raise what the library raises as errors that say what is wrong and hold no secret."""
        from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415

        try:
            yield
        except ClientError as error:
            raise self._answer(error, doing) from None
        except BotoCoreError as error:
            raise self._no_answer(error, doing) from None

    def _answer(self, error: ClientError, doing: str) -> EngagementError:
        """The server's own error; its message is left out, because it can name access keys."""
        code = _code(error)
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        failed = f"cannot {doing}: the S3 server {self._endpoint}"
        told = f"({code or 'no code'}, HTTP {status})"
        if code == "NoSuchBucket":
            return ConfigurationError(
                f"{failed} has no bucket {self.bucket!r}: create it or correct "
                "ENGAGEMENT_DESTINATION"
            )
        if code in _EXPIRED:
            return ConfigurationError(
                f"{failed} says that the credentials have expired {told}: renew those of "
                f"{self._connection}"
            )
        if code in _CREDENTIALS:
            return ConfigurationError(
                f"{failed} refuses the credentials {told}: correct access key and secret of "
                f"{self._connection}"
            )
        if code in _SKEW:
            return ConfigurationError(
                f"{failed} has another time {told}: set the clock of this machine"
            )
        if code in _REGION:
            return ConfigurationError(
                f"{failed} says that bucket {self.bucket!r} is in another region {told}: correct "
                f"region_name or endpoint_url of {self._connection}"
            )
        if code.startswith("KMS."):
            return ConfigurationError(
                f"{failed} cannot use the encryption key {told}: correct "
                "ENGAGEMENT_S3_KMS_KEY_ID or the rights on that key"
            )
        if code in _DENIED:
            return ConfigurationError(
                f"{failed} denies access to bucket {self.bucket!r} {told}: give the user of "
                f"{self._connection} the rights to list the bucket and to read and write objects"
            )
        if code in _DAMAGED:
            return TemporaryError(
                f"{failed} got other bytes than were sent {told}, and kept none of them: try again"
            )
        if code in _BUSY or (status >= 500 and code != "NotImplemented"):
            return TemporaryError(f"{failed} is failing or busy {told}: try again later")
        if code in _UNSUPPORTED and self._options:
            asked = " and ".join(
                name
                for name, option in (
                    ("ENGAGEMENT_S3_ENCRYPTION", "ServerSideEncryption"),
                    ("ENGAGEMENT_S3_ACL", "ACL"),
                )
                if option in self._options
            )
            return ConfigurationError(f"{failed} does not do what is asked {told}: correct {asked}")
        return PublishError(
            f"{failed} refuses it {told}: expected an S3 server at the endpoint of "
            f"{self._connection}"
        )

    def _no_answer(self, error: BotoCoreError, doing: str) -> EngagementError:
        """A request that did not come to an answer."""
        from botocore import exceptions  # noqa: PLC0415

        kind = type(error).__name__
        if isinstance(
            error,
            exceptions.NoCredentialsError
            | exceptions.PartialCredentialsError
            | exceptions.CredentialRetrievalError
            | exceptions.NoAuthTokenError,
        ):
            return ConfigurationError(
                f"cannot {doing}: no complete credentials ({kind}); set access key and secret in "
                f"{self._connection}"
            )
        if isinstance(error, exceptions.ParamValidationError):
            return ConfigurationError(
                f"cannot {doing}: a value is not valid for S3; correct bucket {self.bucket!r} in "
                "ENGAGEMENT_DESTINATION, or ENGAGEMENT_S3_ACL"
            )
        if isinstance(error, exceptions.SSLError):
            return ConfigurationError(
                f"cannot {doing}: no trusted encrypted connection to {self._endpoint}; correct "
                f"endpoint_url or the certificates of {self._connection}"
            )
        if isinstance(error, exceptions.HTTPClientError | exceptions.ConnectionError):
            return TemporaryError(
                f"cannot {doing}: the S3 server {self._endpoint} did not answer or broke off "
                f"({kind}); try again later, or correct endpoint_url of {self._connection}"
            )
        return PublishError(f"cannot {doing}: the S3 client failed ({kind})")


def _signature_version_4(**_: object) -> str:
    return "s3v4-query"

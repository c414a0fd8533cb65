"""Publishing to a bucket of an S3 server."""

from __future__ import annotations

import base64
import hashlib
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from engagement.errors import TemporaryError, UsageError
from engagement.publish import (
    LATEST,
    Archive,
    Published,
    Stored,
    naming_kept_archive,
    next_record,
    outcome,
    read_blocks,
)
from engagement.published_record import Record, from_json, from_metadata, to_json, to_metadata
from engagement.s3_bucket import S3Bucket
from engagement.s3_errors import CHANGED, error_code
from engagement.settings import MAX_PRESIGN_SECONDS

if TYPE_CHECKING:
    from mypy_boto3_s3.type_defs import CompletedPartTypeDef

log = logging.getLogger(__name__)

# A larger archive is uploaded in parts of this many bytes; S3 takes at most 10,000 parts.
PART_BYTES = 16 * 2**20
MAX_PARTS = 10_000
# How often one write begins again because another publisher came first.
ATTEMPTS = 20
# What S3 servers answer where the object is no longer as it was read.
_CONFLICTS = CHANGED | {"ConditionalRequestConflict", "OperationAborted", "409"}


def _checksum(data: bytes) -> str:
    """The SHA-256 of `data` as S3 writes it."""
    return base64.b64encode(hashlib.sha256(data).digest()).decode()


class S3Destination:
    """A prefix of an S3 bucket.

    Every write is conditional on the object being as it was read. Servers without If-Match (they
    answer NotImplemented) get the write after one more look instead, and a warning in the log: on
    those, two publishers in the same moment can overwrite each other.
    """

    def __init__(self, bucket: S3Bucket, prefix: str) -> None:
        self.bucket = bucket.name
        self.prefix = prefix
        self._bucket = bucket
        self._has_if_match = True

    def check(self) -> None:
        """Raise ConfigurationError or TemporaryError unless the bucket can be read and written.

        It begins an upload and aborts it: the server then judges the rights to write, the
        encryption and the ACL, and nothing becomes visible.
        """
        key = f"{self.prefix}{LATEST}"
        self._document(key)
        with self._bucket.errors.during(f"write s3://{self.bucket}/{key}"):
            upload = self._bucket.client.create_multipart_upload(
                Bucket=self.bucket,
                Key=key,
                ContentType="application/json",
                ChecksumAlgorithm="SHA256",
                **self._bucket.options,
            )
        self._abort(key, upload["UploadId"])

    def publish(self, archive: Archive, *, replace: bool) -> Published:
        """Publish `archive`; with `replace` also over content that has more activities."""
        key = self.prefix + archive.folder + archive.name
        latest_key = self.prefix + archive.folder + LATEST
        with naming_kept_archive(archive):
            record, changed = self._put_archive(archive, key, latest_key, replace)
            moved = self._move_latest(latest_key, record)
            url = self._url(key)
        return outcome(
            record, f"s3://{self.bucket}/{key}", url, changed=changed, latest_moved=moved
        )

    def put_document(self, name: str, content: bytes) -> str:
        """Put a small JSON document under the prefix in place of any before; gives its address."""
        key = self.prefix + name
        with self._bucket.errors.during(f"write s3://{self.bucket}/{key}"):
            self._put_json(key, content)
        return f"s3://{self.bucket}/{key}"

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
            record = next_record(archive, key, stored, (latest,), replace)
            if stored is not None and record is stored.record:
                return record, False
            with self._bucket.errors.during(f"upload s3://{self.bucket}/{key}"):
                if self._upload(archive, record, stored.etag if stored else None):
                    return record, True
        raise self._contended(key)

    def _move_latest(self, key: str, record: Record) -> bool:
        """Let `latest.json` tell of `record`, unless it tells of a later one."""
        body = to_json(record)
        for _ in range(ATTEMPTS):
            latest, etag = self._latest(key)
            if latest is not None and record.order <= latest.order:
                return False
            with self._bucket.errors.during(f"write s3://{self.bucket}/{key}"):
                if self._conditionally(
                    key, etag, lambda condition: self._put_json(key, body, **condition)
                ):
                    return True
        raise self._contended(key)

    def _put_json(self, key: str, body: bytes, **condition: Any) -> None:
        self._bucket.client.put_object(
            Bucket=self.bucket,
            Key=key,
            Body=body,
            ContentType="application/json",
            ChecksumSHA256=_checksum(body),
            **self._bucket.options,
            **condition,
        )

    def _upload(self, archive: Archive, record: Record, etag: str | None) -> bool:
        """Whether the archive was uploaded; not where another publisher came first."""
        request: dict[str, Any] = {
            "Bucket": self.bucket,
            "Key": record.key,
            "ContentType": "application/zip",
            "Metadata": to_metadata(record),
            **self._bucket.options,
        }
        size = max(PART_BYTES, -(-archive.bytes // MAX_PARTS))
        if archive.bytes <= size:
            body = b"".join(read_blocks(archive, size))
            return self._conditionally(
                record.key,
                etag,
                lambda condition: self._bucket.client.put_object(
                    Body=body, ChecksumSHA256=_checksum(body), **request, **condition
                ),
            )
        upload = self._bucket.client.create_multipart_upload(ChecksumAlgorithm="SHA256", **request)
        place: dict[str, Any] = {
            "Bucket": self.bucket,
            "Key": record.key,
            "UploadId": upload["UploadId"],
        }
        complete = False
        try:
            parts: list[CompletedPartTypeDef] = []
            for number, block in enumerate(read_blocks(archive, size), start=1):
                checksum = _checksum(block)
                part = self._bucket.client.upload_part(
                    PartNumber=number, Body=block, ChecksumSHA256=checksum, **place
                )
                parts.append(
                    {"PartNumber": number, "ETag": part["ETag"], "ChecksumSHA256": checksum}
                )
            # The parts took their time, and some servers ignore the condition on this request.
            complete = (etag is None or self._is(record.key, etag)) and self._conditionally(
                record.key,
                etag,
                lambda condition: self._bucket.client.complete_multipart_upload(
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
        from botocore.exceptions import ClientError

        try:
            if etag is None:
                send({"IfNoneMatch": "*"})
            elif self._has_if_match:
                send({"IfMatch": etag})
        except ClientError as error:
            if error_code(error) in _CONFLICTS or (
                etag is not None and error_code(error) == "NoSuchKey"
            ):
                return False
            if etag is None or error_code(error) != "NotImplemented":
                raise
            self._has_if_match = False
            log.warning(
                "the S3 server %s has no conditional replacement (If-Match): let only one "
                "publisher run at a time",
                self._bucket.endpoint,
            )
        if etag is not None and not self._has_if_match:
            if not self._is(key, etag):
                return False
            send({})
        return True

    def _abort(self, key: str, upload_id: str) -> None:
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            self._bucket.client.abort_multipart_upload(
                Bucket=self.bucket, Key=key, UploadId=upload_id
            )
        except (BotoCoreError, ClientError) as error:
            log.warning(
                "an unfinished upload of s3://%s/%s could not be aborted (%s): its parts stay, "
                "unseen, until it is, or until a lifecycle rule of the bucket removes them",
                self.bucket,
                key,
                error_code(error) if isinstance(error, ClientError) else type(error).__name__,
            )

    def _stored(self, key: str) -> Stored | None:
        """What stands under `key`."""
        head = self._bucket.head(key)
        if head is None:
            return None
        record = from_metadata(head["Metadata"], key, head["ContentLength"])
        return Stored(record, record.sha256 if record else None, head["ETag"])

    def _is(self, key: str, etag: str) -> bool:
        stored = self._stored(key)
        return stored is not None and stored.etag == etag

    def _latest(self, key: str) -> tuple[Record | None, str | None]:
        """The record in `latest.json` and the document's ETag; None where there is none."""
        text, etag = self._document(key)
        return None if text is None else from_json(text, f"s3://{self.bucket}/{key}"), etag

    def _document(self, key: str) -> tuple[bytes | None, str | None]:
        """The content of a small object and its ETag; None where there is none."""
        from botocore.exceptions import ClientError

        with self._bucket.errors.during(f"read s3://{self.bucket}/{key}"):
            try:
                found = self._bucket.client.get_object(Bucket=self.bucket, Key=key)
            except ClientError as error:
                if error_code(error) == "NoSuchKey":
                    return None, None
                raise
            return found["Body"].read(), found["ETag"]

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
        with self._bucket.errors.during(f"sign a URL of s3://{self.bucket}/{key}"):
            events = self._bucket.client.meta.events
            events.register_first(*handler)
            try:
                return self._bucket.client.generate_presigned_url(
                    "get_object", Params={"Bucket": self.bucket, "Key": key}, ExpiresIn=seconds
                )
            finally:
                events.unregister(*handler)

    def _contended(self, key: str) -> TemporaryError:
        return TemporaryError(
            f"s3://{self.bucket}/{key} was changed by other publishers {ATTEMPTS} times in a row: "
            "try again later"
        )


def _signature_version_4(**_: object) -> str:
    return "s3v4-query"

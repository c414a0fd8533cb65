"""One bucket of an S3 server: its client, and how its failures are told."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from threading import Lock
from typing import TYPE_CHECKING, Any

from engagement.s3_errors import MISSING, S3Errors, error_code, no_client, told_endpoint
from engagement.settings import Settings

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_s3.type_defs import HeadObjectOutputTypeDef


class S3Bucket:
    """The bucket `name` behind the connection that the settings name.

    `make_client` is not called before the client is used.
    """

    def __init__(self, settings: Settings, name: str, make_client: Callable[[], S3Client]) -> None:
        self.name = name
        self._settings = settings
        self._make_client = make_client
        self._made: S3Client | None = None
        self._making = Lock()

    @property
    def client(self) -> S3Client:
        """The client, which threads share; raises ConfigurationError where there can be none."""
        # Clients are safe to share, making one is not.
        with self._making:
            if self._made is None:
                self._made = self._make()
            return self._made

    def _make(self) -> S3Client:
        from botocore.exceptions import BotoCoreError

        try:
            return self._make_client()
        except (BotoCoreError, ValueError) as error:
            raise no_client(self._connection, error) from None

    @property
    def options(self) -> dict[str, Any]:
        """The encryption and the ACL that the settings ask for on every write."""
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
    def endpoint(self) -> str:
        """Scheme, host and port of the server."""
        return told_endpoint(self.client.meta.endpoint_url)

    def head(self, key: str) -> HeadObjectOutputTypeDef | None:
        """What the server tells of the object `key`; None where there is none."""
        from botocore.exceptions import ClientError

        with self.errors.during(f"read s3://{self.name}/{key}"):
            try:
                return self.client.head_object(Bucket=self.name, Key=key)
            except ClientError as error:
                if error_code(error) in MISSING:
                    return None
                raise

    @cached_property
    def errors(self) -> S3Errors:
        """What fails with this bucket, as errors that say what to do."""
        return S3Errors(
            self.name,
            "ENGAGEMENT_DESTINATION",
            self.endpoint,
            self._connection,
            tuple(self.options),
            "ENGAGEMENT_S3_KMS_KEY_ID",
        )

    @property
    def _connection(self) -> str:
        name = self._settings.s3_connection
        return f"the connection {name} (AIRFLOW_CONN_{name.upper()}, ENGAGEMENT_S3_CONNECTION)"

"""What a test needs to know of an S3 server."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


@dataclass(frozen=True, slots=True)
class S3Server:
    """An S3 server and a key that it accepts."""

    endpoint: str
    access_key: str
    secret_key: str

    def at(self, endpoint: str) -> S3Server:
        """The same server as it is reached through `endpoint`."""
        return replace(self, endpoint=endpoint)

    def client(
        self, *, secret_key: str | None = None, token: str | None = None, attempts: int = 1
    ) -> S3Client:
        """A client that asks `attempts` times before it gives up."""
        import boto3
        from botocore.config import Config

        client: S3Client = boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            region_name="us-east-1",
            aws_access_key_id=self.access_key,
            aws_secret_access_key=self.secret_key if secret_key is None else secret_key,
            aws_session_token=token,
            config=Config(
                s3={"addressing_style": "path"},
                retries={"total_max_attempts": attempts, "mode": "standard"},
                connect_timeout=5,
                read_timeout=20,
                proxies={},
            ),
        )
        return client

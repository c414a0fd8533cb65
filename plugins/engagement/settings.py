"""Every setting, read from `ENGAGEMENT_*` environment variables and checked at once.

The descriptions of the fields are the settings' documentation; the README's table is checked
against them.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from engagement.errors import ConfigurationError, UsageError
from engagement.period import parse_timezone

MAX_PRESIGN_SECONDS = 604_800
"""S3 signs no URL for longer than a week."""


def _timezone(name: str) -> str:
    try:
        parse_timezone(name)
    except UsageError as error:
        raise ValueError(str(error)) from None
    return name


def check_prefix(prefix: str) -> str:
    """A relative prefix of keys, ended by one slash (or empty); raises ValueError."""
    if prefix.startswith("/") or "\\" in prefix or any(not c.isprintable() for c in prefix):
        raise ValueError(
            f"prefix {prefix!r} starts with a slash or holds a backslash or control character: "
            "expected a relative prefix, for example engagement-reports/"
        )
    parts = prefix.rstrip("/").split("/") if prefix else []
    if any(part in {"", ".", ".."} for part in parts):
        raise ValueError(
            f"prefix {prefix!r} has an empty, '.' or '..' part: expected a relative prefix that "
            "stays under the destination, for example engagement-reports/"
        )
    return "".join(f"{part}/" for part in parts)


def _destination(address: str) -> str:
    """A folder, or an S3 address without credentials; raises ValueError."""
    scheme, separator, rest = address.partition("://")
    if not separator:
        return address
    bucket, _, base = rest.partition("/")
    if "@" in bucket:
        # It may be a secret: it is not told.
        raise ValueError(
            f"destination {scheme}://... has a login before its bucket: expected s3://bucket or "
            "s3://bucket/base, and the login in the connection that ENGAGEMENT_S3_CONNECTION names"
        )
    if scheme != "s3":
        raise ValueError(
            f"destination {address!r} is neither a folder nor an s3:// address: expected a path, "
            "s3://bucket or s3://bucket/base"
        )
    if not bucket:
        raise ValueError(
            f"destination {address!r} names no bucket: expected s3://bucket or s3://bucket/base"
        )
    check_prefix(base)
    return address


class Settings(BaseSettings):
    """The settings of the pipeline; each field is the variable `ENGAGEMENT_<NAME>`."""

    model_config = SettingsConfigDict(
        env_prefix="ENGAGEMENT_", env_ignore_empty=True, frozen=True, extra="forbid"
    )

    timezone: Annotated[str, AfterValidator(_timezone)] = Field(
        "UTC", description="Report time zone (IANA name): days, weeks and schedules are cut in it."
    )
    destination: Annotated[str, AfterValidator(_destination)] = Field(
        str(Path.home() / "engagement-reports"),
        description="Where archives are published: a folder, or s3://bucket or s3://bucket/base.",
    )
    s3_prefix: Annotated[str, AfterValidator(check_prefix)] = Field(
        "engagement-reports/",
        description="Default prefix under the destination; a run's s3_prefix parameter replaces "
        "it.",
    )
    s3_connection: str = Field(
        "aws_default", description="Airflow connection that holds the S3 credentials and endpoint."
    )
    s3_encryption: Literal["none", "AES256", "aws:kms"] = Field(
        "none", description="Server-side encryption asked for on upload: none, AES256 or aws:kms."
    )
    s3_kms_key_id: str | None = Field(
        None, description="Key for aws:kms; the bucket's own where it is not set."
    )
    s3_acl: str | None = Field(
        None, description="Canned ACL of uploaded objects; none is sent where it is not set."
    )
    s3_presign_seconds: int = Field(
        3600,
        ge=1,
        le=MAX_PRESIGN_SECONDS,
        description="How long a presigned URL works, in seconds.",
    )
    staging: str = Field(
        str(Path(tempfile.gettempdir()) / "engagement-staging"),
        description="Where a run keeps its extracted tables and datasets until it has published: "
        "a folder all workers share, or s3://connection@bucket/prefix.",
    )
    staging_keep_days: int = Field(
        7, ge=1, description="Staging of failed runs older than this many days is removed."
    )
    settle_minutes: int = Field(
        15, ge=0, description="How long scheduled runs wait after the period's end, in minutes."
    )
    statement_timeout_seconds: int = Field(
        900, ge=1, description="Statement timeout of the extract, in seconds."
    )
    lock_timeout_seconds: int = Field(
        60, ge=1, description="How long writing events waits for somebody else's lock, in seconds."
    )
    connect_timeout_seconds: int = Field(
        10, ge=1, description="How long to wait for the app's database to answer, in seconds."
    )
    memory_limit_mb: int = Field(
        450, ge=64, description="Memory that computing one dataset may use before it spills to "
        "disk, in MB."
    )  # fmt: skip
    # Measured: a second thread costs half as much again and saves a tenth of the time.
    threads: int = Field(1, ge=1, description="Threads that computing one dataset may use.")


def load() -> Settings:
    """The settings of this process; raises ConfigurationError that names every wrong variable."""
    try:
        return Settings()
    except ValidationError as error:
        problems = [
            ": ".join(
                filter(
                    None,
                    (
                        f"ENGAGEMENT_{str(e['loc'][0]).upper()}",
                        e["msg"].removeprefix("Value error, "),
                        f"got {e['input']!r}" if e["type"] != "value_error" else "",
                    ),
                )
            )
            for e in error.errors()
        ]
        raise ConfigurationError("wrong settings: " + "; ".join(problems)) from None

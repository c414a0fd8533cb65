"""Every setting, read from `ENGAGEMENT_*` environment variables and checked at once.

The descriptions of the fields are the settings' documentation; the README's table is checked
against them.
"""

from __future__ import annotations

import os
import re
import tempfile
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, ValidationError, ValidationInfo
from pydantic_settings import BaseSettings, SettingsConfigDict

from engagement.errors import ConfigurationError, UsageError
from engagement.period import parse_timezone

MAX_PRESIGN_SECONDS = 604_800
"""S3 signs no URL for longer than a week."""

_PREFIX = "ENGAGEMENT_"
_ADDRESS = re.compile(r"[a-z][a-z0-9+.-]*:", re.IGNORECASE)
_HOUR, _DAY = 3600, 86_400
_ALIKE = 0.8


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
    if not _ADDRESS.match(address):
        if not address.isprintable():
            raise ValueError(f"destination {address!r} holds a control character: expected a path")
        return address
    scheme, separator, rest = address.partition("://")
    if not separator:
        # What follows may be a secret: it is not told.
        raise ValueError(
            f"destination {scheme.partition(':')[0]}:... is neither a folder nor an s3:// address: "
            "expected a path, s3://bucket or s3://bucket/base"
        )
    bucket, _, base = rest.partition("/")
    if "@" in bucket or ":" in bucket:
        # It may be a secret, cut off at its first slash: it is not told.
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


def _staging(address: str, info: ValidationInfo) -> str:
    """An absolute path, or an S3 address without credentials; raises ValueError.

    Neither is in the destination nor around it.
    """
    if _ADDRESS.match(address):
        address = _staging_address(address)
    elif not address.isprintable():
        raise ValueError(f"staging {address!r} holds a control character: expected a path")
    address = address if address.startswith("s3://") else _absolute(address)
    destination = info.data.get("destination")
    if destination and _overlap(_parts(address), _parts(destination)):
        raise ValueError(
            f"staging {address!r} is in the destination {destination!r}, or around it: expected a "
            "place of its own, so that what is removed there is no published report"
        )
    return address


def _staging_address(address: str) -> str:
    """The path of a file:// address, or the s3:// address."""
    expected = (
        "expected a folder, or s3://connection@bucket/prefix where connection is the id of an "
        "Airflow connection"
    )
    scheme, _, rest = address.partition("://")
    if not rest.isprintable():
        raise ValueError(f"staging holds a control character: {expected}")
    if scheme == "file" and rest.startswith("/"):
        return rest
    if scheme != "s3":
        # What follows may be a secret, here and below: it is not told.
        raise ValueError(f"staging {scheme.partition(':')[0]}:... is neither: {expected}")
    place, _, prefix = rest.partition("/")
    connection, at, bucket = place.rpartition("@")
    if (at and not re.fullmatch(r"[\w.-]+", connection)) or "@" in prefix:
        raise ValueError(f"staging s3://... has no connection's id before its bucket: {expected}")
    if not re.fullmatch(r"[A-Za-z0-9._-]+", bucket):
        raise ValueError(f"staging s3://... names no bucket: {expected}")
    check_prefix(prefix)
    return address


def _absolute(path: str) -> str:
    return "/" + os.path.abspath(os.path.expanduser(path)).lstrip("/")  # noqa: PTH100, PTH111


def _parts(address: str) -> list[str]:
    """The names on the way to a place, the first of which tells a bucket from the local root."""
    if not address.startswith("s3://"):
        return _absolute(address).rstrip("/").split("/")
    bucket, _, base = address.removeprefix("s3://").rpartition("@")[2].partition("/")
    return [f"s3://{bucket}", *check_prefix(base).split("/")[:-1]]


def _overlap(one: list[str], other: list[str]) -> bool:
    shorter = min(len(one), len(other))
    return one[:shorter] == other[:shorter]


class Settings(BaseSettings):
    """The settings of the pipeline; each field is the variable `ENGAGEMENT_<NAME>`."""

    model_config = SettingsConfigDict(
        env_prefix=_PREFIX, env_ignore_empty=True, frozen=True, extra="forbid"
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
    staging: Annotated[str, AfterValidator(_staging)] = Field(
        str(Path(tempfile.gettempdir()) / "engagement-staging"),
        validate_default=True,
        description="Where a run keeps its extracted tables and datasets until it has published: "
        "a folder all workers share, or s3://connection@bucket/prefix.",
    )
    staging_keep_days: int = Field(
        7,
        ge=1,
        le=3650,
        description="Staging of failed runs older than this many days is removed.",
    )
    settle_minutes: int = Field(
        15,
        ge=0,
        le=7 * 24 * 60,
        description="How long scheduled runs wait after the period's end, in minutes.",
    )
    statement_timeout_seconds: int = Field(
        900, ge=1, le=_DAY, description="Statement timeout on the app's database, in seconds."
    )
    api_timeout_seconds: int = Field(
        5,
        ge=1,
        le=_HOUR,
        description="How long a query of the view or the API may take, in seconds, each batch of "
        "a stream of CSV included; not the hourly count of all events.",
    )
    lock_timeout_seconds: int = Field(
        60,
        ge=1,
        le=_DAY,
        description="How long writing events waits for somebody else's lock, in seconds.",
    )
    connect_timeout_seconds: int = Field(
        10,
        ge=1,
        le=_HOUR,
        description="How long to wait for the app's database to answer, in seconds.",
    )
    memory_limit_mb: int = Field(
        450,
        ge=64,
        le=1 << 20,
        description="Memory that computing one dataset may use before it spills to disk, in MB.",
    )
    # Measured: a second thread sorts in half the time, and costs nothing where a core is free.
    threads: int = Field(2, ge=1, le=256, description="Threads that computing one dataset may use.")


def load() -> Settings:
    """The settings of this process; raises ConfigurationError that names every wrong variable."""
    problems = [
        f"{name} is no setting: expected {_PREFIX}{meant}"
        for name in sorted(os.environ)
        if name.startswith(_PREFIX) and (meant := _misspelt(name.removeprefix(_PREFIX)))
    ]
    try:
        settings = Settings()
    except ValidationError as error:
        problems += [
            ": ".join(
                filter(
                    None,
                    (
                        f"{_PREFIX}{str(e['loc'][0]).upper()}",
                        e["msg"].removeprefix("Value error, "),
                        f"got {e['input']!r}" if e["type"] != "value_error" else "",
                    ),
                )
            )
            for e in error.errors()
        ]
    if problems:
        raise ConfigurationError("wrong settings: " + "; ".join(problems))
    return settings


def _misspelt(name: str) -> str | None:
    """The setting that a name is like without being it.

    Others of the same beginning are somebody else's: a cluster sets some for its services.
    """
    settings = [name.upper() for name in Settings.model_fields]
    alike = get_close_matches(name, settings, 1, cutoff=_ALIKE)
    return alike[0] if alike and name not in settings else None

"""Which destination the settings name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from engagement.catalog import Catalog, FolderCatalog, S3Catalog
from engagement.errors import ConfigurationError, UsageError
from engagement.publish import Destination
from engagement.publish_folder import FolderDestination
from engagement.publish_s3 import S3Destination
from engagement.s3_bucket import S3Bucket
from engagement.settings import Settings, check_prefix

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

# S3 keys have at most 1,024 bytes; what follows the prefix has fewer than 100.
MAX_PREFIX_BYTES = 900


def open_destination(
    settings: Settings, prefix: str | None, s3_client: Callable[[], S3Client]
) -> Destination:
    """The destination that `settings` name, under `prefix` or else the setting's.

    Raises UsageError for a wrong prefix, ConfigurationError for settings that contradict each
    other. `s3_client` is called only where the destination is on S3, and not before it is used.
    """
    place, under = _place(settings, prefix, s3_client)
    if isinstance(place, Path):
        return FolderDestination(place, under)
    if settings.s3_kms_key_id and settings.s3_encryption != "aws:kms":
        raise ConfigurationError(
            "ENGAGEMENT_S3_KMS_KEY_ID is set but ENGAGEMENT_S3_ENCRYPTION is "
            f"{settings.s3_encryption!r}: expected 'aws:kms' with it"
        )
    return S3Destination(place, under)


def open_catalog(settings: Settings, s3_client: Callable[[], S3Client]) -> Catalog:
    """What is published in the destination that `settings` name, under the setting's prefix.

    Raises UsageError for a prefix that is too long. `s3_client` is called as for publishing.
    """
    place, under = _place(settings, None, s3_client)
    return FolderCatalog(place, under) if isinstance(place, Path) else S3Catalog(place, under)


def _place(
    settings: Settings, prefix: str | None, s3_client: Callable[[], S3Client]
) -> tuple[Path | S3Bucket, str]:
    """The folder or bucket of the destination, and the whole prefix in it."""
    try:
        under = settings.s3_prefix if prefix is None else check_prefix(prefix)
    except ValueError as error:
        raise UsageError(f"s3_prefix: {error}") from None
    if not settings.destination.startswith("s3://"):
        return Path(settings.destination).expanduser().absolute(), under
    bucket, _, base = settings.destination.removeprefix("s3://").partition("/")
    under = check_prefix(base) + under
    if len(under.encode()) > MAX_PREFIX_BYTES:
        raise UsageError(
            f"s3_prefix is too long: base and prefix have {len(under.encode())} bytes, expected "
            f"at most {MAX_PREFIX_BYTES}"
        )
    return S3Bucket(settings, bucket, s3_client), under

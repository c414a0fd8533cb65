"""What is told of a published archive, as a value and in the two forms in which it is stored."""

from __future__ import annotations

import json
import string
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import quote, unquote

from engagement.errors import PublishError, UsageError
from engagement.period import Period

_METADATA_SAFE = string.printable.strip().replace("%", "") + " "


@dataclass(frozen=True, slots=True)
class Record:
    """The facts of a published archive.

    `data_quality` is the status of its data quality result, None in a record of an older version.
    """

    period: Period
    key: str
    sha256: str
    bytes: int
    rows: Mapping[str, int]
    revision: int
    snapshot_at: str
    run: str | None
    code_version: str
    data_quality: str | None = None

    @property
    def activities(self) -> int:
        """The activities of the period; the app deletes old ones, so a later count is lower."""
        return self.rows["user_activity_timeline"]

    @property
    def order(self) -> tuple[Any, ...]:
        """What decides which of two records is the later one."""
        return self.period.end, self.period.start, self.revision


def to_json(record: Record) -> bytes:
    """The record as the JSON document that stands beside the archives."""
    document = {
        "period": record.period.as_dict(),
        "key": record.key,
        "sha256": record.sha256,
        "bytes": record.bytes,
        "rows": dict(record.rows),
        "revision": record.revision,
        "snapshot_at": record.snapshot_at,
        "run": record.run,
        "code_version": record.code_version,
        "data_quality": record.data_quality,
    }
    return f"{json.dumps(document, ensure_ascii=False, indent=2)}\n".encode()


def from_json(text: bytes, place: str) -> Record:
    """The record in the document `text` that was found at `place`; raises PublishError."""
    try:
        document = json.loads(text)
        record = Record(
            Period.parse(**document["period"]),
            str(document["key"]),
            str(document["sha256"]),
            int(document["bytes"]),
            {str(name): int(count) for name, count in document["rows"].items()},
            int(document["revision"]),
            _instant(document["snapshot_at"]),
            _text_or_none(document["run"]),
            str(document["code_version"]),
            _text_or_none(document.get("data_quality")),
        )
        _ = record.activities
    except (ValueError, KeyError, TypeError, AttributeError, UsageError):
        raise PublishError(
            f"{place} is damaged: expected the JSON document that publishing writes; restore "
            "it, or remove it and publish again, with replace where it stands beside an archive"
        ) from None
    return record


def _instant(text: str) -> str:
    if datetime.fromisoformat(text).tzinfo is None:
        raise ValueError("an instant without an offset")
    return text


def _text_or_none(value: str | None) -> str | None:
    if not isinstance(value, str | None):
        raise TypeError("a text or nothing was expected")
    return value


def to_metadata(record: Record) -> dict[str, str]:
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
    if record.data_quality is not None:
        facts["data-quality"] = record.data_quality
    return {name: quote(value, safe=_METADATA_SAFE) for name, value in facts.items()}


def from_metadata(metadata: Mapping[str, str], key: str, size: int) -> Record | None:
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
            _instant(facts["snapshot"]),
            facts.get("run"),
            facts["code-version"],
            facts.get("data-quality"),
        )
        _ = record.activities
    except (ValueError, KeyError, AttributeError, TypeError, UsageError):
        return None
    return record

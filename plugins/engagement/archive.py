"""One archive of a report: the datasets, what they mean, and how good the data was.

A zip with the seven datasets, `data_quality.json`, pages to read, a Frictionless data package and a
README. The same datasets give the same bytes: members are sorted, with fixed times and modes.
"""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from stat import S_IFREG
from typing import Any

from engagement import queries
from engagement.datasets import (
    OTHER_METRICS,
    TABLES,
    Column,
    Counts,
    Dataset,
    Format,
    Group,
    MeanGap,
    Part,
    Rows,
    Type,
    Values,
    file_name,
)
from engagement.period import Period
from engagement.text_table import code_span, counted

SCHEMA_VERSION = "1.1.0"
"""The version of what an archive holds: its first number changes when a reader must."""

DATA_PACKAGE = "datapackage.json"
DATA_QUALITY = "data_quality.json"
README = "README.md"
REPORT_PAGE = "report.html"
SUMMARY = "summary.md"
DATA_QUALITY_PAGE = "data_quality.html"
PAGES = (REPORT_PAGE, SUMMARY, DATA_QUALITY_PAGE)
"""What the archive holds for people to read, beside the README."""

_MEDIA_TYPES = {
    Format.JSON: "application/json",
    Format.CSV: "text/csv",
    Format.PARQUET: "application/vnd.apache.parquet",
}
_DOCUMENT_TYPES = {"json": "application/json", "html": "text/html", "md": "text/markdown"}
# The compressor's output depends on how its input is cut: every block but the last has this size.
_BLOCK_BYTES = 1 << 20
_LARGE_ARCHIVE_BYTES = 1 << 31
_MEMBER_TIME = datetime(1980, 1, 1)  # noqa: DTZ001  a zip's times have no zone
_MEMBER_MODE = S_IFREG | 0o644


@dataclass(frozen=True, slots=True)
class File:
    """One file of the archive."""

    name: str
    rows: int
    bytes: int
    sha256: str


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file's content, as lower-case hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def describe(
    folder: Path,
    data: Path,
    period: Period,
    file_format: Format,
    files: Mapping[str, File],
    quality: Path,
) -> None:
    """Writes the data package and the README into `folder`.

    `files` are the datasets' by name, which stand in `data` with the pages; `quality` is the data
    quality result.
    """
    fields = {
        dataset.name: list(_fields(dataset, file_format, data / files[dataset.name].name))
        for dataset in TABLES
    }
    readme = queries.document("archive_readme").format(
        period=f"{period.start} to {period.end}",
        timezone=period.timezone,
        datasets=_dataset_sections(fields, files),
        other_metrics=file_name(OTHER_METRICS.name, file_format),
    )
    (folder / README).write_text(readme, encoding="utf-8", newline="")
    resources = [
        *(
            _table_resource(dataset, file_format, files[dataset.name], fields[dataset.name])
            for dataset in TABLES
        ),
        _object_resource(files[OTHER_METRICS.name]),
        _document_resource("data_quality", "What the checks of the data found", quality),
        _document_resource(
            "data_quality_page",
            "What the checks of the data found, as a page",
            data / DATA_QUALITY_PAGE,
        ),
        _document_resource("report_page", "The report as a page", data / REPORT_PAGE),
        _document_resource("summary", "The report in words", data / SUMMARY),
        _document_resource("readme", "How to read this archive", folder / README),
    ]
    package = {
        "name": "engagement-report",
        "title": f"Engagement report, {period.start} to {period.end}",
        "profile": "data-package",
        "version": SCHEMA_VERSION,
        "period": {"start": str(period.start), "end": str(period.end)},
        "timezone": period.timezone,
        "resources": resources,
    }
    text = json.dumps(package, ensure_ascii=False, indent=2)
    (folder / DATA_PACKAGE).write_text(text + "\n", encoding="utf-8", newline="")


def write(paths: Iterable[Path], target: Path) -> str:
    """Zips the files under their own names into `target`; returns the archive's SHA-256."""
    from stream_zip import ZIP_32, ZIP_64, stream_zip

    digest = hashlib.sha256()
    ordered = sorted(paths, key=lambda path: path.name)
    # stream-zip's own choice between the two forms would compress with its own zlib.
    large = sum(path.stat().st_size for path in ordered) >= _LARGE_ARCHIVE_BYTES
    members = (
        (path.name, _MEMBER_TIME, _MEMBER_MODE, ZIP_64 if large else ZIP_32, _blocks(path))
        for path in ordered
    )
    with target.open("xb") as file:
        for chunk in stream_zip(
            members,
            chunk_size=_BLOCK_BYTES,
            get_compressobj=_compressor,
            extended_timestamps=False,
        ):
            digest.update(chunk)
            file.write(chunk)
    return digest.hexdigest()


def _compressor() -> Any:
    from isal import isal_zlib

    return isal_zlib.compressobj(level=2, wbits=-15)


def _blocks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while block := file.read(_BLOCK_BYTES):
            yield block


def _table_resource(
    dataset: Dataset, file_format: Format, file: File, fields: list[dict[str, Any]]
) -> dict[str, Any]:
    # A JSON table would have to go without its hash, so it is told as JSON; its schema stands
    # beside it all the same.
    kinds = {Format.JSON: "json", Format.CSV: "table", Format.PARQUET: "file"}
    schema: dict[str, Any] = {"fields": fields}
    if dataset.key:
        schema["primaryKey"] = list(dataset.key)
    return {
        "name": dataset.name,
        "title": dataset.title,
        "description": f"{_sentence(dataset.grain)} Ordered by {dataset.order}.",
        "path": file.name,
        "type": kinds[file_format],
        "format": str(file_format),
        "mediatype": _MEDIA_TYPES[file_format],
        "encoding": "utf-8",
        "bytes": file.bytes,
        "hash": f"sha256:{file.sha256}",
        # Not "rows": validators count those themselves, and cannot in every format.
        "rowCount": file.rows,
        "schema": schema,
    }


def _object_resource(file: File) -> dict[str, Any]:
    return {
        "name": OTHER_METRICS.name,
        "title": "Other metrics",
        "description": OTHER_METRICS.description,
        "path": file.name,
        "type": "json",
        "format": "json",
        "mediatype": _MEDIA_TYPES[Format.JSON],
        "encoding": "utf-8",
        "bytes": file.bytes,
        "hash": f"sha256:{file.sha256}",
        "rowCount": file.rows,
        "schema": {"fields": list(_object_fields(OTHER_METRICS.parts, ""))},
    }


def _document_resource(name: str, title: str, path: Path) -> dict[str, Any]:
    kind = path.suffix.removeprefix(".")
    return {
        "name": name,
        "title": title,
        "path": path.name,
        "type": "json" if kind == "json" else "file",
        "format": kind,
        "mediatype": _DOCUMENT_TYPES[kind],
        "encoding": "utf-8",
        "bytes": path.stat().st_size,
        "hash": f"sha256:{sha256_of(path)}",
    }


def _fields(dataset: Dataset, file_format: Format, path: Path) -> Iterator[dict[str, Any]]:
    for column in dataset.columns:
        if column.type is Type.COUNTS and file_format is Format.CSV:
            for name in _header(path):
                # The name is free text out of the data: it stands here and nowhere else.
                if name.startswith("type_"):
                    yield {
                        "name": name,
                        "type": str(Type.INTEGER),
                        "description": "Activities of this type.",
                        "unit": column.unit,
                        "constraints": {"required": True, "minimum": 0},
                    }
        else:
            yield _field(column, column.name)


def _header(path: Path) -> list[str]:
    with path.open(encoding="utf-8", newline="") as file:
        return next(csv.reader(file))


def _field(column: Column, name: str) -> dict[str, Any]:
    described: dict[str, Any] = {
        "name": name,
        "type": str(column.type),
        "description": column.description,
    }
    if column.unit is not None:
        described["unit"] = column.unit
    if column.personal:
        described["personal"] = True
    # A reader takes the empty text for a missing value, so no text is told to be required.
    constraints = {
        "required": True if not column.nullable and column.type is not Type.STRING else None,
        "minimum": column.minimum,
        "maximum": column.maximum,
        "enum": list(column.values) if column.values else None,
    }
    set_constraints = {name: value for name, value in constraints.items() if value is not None}
    if set_constraints:
        described["constraints"] = set_constraints
    return described


def _object_fields(parts: tuple[Part, ...], path: str) -> Iterator[dict[str, Any]]:
    """The values of an object, each by its path: a dot steps in, `[]` is each one of a list."""
    for part in parts:
        match part:
            case Group(name=name, parts=inner):
                yield from _object_fields(inner, f"{path}{name}.")
            case Values(columns=columns):
                yield from (_field(column, f"{path}{column.name}") for column in columns)
            case MeanGap(column=column):
                yield _field(column, f"{path}{column.name}")
            case Rows(name=name, columns=columns):
                yield from (_field(column, f"{path}{name}[].{column.name}") for column in columns)
            case Counts(name=name, description=description, unit=unit):
                yield {
                    "name": f"{path}{name}",
                    "type": str(Type.COUNTS),
                    "description": description,
                    "unit": unit,
                }


def _dataset_sections(fields: Mapping[str, list[dict[str, Any]]], files: Mapping[str, File]) -> str:
    sections = []
    for dataset in TABLES:
        file = files[dataset.name]
        rows = counted(file.rows, "row")
        lines = [
            f"### {file.name}",
            "",
            f"{dataset.title}: {dataset.grain}. Ordered by {dataset.order}. {rows}.",
            "",
            "| column | what it is |",
            "| --- | --- |",
            *(f"| {_code(column['name'])} | {_told(column)} |" for column in fields[dataset.name]),
        ]
        sections.append("\n".join(lines))
    lines = [
        f"### {files[OTHER_METRICS.name].name}",
        "",
        OTHER_METRICS.description,
        "A dot steps into an object, `[]` stands for each one of a list.",
        "",
        "| value | what it is |",
        "| --- | --- |",
        *(
            f"| {_code(value['name'])} | {_told(value)} |"
            for value in _object_fields(OTHER_METRICS.parts, "")
        ),
    ]
    sections.append("\n".join(lines))
    return "\n\n".join(sections)


def _code(text: str) -> str:
    """Any text as a code span in a cell of a Markdown table."""
    return code_span(text).replace("|", "\\|")


def _told(described: Mapping[str, Any]) -> str:
    unit = f" ({described['unit']})" if "unit" in described else ""
    personal = " **Personal.**" if described.get("personal") else ""
    return f"{described['description']}{unit}{personal}".replace("|", "\\|")


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}."

"""The golden database gives the golden reports: every dataset, period, time zone and format."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from datetime import date, datetime
from pathlib import Path
from typing import Any

import duckdb
import pyarrow.parquet as pq
import pytest
from upath import UPath

from engagement import datasets, engine, report
from engagement.app_database import Address
from engagement.datasets import Column, Dataset, Format, Type
from engagement.period import Cadence
from engagement.settings import Settings
from engagement.staging import StagingArea
from tests.conftest import GOLDEN_REPORTS, Golden

# What has nothing to do with dates and zones is seen in one period, the one in another zone.
ONE_OF_THEM = pytest.mark.parametrize(
    "golden",
    [golden for golden in GOLDEN_REPORTS if golden.period.timezone != "UTC"],
    indirect=True,
    scope="session",
    ids=lambda golden: golden.name,
)


@pytest.fixture(scope="session")
def tables(
    golden: Golden, golden_address: Address, tmp_path_factory: pytest.TempPathFactory
) -> report.Snapshot:
    area = StagingArea(UPath(tmp_path_factory.mktemp("staging")))
    return report.take_snapshot(golden_address, golden.period, area, "tests", Settings())


def _instant(value: datetime | None) -> str | None:
    if value is None:
        return None
    text = value.isoformat(timespec="microseconds" if value.microsecond else "seconds")
    return text.replace("+00:00", "Z")


def _read_json(path: Path, _: Dataset) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def _read_parquet(path: Path, dataset: Dataset) -> Any:
    def value(cell: Any) -> Any:
        if isinstance(cell, datetime):
            return _instant(cell)
        if isinstance(cell, date):
            return str(cell)
        return dict(cell) if isinstance(cell, list) else cell

    table = pq.read_table(path)
    assert table.column_names == [column.name for column in dataset.columns]
    return [{name: value(cell) for name, cell in row.items()} for row in table.to_pylist()]


def _read_csv(path: Path, dataset: Dataset) -> Any:
    """The rows of a CSV as the catalogue types them; `csv` tells no null from an empty text."""
    columns = {column.name: column for column in dataset.columns}

    def cell(column: Column, text: str) -> Any:
        if text == "" and column.nullable:
            return None
        if column.type is Type.INTEGER:
            return int(text)
        if column.type is Type.NUMBER:
            return float(text)
        return text.removeprefix("'") if text[:2] in {"'=", "'+", "'-", "'@", "'\t"} else text

    rows = []
    with path.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            values: dict[str, Any] = {}
            for name, text in row.items():
                if name in columns:
                    values[name] = cell(columns[name], text)
                elif int(text):
                    values.setdefault("by_type", {})[name.removeprefix("type_")] = int(text)
            rows.append(values)
    return rows


READERS: dict[Format, Callable[[Path, Dataset], Any]] = {
    Format.JSON: _read_json,
    Format.CSV: _read_csv,
    Format.PARQUET: _read_parquet,
}


@pytest.mark.parametrize("file_format", Format)
@pytest.mark.parametrize("dataset", datasets.TABLES, ids=lambda dataset: dataset.name)
def test_dataset(
    dataset: Dataset,
    file_format: Format,
    golden: Golden,
    tables: report.Snapshot,
    settings: Settings,
    tmp_path: Path,
) -> None:
    expected = golden.report[dataset.name]
    result = engine.compute(
        dataset.name, Path(tables.tables.path), golden.period, tmp_path, file_format, settings
    )
    found = READERS[file_format](tmp_path / result.file, dataset)
    assert found == expected
    assert result.rows == len(expected)
    assert [list(row) for row in found] == [list(row) for row in expected]
    if any(column.type is Type.COUNTS for column in dataset.columns):
        counts = [list(row["by_type"].items()) for row in found]
        assert counts == [list(row["by_type"].items()) for row in expected]


def test_other_metrics(
    golden: Golden, tables: report.Snapshot, settings: Settings, tmp_path: Path
) -> None:
    for file_format in Format:
        result = engine.compute(
            "other_metrics",
            Path(tables.tables.path),
            golden.period,
            tmp_path,
            file_format,
            settings,
        )
        assert result.file == "other_metrics.json"
        found = (tmp_path / result.file).read_text(encoding="utf-8")
        expected = golden.report["other_metrics"]
        assert json.dumps(json.loads(found)) == json.dumps(expected)


@pytest.mark.parametrize("file_format", Format)
@ONE_OF_THEM
def test_the_time_zone_of_the_session_is_no_matter(
    file_format: Format,
    golden: Golden,
    tables: report.Snapshot,
    settings: Settings,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """No query cuts a day or prints an instant by it."""
    connect = duckdb.connect
    found = []
    for zone in ("Etc/GMT+12", "Pacific/Kiritimati"):

        def elsewhere(zone: str = zone, **options: Any) -> duckdb.DuckDBPyConnection:
            return connect(config={**options["config"], "TimeZone": zone})

        monkeypatch.setattr(duckdb, "connect", elsewhere)
        folder = tmp_path / zone.replace("/", "-")
        folder.mkdir()
        staged = Path(tables.tables.path)
        files = [
            engine.compute(name, staged, golden.period, folder, file_format, settings).file
            for name in datasets.NAMES
        ]
        found.append([(folder / file).read_bytes() for file in files])
    assert found[0] == found[1]


def test_consolidated(golden: Golden, tables: report.Snapshot, settings: Settings) -> None:
    computed = [report.compute(tables, name, Format.JSON, settings) for name in datasets.NAMES]
    found = b"".join(report.consolidated(tables, computed))
    assert json.dumps(json.loads(found)) == json.dumps(golden.report)


@pytest.mark.parametrize("file_format", Format)
@ONE_OF_THEM
def test_same_bytes(
    file_format: Format,
    golden: Golden,
    golden_address: Address,
    settings: Settings,
    tmp_path: Path,
) -> None:
    """Two snapshots of the same data give the same archive, however many threads compute it."""
    digests = set()
    for threads in (1, 2, 4):
        changed = settings.model_copy(update={"threads": threads})
        area = StagingArea(UPath(tmp_path / str(threads)))
        taken = report.take_snapshot(golden_address, golden.period, area, "tests", changed)
        report.skip_quality(taken)
        computed = [report.compute(taken, name, file_format, changed) for name in datasets.NAMES]
        report.draw(taken, computed, file_format)
        packaged = report.package(taken, computed, file_format, Cadence.ON_DEMAND, f"run {threads}")
        digests.add(packaged.sha256)
    assert len(digests) == 1

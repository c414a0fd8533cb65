"""Extracted tables as a test makes them up, in the files and types of the extract."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyarrow import parquet

from engagement import quality

Row = Mapping[str, Any]

_TYPES = {
    "int32": pa.int32(),
    "int64": pa.int64(),
    "string": pa.string(),
    "timestamp[us, tz=UTC]": pa.timestamp("us", "UTC"),
}


def write_tables(folder: Path, tables: Mapping[str, Sequence[Row]]) -> None:
    """Writes every extracted table to `folder`; those that `tables` lacks are empty."""
    unknown = set(tables) - set(quality.TABLES)
    assert not unknown, unknown
    for name, columns in quality.TABLES.items():
        rows = tables.get(name, ())
        assert all(set(row) == {column.name for column in columns} for row in rows), name
        schema = pa.schema([(column.name, _TYPES[column.type]) for column in columns])
        table = pa.Table.from_pylist([dict(row) for row in rows], schema)
        parquet.write_table(table, folder / f"{name}.parquet")

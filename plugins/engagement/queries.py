"""The SQL files, documents and templates, found by their names."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent


@cache
def folder() -> Path:
    """The folder of the SQL files: beside the package where it was built, else `include/sql`."""
    packaged = _PACKAGE / "sql"
    return packaged if packaged.is_dir() else _PACKAGE.parent.parent / "include" / "sql"


@cache
def read(name: str) -> str:
    """The text of the SQL file `name`, such as `extract/users`, without a closing semicolon."""
    return (folder() / f"{name}.sql").read_text(encoding="utf-8").strip().removesuffix(";")


def over(relations: Mapping[str, str], name: str) -> str:
    """The query of the file `name`, with what it reads by the names of `relations`: their files.

    The planner sees each as if it stood where it is read, as it would see a view.
    """
    views = (f"{view} as not materialized (\n{read(file)}\n)" for view, file in relations.items())
    return f"with {', '.join(views)}\n{read(name)}"


def names(subfolder: str) -> list[str]:
    """The names of the SQL files in `subfolder`, in alphabetical order."""
    return sorted(path.stem for path in (folder() / subfolder).glob("*.sql"))


def templates() -> Path:
    """The folder of the templates of the pages."""
    return folder().parent / "templates"


@cache
def document(name: str) -> str:
    """The text of the document `name`, such as `archive_readme`."""
    return (folder().parent / "documents" / f"{name}.md").read_text(encoding="utf-8")

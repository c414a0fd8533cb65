"""The README says what is so."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from engagement import datasets
from engagement.__main__ import main
from engagement.settings import Settings

ROOT = Path(__file__).resolve().parent.parent
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")


def test_settings_table() -> None:
    told = dict(re.findall(r"^\| `ENGAGEMENT_(\w+)` \| .* \| (.*) \|$", TEXT, re.MULTILINE))
    fields = Settings.model_fields
    assert told == {name.upper(): field.description for name, field in fields.items()}
    for name, field in fields.items():
        if name not in {"destination", "staging"} and field.default is not None:
            assert f"| `ENGAGEMENT_{name.upper()}` | `{field.default}` |" in TEXT


def test_datasets_are_listed() -> None:
    for name in datasets.NAMES:
        assert f"`{name}" in TEXT


def test_make_targets_exist() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"`make ([a-z]+)`", TEXT)) <= targets


def test_linked_files_exist() -> None:
    for link in re.findall(r"\]\((?!https:)([^)]+)\)", TEXT):
        assert (ROOT / link).exists(), link


def test_commands_are_understood(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The commands of the README get as far as looking for the connection."""
    monkeypatch.delenv("AIRFLOW_CONN_APP_DB", raising=False)
    monkeypatch.delenv("AIRFLOW_CONN_APP_DB_EVENTS", raising=False)
    commands = re.findall(r"^engagement (\w+ .*?)(?: > .*)?$", TEXT, re.MULTILINE)
    assert len(commands) == 3
    for command in commands:
        assert main(command.split()) == 1
        assert "AIRFLOW_CONN_APP_DB" in capsys.readouterr().err


def test_what_one_sees_is_what_the_code_says() -> None:
    table = TEXT[TEXT.index("| what you see |") : TEXT.index("## Develop")]
    quoted = re.findall(r"^\| \*(.+?)\* \|", table, re.MULTILINE)
    assert len(quoted) == table.count("\n| ") - 1
    sources = (ROOT / "plugins" / "engagement").rglob("*.py")
    code = "".join(path.read_text(encoding="utf-8") for path in sources)
    # Messages that go over several lines of code are one text.
    said = re.sub(r'"\s*\n\s*f?"', "", code)
    assert [words for words in quoted if words not in said] == []

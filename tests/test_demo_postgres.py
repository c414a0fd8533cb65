"""The embedded PostgreSQL: started, found and stopped, also where that is awkward."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from demo import app_tables, postgres


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as temporary:
        yield Path(temporary)


def _answer(started: postgres.Server) -> object:
    with psycopg.connect(started.uri("postgres")) as connection:
        return connection.execute("select 1").fetchone()


def test_outlives_a_second_start_and_is_gone_after_stop(folder: Path) -> None:
    data = folder / "pg"
    assert postgres.find(data) is None
    with postgres.server(data) as started:
        assert postgres.start(data) == started == postgres.find(data)
        assert _answer(started) == (1,)
    assert postgres.find(data) is None
    postgres.stop(data)


def test_socket_of_a_deep_folder_is_short(folder: Path) -> None:
    data = folder / ("deep" * 30) / "pg"
    with postgres.server(data) as started:
        assert len(str(started.socket)) < 100
        assert _answer(started) == (1,)


def test_starts_after_a_crash_whose_pid_is_another_programs(folder: Path) -> None:
    data = folder / "pg"
    with postgres.server(data) as started:
        left = (data / "postmaster.pid").read_text(encoding="utf-8").splitlines()
    left[0] = str(os.getpid())
    (data / "postmaster.pid").write_text("\n".join(left) + "\n", encoding="utf-8")
    assert postgres.find(data) is None
    with postgres.server(data) as again:
        assert again == started
        assert _answer(again) == (1,)


def test_names_a_folder_that_it_cannot_use(folder: Path) -> None:
    with pytest.raises(ValueError, match="without blanks"):
        postgres.start(folder / "with blank")


def test_starts_where_the_locale_is_not_installed(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LC_ALL", "xx_XX.UTF-8")
    with postgres.server(folder / "pg") as started:
        assert _answer(started) == (1,)
    assert os.environ["LC_ALL"] == "xx_XX.UTF-8"


def test_database_is_made_once_and_dropped(folder: Path) -> None:
    with postgres.server(folder / "pg") as started:
        uri = started.create_database("app")
        app_tables.apply_schema(uri)
        assert started.create_database("app") == uri
        with psycopg.connect(uri) as connection:
            assert connection.execute("select count(*) from auth_user").fetchone() == (0,)
        started.drop_database("app")
        started.drop_database("app")
        with pytest.raises(psycopg.OperationalError, match="does not exist"):
            psycopg.connect(uri)

"""The parts of the demo's Airflow that need none running."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from datetime import date
from pathlib import Path

import psutil
import pytest

from demo.__main__ import last_full_month
from demo.airflow import HOST, Home, attach, free_port, sqlalchemy_uri, stop


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        (
            "postgresql://postgres@%2Fa%20b%2Fsocket/airflow",
            "postgresql+psycopg2://postgres@/airflow?host=/a b/socket",
        ),
        (
            "postgresql://me:secret@db.example:5433/airflow",
            "postgresql+psycopg2://me:secret@db.example:5433/airflow",
        ),
    ],
    ids=["socket", "network"],
)
def test_address_of_the_metadata_database(uri: str, expected: str) -> None:
    assert sqlalchemy_uri(uri) == expected


@pytest.mark.parametrize(
    ("today", "first", "last"),
    [
        (date(2026, 3, 1), date(2026, 2, 1), date(2026, 2, 28)),
        (date(2026, 1, 31), date(2025, 12, 1), date(2025, 12, 31)),
        (date(2024, 3, 31), date(2024, 2, 1), date(2024, 2, 29)),
    ],
    ids=str,
)
def test_last_full_month(today: date, first: date, last: date) -> None:
    assert last_full_month(today) == (first, last)


def test_a_port_that_is_taken_is_passed_over() -> None:
    with socket.socket() as taken:
        taken.bind((HOST, 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert free_port(port) > port


def test_what_the_shell_has_set_for_another_airflow_stays_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__CORE__DAGS_FOLDER", "/elsewhere")
    monkeypatch.setenv("AIRFLOW_CONN_AWS_DEFAULT", "aws://elsewhere")
    monkeypatch.setenv("ENGAGEMENT_DESTINATION", "s3://elsewhere")
    monkeypatch.setenv("KEPT", "yes")
    home = Home(
        tmp_path, "postgresql://a@b/c", "postgresql://d@e/f", settings={"ENGAGEMENT_X": "1"}
    )

    first, second = home.environment(1234), home.environment(1234)

    assert "elsewhere" not in " ".join(first.values())
    assert first["KEPT"] == "yes"
    assert first["ENGAGEMENT_X"] == "1"
    assert first["AIRFLOW__API__PORT"] == "1234"
    assert first == second, "keys outlive a restart"
    assert (tmp_path / "secrets.json").stat().st_mode & 0o077 == 0


def test_nothing_runs_and_nothing_is_stopped(tmp_path: Path) -> None:
    assert attach(tmp_path) is None
    assert stop(tmp_path) is False


def test_a_session_is_ended_with_what_it_has_started(tmp_path: Path) -> None:
    code = "import subprocess; subprocess.run(['sleep', '300'], process_group=0)"
    with subprocess.Popen([sys.executable, "-c", code], start_new_session=True) as leader:
        child = psutil.Process(leader.pid)
        while not (grandchildren := child.children()):
            assert leader.poll() is None
        _write_state(tmp_path, leader.pid, child.create_time())

        assert stop(tmp_path) is True

    assert not any(_runs(process) for process in grandchildren)
    assert not (tmp_path / "running.json").exists()


def test_another_process_with_the_same_number_is_left_alone(tmp_path: Path) -> None:
    with subprocess.Popen(["sleep", "300"], start_new_session=True) as other:
        began = psutil.Process(other.pid).create_time()
        _write_state(tmp_path, other.pid, began - 3600)

        assert attach(tmp_path) is None
        assert stop(tmp_path) is False

        assert other.poll() is None
        other.kill()


def _runs(process: psutil.Process) -> bool:
    # One that nobody has waited for is dead all the same.
    return process.is_running() and process.status() != psutil.STATUS_ZOMBIE


def _write_state(folder: Path, pid: int, created: float) -> None:
    service = {"name": "scheduler", "pid": pid, "created": created}
    (folder / "running.json").write_text(json.dumps({"port": 1, "services": [service]}))
    assert os.getsid(pid) == pid

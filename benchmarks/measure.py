"""Measures one run of the baseline or of the report, each as processes of their own."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from threading import Event

import psutil

from demo.postgres import psql

_ROOT = Path(__file__).resolve().parents[1]
_STAGE = re.compile(r"^([\w ]+): .+, ([\d.]+) s$", re.MULTILINE)
_ROWS = re.compile(r"^extracted (\w+): ([\d,]+) rows?$", re.MULTILINE)
_MEBIBYTE = 1 << 20


class BenchmarkError(Exception):
    """A measured process failed; the message is what it said."""


@dataclass(frozen=True, slots=True)
class Run:
    """One process: how long it took, its peak memory in MiB, and what it said on standard error.

    The peak is that of the process with its children.
    """

    seconds: float
    peak: float
    said: str

    @property
    def stages(self) -> dict[str, float]:
        """The seconds of each stage, as the report tells them."""
        return {name: float(seconds) for name, seconds in _STAGE.findall(self.said)}

    @property
    def rows(self) -> dict[str, int]:
        """The rows that were extracted of each table."""
        return {table: int(rows.replace(",", "")) for table, rows in _ROWS.findall(self.said)}


@dataclass(frozen=True, slots=True)
class Days:
    """The first and the last day of a report, both included."""

    start: date
    end: date

    @property
    def count(self) -> int:
        """How many days."""
        return (self.end - self.start).days + 1

    def __str__(self) -> str:
        return f"{self.start} to {self.end}"


def baseline(uri: str, days: Days) -> float:
    """The seconds of copying out what the baseline's queries give, one after the other.

    The reader is psql: the cheapest there is, since the rows are thrown away.
    """
    bounds = {
        ":start": f"'{days.start}T00:00:00Z'::timestamptz",
        ":end_exclusive": f"'{days.end + timedelta(days=1)}T00:00:00Z'::timestamptz",
    }
    text = (Path(__file__).parent / "baseline.sql").read_text(encoding="utf-8")
    lines = "\n".join(line for line in text.splitlines() if not line.startswith("--"))
    for name, value in bounds.items():
        lines = re.sub(rf"{name}\b", value, lines)
    queries = [query.strip() for query in lines.split(";") if query.strip()]
    return sum(
        _run(
            [
                str(psql()),
                "--no-psqlrc",
                "--set=ON_ERROR_STOP=1",
                f"--dbname={uri}",
                f"--command=copy ({query}) to stdout (format binary)",
            ],
            os.environ,
        ).seconds
        for query in queries
    )


def report(uri: str, days: Days, *, validate: bool = False) -> Run:
    """One run of the report's command line, as a user starts it."""
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith("ENGAGEMENT_")
    }
    # Whoever runs the report twice has the bytecode of its modules.
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    environment |= {"AIRFLOW_CONN_APP_DB": uri, "PYTHONPATH": str(_ROOT / "plugins")}
    with tempfile.TemporaryDirectory(prefix="engagement-benchmark-") as folder:
        command = [sys.executable, "-m", "engagement", "report"]
        command += [f"--start={days.start}", f"--end={days.end}", "--format=json", "--zip"]
        command += [] if validate else ["--skip-validation"]
        run = _run([*command, f"--output-dir={folder}"], environment)
    if not {"extract", "package"} <= run.stages.keys():
        raise BenchmarkError(f"the report does not tell its stages: {run.said}")
    return run


def _run(command: Sequence[str], environment: Mapping[str, str]) -> Run:
    with tempfile.TemporaryFile() as errors, ThreadPoolExecutor(1) as watching:
        began = time.perf_counter()
        process = subprocess.Popen(
            command, env=environment, cwd=_ROOT, stdout=subprocess.DEVNULL, stderr=errors
        )
        ended = Event()
        family = watching.submit(_peak_of_family, process.pid, ended)
        try:
            _, status, usage = os.wait4(process.pid, 0)
        finally:
            ended.set()
        seconds = time.perf_counter() - began
        process.returncode = os.waitstatus_to_exitcode(status)
        errors.seek(0)
        said = errors.read().decode(errors="replace")
    if process.returncode:
        raise BenchmarkError(f"{' '.join(command[:4])} ended with {process.returncode}: {said}")
    # Linux counts in KiB, macOS in bytes.
    unit = 1 if sys.platform == "darwin" else 1024
    # The system's own figure misses nothing, but knows only the largest of several processes.
    peak = max(usage.ru_maxrss * unit, family.result())
    return Run(seconds, peak / _MEBIBYTE, said)


def _peak_of_family(pid: int, ended: Event) -> int:
    """The most memory that a process and its children had together, in bytes, as often looked."""
    peak = 0
    while not ended.wait(0.05):
        with suppress(psutil.NoSuchProcess):
            process = psutil.Process(pid)
            family = [process, *process.children(recursive=True)]
            peak = max(peak, sum(one.memory_info().rss for one in family))
    return peak

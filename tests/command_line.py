"""Running the command line, as a process of its own or called in this one."""

from __future__ import annotations

import os
import re
import resource
import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import chdir
from dataclasses import dataclass
from pathlib import Path
from typing import cast
from unittest import mock

import pytest

from engagement.__main__ import main

ROOT = Path(__file__).parents[1]
WEEK = ("--start", "2025-12-29", "--end", "2026-01-04")
SECRET = "Tr0ub4dor"
TEMPORARY = "temporary"
PROGRESS = re.compile(
    r"(extracted \w+|extract|validate|compute \w+|draw|package|publish): |the report is "
)


@dataclass(frozen=True, slots=True)
class Run:
    """How a run ended, and the temporary folder that it had for itself."""

    code: int
    out: bytes
    err: str
    temporary: Path

    @property
    def lines(self) -> list[str]:
        """The lines on standard error that tell no progress."""
        return [line for line in self.err.splitlines() if not PROGRESS.match(line)]


Runner = Callable[..., Run]


def environment_of(home: Path) -> dict[str, str]:
    """All that a process of the command line knows, but for its connections."""
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "TMPDIR": str(home / TEMPORARY),
        "PYTHONPATH": str(ROOT / "plugins"),
        "PYTHONWARNINGS": "error,ignore:module 'sre_:DeprecationWarning",
    }


def runner(
    home: Path, database: str, command: str = "report", variable: str = "AIRFLOW_CONN_APP_DB"
) -> Runner:
    """Runs `python -m engagement report` on the database at this URI, with nothing else set."""
    temporary = home / TEMPORARY
    temporary.mkdir()

    def run(
        *arguments: str,
        uri: str | None = database,
        limit: int | None = None,
        stdout: int = subprocess.PIPE,
        **variables: str,
    ) -> Run:
        environment = {**environment_of(home), **variables}
        if uri is not None:
            environment[variable] = uri
        if limit is not None:
            # Python would cut off the bytecode, too, and believe in it later.
            environment["PYTHONDONTWRITEBYTECODE"] = "1"

        def limit_file_size() -> None:
            if limit is not None:
                resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

        done = subprocess.run(
            [sys.executable, "-m", "engagement", command, *arguments],
            cwd=home,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=subprocess.PIPE,
            timeout=120,
            check=False,
            preexec_fn=limit_file_size,
        )
        return Run(done.returncode, done.stdout or b"", done.stderr.decode(), temporary)

    return run


def caller(
    home: Path,
    database: str,
    output: pytest.CaptureFixture[str],
    command: str = "report",
    variable: str = "AIRFLOW_CONN_APP_DB",
) -> Runner:
    """Calls the command line as `runner` runs it, without the second that a process takes."""
    temporary = home / TEMPORARY
    temporary.mkdir()

    def run(*arguments: str, uri: str | None = database, **variables: str) -> Run:
        environment = {**environment_of(home), **variables}
        if uri is not None:
            environment[variable] = uri
        output.readouterr()
        with (
            mock.patch.dict(os.environ, environment, clear=True),
            mock.patch.object(tempfile, "tempdir", str(temporary)),
            chdir(home),
        ):
            try:
                code = main([command, *arguments])
            except SystemExit as ended:
                code = cast("int", ended.code)
        out, err = output.readouterr()
        return Run(code, out.encode(), err, temporary)

    return run


def names(folder: Path) -> set[str]:
    """The names of what is in the folder."""
    return {path.name for path in folder.iterdir()}


def assert_failed(run: Run, code: int, *words: str) -> None:
    """One line that holds all `words`, nothing on standard output, and no file left anywhere."""
    assert (run.code, run.out) == (code, b""), run.err
    assert len(run.lines) == 1, run.err
    assert run.err.endswith(run.lines[0] + "\n")
    assert run.lines[0].startswith("engagement")
    assert "Traceback" not in run.err
    for word in words:
        assert word in run.lines[0]
    assert names(run.temporary) == set()

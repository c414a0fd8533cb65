"""`python -m benchmarks`: measures the report of 30 days of 90 days of data, events and the API.

The report runs as its users run it, in turns with the baseline, the bare copy of the rows that it
has to read. The result goes to standard output, and with the default sizes into docs/benchmark.md.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

from benchmarks import api, database, document, fast_events
from benchmarks.document import History, Result
from benchmarks.measure import BenchmarkError, Days, Run, baseline, report
from demo.generate import Size

_DOCUMENT = Path(__file__).resolve().parents[1] / "docs" / "benchmark.md"
_LAST = date(2026, 1, 25)
_FULL = Size(
    end=_LAST + timedelta(days=1),
    users=100_000,
    events=10_000_000,
    activities=5_000_000,
    days=90,
    seed=7,
)
_MONTH = 30


def measure(size: Size, rounds: int, folder: Path) -> Result:
    """Every figure of the benchmark, for data of this size; `folder` keeps the databases."""
    days = _last_days(_MONTH)
    with database.running(folder) as started:
        uri = database.database(started, size)
        halved = replace(
            size, days=size.days // 2, events=size.events // 2, activities=size.activities // 2
        )
        short_uri = database.database(started, halved)
        server = document.server_version(uri)
        _tell("warming up")
        baseline(uri, days)
        report(uri, days)
        copies, runs = _in_turns(uri, days, rounds)
        _tell("with validation")
        validated = report(uri, days, validate=True)
        _tell("twice the days")
        doubled = report(uri, _last_days(2 * _MONTH))
        _tell("half the history")
        baseline(short_uri, days)
        report(short_uri, days)
        short_copies, short_runs = _in_turns(short_uri, days, (rounds + 1) // 2)
        _tell("events of the fasts")
        tenth = replace(
            size, days=size.days // 10, events=size.events // 10, activities=size.activities // 10
        )
        idle = [
            fast_events.measure_idle(database.database(started, one), one.events, one.end, rounds)
            for one in (tenth, halved, size)
        ]
        burst = fast_events.measure_burst(uri, size.end)
        _tell("the API")
        answered = api.measure(uri, size.end, rounds)
    return Result(
        size=size,
        days=days,
        server=server,
        copies=copies,
        runs=runs,
        validated=validated,
        doubled=doubled,
        doubled_days=_last_days(2 * _MONTH),
        short=History(halved, short_copies, short_runs),
        idle=idle,
        burst=burst,
        api=answered,
    )


def _last_days(count: int) -> Days:
    return Days(_LAST - timedelta(days=count - 1), _LAST)


def _in_turns(uri: str, days: Days, rounds: int) -> tuple[list[float], list[Run]]:
    copies, runs = [], []
    for number in range(1, rounds + 1):
        copies.append(baseline(uri, days))
        runs.append(report(uri, days))
        _tell(
            f"round {number} of {rounds}: baseline {copies[-1]:.1f} s, "
            f"report {runs[-1].seconds:.1f} s, {runs[-1].peak:.0f} MiB"
        )
    return copies, runs


def _tell(message: str) -> None:
    sys.stderr.write(f"{message}\n")
    sys.stderr.flush()


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    for name in ("users", "events", "activities"):
        default = getattr(_FULL, name)
        parser.add_argument(f"--{name}", type=int, default=default, help="default: %(default)s")
    parser.add_argument(
        "--rounds", type=int, default=5, help="of baseline and report in turns; default: 5"
    )
    parser.add_argument(
        "--document",
        type=Path,
        metavar="FILE",
        help="where the result is kept; default: docs/benchmark.md, and nowhere with other sizes",
    )
    parser.add_argument(
        "--folder",
        type=Path,
        default=database.FOLDER,
        help="where the databases are kept; default: .local/bench/postgres",
    )
    options = parser.parse_args(arguments)
    if options.rounds < 1:
        parser.error(f"rounds {options.rounds} is too small: at least 1")
    try:
        size = replace(
            _FULL, users=options.users, events=options.events, activities=options.activities
        )
    except ValueError as error:
        parser.error(str(error))
    target: Path | None = options.document or (_DOCUMENT if size == _FULL else None)
    try:
        text = document.write(measure(size, options.rounds, options.folder))
    except BenchmarkError as error:
        _tell(f"error: {error}")
        return 1
    sys.stdout.write(text)
    if target:
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())

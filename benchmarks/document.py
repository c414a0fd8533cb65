"""The benchmark's result as a page of Markdown."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

import psycopg

from benchmarks.api import Answer, Api
from benchmarks.fast_events import Burst, Idle
from benchmarks.measure import Days, Run
from demo.generate import Size

_HEAD = """\
# Benchmark

What `make bench` measured last. The report is `python -m engagement report --format json --zip
--skip-validation` as a whole process, its start included; the baseline is `COPY ... TO STDOUT
(FORMAT binary)` of the queries in `benchmarks/baseline.sql`, one after the other, read by psql and
thrown away. Both ran in turns after one run to warm up, with the server on the same cores. Seconds
are medians, a ratio is the median of the rounds' ratios, and the peak memory is the worst of the
rounds, of the report's process without the database server.

"""


_EVENTS = """\
A run that finds nothing to do, at the end of databases of different sizes; each kind with its own
connection, median of the rounds.

"""
_API = """\
Each request on the whole database, with a connection of its own and the answer written as JSON,
without HTTP; pages of 500 events. The user and the fast are those with the most events.

"""


@dataclass(frozen=True, slots=True)
class History:
    """The same period out of a database with less history."""

    size: Size
    copies: Sequence[float]
    runs: Sequence[Run]


@dataclass(frozen=True, slots=True)
class Result:
    """What was measured."""

    size: Size
    days: Days
    server: str
    copies: Sequence[float]
    runs: Sequence[Run]
    validated: Run
    doubled: Run
    doubled_days: Days
    short: History
    idle: Sequence[Idle]
    burst: Burst
    api: Api


def server_version(uri: str) -> str:
    """The version of the database server."""
    with psycopg.connect(uri) as connection:
        return str(connection.info.parameter_status("server_version"))


def write(result: Result) -> str:
    """The page."""
    stages = {
        name: median(run.stages.get(name, 0.0) for run in result.runs)
        for name in result.runs[0].stages
    }
    parts = [
        _HEAD,
        _table(["machine", ""], _machine(result)),
        "## Figures\n\n",
        _table(["figure", "measured", "to reach"], _figures(result)),
        "## Stages\n\n",
        "Datasets are computed two at a time, pages drawn meanwhile: their seconds overlap.\n\n",
        _table(
            ["stage", "seconds"],
            [
                *((name, f"{seconds:.1f}") for name, seconds in stages.items()),
                ("**the whole report**", f"{_seconds(result.runs):.1f}"),
            ],
        ),
        "## Rows\n\n",
        _table(["extracted", "rows"], [(n, f"{c:,}") for n, c in result.runs[0].rows.items()]),
        "## Comparisons\n\n",
        _table(["", "events and activities", "seconds", "peak MiB"], _comparisons(result)),
        "## Rounds\n\n",
        _table(
            ["round", "baseline s", "report s", "ratio", "peak MiB"],
            [
                _round(n, copy, run)
                for n, (copy, run) in enumerate(zip(result.copies, result.runs, strict=True), 1)
            ],
        ),
        "## Events of the fasts\n\n",
        _EVENTS,
        _table(
            ["kind", *(f"{idle.events:,} events" for idle in result.idle)],
            _idle_rows(result.idle),
        ),
        _table(
            ["figure", "measured", "to reach"],
            [
                (
                    "nothing to do, all kinds",
                    f"**{result.idle[-1].total:.2f} s**",
                    "under 1 s",
                ),
                (
                    f"{result.burst.events:,} beginnings with {result.burst.feed_rows:,} feed rows",
                    f"**{result.burst.seconds:.1f} s**",
                    "under 10 s",
                ),
            ],
        ),
        f"Plans at {result.idle[-1].events:,} events:\n\n",
        *(
            f"<details><summary>{kind}</summary>\n\n```\n{plan}\n```\n\n</details>\n\n"
            for kind, plan in result.idle[-1].plans.items()
        ),
        *_api(result.api),
    ]
    return "".join(parts).rstrip("\n") + "\n"


def _api(api: Api) -> list[str]:
    first = api.first_line_seconds * 1000
    slowest = max(api.answers, key=lambda answer: answer.seconds)
    return [
        "## API\n\n",
        _API,
        _table(["request", "median"], [_answer(one) for one in api.answers]),
        _table(
            ["figure", "measured", "to reach"],
            [
                (
                    f"the slowest request, {slowest.request}",
                    f"**{slowest.seconds * 1000:.0f} ms**",
                    "under 300 ms",
                ),
                (
                    "counting the days before today, first: a start of the API server waits for it",
                    f"{api.first_count_seconds:.1f} s",
                    "",
                ),
                (
                    "counting them again, once an hour, in a thread beside the requests",
                    f"{api.closed_days_seconds:.1f} s",
                    "",
                ),
                (
                    "/stats/fast/{id} where nobody asked within three days",
                    f"**{api.closed_fast_seconds * 1000:.0f} ms**",
                    "under 300 ms",
                ),
                (
                    "/events.csv of all events",
                    f"first line after {first:.0f} ms, {api.lines_per_second:,.0f} a second",
                    "",
                ),
            ],
        ),
        "Plans of the queries that read events:\n\n",
        *(
            f"<details><summary>{answer.request}</summary>\n\n"
            + "".join(f"```\n{plan}\n```\n\n" for plan in answer.plans)
            + "</details>\n\n"
            for answer in api.answers
        ),
    ]


def _answer(answer: Answer) -> tuple[str, str]:
    return answer.request, f"{answer.seconds * 1000:.0f} ms"


def _idle_rows(idle: Sequence[Idle]) -> list[tuple[str, ...]]:
    kinds = [
        (str(kind), *(f"{one.seconds[kind] * 1000:.0f} ms" for one in idle))
        for kind in idle[-1].seconds
    ]
    return [*kinds, ("**all**", *(f"{one.total * 1000:.0f} ms" for one in idle))]


def _round(number: int, copy: float, run: Run) -> tuple[str, ...]:
    ratio = run.seconds / copy
    return str(number), f"{copy:.1f}", f"{run.seconds:.1f}", f"{ratio:.2f}", f"{run.peak:.0f}"


def _machine(result: Result) -> list[tuple[str, str]]:
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / (1 << 30)
    size = result.size
    rows = f"{size.events:,} events and {size.activities:,} activities"
    return [
        ("measured", datetime.now(UTC).date().isoformat()),
        ("processor", f"{_processor()}, {os.cpu_count()} cores, {memory:.0f} GiB"),
        ("software", f"Python {platform.python_version()}, PostgreSQL {result.server}"),
        (
            "database",
            f"{rows} over {size.days} days, {size.users:,} users",
        ),
        ("period", f"{result.days}, {result.days.count} days"),
    ]


def _figures(result: Result) -> list[tuple[str, str, str]]:
    ratio = _ratio(result.copies, result.runs)
    peak = max(run.peak for run in result.runs)
    short = result.short
    checking = result.validated.stages.get("validate", 0.0)
    longer = ratio - _ratio(short.copies, short.runs)
    return [
        ("baseline", f"{median(result.copies):.1f} s", ""),
        ("report", f"{_seconds(result.runs):.1f} s", ""),
        ("report / baseline", f"**{ratio:.2f}**", "at most 2"),
        ("peak memory", f"**{peak:.0f} MiB**", "under 1 GB"),
        (
            f"peak memory of {result.doubled_days.count} days instead of {result.days.count}",
            f"{result.doubled.peak:.0f} MiB ({result.doubled.peak / peak - 1:+.0%})",
            "no higher",
        ),
        (
            f"ratio with {result.size.days} days of history instead of {short.size.days}",
            f"{longer:+.2f}",
            "none but for join and leave events",
        ),
        (
            "validation",
            f"{checking:.1f} s, peak {result.validated.peak:.0f} MiB",
            "under 1 GB for 3 million rows",
        ),
    ]


def _comparisons(result: Result) -> list[tuple[str, str, str, str]]:
    short = result.short
    return [
        _comparison(f"{result.days.count} days", result.runs),
        _comparison(f"{result.days.count} days, with validation", [result.validated]),
        _comparison(f"{result.doubled_days.count} days", [result.doubled]),
        _comparison(f"{result.days.count} days out of {short.size.days} of history", short.runs),
    ]


def _comparison(name: str, runs: Sequence[Run]) -> tuple[str, str, str, str]:
    rows = sum(runs[0].rows.get(table, 0) for table in ("events", "activities"))
    peak = max(run.peak for run in runs)
    return name, f"{rows:,}", f"{_seconds(runs):.1f}", f"{peak:.0f}"


def _ratio(copies: Sequence[float], runs: Sequence[Run]) -> float:
    return median(run.seconds / copy for copy, run in zip(copies, runs, strict=True))


def _seconds(runs: Sequence[Run]) -> float:
    return median(run.seconds for run in runs)


def _processor() -> str:
    facts = Path("/proc/cpuinfo")
    lines = facts.read_text(encoding="utf-8").splitlines() if facts.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines) + "\n"

"""The pages of an archive: what they say, that nothing runs in them, and their fixed bytes."""

from __future__ import annotations

import csv
import hashlib
import json
import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import psycopg
import pytest
from playwright.sync_api import Browser
from upath import UPath

from demo import app_tables, postgres
from engagement import archive, charts, engine, extract, facts, notable, page, queries, report
from engagement.app_database import Address, snapshot
from engagement.datasets import Format
from engagement.facts import Change, Cohort, Facts, Fast
from engagement.period import Period
from engagement.quality import Check, QualityResult
from engagement.settings import Settings
from engagement.staging import StagingArea
from tests import drawn
from tests.browser import browser
from tests.conftest import GOLDEN, Golden

ROOT = Path(__file__).parents[1]
PAGES = (archive.REPORT_PAGE, archive.SUMMARY, archive.DATA_QUALITY_PAGE)
WEEKDAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
WEEK = Period.parse("2025-12-29", "2026-01-04")

OF_A_FAST = (
    "and object_id is not null and content_type_id = (select id from django_content_type"
    " where app_label = 'hub' and model = 'fast')"
)

HOSTILE = (
    "<script>alert(1)</script>",
    "</style></svg></title><img src=x onerror=alert(1)>",
    "\"quoted\" & 'single'",
    "{{ 7 * 7 }} {% raw %}",
    "`code` *bold* [a](javascript:x) # head | cell",
    "two\n\n# lines\r\n- and more\x1b[31m",
    "before\u202eafter\u2066",
    "=1+1",
    "name-0000",
    "url(https://example.org/x)",
    "Պահք Սուրբ Յարութեան",
    "صوم الميلاد المجيد",
    "大斋期四十天的祷告",
    "W" * 128,
    "",
)


class Parsed(HTMLParser):
    """The elements, attributes, tables and text of a page."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.tables: list[list[list[str]]] = []
        self.text: list[str] = []
        self._inside: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self._inside.append(tag)
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in {"td", "th"}:
            self.tables[-1][-1].append("")

    def handle_endtag(self, tag: str) -> None:
        while self._inside and self._inside.pop() != tag:
            pass

    def handle_data(self, data: str) -> None:
        if {"td", "th"} & set(self._inside):
            self.tables[-1][-1][-1] += data
        if "style" not in self._inside:
            self.text.append(data)

    def table(self, *titles: str) -> list[list[str]]:
        """The rows of the only table with these titles."""
        [found] = [table for table in self.tables if tuple(table[0]) == titles]
        return found[1:]


def no_check(period: Period = WEEK) -> QualityResult:
    return QualityResult.skipped(period)


def quiet(period: Period = WEEK, **changes: Any) -> Facts:
    """The facts of a period in which nothing happened, but for `changes`."""
    days = tuple((day.date, 0) for day in period.days)
    values: dict[str, Any] = {
        "period": period,
        **dict.fromkeys(
            ("new_users", "active_users", "joins", "leaves", "screen_views"), Change(0, None)
        ),
        "registrations": days,
        "screen_views_by_day": days,
        "fasts": (),
        "top_fasts": (),
        "cohorts": (),
        "hours": ((0,) * 24,) * 7,
        "patterns": {
            "devotionals": {"total_views": 0, "unique_users": 0, "avg_per_user": 0.0},
            "checklists": {
                "total_uses": 0,
                "unique_users": 0,
                "avg_per_user": 0.0,
                "avg_days_between_uses": 0.0,
            },
            "tutorial_videos": {"total_views": 0, "unique_users": 0, "avg_per_user": 0.0},
            "cross_engagement": {
                "users_both_devotional_and_checklist": 0,
                "users_in_fasts_with_activity": 0,
                "users_without_fasts_with_activity": 0,
            },
        },
        "quality": no_check(period),
    }
    return Facts(**{**values, **changes})


def many(names: tuple[str, ...], number: int) -> Facts:
    """The facts of a period with so many fasts of these names."""
    fasts = tuple(
        Fast(n + 1, names[n % len(names)], names[-n % len(names)], 3 * n, 90 - n % 90, n % 40)
        for n in range(number)
    )
    top = tuple((fast.id, fast.joins) for fast in fasts[:10])
    return quiet(fasts=fasts, top_fasts=top)


FLOW = ("Fast, church", "Joins", "Leaves", "Members at the end")

# The facts and the pages of the golden database.

PLAIN = {
    "new_users": "select count(*) from auth_user"
    " where date_joined >= %(start)s and date_joined < %(end)s",
    "active_users": "select count(distinct user_id) from events_useractivityfeed"
    " where created_at >= %(start)s and created_at < %(end)s",
    **{
        name: "select count(*) from events_event where timestamp >= %(start)s"
        f" and timestamp < %(end)s and event_type_id ="
        f" (select id from events_eventtype where code = '{code}') {fast}"
        for name, code, fast in (
            ("joins", "user_joined_fast", OF_A_FAST),
            ("leaves", "user_left_fast", OF_A_FAST),
            ("screen_views", "screen_view", ""),
        )
    },
}


@dataclass(frozen=True, slots=True)
class Made:
    """The facts of a golden report, in every format, its pages, and what the first one shows."""

    golden: Golden
    facts: Mapping[Format, Facts]
    pages: Mapping[str, str]
    parsed: Parsed
    panels: Mapping[str, list[drawn.Panel]]


@pytest.fixture(scope="module")
def made(golden: Golden, golden_address: Address, tmp_path_factory: pytest.TempPathFactory) -> Made:
    folder = tmp_path_factory.mktemp("page")
    taken = report.take_snapshot(
        golden_address, golden.period, StagingArea(UPath(folder)), "tests", Settings()
    )
    tables = Path(taken.tables.path)
    found = {}
    for file_format in Format:
        data = folder / file_format
        data.mkdir()
        files = {}
        for name in facts.DATASETS:
            result = engine.compute(name, tables, golden.period, data, file_format, Settings())
            files[name] = result.file
        found[file_format] = facts.gather(
            tables, data, files, file_format, golden.period, no_check(golden.period)
        )
    page.write(folder, found[Format.JSON])
    pages = {name: (folder / name).read_text(encoding="utf-8") for name in PAGES}
    text = pages[archive.REPORT_PAGE]
    return Made(golden, found, pages, Parsed(text), drawn.panels(text))


def test_facts_are_the_datasets_in_every_format(made: Made) -> None:
    expected = made.golden.report
    assert made.facts[Format.CSV] == made.facts[Format.PARQUET] == made.facts[Format.JSON]
    found = made.facts[Format.JSON]
    assert [{"date": str(day), "count": n} for day, n in found.registrations] == expected[
        "new_users_over_time"
    ]
    assert [
        [fast.id, fast.name, fast.church, fast.participants, fast.joins, fast.leaves]
        for fast in found.fasts
    ] == [list(row.values()) for row in expected["fasts"]]
    assert [
        (cohort.week, str(cohort.monday), cohort.users, cohort.active, cohort.rate)
        for cohort in found.cohorts
    ] == [tuple(row.values())[:5] for row in expected["retention_cohorts"]]
    metrics = expected["other_metrics"]
    views = metrics["screen_views"]
    assert {str(day): n for day, n in found.screen_views_by_day} == views["daily_timeline"]
    assert found.screen_views.now == views["total"]
    assert found.active_users.now == metrics["active_users"]
    assert found.new_users.now == sum(row["count"] for row in expected["new_users_over_time"])
    assert list(found.top_fasts) == [
        (row["fast_id"], row["joins"]) for row in metrics["top_fasts_by_joins"]
    ]
    assert found.activities == len(expected["user_activity_timeline"])


def test_hours_are_those_of_the_report_time_zone(made: Made) -> None:
    zone = made.golden.period.zone
    hours = [[0] * 24 for _ in range(7)]
    for row in made.golden.report["user_activity_timeline"]:
        local = datetime.fromisoformat(row["timestamp"]).astimezone(zone)
        hours[local.weekday()][local.hour] += 1
    assert [list(day) for day in made.facts[Format.JSON].hours] == hours


# What the pages show is the golden report, or what a plain reading of the golden rows counts.


@cache
def rows_of(table: str) -> list[dict[str, str]]:
    with (GOLDEN / "appdb" / f"{table}.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def plain_figures(begin: datetime, end: datetime) -> list[int]:
    """The headline figures between two instants."""

    def within(table: str, column: str) -> list[dict[str, str]]:
        return [row for row in rows_of(table) if begin <= datetime.fromisoformat(row[column]) < end]

    codes = {row["id"]: row["code"] for row in rows_of("events_eventtype")}
    [fast] = [
        row["id"]
        for row in rows_of("django_content_type")
        if (row["app_label"], row["model"]) == ("hub", "fast")
    ]
    events = within("events_event", "timestamp")
    of_fasts = Counter(
        codes[row["event_type_id"]]
        for row in events
        if row["content_type_id"] == fast and row["object_id"]
    )
    return [
        len(within("auth_user", "date_joined")),
        len({row["user_id"] for row in within("events_useractivityfeed", "created_at")} - {""}),
        of_fasts["user_joined_fast"],
        of_fasts["user_left_fast"],
        sum(codes[row["event_type_id"]] == "screen_view" for row in events),
    ]


def days_of(period: Period) -> list[date]:
    return [period.start + timedelta(days=n) for n in range((period.end - period.start).days + 1)]


def hourly_means(golden: Golden) -> list[list[float | None]]:
    """Activities in an hour of the average Monday, and of the other weekdays."""
    counts = [[0] * 24 for _ in range(7)]
    for row in golden.report["user_activity_timeline"]:
        local = datetime.fromisoformat(row["timestamp"]).astimezone(golden.period.zone)
        counts[local.weekday()][local.hour] += 1
    days = Counter(day.weekday() for day in days_of(golden.period))
    return [
        [count / days[weekday] if days[weekday] else None for count in hours]
        for weekday, hours in enumerate(counts)
    ]


def by_age(golden: Golden) -> dict[int, tuple[int, int]]:
    """Users and active ones among them by the weeks since they registered."""
    ages: dict[int, tuple[int, int]] = {}
    for row in golden.report["retention_cohorts"]:
        users, active = ages.get(row["cohort_age_weeks"], (0, 0))
        ages[row["cohort_age_weeks"]] = (users + row["total_users"], active + row["active_users"])
    return dict(sorted(ages.items()))


def features(golden: Golden) -> list[tuple[str, int, int, float]]:
    patterns = golden.report["other_metrics"]["engagement_patterns"]
    return [
        (name, patterns[key][count], patterns[key]["unique_users"], patterns[key]["avg_per_user"])
        for name, key, count in (
            ("Devotionals viewed", "devotionals", "total_views"),
            ("Checklists used", "checklists", "total_uses"),
            ("Tutorial videos viewed", "tutorial_videos", "total_views"),
        )
    ]


def labels(rows: Sequence[Mapping[str, Any]], quote: str = "") -> dict[int, str]:
    """The names of golden fasts that stand together, of which two are told apart by their ids."""
    times = Counter(row["fast_name"] for row in rows)
    # No two of them have the same name in different churches.
    assert len({(row["fast_name"], row["church_name"]) for row in rows}) == len(times)
    return {
        row["fast_id"]: f"{quote}{row['fast_name']}{quote}"
        + (
            f" ({quote}{row['church_name']}{quote}, id {row['fast_id']})"
            if times[row["fast_name"]] > 1
            else ""
        )
        for row in rows
    }


def top_fasts(golden: Golden, quote: str = "") -> list[tuple[str, int]]:
    """The labels of the fasts with most joins, and the joins."""
    top = golden.report["other_metrics"]["top_fasts_by_joins"]
    ids = {row["fast_id"] for row in top}
    known = labels([row for row in golden.report["fasts"] if row["fast_id"] in ids], quote)
    return [
        (known.get(row["fast_id"], f"a fast that is gone (id {row['fast_id']})"), row["joins"])
        for row in top
    ]


def moved(golden: Golden) -> list[dict[str, Any]]:
    """The fasts with joins or leaves, those with most first."""
    return sorted(
        (row for row in golden.report["fasts"] if row["joins_in_period"] + row["leaves_in_period"]),
        key=lambda row: (
            -row["joins_in_period"] - row["leaves_in_period"],
            -row["joins_in_period"],
            row["fast_id"],
        ),
    )


def test_the_cards_are_plain_counts(made: Made) -> None:
    period = made.golden.period
    length = period.end - period.start + timedelta(days=1)
    before = Period(period.start - length, period.start - timedelta(days=1), period.timezone)
    found = re.findall(
        r'<span class="name">([^<]*)</span>\s*<span class="number">([^<]*)</span>\s*'
        r'<span class="change">(?:[▲▼] )?([^<]*)</span>\s*<span class="before">([^<]*)</span>',
        made.pages[archive.REPORT_PAGE],
    )
    titles = ("New users", "Active users", "Joins", "Leaves", "Screen views")
    assert found == [
        (title, f"{now:,}", notable.told_change(Change(now, was)), f"from {was:,}")
        for title, now, was in zip(
            titles,
            plain_figures(period.start_instant, period.end_instant),
            plain_figures(before.start_instant, before.end_instant),
            strict=True,
        )
    ]


def test_the_tables_are_the_golden_report(made: Made) -> None:
    expected, metrics = made.golden.report, made.golden.report["other_metrics"]
    table = made.parsed.table
    named = Counter(row["fast_name"] for row in moved(made.golden))
    twins = {row["fast_id"] for row in moved(made.golden) if named[row["fast_name"]] > 1}
    daily = {row["date"]: row["count"] for row in expected["new_users_over_time"]}
    for title, days in (
        ("Registrations", daily),
        ("Screen views", metrics["screen_views"]["daily_timeline"]),
    ):
        if any(days.values()):
            assert table("Day", title) == [[day, f"{count:,}"] for day, count in days.items()]
    assert table("Fast", "Joins") == [
        [name, f"{joins:,}"] for name, joins in top_fasts(made.golden)
    ]
    assert table(*FLOW) == [
        [
            f"{row['fast_name']} {row['church_name']}{id_of_a_twin}",
            f"{row['joins_in_period']:,}",
            f"{row['leaves_in_period']:,}",
            f"{row['participants']:,}",
        ]
        for row in moved(made.golden)
        for id_of_a_twin in [f", id {row['fast_id']}" * (row["fast_id"] in twins)]
    ]
    cohorts = [
        (row["cohort_week"], f"{row['total_users']:,}", f"{row['active_users']:,}", rate)
        for row in expected["retention_cohorts"]
        for rate in [row["retention_rate"]]
    ]
    assert table("Week", "Users", "Active", "Retained, %") == [
        [*cells, f"{rate:.2f}"] for *cells, rate in cohorts
    ]
    assert table("Week", "Users", "Active", "Retained") == [
        [*cells, f"{rate:.1f}%"] for *cells, rate in cohorts[:5]
    ]
    assert table("Age, weeks", "Users", "Active", "Active, %") == [
        [f"{age}", f"{users:,}", f"{active:,}", f"{100 * active / users:.1f}"]
        for age, (users, active) in by_age(made.golden).items()
    ]
    assert table("Hour", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun") == [
        [f"{hour}:00", *("–" if mean is None else f"{mean:.1f}" for mean in means)]
        for hour, means in enumerate(zip(*hourly_means(made.golden), strict=True))
    ]
    assert table("Feature", "Times used", "Users", "Per user") == [
        [name, f"{times:,}", f"{users:,}", f"{mean:,.2f}"]
        for name, times, users, mean in features(made.golden)
    ]


def test_columns_are_as_high_as_their_days(made: Made) -> None:
    expected = made.golden.report
    days = days_of(made.golden.period)
    ticks = [notable.short_day(day) for day in days]
    counts = {row["date"]: row["count"] for row in expected["new_users_over_time"]}
    for title, by_day in (
        ("Registrations a day", counts),
        ("Screen views a day", expected["other_metrics"]["screen_views"]["daily_timeline"]),
    ):
        heights = {
            place: count for place, day in enumerate(days) if (count := by_day[day.isoformat()])
        }
        for drawing in drawings(made, title):
            found = drawing.columns(ticks)
            assert found == {
                place: pytest.approx(count, abs=drawn.PIXEL / drawing.pixels_each())
                for place, count in heights.items()
            }


def test_the_curve_goes_through_the_rates(made: Made) -> None:
    expected = [(age, 100 * active / users) for age, (users, active) in by_age(made.golden).items()]
    for drawing in drawings(made, "Retention by age"):
        [line] = drawing.lines["--series-1"]
        marks = [box.middle for box in drawing.shapes["--series-1"]]
        for points in (line, marks):
            assert [drawing.across(x) for x, _ in points] == [
                pytest.approx(age, abs=0.2) for age, _ in expected
            ]
            assert [drawing.height(y) for _, y in points] == [
                pytest.approx(rate, abs=drawn.PIXEL / drawing.pixels_each()) for _, rate in expected
            ]


def test_named_bars_are_as_long_as_their_numbers(made: Made) -> None:
    names = labels(moved(made.golden))
    charts_of = {
        "Fasts with most joins": [(name, {"": joins}) for name, joins in top_fasts(made.golden)],
        "Joins and leaves of each fast": [
            (
                names[row["fast_id"]],
                {"joins": row["joins_in_period"], "leaves": row["leaves_in_period"]},
            )
            for row in moved(made.golden)
        ],
        "Devotionals, checklists and tutorial videos": [
            (name, {"times used": times, "users": users})
            for name, times, users, _ in features(made.golden)
        ],
    }
    for title, expected in charts_of.items():
        [panel] = made.panels[title]
        colours = panel.legend or {"--series-1": ""}
        wide, narrow = (
            [
                (name, {colours[colour]: number for colour, number in numbers.items()})
                for name, numbers in drawing.named(list(colours))
            ]
            for drawing in panel.drawings
        )
        assert wide == expected
        for (name, numbers), (whole, expected_numbers) in zip(narrow, expected, strict=True):
            assert numbers == expected_numbers
            # It has no room for all of a long name.
            assert re.fullmatch(".+".join(map(re.escape, name.split("…"))), whole)


def test_cells_are_coloured_by_what_they_stand_for(made: Made) -> None:
    weeks = {row["cohort_week"]: row for row in made.golden.report["retention_cohorts"]}
    [hours] = made.panels["Activity by weekday and hour"]
    retained, registered = made.panels["Retention by week of registration"]
    means = zip(WEEKDAYS, hourly_means(made.golden), strict=True)
    for panel, values in (
        (
            hours,
            {
                (name, hour): mean
                for name, row in means
                for hour, mean in enumerate(row)
                if mean is not None
            },
        ),
        (retained, {_place(week): row["retention_rate"] for week, row in weeks.items()}),
        (registered, {_place(week): row["total_users"] for week, row in weeks.items()}),
    ):
        limits = panel.limits()
        levels = {
            place: next(level for level, limit in enumerate(limits) if value <= limit)
            for place, value in values.items()
        }
        for drawing in panel.drawings:
            assert levels == {(row, round(across)): level for row, across, level in drawing.cells()}


def _place(week: str) -> tuple[str, int]:
    """The row and the column of a cohort, such as of `2026-W01`."""
    year, number = week.split("-W")
    return year, int(number)


def drawings(made: Made, title: str) -> tuple[drawn.Drawing, ...]:
    """The drawings of a chart, which has none where there was nothing to draw."""
    return tuple(drawing for panel in made.panels[title] for drawing in panel.drawings)


def test_the_summary_says_the_facts(made: Made) -> None:
    found, text = made.facts[Format.JSON], made.pages[archive.SUMMARY]
    for title, counts, change in notable.figures(found):
        assert f"- {title} ({counts}): {change.now:,}; {notable.told_change(change)}" in text
    told = ", ".join(f"{name} {joins:,}" for name, joins in top_fasts(made.golden, "`"))
    assert f"- Fasts with most joins: {told}.\n" in text
    assert all(f"- {sentence}\n" in text for sentence in notable.cautions(found))


def test_the_summary_tells_the_golden_report(made: Made) -> None:
    text, period = made.pages[archive.SUMMARY], made.golden.period
    patterns = made.golden.report["other_metrics"]["engagement_patterns"]
    for name, times, users, _ in features(made.golden):
        assert f"- {name}: {times:,}, by {users:,} user{'s' * (users != 1)}.\n" in text
    both = patterns["cross_engagement"]["users_both_devotional_and_checklist"]
    assert f"- {both} user{'s' * (both != 1)} viewed a devotional and used a checklist.\n" in text
    gap = patterns["checklists"]["avg_days_between_uses"]
    told_gap = f"- Between two uses of a checklist lie {gap:,.2f} days on average.\n"
    assert (told_gap in text) == (gap > 0)
    registered = [
        row
        for row in rows_of("auth_user")
        if datetime.fromisoformat(row["date_joined"]) < period.end_instant
    ]
    active = sum(row["active_users"] for row in made.golden.report["retention_cohorts"])
    expected = [("All who had registered", active, len(registered))]
    for first, last, told in (
        (0, 3, "0 to 3 weeks"),
        (4, 12, "4 to 12 weeks"),
        (13, 25, "13 to 25 weeks"),
        (26, 51, "26 to 51 weeks"),
        (52, 10**6, "52 weeks or more"),
    ):
        found = [both for age, both in by_age(made.golden).items() if first <= age <= last]
        users, of_them = (sum(one) for one in zip(*found, strict=True))
        expected.append((f"Registered {told} before the end", of_them, users))
    assert text.partition("## Retention\n")[2].partition("\n##")[0].splitlines()[2:] == [
        f"- {who}: {some:,} of {users:,} users, {100 * some / users:.1f}%."
        for who, some, users in expected
    ]
    zone = period.zone
    instants = [
        datetime.fromisoformat(row["timestamp"]).astimezone(zone)
        for row in made.golden.report["user_activity_timeline"]
    ]
    weekdays, hours = (
        Counter(instant.weekday() for instant in instants),
        Counter(instant.hour for instant in instants),
    )
    days = Counter(day.weekday() for day in days_of(period))
    by_weekday = ", ".join(
        f"{name} {weekdays[n] / days[n]:,.1f}" for n, name in enumerate(WEEKDAYS) if days[n]
    )
    by_hour = ", ".join(f"{hour}:00 {hours[hour]:,}" for hour in range(24))
    assert text.partition("## Weekdays and hours\n\n")[2].partition("\n\n##")[0].splitlines() == [
        f"- Activities on an average day of each weekday: {by_weekday}.",
        f"- Activities by the hour in which they fell: {by_hour}.",
    ]


@pytest.mark.parametrize(
    ("start", "end", "timezone", "absent"),
    [
        ("2025-12-20", "2026-01-04", "Pacific/Auckland", set()),
        ("2025-12-01", "2025-12-31", "America/Los_Angeles", set()),
        ("2024-11-01", "2024-11-30", "UTC", {"screen_views"}),
        ("2024-10-05", "2024-11-30", "UTC", {"active_users", "joins", "leaves", "screen_views"}),
        ("2000-01-01", "2000-01-31", "UTC", set(PLAIN)),
        ("1970-01-01", "1970-01-01", "UTC", set(PLAIN)),
    ],
)
def test_the_previous_period_is_what_plain_queries_count(
    start: str,
    end: str,
    timezone: str,
    absent: set[str],
    golden_uri: str,
    tmp_path: Path,
) -> None:
    """And is absent where what is counted begins after its start."""
    period = Period.parse(start, end, timezone)
    found = facts_of(golden_uri, period, tmp_path)
    with psycopg.connect(golden_uri) as connection:
        expected: dict[str, int | None] = {}
        for name, query in PLAIN.items():
            values = {"start": period.previous_start_instant, "end": period.start_instant}
            row = connection.execute(query.encode(), values).fetchone()
            assert row is not None
            expected[name] = None if name in absent else row[0]
    assert {name: getattr(found, name).before for name in PLAIN} == expected
    if not absent:
        assert all(expected.values())


@pytest.fixture(scope="module")
def reaching(database_server: postgres.Server) -> Iterator[str]:
    """The golden database, for tests that plant events in it."""
    uri = database_server.create_database("page_reaching")
    app_tables.apply_schema(uri)
    app_tables.load_csv_folder(uri, GOLDEN / "appdb")
    yield uri
    database_server.drop_database("page_reaching")


@pytest.mark.parametrize(
    ("code", "present"),
    [
        ("app_open", set()),
        ("screen_view", {"screen_views"}),
        ("user_joined_fast", {"joins", "leaves"}),
        # Who left had joined before joins were recorded.
        ("user_left_fast", {"leaves"}),
    ],
)
def test_an_old_event_reaches_back_for_its_own_type_alone(
    code: str, present: set[str], reaching: str, tmp_path: Path
) -> None:
    with psycopg.connect(reaching) as connection:
        connection.execute(
            "insert into events_event (object_id, title, description, data, timestamp, user_agent,"
            " created_at, content_type_id, event_type_id) select 1, '', '', '{}',"
            " '1999-01-01 00:00Z', '', now(), (select id from django_content_type"
            " where app_label = 'hub' and model = 'fast'), id"
            " from events_eventtype where code = %s",
            (code,),
        )
    found = facts_of(reaching, Period.parse("2000-01-01", "2000-01-31"), tmp_path)
    with psycopg.connect(reaching) as connection:
        connection.execute("delete from events_event where timestamp = '1999-01-01 00:00Z'")
    assert {name for name in PLAIN if getattr(found, name).before is not None} == present


def test_the_first_screen_view_is_one_entry_of_an_index_for_each_type(
    reaching: str, settings: Settings
) -> None:
    with psycopg.connect(reaching, autocommit=True) as connection:
        connection.execute("vacuum analyze events_event")
    with snapshot(Address.parse(reaching), settings, "tests") as taken:
        many_types = taken.control.execute("select array_agg(id) from events_eventtype").fetchone()
        assert many_types is not None
        period = Period.parse("2025-12-01", "2025-12-31")
        parameters = {
            **extract._parameters(taken, period),
            "screen_view_type_ids": many_types[0],
        }
        query = taken.statement(queries.read("extract/previous_period"), parameters)
        explained = taken.control.execute(f"explain (analyze, format json) {query}").fetchone()
    assert explained is not None
    todo = [explained[0][0]["Plan"]]
    read = []
    while todo:
        node = todo.pop()
        todo += node.get("Plans", [])
        if node["Node Type"] == "Limit":
            read += node["Plans"]
    [events] = [node for node in read if node["Relation Name"] == "events_event"]
    assert events["Index Name"] == "events_event_event_type_id_timestamp_desc_idx"
    assert events["Actual Loops"] == len(many_types[0])
    assert 0 < events["Actual Rows"] <= 1
    assert "Filter" not in events


def facts_of(uri: str, period: Period, folder: Path) -> Facts:
    area = StagingArea(UPath(folder / "area"))
    taken = report.take_snapshot(Address.parse(uri), period, area, "tests", Settings())
    tables = Path(taken.tables.path)
    files = {
        name: engine.compute(name, tables, period, folder, Format.JSON, Settings()).file
        for name in facts.DATASETS
    }
    return facts.gather(tables, folder, files, Format.JSON, period, no_check(period))


# Nothing that a user wrote does anything.


def test_the_page_is_inert_and_needs_no_network() -> None:
    made = many(("Great Fast",), 40)
    pages = [page.report(made), page.data_quality(checked())]
    for text in pages:
        parsed = Parsed(text)
        tags = {tag for tag, _ in parsed.elements}
        assert not tags & {"script", "link", "iframe", "img", "object", "embed", "form", "base"}
        assert "://" not in text
        assert "@import" not in text
        assert not re.search(r"url\(", text)
        for tag, attributes in parsed.elements:
            assert not any(name.startswith("on") for name in attributes)
            assert attributes.get("href", archive.DATA_QUALITY_PAGE) == archive.DATA_QUALITY_PAGE
            assert "id" not in attributes or tag != "svg"
        policies = [
            attributes["content"]
            for tag, attributes in parsed.elements
            if tag == "meta" and attributes.get("http-equiv") == "Content-Security-Policy"
        ]
        assert policies == ["default-src 'none'; style-src 'unsafe-inline'; img-src data:"]


def test_every_table_is_named_by_its_heading() -> None:
    pages = [page.report(busy()), page.data_quality(checked())]
    for text in pages:
        elements = Parsed(text).elements
        headings = [
            attributes["id"]
            for tag, attributes in elements
            if re.match("h[1-6]", tag) and attributes
        ]
        assert len(headings) == len(set(headings))
        named = [
            attributes.get("aria-labelledby") for tag, attributes in elements if tag == "table"
        ]
        assert named
        assert len(named) == len(set(named))
        assert set(named) <= set(headings)


def test_hostile_names_are_text() -> None:
    """The same elements with the same attributes as with a plain name; in the tables, all of it."""
    plain, hostile = (Parsed(page.report(many(names, 40))) for names in (("Fast",), HOSTILE))
    assert [(tag, *attributes) for tag, attributes in hostile.elements] == [
        (tag, *attributes) for tag, attributes in plain.elements
    ]
    assert sorted(row[0] for row in hostile.table(*FLOW)) == sorted(
        f"{charts.plain(fast.name)} {charts.plain(fast.church)}, id {fast.id}"
        for fast in many(HOSTILE, 40).fasts
    )
    text = "".join(hostile.text)
    assert "<script>alert(1)</script>" in text
    assert not set("\u202e\u2066\x1b") & set(text)


def test_hostile_names_are_data_in_the_summary() -> None:
    plain, hostile = (page.summary(many(names, 40)) for names in (("Fast",), HOSTILE))
    assert len(hostile.splitlines()) == len(plain.splitlines())
    assert "# lines" not in [line[:7] for line in hostile.splitlines()]
    outside = re.sub(r"(`+)(?!`).*?(?<!`)\1(?!`)", "", hostile)
    assert "<script>" in hostile
    assert not re.search(r"[<>*\[\]{}]", outside)


def test_names_of_any_length_fit() -> None:
    for name in (*HOSTILE, "\u0301" * 60, "e\u0301" * 60):
        line = charts.shortened(name, 20)
        assert len(line.encode()) <= len(name.encode()) + 3
        assert sum(map(charts._width, line)) <= 20
        assert "\n" not in line
    assert charts.shortened("Great Fast", 20) == "Great Fast"
    assert charts.shortened("a" * 21, 20) == "a" * 19 + "…"


TWINS = (
    Fast(1, "Fast (2026)", "St. Mary", 1, 9, 0),
    Fast(2, "Fast (2026)", "St. John", 1, 8, 1),
    Fast(3, "Fast (2026)", "St. John", 1, 7, 2),
    Fast(4, "Lent (2026)", "St. John", 1, 6, 3),
    Fast(5, "Fast (2025)", "St. Mary", 1, 5, 4),
)


def test_fasts_of_one_name_are_told_apart_where_they_stand_together() -> None:
    made = quiet(fasts=TWINS, top_fasts=tuple((fast.id, fast.joins) for fast in TWINS))
    labels = [
        "Fast (2026) (St. Mary)",
        "Fast (2026) (St. John, id 2)",
        "Fast (2026) (St. John, id 3)",
        "Lent (2026)",
        "Fast (2025)",
    ]
    text = page.report(made)
    parsed = Parsed(text)
    assert [row[0] for row in parsed.table("Fast", "Joins")] == labels
    assert [row[0] for row in parsed.table(*FLOW)] == [
        "Fast (2026) St. Mary",
        "Fast (2026) St. John, id 2",
        "Fast (2026) St. John, id 3",
        "Lent (2026) St. John",
        "Fast (2025) St. Mary",
    ]
    series = {
        "Fasts with most joins": ["--series-1"],
        "Joins and leaves of each fast": ["--series-1", "--series-2"],
    }
    panels = drawn.panels(text)
    for title, colours in series.items():
        for drawing in panels[title][0].drawings:
            assert [name for name, _ in drawing.named(colours)] == labels
    told = page.summary(made)
    assert (
        "- Fasts with most joins: `Fast (2026)` (`St. Mary`) 9, `Fast (2026)` (`St. John`, id 2) 8,"
        " `Fast (2026)` (`St. John`, id 3) 7, `Lent (2026)` 6, `Fast (2025)` 5.\n"
    ) in told
    assert "- The fast `Fast (2026)` of `St. Mary` had 9 joins" in told
    assert "- The fast `Fast (2026)` of `St. John`, id 3, had 7 joins" in told


def test_what_tells_fasts_apart_is_not_cut_off() -> None:
    """Also where the names or the churches differ only beyond what there is room for."""
    long = "Church of the Holy Archangels, on the hill above the city, of "
    pairs: list[tuple[tuple[str, str], tuple[str, str]]] = [
        ((f"{long}A", f"{long}A"), (f"{long}A", f"{long}B")),
        ((f"{long}A", "St. X"), (f"{long}B", "St. Y")),
        (("大斋期" * 30, "教堂" * 30), ("大斋期" * 30, "教堂" * 30)),
    ]
    for pair in pairs:
        fasts = tuple(
            Fast(10**18 + n, name, church, 1, 2, 0) for n, (name, church) in enumerate(pair)
        )
        top = tuple((fast.id, fast.joins) for fast in fasts)
        [panel] = drawn.panels(page.report(quiet(fasts=fasts, top_fasts=top)))[
            "Fasts with most joins"
        ]
        for drawing, room in zip(panel.drawings, (58, 38), strict=True):
            names = [name for name, _ in drawing.named(["--series-1"])]
            assert len(set(names)) == 2
            assert all(charts.width(name) <= room for name in names)


def test_a_name_that_looks_like_a_placeholder() -> None:
    bars = [("name-0001", (2,)), ("<b>", (1,))]
    drawn = charts.named_bars("label", bars, 300, characters=30)
    assert re.findall(r">([^<]*)</text>", drawn) == ["name-0001", "2", "&lt;b&gt;", "1"]


# The same bytes, without a trace.

DIGEST = """
import hashlib, sys
from engagement import page
from tests.test_page import HOSTILE, busy, checked
text = page.report(busy()) + page.summary(busy()) + page.data_quality(checked())
sys.stdout.write(hashlib.sha256(text.encode()).hexdigest())
"""


def test_other_surroundings_give_the_same_bytes_and_no_trace(tmp_path: Path) -> None:
    text = page.report(busy()) + page.summary(busy()) + page.data_quality(checked())
    expected = hashlib.sha256(text.encode()).hexdigest()
    home = tmp_path / "home"
    home.mkdir()
    (home / "matplotlibrc").write_text("font.size: 30\nsvg.fonttype: path\n")
    # Not even root can make a folder there.
    nowhere = home / "matplotlibrc" / "home"
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    surroundings: list[dict[str, str]] = [
        {"TZ": "Pacific/Auckland", "LC_ALL": "C", "PYTHONHASHSEED": "1", "HOME": str(nowhere)},
        {"TZ": "America/New_York", "PYTHONHASHSEED": "2", "HOME": str(home)},
    ]
    for one in surroundings:
        done = subprocess.run(
            [sys.executable, "-c", DIGEST],
            env={
                "PATH": os.environ["PATH"],
                "PYTHONPATH": f"{ROOT / 'plugins'}:{ROOT}",
                "TMPDIR": str(temporary),
                "PYTHONDONTWRITEBYTECODE": "1",
                **one,
            },
            cwd=home,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert (done.stdout, done.stderr) == (expected, "")
    assert [path.name for path in home.iterdir()] == ["matplotlibrc"]
    assert list(temporary.iterdir()) == []


# From nothing at all to far too much.


def test_a_period_without_anything() -> None:
    text = page.report(quiet())
    assert "<svg" not in text
    assert "<details" not in text
    assert text.count("no data before") == 5
    for sentence in (
        "There are none: no users who registered in this period.",
        "Nobody joined or left a fast in this period.",
        "Nobody had registered before the period&#39;s end.",
        "There was no activity in this period.",
        "None of them was used in this period.",
    ):
        assert sentence in text
    told = page.summary(quiet())
    for sentence in (
        "Nobody had registered before the period's end.",
        "There was no activity in this period.",
        "- Nothing, by the rules below.",
    ):
        assert f"\n\n{sentence}\n\n" in told


def one_fast(period: Period, **changes: Any) -> Facts:
    """The facts of a period in which one user joined the only fast."""
    return quiet(
        period,
        joins=Change(1, 0),
        fasts=(Fast(7, "Fast", "Church", 1, 1, 0),),
        top_fasts=((7, 1),),
        **changes,
    )


def one_day() -> Facts:
    """The facts of one day, with one of everything."""
    day = Period.parse("2026-01-01", "2026-01-01")
    return one_fast(
        day,
        registrations=((day.start, 1),),
        cohorts=(Cohort("2026-W01", date(2025, 12, 29), 1, 1, 100.0, 0),),
        hours=tuple((0,) * 12 + (3,) + (0,) * 11 if n == 3 else (0,) * 24 for n in range(7)),
    )


def test_a_single_day_and_a_single_fast() -> None:
    text = page.report(one_day())
    parsed = Parsed(text)
    assert parsed.table("Day", "Registrations") == [["2026-01-01", "1"]]
    assert parsed.table(*FLOW) == [["Fast Church", "1", "0", "1"]]
    assert parsed.table("Hour", *WEEKDAYS)[12] == [
        "12:00",
        "–",
        "–",
        "–",
        "3.0",
        "–",
        "–",
        "–",
    ]
    assert "The period has no Mon, Tue, Wed, Fri, Sat, Sun." in text
    assert "of the one fast that anybody joined" in text
    assert "<p>1 user who registered.</p>" in text
    assert "of the one fast that had any" in text
    assert "<title>Engagement report, 1 January 2026</title>" in text
    assert "Each change is from the day before, 31 December 2025." in text


@pytest.mark.parametrize(
    ("end", "unit", "rows"),
    [("2020-03-31", "Day", 91), ("2021-03-31", "Week", 66), ("2025-12-31", "Month", 72)],
)
def test_long_periods_are_summed(end: str, unit: str, rows: int) -> None:
    period = Period.parse("2020-01-01", end)
    days = tuple((day.date, 2) for day in period.days)
    table = Parsed(page.report(quiet(period, registrations=days))).table(unit, "Registrations")
    assert len(table) == rows
    assert sum(int(row[1]) for row in table) == 2 * len(days)


def busy() -> Facts:
    """More than there will be: ten years of days, 3,000 fasts, a cohort a week for 40 years."""
    period = Period.parse("2016-01-01", "2025-12-31")
    days = tuple((day.date, day.date.toordinal() % 90_000) for day in period.days)
    mondays = [date(2025, 12, 29) - timedelta(days=7 * n) for n in range(2080)]
    cohorts = tuple(
        Cohort(
            f"{(monday + timedelta(days=3)).year}-W{monday.isocalendar().week:02}",
            monday,
            1000 + n,
            n % 1000,
            100 * (n % 1000) / (1000 + n),
            n,
        )
        for n, monday in enumerate(mondays)
    )
    made = many(HOSTILE, 3000)
    return quiet(
        period,
        registrations=days,
        screen_views_by_day=days,
        fasts=made.fasts,
        top_fasts=made.top_fasts,
        cohorts=cohorts,
        hours=tuple(tuple(range(day, day + 24)) for day in range(7)),
        quality=checked(),
    )


def test_the_page_stays_small() -> None:
    text = page.report(busy())
    assert len(text.encode()) < 500_000
    assert "the table has 500." in text
    assert "Drawn are the newest 10 years with registrations." in text
    assert "The table has the newest 520 of 2,080 cohorts." in text
    assert "Cohorts older than 10 years are left out." in text


def test_a_registration_in_a_year_that_is_a_mistake() -> None:
    cohorts = (
        Cohort("2026-W01", date(2025, 12, 29), 20, 5, 25.0, 0),
        Cohort("0201-W01", date(200, 12, 29), 1, 0, 0.0, 95_220),
    )
    parsed = Parsed(page.report(quiet(cohorts=cohorts)))
    assert [row[0] for row in parsed.table("Week", "Users", "Active", "Retained, %")] == [
        "2026-W01",
        "0201-W01",
    ]
    assert [row[0] for row in parsed.table("Age, weeks", "Users", "Active", "Active, %")] == ["0"]


# The data quality in words.


def check(severity: Any, unexpected: int, table: str = "events") -> Check:
    return Check(
        table, "some", ("a",), severity, f"{severity} {unexpected}", not unexpected, unexpected, 9
    )


def checked() -> QualityResult:
    found = [
        check("warning", 0),
        check("warning", 2),
        check("critical", 3, "users"),
        check("critical", 1, "users"),
    ]
    return QualityResult.of(WEEK, {"events": 9, "users": 1200}, found)


def test_failures_stand_first() -> None:
    text = page.data_quality(checked())
    failed, *tables = Parsed(text).tables
    assert [row[0] for row in failed[1:]] == ["critical", "critical", "warning"]
    assert failed[1][1:] == ["userscritical 3", "3", "9"]
    assert len(tables) == 2
    assert [len(table) for table in tables] == [3, 3]
    assert "1,200 rows, 2 checks, 2 not passed" in text
    assert "Of 4 checks of the data, 2 critical checks failed: nothing was published." in text


@pytest.mark.parametrize(
    ("result", "words"),
    [
        (no_check(), "Nobody checked the data of this report."),
        (QualityResult.of(WEEK, {}, [check("critical", 0)]), "The data passed all of 1 check."),
        (
            QualityResult.of(WEEK, {}, [check("critical", 0), check("warning", 1)]),
            "Of 2 checks of the data no critical one failed; the others gave 1 warning.",
        ),
    ],
    ids=["skipped", "passed", "warned"],
)
def test_status_in_words(result: QualityResult, words: str) -> None:
    made = quiet(quality=result)
    assert words in page.data_quality(result)
    assert words in page.report(made)
    assert f"- {words}\n" in page.summary(made)
    assert QualityResult.of_json(json.loads(json.dumps(result.as_json()))) == result


# What is notable.


def test_changes_by_the_stated_rules() -> None:
    def said(**changes: Any) -> list[str]:
        return notable.changes(quiet(**changes), lambda name: f"<{name}>")

    assert said() == []
    assert said(joins=Change(119, 100), leaves=Change(9, 0)) == []
    assert said(joins=Change(120, 100)) == ["Joins rose from 100 to 120: +20 (+20.0%)."]
    assert said(active_users=Change(120, 100)) == [
        (
            "Active users rose from 100 to 120: +20 (+20.0%); the app has perhaps deleted earlier "
            "activities."
        )
    ]
    assert said(active_users=Change(80, 100)) == ["Active users fell from 100 to 80: −20 (−20.0%)."]
    assert said(leaves=Change(0, 10)) == ["Leaves fell from 10 to 0: −10 (−100%)."]
    assert said(leaves=Change(10, 0)) == ["Leaves rose from 0 to 10: +10."]
    days = [day.date for day in WEEK.days]
    counts = (10, 10, 11, 10, 40, 9, 10)
    assert said(registrations=tuple(zip(days, counts, strict=True))) == [
        "2 January 2026 had 40 registrations; the median day had 10."
    ]
    assert said(fasts=(Fast(1, "A", "C", 5, 2, 3), Fast(2, "B", "C", 1, 0, 0))) == [
        "The fast <A> of <C> had 2 joins and 3 leaves, and 5 participants at the end.",
        "The fast <A> of <C> lost more than it won: 3 leaves, 2 joins.",
    ]
    small = Cohort("2025-W40", date(2025, 9, 29), 9, 0, 0.0, 12)
    large = Cohort("2025-W41", date(2025, 10, 6), 10, 9, 90.0, 11)
    inside = Cohort("2026-W01", date(2025, 12, 29), 50, 50, 100.0, 0)
    assert said(cohorts=(inside, large, small)) == []
    assert said(cohorts=(inside, large, replace(small, users=10))) == [
        "The cohort 2025-W41 had the highest rate: 9 of 10 users, 90.00%.",
        "The cohort 2025-W40 had the lowest rate: 0 of 10 users, 0.00%.",
    ]


@pytest.mark.parametrize("most", [0, 1, 5, 6, 7, 59, 61, 1_000_000])
def test_steps_of_a_heat_map(most: int) -> None:
    scale = charts.Scale.of([0, most])
    assert scale.level(0) == 0
    assert scale.level(most) <= charts.LEVELS
    assert scale.level(most) > (charts.LEVELS // 3 if most > 2 else most - 1)


LOOKS: dict[str, dict[str, Any]] = {
    "light": {"color_scheme": "light", "viewport": {"width": 1200, "height": 900}},
    "dark": {"color_scheme": "dark", "viewport": {"width": 1200, "height": 900}},
    "phone": {"viewport": {"width": 360, "height": 740}, "is_mobile": True, "has_touch": True},
    "print": {"color_scheme": "dark", "viewport": {"width": 794, "height": 1123}},
}


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with browser() as running:
        yield running


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Folders with the pages of periods that are hard to show."""
    found = {}
    for name, of_period in (
        ("nothing", quiet()),
        ("day", one_day()),
        ("fast", one_fast(WEEK)),
        ("hostile", many(HOSTILE, 40)),
        ("busy", busy()),
    ):
        found[name] = tmp_path_factory.mktemp(name)
        page.write(found[name], of_period)
    return found


@pytest.mark.parametrize("period", ["nothing", "day", "fast", "hostile", "busy"])
@pytest.mark.parametrize("look", LOOKS)
def test_the_pages_open_in_a_browser(
    look: str, period: str, chromium: Browser, written: dict[str, Path]
) -> None:
    """They ask for nothing, complain of nothing, and are never wider than the screen."""
    requests: list[str] = []
    complaints: list[str] = []
    with chromium.new_context(locale="en-US", timezone_id="UTC", **LOOKS[look]) as context:
        tab = context.new_page()
        tab.on("request", lambda request: requests.append(request.url))
        tab.on("console", lambda message: complaints.append(message.text))
        tab.on("pageerror", lambda error: complaints.append(str(error)))
        tab.emulate_media(media="print" if look == "print" else "screen")
        opened = [(written[period] / name).as_uri() for name in archive.PAGES if "html" in name]
        for address in opened:
            tab.goto(address)
            tab.evaluate("document.querySelectorAll('details').forEach(one => one.open = true)")
            wide, room = tab.evaluate(
                "[document.documentElement.scrollWidth, document.documentElement.clientWidth]"
            )
            assert wide <= room
            ink, paper = tab.evaluate(
                "(style => [style.color, style.backgroundColor])(getComputedStyle(document.body))"
            )
            assert (brightness(ink) > brightness(paper)) == (look == "dark")
    assert requests == opened
    assert complaints == []


def test_paper_gets_the_tables_that_were_opened(
    chromium: Browser, written: dict[str, Path]
) -> None:
    with chromium.new_context(**LOOKS["print"]) as context:
        tab = context.new_page()
        tab.emulate_media(media="print")
        tab.goto((written["day"] / archive.REPORT_PAGE).as_uri())
        tables = tab.locator("figure details table")
        assert [table.is_visible() for table in tables.all()] == [False] * tables.count()
        tab.evaluate("document.querySelector('details').open = true")
        assert [table.is_visible() for table in tables.all()].count(True) == 1
        assert tables.first.is_visible()
        tab.goto((written["busy"] / archive.DATA_QUALITY_PAGE).as_uri())
        checks = tab.locator("table")
        assert checks.count() > 0
        assert all(table.is_visible() for table in checks.all())


def test_text_on_paper_can_be_read(chromium: Browser, written: dict[str, Path]) -> None:
    """A drawing shrunk to a column of A4 has text of nine points at least; no other is shown."""
    with chromium.new_context(viewport={"width": 703, "height": 1032}) as context:
        tab = context.new_page()
        tab.emulate_media(media="print")
        tab.goto((written["busy"] / archive.REPORT_PAGE).as_uri())
        drawn_of = tab.evaluate(
            "[...document.querySelectorAll('figure')].map(figure =>"
            " [...figure.querySelectorAll('svg')].filter(svg => svg.checkVisibility()).map(svg =>"
            " svg.getScreenCTM().a *"
            " parseFloat(getComputedStyle(svg.querySelector('text')).fontSize)))"
        )
        titles = tab.locator("h3").all_inner_texts()
        sizes = dict(zip(titles, drawn_of, strict=True))
        assert [len(of_chart) for of_chart in sizes.values()] == [1, 1, 1, 1, 1, 0, 2, 1]
        assert min(size for of_chart in sizes.values() for size in of_chart) >= 12


@pytest.mark.parametrize("look", ["light", "phone"])
def test_what_axes_say_is_inside_the_drawing(
    look: str, chromium: Browser, written: dict[str, Path]
) -> None:
    with chromium.new_context(**LOOKS[look]) as context:
        tab = context.new_page()
        tab.goto((written["busy"] / archive.REPORT_PAGE).as_uri())
        rooms = tab.evaluate(
            "[...document.querySelectorAll('svg')].filter(svg => svg.checkVisibility()).flatMap("
            "svg => [...svg.querySelectorAll('text')]"
            ".filter(text => getComputedStyle(text).textAnchor != 'start')"
            ".map(text => text.getBBox())"
            ".map(box => Math.min(box.x, svg.viewBox.baseVal.width - box.x - box.width)))"
        )
    assert len(rooms) > 50
    assert min(rooms) >= 0


@pytest.mark.parametrize(("name", "left"), [("صوم " * 30, True), ("Fast " * 30, False)])
def test_a_name_that_was_cut_ends_where_its_script_does(
    name: str, left: bool, chromium: Browser, tmp_path: Path
) -> None:
    page.write(tmp_path, many((name,), 1))
    with chromium.new_context() as context:
        tab = context.new_page()
        tab.goto((tmp_path / archive.REPORT_PAGE).as_uri())
        first, ellipsis = tab.locator(".wide svg text", has_text="…").first.evaluate(
            "text => [0, text.getNumberOfChars() - 1].map(n => text.getExtentOfChar(n).x)"
        )
        assert (ellipsis < first) == left


def brightness(colour: str) -> float:
    """The mean of the three parts of `rgb(...)`; a colour that is transparent is the paper's."""
    red, green, blue, *alpha = map(float, re.findall(r"[\d.]+", colour))
    return 255 if alpha == [0] else (red + green + blue) / 3

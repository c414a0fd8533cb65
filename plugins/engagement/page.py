"""The pages of an archive: the report and its data quality as HTML, and a summary as plain text.

Each is one file that needs nothing else: no network, no script. The same facts give the same bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from functools import cache, partial
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engagement import charts, fast_names, notable, queries
from engagement.archive import DATA_QUALITY_PAGE, REPORT_PAGE, SUMMARY
from engagement.charts import Scale
from engagement.facts import Cohort, Facts, Fast
from engagement.notable import WEEKDAYS, short_day, short_month, told_day
from engagement.quality import QualityResult
from engagement.text_table import code_span, counted

if TYPE_CHECKING:
    from jinja2 import Environment

# The widths of a column of the page, and of a phone, in pixels, and how many letters they hold.
_WIDTHS = (460, 300)
_CHARACTERS = {460: 58, 300: 38}
_HEIGHT = 190
_TICK_WIDTH = 80
# As many columns as can be told apart.
_COLUMNS = 92
_FAST_BARS = 12
_FAST_ROWS = 500
_YEARS = 10
_WEEKS = 53
_NEWEST = 5
_COHORT_ROWS = 520
_POINTS = 110


@dataclass(frozen=True, slots=True)
class Table:
    """The numbers behind a chart: one text a cell, of which the first is the row's name.

    `under` are second lines of the names.
    """

    titles: Sequence[str]
    rows: Sequence[Sequence[str]]
    under: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Panel:
    """One drawing, for a wide and for a narrow screen, with the meaning of its colours."""

    title: str
    wide: str
    narrow: str
    legend: Sequence[tuple[str, str]] = ()


@dataclass(frozen=True, slots=True)
class Chart:
    """A chart of the page: its title, what it says in words, its drawings and its table.

    Without panels there was nothing to draw, which the text says.
    """

    title: str
    text: Sequence[str]
    panels: Sequence[Panel] = ()
    table: Table | None = None
    newest: Sequence[Cohort] = ()


def write(folder: Path, facts: Facts) -> list[Path]:
    """Writes the three pages of `facts` into `folder`; returns their paths."""
    pages = {
        REPORT_PAGE: report(facts),
        SUMMARY: summary(facts),
        DATA_QUALITY_PAGE: data_quality(facts.quality),
    }
    for name, text in pages.items():
        (folder / name).write_text(text, encoding="utf-8", newline="")
    return [folder / name for name in pages]


def report(facts: Facts) -> str:
    """The page `report.html`."""
    return _render(
        "report.html",
        facts=facts,
        figures=notable.figures(facts),
        charts=_charts(facts),
        days_before=counted(len(facts.registrations), "day"),
        cautions=notable.cautions(facts)[1 + len(_not_as_expected(facts.quality)) :],
        status=notable.told_status(facts.quality),
        findings=[notable.told_check(check) for check in _not_as_expected(facts.quality)],
        data_quality=DATA_QUALITY_PAGE,
    )


def data_quality(result: QualityResult) -> str:
    """The page `data_quality.html`."""
    by_table = {
        table: [check for check in result.checks if check.table == table]
        for table in dict.fromkeys(check.table for check in result.checks)
    }
    return _render(
        "data_quality.html",
        result=result,
        status=notable.told_status(result),
        findings=_not_as_expected(result),
        tables=by_table,
    )


def summary(facts: Facts) -> str:
    """The text `summary.md`."""
    return _render(
        "summary.md",
        facts=facts,
        figures=notable.figures(facts),
        changes=notable.changes(facts, code_span),
        rules=notable.RULES,
        cautions=notable.cautions(facts),
        uses=notable.uses(facts),
        top_fasts=notable.top_fasts(facts, partial(fast_names.label, quote=code_span)),
        retention=notable.retention(facts),
        activity=notable.activity(facts),
    )


def _not_as_expected(result: QualityResult) -> list[Any]:
    return result.failures("critical") + result.failures("warning")


@cache
def _templates() -> Environment:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

    environment = Environment(
        loader=FileSystemLoader(queries.templates()),
        autoescape=select_autoescape(("html.jinja",)),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {
        "count": lambda number: f"{number:,}",
        "counted": counted,
        "days": notable.told_days,
        "change": notable.told_change,
        "plain": charts.plain,
    }
    return environment


def _render(name: str, **values: Any) -> str:
    return _templates().get_template(f"{name}.jinja").render(**values)


def _charts(facts: Facts) -> list[Chart]:
    return [
        _days(
            "Registrations", ("user who registered", "users who registered"), facts.registrations
        ),
        _days(
            "Screen views",
            ("screen viewed in the app", "screens viewed in the app"),
            facts.screen_views_by_day,
        ),
        _top_fasts(facts),
        _flow(facts),
        _hours(facts),
        _features(facts),
        _cohorts(facts),
        _curve(facts),
    ]


def _panel(title: str, draw: Callable[[int], str], legend: Sequence[tuple[str, str]] = ()) -> Panel:
    wide, narrow = (draw(width) for width in _WIDTHS)
    return Panel(title, wide, narrow, legend)


def _days(what: str, counts: tuple[str, str], days: Sequence[tuple[date, int]]) -> Chart:
    """`counts` is what is counted, of one and of several."""
    unit, sums = _summed(days)
    total = sum(count for _, count in days)
    title = f"{what} a {unit.name}"
    if not total:
        return Chart(title, [f"There are none: no {counts[1]} in this period."])
    most_day, most = max(days, key=lambda one: (one[1], -one[0].toordinal()))
    when = f"; the day with most was {told_day(most_day)}, with {most:,}" if len(days) > 1 else ""
    text = [f"{counted(total, *counts)}{when}."]
    if unit.name != "day":
        text.append(
            f"The period is long: days are summed to {unit.name}s, of which the first and the last "
            "can be cut by the period."
        )

    def draw(width: int) -> str:
        step = -(-len(sums) * _TICK_WIDTH // width)
        return charts.columns(
            f"{title}: {counts[1]}, {total:,} in all; the table has the numbers",
            [count for _, count in sums],
            [(place, unit.tick(sums[place][0])) for place in range(0, len(sums), step)],
            width,
            _HEIGHT,
        )

    rows = [[unit.told(first), f"{count:,}"] for first, count in sums]
    table = Table([unit.name.capitalize(), what], rows)
    return Chart(title, text, [_panel(title, draw)], table)


@dataclass(frozen=True, slots=True)
class _Unit:
    """What days are summed to: the first day of one, its name in a table, and on an axis."""

    name: str
    begin: Callable[[date], date]
    told: Callable[[date], str]
    tick: Callable[[date], str]


_UNITS = (
    _Unit("day", lambda day: day, str, short_day),
    _Unit(
        "week",
        lambda day: day - timedelta(days=day.weekday()),
        lambda day: f"from {day}",
        lambda day: f"{short_day(day)} {day.year % 100:02}",
    ),
    _Unit(
        "month",
        lambda day: day.replace(day=1),
        lambda day: str(day)[:7],
        lambda day: f"{short_month(day)} {day.year}",
    ),
    _Unit(
        "year",
        lambda day: day.replace(month=1, day=1),
        lambda day: str(day.year),
        lambda day: str(day.year),
    ),
)


def _summed(days: Sequence[tuple[date, int]]) -> tuple[_Unit, list[tuple[date, int]]]:
    """The days summed to the smallest unit that gives no more columns than can be told apart."""
    for unit in _UNITS:
        sums = [
            (first, sum(count for _, count in group))
            for first, group in groupby(days, key=lambda one: unit.begin(one[0]))
        ]
        if len(sums) <= _COLUMNS:
            break
    return unit, sums


def _top_fasts(facts: Facts) -> Chart:
    title = "Fasts with most joins"
    if not facts.top_fasts:
        return Chart(title, ["Nobody joined a fast in this period."])
    shown = counted(len(facts.top_fasts), "fast")

    def draw(width: int) -> str:
        fitted = partial(_fitted, characters=_CHARACTERS[width])
        return charts.named_bars(
            f"{title}: join events of {shown}; the table has the numbers",
            [(name, (joins,)) for name, joins in notable.top_fasts(facts, fitted)],
            width,
            characters=_CHARACTERS[width],
        )

    plain = partial(fast_names.label, quote=charts.plain)
    rows = [[name, f"{joins:,}"] for name, joins in notable.top_fasts(facts, plain)]
    text = [
        f"Join events in the period, of the {shown} with most; a user can join a fast more than "
        "once."
        if len(facts.top_fasts) > 1
        else "Join events in the period, of the one fast that anybody joined.",
    ]
    return Chart(title, text, [_panel(title, draw)], Table(["Fast", "Joins"], rows))


def _fitted(fast: Fast, details: int, characters: int) -> str:
    """The label of a fast, cut to so many characters at its names: an id is never cut."""
    room = characters - len(fast_names.label(replace(fast, name="", church=""), details, str))
    church_room = max(room // 2, room - charts.width(fast.name))
    church = charts.shortened(fast.church, church_room) if details else ""
    name = charts.shortened(fast.name, room - charts.width(church))
    return fast_names.label(replace(fast, name=name, church=church), details, str)


def _moved(facts: Facts) -> list[Fast]:
    """The fasts with joins or leaves in the period, those with most first."""
    moved = [fast for fast in facts.fasts if fast.joins or fast.leaves]
    return sorted(moved, key=lambda fast: (-fast.joins - fast.leaves, -fast.joins, fast.id))


def _flow(facts: Facts) -> Chart:
    title = "Joins and leaves of each fast"
    moved = _moved(facts)
    if not moved:
        return Chart(title, ["Nobody joined or left a fast in this period."])
    shown = moved[:_FAST_BARS]
    text = [
        "Join and leave events in the period, of the one fast that had any."
        if len(moved) == 1
        else "Join and leave events in the period, of the fasts with most of both first."
        if len(moved) <= _FAST_BARS
        else f"Join and leave events in the period, of the {_FAST_BARS} fasts with most of both; "
        f"the table has {f'all {len(moved):,}' if len(moved) <= _FAST_ROWS else f'{_FAST_ROWS:,}'}."
    ]
    idle = len(facts.fasts) - len(moved)
    if idle:
        text.append(f"{counted(idle, 'other fast')} had neither.")

    def draw(width: int) -> str:
        names = fast_names.told_apart(shown, partial(_fitted, characters=_CHARACTERS[width]))
        return charts.named_bars(
            f"{title}: events of {counted(len(shown), 'fast')}; the table has the numbers",
            [(name, (fast.joins, fast.leaves)) for name, fast in zip(names, shown, strict=True)],
            width,
            characters=_CHARACTERS[width],
        )

    def tell(fast: Fast, details: int) -> tuple[str, str]:
        with_id = f", id {fast.id}" if details == 2 else ""
        return charts.plain(fast.name), f"{charts.plain(fast.church)}{with_id}"

    told = fast_names.told_apart(moved[:_FAST_ROWS], tell)
    rows = [
        [name, f"{fast.joins:,}", f"{fast.leaves:,}", f"{fast.participants:,}"]
        for (name, _), fast in zip(told, moved, strict=False)
    ]
    table = Table(
        ["Fast, church", "Joins", "Leaves", "Members at the end"],
        rows,
        [church for _, church in told],
    )
    legend = [("series-1", "joins"), ("series-2", "leaves")]
    return Chart(title, text, [_panel(title, draw, legend)], table)


def _cohorts(facts: Facts) -> Chart:
    title = "Retention by week of registration"
    cohorts = facts.cohorts
    if not cohorts:
        return Chart(title, ["Nobody had registered before the period's end."])
    years = sorted({_year(cohort) for cohort in cohorts}, reverse=True)
    drawn = [cohort for cohort in cohorts if _year(cohort) in years[:_YEARS]]
    text = [
        (
            "A cohort is everybody who registered in one week; retained are those of them with "
            "activity in the period. Above how many percent, below how many users: a rate of few "
            "says little."
        )
    ]
    if len(years) > _YEARS:
        text.append(f"Drawn are the newest {_YEARS} years with registrations.")

    def panel(name: str, value: Callable[[Cohort], float], unit: str) -> Panel:
        scale = Scale.of(map(value, drawn))
        rows: list[tuple[str, list[float | None]]] = []
        for year in years[:_YEARS]:
            weeks: list[float | None] = [None] * _WEEKS
            for cohort in drawn:
                if _year(cohort) == year:
                    weeks[int(cohort.week[-2:]) - 1] = value(cohort)
            rows.append((f"{year}", weeks))
        ticks = [(week - 1, str(week)) for week in (1, 10, 20, 30, 40, 50)]
        return _panel(
            f"{name}, by year and ISO week",
            lambda width: charts.heat_map(
                f"{name} of {counted(len(drawn), 'cohort')} by year and ISO week; the table has "
                "the numbers",
                rows,
                ticks,
                scale,
                width,
                row_height=28 if len(rows) <= 3 else 18,
            ),
            _steps(scale, map(value, drawn), unit),
        )

    rows = [
        [cohort.week, f"{cohort.users:,}", f"{cohort.active:,}", f"{cohort.rate:.2f}"]
        for cohort in cohorts[:_COHORT_ROWS]
    ]
    if len(cohorts) > _COHORT_ROWS:
        text.append(f"The table has the newest {_COHORT_ROWS} of {len(cohorts):,} cohorts.")
    return Chart(
        title,
        text,
        [
            panel("Percent retained", lambda cohort: cohort.rate, "%"),
            panel("Users registered", lambda cohort: cohort.users, ""),
        ],
        Table(["Week", "Users", "Active", "Retained, %"], rows),
    )


def _year(cohort: Cohort) -> int:
    return int(cohort.week[:-4])


def _steps(scale: Scale, values: Iterable[float], unit: str) -> list[tuple[str, str]]:
    """What the colours of a heat map stand for, up to the greatest that there is."""
    levels = {scale.level(value) for value in values}
    return [
        (f"heat-{level}", f"up to {scale.step * level:,.10g}{unit}" if level else f"0{unit}")
        for level in range(max(levels, default=0) + 1)
    ]


def _curve(facts: Facts) -> Chart:
    title = "Retention by age"
    limit = _YEARS * 52
    cohorts = [cohort for cohort in facts.cohorts if cohort.age_weeks < limit]
    if not cohorts:
        return Chart(title, ["Nobody had registered in the years before the period's end."])
    oldest = max(cohort.age_weeks for cohort in cohorts)
    weeks = next(weeks for weeks in (1, 2, 4, 13, 52) if oldest // weeks < _POINTS)
    ages: dict[int, list[Cohort]] = {}
    for cohort in cohorts:
        ages.setdefault(cohort.age_weeks // weeks * weeks, []).append(cohort)
    points = [(age, notable.pooled_rate(pool)) for age, pool in sorted(ages.items())]
    each = "each week" if weeks == 1 else f"each {weeks} weeks"
    text = [
        (
            "How many of those who registered so long before the period's end had activity in the "
            f"period, in percent; the cohorts of {each} of age are taken together."
        )
    ]
    if len(cohorts) < len(facts.cohorts):
        text.append(f"Cohorts older than {_YEARS} years are left out.")
    panel = _panel(
        title,
        lambda width: charts.curve(
            f"{title}: percent of users active in the period over weeks since registration; the "
            "table has the numbers",
            points,
            "weeks since registration",
            width,
            _HEIGHT + 16,
        ),
    )
    rows = [
        [
            str(age) if weeks == 1 else f"{age} to {age + weeks - 1}",
            f"{sum(cohort.users for cohort in ages[age]):,}",
            f"{sum(cohort.active for cohort in ages[age]):,}",
            f"{rate:.1f}",
        ]
        for age, rate in points
    ]
    table = Table(["Age, weeks", "Users", "Active", "Active, %"], rows)
    return Chart(title, text, [panel], table, newest=facts.cohorts[:_NEWEST])


def _hours(facts: Facts) -> Chart:
    title = "Activity by weekday and hour"
    if not facts.activities:
        return Chart(title, ["There was no activity in this period."])
    means = [
        [count / days if days else None for count in hours]
        for hours, days in zip(facts.hours, facts.weekdays, strict=True)
    ]
    known = [mean for hours in means for mean in hours if mean is not None]
    scale = Scale.of(known, least=0.01)
    text = [
        (
            f"{counted(facts.activities, 'activity', 'activities')} in the feeds. Coloured is how "
            "many fell on average into one hour of such a weekday of the period, in the time zone "
            f"{facts.period.timezone}."
        )
    ]
    absent = [name for name, days in zip(WEEKDAYS, facts.weekdays, strict=True) if not days]
    if absent:
        text.append(f"The period has no {', '.join(absent)}.")
    panel = _panel(
        title,
        lambda width: charts.heat_map(
            f"{title}: activities in an average hour; the table has the numbers",
            list(zip(WEEKDAYS, means, strict=True)),
            [(hour, f"{hour}:00") for hour in (0, 6, 12, 18)],
            scale,
            width,
            row_height=22,
        ),
        _steps(scale, known, ""),
    )
    digits = 1 if max(known) < 100 else 0
    rows = [
        [
            f"{hour}:00",
            *("–" if day[hour] is None else f"{day[hour]:,.{digits}f}" for day in means),
        ]
        for hour in range(24)
    ]
    return Chart(title, text, [panel], Table(["Hour", *WEEKDAYS], rows))


def _features(facts: Facts) -> Chart:
    title = "Devotionals, checklists and tutorial videos"
    features = list(_feature_counts(facts))
    if not any(times for _, times, _, _ in features):
        return Chart(title, ["None of them was used in this period."])
    both, *others = notable.uses(facts)
    text = [f"Times used, and users who did. {both}", *others]
    panel = _panel(
        title,
        lambda width: charts.named_bars(
            f"{title}: times used and users; the table has the numbers",
            [(name, (times, users)) for name, times, users, _ in features],
            width,
            characters=_CHARACTERS[width],
        ),
        [("series-1", "times used"), ("series-2", "users")],
    )
    rows = [
        [name, f"{times:,}", f"{users:,}", f"{mean:,.2f}"] for name, times, users, mean in features
    ]
    return Chart(title, text, [panel], Table(["Feature", "Times used", "Users", "Per user"], rows))


def _feature_counts(facts: Facts) -> Iterator[tuple[str, int, int, float]]:
    for name, key, count in (
        ("Devotionals viewed", "devotionals", "total_views"),
        ("Checklists used", "checklists", "total_uses"),
        ("Tutorial videos viewed", "tutorial_videos", "total_views"),
    ):
        part = facts.patterns[key]
        yield name, part[count], part["unique_users"], part["avg_per_user"]

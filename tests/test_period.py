"""The period: its days in any time zone, held against a plain reading of the clock."""

from __future__ import annotations

import re
import subprocess
import sys
import zoneinfo
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from functools import cache
from importlib import resources
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from demo import airflow
from engagement import period as period_module
from engagement.errors import UsageError
from engagement.period import (
    Cadence,
    Period,
    first_instant,
    local_date,
    parse_date,
    parse_timezone,
)

DAY = timedelta(days=1)
MINUTE = timedelta(minutes=1)
FIRST, LAST = date(1990, 1, 1), date(2040, 12, 31)
ZONES = (
    "UTC",
    "Africa/Cairo",
    "America/Havana",
    "America/Los_Angeles",
    "America/Sao_Paulo",
    "America/St_Johns",
    "Asia/Beirut",
    "Asia/Kathmandu",
    "Europe/London",
    "Pacific/Apia",
)


TIMEZONES = resources.files("tzdata").joinpath("zones").read_text("utf-8").split()


@cache
def plain_first_instant(day: date, timezone: str) -> datetime:
    """The first minute at which a clock in `timezone` shows `day`, or later where it skips it."""
    zone = parse_timezone(timezone)
    instant = datetime(day.year, day.month, day.day, tzinfo=UTC) - timedelta(hours=26)
    while instant.astimezone(zone).date() < day:
        instant += MINUTE
    return instant


@cache
def clock_changes(timezone: str) -> list[date]:
    """The dates before which the clock was moved, from `FIRST` to `LAST`."""
    zone = parse_timezone(timezone)
    noons = [
        datetime(FIRST.year, FIRST.month, FIRST.day, 12, tzinfo=UTC) + n * DAY
        for n in range((LAST - FIRST).days)
    ]
    offsets = [noon.astimezone(zone).utcoffset() for noon in noons]
    return [noons[n].date() for n in range(1, len(noons)) if offsets[n] != offsets[n - 1]]


@st.composite
def periods(draw: st.DrawFn) -> Period:
    """Short periods in awkward time zones, most of them where the clock was moved."""
    timezone = draw(st.sampled_from(ZONES))
    days = st.dates(FIRST, LAST - 10 * DAY)
    if changes := clock_changes(timezone):
        near = st.builds(lambda day, n: day + n * DAY, st.sampled_from(changes), st.integers(-4, 2))
        days = st.one_of(near, near, days)
    start = draw(days)
    return Period(start, start + draw(st.integers(0, 5)) * DAY, timezone)


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@settings(max_examples=150, deadline=None)
@given(periods())
def test_days_begin_when_the_clock_first_shows_them_and_leave_no_gap(period: Period) -> None:
    days = period.days
    assert [day.date for day in days] == [
        date.fromordinal(n) for n in range(period.start.toordinal(), period.end.toordinal() + 1)
    ]
    assert [day.start for day in days] == [
        plain_first_instant(day.date, period.timezone) for day in days
    ]
    assert [day.end for day in days[:-1]] == [day.start for day in days[1:]]
    assert days[-1].end == plain_first_instant(period.end + DAY, period.timezone)
    assert (period.start_instant, period.end_instant) == (days[0].start, days[-1].end)
    assert {day.start.tzinfo for day in days} == {UTC}


@settings(max_examples=150, deadline=None)
@given(periods(), st.integers(min_value=0))
def test_an_instant_is_of_the_day_that_holds_it(period: Period, number: int) -> None:
    microseconds = (period.end_instant - period.start_instant) // timedelta.resolution
    # A period of nothing but a date that the clock skips holds no instant.
    instant = period.start_instant + (number % max(microseconds, 1)) * timedelta.resolution
    holding = [day.date for day in period.days if day.start <= instant < day.end]
    assert holding == ([local_date(instant, period.zone)] if microseconds else [])


@settings(max_examples=150, deadline=None)
@given(periods())
@example(Period(date(2011, 12, 29), date(2011, 12, 30), "Pacific/Apia"))
def test_an_interval_of_whole_days_is_their_period(period: Period) -> None:
    there = [day for day in period.days if day.start < day.end]
    if not there:
        with pytest.raises(UsageError):
            Period.of_interval(period.start_instant, period.end_instant, period.timezone)
        return
    found = Period.of_interval(period.start_instant, period.end_instant, period.timezone)
    assert found == Period(there[0].date, there[-1].date, period.timezone)
    for wrong in (-MINUTE, timedelta.resolution):
        with pytest.raises(UsageError, match="is not made of whole days in "):
            Period.of_interval(period.start_instant + wrong, period.end_instant, period.timezone)
        with pytest.raises(UsageError, match="is not made of whole days in "):
            Period.of_interval(period.start_instant, period.end_instant + wrong, period.timezone)


def test_days_begin_with_a_half_minute() -> None:
    months = [date(year, month, 1) for year in range(1970, 2038) for month in range(1, 13)]
    for timezone in TIMEZONES:
        zone = parse_timezone(timezone)
        odd = [day for day in months if first_instant(day, zone).timestamp() % 30]
        assert odd == [], timezone


@pytest.mark.parametrize(
    ("day", "timezone", "start", "hours"),
    [
        ("2024-03-10", "America/Los_Angeles", "2024-03-10T08:00", 23),
        ("2024-11-03", "America/Los_Angeles", "2024-11-03T07:00", 25),
        # The clock goes from 23:59 to 01:00.
        ("2024-04-26", "Africa/Cairo", "2024-04-25T22:00", 23),
        ("2018-11-04", "America/Sao_Paulo", "2018-11-04T03:00", 23),
        # From 23:59 back to 23:00, of the same day.
        ("2018-02-17", "America/Sao_Paulo", "2018-02-17T02:00", 25),
        # From 00:59 back to 00:00.
        ("2024-11-03", "America/Havana", "2024-11-03T04:00", 25),
        # From 00:00 back to 23:01: the day that has begun goes on.
        ("2010-11-07", "America/St_Johns", "2010-11-07T02:30", 25),
        ("2011-12-29", "Pacific/Apia", "2011-12-29T10:00", 24),
        ("2011-12-30", "Pacific/Apia", "2011-12-30T10:00", 0),
        ("2011-12-31", "Pacific/Apia", "2011-12-30T10:00", 24),
    ],
)
def test_days_on_which_the_clock_is_moved(day: str, timezone: str, start: str, hours: int) -> None:
    period = Period.parse(day, day, timezone)
    assert period.start_instant == utc(start)
    assert period.end_instant - period.start_instant == timedelta(hours=hours)


def test_a_day_whose_midnight_lies_inside_a_gap_begins_when_the_clock_resumes() -> None:
    # From 23:30 to 00:30.
    begins = first_instant(date(1919, 3, 31), parse_timezone("America/Toronto"))
    assert begins == utc("1919-03-31T04:30")


def test_a_day_that_has_begun_goes_on_while_the_clock_shows_the_day_before_once_more() -> None:
    zone = parse_timezone("America/St_Johns")
    late = utc("2010-11-07T03:00")
    assert late.astimezone(zone).date() == date(2010, 11, 6)
    assert local_date(late, zone) == date(2010, 11, 7)


@pytest.mark.parametrize(
    ("start", "end", "timezone", "day"),
    [
        ("2024-11-02T04:00", "2024-11-03T05:00", "America/Havana", "2024-11-02"),
        ("2024-11-03T05:00", "2024-11-04T05:00", "America/Havana", "2024-11-03"),
        ("2010-11-06T02:30", "2010-11-07T03:30", "America/St_Johns", "2010-11-06"),
        ("2010-11-07T03:30", "2010-11-08T03:30", "America/St_Johns", "2010-11-07"),
    ],
)
def test_a_midnight_that_comes_twice_bounds_the_same_days_either_time(
    start: str, end: str, timezone: str, day: str
) -> None:
    assert Period.of_interval(utc(start), utc(end), timezone) == Period.parse(day, day, timezone)


@pytest.mark.parametrize(
    ("start", "end"),
    [
        ("2024-01-02T00:00", "2024-01-02T00:00"),
        ("2024-01-03T00:00", "2024-01-02T00:00"),
        ("2024-01-02T00:00", "2024-01-02T12:00"),
        ("2024-01-01T12:00", "2024-01-02T00:00"),
    ],
)
def test_an_interval_that_is_no_whole_days_is_refused(start: str, end: str) -> None:
    with pytest.raises(UsageError) as caught:
        Period.of_interval(utc(start), utc(end), "UTC")
    told = str(caught.value)
    assert told.startswith(f"the data interval {start}:00+00:00 to {end}:00+00:00 is not ")
    assert told.endswith("or give an interval from midnight to a later midnight")


def test_the_two_midnights_of_one_day_are_no_interval() -> None:
    with pytest.raises(UsageError, match="is not made of whole days in America/Havana"):
        Period.of_interval(utc("2024-11-03T04:00"), utc("2024-11-03T05:00"), "America/Havana")


@pytest.mark.parametrize(
    "text",
    [
        "2024-13-01",
        "2023-02-29",
        "2024-00-10",
        "0000-01-01",
        "01/02/2024",
        "2024-1-5",
        "20240105",
        "2024-W01-1",
        "2024-01-05T00:00",
        " 2024-01-05",
        "2024-01-05\n",
        "٢٠٢٤-٠١-٠٥",
        "today",
        "",
    ],
)
def test_what_is_no_date_is_told_in_one_line(text: str) -> None:
    expected = (
        f"{{}} {text!r} is not a date: expected a calendar date written YYYY-MM-DD, for example "
        "2026-01-31"
    )
    for name, start, end in (("start", text, "2024-01-05"), ("end", "2024-01-05", text)):
        with pytest.raises(UsageError) as caught:
            Period.parse(start, end)
        assert str(caught.value) == expected.format(name)
        assert len(str(caught.value).splitlines()) == 1


@given(st.dates())
def test_a_date_is_read_as_it_is_written(day: date) -> None:
    assert parse_date(day.isoformat()) == day


def test_a_period_that_ends_before_it_starts_is_refused() -> None:
    with pytest.raises(UsageError) as caught:
        Period.parse("2024-01-05", "2024-01-04")
    assert str(caught.value) == (
        "the period ends before it starts: start 2024-01-05, end 2024-01-04; expected an end on "
        "or after the start"
    )


@pytest.mark.parametrize(
    ("start", "end"), [("1969-12-31", "1970-01-01"), ("9998-12-31", "9999-01-01")]
)
def test_a_period_out_of_range_is_refused(start: str, end: str) -> None:
    with pytest.raises(UsageError) as caught:
        Period.parse(start, end)
    assert str(caught.value) == (
        f"the period {start} to {end} is out of range: expected dates from 1970-01-01 to 9998-12-31"
    )


@pytest.mark.parametrize("day", ["1970-01-01", "9998-12-31"])
@pytest.mark.parametrize("timezone", ["UTC", "Pacific/Kiritimati", "America/Los_Angeles"])
def test_the_first_and_the_last_date_have_their_24_hours(day: str, timezone: str) -> None:
    period = Period.parse(day, day, timezone)
    assert period.end_instant - period.start_instant == DAY


def test_every_name_of_the_package_is_a_time_zone() -> None:
    assert len(TIMEZONES) > 500
    for name in TIMEZONES:
        zone = parse_timezone(name)
        assert (str(zone), zone.key) == (name, name)
        assert parse_timezone(name) is zone is Period.parse("2024-01-05", "2024-01-05", name).zone


@pytest.fixture
def other_rules(tmp_path: Path) -> Iterator[None]:
    """A machine that has Los Angeles on the clock of Tokyo, and zones that nobody else has."""
    tokyo = resources.files("tzdata").joinpath("zoneinfo", "Asia", "Tokyo").read_bytes()
    (tmp_path / "America").mkdir()
    for name in ("America/Los_Angeles", "localtime", "Ours"):
        (tmp_path / name).write_bytes(tokyo)
    before = zoneinfo.TZPATH
    zoneinfo.reset_tzpath([str(tmp_path)])
    zoneinfo.ZoneInfo.clear_cache()
    period_module._read_timezone.cache_clear()
    yield
    zoneinfo.reset_tzpath(before)
    zoneinfo.ZoneInfo.clear_cache()
    period_module._read_timezone.cache_clear()


@pytest.mark.usefixtures("other_rules")
def test_the_rules_are_those_of_the_package_not_of_the_machine() -> None:
    machine = zoneinfo.ZoneInfo("America/Los_Angeles")
    assert utc("2024-01-05T12:00").astimezone(machine).hour == 21
    period = Period.parse("2024-01-05", "2024-01-05", "America/Los_Angeles")
    assert period.start_instant == utc("2024-01-05T08:00")
    for name in ("localtime", "Ours"):
        assert zoneinfo.ZoneInfo(name).key == name
        with pytest.raises(UsageError, match=f"time zone '{name}' is unknown"):
            parse_timezone(name)


@pytest.mark.usefixtures("other_rules")
def test_an_interval_that_other_rules_cut_is_told_as_such() -> None:
    zone = "America/Los_Angeles"
    with pytest.raises(UsageError) as caught:
        Period.of_interval(utc("2024-01-04T15:00"), utc("2024-01-05T15:00"), zone)
    told = str(caught.value)
    assert told.startswith(
        "the data interval 2024-01-04T15:00:00+00:00 to 2024-01-05T15:00:00+00:00 is cut by the "
        "machine's rules for America/Los_Angeles, which differ from those of the package tzdata: "
    )
    assert "PYTHONTZPATH" in told
    # Neither rules have a midnight then.
    with pytest.raises(UsageError, match="is not made of whole days in America/Los_Angeles"):
        Period.of_interval(utc("2024-01-04T15:00"), utc("2024-01-05T16:00"), zone)
    right = Period.of_interval(utc("2024-01-04T08:00"), utc("2024-01-05T08:00"), zone)
    assert right == Period.parse("2024-01-04", "2024-01-04", zone)


def test_airflow_is_started_with_the_same_rules(tmp_path: Path) -> None:
    """Its schedules read the machine's, where there is a path to those."""
    home = airflow.Home(tmp_path, "postgresql://a@b/c", "postgresql://d@e/f")
    assert home.environment(1234)["PYTHONTZPATH"] == ""
    image = (Path(__file__).parents[1] / "Dockerfile").read_text(encoding="utf-8")
    assert "ENV PYTHONTZPATH=\n" in image
    done = subprocess.run(
        [sys.executable, "-c", "import zoneinfo; print(zoneinfo.TZPATH)"],
        env={"PYTHONTZPATH": ""},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert done.stdout == "()\n"


@settings(max_examples=150, deadline=None)
@given(periods(), st.timedeltas(timedelta(0), 400 * DAY))
def test_weeks_begin_on_mondays_and_leave_no_gap(period: Period, before: timedelta) -> None:
    since = period.start_instant - before
    weeks = period.weeks_since((since - utc("1970-01-01")) // timedelta.resolution)
    assert {week.monday.weekday() for week in weeks} == {0}
    assert [week.start for week in weeks] == [
        plain_first_instant(week.monday, period.timezone) for week in weeks
    ]
    assert [week.end for week in weeks[:-1]] == [week.start for week in weeks[1:]]
    assert weeks[-1].end == plain_first_instant(weeks[-1].monday + 7 * DAY, period.timezone)
    assert weeks[0].start <= since < weeks[0].end
    assert timedelta(0) <= period.end - weeks[-1].monday < 7 * DAY


@pytest.mark.parametrize("timezone", ["UTC", "America/Juneau", "Asia/Manila", "Asia/Tokyo"])
@pytest.mark.parametrize("epoch_us", [-(2**63) + 1, -62_200_000_000_000_000])
def test_the_first_of_all_weeks(timezone: str, epoch_us: int) -> None:
    [first, *_, last] = Period.parse("1970-01-01", "1970-01-01", timezone).weeks_since(epoch_us)
    assert (first.monday, last.monday) == (date(1, 1, 8), date(1969, 12, 29))


@pytest.mark.parametrize(
    "name",
    [
        "Mars/Olympus",
        "PST8",
        "",
        "Europe",
        "Europe/",
        "../zoneinfo/UTC",
        "Europe/../UTC",
        "/usr/share/zoneinfo/UTC",
        "/etc/passwd",
        "tzdata.zi",
        "zones",
        # Only some machines have them, and not all of those mean the same by them.
        "localtime",
        "posixrules",
        "posix/UTC",
        "right/UTC",
        "utc",
        "UTC\n",
        "UTC\0",
        "\ud800",
        "x" * 5000,
    ],
)
def test_an_unknown_time_zone_is_told_in_one_line(name: str) -> None:
    with pytest.raises(UsageError) as caught:
        Period.parse("2024-01-05", "2024-01-05", name)
    assert str(caught.value) == (
        f"time zone {name!r} is unknown: expected an IANA name, for example UTC or "
        "America/Los_Angeles"
    )
    assert len(str(caught.value).splitlines()) == 1
    with pytest.raises(UsageError, match=re.escape(repr(name))):
        parse_timezone(name)


def test_a_label_names_both_dates() -> None:
    assert Period.parse("2024-01-05", "2024-02-01").label == "2024-01-05_to_2024-02-01"


@pytest.mark.parametrize(
    ("cadence", "start", "end"),
    [
        ("daily", "2024-02-29", "2024-02-29"),
        ("weekly", "2024-12-30", "2025-01-05"),
        ("monthly", "2024-02-01", "2024-02-29"),
        ("monthly", "2024-12-01", "2024-12-31"),
        ("on-demand", "2024-02-03", "2025-07-04"),
    ],
)
def test_a_cadence_takes_its_periods(cadence: str, start: str, end: str) -> None:
    Cadence(cadence).check(Period.parse(start, end))


@pytest.mark.parametrize(
    ("cadence", "start", "end", "expected"),
    [
        ("daily", "2024-02-28", "2024-02-29", "one day"),
        ("weekly", "2024-01-02", "2024-01-08", "a week from Monday to Sunday"),
        ("weekly", "2024-01-01", "2024-01-14", "a week from Monday to Sunday"),
        ("weekly", "2024-01-01", "2024-01-01", "a week from Monday to Sunday"),
        ("monthly", "2024-02-01", "2024-02-28", "one calendar month"),
        ("monthly", "2024-02-02", "2024-02-29", "one calendar month"),
        ("monthly", "2024-02-01", "2024-03-31", "one calendar month"),
        ("monthly", "2023-02-01", "2024-02-29", "one calendar month"),
    ],
)
def test_a_cadence_refuses_other_periods(cadence: str, start: str, end: str, expected: str) -> None:
    with pytest.raises(UsageError) as caught:
        Cadence(cadence).check(Period.parse(start, end))
    assert str(caught.value) == (
        f"the period {start} to {end} is no period of a {cadence} report: expected {expected}; any "
        "other period is for on-demand reports"
    )


@pytest.mark.parametrize(
    ("period", "previous"),
    [
        (("2026-01-01", "2026-01-31"), ("2025-12-01", "2025-12-31")),
        (("2024-03-01", "2024-03-31"), ("2024-01-30", "2024-02-29")),
        (("2026-01-05", "2026-01-05"), ("2026-01-04", "2026-01-04")),
        (("1970-01-02", "1970-01-02"), ("1970-01-01", "1970-01-01")),
    ],
)
def test_the_previous_period_has_as_many_days_right_before(
    period: tuple[str, str], previous: tuple[str, str]
) -> None:
    zone = "America/New_York"
    found = Period.parse(*period, zone)
    before = found.previous
    assert before == Period.parse(*previous, zone)
    assert len(before.days) == len(found.days)
    assert before.end_instant == found.start_instant
    assert found.previous_start_instant == before.start_instant


@pytest.mark.parametrize("end", ["1970-01-01", "1970-02-28"])
def test_no_previous_period_begins_before_all_periods(end: str) -> None:
    found = Period.parse("1970-01-01", end)
    assert found.previous is None
    assert found.previous_start_instant == found.start_instant

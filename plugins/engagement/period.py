"""The period of a report, as a value."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum
from functools import cache
from importlib import resources
from zoneinfo import ZoneInfo

from engagement.errors import UsageError

DEFAULT_DAYS = 30
"""So many days before today a period begins where nobody says when."""

_ISO_DATE = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)
_EARLIEST = date(1970, 1, 1)
_LATEST = date(9998, 12, 31)
_DAY = timedelta(days=1)
_WEEK = timedelta(days=7)
# The first Monday all around which there are dates, in any time zone.
_FIRST_WEEK = date(1, 1, 8)
_UNIX_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LONGEST_MONTH = 31


def parse_date(text: str, name: str = "date") -> date:
    """A calendar date written as `YYYY-MM-DD`; raises UsageError naming `name` otherwise."""
    try:
        value = date.fromisoformat(text) if _ISO_DATE.fullmatch(text) else None
    except ValueError:
        value = None
    if value is None:
        raise UsageError(
            f"{name} {text!r} is not a date: expected a calendar date written YYYY-MM-DD, "
            "for example 2026-01-31"
        )
    return value


def parse_timezone(name: str) -> ZoneInfo:
    """The IANA time zone `name`; raises UsageError where there is none of that name.

    Its rules are those of the package tzdata, whatever the machine's own are: the same report has
    the same days everywhere. The same name gives the same object; it cannot be pickled.
    """
    # A name that the machine alone knows, such as localtime, means another zone elsewhere.
    if name not in _timezone_names():
        raise UsageError(
            f"time zone {name!r} is unknown: expected an IANA name, for example UTC or "
            "America/Los_Angeles"
        )
    return _read_timezone(name)


@cache
def _timezone_names() -> frozenset[str]:
    return frozenset(resources.files("tzdata").joinpath("zones").read_text("utf-8").split())


@cache
def _read_timezone(name: str) -> ZoneInfo:
    with resources.files("tzdata").joinpath("zoneinfo", *name.split("/")).open("rb") as file:
        return ZoneInfo.from_file(file, key=name)


def first_instant(day: date, zone: ZoneInfo) -> datetime:
    """The first instant of `day` in `zone`, in UTC.

    Midnight, the earlier one where the clock shows it twice; where the clock skips midnight, the
    first instant of the day; where it skips the whole day, the first instant after the gap.
    """
    midnight = datetime.combine(day, time.min, zone).astimezone(UTC)
    if midnight.astimezone(zone).replace(tzinfo=None) == datetime.combine(day, time.min):
        return midnight
    before, after = midnight - 2 * _DAY, midnight + 2 * _DAY
    while after - before > timedelta(seconds=1):
        middle = before + timedelta(seconds=(after - before) // timedelta(seconds=1) // 2)
        if middle.astimezone(zone).date() < day:
            before = middle
        else:
            after = middle
    return after


def local_date(instant: datetime, zone: ZoneInfo) -> date:
    """The day of `zone` that holds `instant`: the last one whose first instant is not after it."""
    day = instant.astimezone(zone).date()
    return day + _DAY if first_instant(day + _DAY, zone) <= instant else day


def _begins(instant: datetime, day: date, zone: ZoneInfo) -> bool:
    """Whether `instant` is a midnight of `day`, or its first instant where it has no midnight."""
    wall = instant.astimezone(zone).replace(tzinfo=None)
    return wall == datetime.combine(day, time.min) or instant == first_instant(day, zone)


def _differs(one: ZoneInfo, other: ZoneInfo, *instants: datetime) -> bool:
    """Whether the two clocks show one of the instants differently."""
    return any(
        instant.astimezone(one).utcoffset() != instant.astimezone(other).utcoffset()
        for instant in instants
    )


@dataclass(frozen=True, slots=True)
class Day:
    """One calendar day and the half-open interval of UTC instants that it spans."""

    date: date
    start: datetime
    end: datetime


@dataclass(frozen=True, slots=True)
class Week:
    """One week, by its Monday, and the half-open interval of UTC instants that it spans."""

    monday: date
    start: datetime
    end: datetime


@dataclass(frozen=True, slots=True)
class Period:
    """Two calendar dates, both included, in the report time zone `timezone` (an IANA name)."""

    start: date
    end: date
    timezone: str = "UTC"

    def __post_init__(self) -> None:
        parse_timezone(self.timezone)
        if self.end < self.start:
            raise UsageError(
                f"the period ends before it starts: start {self.start}, end {self.end}; "
                "expected an end on or after the start"
            )
        if self.start < _EARLIEST or self.end > _LATEST:
            raise UsageError(
                f"the period {self.start} to {self.end} is out of range: expected dates from "
                f"{_EARLIEST} to {_LATEST}"
            )

    @classmethod
    def parse(cls, start: str, end: str, timezone: str = "UTC") -> Period:
        """The period between two dates written `YYYY-MM-DD`; raises UsageError."""
        return cls(parse_date(start, "start"), parse_date(end, "end"), timezone)

    @classmethod
    def of_interval(cls, start: datetime, end: datetime, timezone: str) -> Period:
        """The whole days between two midnights; raises UsageError.

        Where the clock shows midnight twice, either stands for it: Airflow's schedules cut at the
        second. A date that the clock skips is no day to end with.
        """
        zone = parse_timezone(timezone)
        first, after = local_date(start, zone), local_date(end, zone)
        if not (first < after and _begins(start, first, zone) and _begins(end, after, zone)):
            # What cut the interval reads the machine's rules.
            machine = ZoneInfo(timezone)
            if all(moment.astimezone(machine).time() == time.min for moment in (start, end)) and (
                _differs(machine, zone, start, end)
            ):
                raise UsageError(
                    f"the data interval {start.isoformat()} to {end.isoformat()} is cut by the "
                    f"machine's rules for {timezone}, which differ from those of the package "
                    "tzdata: set PYTHONTZPATH to nothing wherever Airflow runs, then trigger the "
                    "run with the parameters start and end"
                )
            raise UsageError(
                f"the data interval {start.isoformat()} to {end.isoformat()} is not made of whole "
                f"days in {timezone}: set the parameters start and end, or give an interval from "
                "midnight to a later midnight"
            )
        last = local_date(first_instant(after, zone) - timedelta.resolution, zone)
        return cls(first, last, timezone)

    @property
    def zone(self) -> ZoneInfo:
        """The report time zone."""
        return parse_timezone(self.timezone)

    @property
    def start_instant(self) -> datetime:
        """The first instant of the period, in UTC."""
        return first_instant(self.start, self.zone)

    @property
    def end_instant(self) -> datetime:
        """The first instant after the period, in UTC."""
        return first_instant(self.end + _DAY, self.zone)

    @property
    def previous(self) -> Period | None:
        """As many days right before the period; None where they begin before all periods."""
        length = self.end - self.start + _DAY
        if self.start - _EARLIEST < length:
            return None
        return Period(self.start - length, self.start - _DAY, self.timezone)

    @property
    def previous_start_instant(self) -> datetime:
        """The first instant of the previous period, in UTC; without one, that of the period."""
        return (self.previous or self).start_instant

    @property
    def days(self) -> list[Day]:
        """Every day of the period, in order."""
        zone = self.zone
        count = (self.end - self.start).days + 1
        dates = [self.start + n * _DAY for n in range(count + 1)]
        instants = [first_instant(day, zone) for day in dates]
        return [Day(dates[n], instants[n], instants[n + 1]) for n in range(count)]

    def weeks_since(self, epoch_us: int) -> list[Week]:
        """Every week from the one that holds an instant to the one that holds the period's end.

        The instant is in microseconds since 1970, UTC. Weeks begin on Monday; the first there is
        begins on 0001-01-08, and stands for every week before it too.
        """
        zone = self.zone
        floor = first_instant(_FIRST_WEEK, zone)
        since = max(epoch_us, (floor - _UNIX_EPOCH) // timedelta.resolution)
        first = local_date(_UNIX_EPOCH + since * timedelta.resolution, zone)
        first, last = (day - day.weekday() * _DAY for day in (first, self.end))
        count = (last - first) // _WEEK + 1
        mondays = [first + n * _WEEK for n in range(count + 1)]
        instants = [first_instant(monday, zone) for monday in mondays]
        return [Week(mondays[n], instants[n], instants[n + 1]) for n in range(count)]

    @property
    def label(self) -> str:
        """`START_to_END`, as in file names."""
        return f"{self.start}_to_{self.end}"

    def as_dict(self) -> dict[str, str]:
        """The same as plain values, which `parse` takes back."""
        return {"start": str(self.start), "end": str(self.end), "timezone": self.timezone}


class Cadence(StrEnum):
    """How often a report is made; published reports have a folder for each."""

    DAILY = "daily"
    WEEKLY = "weekly"
    MONTHLY = "monthly"
    ON_DEMAND = "on-demand"

    def check(self, period: Period) -> None:
        """Raises UsageError where `period` is none of this cadence's."""
        fits, expected = {
            Cadence.DAILY: (period.start == period.end, "one day"),
            Cadence.WEEKLY: (
                period.start.weekday() == 0 and period.end == period.start + 6 * _DAY,
                "a week from Monday to Sunday",
            ),
            Cadence.MONTHLY: (
                period.start.day == 1
                and (period.end + _DAY).day == 1
                and (period.end - period.start).days < _LONGEST_MONTH,
                "one calendar month",
            ),
            Cadence.ON_DEMAND: (True, "any period"),
        }[self]
        if not fits:
            raise UsageError(
                f"the period {period.start} to {period.end} is no period of a {self} report: "
                f"expected {expected}; any other period is for {Cadence.ON_DEMAND} reports"
            )

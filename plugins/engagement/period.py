"""The period of a report, as a value."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from engagement.errors import UsageError

_ISO_DATE = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)
_EARLIEST = date(1970, 1, 1)
_LATEST = date(9998, 12, 31)
_DAY = timedelta(days=1)
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
    """The IANA time zone `name`; raises UsageError where there is none of that name."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise UsageError(
            f"time zone {name!r} is unknown: expected an IANA name, for example UTC or "
            "America/Los_Angeles"
        ) from None


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


@dataclass(frozen=True, slots=True)
class Day:
    """One calendar day and the half-open interval of UTC instants that it spans."""

    date: date
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
        return ZoneInfo(self.timezone)

    @property
    def start_instant(self) -> datetime:
        """The first instant of the period, in UTC."""
        return first_instant(self.start, self.zone)

    @property
    def end_instant(self) -> datetime:
        """The first instant after the period, in UTC."""
        return first_instant(self.end + _DAY, self.zone)

    @property
    def days(self) -> list[Day]:
        """Every day of the period, in order."""
        zone = self.zone
        count = (self.end - self.start).days + 1
        dates = [self.start + n * _DAY for n in range(count + 1)]
        instants = [first_instant(day, zone) for day in dates]
        return [Day(dates[n], instants[n], instants[n + 1]) for n in range(count)]

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
                f"expected {expected}; for any other use the DAG engagement_on_demand"
            )

"""What of a report's facts is worth saying in words, by rules that are said with it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from datetime import date, timedelta
from itertools import zip_longest
from statistics import median

from engagement import fast_names
from engagement.facts import Change, Cohort, Facts, Fast
from engagement.period import Period
from engagement.quality import Check, QualityResult
from engagement.text_table import counted

Quote = Callable[[str], str]
"""Writes a name that a user gave so that it is data where it stands."""

WEEKDAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")

SMALL_COHORT = 10
"""A cohort with fewer users has a rate that says little."""

CHANGE_PERCENT = 20
CHANGE_LEAST = 10

_DAYS_LEAST = 7
_DAY_LEAST = 5
_NAMED = 3
_NEWEST = 4
_WEEK = timedelta(days=7)
# The weeks since a registration that are told together begin with these.
_AGES = (0, 4, 13, 26, 52)

RULES = (
    f"A figure changed notably if it differs by {CHANGE_PERCENT}% and by {CHANGE_LEAST} or more.",
    (
        "A day is far from the median if it differs by more than half of it, by more than three "
        f"times the median of such differences, and by {_DAY_LEAST} or more; this is not said of "
        f"periods of less than {_DAYS_LEAST} days."
    ),
    (
        f"Cohorts of fewer than {SMALL_COHORT} users, and those of weeks that reach into the "
        "period, are left out of what is said of cohorts."
    ),
)
"""The rules of `changes`."""


def figures(facts: Facts) -> tuple[tuple[str, str, Change], ...]:
    """The headline figures: a title, what is counted, and the change."""
    return (
        ("New users", "users who registered", facts.new_users),
        ("Active users", "users with activity in their feed", facts.active_users),
        ("Joins", "times a user joined a fast", facts.joins),
        ("Leaves", "times a user left a fast", facts.leaves),
        ("Screen views", "screens viewed in the app", facts.screen_views),
    )


def told_day(day: date) -> str:
    """A date in words, such as `5 December 2025`; the same in every locale."""
    return f"{day.day} {_MONTHS[day.month - 1]} {day.year}"


def told_days(period: Period) -> str:
    """The days of a period in words, such as `5 December 2025 to 1 January 2026`."""
    first, last = told_day(period.start), told_day(period.end)
    return first if first == last else f"{first} to {last}"


def short_day(day: date) -> str:
    """A date without its year, such as `5 Dec`."""
    return f"{day.day} {short_month(day)}"


def short_month(day: date) -> str:
    """The month of a date, such as `Dec`."""
    return _MONTHS[day.month - 1][:3]


_MONTHS = (
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
)


def signed(number: float, digits: int = 0) -> str:
    """A number with its sign and thousands separators; the minus is a real one."""
    text = f"{abs(number):,.{digits}f}"
    if not number or not float(text.replace(",", "")):
        return text
    return f"{'+' if number > 0 else '−'}{text}"


def told_change(change: Change) -> str:
    """The change from the previous period in words."""
    difference, percent = change.difference, change.percent
    if difference is None:
        return "no data before"
    if not difference:
        return "unchanged"
    return signed(difference) + (
        f" ({signed(percent, 0 if abs(percent) >= 100 else 1)}%)" if percent is not None else ""
    )


def top_fasts(facts: Facts, tell: Callable[[Fast, int], str]) -> list[tuple[str, int]]:
    """The fasts with most joins as `tell` has them, told apart, and their joins."""
    fasts = {fast.id: fast for fast in facts.fasts}
    ids = [fast_id for fast_id, _ in facts.top_fasts if fast_id in fasts]
    told = dict(
        zip(ids, fast_names.told_apart([fasts[fast_id] for fast_id in ids], tell), strict=True)
    )
    return [
        (told.get(fast_id, fast_names.gone(fast_id)), joins) for fast_id, joins in facts.top_fasts
    ]


def uses(facts: Facts) -> list[str]:
    """How devotionals and checklists go together and are used, a sentence each."""
    both = facts.patterns["cross_engagement"]["users_both_devotional_and_checklist"]
    gap = facts.patterns["checklists"]["avg_days_between_uses"]
    return [
        f"{counted(both, 'user')} viewed a devotional and used a checklist.",
        *([f"Between two uses of a checklist lie {gap:,.2f} days on average."] if gap else []),
    ]


def retention(facts: Facts) -> list[str]:
    """How many had activity of all who had registered, and of them by age, a sentence each."""

    def active(cohorts: Sequence[Cohort]) -> str:
        count, users = (sum(getattr(one, what) for one in cohorts) for what in ("active", "users"))
        return f"{count:,} of {counted(users, 'user')}, {pooled_rate(cohorts):.1f}%"

    told = [f"All who had registered: {active(facts.cohorts)}."] if facts.cohorts else []
    for first, after in zip_longest(_AGES, _AGES[1:]):
        ages = f"{first} to {after - 1} weeks" if after else f"{first} weeks or more"
        weeks = range(first, after or sys.maxsize)
        cohorts = [cohort for cohort in facts.cohorts if cohort.age_weeks in weeks]
        if cohorts:
            told.append(f"Registered {ages} before the end: {active(cohorts)}.")
    return told


def activity(facts: Facts) -> list[str]:
    """When activities fell, by weekday and by hour, a sentence each."""
    if not facts.activities:
        return []
    by_weekday = (
        f"{name} {sum(hours) / days:,.1f}"
        for name, hours, days in zip(WEEKDAYS, facts.hours, facts.weekdays, strict=True)
        if days
    )
    by_hour = (
        f"{hour}:00 {sum(counts):,}" for hour, counts in enumerate(zip(*facts.hours, strict=True))
    )
    return [
        f"Activities on an average day of each weekday: {', '.join(by_weekday)}.",
        f"Activities by the hour in which they fell: {', '.join(by_hour)}.",
    ]


def changes(facts: Facts, quote: Quote) -> list[str]:
    """The notable changes, a sentence each."""
    return [
        *_figures_changed(facts),
        *_far_days("registrations", facts.registrations),
        *_far_days("screen views", facts.screen_views_by_day),
        *_fasts(facts.fasts, quote),
        *_cohorts(facts),
    ]


def _figures_changed(facts: Facts) -> Iterator[str]:
    for title, _, change in figures(facts):
        difference, percent = change.difference, change.percent
        if difference is None or abs(difference) < CHANGE_LEAST:
            continue
        if percent is None or abs(percent) >= CHANGE_PERCENT:
            doubt = (
                "; the app has perhaps deleted earlier activities"
                if change is facts.active_users and difference > 0
                else ""
            )
            yield (
                f"{title} {'rose' if difference > 0 else 'fell'} from {change.before:,} to "
                f"{change.now:,}: {told_change(change)}{doubt}."
            )


def _far_days(what: str, days: Sequence[tuple[date, int]]) -> Iterator[str]:
    if len(days) < _DAYS_LEAST:
        return
    usual = median(count for _, count in days)
    usual_difference = median(abs(count - usual) for _, count in days)
    far = [
        (day, count)
        for day, count in days
        if abs(count - usual) > max(usual / 2, 3 * usual_difference)
        and abs(count - usual) >= _DAY_LEAST
    ]
    # The furthest ones, in the order of the calendar.
    far.sort(key=lambda one: (-abs(one[1] - usual), one[0]))
    for day, count in sorted(far[:_NAMED]):
        yield f"{told_day(day)} had {count:,} {what}; the median day had {usual:,.10g}."
    if len(far) > _NAMED:
        yield f"{counted(len(far) - _NAMED, 'more day')} had {what} far from the median."


def _fasts(fasts: Sequence[Fast], quote: Quote) -> Iterator[str]:
    def tell(fast: Fast, details: int) -> str:
        with_id = f", id {fast.id}," if details == 2 else ""
        return f"The fast {quote(fast.name)} of {quote(fast.church)}{with_id}"

    joined = sorted((fast for fast in fasts if fast.joins), key=lambda one: (-one.joins, one.id))
    lost = sorted(
        (fast for fast in fasts if fast.leaves > fast.joins),
        key=lambda one: (one.joins - one.leaves, one.id),
    )
    named = list(dict.fromkeys((*joined[:_NAMED], *lost[:_NAMED])))
    told = dict(zip(named, fast_names.told_apart(named, tell), strict=True))
    for fast in joined[:_NAMED]:
        yield (
            f"{told[fast]} had "
            f"{counted(fast.joins, 'join')} and {counted(fast.leaves, 'leave')}, and "
            f"{counted(fast.participants, 'participant')} at the end."
        )
    for fast in lost[:_NAMED]:
        yield (
            f"{told[fast]} lost more than it won: "
            f"{counted(fast.leaves, 'leave')}, {counted(fast.joins, 'join')}."
        )


def _cohorts(facts: Facts) -> Iterator[str]:
    large = [
        cohort
        for cohort in facts.cohorts
        if cohort.users >= SMALL_COHORT and cohort.monday + _WEEK <= facts.period.start
    ]
    if len(large) > _NEWEST:
        newest, older = pooled_rate(large[:_NEWEST]), pooled_rate(large[_NEWEST:])
        yield (
            f"Of the {_NEWEST} newest cohorts before the period {newest:.1f}% were active, of the "
            f"older ones {older:.1f}%."
        )
    if len(large) > 1:
        best = max(large, key=lambda one: (one.rate, one.users))
        worst = min(large, key=lambda one: (one.rate, -one.users))
        for word, cohort in (("highest", best), ("lowest", worst)):
            yield (
                f"The cohort {cohort.week} had the {word} rate: {cohort.active:,} of "
                f"{counted(cohort.users, 'user')}, {cohort.rate:.2f}%."
            )


def pooled_rate(cohorts: Sequence[Cohort]) -> float:
    """Percent of all users of the cohorts who were active in the period."""
    users = sum(cohort.users for cohort in cohorts)
    return 100 * sum(cohort.active for cohort in cohorts) / users if users else 0.0


def cautions(facts: Facts) -> list[str]:
    """What to be careful about, a sentence or two each."""
    found = [told_status(facts.quality)]
    found += [told_check(check) for check in facts.quality.failures("critical")]
    found += [told_check(check) for check in facts.quality.failures("warning")]
    absent = [title.lower() for title, _, change in figures(facts) if change.before is None]
    if absent:
        found.append(
            "What the app holds does not reach back over the whole previous period: no change is "
            f"told of {', '.join(absent)}."
        )
    found.append(
        "The app deletes activities that were read after 30 to 365 days. Active users, retention "
        "and activity by hour of a period long past are too low, and those of the previous period "
        "can be lower still."
    )
    found.append(
        "The app writes an activity for whoever registers, so nearly everybody is active in the "
        "cohorts of the period's own weeks."
    )
    small = sum(cohort.users < SMALL_COHORT for cohort in facts.cohorts)
    if small:
        found.append(
            f"{small:,} of {counted(len(facts.cohorts), 'cohort')} "
            f"{'has' if small == 1 else 'have'} fewer than {SMALL_COHORT} users: such rates say "
            "little."
        )
    found.append(
        "Events without a user count in totals, never among users. Joins and leaves are counted as "
        "often as they happened, also by the same user."
    )
    return found


def told_status(result: QualityResult) -> str:
    """The data quality result in words."""
    checks = counted(len(result.checks), "check")
    if result.status == "skipped":
        return "Nobody checked the data of this report."
    if result.status == "passed":
        return f"The data passed all of {checks}."
    if result.status == "warned":
        found = counted(len(result.failures("warning")), "warning")
        return f"Of {checks} of the data no critical one failed; the others gave {found}."
    failed = counted(len(result.failures("critical")), "critical check")
    return f"Of {checks} of the data, {failed} failed: nothing was published."


def told_check(check: Check) -> str:
    """What a check that did not succeed found, in words."""
    kind = "Critical" if check.severity == "critical" else "Warning"
    rows = f"{check.unexpected:,} of {counted(check.evaluated, 'row')}"
    return (
        f"{kind}: expected of {check.table} that {check.description}; "
        f"{rows} {'is' if check.unexpected == 1 else 'are'} not so."
    )

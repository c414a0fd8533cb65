"""The demo's churches, fasts, days, devotionals and videos: a calendar around one last day."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta

CHURCHES = (
    "Armenian Apostolic Church",
    "St. Mary Church",
    "Holy Trinity Parish",
    "Սուրբ Սարգիս եկեղեցի",
    "Saint George Church",
    "Храм Святой Троицы",
)
TUTORIALS = (
    "Getting started with the app",
    "How to join a fast",
    'Using the "checklist"',
    "Reading the daily devotional",
    "Prayer requests, step by step",
    "Reminders that help",
    "Finding your church",
    "Inviting your family",
    "Ինչպես միանալ պահքին",
    "The weekly fasts explained",
    "Bookmarks and sharing",
    "Changing the language",
)
_GENERAL = ("Why we fast", "A parish at prayer", "Cooking for Lent", "Church music for beginners")
_THEMES = {
    "en": ("Prayer", "Silence", "Forgiveness", "Mercy", "Hope", "Faith", "Love", "Patience"),
    "hy": ("Աղոթք", "Լռություն", "Ներում", "Ողորմություն", "Հույս", "Հավատ", "Սեր", "Խաղաղություն"),
}
_ONE_DAY = timedelta(days=1)
_WEDNESDAY, _FRIDAY = 2, 4


@dataclass(frozen=True, slots=True)
class FastPlan:
    """A fast, placed by days from the last day of the data."""

    name: str
    church: int
    start: int
    length: int
    share: float
    weekday: int | None = None
    has_days: bool = True
    devotionals: tuple[str, ...] = ("en", "hy")
    is_deleted: bool = False


PLANS = (
    FastPlan("Great Lent", 1, 26, 48, 0.06),
    FastPlan("Առաջավորաց պահք", 1, 9, 5, 0.05),
    FastPlan("Fast of St. James of Nisibis", 1, -3, 5, 0.11),
    FastPlan("Fast of St. Gregory", 1, -17, 6, 0.16),
    FastPlan("Transfiguration Fast", 2, -31, 5, 0.14),
    FastPlan("Nativity Fast", 1, -45, 7, 0.24),
    FastPlan('Fast of the "Holy Cross"', 4, -59, 5, 0.12, devotionals=("hy",)),
    FastPlan("Advent Fast, first week", 1, -73, 5, 0.13),
    FastPlan("Սուրբ Ծննդյան պահք", 4, -88, 6, 0.15),
    FastPlan("Assumption Fast", 1, -104, 5, 0.15),
    FastPlan("Fast of Elijah", 3, -133, 5, 0.10),
    FastPlan("Fast of the Holy Apostles", 1, -166, 12, 0.12),
    FastPlan("Daniel Fast", 2, -200, 21, 0.11),
    FastPlan("Great Lent", 1, -339, 48, 0.40),
    FastPlan("Fast of St. James of Nisibis", 1, -368, 5, 0.15),
    FastPlan("Fast of St. Gregory", 1, -382, 6, 0.15),
    FastPlan("Նինվեի պահք", 4, -395, 3, 0.08),
    FastPlan("Nativity Fast", 1, -410, 7, 0.25),
    FastPlan("Νηστεία των Χριστουγέννων", 5, -52, 40, 0.05, devotionals=("en", "el")),
    FastPlan("Успенский пост", 6, -150, 14, 0.04, devotionals=()),
    FastPlan("Wednesday Fast", 1, -240, 300, 0.22, weekday=_WEDNESDAY, devotionals=()),
    FastPlan("Friday Fast", 1, -240, 300, 0.26, weekday=_FRIDAY, devotionals=()),
    FastPlan("wednesday fast and vigil", 2, -120, 180, 0.07, weekday=_WEDNESDAY, devotionals=()),
    FastPlan("Prayer for Peace", 3, -300, 280, 0.05, has_days=False, devotionals=()),
    FastPlan("A fast of one's own", 2, -180, 175, 0.03, has_days=False, devotionals=()),
    FastPlan("Trial fast", 3, -66, 4, 0.02, has_days=False, devotionals=(), is_deleted=True),
)


@dataclass(frozen=True, slots=True)
class Fast:
    """A fast with its dates; `first` and `last` bound the time in which people join it."""

    id: int
    plan: FastPlan
    first: date
    last: date
    days: tuple[date, ...]

    @property
    def year(self) -> int | None:
        """The year in its label; a fast without days has none."""
        return self.first.year if self.plan.has_days else None

    @property
    def label(self) -> str:
        """The name with the year, as the app shows it."""
        return f"{self.plan.name} ({self.year})" if self.year else self.plan.name


@dataclass(frozen=True, slots=True)
class Day:
    """A row of hub_day; `fast_id` is None for a day of the church's year without a fast."""

    id: int
    date: date
    fast_id: int | None
    church_id: int


@dataclass(frozen=True, slots=True)
class Video:
    """A row of learning_resources_video."""

    id: int
    title: str
    category: str
    language: str
    created: date


@dataclass(frozen=True, slots=True)
class Devotional:
    """A row of hub_devotional."""

    id: int
    description: str
    order: int
    day: Day
    video: Video


@dataclass(frozen=True, slots=True)
class Calendar:
    """Everything that is placed by date."""

    fasts: tuple[Fast, ...]
    days: tuple[Day, ...]
    videos: tuple[Video, ...]
    devotionals: tuple[Devotional, ...]


def build(end: date) -> Calendar:
    """The calendar of data whose last day is `end`."""
    fasts = tuple(_fast(number, plan, end) for number, plan in enumerate(PLANS, start=1))
    days = _days(fasts, end)
    videos = [
        Video(number, title, category, "en", end - timedelta(days=700 - 20 * number))
        for number, (title, category) in enumerate(
            [*((t, "tutorial") for t in TUTORIALS), *((t, "general") for t in _GENERAL)], start=1
        )
    ]
    devotionals: list[Devotional] = []
    by_id = {fast.id: fast for fast in fasts}
    for day in days:
        fast = by_id.get(day.fast_id or 0)
        if fast is None:
            continue
        number = (day.date - fast.first).days
        for language in fast.plan.devotionals:
            themes = _THEMES.get(language, _THEMES["en"])
            # Every third day has a second devotional, in the first language only.
            orders = (1, 2) if number % 3 == 0 and language == fast.plan.devotionals[0] else (1,)
            for order in orders:
                theme = themes[(number + 3 * order + fast.id) % len(themes)]
                created = day.date - timedelta(days=20)
                title = f"{fast.plan.name}, {number + 1}: {theme}"
                video = Video(len(videos) + 1, title, "devotional", language, created)
                videos.append(video)
                text = f"{theme}\n{fast.plan.name}, {day.date}"
                devotionals.append(Devotional(len(devotionals) + 1, text, order, day, video))
    return Calendar(fasts, days, tuple(videos), tuple(devotionals))


def _fast(number: int, plan: FastPlan, end: date) -> Fast:
    first = end + timedelta(days=plan.start)
    dates = [first + n * _ONE_DAY for n in range(plan.length)]
    kept = tuple(d for d in dates if plan.weekday is None or d.weekday() == plan.weekday)
    return Fast(number, plan, first, dates[-1], kept if plan.has_days else ())


def _days(fasts: tuple[Fast, ...], end: date) -> tuple[Day, ...]:
    keys = [
        (day, fast.id, fast.plan.church)
        for fast in fasts
        if not fast.plan.is_deleted
        for day in fast.days
    ]
    sundays = [end + n * _ONE_DAY for n in range(-200, 30)]
    keys += [(day, 0, 1) for day in sundays if day.isoweekday() == 7]
    return tuple(
        Day(number, day, fast_id or None, church)
        for number, (day, fast_id, church) in enumerate(sorted(keys), start=1)
    )

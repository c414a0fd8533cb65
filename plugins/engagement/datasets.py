"""The catalogue of the seven datasets: their columns, keys, order, and what each number means.

Rendering, contract checks, the data package and the archive's README all read it. The definitions
themselves are the queries in `include/sql/metrics`, one file a dataset, found by its name.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class Type(StrEnum):
    """The type of a column, as it is called in a Frictionless table schema."""

    INTEGER = "integer"
    NUMBER = "number"
    STRING = "string"
    DATE = "date"
    DATETIME = "datetime"
    COUNTS = "object"
    """Text to count; in CSV a column each."""


class Format(StrEnum):
    """The formats that datasets are written in."""

    JSON = "json"
    CSV = "csv"
    PARQUET = "parquet"


@dataclass(frozen=True, slots=True)
class Column:
    """One column, or one value of an object; `by_end`: a date up to the period's last day."""

    name: str
    type: Type
    description: str
    unit: str | None = None
    nullable: bool = False
    minimum: int | None = None
    maximum: int | None = None
    values: tuple[str, ...] | None = None
    personal: bool = False
    by_end: bool = False


@dataclass(frozen=True, slots=True)
class Dataset:
    """A list of rows.

    `key` is empty where no columns identify a row. `measures` are SQL aggregates over the rows
    that other datasets must agree with.
    """

    name: str
    title: str
    grain: str
    order: str
    columns: tuple[Column, ...]
    key: tuple[str, ...] = ()
    measures: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Values:
    """The columns of the one row that `query` gives, as members of the object around it."""

    query: str
    columns: tuple[Column, ...]


@dataclass(frozen=True, slots=True)
class Rows:
    """The rows that `query` gives, as a list of objects."""

    name: str
    query: str
    description: str
    columns: tuple[Column, ...]


@dataclass(frozen=True, slots=True)
class Counts:
    """The rows (text, count) that `query` gives, as one object."""

    name: str
    query: str
    description: str
    unit: str


@dataclass(frozen=True, slots=True)
class MeanGap:
    """The mean, in days, over users grouped as (gaps, users, span_us) by `query`."""

    query: str
    column: Column


@dataclass(frozen=True, slots=True)
class Group:
    """An object within the object."""

    name: str
    description: str
    parts: tuple[Part, ...]


Part = Values | Rows | Counts | MeanGap | Group


def _count(name: str, description: str, unit: str) -> Column:
    return Column(name, Type.INTEGER, description, unit=unit, minimum=0)


def _average(name: str, description: str, unit: str) -> Column:
    return Column(
        name, Type.NUMBER, f"{description}; two decimals, 0.0 where there is none.", unit, minimum=0
    )


_USER_ID = Column("user_id", Type.INTEGER, "The user's id in the app.", minimum=0)
_USERNAME = Column("username", Type.STRING, "The user's name in the app.", personal=True)
_EMAIL = Column(
    "email", Type.STRING, "The user's e-mail address; empty where there is none.", personal=True
)
_FAST_ID = Column("fast_id", Type.INTEGER, "The fast's id in the app.", minimum=0)
_FAST_NAME = Column(
    "fast_name", Type.STRING, "The fast's label: its name, with the year in brackets if it has one."
)
_CHURCH_NAME = Column("church_name", Type.STRING, "The church that the fast belongs to.")

ACTIVITY_TYPES = (
    "announcement",
    "article_published",
    "devotional_available",
    "devotional_reminder",
    "event",
    "fast_join",
    "fast_leave",
    "fast_reminder",
    "fast_start",
    "milestone",
    "recipe_published",
    "user_account_created",
    "video_published",
)
"""The activity types that the app itself writes; others occur too."""

NEW_USERS = Dataset(
    name="new_users_over_time",
    title="Registrations by day",
    grain="one row a day of the period, days without registrations included",
    order="date",
    key=("date",),
    columns=(
        Column("date", Type.DATE, "The day, in the report time zone.", by_end=True),
        _count("count", "Users who registered on that day.", "users"),
    ),
)

FASTS = Dataset(
    name="fasts",
    title="Fasts and their participants",
    grain="one row a fast that exists",
    order="fast_id",
    key=("fast_id",),
    columns=(
        _FAST_ID,
        _FAST_NAME,
        _CHURCH_NAME,
        _count("participants", "Members of the fast as of the period's end.", "users"),
        _count("joins_in_period", "Join events of the fast in the period.", "events"),
        _count("leaves_in_period", "Leave events of the fast in the period.", "events"),
    ),
    measures={
        "participants": "sum(participants)",
        "joins": "sum(joins_in_period)",
        "leaves": "sum(leaves_in_period)",
    },
)

USER_ACTIVITY = Dataset(
    name="user_activity",
    title="Feed activity by user",
    grain="one row a user with activity in the period",
    order="total_items, greatest first, then user_id",
    key=("user_id",),
    columns=(
        _USER_ID,
        _USERNAME,
        _EMAIL,
        Column("date_joined", Type.DATETIME, "When the user registered."),
        Column(
            "total_items",
            Type.INTEGER,
            "Activities of the user in the period.",
            "activities",
            minimum=1,
        ),
        Column(
            "by_type",
            Type.COUNTS,
            "The same activities by activity type, in alphabetical order; in CSV a column each, "
            "named type_ and the activity type.",
            unit="activities",
        ),
    ),
    measures={"total_items": "sum(total_items)"},
)

USER_ACTIVITY_TIMELINE = Dataset(
    name="user_activity_timeline",
    title="Every feed activity",
    grain="one row an activity in the period",
    order="user_id, then the latest first",
    columns=(
        _USER_ID,
        _USERNAME,
        Column("activity_type", Type.STRING, "What kind of activity it is."),
        Column("timestamp", Type.DATETIME, "When the activity appeared."),
        Column("title", Type.STRING, "The activity's title as the user saw it.", personal=True),
        Column(
            "description", Type.STRING, "The activity's text as the user saw it.", personal=True
        ),
        Column(
            "target_type", Type.STRING, "What the activity is about, such as fast.", nullable=True
        ),
        Column(
            "target_id",
            Type.INTEGER,
            "The id of what the activity is about, unique within its target_type.",
            nullable=True,
            minimum=0,
        ),
    ),
)

USER_FAST_PARTICIPATION = Dataset(
    name="user_fast_participation",
    title="Who took part in which fast, and when",
    grain="one row a membership spell of a user in a fast, all time up to the period's end",
    order="user_id, fast_id, then the order of the spells",
    columns=(
        _USER_ID,
        _USERNAME,
        _EMAIL,
        _FAST_ID,
        _FAST_NAME,
        _CHURCH_NAME,
        Column(
            "joined_at",
            Type.DATETIME,
            "When the spell began; null where the app did not record it.",
            nullable=True,
        ),
        Column(
            "left_at",
            Type.DATETIME,
            "When the spell ended; null where it has not, or the app did not record it.",
            nullable=True,
        ),
        Column(
            "status",
            Type.STRING,
            "active for the last spell of whoever is a member as of the period's end, else left.",
            values=("active", "left"),
        ),
    ),
    measures={"active": "count(case when status = 'active' then 1 end)"},
)

RETENTION_COHORTS = Dataset(
    name="retention_cohorts",
    title="Retention by week of registration",
    grain="one row a week in which anybody registered before the period's end",
    order="cohort_start_date, newest first",
    key=("cohort_week",),
    columns=(
        Column("cohort_week", Type.STRING, "The week of registration, ISO 8601 (2024-W03)."),
        Column(
            "cohort_start_date", Type.DATE, "The Monday on which that week begins.", by_end=True
        ),
        Column("total_users", Type.INTEGER, "Users who registered in it.", "users", minimum=1),
        _count("active_users", "Those of them with activity in the period.", "users"),
        Column(
            "retention_rate",
            Type.NUMBER,
            "active_users out of total_users; two decimals.",
            unit="percent",
            minimum=0,
            maximum=100,
        ),
        _average(
            "avg_activities_per_user",
            "Activities in the period per active user",
            "activities per user",
        ),
        _count(
            "cohort_age_weeks",
            "Whole weeks from cohort_start_date to the period's last day.",
            "weeks",
        ),
    ),
    measures={
        "active_users": "sum(active_users)",
        "more_active_than_total": "count(case when active_users > total_users then 1 end)",
    },
)

TABLES: tuple[Dataset, ...] = (
    NEW_USERS,
    FASTS,
    USER_ACTIVITY,
    USER_ACTIVITY_TIMELINE,
    USER_FAST_PARTICIPATION,
    RETENTION_COHORTS,
)

OTHER_METRICS = Group(
    name="other_metrics",
    description="Totals, top lists and averages of the period, as one object.",
    parts=(
        Counts("events_by_type", "events_by_type", "Events of the period by event type.", "events"),
        Values(
            "active_users",
            (_count("active_users", "Distinct users with activity in the period.", "users"),),
        ),
        Rows(
            "top_fasts_by_joins",
            "top_fasts_by_joins",
            "The ten fasts with most join events in the period.",
            (
                _FAST_ID,
                Column("fast", Type.STRING, "The fast's label, or its id where the fast is gone."),
                _count("joins", "Join events of the fast in the period.", "events"),
            ),
        ),
        Group(
            "screen_views",
            "Screens of the app that were viewed in the period.",
            (
                Values(
                    "screen_views",
                    (
                        _count("total", "Screen views.", "events"),
                        _count("unique_users", "Distinct known users who viewed one.", "users"),
                        _average("avg_per_user", "Views per known user", "events per user"),
                    ),
                ),
                Rows(
                    "top_screens",
                    "top_screens",
                    "The ten screens viewed most.",
                    (
                        Column("screen", Type.STRING, "The screen's name in the app."),
                        _count("views", "Views of the screen.", "events"),
                    ),
                ),
                Counts(
                    "daily_timeline",
                    "screen_views_by_day",
                    "Screen views by day, every day of the period.",
                    "events",
                ),
            ),
        ),
        Group(
            "engagement_patterns",
            "How the app's features are used.",
            (
                Group(
                    "devotionals",
                    "Devotionals viewed in the period.",
                    (
                        Values(
                            "devotionals",
                            (
                                _count("total_views", "Devotional views.", "events"),
                                _count("unique_users", "Distinct known users.", "users"),
                                _average("avg_per_user", "Views per known user", "events per user"),
                            ),
                        ),
                        Rows(
                            "top_users",
                            "top_devotional_users",
                            "The ten users who viewed most.",
                            (
                                _USER_ID,
                                _USERNAME,
                                _count("views", "Devotional views of the user.", "events"),
                            ),
                        ),
                    ),
                ),
                Group(
                    "checklists",
                    "Checklists used in the period.",
                    (
                        Values(
                            "checklists",
                            (
                                _count("total_uses", "Checklist uses.", "events"),
                                _count("unique_users", "Distinct known users.", "users"),
                                _average("avg_per_user", "Uses per known user", "events per user"),
                            ),
                        ),
                        MeanGap(
                            "checklist_gaps",
                            _average(
                                "avg_days_between_uses",
                                "Mean, over users with two or more uses, of the days of 24 hours "
                                "between uses",
                                "days",
                            ),
                        ),
                    ),
                ),
                Group(
                    "tutorial_videos",
                    "Tutorial videos viewed in the period.",
                    (
                        Values(
                            "tutorial_videos",
                            (
                                _count("total_views", "Video views.", "events"),
                                _count("unique_users", "Distinct known users.", "users"),
                                _average("avg_per_user", "Views per known user", "events per user"),
                            ),
                        ),
                        Rows(
                            "top_videos",
                            "top_videos",
                            "The ten videos viewed most.",
                            (
                                Column(
                                    "video_id",
                                    Type.STRING,
                                    "The video's id, as text; null where the event has none.",
                                    nullable=True,
                                ),
                                Column(
                                    "title",
                                    Type.STRING,
                                    "The video's title at the time; null where the event has none.",
                                    nullable=True,
                                ),
                                _count("views", "Views of the video.", "events"),
                            ),
                        ),
                    ),
                ),
                Group(
                    "cross_engagement",
                    "How features and fasts go together.",
                    (
                        Values(
                            "cross_engagement",
                            (
                                _count(
                                    "users_both_devotional_and_checklist",
                                    "Users who viewed a devotional and used a checklist in the "
                                    "period.",
                                    "users",
                                ),
                                _count(
                                    "users_in_fasts_with_activity",
                                    "Users with activity in the period who are a member of a fast "
                                    "as of its end.",
                                    "users",
                                ),
                                _count(
                                    "users_without_fasts_with_activity",
                                    "Users with activity in the period who are a member of none.",
                                    "users",
                                ),
                                _average(
                                    "avg_activities_users_with_fast",
                                    "Activities in the period per user of the former kind",
                                    "activities per user",
                                ),
                                _average(
                                    "avg_activities_users_without_fast",
                                    "Activities in the period per user of the latter kind",
                                    "activities per user",
                                ),
                            ),
                        ),
                    ),
                ),
            ),
        ),
    ),
)

NAMES: tuple[str, ...] = (*(dataset.name for dataset in TABLES), OTHER_METRICS.name)
"""The seven datasets in their order."""


def table(name: str) -> Dataset:
    """The dataset of that name; raises KeyError for a name not in `TABLES`."""
    return {dataset.name: dataset for dataset in TABLES}[name]


def file_name(name: str, file_format: Format) -> str:
    """The file that holds the dataset `name`: the object is JSON in every format."""
    return f"{name}.{Format.JSON if name == OTHER_METRICS.name else file_format}"

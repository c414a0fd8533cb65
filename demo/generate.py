"""Believable app data of any size: `python -m demo.generate --help`.

The same arguments give the same rows. The work is done by SQL inside the database, day by day,
with pseudo-random numbers that are hashes of row numbers.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields, replace
from datetime import UTC, date, datetime, time, timedelta
from itertools import accumulate, pairwise
from pathlib import Path

import psycopg
from psycopg import sql
from psycopg.rows import scalar_row

from demo import church_year, vocabulary
from demo.app_tables import apply_schema, reset_identities
from demo.church_year import Calendar, Devotional, Fast

_SQL = Path(__file__).with_name("sql")
_HISTORY = timedelta(days=730)
_DAY = timedelta(days=1)
_HOUR = timedelta(hours=1)
# The app wrote what became due before; what is due since then is left to the pipeline's own job.
_LIFECYCLE_GAP = timedelta(days=65)
_WORKERS = 2
_SLOTS = 64
_DAY_SLOTS = 8
# Weights of the hours of a day (UTC) and of the days of a week, Monday first.
_HOURS = (9, 7, 6, 5, 5, 6, 8, 10, 11, 11, 11, 12, 15, 18, 20, 19, 18, 17, 17, 18, 19, 18, 15, 12)
_WEEKDAYS = (9, 9, 11, 9, 11, 8, 13)


@dataclass(frozen=True, slots=True)
class Size:
    """What to make: row counts, and the days up to `end` (included) that hold what users do."""

    end: date
    users: int = 3000
    events: int = 150_000
    activities: int = 75_000
    days: int = 100
    seed: int = 7

    def __post_init__(self) -> None:
        for name, least in (("users", 10), ("events", 0), ("activities", 0), ("days", 1)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} {getattr(self, name)} is too small: at least {least}")
        if timedelta(days=self.days) > _HISTORY:
            raise ValueError(f"days {self.days} is too large: at most {_HISTORY.days}")

    @property
    def start_instant(self) -> datetime:
        """The first instant of the first day."""
        return self.end_instant - timedelta(days=self.days)

    @property
    def end_instant(self) -> datetime:
        """The first instant after the last day."""
        return datetime.combine(self.end, time.min, UTC) + _DAY


@dataclass(frozen=True, slots=True)
class _Hour:
    """An hour, the number of its first row, its rows, and how many users there were before it."""

    start: datetime
    first: int
    rows: int
    users: int


class GenerateError(Exception):
    """The data cannot be made; the message says why in one line."""


def filled_with(uri: str) -> Size | None:
    """What `fill` has made in this database; None where it did not, or did not finish."""
    with psycopg.connect(uri) as connection:
        comment = (
            connection.cursor(row_factory=scalar_row)
            .execute(
                "select shobj_description(oid, 'pg_database') from pg_database"
                " where datname = current_database()"
            )
            .fetchone()
        )
    if not comment:
        return None
    values = json.loads(comment)
    return Size(**{**values, "end": date.fromisoformat(values["end"])})


def fill(uri: str, size: Size) -> None:
    """Fill an empty database (the schema is made where it is missing) with data of this size."""
    with _connect(uri, size) as connection:
        tables = connection.execute("select from pg_tables where tablename = 'auth_user'")
        if tables.fetchone() is None:
            apply_schema(uri)
        elif connection.execute("select from auth_user limit 1").fetchone() is not None:
            raise GenerateError(
                f"the database {connection.info.dbname!r} holds users already: expected an empty "
                "one; create another"
            )
        calendar = church_year.build(size.end)
        connection.execute("drop schema if exists demo cascade")
        _run(connection, "staging", size)
        _load_reference(connection, calendar)
        _load_staging(connection, calendar, size)
        _load_hours(connection, "user", _user_hours(size))
        for step in ("users", "memberships"):
            _run(connection, step, size)
            connection.execute("analyze")
        _tell(f"{size.users:,} users")
        _run(connection, "facts", size)
        with _bare(connection, "events_event"):
            _fill_days(connection, uri, size, "event")
        connection.execute("analyze events_event")
        _run(connection, "echoes", size)
        with _bare(connection, "events_useractivityfeed"):
            _fill_days(connection, uri, size, "activity")
        connection.execute("drop schema demo cascade")
        reset_identities(connection)
        connection.execute("vacuum (analyze)")
        values = json.dumps(asdict(size), default=str)
        connection.execute(
            sql.SQL("comment on database {} is {}").format(
                sql.Identifier(connection.info.dbname), sql.Literal(values)
            )
        )


def _connect(uri: str, size: Size) -> psycopg.Connection:
    connection = psycopg.connect(uri, autocommit=True, cursor_factory=psycopg.ClientCursor)
    connection.execute(
        "set timezone = 'UTC'; set jit = off; set work_mem = '256MB'; set synchronous_commit = off;"
        "set maintenance_work_mem = '1GB'"
    )
    _run(connection, "functions", size)
    return connection


def _run(
    connection: psycopg.Connection,
    name: str,
    size: Size,
    *,
    day: date | None = None,
    first_id: int = 0,
) -> None:
    statements = (_SQL / f"{name}.sql").read_bytes()
    connection.execute(
        statements,
        {
            "seed": size.seed,
            "start": size.start_instant,
            "end": size.end_instant,
            "lifecycle_until": size.end_instant - _LIFECYCLE_GAP,
            "activities": size.activities,
            "day": day,
            "first_id": first_id,
        },
    )


def _copy(
    connection: psycopg.Connection, table: str, columns: str, rows: Iterable[Sequence[object]]
) -> None:
    names = sql.SQL(", ").join(map(sql.Identifier, columns.split()))
    target = sql.SQL("copy {} ({}) from stdin").format(sql.Identifier(*table.split(".")), names)
    with connection.cursor().copy(target) as copy:
        for row in rows:
            copy.write_row(row)


def _load_reference(connection: psycopg.Connection, calendar: Calendar) -> None:
    """The rows that do not depend on the size."""
    long_ago = datetime(2024, 1, 1, tzinfo=UTC)
    _copy(
        connection,
        "django_content_type",
        "id app_label model",
        ((number, *name.split(".")) for name, number in vocabulary.CONTENT_TYPES.items()),
    )
    _copy(
        connection,
        "events_eventtype",
        "id code name description category is_active track_in_analytics requires_target created_at"
        " updated_at",
        (
            (
                t.id,
                t.code,
                t.code.replace("_", " ").title(),
                "",
                t.category,
                True,
                True,
                t.requires_target,
                long_ago,
                long_ago,
            )
            for t in vocabulary.EVENT_TYPES
        ),
    )
    _copy(connection, "hub_church", "id name", enumerate(church_year.CHURCHES, start=1))
    fasts = [fast for fast in calendar.fasts if not fast.plan.is_deleted]
    _copy(
        connection,
        "hub_fast",
        "id name church_id description culmination_feast culmination_feast_date year i18n"
        " has_day_zero",
        (
            (f.id, f.plan.name, f.plan.church, f"{f.plan.name}: a time of prayer.")
            + (("Feast", f.last + _DAY) if f.days and f.plan.weekday is None else (None, None))
            + (f.year, "{}", f.id % 5 == 0)
            for f in fasts
        ),
    )
    _copy(
        connection,
        "hub_day",
        "id date fast_id church_id",
        ((d.id, d.date, d.fast_id, d.church_id) for d in calendar.days),
    )
    _copy(
        connection,
        "learning_resources_video",
        "id title description video created_at updated_at category i18n language_code",
        (
            (
                v.id,
                v.title,
                f"{v.title}.",
                f"videos/{v.id}.mp4",
                v.created,
                v.created,
                v.category,
                "{}",
                v.language,
            )
            for v in calendar.videos
        ),
    )
    _copy(
        connection,
        "hub_devotional",
        "id description order day_id video_id i18n language_code",
        (
            (d.id, d.description, d.order, d.day.id, d.video.id, "{}", d.video.language)
            for d in calendar.devotionals
        ),
    )


def _load_staging(connection: psycopg.Connection, calendar: Calendar, size: Size) -> None:
    for name, items in vocabulary.LISTS.items():
        spread = [items[slot * len(items) // _SLOTS] for slot in range(_SLOTS)]
        rows = [(name, slot, *item) for slot, item in enumerate(spread)]
        _copy(connection, "demo.slots", "list slot name detail", rows)
    _copy(
        connection,
        "demo.event_kinds",
        "slot code title model has_user event_type_id content_type_id",
        ((slot, *kind) for slot, kind in enumerate(vocabulary.event_kinds())),
    )
    _copy(
        connection,
        "demo.activity_kinds",
        "slot activity_type title description model content_type_id",
        ((slot, *kind) for slot, kind in enumerate(vocabulary.activity_kinds())),
    )
    _copy(
        connection,
        "demo.fasts",
        "fast_id name label church_id church_name share join_from join_until",
        (
            (
                f.id,
                f.plan.name,
                f.label,
                f.plan.church,
                church_year.CHURCHES[f.plan.church - 1],
                f.plan.share,
                f.first - timedelta(days=12),
                _join_until(f),
            )
            for f in calendar.fasts
        ),
    )
    days = [size.start_instant.date() + n * _DAY for n in range(size.days)]
    dated = [fast for fast in calendar.fasts if fast.days]
    _copy(
        connection,
        "demo.fast_slots",
        "day slot fast_id name label",
        (
            (day, slot, fast.id, fast.plan.name, fast.label)
            for day in days
            for slot, fast in enumerate(_fasts_of(dated, day))
        ),
    )
    _copy(
        connection,
        "demo.devotional_slots",
        "day slot devotional_id devotional_date fast_id title",
        (
            (day, slot, d.id, d.day.date, d.day.fast_id, d.video.title)
            for day in days
            for slot, d in enumerate(_devotionals_of(calendar.devotionals, day))
        ),
    )
    _copy(
        connection,
        "demo.calendar",
        "at n code model object_id title description data",
        _calendar_events(calendar, size),
    )


def _join_until(fast: Fast) -> date:
    is_short = fast.days and fast.plan.weekday is None
    return fast.first + timedelta(days=3) if is_short else fast.last


def _fasts_of(fasts: list[Fast], day: date) -> list[Fast]:
    """The fasts that are on at `day`, then the nearest others."""

    def rank(fast: Fast) -> tuple[timedelta, float]:
        return max(fast.first - day, day - fast.last, timedelta(0)), -fast.plan.share

    return sorted(fasts, key=rank)[:_DAY_SLOTS]


def _devotionals_of(devotionals: Sequence[Devotional], day: date) -> list[Devotional]:
    """The latest devotionals at `day`, then those to come."""

    def rank(devotional: Devotional) -> tuple[bool, timedelta, int]:
        return devotional.day.date > day, abs(devotional.day.date - day), devotional.id

    return sorted(devotionals, key=rank)[:_DAY_SLOTS]


def _calendar_events(calendar: Calendar, size: Size) -> Iterator[tuple[object, ...]]:
    """Rows of demo.calendar: creations, beginnings and ends of fasts, devotionals, publications."""
    written_until = size.end_instant - _LIFECYCLE_GAP
    fasts = {fast.id: fast for fast in calendar.fasts}
    rows: list[tuple[datetime, str, str, int, str, dict[str, object]]] = []
    for fast in fasts.values():
        data: dict[str, object] = {
            "fast_id": fast.id,
            "fast_name": fast.plan.name,
            "church_id": fast.plan.church,
            "church_name": church_year.CHURCHES[fast.plan.church - 1],
            "year": fast.year,
        }
        moments = [("fast_created", -40), ("fast_updated", -25)]
        moments += [("fast_beginning", 0)] if fast.days else []
        for code, offset in moments:
            rows.append(
                (_midnight(fast.first + offset * _DAY), code, "fast", fast.id, fast.label, data)
            )
        if fast.days:
            rows.append(
                (_midnight(fast.last + _DAY), "fast_ending", "fast", fast.id, fast.label, data)
            )
    told: set[tuple[int, int]] = set()
    for devotional in calendar.devotionals:
        fast = fasts[devotional.day.fast_id or 0]
        if (devotional.day.id, devotional.order) in told:
            continue
        told.add((devotional.day.id, devotional.order))
        details: dict[str, object] = {
            "fast_id": fast.id,
            "fast_name": fast.plan.name,
            "church_id": fast.plan.church,
            "church_name": church_year.CHURCHES[fast.plan.church - 1],
            "devotional_id": devotional.id,
            "devotional_title": devotional.video.title,
            "devotional_description": devotional.description,
            "devotional_date": str(devotional.day.date),
            "day_id": devotional.day.id,
            "order": devotional.order,
        }
        rows.append(
            (
                _midnight(devotional.day.date),
                "devotional_available",
                "fast",
                fast.id,
                fast.label,
                details,
            )
        )
    for model, every in (("article", 9), ("recipe", 14), ("video", 11)):
        for number, back in enumerate(range(0, _HISTORY.days, every), start=1):
            moment = _midnight(size.end - back * _DAY) + 10 * _HOUR
            rows.append(
                (moment, f"{model}_published", model, number, f"New {model}", {"id": number})
            )
    lifecycle = ("fast_beginning", "fast_ending", "devotional_available")
    for n, (at, code, model, object_id, title, data) in enumerate(rows, start=1):
        if at < (written_until if code in lifecycle else size.end_instant):
            sentence = f"{title}: {code.replace('_', ' ')}"
            yield at, n, code, model, object_id, sentence, sentence, json.dumps(data)


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time.min, UTC)


def _allot(total: int, weights: Sequence[int]) -> list[int]:
    """`total` split in proportion to `weights`."""
    sums = list(accumulate(weights, initial=0))
    return [total * b // sums[-1] - total * a // sums[-1] for a, b in pairwise(sums)]


def _hours(start: datetime, end: datetime, total: int, growth: int) -> list[_Hour]:
    """`total` rows over the hours from `start` to `end`, growing by `growth` percent."""
    starts = [start + n * _HOUR for n in range((end - start) // _HOUR)]
    weights = [
        _HOURS[hour.hour] * _WEEKDAYS[hour.weekday()] * (100 * len(starts) + growth * n)
        for n, hour in enumerate(starts)
    ]
    rows = _allot(total, weights)
    return [
        _Hour(hour, first, count, 0)
        for hour, first, count in zip(starts, accumulate(rows, initial=1), rows, strict=False)
    ]


def _user_hours(size: Size) -> list[_Hour]:
    return _hours(size.end_instant - _HISTORY, size.end_instant, size.users, 300)


def _load_hours(connection: psycopg.Connection, kind: str, hours: list[_Hour]) -> None:
    rows = ((kind, hour.start, hour.first, hour.rows, hour.users) for hour in hours)
    _copy(connection, "demo.hours", "kind hour first rows users", rows)


def _fill_days(
    connection: psycopg.Connection,
    uri: str,
    size: Size,
    kind: str,
) -> None:
    """Insert the rows of one of the two large tables, two days at a time."""
    exact_table, total = {
        "event": ("facts", size.events),
        "activity": ("echoes", size.activities),
    }[kind]
    exact: dict[date, int] = dict(
        connection.execute(
            sql.SQL("select day, count(*) from {} group by day").format(
                sql.Identifier("demo", exact_table)
            )
        ).fetchall()
    )
    filler = total - sum(exact.values())
    if filler < 0:
        raise GenerateError(
            f"{total:,} events are too few for {size.users:,} users: what follows from their "
            f"memberships is {sum(exact.values()):,} already; ask for more events or fewer users"
        )
    users_before = {hour.start: hour.first - 1 for hour in _user_hours(size)}
    hours = [
        replace(hour, users=max(1, users_before[hour.start]))
        for hour in _hours(size.start_instant, size.end_instant, filler, 40)
    ]
    _load_hours(connection, kind, hours)
    connection.execute("analyze demo.hours")
    days = [size.start_instant.date() + n * _DAY for n in range(size.days)]
    counts = [
        exact.get(day, 0) + sum(h.rows for h in hours if h.start.date() == day) for day in days
    ]
    firsts = list(accumulate(counts, initial=0))
    _tell(f"{total:,} rows: {kind}")

    def work(worker: int) -> None:
        with _connect(uri, size) as own:
            for day, first in list(zip(days, firsts, strict=False))[worker::_WORKERS]:
                _run(own, f"{kind}_day", size, day=day, first_id=first)

    with ThreadPoolExecutor(_WORKERS) as pool:
        list(pool.map(work, range(_WORKERS)))


@contextmanager
def _bare(connection: psycopg.Connection, table: str) -> Iterator[None]:
    """Take indexes and keys off an empty table, and put them back when it has been filled."""
    keys = connection.execute(
        "select conrelid::regclass::text, conname, pg_get_constraintdef(oid), contype = 'f'"
        " from pg_constraint where contype in ('p', 'u', 'f') and %(table)s::regclass in"
        " (conrelid, case when contype = 'f' then confrelid end) order by contype = 'f', conname",
        {"table": table},
    ).fetchall()
    indexes = connection.execute(
        "select indexrelid::regclass::text, pg_get_indexdef(indexrelid) from pg_index"
        " where indrelid = %s::regclass"
        " and not exists (select from pg_constraint where conindid = indexrelid) order by 1",
        (table,),
    ).fetchall()
    for owner, name, _, _ in reversed(keys):
        connection.execute(
            sql.SQL("alter table {} drop constraint {}").format(
                sql.Identifier(owner), sql.Identifier(name)
            )
        )
    for name, _ in indexes:
        connection.execute(sql.SQL("drop index {}").format(sql.Identifier(name)))
    yield
    _tell(f"indexes of {table}")
    add = [
        sql.SQL("alter table {} add constraint {} {}").format(
            sql.Identifier(owner), sql.Identifier(name), _trusted(definition)
        )
        for owner, name, definition, _ in keys
    ]
    first = sum(not is_foreign for *_, is_foreign in keys)
    create = [_trusted(definition) for _, definition in indexes]
    for statement in (*add[:first], *create, *add[first:]):
        connection.execute(statement)


def _trusted(definition: str) -> sql.Composed:
    """A definition out of the catalogue as SQL."""
    return sql.Composed([sql.SQL(definition)])


def _tell(message: str) -> None:
    sys.stderr.write(f"{message}\n")
    sys.stderr.flush()


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m demo.generate", description="Fill an empty database with app data."
    )
    parser.add_argument("--database-uri", required=True, metavar="URI")
    for count in fields(Size):
        if count.name != "end":
            parser.add_argument(
                f"--{count.name}", type=int, default=count.default, help="default: %(default)s"
            )
    parser.add_argument(
        "--end",
        type=date.fromisoformat,
        default=datetime.now(UTC).date() - _DAY,
        metavar="YYYY-MM-DD",
        help="the last day (UTC); default: yesterday",
    )
    options = vars(parser.parse_args(arguments))
    uri = options.pop("database_uri")
    try:
        fill(uri, Size(**options))
    except ValueError as error:
        parser.error(str(error))
    except (GenerateError, psycopg.OperationalError) as error:
        _tell(f"error: {error}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

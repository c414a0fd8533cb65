"""Lifecycle and milestone events of fasts: what is due and not there is written, exactly once.

The DAG's tasks and the command line both call these functions. A run has one instant, `now`, and
looks back from it: an event is due when `now - lookback < due instant <= now`. Each kind is one
transaction that takes its lock first, then finds what is due, writes it and fans it out; so a kind
may run twice, and twice at the same time. Nothing reads the clock.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Self

import psycopg
from psycopg.rows import dict_row

from engagement import queries
from engagement.app_database import Address, transaction
from engagement.errors import EngagementError, UsageError
from engagement.event_kinds import (
    DEFAULT_LOOKBACK_DAYS,
    DEFAULT_MAX_EVENTS,
    LONGEST_LOOKBACK_DAYS,
    Kind,
)
from engagement.period import first_instant, local_date, parse_timezone
from engagement.settings import Settings
from engagement.text_table import aligned, counted

log = logging.getLogger(__name__)

LOCK_SPACE = 0x6661_7374
"""The first key of the advisory locks, of this pipeline alone; a kind's number is the second."""

DRY_RUN, INACTIVE, OVER_FUSE = "dry run", "type not active", "over max_events"
"""Why events that are due were not written."""

_EARLIEST = datetime(1970, 1, 1, tzinfo=UTC)
_LATEST = datetime(9998, 12, 31, tzinfo=UTC)
_DAY = timedelta(days=1)
_NAMED = 10


@dataclass(frozen=True, slots=True)
class _Facts:
    """What tells a kind from the others, beside its statements."""

    lock: int
    activity_type: str | None
    has_fuse: bool = True


_FACTS = {
    Kind.FAST_BEGINNINGS: _Facts(1, "fast_start"),
    Kind.FAST_ENDINGS: _Facts(2, None),
    Kind.DEVOTIONALS_AVAILABLE: _Facts(3, "devotional_available"),
    Kind.PARTICIPANT_MILESTONES: _Facts(4, None),
    # Their key bounds them, and the end of a great fast brings thousands.
    Kind.USER_MILESTONES: _Facts(5, "milestone", has_fuse=False),
}


@dataclass(frozen=True, slots=True)
class Options:
    """What a run may do; raises UsageError for what makes no sense.

    `lookback_days` are days of 24 hours. `max_events` is each kind's fuse. `fast_ids` are the only
    fasts whose events are written; all where it is empty. Whatever `fan_out` says, a user's
    milestone brings its activity: it is a part of the milestone.
    """

    lookback_days: int = DEFAULT_LOOKBACK_DAYS
    max_events: int = DEFAULT_MAX_EVENTS
    fan_out: bool = True
    fast_ids: tuple[int, ...] = ()
    dry_run: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "fast_ids", tuple(sorted(set(self.fast_ids))))
        if not 1 <= self.lookback_days <= LONGEST_LOOKBACK_DAYS:
            raise UsageError(
                f"lookback_days {self.lookback_days} is out of range: expected 1 to "
                f"{LONGEST_LOOKBACK_DAYS}"
            )
        if self.max_events < 1:
            raise UsageError(f"max_events {self.max_events} is too small: expected 1 or more")
        wrong = [str(fast_id) for fast_id in self.fast_ids if not 1 <= fast_id < 1 << 63]
        if wrong:
            raise UsageError(
                f"fast_ids {', '.join(wrong)} cannot be: expected the numbers of fasts"
            )


@dataclass(frozen=True, slots=True)
class FastCount:
    """A number of events of one fast; `fast` is its label."""

    fast_id: int
    fast: str
    events: int


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run found and did of one kind.

    `due` events are in the lookback: `already_there`, or `missing` before the run. `written` of
    those are there now, with `fan_out` activities. Of users' milestones those count as there that
    were reached in the lookback. By fast: `doubled` are the events that stand more than once,
    `unwritten` the missing ones that were left so for the `reason` DRY_RUN, INACTIVE or OVER_FUSE;
    it is empty where nothing was.
    """

    kind: str
    already_there: int
    missing: int
    written: int
    fan_out: int
    doubled: tuple[FastCount, ...] = ()
    unwritten: tuple[FastCount, ...] = ()
    reason: str = ""

    @property
    def due(self) -> int:
        """The events that are due in the run."""
        return self.already_there + self.missing

    @property
    def counts(self) -> dict[str, int]:
        """How many events, without the fasts."""
        return {
            "due": self.due,
            "already_there": self.already_there,
            "written": self.written,
            "fan_out": self.fan_out,
            "unwritten": sum(one.events for one in self.unwritten),
            "doubled": sum(one.events for one in self.doubled),
        }

    def as_dict(self) -> dict[str, Any]:
        """The same as plain values, for JSON and for tasks to hand on."""
        values = asdict(self)
        return {
            **values,
            "doubled": list(values["doubled"]),
            "unwritten": list(values["unwritten"]),
        }

    @classmethod
    def of_dict(cls, values: Mapping[str, Any]) -> Self:
        """The same out of plain values."""
        lists = {
            name: tuple(FastCount(**one) for one in values[name])
            for name in ("doubled", "unwritten")
        }
        return cls(**{**values, **lists})


class FuseError(EngagementError):
    """More events of a kind were missing than a run may write; `outcome` tells which."""

    def __init__(self, message: str, outcome: Outcome | None = None) -> None:
        super().__init__(message)
        self.outcome = outcome


def check_instant(now: datetime) -> datetime:
    """`now` in UTC; raises UsageError where it has no time zone or is out of range."""
    if now.tzinfo is None or not _EARLIEST <= now <= _LATEST:
        raise UsageError(
            f"the instant {now.isoformat()} cannot be: expected one with a time zone, from "
            f"{_EARLIEST.date()} to {_LATEST.date()}"
        )
    return now.astimezone(UTC)


def sync_event_types(
    address: Address, now: datetime, options: Options, settings: Settings
) -> tuple[str, ...]:
    """Adds the event types that the kinds write and the app lacks; nothing else is changed.

    Returns the codes of those added, in a dry run of those that would be. Raises EngagementError.
    """
    chain = {"missing": "event_types_missing"}
    if not options.dry_run:
        chain["added"] = "event_types_added"
    last = f"select code from {list(chain)[-1]} order by code"
    with transaction(
        address, settings, "engagement-events", read_only=options.dry_run
    ) as connection:
        rows = connection.execute(_statement(chain, last), {"now": check_instant(now)}).fetchall()
    codes = tuple(code for (code,) in rows)
    if codes:
        log.info("event types %s: %s", "missing" if options.dry_run else "added", ", ".join(codes))
    return codes


def write(
    kind: Kind | str, address: Address, now: datetime, options: Options, settings: Settings
) -> Outcome:
    """Writes the events of one kind that are due and not there, in one transaction.

    Raises FuseError where there are more than the options allow, with nothing written; UsageError
    for fasts that do not exist; ConfigurationError, TemporaryError or EngagementError for whatever
    the database says.
    """
    kind = _kind(kind)
    now = check_instant(now)
    with transaction(
        address, settings, f"engagement-events {kind}", read_only=options.dry_run
    ) as connection:
        if not options.dry_run:
            # In a statement of its own: the next one sees what the holder before has committed.
            connection.execute(
                "select pg_advisory_xact_lock(%(space)s, %(kind)s)",
                {"space": LOCK_SPACE, "kind": _FACTS[kind].lock},
            )
        statement, parameters, is_active = _prepared(connection, kind, now, options, settings)
        rows = connection.cursor(row_factory=dict_row).execute(statement, parameters).fetchall()
    outcome = _outcome(kind, rows, is_active=is_active, options=options)
    _tell(outcome)
    if outcome.reason == OVER_FUSE:
        raise FuseError(
            f"{kind}: {outcome.missing:,} events are to be written, more than max_events "
            f"{options.max_events:,} allows; nothing was written, it would have been "
            f"{_named(outcome.unwritten)}; raise max_events if that is right, or look back less",
            outcome,
        )
    return outcome


def explain(
    kind: Kind | str, address: Address, now: datetime, options: Options, settings: Settings
) -> str:
    """How the database would run the statement that finds what is due of a kind and not there."""
    options = replace(options, dry_run=True)
    with transaction(address, settings, "engagement-events explain", read_only=True) as connection:
        statement, parameters, _ = _prepared(
            connection, _kind(kind), check_instant(now), options, settings
        )
        rows = connection.execute(f"explain (analyze, costs off) {statement}", parameters)
        return "\n".join(line for (line,) in rows)


def _prepared(
    connection: psycopg.Connection, kind: Kind, now: datetime, options: Options, settings: Settings
) -> tuple[str, dict[str, Any], bool]:
    """The statement of a kind, what it binds, and whether the kind's event type is active."""
    facts = _FACTS[kind]
    known = _look_up(connection, kind, kind.event_type, options.fast_ids)
    if known["event_type_id"] is None and not options.dry_run:
        raise EngagementError(
            f"{kind}: the app's database has no event type {kind.event_type}: run "
            "sync_event_types first"
        )
    is_active = known["is_active"] is not False
    parameters = {
        **known,
        **_window(now, options, settings),
        "activity_type": facts.activity_type,
        "fan_out": options.fan_out and facts.activity_type is not None,
        "max_events": options.max_events,
        "fast_ids": list(options.fast_ids),
    }
    writes = is_active and not options.dry_run
    return _kind_statement(kind, writes=writes), parameters, is_active


def _kind(name: str) -> Kind:
    try:
        return Kind(name)
    except ValueError:
        raise UsageError(f"kind {name!r} is unknown: expected one of {', '.join(Kind)}") from None


def _look_up(
    connection: psycopg.Connection, doing: str, event_type: str, fast_ids: Sequence[int]
) -> dict[str, Any]:
    """The ids that the statements bind, and whether the event type is active, null without one."""
    row = (
        connection.cursor(row_factory=dict_row)
        .execute(
            queries.read("events/lookup"), {"event_type": event_type, "fast_ids": list(fast_ids)}
        )
        .fetchone()
    )
    assert row is not None  # noqa: S101  a select without FROM gives one row
    if row["fast_content_type_id"] is None:
        raise EngagementError(
            f"{doing}: the app's database has no content type hub.fast: check that its migrations "
            "have run"
        )
    unknown = row.pop("unknown_fast_ids")
    if unknown:
        raise UsageError(
            f"there is no fast {', '.join(map(str, unknown))}: expected ids of fasts that exist"
        )
    return row


def _window(now: datetime, options: Options, settings: Settings) -> dict[str, object]:
    """The lookback as instants and as the days that begin in it, in the report time zone."""
    zone = parse_timezone(settings.timezone)
    after = now - options.lookback_days * _DAY
    first = local_date(after, zone) + _DAY
    count = (local_date(now, zone) - first).days + 1
    dates = [first + n * _DAY for n in range(count)]
    starts = [first_instant(day, zone) for day in (first - _DAY, *dates)]
    return {
        "now": now,
        "after": after,
        "first_date": first,
        "dates": dates,
        "starts": starts[1:],
        "previous_starts": starts[:-1],
    }


_FOUND = (
    "days", "fasts", "ends", "written_before", "due", "moments", "members", "participants", "told",
    "wanted", "found",
)  # fmt: skip
_WRITTEN = ("drafts", "written", "recipients", "fed")


def _kind_statement(kind: Kind, *, writes: bool) -> str:
    """The kind's relations, each of which reads those before it, and its outcome.

    A relation is the file of its name in `include/sql/events`, or the kind's own one, whose name
    begins with the kind's.
    """
    files = set(queries.names("events"))
    names = [*_FOUND]
    if writes:
        names += [*(("added",) if kind is Kind.USER_MILESTONES else ()), *_WRITTEN]
    chain = {name: f"{kind}_{name}" if f"{kind}_{name}" in files else name for name in names}
    return _statement(chain, queries.read(f"events/{'outcome' if writes else 'outlook'}"))


def _statement(chain: Mapping[str, str], last: str) -> str:
    """One statement: the relations of `chain`, each out of its file, then `last`."""
    relations = (
        f"{name} as (\n{queries.read(f'events/{file}')}\n)" for name, file in chain.items()
    )
    return f"with {', '.join(relations)}\n{last}"


def _outcome(
    kind: Kind, rows: Sequence[Mapping[str, Any]], *, is_active: bool, options: Options
) -> Outcome:
    missing = sum(row["missing"] for row in rows)
    reason = ""
    if missing and not is_active:
        reason = INACTIVE
    elif missing and options.dry_run:
        reason = DRY_RUN
    elif missing > options.max_events and _FACTS[kind].has_fuse:
        reason = OVER_FUSE
    return Outcome(
        kind=str(kind),
        already_there=sum(row["already_there"] for row in rows),
        missing=missing,
        written=rows[0]["written"] if rows else 0,
        fan_out=rows[0]["fan_out"] if rows else 0,
        doubled=_counts(rows, "doubled"),
        unwritten=_counts(rows, "missing") if reason else (),
        reason=reason,
    )


def _counts(rows: Iterable[Mapping[str, Any]], column: str) -> tuple[FastCount, ...]:
    return tuple(
        FastCount(row["fast_id"], row["label"], row[column]) for row in rows if row[column]
    )


def _named(counts: Sequence[FastCount]) -> str:
    """The fasts by name, the most events first, as far as a line holds them."""
    most = sorted(counts, key=lambda count: (-count.events, count.fast_id))
    told = [f"{one.events:,} of {one.fast} (fast {one.fast_id})" for one in most[:_NAMED]]
    if len(most) > _NAMED:
        told.append(f"and {sum(one.events for one in most[_NAMED:]):,} of others")
    return ", ".join(told)


def _tell(outcome: Outcome) -> None:
    counts = {name: f"{number:,}" for name, number in outcome.counts.items()}
    log.info(
        "%s: %s due, %s there already, %s written, %s activities",
        outcome.kind,
        *(counts[name] for name in ("due", "already_there", "written", "fan_out")),
    )
    if outcome.reason:
        log.log(
            logging.INFO if outcome.reason == DRY_RUN else logging.WARNING,
            "%s (%s): not written: %s, %s",
            outcome.kind,
            outcome.reason,
            counted(outcome.missing, "event"),
            _named(outcome.unwritten),
        )
    if outcome.doubled:
        log.warning(
            "%s: events stand more than once: %s; the app wrote them at the same time, remove "
            "those that are too many",
            outcome.kind,
            _named(outcome.doubled),
        )


def summary_table(outcomes: Iterable[Outcome]) -> str:
    """What a run did, as plain text: one line a kind."""
    titles = ("kind", "due", "there", "written", "fan-out", "not written", "doubled", "why not")
    rows = [
        (one.kind, *(f"{number:,}" for number in one.counts.values()), one.reason)
        for one in outcomes
    ]
    return "\n".join(aligned([titles, *rows]))


@dataclass(frozen=True, slots=True)
class Disagreements:
    """How many pairs (user, fast) have memberships and join and leave events that disagree.

    `never_recorded` are members without an event or whose last one is a leave, `gone` those whose
    last one is a join and who are no members, `doubled` the pairs with two joins or two leaves one
    after the other.
    """

    never_recorded: int
    gone: int
    doubled: int


@dataclass(frozen=True, slots=True)
class Reconciliation:
    """What comparing memberships with join and leave events found, of fasts that exist."""

    totals: Disagreements
    fasts: Mapping[tuple[int, str], Disagreements]
    """By id and label, those with any."""

    def as_json(self) -> dict[str, Any]:
        """The same as plain values."""
        fasts = [
            {"fast_id": fast_id, "fast": label, **asdict(found)}
            for (fast_id, label), found in self.fasts.items()
        ]
        return {"totals": asdict(self.totals), "fasts": fasts}

    def log_table(self) -> str:
        """The same as plain text: one line a fast, and all together."""
        titles = ("fast", "never recorded", "gone", "doubled")
        rows = [
            (name, *(f"{number:,}" for number in asdict(found).values()))
            for name, found in [
                *(
                    (f"{label} (fast {fast_id})", one)
                    for (fast_id, label), one in self.fasts.items()
                ),
                ("all", self.totals),
            ]
        ]
        return "\n".join(aligned([titles, *rows]))


def reconcile(address: Address, settings: Settings) -> Reconciliation:
    """Compares memberships, as they are, with the last join or leave event of each pair.

    Changes nothing. Raises ConfigurationError, TemporaryError or EngagementError.
    """
    chain = {"fasts": "fasts", "by_fast": "reconciled"}
    with transaction(
        address, settings, "engagement-events reconcile", read_only=True
    ) as connection:
        known = _look_up(connection, "reconcile", "", ())
        rows = connection.execute(
            _statement(chain, queries.read("events/reconciliation")), known
        ).fetchall()
    fasts = {(fast_id, label): Disagreements(*counts) for fast_id, label, *counts in rows}
    totals = Disagreements(
        never_recorded=sum(one.never_recorded for one in fasts.values()),
        gone=sum(one.gone for one in fasts.values()),
        doubled=sum(one.doubled for one in fasts.values()),
    )
    return Reconciliation(totals, fasts)

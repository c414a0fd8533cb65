"""`engagement events`: lifecycle and milestone events of fasts."""

from __future__ import annotations

import argparse
import json
import re
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from engagement.errors import EngagementError, UsageError
from engagement.event_kinds import DEFAULT_LOOKBACK_DAYS, DEFAULT_MAX_EVENTS, Kind
from engagement.settings import Settings

if TYPE_CHECKING:
    from engagement.commands import Subparsers
    from engagement.commands.progress import Show

_HELP = """\
Write the lifecycle and milestone events that are due and not there into the app's database, each
exactly once, as the DAG fast_events does.

The connection to the database is AIRFLOW_CONN_APP_DB_EVENTS, the settings are ENGAGEMENT_*
variables.
"""
_RFC_3339 = re.compile(
    r"\d{4}-\d{2}-\d{2}[Tt ]\d{2}:\d{2}:\d{2}(\.\d{1,6})?([Zz]|[+-]\d{2}:\d{2})", re.ASCII
)


def add_to(commands: Subparsers) -> None:
    """Adds the command to the parser."""
    command = commands.add_parser(
        "events",
        help="write the events of fasts that are due",
        description=_HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.add_argument(
        "--at",
        metavar="INSTANT",
        help="the instant to look back from, such as 2026-01-31T12:00:00Z (default: now)",
    )
    command.add_argument(
        "--lookback-days",
        type=int,
        default=DEFAULT_LOOKBACK_DAYS,
        metavar="DAYS",
        help="write what became due in these days of 24 hours (default: %(default)s)",
    )
    command.add_argument(
        "--fast-id",
        type=int,
        action="append",
        default=[],
        metavar="ID",
        help="only this fast's events; may be given several times (default: all fasts)",
    )
    command.add_argument(
        "--max-events",
        type=int,
        default=DEFAULT_MAX_EVENTS,
        metavar="N",
        help="a kind with more events to write writes none and fails (default: %(default)s)",
    )
    command.add_argument(
        "--no-fan-out", action="store_true", help="write nothing into the participants' feeds"
    )
    command.add_argument(
        "--dry-run", action="store_true", help="say what would be written, and write nothing"
    )
    command.add_argument(
        "--json", action="store_true", help="the outcome of each kind as JSON on standard output"
    )
    command.set_defaults(run=run, interrupted="interrupted: what was begun was not written")


def run(options: argparse.Namespace, settings: Settings, show: Show) -> None:
    """Writes the events that the options ask for; raises EngagementError or OSError."""
    now = parse_instant(options.at) if options.at is not None else datetime.now(UTC)
    # The heavy imports come after the mistakes that need none of them.
    from engagement import events
    from engagement.app_database import EVENTS_CONNECTION_ID, Address

    chosen = events.Options(
        lookback_days=options.lookback_days,
        max_events=options.max_events,
        fan_out=not options.no_fan_out,
        fast_ids=tuple(options.fast_id),
        dry_run=options.dry_run,
    )
    events.check_instant(now)
    address = Address.from_environment(EVENTS_CONNECTION_ID)
    events.sync_event_types(address, now, chosen, settings)
    outcomes, blown = [], []
    for kind in Kind:
        show.stage(kind)
        try:
            outcomes.append(events.write(kind, address, now, chosen, settings))
        except events.FuseError as error:
            blown.append(str(error))
            outcomes += [error.outcome] if error.outcome else []
    show.stage("")
    if options.json:
        text = json.dumps(
            [{"due": one.due, **one.as_dict()} for one in outcomes], ensure_ascii=False, indent=2
        )
    else:
        text = events.summary_table(outcomes)
    sys.stdout.buffer.write(f"{text}\n".encode())
    sys.stdout.buffer.flush()
    if blown:
        raise EngagementError("; ".join(blown))


def parse_instant(text: str) -> datetime:
    """An instant written as RFC 3339 says; raises UsageError."""
    try:
        instant = datetime.fromisoformat(text.upper()) if _RFC_3339.fullmatch(text) else None
    except ValueError:
        instant = None
    if instant is None:
        raise UsageError(
            f"--at {text!r} is no instant: expected one with its offset, for example "
            "2026-01-31T12:00:00Z or 2026-01-31T12:00:00+04:00"
        )
    return instant

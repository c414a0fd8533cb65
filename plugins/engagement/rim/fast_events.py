"""What each task of the DAG of lifecycle and milestone events does, as one call."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import TYPE_CHECKING, Any

from airflow.sdk import Asset, get_current_context
from airflow.sdk.exceptions import AirflowSkipException

from engagement.errors import EngagementError
from engagement.period import local_date, parse_timezone
from engagement.rim.common import Plain, app_database, destination, one_line_errors
from engagement.settings import Settings, load

if TYPE_CHECKING:
    from engagement.app_database import Address
    from engagement.events import Options

log = logging.getLogger(__name__)

FAN_OUT = ("automatic", "on", "off")
"""Whether users are told: `automatic` is on, but off in a backfill, whose news is old."""

RECONCILIATION = "reconciliation.json"


def _now(run: Any) -> datetime:
    """The run's instant: the end of its data interval, else when it was to run."""
    now: datetime = run.data_interval_end or run.run_after
    return now


def _options(params: Mapping[str, Any], run: Any) -> Options:
    from engagement.events import Options

    fan_out = params["fan_out"]
    return Options(
        lookback_days=params["lookback_days"],
        max_events=params["max_events"],
        fan_out=fan_out == "on" or (fan_out == "automatic" and run.run_type != "backfill"),
        fast_ids=tuple(params["fast_ids"] or ()),
        dry_run=params["dry_run"],
    )


def _asked() -> tuple[Address, datetime, Options, Settings]:
    """What every step of a run works with."""
    from engagement.app_database import EVENTS_CONNECTION_ID

    context = get_current_context()
    run = context["dag_run"]
    options = _options(context["params"], run)
    return app_database(EVENTS_CONNECTION_ID), _now(run), options, load()


def sync_event_types() -> list[str]:
    """Adds the event types that are missing; returns their codes."""
    from engagement import events

    with one_line_errors():
        return list(events.sync_event_types(*_asked()))


def write(kind: str) -> Plain:
    """Writes the events of one kind that are due; returns what it found and did."""
    from engagement import events

    with one_line_errors():
        return events.write(kind, *_asked()).as_dict()


def summary(kinds: Sequence[str], outcomes: Sequence[Plain | None], asset: str) -> None:
    """Logs what the run did, and tells it on the asset where every kind has ended well."""
    from engagement import events

    told = [events.Outcome.of_dict(outcome) for outcome in outcomes if outcome]
    for line in events.summary_table(told).splitlines():
        log.info("%s", line)
    with one_line_errors():
        missing = sorted({*kinds} - {outcome.kind for outcome in told})
        if missing:
            raise EngagementError(
                f"these kinds failed: {', '.join(missing)}; their logs tell why: clear their tasks "
                "once that is mended"
            )
    context = get_current_context()
    context["outlet_events"][Asset.ref(name=asset)].extra = {
        "at": _now(context["dag_run"]).isoformat(),
        "kinds": {
            one.kind: {"due": one.due, "written": one.written, "fan_out": one.fan_out}
            for one in told
        },
    }


def reconcile(asset: str) -> None:
    """Compares memberships with the recorded joins and leaves; counts go to the log and a file.

    Of scheduled runs only the day's first does; the others skip it.
    """
    from engagement import events
    from engagement.app_database import EVENTS_CONNECTION_ID

    context = get_current_context()
    run = context["dag_run"]
    with one_line_errors():
        settings = load()
        if not _is_first_of_day(run, settings.timezone):
            raise AirflowSkipException("only the first run of a day reconciles")
        address = app_database(EVENTS_CONNECTION_ID)
        found = events.reconcile(address, settings)
        for line in found.log_table().splitlines():
            log.info("%s", line)
        document = {"at": _now(run).isoformat(), **found.as_json()}
        text = json.dumps(document, ensure_ascii=False, indent=2) + "\n"
        where = destination(settings).put_document(RECONCILIATION, text.encode())
        log.info("kept in %s", where)
    context["outlet_events"][Asset.ref(name=asset)].extra = {
        "address": where,
        **asdict(found.totals),
    }


def _is_first_of_day(run: Any, timezone: str) -> bool:
    """Whether a day begins in the run's interval; a run by hand always reconciles."""
    start, end = run.data_interval_start, run.data_interval_end
    if run.run_type == "manual" or start is None:
        return True
    zone = parse_timezone(timezone)
    return local_date(start, zone) < local_date(end, zone)

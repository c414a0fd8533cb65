"""What each task of a report DAG does, as one call.

Values that tasks hand to each other are small and plain: where things are, and how many.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import urlsplit

from airflow.sdk import Asset, Connection, ObjectStoragePath, get_current_context
from airflow.sdk.exceptions import AirflowNotFoundException
from upath import UPath

from engagement.errors import ConfigurationError, UsageError
from engagement.period import Cadence, Period, local_date, parse_timezone
from engagement.rim.common import Plain, app_database, destination, one_line_errors
from engagement.settings import Settings, load

if TYPE_CHECKING:
    from engagement.report import Snapshot
    from engagement.staging import StagingArea

log = logging.getLogger(__name__)


def _staged(address: str) -> UPath:
    """A path of the staging area; Airflow's paths do all that a UPath does, without being one.

    Raises ConfigurationError where its connection does not exist: Airflow would take this machine's
    own S3 login instead.
    """
    if urlsplit(address).scheme in {"", "file"}:
        # Airflow's path would import the file systems of all providers, in every task.
        return UPath(address)
    connection_id = urlsplit(address).netloc.rpartition("@")[0]
    if connection_id:
        try:
            Connection.get(connection_id)
        except AirflowNotFoundException:
            raise ConfigurationError(
                f"there is no connection {connection_id} to the staging area: add it in Airflow "
                "under Admin, Connections (type Amazon Web Services), or correct ENGAGEMENT_STAGING"
            ) from None
    return cast("UPath", ObjectStoragePath(address))


def _area(settings: Settings) -> StagingArea:
    from engagement.staging import StagingArea

    return StagingArea(_staged(settings.staging))


def _snapshot(folder: str) -> Snapshot:
    from engagement.report import Snapshot

    return Snapshot.load(_staged(folder))


def _period(
    cadence: Cadence, params: Mapping[str, Any], context: Mapping[str, Any], timezone: str
) -> Period:
    """The period of a run: its parameters, else its data interval, else what the cadence allows."""
    from engagement.report import period_before

    run = context["dag_run"]
    start, end = params.get("start") or None, params.get("end") or None
    first, last = run.data_interval_start, run.data_interval_end
    if cadence is Cadence.ON_DEMAND:
        if not start and not end and first and first < last:
            return Period.of_interval(first, last, timezone)
        today = local_date(run.run_after, parse_timezone(timezone))
        return period_before(today, timezone, start, end)
    if start and end:
        period = Period.parse(start, end, timezone)
    elif start or end:
        raise UsageError(
            f"only {'start' if start else 'end'} is set: set both start and end, or neither to "
            "take the run's data interval"
        )
    elif first and last and first < last:
        period = Period.of_interval(first, last, timezone)
    else:
        raise UsageError(
            "the run has no data interval and no parameters start and end: trigger it with start "
            "and end, or give it a logical date"
        )
    cadence.check(period)
    return period


def plan(cadence: str) -> Plain:
    """Decides the period, and fails before any work where its report could not be published."""
    from engagement.app_database import CONNECTION_ID
    from engagement.report import parse_format

    context = get_current_context()
    params = context["params"]
    with one_line_errors():
        settings = load()
        period = _period(Cadence(cadence), params, context, settings.timezone)
        file_format = parse_format(params["format"])
        destination(settings, params["s3_prefix"] or None).check()
        _area(settings).check()
        app_database(CONNECTION_ID)
    log.info("the report of %s to %s (%s)", period.start, period.end, period.timezone)
    return {
        "period": period.as_dict(),
        "cadence": cadence,
        "format": str(file_format),
        "s3_prefix": params["s3_prefix"] or None,
        "replace": params["replace"],
    }


def extract(planned: Plain) -> str:
    """Reads one snapshot of the app's database into the staging area; returns its folder."""
    from engagement.app_database import CONNECTION_ID
    from engagement.report import take_snapshot

    context = get_current_context()
    with one_line_errors():
        settings = load()
        snapshot = take_snapshot(
            app_database(CONNECTION_ID),
            Period.parse(**planned["period"]),
            _area(settings),
            context["dag"].dag_id,
            settings,
            run=context["run_id"],
        )
    return str(snapshot.folder)


def validate(folder: str) -> Plain:
    """Checks the extracted tables; a critical finding fails the run, without a retry."""
    from engagement.report import check_quality

    with one_line_errors():
        result = check_quality(_snapshot(folder), load())
    return {"status": result.status, "warnings": len(result.failures("warning"))}


def compute(name: str, planned: Plain, folder: str) -> Plain:
    """Computes one dataset of the snapshot; returns its facts."""
    from engagement import report
    from engagement.datasets import Format

    with one_line_errors():
        file_format = Format(planned["format"])
        return report.compute(_snapshot(folder), name, file_format, load()).as_dict()


def package(planned: Plain, folder: str, computed: Iterable[Plain]) -> Plain:
    """Draws the pages and zips them with the seven datasets; returns the archive's facts."""
    from engagement import report
    from engagement.datasets import Format

    with one_line_errors():
        snapshot, file_format = _snapshot(folder), Format(planned["format"])
        datasets = [report.Computed.of_dict(values) for values in computed]
        report.draw(snapshot, datasets, file_format)
        packaged = report.package(
            snapshot,
            datasets,
            file_format,
            Cadence(planned["cadence"]),
            run=get_current_context()["run_id"],
        )
    facts = (
        "cadence",
        "format",
        "sha256",
        "bytes",
        "rows",
        "snapshot_at",
        "run",
        "code_version",
        "data_quality",
    )
    return {name: getattr(packaged, name) for name in facts}


def publish(planned: Plain, folder: str, packaged: Plain, asset: str) -> Plain:
    """Publishes the archive and tells it on the asset; returns its addresses and facts."""
    from engagement import report, staging
    from engagement.publish import Archive

    with one_line_errors():
        settings = load()
        period = Period.parse(**planned["period"])
        archive = Archive(path=Path(), period=period, **packaged)
        target = destination(settings, planned["s3_prefix"])
        where = _staged(folder) / planned["format"]
        with staging.fetched(where, [archive.name]) as local:
            published = report.publish(
                replace(archive, path=local / archive.name), target, replace=planned["replace"]
            )
    facts = {**asdict(published), "start": str(period.start), "end": str(period.end)}
    # An Asset made of the name alone is another one, with that name for its address.
    get_current_context()["outlet_events"][Asset.ref(name=asset)].extra = facts
    return facts


def clean_up(folder: str) -> None:
    """Removes all that a run which has published left in the staging area."""
    from engagement.staging import remove_run

    with one_line_errors():
        remove_run(_staged(folder))

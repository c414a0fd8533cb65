"""`engagement report`: the report of a period."""

from __future__ import annotations

import argparse
import logging
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, redirect_stdout, suppress
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from engagement import datasets
from engagement.datasets import Format
from engagement.errors import ConfigurationError, EngagementError, UsageError, explain_os_error
from engagement.period import DEFAULT_DAYS, Cadence, parse_timezone
from engagement.settings import Settings, check_prefix

if TYPE_CHECKING:
    from engagement import report
    from engagement.commands import Subparsers
    from engagement.commands.progress import Show
    from engagement.period import Period
    from engagement.publish import Archive, Destination

log = logging.getLogger("engagement")

LARGEST = datasets.USER_ACTIVITY_TIMELINE.name
_COMPUTED_AT_ONCE = 2
_UNFINISHED = ".unfinished-"

_HELP = """\
Make the engagement report of a period: extract from the app's database, validate, compute the
seven datasets, and write them as files, as one archive, or to the report's destination.

The connection to the database is AIRFLOW_CONN_APP_DB, the settings are ENGAGEMENT_* variables.
"""


def add_to(commands: Subparsers) -> None:
    """Adds the command to the parser."""
    command = commands.add_parser(
        "report",
        help="make the report of a period",
        description=_HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    period = command.add_argument_group("period")
    period.add_argument(
        "--start",
        metavar="DATE",
        help=f"first day, YYYY-MM-DD (default: {DEFAULT_DAYS} days before today)",
    )
    period.add_argument("--end", metavar="DATE", help="last day, included (default: today)")
    period.add_argument(
        "--timezone",
        metavar="NAME",
        help="report time zone, for local output only (default: ENGAGEMENT_TIMEZONE)",
    )
    output = command.add_argument_group("output")
    output.add_argument(
        "--format", default="json", help="json, csv or parquet (default: %(default)s)"
    )
    output.add_argument(
        "--stdout", action="store_true", help="the consolidated JSON on standard output"
    )
    output.add_argument(
        "--output-dir",
        type=Path,
        metavar="FOLDER",
        help="where to write (default: a fresh temporary folder, printed)",
    )
    output.add_argument("--zip", action="store_true", help="one archive instead of the files")
    output.add_argument(
        "--skip-validation",
        action="store_true",
        help="do not check the data; what was not checked cannot be uploaded",
    )
    upload = command.add_argument_group("upload")
    upload.add_argument(
        "--upload-s3",
        action="store_true",
        help="upload the archive to ENGAGEMENT_DESTINATION and print its address",
    )
    upload.add_argument(
        "--s3-prefix",
        metavar="PREFIX",
        help="prefix under the destination (default: ENGAGEMENT_S3_PREFIX)",
    )
    upload.add_argument(
        "--presign",
        action="store_true",
        help="print a URL that opens the uploaded archive to whoever holds it",
    )
    upload.add_argument(
        "--replace",
        action="store_true",
        help="replace a published archive that has more activities",
    )
    command.set_defaults(run=run, interrupted="interrupted: what was not finished is removed")


def run(options: argparse.Namespace, settings: Settings, show: Show) -> None:
    """Makes the report that the options ask for; raises EngagementError or OSError."""
    _check_options(options, settings)
    timezone = settings.timezone if options.timezone is None else options.timezone
    # The heavy imports come after the mistakes that need none of them.
    from upath import UPath

    from engagement import facts, report
    from engagement.app_database import Address
    from engagement.staging import StagingArea

    today = datetime.now(parse_timezone(timezone)).date()
    period = report.period_before(today, timezone, options.start, options.end)
    file_format = report.parse_format(options.format)
    address = Address.from_environment()
    destination = _destination(options, settings) if options.upload_s3 else None

    with ExitStack() as stack:
        output = _output_folder(options, stack) if _writes_files(options) else None
        if output is not None:
            _sweep(output, settings.staging_keep_days)
            _check_free(output, _names(options, period, file_format))
        base = Path(
            stack.enter_context(
                tempfile.TemporaryDirectory(
                    prefix=_UNFINISHED, dir=output, ignore_cleanup_errors=True
                )
            )
        )
        area = StagingArea(UPath(base))
        snapshot = report.take_snapshot(
            address, period, area, "command-line", settings, show.extracted
        )
        if options.skip_validation:
            report.skip_quality(snapshot)
        else:
            show.stage("validating")
            report.check_quality(snapshot, settings, apart=True)
        show.stage("computing")
        # The largest first: the others are computed while it is written.
        order = sorted(datasets.NAMES, key=lambda name: name != LARGEST)
        with ThreadPoolExecutor(_COMPUTED_AT_ONCE) as pool:
            futures = {
                name: pool.submit(report.compute, snapshot, name, file_format, settings)
                for name in order
            }
            if output is not None:
                # So are the pages, which tell nothing of the largest.
                told = [futures[name].result() for name in facts.DATASETS]
                pool.submit(report.draw, snapshot, told, file_format).result()
            computed = [future.result() for future in futures.values()]
        show.stage("")
        if options.stdout:
            report.check_agreement(snapshot, computed)
            for block in report.consolidated(snapshot, computed):
                sys.stdout.buffer.write(block)
            sys.stdout.buffer.flush()
        if output is not None:
            show.stage("packaging")
            packaged = report.package(snapshot, computed, file_format, Cadence.ON_DEMAND, run=None)
            show.stage("")
            keep = options.zip or (output / packaged.name).exists()
            packaged = _finish(
                packaged,
                computed,
                snapshot,
                output,
                as_zip=options.zip,
                to_upload=destination is not None,
            )
            if destination is not None:
                _upload(packaged, destination, options, settings)
                if not keep:
                    packaged.path.unlink()


def _check_options(options: argparse.Namespace, settings: Settings) -> None:
    if options.stdout and sys.stdout is None:
        raise UsageError("--stdout: standard output is closed; redirect it to a file, or open it")
    if options.stdout and options.format != Format.JSON:
        raise UsageError(
            f"--stdout with --format {options.format}: the consolidated form is JSON; leave out "
            "one of them"
        )
    if options.upload_s3 and options.skip_validation:
        raise UsageError(
            "--upload-s3 with --skip-validation: what was not checked is not published; leave out "
            "one of them"
        )
    if options.upload_s3 and options.timezone not in {None, settings.timezone}:
        raise UsageError(
            f"--upload-s3 with --timezone {options.timezone}: published reports have the time "
            f"zone {settings.timezone} of ENGAGEMENT_TIMEZONE; leave out --timezone"
        )
    for name in ("s3_prefix", "presign", "replace"):
        if getattr(options, name) and not options.upload_s3:
            raise UsageError(
                f"--{name.replace('_', '-')} without --upload-s3 has no effect: add --upload-s3"
            )
    if options.s3_prefix is not None:
        try:
            check_prefix(options.s3_prefix)
        except ValueError as error:
            raise UsageError(f"--s3-prefix: {error}") from None


def _destination(options: argparse.Namespace, settings: Settings) -> Destination:
    if not settings.destination.startswith("s3://"):
        raise ConfigurationError(
            f"--upload-s3: ENGAGEMENT_DESTINATION is {settings.destination!r}, no S3 address: set "
            "it to s3://bucket or s3://bucket/base"
        )
    # Airflow reads and understands the connection. It takes seconds to import, and would take
    # standard output for its log.
    os.environ.setdefault("AIRFLOW__LOGGING__LOGGING_LEVEL", "ERROR")
    with redirect_stdout(sys.stderr):
        from engagement.destinations import open_destination
        from engagement.rim.common import s3_client

        destination = open_destination(settings, options.s3_prefix, lambda: s3_client(settings))
        destination.check()
    return destination


def _writes_files(options: argparse.Namespace) -> bool:
    return bool(options.output_dir or options.zip or options.upload_s3 or not options.stdout)


def _output_folder(options: argparse.Namespace, stack: ExitStack) -> Path:
    """The folder to write to; a fresh one is removed where the report leaves nothing in it."""
    if options.output_dir is None:
        fresh = Path(tempfile.mkdtemp(prefix="engagement-report-"))
        stack.callback(_remove_if_empty, fresh)
        return fresh
    folder: Path = options.output_dir
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise EngagementError(
            f"--output-dir {str(folder)!r} cannot be written: {explain_os_error(error)}"
        ) from None
    if not os.access(folder, os.W_OK | os.X_OK):
        raise EngagementError(
            f"--output-dir {str(folder)!r} cannot be written: choose a folder that may be written, "
            "or change its rights"
        )
    return folder


def _sweep(output: Path, keep_days: int) -> None:
    """Removes what runs that were killed long ago have left: their tables hold personal data."""
    oldest = time.time() - timedelta(days=keep_days).total_seconds()
    for left in output.glob(f"{_UNFINISHED}*"):
        # Another run may be removing it.
        with suppress(FileNotFoundError):
            if left.stat().st_mtime < oldest:
                shutil.rmtree(left)
                log.info("removed what an old run has left: %s", left)


def _names(options: argparse.Namespace, period: Period, file_format: Format) -> list[str]:
    """The names of the files that are written."""
    from engagement import archive
    from engagement.publish import archive_name

    names = [archive_name(period)] if options.zip or options.upload_s3 else []
    if not options.zip:
        names += [
            *(datasets.file_name(name, file_format) for name in datasets.NAMES),
            *(archive.DATA_PACKAGE, archive.README, *archive.PAGES, archive.DATA_QUALITY),
        ]
    return names


def _check_free(output: Path, names: Sequence[str]) -> None:
    """Raises EngagementError where a folder stands in the place of a file."""
    for name in names:
        if (output / name).is_dir():
            raise EngagementError(
                f"--output-dir {str(output)!r} holds a folder {name}: expected a file, or nothing; "
                "remove it, or choose another folder"
            )


def _remove_if_empty(folder: Path) -> None:
    with suppress(OSError):
        folder.rmdir()


def _finish(
    packaged: Archive,
    computed: Sequence[report.Computed],
    snapshot: report.Snapshot,
    output: Path,
    *,
    as_zip: bool,
    to_upload: bool,
) -> Archive:
    """Moves what was asked for to the output folder; returns the archive where it is then.

    There an archive that is to be uploaded stays, if it cannot be.
    """
    from engagement import archive

    staged = packaged.path.parent
    archive_path = output / packaged.name
    if not as_zip:
        for path in (
            *(staged / dataset.file for dataset in computed),
            staged / archive.DATA_PACKAGE,
            staged / archive.README,
            *(staged / page for page in archive.PAGES),
            Path(snapshot.folder.path) / archive.DATA_QUALITY,
        ):
            path.replace(output / path.name)
        log.info("the report is in %s", output)
    if as_zip or to_upload:
        packaged.path.replace(archive_path)
        packaged = replace(packaged, path=archive_path)
    if as_zip:
        log.info("the report is %s", archive_path)
    return packaged


def _upload(
    packaged: Archive, destination: Destination, options: argparse.Namespace, settings: Settings
) -> None:
    from engagement import report

    published = report.publish(packaged, destination, replace=options.replace)
    out = sys.stderr if options.stdout else sys.stdout
    out.write(f"{published.url}\n")
    if options.presign:
        out.write(f"{destination.presign(published, settings.s3_presign_seconds)}\n")

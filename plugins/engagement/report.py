"""The report as a sequence of steps; the DAGs' tasks and the command line both call these.

Every step takes and returns small values and leaves its data in the snapshot's staging folder. A
step may run twice, and twice at the same time. Each imports for itself what is heavy: a task runs
one of them in a process of its own.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from engagement import __version__, datasets, staging
from engagement.datasets import Format
from engagement.errors import DataQualityError, EngagementError, UsageError, explain_os_error
from engagement.period import DEFAULT_DAYS, Cadence, Period
from engagement.publish import Archive, Destination, Published, archive_name
from engagement.settings import Settings
from engagement.text_table import counted

if TYPE_CHECKING:
    from upath import UPath

    from engagement.app_database import Address
    from engagement.extract import Report
    from engagement.quality import QualityResult

log = logging.getLogger(__name__)

_SNAPSHOT = "snapshot.json"


def parse_format(text: str) -> Format:
    """The format named `text`; raises UsageError."""
    try:
        return Format(text)
    except ValueError:
        raise UsageError(
            f"format {text!r} is unknown: expected one of {', '.join(Format)}"
        ) from None


def period_before(today: date, timezone: str, start: str | None, end: str | None) -> Period:
    """The period asked for; where a date is left open, DEFAULT_DAYS before `today`, or today."""
    first = str(today - timedelta(days=DEFAULT_DAYS)) if start is None else start
    return Period.parse(first, str(today) if end is None else end, timezone)


@contextmanager
def _stage(name: str) -> Iterator[list[str]]:
    """Logs a stage with its facts and seconds; what the disk refuses becomes EngagementError."""
    began = time.monotonic()
    told: list[str] = []
    try:
        yield told
    except OSError as error:
        raise EngagementError(f"{name} failed: {explain_os_error(error)}") from error
    log.info("%s: %s", name, ", ".join([*told, f"{time.monotonic() - began:.1f} s"]))


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The extracted tables of one snapshot: where they are, of which period, and how many rows."""

    folder: UPath
    period: Period
    taken_at: str
    rows: Mapping[str, int]

    @property
    def id(self) -> str:
        """What tells this snapshot from every other."""
        return self.folder.name

    @classmethod
    def load(cls, folder: UPath) -> Self:
        """The snapshot in `folder`; raises EngagementError where it is gone."""
        with staging.fetched(folder, [_SNAPSHOT]) as local:
            record = json.loads((local / _SNAPSHOT).read_text(encoding="utf-8"))
        period = Period.parse(**record["period"])
        return cls(folder, period, record["taken_at"], record["rows"])

    def save(self) -> None:
        """Writes the snapshot's record, which makes it one."""
        record = {
            "period": self.period.as_dict(),
            "taken_at": self.taken_at,
            "rows": dict(self.rows),
        }
        with staging.written(self.folder) as local:
            (local / _SNAPSHOT).write_text(json.dumps(record, indent=2), encoding="utf-8")

    @property
    def tables(self) -> UPath:
        """The folder of the extracted tables."""
        return self.folder / "tables"


@dataclass(frozen=True, slots=True)
class Computed:
    """One computed dataset of a snapshot."""

    snapshot: str
    name: str
    file: str
    rows: int
    bytes: int
    sha256: str
    measures: Mapping[str, int]

    def as_dict(self) -> dict[str, Any]:
        """The same as plain values."""
        return asdict(self)

    @classmethod
    def of_dict(cls, values: Mapping[str, Any]) -> Self:
        """The same out of plain values."""
        return cls(**values)


def take_snapshot(
    address: Address,
    period: Period,
    area: staging.StagingArea,
    owner: str,
    settings: Settings,
    report: Report | None = None,
    run: str | None = None,
) -> Snapshot:
    """Extracts the tables of `period` into a new staging folder; sweeps old leftovers first.

    `run` names the owner's run, for `staging.remove_run`.
    """
    from engagement.extract import extract

    with _stage("extract") as told:
        for leftover in area.sweep(datetime.now(UTC), settings.staging_keep_days):
            log.info("removed the staging of an old run: %s", leftover)
        folder = area.new_folder(owner, period.label, run)
        name = f"engagement-reports {owner}"
        try:
            extracted = extract(address, period, folder / "tables", settings, name, report)
            snapshot = Snapshot(
                folder,
                period,
                extracted.taken_at.astimezone(UTC).isoformat().replace("+00:00", "Z"),
                extracted.rows,
            )
            snapshot.save()
        except BaseException:
            # Nothing goes on with half a snapshot.
            staging.discard(folder)
            raise
        told.append(counted(sum(snapshot.rows.values()), "row"))
    return snapshot


def check_quality(snapshot: Snapshot, settings: Settings, *, apart: bool = False) -> QualityResult:
    """Holds the extracted tables against their suites; raises DataQualityError if critical.

    `apart`: in a process of its own, where this one goes on to other work.
    """
    from engagement import quality
    from engagement.extract import TABLES

    validate = quality.validate_apart if apart else quality.validate
    with _stage("validate") as told:
        names = [f"{table}.parquet" for table in TABLES]
        with staging.fetched(snapshot.tables, names) as tables:
            result = validate(tables, snapshot.period, settings)
        _save_quality(snapshot, result)
        told.append(result.status)
    for line in result.log_table().splitlines():
        log.info("%s", line)
    quality.gate(result)
    return result


def skip_quality(snapshot: Snapshot) -> QualityResult:
    """Records that nobody checked the extracted tables."""
    from engagement.quality import QualityResult

    result = QualityResult.skipped(snapshot.period)
    _save_quality(snapshot, result)
    return result


def _save_quality(snapshot: Snapshot, result: QualityResult) -> None:
    from engagement import archive

    text = json.dumps(result.as_json(), ensure_ascii=False, allow_nan=False, indent=2)
    with staging.written(snapshot.folder) as local:
        path = local / archive.DATA_QUALITY
        path.write_text(text + "\n", encoding="utf-8", newline="")


def _read_quality(folder: Path) -> QualityResult:
    from engagement import archive
    from engagement.quality import QualityResult

    text = (folder / archive.DATA_QUALITY).read_text(encoding="utf-8")
    return QualityResult.of_json(json.loads(text))


def compute(snapshot: Snapshot, name: str, file_format: Format, settings: Settings) -> Computed:
    """Computes one dataset of the snapshot into its staging folder."""
    from engagement import archive, engine

    with _stage(f"compute {name}") as told:
        tables = [f"{table}.parquet" for table in sorted(engine.tables_of(name))]
        with (
            staging.fetched(snapshot.tables, tables) as local,
            staging.written(snapshot.folder / file_format) as folder,
        ):
            result = engine.compute(name, local, snapshot.period, folder, file_format, settings)
            path = folder / result.file
            computed = Computed(
                snapshot.id,
                name,
                result.file,
                result.rows,
                path.stat().st_size,
                archive.sha256_of(path),
                result.measures,
            )
        told.append(counted(computed.rows, "row"))
    return computed


def check_agreement(snapshot: Snapshot, computed: Iterable[Computed]) -> dict[str, Computed]:
    """The seven datasets of one snapshot by name, once they agree with each other.

    Raises DataQualityError where they do not, or come from several snapshots.
    """
    from engagement import contracts

    by_name = {dataset.name: dataset for dataset in computed}
    others = sorted(name for name, one in by_name.items() if one.snapshot != snapshot.id)
    missing = sorted(set(datasets.NAMES) - set(by_name))
    if others or missing:
        problem = f"lacks {', '.join(missing)}" if missing else f"mixes in {', '.join(others)}"
        raise DataQualityError(
            f"the archive of snapshot {snapshot.id} {problem}"
            f"{'' if missing else ' of another snapshot'}: clear the task extract and all after "
            "it, so that all seven datasets come from one snapshot"
        )
    contracts.check_agreement(
        {name: one.measures for name, one in by_name.items()},
        {
            **{name: one.rows for name, one in by_name.items()},
            "activities": snapshot.rows["activities"],
        },
    )
    return by_name


def draw(snapshot: Snapshot, computed: Iterable[Computed], file_format: Format) -> None:
    """Writes the pages of the report beside its datasets.

    Of `computed` it needs those of `facts.DATASETS`, so that it need not wait for the large ones.
    """
    from engagement import archive, facts, page

    with _stage("draw") as told:
        files = {one.name: one.file for one in computed if one.name in facts.DATASETS}
        tables = [f"{table}.parquet" for table in sorted(facts.tables())]
        target = snapshot.folder / file_format
        with (
            staging.fetched(target, files.values()) as local,
            staging.fetched(snapshot.folder, [archive.DATA_QUALITY]) as record,
            staging.fetched(snapshot.tables, tables) as extracted,
            staging.written(target) as folder,
        ):
            result = _read_quality(record)
            gathered = facts.gather(extracted, local, files, file_format, snapshot.period, result)
            pages = page.write(folder, gathered)
            size = sum(path.stat().st_size for path in pages)
        told.append(f"{size:,} bytes")


def package(
    snapshot: Snapshot,
    computed: Iterable[Computed],
    file_format: Format,
    cadence: Cadence,
    run: str | None,
) -> Archive:
    """Zips the seven datasets of one snapshot and the pages that `draw` made of them.

    The archive stands in the snapshot's staging folder. Raises what `check_agreement` does.
    """
    from engagement import archive

    by_name = check_agreement(snapshot, computed)
    rows = {name: by_name[name].rows for name in datasets.NAMES}
    with _stage("package") as told:
        files = {
            name: archive.File(one.file, one.rows, one.bytes, one.sha256)
            for name, one in by_name.items()
        }
        names = [*(file.name for file in files.values()), *archive.PAGES]
        target = snapshot.folder / file_format
        with (
            staging.fetched(target, names) as local,
            staging.fetched(snapshot.folder, [archive.DATA_QUALITY]) as record,
            staging.written(target) as folder,
        ):
            checked = record / archive.DATA_QUALITY
            archive.describe(folder, local, snapshot.period, file_format, files, checked)
            name = archive_name(snapshot.period)
            paths = [
                *(local / name for name in names),
                checked,
                folder / archive.DATA_PACKAGE,
                folder / archive.README,
            ]
            sha256 = archive.write(paths, folder / name)
            size = (folder / name).stat().st_size
            status = _read_quality(record).status
        told.append(f"{size:,} bytes")
    return Archive(
        # Who publishes from a staging area that is elsewhere fetches the archive first.
        path=(staging.local_path(target) or Path()) / name,
        period=snapshot.period,
        cadence=str(cadence),
        format=str(file_format),
        sha256=sha256,
        bytes=size,
        rows=rows,
        snapshot_at=snapshot.taken_at,
        run=run,
        code_version=__version__,
        data_quality=status,
    )


def publish(packaged: Archive, destination: Destination, *, replace: bool) -> Published:
    """Publishes the archive; raises PublishError or TemporaryError that names where it is kept."""
    with _stage("publish") as told:
        published = destination.publish(packaged, replace=replace)
        told += [
            published.address,
            f"revision {published.revision}",
            "new" if published.changed else "unchanged",
        ]
    return published


def consolidated(snapshot: Snapshot, computed: Iterable[Computed]) -> Iterator[bytes]:
    """The consolidated report of datasets in JSON, in pieces that are never a whole dataset."""
    files = {dataset.name: dataset.file for dataset in computed}
    dates = {"start": str(snapshot.period.start), "end": str(snapshot.period.end)}
    yield b'{\n"range": ' + json.dumps(dates).encode()
    with staging.fetched(snapshot.folder / Format.JSON, files.values()) as local:
        for name in datasets.NAMES:
            yield f',\n"{name}": '.encode()
            with (local / files[name]).open("rb") as file:
                while block := file.read(1 << 20):
                    yield block
    yield b"}\n"

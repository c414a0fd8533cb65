"""The pages: what is published, and what happened to the fasts in the last days.

They are made here and hold one small script, for the time within Airflow's own page; stored pages
hold none. Whatever changes from one look to the next is read from the
destination and the app's database when it is asked for.
"""

from __future__ import annotations

import logging
import lzma
import os
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime
from functools import cache
from http import HTTPStatus
from typing import Annotated, Any, BinaryIO
from urllib.parse import quote, urlencode

from airflow.api_fastapi.common.db.common import SessionDep
from fastapi import APIRouter, Depends, HTTPException, Request, Response
from fastapi.responses import HTMLResponse, StreamingResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from engagement import queries, recent_events
from engagement.app_database import CONNECTION_ID
from engagement.archive import DATA_QUALITY_PAGE, REPORT_PAGE
from engagement.catalog import Catalog, Entry, all_entries
from engagement.datasets import Format
from engagement.errors import EngagementError, TemporaryError, one_line
from engagement.period import Cadence
from engagement.published_record import Record
from engagement.rim.common import app_database, catalog
from engagement.rim.names import CADENCE_OF, report_dag_id
from engagement.rim.web import policies, published_by
from engagement.rim.web.guard import MAY_READ, MAY_TRIGGER, HasRightToTrigger
from engagement.settings import load

log = logging.getLogger(__name__)

PAGE_ROWS = 50
NEWEST_ROWS = 5
"""How many rows of each cadence stand on the first page."""

MEMBERS = {REPORT_PAGE, DATA_QUALITY_PAGE}
"""The members of an archive that are shown, by the last part of their address."""

# What opening and reading a zip file raises whose bytes are not as they were written: also of
# encryption and compressions that no report uses, of names, positions and a disk's bad blocks.
_DAMAGED = (
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    RuntimeError,
    ValueError,
    OSError,
)
# Far above any page that the report makes.
_MEMBER_BYTES = 16 << 20
_BLOCK_BYTES = 1 << 20

router = APIRouter(include_in_schema=False)


@dataclass(frozen=True, slots=True)
class Row:
    """One published archive as the pages tell it; without a record, what its name tells."""

    entry: Entry
    record: Record | None

    @property
    def address(self) -> str:
        """Where its parts are, under the application's own address."""
        return f"reports/{self.entry.cadence}/{self.entry.format}/{self.entry.name}"

    @property
    def period(self) -> str:
        """The period, as short as it can be told."""
        return told_period(self.entry.cadence, self.entry.start, self.entry.end)

    @property
    def dag_id(self) -> str:
        """The DAG that publishes such archives."""
        return report_dag_id(self.entry.cadence)

    @property
    def run_address(self) -> str | None:
        """Airflow's page of the run that published it; None where no run did."""
        if self.record is None or self.record.run is None:
            return None
        return run_address(self.dag_id, self.record.run)


def told_period(cadence: Cadence, start: date, end: date) -> str:
    """The days from `start` to `end`, both included, as one says them."""
    if cadence is Cadence.MONTHLY:
        return f"{start:%B %Y}"
    if start == end:
        return f"{start:%a %Y-%m-%d}"
    return f"{start} to {end}"


def told_bytes(size: int) -> str:
    """A size as one says it."""
    amount, unit = float(size), "B"
    for unit in ("B", "kB", "MB", "GB"):
        if amount < 1000 or unit == "GB":
            break
        amount /= 1000
    return f"{amount:,.0f} {unit}" if unit == "B" or amount >= 100 else f"{amount:.1f} {unit}"


def told_instant(text: str) -> str:
    """An instant in UTC to the minute."""
    return f"{datetime.fromisoformat(text).astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def run_address(dag_id: str, run_id: str) -> str:
    """Airflow's own page of a run, under Airflow's address."""
    return f"dags/{quote(dag_id, safe='')}/runs/{quote(run_id, safe='')}"


@cache
def _templates() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(queries.templates() / "view"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"size": told_bytes, "instant": told_instant}
    return environment


def wants_page(request: Request) -> bool:
    """Whether a browser asks for something to look at."""
    return "text/html" in request.headers.get("accept", "")


def _page(request: Request, name: str, status_code: int = 200, /, **values: Any) -> HTMLResponse:
    root = request.scope.get("root_path", "")
    text = (
        _templates()
        .get_template(f"{name}.html.jinja")
        .render(root=root, airflow=root.removesuffix("/engagement"), script=_script(), **values)
    )
    headers = {"Content-Security-Policy": policies.with_script(_script())}
    return HTMLResponse(text, status_code, headers=headers)


@cache
def _script() -> str:
    return (queries.templates() / "view" / "view.js").read_text(encoding="utf-8")


def error_page(request: Request, status_code: int, detail: str) -> Response:
    """A short page that says what is wrong."""
    title = HTTPStatus(status_code).phrase
    return _page(request, "message", status_code, title=title, text=detail)


def _told(what: str, error: EngagementError, informed: bool) -> str:
    """A failure to read `what`; hosts, buckets and users are told to those who may trigger."""
    message = one_line(error)
    log.error("%s", message)
    if informed:
        return f"{message[:1].upper()}{message[1:]}."
    if isinstance(error, TemporaryError):
        return f"The {what} did not answer as it should: try again later."
    return f"The {what} cannot be read as it is set up: the API server's log says what to do."


@contextmanager
def _answering(informed: bool) -> Iterator[None]:
    """What the destination fails with is told as 503, in the sentence that was made for it."""
    try:
        yield
    except EngagementError as error:
        told = _told("destination of the reports", error, informed)
        raise HTTPException(HTTPStatus.SERVICE_UNAVAILABLE, told) from None


def _opened_catalog(informed: HasRightToTrigger) -> Catalog:
    with _answering(informed):
        return catalog(load())


CatalogDep = Annotated[Catalog, Depends(_opened_catalog)]


def warm() -> None:
    """Looks at the newest reports, so that the first to look need not wait for libraries."""
    try:
        all_entries(catalog(load()), [*Cadence])
    except EngagementError as error:
        log.warning("the published reports were not listed: %s", one_line(error))


def _rows(found: Catalog, entries: Sequence[Entry]) -> list[Row]:
    records = found.records(entries)
    return [Row(*pair) for pair in zip(entries, records, strict=True)]


def _not_found(detail: str) -> HTTPException:
    return HTTPException(HTTPStatus.NOT_FOUND, detail)


@router.get("/", dependencies=[MAY_READ])
def index(
    request: Request,
    found: CatalogDep,
    may_trigger: HasRightToTrigger,
    cadence: str = "",
    format: str = "",  # noqa: A002  the parameter's name
    page: str = "1",
) -> Response:
    """What is published: the newest of every cadence, or all of one, in pages."""
    if cadence not in {"", *Cadence} or format not in {"", *Format}:
        raise _not_found("There is no such cadence or format.")
    cadences = [Cadence(cadence)] if cadence else [*Cadence]
    with _answering(may_trigger):
        entries = all_entries(found, cadences, Format(format) if format else None)
        pages = 1
        number = int(page) if page.isdecimal() and page.isascii() and len(page) < 10 else 0
        if cadence:
            pages = max(1, -(-len(entries[cadences[0]]) // PAGE_ROWS))
        if not 1 <= number <= pages:
            raise _not_found(f"There is no such page of the list: it has {pages}.")
        first = (number - 1) * PAGE_ROWS
        chosen = slice(first, first + PAGE_ROWS) if cadence else slice(NEWEST_ROWS)
        shown = {one: entries[one][chosen] for one in cadences}
        rows = iter(_rows(found, [entry for every in shown.values() for entry in every]))
        sections = [(one, len(entries[one]), [next(rows) for _ in shown[one]]) for one in cadences]
        newest = None if cadence else _newest(sections)
        newest_has_page = newest is not None and _has_page(found, newest.entry)
    recent = recent_events.Recent([], cut=False)
    timezone = failure = ""
    if not cadence:
        try:
            settings = load()
            timezone = settings.timezone
            recent = recent_events.read(app_database(CONNECTION_ID), settings, datetime.now(UTC))
        except EngagementError as error:
            failure = _told("app's database", error, may_trigger)
    return _page(
        request,
        "index",
        cadences=[*Cadence],
        formats=[*Format],
        cadence=cadence,
        format=format,
        sections=sections,
        page=number,
        pages=pages,
        link=_link,
        newest=newest,
        newest_has_page=newest_has_page,
        may_trigger=may_trigger,
        events=recent.events,
        events_cut=recent.cut,
        events_failure=failure,
        days=recent_events.DAYS,
        timezone=timezone,
    )


def _newest(sections: Sequence[tuple[Cadence, int, list[Row]]]) -> Row | None:
    """The report of the latest days; of several, the one whose snapshot is the latest."""
    told = [(row.record.snapshot_at, row) for _, _, rows in sections for row in rows if row.record]
    return max(told, key=lambda one: (one[1].entry.end, one[0]))[1] if told else None


def _has_page(found: Catalog, entry: Entry) -> bool:
    """Whether the archive is there, whole, and holds the report's page."""
    try:
        with found.open(entry) as file, zipfile.ZipFile(file) as opened:
            return REPORT_PAGE in opened.namelist()
    except _DAMAGED:
        return False


def _link(**parameters: str | int) -> str:
    """The query that asks for a list; what is empty is left out."""
    given = {name: value for name, value in parameters.items() if value}
    return f"?{urlencode(given)}" if given else ""


def _entry(cadence: str, file_format: str, name: str) -> Entry:
    entry = Entry.parse(cadence, file_format, name)
    if entry is None:
        raise _not_found("There is no such report.")
    return entry


EntryDep = Annotated[Entry, Depends(_entry)]


def _open(found: Catalog, entry: Entry) -> BinaryIO:
    try:
        return found.open(entry)
    except FileNotFoundError:
        raise _not_found("This report is not published, or not any more.") from None


@router.get("/reports/{cadence}/{file_format}/{name}/archive", dependencies=[MAY_TRIGGER])
def archive(found: CatalogDep, entry: EntryDep, may_trigger: HasRightToTrigger) -> Response:
    """The archive, to be saved."""
    with _answering(may_trigger):
        file = _open(found, entry)
        size = file.seek(0, os.SEEK_END)
        file.seek(0)

    def blocks() -> Iterator[bytes]:
        with file:
            while block := file.read(_BLOCK_BYTES):
                yield block

    return StreamingResponse(
        blocks(),
        media_type="application/zip",
        headers={
            "Content-Disposition": f'attachment; filename="{entry.name}"',
            "Content-Length": str(size),
        },
    )


@router.get("/reports/{cadence}/{file_format}/{name}/{member}", dependencies=[MAY_READ])
def stored_page(
    found: CatalogDep, entry: EntryDep, member: str, may_trigger: HasRightToTrigger
) -> Response:
    """A page out of the archive, as it was stored, under its own name: pages link to each other."""
    if member not in MEMBERS:
        raise _not_found("There is no such part of a report.")
    try:
        with (
            _answering(may_trigger),
            _open(found, entry) as file,
            zipfile.ZipFile(file) as opened,
            opened.open(member) as content,
        ):
            text = content.read(_MEMBER_BYTES + 1)
    except KeyError:
        raise _not_found(
            f"This archive holds no {member}: it was made by an older version. Run the report of "
            "the same days again to get one that does."
        ) from None
    except _DAMAGED:
        raise HTTPException(
            HTTPStatus.SERVICE_UNAVAILABLE,
            "This archive is damaged: restore it, or run the report again with replace.",
        ) from None
    if len(text) > _MEMBER_BYTES:
        raise HTTPException(HTTPStatus.SERVICE_UNAVAILABLE, f"{member} is too large to be shown.")
    return HTMLResponse(text, headers={"Content-Security-Policy": policies.STORED_PAGE})


@router.get("/dag", dependencies=[MAY_READ])
def dag_tab(
    request: Request, found: CatalogDep, may_trigger: HasRightToTrigger, dag_id: str = ""
) -> Response:
    """The newest reports of a DAG."""
    cadence = CADENCE_OF.get(dag_id)
    if cadence is None:
        return _page(request, "message", title="No reports", text=_NOT_OURS)
    with _answering(may_trigger):
        entries = found.entries(cadence)
        rows = _rows(found, entries[:PAGE_ROWS])
    return _page(
        request,
        "dag",
        cadence=cadence,
        rows=rows,
        total=len(entries),
        link=_link,
        may_trigger=may_trigger,
    )


_NOT_OURS = "This DAG publishes no engagement reports."


@router.get("/run", dependencies=[MAY_READ])
def run_tab(
    request: Request,
    found: CatalogDep,
    may_trigger: HasRightToTrigger,
    session: SessionDep,
    dag_id: str = "",
    run_id: str = "",
) -> Response:
    """The report that a run has published."""
    cadence = CADENCE_OF.get(dag_id)
    if cadence is None:
        return _page(request, "message", title="No report", text=_NOT_OURS)
    told = published_by.find(session, dag_id, run_id)
    if told is None:
        return _page(
            request,
            "message",
            title="No report yet",
            text="This run has published no report. One is there when its task publish has ended "
            "well.",
        )
    entry = Entry.of_key(told.key, found.prefix)
    if entry is None:
        return _page(
            request,
            "message",
            title="Published elsewhere",
            text="This run has published its report under another prefix than the one that is "
            f"shown here{f': {told.address}' if may_trigger else ''}.",
        )
    with _answering(may_trigger):
        row = _rows(found, [entry])[0]
    return _page(request, "run", row=row, told=told, run_id=run_id, may_trigger=may_trigger)

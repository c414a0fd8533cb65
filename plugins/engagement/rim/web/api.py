"""The API for the numbers of the app's events, under the rights that Airflow keeps.

Counts are for whoever may read the reports; events and users for whoever may trigger them. The
app's database is read as the role of the reports, through the connection `app_db`.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime
from functools import cache
from itertools import chain
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import quote

import psycopg
from airflow.api_fastapi.app import API_ROOT_PATH
from airflow.api_fastapi.common.dagbag import create_dag_bag
from airflow.api_fastapi.common.db.common import SessionDep
from airflow.api_fastapi.core_api.datamodels.dag_run import TriggerDAGRunPostBody
from airflow.api_fastapi.core_api.routes.public.dag_run import trigger_dag_run
from airflow.api_fastapi.core_api.security import GetUserDep
from airflow.api_fastapi.logging.decorators import action_logging
from fastapi import APIRouter, Depends, FastAPI, HTTPException, Path, Query, Request, status
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, StreamingResponse
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
from pydantic.json_schema import SkipJsonSchema

from engagement import event_counts, event_pages, event_reader, event_statistics
from engagement.app_database import CONNECTION_ID, Address
from engagement.errors import ConfigurationError, EngagementError, UsageError, one_line
from engagement.event_pages import Event, Filters, Page, Position
from engagement.event_statistics import EventTypes, FastStatistics, Statistics, UserStatistics
from engagement.period import parse_date
from engagement.rim.common import app_database
from engagement.rim.names import FAST_EVENTS
from engagement.rim.web.guard import MAY_READ, MAY_TRIGGER, MAY_TRIGGER_EVENTS
from engagement.settings import Settings, load

if TYPE_CHECKING:
    from starlette.types import Send

log = logging.getLogger(__name__)

_INTEGER, _BIGINT = (1 << 31) - 1, (1 << 63) - 1
_DIGITS = re.compile(r"-?\d{1,20}", re.ASCII)
_UNPROCESSABLE = status.HTTP_422_UNPROCESSABLE_CONTENT


class Problem(BaseModel):
    """What was wrong, in one sentence."""

    detail: str


class MilestoneRun(BaseModel):
    """A run of the DAG that checks a fast's milestones."""

    dag_run_id: str
    state: str
    url: str = Field(description="Where Airflow shows the run.")


def _integer(value: object) -> object:
    if isinstance(value, str) and not _DIGITS.fullmatch(value):
        raise ValueError("expected a whole number in digits alone")
    return value


def _date(value: object) -> object:
    try:
        return parse_date(value) if isinstance(value, str) else value
    except UsageError as error:
        raise ValueError(str(error)) from None


_Digits = BeforeValidator(_integer)
_Id = Annotated[int, _Digits, Field(ge=1, le=_INTEGER)]
_Day = Annotated[date, BeforeValidator(_date)]
_Absent = SkipJsonSchema[None]


class _Asked(BaseModel):
    model_config = ConfigDict(extra="forbid")

    event_type: str | _Absent = Field(
        None, max_length=100, description="Code of an event type, for example user_joined_fast."
    )
    target_type: str | _Absent = Field(
        None, max_length=201, description="What the event is about: hub.fast, or just fast."
    )
    target_id: Annotated[int, _Digits] | _Absent = Field(
        None, ge=0, le=_INTEGER, description="Its id; needs a target_type."
    )
    start_date: _Day | _Absent = Field(
        None, description="First day, in the report time zone, from 1970-01-01 on."
    )
    end_date: _Day | _Absent = Field(
        None, description="Last day, included; to 9998-12-31 at the latest."
    )

    def filters(self, user_id: int | None) -> Filters:
        """What is asked for; raises UsageError for what makes no sense."""
        return Filters(
            event_type=self.event_type,
            user_id=user_id,
            target_type=self.target_type,
            target_id=self.target_id,
            start=self.start_date,
            end=self.end_date,
        )


class _AskedOfAll(_Asked):
    user_id: _Id | _Absent = Field(None, description="Id of the user whose events they are.")


class _AskedPage(BaseModel):
    limit: Annotated[int, _Digits] = Field(
        100, ge=1, le=event_pages.MAX_PAGE, description="Events on the page, at most."
    )
    cursor: str | _Absent = Field(
        None, max_length=100, description="The `next` of the page before."
    )

    @property
    def after(self) -> Position | None:
        """Where the page before ended; raises UsageError."""
        return None if self.cursor is None else Position.parse(self.cursor)


class _PageOfAll(_AskedPage, _AskedOfAll):
    pass


class _PageOfUser(_AskedPage, _Asked):
    pass


def _no_query(request: Request) -> None:
    """Refuses what would be ignored."""
    unknown = [
        {
            "type": "extra_forbidden",
            "loc": ("query", name),
            "msg": "expected no such parameter",
            "input": value,
        }
        for name, value in request.query_params.items()
    ]
    if unknown:
        raise RequestValidationError(unknown)


def _no_body(request: Request) -> None:
    """Refuses what would be ignored."""
    length = request.headers.get("content-length", "0")
    if length != "0" or "transfer-encoding" in request.headers:
        problem = {"type": "extra_forbidden", "loc": ("body",), "msg": "expected no body"}
        raise RequestValidationError([problem])


def clock() -> datetime:
    """The instant of a request; what it reads looks back from there."""
    return datetime.now(UTC)


_NO_QUERY, _NO_BODY = Depends(_no_query), Depends(_no_body)
_Now = Annotated[datetime, Depends(clock)]
_EventId = Annotated[int, _Digits, Path(ge=1, le=_BIGINT)]
_UserId = Annotated[int, _Digits, Path(ge=1, le=_INTEGER)]
_FastId = Annotated[int, _Digits, Path(ge=1, le=_BIGINT)]

_NOT_FOUND: Any = {404: {"model": Problem, "description": "There is none of this id"}}

router = APIRouter(
    tags=["engagement"],
    responses={
        401: {"model": Problem, "description": "Not logged in"},
        403: {"model": Problem, "description": "Not allowed"},
        503: {"model": Problem, "description": "The app's database is away"},
    },
)
"""All routes, each with its right."""


@dataclass(frozen=True, slots=True)
class _Source:
    connection: psycopg.Connection
    timezone: str


@contextmanager
def _reading() -> Iterator[_Source]:
    settings = load()
    address = app_database(CONNECTION_ID)
    with event_reader.reading(address, settings) as connection:
        yield _Source(connection, settings.timezone)


@router.get("/events", summary="Events, newest first", dependencies=[MAY_TRIGGER])
def list_events(asked: Annotated[_PageOfAll, Query()]) -> Page:
    """Events that match every filter, page by page.

    `next` is the cursor of the page after, null where there is none. A page can hold fewer events
    than its limit, even none, where few of very many events match.
    """
    filters, after = asked.filters(asked.user_id), asked.after
    with _reading() as source:
        return event_pages.find_events(
            source.connection, filters, source.timezone, asked.limit, after
        )


def _none(kind: str, number: int) -> HTTPException:
    return HTTPException(status.HTTP_404_NOT_FOUND, f"there is no {kind} {number}")


@router.get(
    "/events.csv",
    summary="All events, as CSV",
    dependencies=[MAY_TRIGGER],
    response_class=StreamingResponse,
    responses={200: {"content": {"text/csv": {"schema": {"type": "string"}}}}},
)
def all_events_as_csv(asked: Annotated[_AskedOfAll, Query()]) -> StreamingResponse:
    """Every event that matches, newest first, as a stream of any length.

    UTF-8, lines ended by LF, null as the empty field and the empty text as `""`. A cell that a
    spreadsheet would run as a formula begins with an apostrophe. It begins with the event that is
    the newest when you ask; what is added or deleted further down before you have come there is
    told as it then is. Where the database fails on the way the connection is cut off.
    """
    settings = load()
    filters = asked.filters(asked.user_id)
    batches = event_pages.all_events(app_database(CONNECTION_ID), settings, filters)
    # What can be wrong is wrong before the answer begins.
    first = event_pages.CSV_HEADER + event_pages.as_csv(next(batches))
    return _CsvResponse(chain([first], map(event_pages.as_csv, batches)))


class _CsvResponse(StreamingResponse):
    """A stream that is cut off where it fails, so that a part of it is not taken for the whole."""

    media_type = "text/csv"

    def __init__(self, chunks: Iterable[str]) -> None:
        headers = {"Content-Disposition": 'attachment; filename="events.csv"'}
        super().__init__(chunks, headers=headers)

    async def stream_response(self, send: Send) -> None:
        try:
            await super().stream_response(send)
        except Exception as error:
            foreseen = isinstance(error, EngagementError)
            log.warning("events.csv was cut off: %s", one_line(error), exc_info=not foreseen)
            # Airflow's middleware ends the body in good order whatever is raised below it. It
            # passes this on, and the server closes the connection: in a body it is out of place.
            await send({"type": "http.response.pathsend", "path": ""})
            raise


@router.get(
    "/events/{event_id}", summary="One event", dependencies=[MAY_TRIGGER, _NO_QUERY],
    responses=_NOT_FOUND,
)  # fmt: skip
def one_event(event_id: _EventId) -> Event:
    """The event of an id."""
    with _reading() as source:
        found = event_pages.event(source.connection, event_id)
    if found is None:
        raise _none("event", event_id)
    return found


@router.get(
    "/users/{user_id}/events",
    summary="Events of a user",
    dependencies=[MAY_TRIGGER],
    responses=_NOT_FOUND,
)
def list_events_of_user(user_id: _UserId, asked: Annotated[_PageOfUser, Query()]) -> Page:
    """The user's events that match every filter, newest first, page by page."""
    filters, after = asked.filters(user_id), asked.after
    with _reading() as source:
        if not event_statistics.has_user(source.connection, user_id):
            raise _none("user", user_id)
        return event_pages.find_events(
            source.connection, filters, source.timezone, asked.limit, after
        )


def _closed_days(now: datetime) -> event_counts.ClosedDays:
    """Counted before a connection is taken, which would idle meanwhile."""
    return event_counts.closed_days(app_database(CONNECTION_ID), load(), now)


@router.get("/event-types", summary="Event types", dependencies=[MAY_READ, _NO_QUERY])
def list_event_types(now: _Now) -> EventTypes:
    """Every event type, with the number of its events."""
    closed = _closed_days(now)
    with _reading() as source:
        return event_statistics.event_types(source.connection, closed)


@router.get("/stats", summary="Statistics of all events", dependencies=[MAY_READ, _NO_QUERY])
def statistics(now: _Now) -> Statistics:
    """How many events there are by time, type and day, joins and leaves, and recent milestones.

    Days before that of `counted_at` were counted then, an hour ago at most where somebody asks
    often; whatever is newer is counted now.
    """
    closed = _closed_days(now)
    with _reading() as source:
        return event_statistics.statistics(source.connection, closed, source.timezone, now)


@router.get(
    "/stats/user/{user_id}",
    summary="Statistics of a user",
    dependencies=[MAY_TRIGGER, _NO_QUERY],
    responses=_NOT_FOUND,
)
def statistics_of_user(user_id: _UserId, now: _Now) -> UserStatistics:
    """The user's events by time and type, and the milestones."""
    with _reading() as source:
        found = event_statistics.user_statistics(source.connection, user_id, now)
    if found is None:
        raise _none("user", user_id)
    return found


@router.get(
    "/stats/fast/{fast_id}",
    summary="Statistics of a fast",
    dependencies=[MAY_READ, _NO_QUERY],
    responses=_NOT_FOUND,
)
def statistics_of_fast(fast_id: _FastId, now: _Now) -> FastStatistics:
    """Who takes part, by number, joins and leaves by day, and the milestones."""
    closed = event_counts.closed_fast_days(app_database(CONNECTION_ID), load(), fast_id, now)
    with _reading() as source:
        found = event_statistics.fast_statistics(
            source.connection, closed, source.timezone, fast_id, now
        )
    if found is None:
        raise _none("fast", fast_id)
    return found


@router.post(
    "/fasts/{fast_id}/check-milestones",
    summary="Check the milestones of a fast",
    dependencies=[MAY_TRIGGER_EVENTS, _NO_QUERY, _NO_BODY, Depends(action_logging())],
    responses=_NOT_FOUND,
)
def check_milestones(
    fast_id: _FastId, request: Request, user: GetUserDep, session: SessionDep
) -> MilestoneRun:
    """Starts a run of `fast_events` for this fast alone; it writes whatever is due of it."""
    with _reading() as source:
        if not event_statistics.has_fast(source.connection, fast_id):
            raise _none("fast", fast_id)
    body = TriggerDAGRunPostBody(logical_date=None, conf={"fast_ids": [fast_id]})
    try:
        run: Any = trigger_dag_run(FAST_EVENTS, body, _dag_bag(), user, session, request)
    except HTTPException as error:
        raise HTTPException(
            status.HTTP_503_SERVICE_UNAVAILABLE, f"Airflow starts no run: {error.detail}"
        ) from None
    return MilestoneRun(
        dag_run_id=run.run_id,
        state=run.state,
        url=f"{API_ROOT_PATH}dags/{FAST_EVENTS}/runs/{quote(run.run_id, safe='')}",
    )


@cache
def _dag_bag() -> Any:
    return create_dag_bag()


def warm() -> None:
    """Counts what takes longer than anybody waits; what fails is logged."""
    _count(event_counts.count_ahead)


def renew() -> None:
    """Counts the closed days anew where they were counted long ago, for whoever asks next."""
    _count(event_counts.closed_days)


def _count(count: Callable[[Address, Settings, datetime], object]) -> None:
    try:
        count(app_database(CONNECTION_ID), load(), clock())
    except EngagementError as error:
        log.warning("the events were not counted: %s", one_line(error))


def install_error_handlers(app: FastAPI) -> None:
    """Answers what is foreseen with one sentence: wrong input with 422, all else with 503."""
    app.add_exception_handler(EngagementError, _answer)


def _answer(_: Request, error: Exception) -> JSONResponse:
    message = one_line(error)
    if isinstance(error, UsageError):
        wrong = [{"type": "value_error", "loc": ["query"], "msg": message}]
        return JSONResponse({"detail": wrong}, _UNPROCESSABLE)
    # What the message names, hosts and users, is for those who read the log.
    log.error("%s", message)
    told = (
        "The app's database cannot be read as it is set up: the API server's log says what to do."
        if isinstance(error, ConfigurationError)
        else "The app's database did not answer as it should: try again later."
    )
    return JSONResponse({"detail": told}, status.HTTP_503_SERVICE_UNAVAILABLE)

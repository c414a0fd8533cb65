"""The app's events, as they are read for somebody who waits: the connection, and the types.

Addresses and user agents of an event are never read.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Self

import psycopg
from psycopg.rows import dict_row
from psycopg.types.json import set_json_loads

from engagement import queries
from engagement.app_database import Address, transaction
from engagement.errors import TemporaryError, UsageError
from engagement.settings import Settings

FAST = "hub.fast"
"""The content type of fasts."""

_NESTED = re.compile(r'"(?:[^"\\]|\\.)*"|[\[{]|[\]}]')
_MAX_DEPTH = 100


@contextmanager
def reading(address: Address, settings: Settings) -> Iterator[psycopg.Connection]:
    """A connection for somebody who waits: it, and each query, takes what the API's setting allows.

    Raises ConfigurationError, TemporaryError or EngagementError for whatever the database says.
    """
    seconds = settings.api_timeout_seconds
    hurried = settings.model_copy(
        update={"connect_timeout_seconds": min(settings.connect_timeout_seconds, seconds)}
    )
    with connected(address, hurried) as connection:
        set_parameters(connection, {"statement_timeout": f"{seconds}s"})
        try:
            yield connection
        except psycopg.errors.QueryCanceled:
            raise TemporaryError(
                f"a query of the view or the API ran longer than its {seconds} s: try again when "
                "the database is less busy, or raise ENGAGEMENT_API_TIMEOUT_SECONDS"
            ) from None


@contextmanager
def connected(address: Address, settings: Settings) -> Iterator[psycopg.Connection]:
    """A connection to one snapshot, with the time of a report's queries: nobody waits for it.

    Raises what `reading` does.
    """
    snapshot = psycopg.IsolationLevel.REPEATABLE_READ
    with transaction(
        address, settings, "engagement-api", read_only=True, isolation=snapshot
    ) as connection:
        set_json_loads(_load_json, connection)
        # Compiling a query would take longer than what it saves.
        set_parameters(connection, {"timezone": "UTC", "jit": "off"})
        yield connection


def set_parameters(connection: psycopg.Connection, parameters: Mapping[str, str]) -> None:
    """Sets parameters of the server, until the transaction ends."""
    connection.execute(
        "select set_config(name, value, true)"
        " from unnest(%(names)s::text[], %(values)s::text[]) as parameter (name, value)",
        {"names": [*parameters], "values": [*parameters.values()]},
    )


def _number(digits: str) -> float | str:
    """A number, or the text that it is where no double holds it, as most readers of JSON need."""
    if not math.isfinite(float(digits)):
        return digits
    return int(digits) if digits.lstrip("-").isdigit() else float(digits)


_decode = json.JSONDecoder(parse_float=_number, parse_int=_number).decode


def _load_json(stored: str | bytes) -> Any:
    """Any JSON; the text itself where it is nested deeper than most writers of JSON can follow."""
    text = stored if isinstance(stored, str) else stored.decode()
    return _decode(text) if _depth(text) <= _MAX_DEPTH else text


def _depth(text: str) -> int:
    if text.count("[") + text.count("{") <= _MAX_DEPTH:
        return 0
    depth = deepest = 0
    for mark in _NESTED.findall(text):
        if mark in "[{":
            depth += 1
            deepest = max(deepest, depth)
        elif mark in "]}":
            depth -= 1
    return deepest


def fetch(
    connection: psycopg.Connection, query: str, parameters: Mapping[str, object] | None = None
) -> list[dict[str, Any]]:
    """The rows that a query gives, each by the names of its columns."""
    return connection.cursor(row_factory=dict_row).execute(query, parameters).fetchall()


@dataclass(frozen=True, slots=True)
class EventType:
    """One type of event."""

    id: int
    code: str
    name: str
    category: str


@dataclass(frozen=True, slots=True)
class Catalogue:
    """The event types and content types that the app knows, by id."""

    event_types: Mapping[int, EventType]
    content_types: Mapping[int, str]

    @classmethod
    def read(cls, connection: psycopg.Connection) -> Self:
        """As they are in the database."""
        types = [EventType(**row) for row in fetch(connection, queries.read("api/event_types"))]
        content = fetch(connection, queries.read("api/content_types"))
        return cls({one.id: one for one in types}, {row["id"]: row["name"] for row in content})

    def event_type_id(self, code: str) -> int | None:
        """The id of the event type `code`, where there is one."""
        return next((one.id for one in self.event_types.values() if one.code == code), None)

    def content_type_id(self, name: str) -> int | None:
        """The id of the content type `app_label.model`, where there is one."""
        return next((key for key, known in self.content_types.items() if known == name), None)

    def asked_event_type_id(self, code: str) -> int:
        """The id of an event type that somebody asks for; raises UsageError naming those known."""
        found = self.event_type_id(code)
        if found is None:
            known = sorted(one.code for one in self.event_types.values())
            raise UsageError(
                f"event_type {code!r} is unknown: expected one of {', '.join(known) or 'none'}"
            )
        return found

    def asked_content_type_id(self, name: str) -> int:
        """The id of a content type that somebody asks for, as `app_label.model` or as `model`.

        Raises UsageError naming those known, or those that share the model's name.
        """
        exact = self.content_type_id(name)
        if exact is not None:
            return exact
        found = {
            key: known
            for key, known in self.content_types.items()
            if known.partition(".")[2] == name
        }
        if len(found) != 1:
            known = sorted(found.values() or self.content_types.values())
            what = "could be several" if found else "is unknown"
            raise UsageError(
                f"target_type {name!r} {what}: expected one of {', '.join(known) or 'none'}"
            )
        return next(iter(found))

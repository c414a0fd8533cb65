"""The SQL files: what each must say of itself, and what none of them may do."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

import duckdb
import pytest

from engagement import datasets, extract, quality, queries
from engagement.app_database import Address, snapshot
from engagement.datasets import Counts, Group, MeanGap, Part, Rows, Values
from engagement.period import Period
from engagement.session import DAYS, WEEKS, Session
from engagement.settings import Settings

FILES = sorted(queries.folder().rglob("*.sql"))
NAMES = [str(path.relative_to(queries.folder()).with_suffix("")) for path in FILES]
# They are no queries, and so have no grain.
WITHOUT_GRAIN = {"duckdb/functions", "roles"}

COMMENT = re.compile(r"--[^\n]*|/\*.*?\*/", re.DOTALL)
TEXT = re.compile(r"'(?:[^']|'')*'")
# What reads the clock or chance, as a function or as a keyword without brackets.
CALLS = (
    "now",
    "today",
    "age",
    "random",
    "setseed",
    "uuid",
    "uuidv4",
    "uuidv7",
    "gen_random_uuid",
    "gen_random_bytes",
    "random_normal",
    "uuid_generate_v1",
    "uuid_generate_v4",
    "clock_timestamp",
    "statement_timestamp",
    "transaction_timestamp",
    "timeofday",
    "get_current_timestamp",
    "get_current_time",
    "current_localtime",
    "current_localtimestamp",
)
WORDS = (
    "current_date",
    "current_time",
    "current_timestamp",
    "localtime",
    "localtimestamp",
    "tablesample",
    "using sample",
)
UNSTEADY = re.compile(
    rf"\b(?:(?:{'|'.join(CALLS)})\s*\(|(?:{'|'.join(WORDS).replace(' ', chr(92) + 's+')})\b)",
    re.IGNORECASE,
)
# The clock as a text that is cast.
UNSTEADY_TEXTS = {"now", "today", "tomorrow", "yesterday"}
# What reads an instant in the time zone of the session, or in one that the database knows.
ZONED = re.compile(
    r"\bat\s+time\s+zone\b|\btimezone\b|\bto_char\s*\(|\bextract\s*\("
    r"|\b(?:date_trunc|date_part|datepart|date_bin|time_bucket)\s*\("
    r"|::\s*(?:date|time|timestamp)\b(?!\[)|\bas\s+(?:date|time|timestamp)\s*\)",
    re.IGNORECASE,
)
WRITES = re.compile(r"\s*(?:insert|update|delete|merge)\b", re.IGNORECASE)
EVERYTHING = re.compile(r"\bselect\s+(?:distinct\s+|all\s+)?(?:\w+\.)?\*", re.IGNORECASE)


def code(text: str) -> str:
    """The SQL without its comments."""
    return COMMENT.sub(" ", text)


def unsteady(text: str) -> list[str]:
    """What of the query reads the clock or chance."""
    found = code(text)
    texts = [text[1:-1] for text in TEXT.findall(found)]
    return [
        *UNSTEADY.findall(TEXT.sub("''", found)),
        *(text for text in texts if text.strip().lower() in UNSTEADY_TEXTS),
    ]


def in_folder(*folders: str) -> list[str]:
    return [name for name in NAMES if name.startswith(tuple(f"{folder}/" for folder in folders))]


def test_there_are_queries_of_each_kind() -> None:
    assert {"extract", "metrics", "page", "quality", "duckdb"} <= {
        name.partition("/")[0] for name in NAMES
    }
    assert set(NAMES) >= WITHOUT_GRAIN


@pytest.mark.parametrize("name", NAMES)
def test_a_header_states_the_grain(name: str) -> None:
    """What a row is, on its first line; of a statement that writes, what it writes."""
    lines = (queries.folder() / f"{name}.sql").read_text(encoding="utf-8").splitlines()
    header = []
    for line in lines:
        if not line.startswith("-- "):
            break
        header.append(line.removeprefix("-- "))
    assert header
    if name in WITHOUT_GRAIN:
        assert not header[0].startswith("Grain:")
    elif WRITES.match(code(queries.read(name))):
        assert re.match(r"(Grain: one row|Writes|Adds|Changes|Removes)\b", header[0])
    else:
        grain = re.match(r"Grain: (one row( an?\b)?|as `\w+`)", header[0])
        assert grain
        if grain[2]:
            assert re.search(r"\b(Key|No key)\b", " ".join(header))
    assert " ".join(header).endswith(".")


@pytest.mark.parametrize("name", NAMES)
def test_nothing_reads_the_clock_or_chance(name: str) -> None:
    assert unsteady(queries.read(name)) == []


@pytest.mark.parametrize(
    "query",
    [
        "select now()",
        "select now ()",
        "select NOW() - x",
        "select pg_catalog.now()",
        "select current_date",
        "select a from t where d < Current_Timestamp",
        "select localtime",
        "select localtimestamp(3)",
        "select clock_timestamp()",
        "select today()",
        "select get_current_timestamp()",
        "select age(joined)",
        "select random()",
        "select gen_random_uuid()",
        "select uuid()",
        "select a from t using sample 10",
        "select a from t tablesample system (10)",
        "select cast('now' as timestamp)",
        "select date 'today'",
        "-- a comment\nselect now()",
    ],
)
def test_what_reads_the_clock_or_chance_is_found(query: str) -> None:
    assert unsteady(query)


@pytest.mark.parametrize(
    "query",
    [
        "select %(now)s as instant",
        "select $now",
        "select snow(), t.current_dates, know from t -- now(), current_date",
        "select a /* random() */ from t where b = 'now()'",
        "select 'it is now' || 'today''s'",
    ],
)
def test_what_only_looks_like_it_is_not(query: str) -> None:
    assert unsteady(query) == []


@pytest.mark.parametrize("name", NAMES)
def test_nothing_cuts_days_by_the_rules_of_a_database(name: str) -> None:
    """Days and weeks come as instants, cut by one time zone database for all."""
    assert ZONED.findall(code(queries.read(name))) == []


@pytest.mark.parametrize(
    "query",
    [
        "select timestamp at time zone 'UTC' from t",
        "select at AT  TIME\nZONE $zone from t",
        "select timezone('UTC', at) from t",
        "select date_trunc('week', at) from t",
        "select date_bin('1 day', at, $origin) from t",
        "select time_bucket(interval '7' day, at) from t",
        "set TimeZone = 'UTC'",
        "select current_setting('TimeZone')",
        "select at::date, at :: timestamp from t",
        "select cast(at as date)",
        "select cast(t.at as timestamp )",
        "select extract(hour from at)",
        "select date_part('hour', at)",
        "select to_char(at, 'YYYY')",
    ],
)
def test_what_cuts_days_by_the_rules_of_a_database_is_found(query: str) -> None:
    assert ZONED.findall(code(query))


@pytest.mark.parametrize("name", NAMES)
def test_every_column_is_named(name: str) -> None:
    assert EVERYTHING.findall(code(queries.read(name))) == []


@pytest.mark.parametrize(
    "query",
    ["select *\nfrom t", "select distinct *", "with a as (select b.* from b) select c from a"],
)
def test_a_query_for_every_column_is_found(query: str) -> None:
    assert EVERYTHING.findall(code(query))
    assert not EVERYTHING.findall(code("select count(*), 2 * a from t -- select *"))


@pytest.fixture
def session(tmp_path: Path) -> Iterator[Session]:
    with duckdb.connect() as connection:
        yield Session(connection, tmp_path, Period.parse("2026-01-01", "2026-01-31", "UTC"))


@pytest.mark.parametrize("name", in_folder("metrics", "page", "quality"))
def test_the_session_binds_every_parameter(name: str, session: Session) -> None:
    """And the query has none of the other engine's."""
    text = queries.read(name)
    named = set(re.findall(r"\$(\w*)", code(text)))
    assert set(session.bound(text)) == named
    assert "%(" not in text
    assert "?" not in TEXT.sub("''", code(text))


def test_a_parameter_that_the_session_does_not_bind(session: Session) -> None:
    names = {"start", "end", "start_instant", "end_instant", "previous_start_instant"}
    assert set(session.bound(f"select {', '.join(f'${name}' for name in names)}")) == names
    with pytest.raises(KeyError):
        session.bound("select $now")


@pytest.fixture
def extract_parameters(golden_address: Address, settings: Settings) -> set[str]:
    """The names that the extract binds."""
    with snapshot(golden_address, settings, "tests") as taken:
        period = Period.parse("2026-01-01", "2026-01-31", "UTC")
        return set(extract._parameters(taken, period))


def test_the_extract_binds_every_parameter(extract_parameters: set[str]) -> None:
    """And binds none that no query asks for; the lookups come before there are any."""
    asked: set[str] = set()
    for name in in_folder("extract"):
        text = code(queries.read(name))
        named = set(re.findall(r"%\((\w+)\)s", text))
        assert text.count("%") == len(re.findall(r"%\(\w+\)s", text)), name
        assert "$" not in text, name
        if name.startswith("extract/lookup/"):
            assert not named, name
        asked |= named
    assert asked == extract_parameters


def queries_of(parts: Iterable[Part]) -> Iterator[str]:
    for part in parts:
        match part:
            case Group(parts=inner):
                yield from queries_of(inner)
            case Values() | Rows() | Counts() | MeanGap():
                yield part.query


def test_every_dataset_has_its_queries_and_no_query_is_unused() -> None:
    used = {f"metrics/{dataset.name}" for dataset in datasets.TABLES}
    used |= {f"metrics/other_metrics/{query}" for query in queries_of(datasets.OTHER_METRICS.parts)}
    assert used <= set(NAMES)
    # Those that other queries read, directly or through one another, and one for CSV's header.
    shared = {f"metrics/shared/{name}" for name in queries.names("metrics/shared")}
    read = {"metrics/shared/activity_types"}
    todo = [*used, *in_folder("page", "quality"), *read]
    while todo:
        text = code(queries.read(todo.pop()))
        found = {f"metrics/shared/{name}" for name in re.findall(r"\b(?:from|join) (\w+)", text)}
        new = (found & shared) - read
        read |= new
        todo += new
    assert set(in_folder("metrics")) == used | read


def test_every_table_has_its_queries_and_no_query_is_unused() -> None:
    assert set(in_folder("extract")) - set(in_folder("extract/lookup")) == {
        f"extract/{table}" for table in extract.TABLES
    }
    assert set(in_folder("extract/lookup")) == {
        "extract/lookup/event_type_ids",
        "extract/lookup/fast_content_type_ids",
    }
    assert set(in_folder("quality")) == {f"quality/{table}" for table in (*quality.TABLES, DAYS)}
    assert set(in_folder("duckdb")) == {
        "duckdb/functions",
        "duckdb/first_registration",
        f"duckdb/{DAYS}",
        f"duckdb/{WEEKS}",
    }

"""The view inside Airflow: who sees what of it, and that nothing in it can act."""

from __future__ import annotations

import html
import io
import json
import re
import sqlite3
import subprocess
import sys
import zipfile
from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

import httpx
import psycopg
import pytest

from demo import app_tables, postgres
from demo.prepare import READER, grant_roles
from engagement import page
from tests.conftest import GOLDEN
from tests.publish.helpers import Bucket, make_archive
from tests.servers.airflow_api import Server
from tests.servers.faults import Answer, Proxy, proxy
from tests.test_page import checked, quiet

ROOT = Path(__file__).resolve().parent.parent
ROLES = ("admin", "user", "viewer")
SECRET = "planted-secret"
HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>"
DAY = "2026-01-31"
NAME = f"engagement_{DAY}_to_{DAY}.zip"
REPORT = f"/engagement/reports/daily/json/{NAME}"
BROWSER = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
PAGE = b"<!DOCTYPE html><title>the page</title><script>alert(1)</script>"
PAGES = {"report.html": PAGE, "data_quality.html": b"<!DOCTYPE html>quality"}
TO_READ = (
    "/engagement/",
    "/engagement/?cadence=daily&format=json&page=1",
    f"{REPORT}/report.html",
    f"{REPORT}/data_quality.html",
    "/engagement/dag?dag_id=engagement_daily",
    "/engagement/run?dag_id=engagement_daily&run_id=x",
    "/engagement/api/openapi.json",
)
TO_TRIGGER = (f"{REPORT}/archive",)


def zipped(members: dict[str, bytes] | None = None) -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as opened:
        opened.writestr("users.json", bytes(2**21))
        for name, content in (PAGES if members is None else members).items():
            opened.writestr(name, content)
    return target.getvalue()


@dataclass(frozen=True, slots=True)
class World:
    """Airflow's API server with the view in it, and what the view shows."""

    server: Server
    bucket: Bucket
    faults: Proxy
    folder: Path
    app_uri: str
    other_uri: str

    @property
    def url(self) -> str:
        return self.server.url

    @property
    def tokens(self) -> Mapping[str, str]:
        return self.server.tokens

    def get(
        self, path: str, role: str | None = "user", headers: dict[str, str] | None = None
    ) -> httpx.Response:
        """What is answered to a role; a browser asks unless there are other headers."""
        given = dict(BROWSER if headers is None else headers)
        if role:
            given["Authorization"] = f"Bearer {self.tokens[role]}"
        return httpx.get(f"{self.url}{path}", headers=given, timeout=60)

    def publish(self, day: str = DAY, content: bytes | None = None, **facts: Any) -> None:
        """Publish a daily report."""
        archive = make_archive(
            self.folder, content or zipped(), start=day, end=day, cadence="daily", **facts
        )
        self.bucket.destination().publish(archive, replace=True)


@pytest.fixture(scope="module")
def served(
    api_server: Server,
    shown_bucket: Bucket,
    database_server: postgres.Server,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[World]:
    app_uri = database_server.create_database("view_app")
    app_tables.apply_schema(app_uri)
    app_tables.load_csv_folder(app_uri, GOLDEN / "appdb")
    grant_roles(app_uri)
    api_server.connect_app_database(database_server.uri("view_app", READER))
    with proxy(shown_bucket.server.endpoint) as faults:
        api_server.connect(
            "aws_default",
            conn_type="aws",
            login="key",
            password=SECRET,
            extra=json.dumps(
                {
                    "region_name": "us-east-1",
                    "endpoint_url": faults.endpoint,
                    "config_kwargs": {"s3": {"addressing_style": "path"}},
                }
            ),
        )
        folder = tmp_path_factory.mktemp("view")
        yield World(
            api_server, shown_bucket, faults, folder, app_uri, database_server.uri("postgres")
        )
    database_server.drop_database("view_app")


@pytest.fixture
def world(served: World) -> World:
    """The same with nothing published and nothing failing."""
    for key in served.bucket.listing():
        served.bucket.server.client().delete_object(Bucket=served.bucket.name, Key=key)
    served.faults.heal()
    return served


def told(response: httpx.Response) -> str:
    """What a page says, without its markup and style."""
    body = re.sub(r"<style>.*?</style>", "", response.text, flags=re.DOTALL)
    return html.unescape(" ".join(re.sub(r"<[^>]*>", " ", body).split()))


def links(response: httpx.Response) -> list[str]:
    return [html.unescape(one) for one in re.findall(r'href="([^"]*)"', response.text)]


@pytest.mark.parametrize("path", [*TO_READ, *TO_TRIGGER])
def test_nobody_sees_anything_without_a_login(world: World, path: str) -> None:
    world.publish()
    world.faults.heal()

    anonymous = world.get(path, None, {})
    browsing = world.get(path, None)
    wrong = world.get(path, None, {"Authorization": "Bearer wrong"})

    assert anonymous.status_code == 401
    assert anonymous.headers["content-type"] == "application/json"
    assert browsing.status_code == 307
    login = urlsplit(browsing.headers["location"])
    assert login.path == "/auth/login"
    assert parse_qs(login.query)["next"] == [f"{world.url}{path}"]
    assert wrong.status_code == 403
    assert world.faults.requests == []


@pytest.mark.parametrize("path", TO_READ)
def test_whoever_may_read_the_dags_sees_counts(world: World, path: str) -> None:
    world.publish()

    assert [world.get(path, role).status_code for role in ROLES] == [200, 200, 200]


@pytest.mark.parametrize("path", TO_TRIGGER)
def test_what_is_personal_needs_the_right_to_trigger(world: World, path: str) -> None:
    world.publish()
    world.faults.heal()

    refused = world.get(path, "viewer")

    assert refused.status_code == 403
    assert world.faults.requests == []
    assert [world.get(path, role).status_code for role in ("admin", "user")] == [200, 200]


def test_a_cookie_is_a_login_too(world: World) -> None:
    world.publish()
    cookie = {"Cookie": f"_token={world.tokens['viewer']}"}

    assert world.get("/engagement/", None, {**BROWSER, **cookie}).status_code == 200
    assert world.get(TO_TRIGGER[0], None, {**BROWSER, **cookie}).status_code == 403


@pytest.mark.parametrize(
    ("path", "role", "status", "made_here"),
    [
        ("/engagement/", "user", 200, True),
        ("/engagement/", None, 307, False),
        (f"{REPORT}/archive", "user", 200, False),
        (f"{REPORT}/archive", "viewer", 403, True),
        (f"{REPORT}/report.html", "user", 200, False),
        ("/engagement/no-such-page", "user", 404, True),
        ("/engagement/api/openapi.json", "user", 200, False),
    ],
)
def test_every_answer_carries_the_headers(
    world: World, path: str, role: str | None, status: int, made_here: bool
) -> None:
    world.publish()

    response = world.get(path, role)

    assert response.status_code == status
    policy = {
        words[0]: words[1:]
        for words in (one.split() for one in response.headers["content-security-policy"].split(";"))
    }
    assert policy["default-src"] == ["'none'"]
    assert policy["style-src"] == ["'unsafe-inline'"]
    assert policy["frame-ancestors"] == ["'self'"]
    assert policy["form-action"] == policy["base-uri"] == ["'none'"]
    if made_here:
        (script,) = re.findall("<script>(.*?)</script>", response.text, flags=re.DOTALL)
        digest = b64encode(sha256(script.encode()).digest()).decode()
        assert policy["script-src"] == [f"'sha256-{digest}'"]
    else:
        assert "script-src" not in policy
    assert response.headers["x-content-type-options"] == "nosniff"
    assert response.headers["referrer-policy"] == "same-origin"
    assert response.headers["cache-control"].startswith("private")


@pytest.mark.parametrize("path", ["docs", "redoc", "openapi.json"])
def test_the_description_is_nowhere_else(world: World, path: str) -> None:
    assert world.get(f"/engagement/{path}", None, {}).status_code == 404


def test_the_description_tells_the_api_alone(world: World) -> None:
    description = world.get("/engagement/api/openapi.json").json()

    assert description["servers"] == [{"url": "/engagement"}]
    assert "/api/events" in description["paths"]
    assert all(path.startswith("/api/") for path in description["paths"])
    assert world.get("/engagement/api/event-types", headers={}).status_code == 200


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
@pytest.mark.parametrize("path", [*TO_READ, *TO_TRIGGER])
def test_nothing_can_be_changed(world: World, method: str, path: str) -> None:
    headers = {"Authorization": f"Bearer {world.tokens['admin']}"}

    assert httpx.request(method, f"{world.url}{path}", headers=headers).status_code == 405


def test_nothing_is_published_yet(world: World) -> None:
    page = told(world.get("/engagement/"))

    for cadence in ("daily", "weekly", "monthly", "on-demand"):
        assert f"No {cadence} report is published yet." in page
    assert "no fast began or ended" in page
    listed = told(world.get("/engagement/?cadence=daily&format=csv"))
    assert "No daily report is published in the format csv yet." in listed
    tab = told(world.get("/engagement/dag?dag_id=engagement_weekly"))
    assert "No weekly report is published yet" in tab


def test_what_is_published_is_listed_newest_first(world: World) -> None:
    world.publish("2026-01-30")
    world.publish("2026-01-31", run="manual__x y/z+00:00")
    world.publish("2026-01-31", zipped({}), run="second", data_quality="warned")
    monthly = make_archive(world.folder, cadence="monthly", run=None)
    world.bucket.destination().publish(monthly, replace=False)

    response = world.get("/engagement/")

    page = told(response)
    size = "2.1 MB"
    assert (
        f"Sat {DAY} json {size} 2 warned 2026-02-01 08:15 UTC second Report Archive "
        f"Fri 2026-01-30 json {size} 1 passed 2026-02-01 08:15 UTC "
        "scheduled__2026-02-01T00:00:00+00:00 Report Archive" in page
    )
    assert "January 2026 json 10 B 1 passed 2026-02-01 08:15 UTC none: command line" in page
    run = "/dags/engagement_daily/runs/scheduled__2026-02-01T00%3A00%3A00%2B00%3A00"
    assert {run, f"{REPORT}/report.html", f"{REPORT}/data_quality.html", f"{REPORT}/archive"} <= {
        *links(response)
    }


def test_the_newest_report_is_shown_where_it_has_a_page(world: World) -> None:
    world.publish("2026-01-30")
    assert f'src="/engagement/reports/daily/json/{NAME.replace("31", "30")}/report.html"' in (
        world.get("/engagement/").text
    )
    world.publish("2026-01-31", zipped({"report.json": b"older"}))
    response = world.get("/engagement/")
    assert "Daily report, Sat 2026-01-31" in told(response)
    assert "<iframe" not in response.text


def test_who_may_not_trigger_is_told_why_there_is_no_archive(world: World) -> None:
    world.publish()
    for path in ("/engagement/", "/engagement/dag?dag_id=engagement_daily"):
        viewer = world.get(path, "viewer")

        assert f"{REPORT}/report.html" in links(viewer)
        assert not any(link.endswith("/archive") for link in links(viewer))
        assert "they open to those who may trigger the DAGs" in told(viewer)
        assert f"{REPORT}/archive" in links(world.get(path, "user"))


def test_a_long_list_reads_the_records_of_its_page_alone(world: World) -> None:
    client = world.bucket.server.client()
    for back in range(120):
        day = date.fromisoformat(DAY) - timedelta(days=back)
        key = f"base/engagement-reports/daily/json/engagement_{day}_to_{day}.zip"
        client.put_object(Bucket=world.bucket.name, Key=key, Body=b"")
    pages = []
    for number in (1, 2, 3):
        world.faults.heal()
        pages.append(world.get(f"/engagement/?cadence=daily&page={number}"))
        assert len(world.faults.asked("GET")) == 1
        assert len(world.faults.asked("HEAD")) == (50, 50, 20)[number - 1]
        assert world.faults.asked("GET", ".zip") == []

    days = [re.findall(r'"Period">\w+ ([\d-]+)', page.text) for page in pages]
    expected = [str(date.fromisoformat(DAY) - timedelta(days=back)) for back in range(120)]
    assert days == [expected[:50], expected[50:100], expected[100:]]
    assert "/engagement/?cadence=daily&page=2" in links(pages[0])
    assert "/engagement/?cadence=daily&page=3" in links(pages[1])
    assert "/engagement/?cadence=daily&page=1" in links(pages[1])
    assert "Page 3 of 3" in told(pages[2])
    assert "the record beside the archive is missing or damaged" in told(pages[0])


@pytest.mark.parametrize(
    "query", ["cadence=hourly", "format=xml", "page=0", "page=2", "page=-1", "page=x", "page=²"]
)
def test_a_list_that_does_not_exist_is_not_found(world: World, query: str) -> None:
    assert world.get(f"/engagement/?{query}").status_code == 404


def test_a_page_that_does_not_exist_leads_to_those_that_do(world: World) -> None:
    response = world.get("/engagement/no-such-page", "viewer")
    assert response.status_code == 404
    assert response.text.partition("<body>")[2].count("Not Found") == 1
    assert links(response) == ["/engagement/"]


def test_pages_come_out_of_the_archive_and_cannot_act(world: World) -> None:
    world.publish()
    world.faults.heal()

    page = world.get(f"{REPORT}/report.html", "viewer")

    assert page.content == PAGE
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    policy = page.headers["content-security-policy"]
    assert policy.startswith("sandbox allow-same-origin; default-src 'none'")
    assert "allow-scripts" not in policy
    ranges = [one.headers["Range"] for one in world.faults.asked("GET", ".zip")]
    bounds = [list(map(int, one.removeprefix("bytes=").split("-"))) for one in ranges]
    assert 0 < sum(last - first + 1 for first, last in bounds) < 2**20
    assert world.get(f"{REPORT}/data_quality.html").content == PAGES["data_quality.html"]


def test_an_older_archive_says_that_it_has_no_page(world: World) -> None:
    world.publish(content=zipped({}))

    for member in ("report.html", "data_quality.html"):
        response = world.get(f"{REPORT}/{member}")
        assert response.status_code == 404
        assert f"This archive holds no {member}: it was made by an older version" in told(response)


def spoiled(value: bytes, *, local: int, central: int | None, method: int = 0) -> bytes:
    """An archive of one page with `value` at these places of its two headers, or of one."""
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", method) as opened:
        opened.writestr("report.html", PAGE * 10)
    content = bytearray(target.getvalue())
    for header, place in ((b"PK\x03\x04", local), (b"PK\x01\x02", central)):
        if place is not None:
            begin = content.index(header) + place
            content[begin : begin + len(value)] = value
    return bytes(content)


DAMAGED = {
    "no zip": b"no zip at all",
    "encrypted": spoiled(b"\x01", local=6, central=8),
    "a name that is none": spoiled(b"\x00\x08", local=6, central=8).replace(b"repo", b"\xff" * 4),
    "unknown compression": spoiled(b"\x63", local=8, central=10),
    "not deflated": spoiled(b"\x08", local=8, central=10),
    "not bzip2": spoiled(b"\x0c", local=8, central=10),
    "not lzma": spoiled(b"\xff" * 8, local=50, central=None, method=zipfile.ZIP_LZMA),
}


@pytest.mark.parametrize("content", DAMAGED.values(), ids=DAMAGED)
def test_a_damaged_archive_is_told(world: World, content: bytes) -> None:
    world.publish(content=content)

    assert world.get("/engagement/").status_code == 200
    response = world.get(f"{REPORT}/report.html")

    assert response.status_code == 503
    assert "This archive is damaged" in told(response)


def test_an_archive_downloads_whole(world: World) -> None:
    content = zipped()
    world.publish(content=content)

    response = world.get(f"{REPORT}/archive")

    assert response.content == content
    assert response.headers["content-disposition"] == f'attachment; filename="{NAME}"'
    assert response.headers["content-length"] == str(len(content))
    assert response.headers["content-type"] == "application/zip"
    assert response.headers["cache-control"] == "private, no-store"


@pytest.mark.parametrize("part", ["report.html", "data_quality.html", "archive"])
def test_what_is_not_published_is_not_found(world: World, part: str) -> None:
    response = world.get(f"{REPORT}/{part}")

    assert response.status_code == 404
    assert "This report is not published, or not any more." in told(response)


@pytest.mark.parametrize(
    "path",
    [
        f"reports/hourly/json/{NAME}/report.html",
        f"reports/daily/xml/{NAME}/report.html",
        f"reports/daily/json/{NAME}/users.json",
        f"reports/daily/json/{NAME}x/report.html",
        "reports/daily/json/latest.json/report.html",
        "reports/daily/json/latest.json/archive",
        f"reports/daily/json/..%2F{NAME}/archive",
        f"reports/daily/..%2Fdaily%2Fjson/{NAME}/archive",
        f"reports/%2E%2E/json/{NAME}/archive",
        f"reports/daily/json/%2E%2E%2Fjson%2F{NAME}/archive",
        f"reports/daily/json/{NAME}%00/archive",
        f"reports/daily/json/{NAME}%0A/report.html",
        "reports/daily/json/engagement_2026-01-32_to_2026-02-01.zip/report.html",
    ],
)
def test_names_lead_nowhere_else(world: World, path: str) -> None:
    world.publish()
    world.faults.heal()

    assert world.get(f"/engagement/{path}").status_code == 404
    assert world.faults.requests == []


def test_the_tab_of_a_dag_lists_its_reports(world: World) -> None:
    world.publish()

    ours = told(world.get("/engagement/dag?dag_id=engagement_daily"))
    other_cadence = told(world.get("/engagement/dag?dag_id=engagement_on_demand"))
    others = world.get(f"/engagement/dag?dag_id={quote(HOSTILE)}")

    assert f"Sat {DAY} json" in ours
    assert "No on-demand report is published yet" in other_cadence
    assert others.status_code == 200
    assert "This DAG publishes no engagement reports." in told(others)
    assert HOSTILE not in others.text


def event(world: World, run: str, **facts: object) -> None:
    """Plant what a run's task publish leaves in Airflow's database."""
    extra = {
        "key": f"base/engagement-reports/daily/json/{NAME}",
        "address": f"s3://{world.bucket.name}/base/engagement-reports/daily/json/{NAME}",
        "sha256": "0" * 64,
        "revision": 1,
        "changed": True,
        **facts,
    }
    with closing(sqlite3.connect(world.server.metadata)) as connection, connection:
        connection.execute(
            'insert into asset (name, uri, "group", extra, created_at, updated_at)'
            " values ('engagement_report_daily', 'x-engagement://reports/daily', 'asset', '{}',"
            " current_timestamp, current_timestamp) on conflict do nothing"
        )
        connection.execute(
            "insert into asset_event (asset_id, extra, source_task_id, source_dag_id,"
            " source_run_id, source_map_index, timestamp)"
            " select id, ?, 'publish', 'engagement_daily', ?, -1, current_timestamp"
            " from asset where name = 'engagement_report_daily'",
            (json.dumps(extra), run),
        )


def run_tab(world: World, run: str, dag: str = "engagement_daily") -> httpx.Response:
    return world.get(f"/engagement/run?dag_id={dag}&run_id={quote(run, safe='')}")


def test_the_tab_of_a_run_shows_what_it_has_published(world: World) -> None:
    content = zipped()
    world.publish(content=content, run=HOSTILE)
    sha256 = make_archive(world.folder, content).sha256
    event(world, HOSTILE, sha256=sha256)
    event(world, "unchanged", sha256=sha256, changed=False)
    event(world, "replaced")
    event(world, "elsewhere", key="other/daily/json/x.zip", address=f"s3://other/{HOSTILE}")

    mine = run_tab(world, HOSTILE)
    assert "Daily report, Sat 2026-01-31" in told(mine)
    assert f"Published by {HOSTILE}" in html.unescape(mine.text.replace("</dt><dd>", " "))
    assert HOSTILE not in mine.text
    assert {f"{REPORT}/report.html", f"{REPORT}/archive"} <= {*links(mine)}
    assert "the same to the last byte" in told(run_tab(world, "unchanged"))
    assert "Revision 1 has replaced it since" in told(run_tab(world, "replaced"))
    elsewhere = run_tab(world, "elsewhere")
    assert "under another prefix than the one that is shown here" in told(elsewhere)
    assert HOSTILE not in elsewhere.text
    assert "This run has published no report." in told(run_tab(world, "none"))
    assert "publishes no engagement reports" in told(run_tab(world, HOSTILE, "fast_events"))
    for run in (HOSTILE, "unchanged"):
        # Its archive is gone, which is no reason to fail.
        world.bucket.server.client().delete_object(
            Bucket=world.bucket.name, Key=f"base/engagement-reports/daily/json/{NAME}"
        )
        assert "The archive or its record is gone" in told(run_tab(world, run))


def test_hostile_run_ids_are_inert(world: World) -> None:
    world.publish(run=HOSTILE)

    response = world.get("/engagement/")

    assert HOSTILE in told(response) or HOSTILE in html.unescape(response.text)
    assert HOSTILE not in response.text
    assert response.text.count("<script") == 1
    assert f"/dags/engagement_daily/runs/{quote(HOSTILE, safe='')}" in links(response)


def plant(
    world: World, code: str, days_ago: int, data: str = "{}", user: int | None = None
) -> None:
    with psycopg.connect(world.app_uri) as connection:
        connection.execute(
            "insert into events_event (object_id, title, description, data, timestamp, user_agent,"
            " created_at, content_type_id, event_type_id, user_id)"
            " select 999001, 'a title', '', %s::jsonb, %s, 'an agent', now(),"
            " (select id from django_content_type where app_label = 'hub' and model = 'fast'),"
            " id, %s from events_eventtype where code = %s",
            (data, datetime.now(UTC) - timedelta(days=days_ago), user, code),
        )


@pytest.fixture
def events(world: World) -> Iterator[Callable[..., None]]:
    """Plants an event of a fast with a hostile name."""
    with psycopg.connect(world.app_uri) as connection:
        connection.execute(
            "insert into events_eventtype (code, name, description, category, is_active,"
            " track_in_analytics, requires_target, created_at, updated_at)"
            " select code, code, '', 'x', true, true, true, now(), now() from unnest(array["
            " 'fast_beginning', 'fast_ending', 'devotional_available',"
            " 'fast_participant_milestone', 'user_milestone_reached']) as code"
            " on conflict do nothing"
        )
        connection.execute(
            "insert into hub_fast (id, name, church_id, year, has_day_zero)"
            " select 999001, %s, min(id), 2026, false from hub_church",
            (HOSTILE,),
        )
    yield lambda *arguments, **options: plant(world, *arguments, **options)
    with psycopg.connect(world.app_uri) as connection:
        connection.execute("delete from events_event where object_id = 999001")
        connection.execute("delete from hub_fast where id = 999001")


def test_what_happened_to_the_fasts_names_no_person(
    world: World, events: Callable[..., None]
) -> None:
    events("fast_beginning", 1)
    events("fast_ending", 0)
    events("fast_ending", 15)
    for milestone in (100, 25, 50):
        events("fast_participant_milestone", 1, json.dumps({"milestone": milestone}))
    for user in (1, 2, 3):
        data = {"milestone_type": "first_fast_join", "fast_name": "x"}
        events("user_milestone_reached", 1, json.dumps(data), user)
    today = datetime.now(UTC).date()
    yesterday = today - timedelta(days=1)

    response = world.get("/engagement/", "viewer")

    fast = f"{HOSTILE} (2026)"
    rows = [
        [html.unescape(re.sub("<[^>]*>", "", cell)) for cell in re.findall("<td.*?</td>", row)]
        for row in re.findall("<tr>(.*?)</tr>", response.text, flags=re.DOTALL)
    ]
    assert [row for row in rows if fast in row] == [
        [str(today), fast, "The fast has ended", ""],
        [str(yesterday), fast, "The fast begins", ""],
        [str(yesterday), fast, "Participants reached", "25, 50, 100"],
        [str(yesterday), fast, "First fast joined", "3"],
    ]
    assert "Days of the time zone UTC." in told(response)
    assert HOSTILE not in response.text
    assert "a title" not in response.text
    assert "an agent" not in response.text


def test_only_who_may_ask_the_api_is_told_of_it(world: World, events: Callable[..., None]) -> None:
    with psycopg.connect(world.app_uri) as connection:
        connection.execute("delete from events_event where timestamp > now() - interval '15 days'")
    for milestone in range(300):
        events("fast_participant_milestone", 1, json.dumps({"milestone": milestone}))
    assert "299" in told(world.get("/engagement/"))
    assert "There are more" not in told(world.get("/engagement/"))
    events("fast_participant_milestone", 2, json.dumps({"milestone": 300}))

    assert "There are more, which are older: the API tells all." in told(world.get("/engagement/"))
    viewer = told(world.get("/engagement/", "viewer"))
    assert "There are more, which are older." in viewer
    assert "API" not in viewer


def test_the_database_away_is_told_in_place(world: World) -> None:
    world.publish()
    with psycopg.connect(world.other_uri, autocommit=True) as connection:
        connection.execute("alter database view_app allow_connections false")
        try:
            user, viewer = world.get("/engagement/"), world.get("/engagement/", "viewer")
        finally:
            connection.execute("alter database view_app allow_connections true")

    for response in (user, viewer):
        assert response.status_code == 200
        assert f"Sat {DAY} json" in told(response)
    assert "The app's database refused the connection" in told(user)
    assert "app_db (AIRFLOW_CONN_APP_DB)" in told(user)
    assert "The app's database cannot be read as it is set up" in told(viewer)
    assert "AIRFLOW_CONN" not in viewer.text


@pytest.mark.parametrize("path", [path for path in TO_READ if "api" not in path][:5])
def test_the_destination_away_is_told(world: World, path: str) -> None:
    world.publish()
    for method in ("GET", "HEAD"):
        world.faults.fail(Answer(503, "SlowDown"), method)

    user, viewer = world.get(path), world.get(path, "viewer")

    assert (user.status_code, viewer.status_code) == (503, 503)
    assert "the S3 server" in told(user)
    assert "is failing or busy" in told(user)
    assert "The destination of the reports did not answer as it should: try again later." in (
        told(viewer)
    )
    assert world.faults.endpoint not in viewer.text
    assert SECRET not in user.text + viewer.text


def test_wrong_credentials_are_told_without_them(world: World) -> None:
    world.faults.fail(Answer(403, "InvalidAccessKeyId"), "GET")

    user, viewer = world.get("/engagement/"), world.get("/engagement/", "viewer")

    assert (user.status_code, viewer.status_code) == (503, 503)
    assert "refuses the credentials" in told(user)
    assert "the API server's log says what to do" in told(viewer)
    assert SECRET not in user.text + viewer.text


def test_the_navigation_and_the_tabs_are_registered(world: World) -> None:
    answer = world.get("/api/v2/plugins", "admin", {}).json()

    (plugin,) = [one for one in answer["plugins"] if one["name"] == "engagement"]
    assert [one["url_prefix"] for one in plugin["fastapi_apps"]] == ["/engagement"]
    assert {one["destination"]: one["href"] for one in plugin["external_views"]} == {
        "nav": "engagement/",
        "dag": "engagement/dag?dag_id={DAG_ID}",
        "dag_run": "engagement/run?dag_id={DAG_ID}&run_id={RUN_ID}",
    }


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> subprocess.CompletedProcess[str]:
    """A process that loads the plugin, then starts the application: what it reads ahead fails."""
    script = (
        "import sys, airflow.plugins_manager\n"
        "before = set(sys.modules)\n"
        "import engagement_plugin\n"
        "plugin = engagement_plugin.EngagementPlugin()\n"
        "plugin.external_views, plugin.name\n"
        "print('imported', sorted(set(sys.modules) - before))\n"
        "assert plugin.fastapi_apps is plugin.fastapi_apps\n"
        "heavy = {'pyarrow', 'duckdb', 'pandas', 'matplotlib', 'great_expectations', 'boto3'}\n"
        "print('heavy', sorted(heavy & (set(sys.modules) - before)))\n"
        "import asyncio, threading\n"
        "from engagement.rim.web import api, app, view\n"
        "records, blocked = [], threading.Event()\n"
        "app.log.addFilter(lambda record: records.append(record))\n"
        "def fail():\n"
        "    raise LookupError('unforeseen')\n"
        "def wait():\n"
        "    blocked.wait(60)\n"
        "    print('read late')\n"
        "async def live(first, second):\n"
        "    view.warm, api.warm = first, second\n"
        "    before = set(threading.enumerate())\n"
        "    async with app._lifespan(app.create_app()):\n"
        "        print('serving')\n"
        "        blocked.set()\n"
        "        for thread in set(threading.enumerate()) - before:\n"
        "            if thread.daemon and '_read_ahead' in thread.name:\n"
        "                thread.join(60)\n"
        "asyncio.run(live(lambda: print('read'), fail))\n"
        "app.READ_AHEAD_SECONDS = 0.01\n"
        "blocked.clear()\n"
        "asyncio.run(live(wait, wait))\n"
        "app.RENEW_SECONDS, counted = 0.01, threading.Semaphore(0)\n"
        "view.warm = api.warm = lambda: None\n"
        "api.renew = counted.release\n"
        "async def live_on():\n"
        "    before = set(threading.enumerate())\n"
        "    async with app._lifespan(app.create_app()):\n"
        "        print('counted anew', counted.acquire(timeout=60), counted.acquire(timeout=60))\n"
        "    for thread in set(threading.enumerate()) - before:\n"
        "        if '_count_anew' in thread.name:\n"
        "            thread.join(60)\n"
        "            print('counted on', thread.is_alive())\n"
        "asyncio.run(live_on())\n"
        "for record in records:\n"
        "    print(record.levelname, record.getMessage(), record.exc_info[1])\n"
    )
    home = tmp_path_factory.mktemp("loaded")
    return subprocess.run(
        [sys.executable, "-c", script],
        env={"AIRFLOW_HOME": str(home), "PYTHONPATH": str(ROOT / "plugins"), "PATH": ""},
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )


def printed(process: subprocess.CompletedProcess[str], *beginnings: str) -> list[str]:
    return [line for line in process.stdout.splitlines() if line.startswith(beginnings)]


def test_every_process_of_airflow_loads_the_plugin_lightly(
    loaded: subprocess.CompletedProcess[str],
) -> None:
    """And only who asks for the application gets it."""
    told = printed(loaded, "imported", "heavy")
    assert told == ["imported ['engagement_plugin']", "heavy []"]


def test_what_fails_while_it_is_read_ahead_is_one_error_in_the_log(
    loaded: subprocess.CompletedProcess[str],
) -> None:
    """And the application is there as if nothing had been read."""
    assert printed(loaded, "ERROR") == ["ERROR nothing was read ahead by __main__.fail unforeseen"]
    assert "Traceback" not in loaded.stderr


def test_a_start_waits_for_what_is_read_ahead_but_not_for_long(
    loaded: subprocess.CompletedProcess[str],
) -> None:
    told = printed(loaded, "serving", "read")
    assert told == ["read", "serving", "serving", "read late", "read late"]


def test_the_events_are_counted_anew_while_it_is_served(
    loaded: subprocess.CompletedProcess[str],
) -> None:
    told = printed(loaded, "counted")
    assert told[0] == "counted anew True True"
    assert told[1:] in ([], ["counted on False"])


def test_the_pages_of_a_report_link_to_each_other(world: World) -> None:
    """They are served under the names that they have in the archive."""
    facts = quiet(quality=checked())
    pages = {
        "report.html": page.report(facts).encode(),
        "data_quality.html": page.data_quality(facts.quality).encode(),
    }
    world.publish(content=zipped(pages))
    linked = links(world.get(f"{REPORT}/report.html", "viewer"))
    assert linked == ["data_quality.html"]
    for link in linked:
        assert world.get(f"{REPORT}/{link}", "viewer").status_code == 200

"""Airflow's API server in a process of its own: the project's plugin, and a login of each role.

No scheduler runs beside it, and its metadata is a file.
"""

from __future__ import annotations

import base64
import json
import os
import secrets
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
from psycopg.conninfo import conninfo_to_dict

from tests.servers.processes import accepts, free_port, running

_ROOT = Path(__file__).resolve().parents[2]
_ROLES = ("admin", "user", "viewer")
_METADATA = "airflow.db"
MOUNTED = "/engagement"


@dataclass(frozen=True, slots=True)
class Server:
    """Where the server is, the folder of its logs, and a token of each role."""

    url: str
    folder: Path
    tokens: Mapping[str, str]

    @contextmanager
    def client(self, role: str | None) -> Iterator[httpx.Client]:
        """A client of the API with the rights of a role, or with none."""
        headers = {"Authorization": f"Bearer {self.tokens[role]}"} if role else {}
        with httpx.Client(base_url=self.url, headers=headers, timeout=60) as client:
            yield client

    @property
    def metadata(self) -> Path:
        """Airflow's database, a file of SQLite."""
        return self.folder / _METADATA

    def log(self) -> str:
        """What the server has said."""
        return "".join(path.read_text() for path in self.folder.glob("*.log"))

    def connect(self, connection_id: str, **facts: object) -> None:
        """Keep a connection in Airflow's database, in place of one that has its id."""
        path = "/api/v2/connections"
        stored = {"connection_id": connection_id, **facts}
        with self.client("admin") as admin:
            answer = admin.patch(f"{path}/{connection_id}", json=stored)
            if answer.status_code == httpx.codes.NOT_FOUND:
                answer = admin.post(path, json=stored)
            answer.raise_for_status()

    def connect_app_database(self, uri: str, **others: object) -> None:
        """The same for the app's database, on a socket; `others` go before what its URI says."""
        parts = conninfo_to_dict(uri)
        facts = {
            "conn_type": "postgres",
            "host": parts["host"],
            "login": parts["user"],
            "schema": parts["dbname"],
        }
        self.connect("app_db", **{**facts, **others})


@contextmanager
def airflow_api(folder: Path, now: datetime, environment: Mapping[str, str]) -> Iterator[Server]:
    """The server, with the project's DAGs and no connection; for the API it is `now`."""
    port = free_port()
    passwords = folder / "passwords.json"
    passwords.write_text(json.dumps({role: f"{role}-password" for role in _ROLES}))
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(("AIRFLOW", "ENGAGEMENT"))}
    settings = {
        "AIRFLOW_HOME": str(folder),
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{folder / _METADATA}",
        "AIRFLOW__CORE__DAGS_FOLDER": str(_ROOT / "dags"),
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(_ROOT / "plugins"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__FERNET_KEY": base64.urlsafe_b64encode(secrets.token_bytes(32)).decode(),
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": ",".join(f"{r}:{r}" for r in _ROLES),
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(passwords),
        "AIRFLOW__API_AUTH__JWT_SECRET": secrets.token_hex(32),
        "PYTHONPATH": f"{_ROOT / 'plugins'}:{_ROOT}",
        "PYTHONTZPATH": "",
    }
    command = [sys.executable, "-m", "tests.servers.airflow_api", str(port), now.isoformat()]
    with running(
        [command], lambda: accepts(port), folder, {**inherited, **settings, **environment}
    ):
        url = f"http://127.0.0.1:{port}"
        answers = {
            role: httpx.post(
                f"{url}/auth/token", json={"username": role, "password": f"{role}-password"}
            )
            for role in _ROLES
        }
        tokens = {
            role: answer.raise_for_status().json()["access_token"]
            for role, answer in answers.items()
        }
        yield Server(url, folder, tokens)


def _serve(port: int, now: datetime) -> None:
    import uvicorn
    from airflow.dag_processing.bundles.manager import DagBundlesManager
    from airflow.dag_processing.dagbag import DagBag, sync_bag_to_db
    from airflow.utils.db import initdb

    initdb()
    bundles: Any = DagBundlesManager
    bundles().sync_bundles_to_db()
    bag = DagBag(_ROOT / "dags", bundle_path=_ROOT / "dags", bundle_name="dags-folder")
    sync_bag_to_db(bag, "dags-folder", None)

    from airflow.api_fastapi.main import app as airflow
    from starlette.routing import Mount

    from engagement.rim.web import api

    mounted: Any = next(
        route.app for route in airflow.routes if isinstance(route, Mount) and route.path == MOUNTED
    )
    mounted.dependency_overrides[api.clock] = lambda: now
    uvicorn.run(airflow, host="127.0.0.1", port=port, log_level="warning")


if __name__ == "__main__":
    _serve(int(sys.argv[1]), datetime.fromisoformat(sys.argv[2]))

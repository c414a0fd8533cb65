"""Airflow's own services on this machine, for the demo and the end-to-end test: loopback only."""

from __future__ import annotations

import base64
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

import httpx
import psutil
import psycopg
from psycopg import sql

ROOT = Path(__file__).resolve().parent.parent
HOST = "127.0.0.1"
USER = "admin"
SERVICES = ("api-server", "scheduler", "dag-processor", "triggerer")
FINISHED = frozenset({"success", "failed"})
# Seconds from one look to the next; at a run more of them, for the answers cost the tasks their
# processor.
_LOOK_EVERY, _ASK_EVERY = 0.25, 1.0
# Those that this process has started: forgetting one that runs is a warning, and leaves a zombie.
_children: list[subprocess.Popen[bytes]] = []
_PASSWORDS, _SECRETS, _RUNNING = "passwords.json", "secrets.json", "running.json"
_INHERITED = ("AIRFLOW", "ENGAGEMENT_")


class AirflowError(Exception):
    """Airflow did not start, or did not do what it was asked to."""


@dataclass(frozen=True, slots=True)
class Home:
    """The folder of one Airflow: its configuration, secrets, logs and who runs it."""

    folder: Path
    database_uri: str
    app_db: str
    dags: Path = ROOT / "dags"
    plugins: Path = ROOT / "plugins"
    # False: runs come from triggers and backfills alone, never from the clock.
    follow_schedules: bool = False
    settings: Mapping[str, str] = field(default_factory=dict)

    def environment(self, port: int) -> dict[str, str]:
        """The environment of every service: what a shell has set for another Airflow stays out."""
        kept = {k: v for k, v in os.environ.items() if not k.startswith(_INHERITED)}
        # Without bytecode every service, and every task that imports, takes three times as long.
        kept.pop("PYTHONDONTWRITEBYTECODE", None)
        secret = _secrets(self.folder / _SECRETS)
        url = f"http://{HOST}:{port}"
        ours = {
            "AIRFLOW_HOME": str(self.folder),
            # Schedules read the time zone rules that the reports do: those of the package tzdata.
            "PYTHONTZPATH": "",
            "AIRFLOW__CORE__DAGS_FOLDER": str(self.dags),
            "AIRFLOW__CORE__PLUGINS_FOLDER": str(self.plugins),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
            "AIRFLOW__CORE__EXECUTOR": "LocalExecutor",
            "AIRFLOW__CORE__PARALLELISM": "4",
            "AIRFLOW__CORE__FERNET_KEY": secret["fernet_key"],
            "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{url}/execution/",
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": f"{USER}:admin",
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(self.folder / _PASSWORDS),
            "AIRFLOW__API__HOST": HOST,
            "AIRFLOW__API__PORT": str(port),
            "AIRFLOW__API__BASE_URL": url,
            "AIRFLOW__API__WORKERS": "1",
            "AIRFLOW__API__SECRET_KEY": secret["secret_key"],
            "AIRFLOW__API_AUTH__JWT_SECRET": secret["jwt_secret"],
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": sqlalchemy_uri(self.database_uri),
            "AIRFLOW__DATABASE__LOAD_DEFAULT_CONNECTIONS": "False",
            "AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL": "15",
            # A file that has changed is read at once all the same.
            "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "300",
            "AIRFLOW__SCHEDULER__USE_JOB_SCHEDULE": str(self.follow_schedules),
            "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
            "AIRFLOW_CONN_APP_DB": self.app_db,
            "PYTHONPATH": str(self.plugins),
            # Whatever proxy the machine has, loopback is not behind it.
            "NO_PROXY": f"{HOST},localhost",
            "no_proxy": f"{HOST},localhost",
        }
        return {**kept, **ours, **self.settings}


@dataclass(frozen=True, slots=True)
class Service:
    """A process that was started as the leader of a session, with the moment it began."""

    name: str
    pid: int
    created: float

    def alive(self) -> bool:
        """Whether the process itself still runs: the same one, not another with its number."""
        try:
            process = psutil.Process(self.pid)
            return process.create_time() == self.created and (
                process.status() != psutil.STATUS_ZOMBIE
            )
        except psutil.NoSuchProcess:
            return False

    def processes(self) -> list[psutil.Process]:
        """Every process of the session; a task has a process group of its own, not a session.

        Its leader may be gone, but where its number is another's, so is the session.
        """
        members: list[psutil.Process] = []
        with suppress(psutil.NoSuchProcess):
            if psutil.Process(self.pid).create_time() != self.created:
                return members
        for process in psutil.process_iter():
            with suppress(psutil.NoSuchProcess, ProcessLookupError, PermissionError):
                mine = os.getsid(process.pid) == self.pid
                if mine and process.status() != psutil.STATUS_ZOMBIE:
                    members.append(process)
        return members


def sqlalchemy_uri(uri: str) -> str:
    """A `postgresql://` address, be its host a socket folder too, as SQLAlchemy wants it."""
    scheme, _, rest = uri.partition("://")
    who, _, place = rest.rpartition("@")
    host, _, database = place.partition("/")
    driver = f"{scheme}+psycopg2://"
    if host.lower().startswith("%2f"):
        return f"{driver}{who}@/{database}?host={unquote(host)}"
    return f"{driver}{rest}"


def free_port(wanted: int) -> int:
    """`wanted`, or the next port after it that nothing listens on; 0 means any."""
    for port in range(wanted, wanted + 50) if wanted else (0,):
        with closing(socket.socket()) as probe, suppress(OSError):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((HOST, port))
            return int(probe.getsockname()[1])
    raise AirflowError(f"no free port between {wanted} and {wanted + 49} on {HOST}")


def migrate(home: Home) -> None:
    """Bring the metadata database to this Airflow's version, unless it is there already."""
    mark = f"apache-airflow {version('apache-airflow')}"
    with psycopg.connect(home.database_uri, autocommit=True) as connection:
        name = connection.info.dbname
        row = connection.execute(
            "select shobj_description(oid, 'pg_database') from pg_database where datname = %s",
            (name,),
        ).fetchone()
        if row == (mark,):
            return
        _command(home, "db", "migrate")
        connection.execute(
            sql.SQL("comment on database {} is {}").format(sql.Identifier(name), sql.Literal(mark))
        )


def start(home: Home, port: int = 8080, services: tuple[str, ...] = SERVICES) -> Airflow:
    """Start Airflow's services and wait until they are healthy; raises AirflowError.

    The services outlive this process: `stop` ends them. `port` is the first to try.
    """
    if state := _state(home.folder):
        raise AirflowError(f"Airflow runs already, on port {state['port']}: stop it first")
    home.folder.mkdir(parents=True, exist_ok=True)
    passwords = home.folder / _PASSWORDS
    if not passwords.exists():
        _write_private(passwords, json.dumps({USER: secrets.token_urlsafe(9)}))
    migrate(home)
    began = datetime.now(UTC)
    chosen = free_port(port)
    running: list[Service] = []
    try:
        for name in services:
            running.append(_launch(home, name, chosen))
            _write_state(home.folder, chosen, running)
        airflow = Airflow(home.folder, chosen, tuple(running), Client(f"http://{HOST}:{chosen}"))
        airflow.wait_healthy(began)
    except BaseException:
        stop(home.folder)
        raise
    return airflow


def attach(folder: Path) -> Airflow | None:
    """The Airflow that runs with this AIRFLOW_HOME, whoever started it; None where none does."""
    if (state := _state(folder)) is None:
        return None
    services = tuple(Service(**service) for service in state["services"])
    client = Client(f"http://{HOST}:{state['port']}")
    airflow = Airflow(folder, int(state["port"]), services, client)
    airflow.client.login(USER, airflow.password())
    return airflow


@contextmanager
def running(home: Home, port: int = 0, services: tuple[str, ...] = SERVICES) -> Iterator[Airflow]:
    """Airflow's services for the time of a `with` block."""
    airflow = start(home, port, services)
    try:
        yield airflow
    finally:
        airflow.client.close()
        stop(home.folder)


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Let no second Ctrl-C leave anything behind; programs started meanwhile ignore it too."""
    before = {n: signal.signal(n, signal.SIG_IGN) for n in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def stop(folder: Path, seconds: float = 10) -> bool:
    """Stop whatever `start` has started with this AIRFLOW_HOME; False where nothing ran."""
    state = _state_of_file(folder)
    services = [Service(**service) for service in state["services"]] if state else []
    running = _members(services)
    with uninterrupted():
        # The API server goes last: whoever runs a task tells it how that ended before going.
        _end([service for service in services if service.name != "api-server"], seconds)
        _end(services, seconds)
        for child in _children:
            child.poll()
        _children[:] = [child for child in _children if child.returncode is None]
        (folder / _RUNNING).unlink(missing_ok=True)
    return bool(running)


def _end(services: list[Service], seconds: float) -> None:
    """Ask every process of these services to end, and kill what has not after `seconds`."""
    began = asked = time.monotonic()
    while (left := _members(services)) and asked - began < seconds:
        # Those of a task too; asked a second time, the scheduler waits for no task.
        for process in left:
            with suppress(psutil.NoSuchProcess):
                process.terminate()
        psutil.wait_procs(left, timeout=2.5)
        asked = time.monotonic()
    for process in left:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(left, timeout=5)


@dataclass(frozen=True, slots=True)
class Airflow:
    """Services that run, and the client to talk to them."""

    folder: Path
    port: int
    services: tuple[Service, ...]
    client: Client

    @property
    def url(self) -> str:
        """The address of the user interface."""
        return f"http://{HOST}:{self.port}"

    def password(self) -> str:
        """The password of the login `admin`."""
        return str(json.loads((self.folder / _PASSWORDS).read_text())[USER])

    def wait_healthy(self, since: datetime, seconds: float = 120) -> None:
        """Wait until every service has given a sign of life after `since`."""
        waiting = "api-server"
        for _ in self.looks(seconds, _LOOK_EVERY):
            health = self.client.health()
            if health is not None:
                late = [name for name in self._watched() if not _beat_since(health, name, since)]
                if not late:
                    self.client.login(USER, self.password())
                    return
                waiting = ", ".join(late)
        raise AirflowError(
            f"Airflow was not healthy after {seconds:.0f} seconds: no sign of {waiting}; "
            f"see {self.folder / 'logs'}"
        )

    def check_alive(self) -> None:
        """Raise AirflowError, with the end of its log, where a service has died."""
        for service in self.services:
            if not service.alive():
                log = _log_file(self.folder, service.name)
                end = "\n".join(log.read_text(errors="replace").splitlines()[-15:])
                raise AirflowError(f"Airflow's {service.name} has ended:\n{end}")

    def looks(self, seconds: float, every: float) -> Iterator[None]:
        """One look after the other at what Airflow's API tells, for so many seconds.

        Raises AirflowError where a service has died.
        """
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            self.check_alive()
            yield
            time.sleep(every)

    def wait_for_dag(self, dag_id: str, since: datetime, seconds: float = 90) -> None:
        """Wait until the DAG has been read from its file after `since`."""
        for _ in self.looks(seconds, _LOOK_EVERY):
            dag = self.client.dag(dag_id)
            parsed = dag and dag["last_parsed_time"]
            if parsed and datetime.fromisoformat(parsed) >= since:
                return
            if errors := self.client.import_errors():
                raise AirflowError("DAG files cannot be read:\n" + "\n".join(errors))
        raise AirflowError(f"there was no DAG {dag_id} after {seconds:.0f} seconds")

    def wait_for_run(self, dag_id: str, run_id: str, seconds: float = 300) -> str:
        """Wait for the end of a run; returns its state, `success` or `failed`."""
        for _ in self.looks(seconds, _ASK_EVERY):
            state = str(self.client.run(dag_id, run_id)["state"])
            if state in FINISHED:
                return state
        raise AirflowError(
            f"the run {run_id} of {dag_id} had not ended after {seconds:.0f} seconds"
        )

    def wait_for_backfill(self, backfill_id: int, seconds: float = 600) -> list[dict[str, Any]]:
        """Wait for the end of every run of a backfill; returns the runs, in order of their date."""
        for _ in self.looks(seconds, _ASK_EVERY):
            runs = self.client.backfill_runs(backfill_id)
            if runs and all(run["state"] in FINISHED for run in runs):
                return runs
        raise AirflowError(f"the backfill {backfill_id} had not ended after {seconds:.0f} seconds")

    def _watched(self) -> list[str]:
        return [service.name for service in self.services if service.name != "api-server"]


class Client:
    """The few calls of Airflow's REST API that the demo and the tests need."""

    def __init__(self, url: str) -> None:
        self._http = httpx.Client(base_url=url, trust_env=False, timeout=30)

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def login(self, user: str, password: str) -> None:
        """Send what follows as `user`."""
        answer = self._call("POST", "/auth/token", {"username": user, "password": password})
        self._http.headers["Authorization"] = f"Bearer {answer['access_token']}"

    def health(self) -> dict[str, Any] | None:
        """What Airflow says of its services; None where it does not answer yet."""
        try:
            response = self._http.get("/api/v2/monitor/health", timeout=5)
        except httpx.TransportError:
            return None
        return response.json() if response.status_code == httpx.codes.OK else None

    def dag(self, dag_id: str) -> dict[str, Any] | None:
        """A DAG, or None where it is not known."""
        response = self._http.get(f"/api/v2/dags/{quote(dag_id)}")
        if response.status_code == httpx.codes.NOT_FOUND:
            return None
        return _checked(response)

    def import_errors(self) -> list[str]:
        """The DAG files that cannot be read, and why."""
        answer = self._call("GET", "/api/v2/importErrors")
        return [f"{e['filename']}: {e['stack_trace']}" for e in answer["import_errors"]]

    def trigger(
        self,
        dag_id: str,
        conf: Mapping[str, object],
        interval: tuple[datetime, datetime] | None = None,
    ) -> str:
        """Start a run with these parameters, for its own data interval if any; returns its id."""
        body: dict[str, object] = {"logical_date": None, "conf": dict(conf)}
        if interval is not None:
            # Airflow drops the interval of a run that has no logical date of its own.
            body |= {
                "logical_date": datetime.now(UTC).isoformat(),
                "data_interval_start": interval[0].isoformat(),
                "data_interval_end": interval[1].isoformat(),
            }
        return str(self._call("POST", f"{_dag(dag_id)}/dagRuns", body)["dag_run_id"])

    def run(self, dag_id: str, run_id: str) -> dict[str, Any]:
        """A run as it stands."""
        return self._call("GET", _run(dag_id, run_id))

    def runs(self, dag_id: str) -> list[dict[str, Any]]:
        """Every run of a DAG."""
        answer = self._call("GET", f"{_dag(dag_id)}/dagRuns?limit=100&order_by=run_after")
        return list(answer["dag_runs"])

    def create_backfill(
        self,
        dag_id: str,
        from_date: str,
        to_date: str,
        conf: Mapping[str, object] | None = None,
        reprocess: str = "none",
        max_active_runs: int = 2,
    ) -> int:
        """Start a backfill; both dates are included. `reprocess`: none, failed or completed."""
        body = {
            "dag_id": dag_id,
            "from_date": from_date,
            "to_date": to_date,
            "dag_run_conf": dict(conf or {}),
            "reprocess_behavior": reprocess,
            "max_active_runs": max_active_runs,
            "run_backwards": False,
        }
        return int(self._call("POST", "/api/v2/backfills", body)["id"])

    def cancel_backfill(self, backfill_id: int) -> None:
        """Close a backfill: runs that have not begun are dropped, and the next one may start.

        Airflow closes one by itself only some time after its last run has ended.
        """
        answer = self._http.put(f"/api/v2/backfills/{backfill_id}/cancel")
        if (
            answer.status_code == httpx.codes.CONFLICT
            and self.backfill(backfill_id)["completed_at"]
        ):
            return
        _checked(answer)

    def backfill(self, backfill_id: int) -> dict[str, Any]:
        """A backfill as it stands; `completed_at` is null while it is active."""
        return self._call("GET", f"/api/v2/backfills/{backfill_id}")

    def backfill_runs(self, backfill_id: int) -> list[dict[str, Any]]:
        """The runs of a backfill, in order of their date."""
        backfill = self.backfill(backfill_id)
        runs = self.runs(backfill["dag_id"])
        return [run for run in runs if run["run_type"] == "backfill" and _within(run, backfill)]

    def tasks(self, dag_id: str, run_id: str) -> list[dict[str, Any]]:
        """The task instances of a run."""
        return list(
            self._call("GET", f"{_run(dag_id, run_id)}/taskInstances?limit=100")["task_instances"]
        )

    def xcom(self, dag_id: str, run_id: str, task_id: str, key: str = "return_value") -> Any:
        """What a task has returned."""
        path = f"{_run(dag_id, run_id)}/taskInstances/{quote(task_id)}/xcomEntries/{quote(key)}"
        return self._call("GET", path)["value"]

    def xcoms(self, dag_id: str, run_id: str) -> dict[tuple[str, str], Any]:
        """Everything that the tasks of a run have left for others, by task and key."""
        path = f"{_run(dag_id, run_id)}/taskInstances/~/xcomEntries?limit=100"
        entries = [(e["task_id"], e["key"]) for e in self._call("GET", path)["xcom_entries"]]
        return {(task, key): self.xcom(dag_id, run_id, task, key) for task, key in entries}

    def asset_events(self, dag_id: str, run_id: str) -> list[dict[str, Any]]:
        """The asset events of a run, the oldest first."""
        query = f"source_dag_id={quote(dag_id)}&source_run_id={quote(run_id, safe='')}"
        path = f"/api/v2/assets/events?{query}&order_by=timestamp&limit=100"
        return list(self._call("GET", path)["asset_events"])

    def clear(self, dag_id: str, run_id: str, task_id: str) -> None:
        """Run a task of a run, and every task after it, once more."""
        body = {
            "dag_run_id": run_id,
            "task_ids": [task_id],
            "include_downstream": True,
            "only_failed": False,
            "dry_run": False,
        }
        self._call("POST", f"{_dag(dag_id)}/clearTaskInstances", body)

    def log(self, dag_id: str, run_id: str, task_id: str, attempt: int) -> list[str]:
        """The lines that one attempt of a task has logged."""
        path = f"{_run(dag_id, run_id)}/taskInstances/{quote(task_id)}/logs/{attempt}"
        answer = _checked(self._http.get(path, headers={"Accept": "application/json"}))
        return [_log_line(entry) for entry in answer["content"]]

    def failures(self, dag_id: str, run_id: str, lines: int = 15) -> str:
        """The tasks of a run that failed, each with the last lines that it logged."""
        parts = []
        for task in self.tasks(dag_id, run_id):
            if task["state"] == "failed":
                log = self.log(dag_id, run_id, task["task_id"], task["try_number"])
                parts.append("\n".join([f"{task['task_id']} failed:", *log[-lines:]]))
        return "\n".join(parts)

    def _call(self, method: str, path: str, body: object = None) -> dict[str, Any]:
        return _checked(self._http.request(method, path, json=body))


def _checked(response: httpx.Response) -> dict[str, Any]:
    if response.is_error:
        raise AirflowError(
            f"{response.request.method} {response.request.url.path} was answered with "
            f"{response.status_code}: {response.text[:500]}"
        )
    answer: dict[str, Any] = response.json()
    return answer


def _dag(dag_id: str) -> str:
    return f"/api/v2/dags/{quote(dag_id)}"


def _run(dag_id: str, run_id: str) -> str:
    return f"{_dag(dag_id)}/dagRuns/{quote(run_id, safe='')}"


def _within(run: Mapping[str, Any], backfill: Mapping[str, Any]) -> bool:
    date = datetime.fromisoformat(run["logical_date"] or run["run_after"])
    first, last = (datetime.fromisoformat(backfill[key]) for key in ("from_date", "to_date"))
    return first <= date <= last


def _log_line(entry: object) -> str:
    if not isinstance(entry, dict):
        return str(entry)
    text = f"{entry.get('level', '')}: {entry.get('event', '')}".removeprefix(": ")
    errors = entry.get("error_detail") or []
    causes = [f"{e.get('exc_type')}: {e.get('exc_value')}" for e in errors]
    return "\n".join([text, *causes])


def _beat_since(health: Mapping[str, Any], service: str, since: datetime) -> bool:
    name = service.replace("-", "_")
    beat = (health.get(name) or {}).get(f"latest_{name}_heartbeat")
    return beat is not None and datetime.fromisoformat(beat) >= since


def _command(home: Home, *arguments: str) -> None:
    log = _log_file(home.folder, arguments[0])
    with log.open("ab") as output:
        done = subprocess.run(
            [sys.executable, "-m", "airflow", *arguments],
            env=home.environment(0),
            cwd=home.folder,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            timeout=300,
            check=False,
        )
    if done.returncode:
        raise AirflowError(f"airflow {' '.join(arguments)} failed: see {log}")


def _launch(home: Home, name: str, port: int) -> Service:
    # Tasks' logs are read from the folder that all services share: no log server, no fixed port.
    skip = ["--skip-serve-logs"] if name in {"scheduler", "triggerer"} else []
    with _log_file(home.folder, name).open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "airflow", name, *skip],
            env=home.environment(port),
            cwd=home.folder,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    _children.append(process)
    return Service(name, process.pid, psutil.Process(process.pid).create_time())


def _log_file(folder: Path, name: str) -> Path:
    logs = folder / "logs" / "services"
    logs.mkdir(parents=True, exist_ok=True)
    return logs / f"{name}.log"


def _members(services: list[Service]) -> list[psutil.Process]:
    return [process for service in services for process in service.processes()]


def _write_state(folder: Path, port: int, services: list[Service]) -> None:
    state = {
        "port": port,
        "services": [{"name": s.name, "pid": s.pid, "created": s.created} for s in services],
    }
    _write_private(folder / _RUNNING, json.dumps(state))


def _state_of_file(folder: Path) -> dict[str, Any] | None:
    try:
        state: dict[str, Any] = json.loads((folder / _RUNNING).read_text())
    except FileNotFoundError:
        return None
    return state


def _state(folder: Path) -> dict[str, Any] | None:
    """What runs with this AIRFLOW_HOME; None where nothing does, whatever an old file says."""
    state = _state_of_file(folder)
    if state and any(Service(**service).alive() for service in state["services"]):
        return state
    return None


def _secrets(path: Path) -> dict[str, str]:
    """Keys that every service must share, and that must outlive a restart."""
    if not path.exists():
        keys = {
            "fernet_key": base64.urlsafe_b64encode(secrets.token_bytes(32)).decode(),
            "secret_key": secrets.token_hex(32),
            "jwt_secret": secrets.token_hex(64),
        }
        _write_private(path, json.dumps(keys))
    found: dict[str, str] = json.loads(path.read_text())
    return found


def _write_private(path: Path, text: str) -> None:
    temporary = path.with_suffix(".new")
    temporary.unlink(missing_ok=True)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
    temporary.replace(path)

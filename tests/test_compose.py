"""docker-compose.yaml, as podman-compose resolves it; no container engine is needed for that."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from engagement import __version__
from engagement.settings import Settings

ROOT = Path(__file__).parents[1]
EXAMPLE = ROOT / ".env.example"
AIRFLOW = {"api-server", "scheduler", "dag-processor", "triggerer"}
ONE_SHOT = {"airflow-init", "app-data", "bucket"}
SERVERS = AIRFLOW | {"metadata-db", "app-db", "s3"}
# One for all of Airflow's services, or they cannot read what another wrote or signed.
SHARED = (
    "AIRFLOW__CORE__FERNET_KEY",
    "AIRFLOW__API_AUTH__JWT_SECRET",
    "AIRFLOW__API__SECRET_KEY",
    "AIRFLOW__CORE__EXECUTION_API_SERVER_URL",
    "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN",
    "AIRFLOW_CONN_APP_DB",
    "AIRFLOW_CONN_AWS_DEFAULT",
)


def _example() -> dict[str, str]:
    lines = EXAMPLE.read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


def _filled_in() -> dict[str, str]:
    return {name: value or f"secret-{name.lower()}" for name, value in _example().items()}


def _resolve(variables: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    # Elsewhere, because an .env of whoever runs the tests is not what is tested.
    with tempfile.TemporaryDirectory() as folder:
        shutil.copy(ROOT / "docker-compose.yaml", folder)
        return subprocess.run(
            [sys.executable, "-m", "podman_compose", "--dry-run", "config"],
            cwd=folder,
            env={"PATH": os.environ["PATH"], **variables},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    done = _resolve(_filled_in())
    assert done.returncode == 0, done.stderr
    resolved: dict[str, Any] = yaml.safe_load(done.stdout)
    return resolved


def test_the_services_are_these(compose: dict[str, Any]) -> None:
    assert set(compose["services"]) == SERVERS | ONE_SHOT
    commands = {name: compose["services"][name]["command"] for name in AIRFLOW}
    assert commands == {name: [name] for name in AIRFLOW}


def test_servers_stay_up_and_tell_how_they_are(compose: dict[str, Any]) -> None:
    for name in SERVERS:
        service = compose["services"][name]
        assert service["restart"] == "unless-stopped", name
        assert service["healthcheck"]["test"], name
    for name in ONE_SHOT:
        assert compose["services"][name]["restart"] == "no", name


def test_whatever_is_waited_for_can_happen(compose: dict[str, Any]) -> None:
    for name, service in compose["services"].items():
        for needed, how in service.get("depends_on", {}).items():
            expected = "service_completed_successfully" if needed in ONE_SHOT else "service_healthy"
            assert how["condition"] == expected, f"{name} waits for {needed}"


def test_airflow_starts_after_its_database_the_data_and_the_bucket(
    compose: dict[str, Any],
) -> None:
    for name in AIRFLOW:
        assert set(compose["services"][name]["depends_on"]) == ONE_SHOT


def test_services_of_airflow_share_keys_and_folders(compose: dict[str, Any]) -> None:
    services = [compose["services"][name] for name in sorted(AIRFLOW)]
    for variable in SHARED:
        assert len({service["environment"][variable] for service in services}) == 1
        assert services[0]["environment"][variable]
    for folder in ("/opt/airflow/staging", "/opt/airflow/logs", "/opt/airflow/auth"):
        mounted = {v for service in services for v in service["volumes"] if v.endswith(folder)}
        assert len(mounted) == 1, folder


def test_every_volume_is_declared(compose: dict[str, Any]) -> None:
    used = {
        volume.partition(":")[0]
        for service in compose["services"].values()
        for volume in service.get("volumes", [])
    }
    assert used == set(compose["volumes"])


def test_ports_are_open_on_this_machine_only(compose: dict[str, Any]) -> None:
    ports = {n: s["ports"] for n, s in compose["services"].items() if s.get("ports")}
    assert ports == {"api-server": ["127.0.0.1:8080:8080"], "s3": ["127.0.0.1:8333:8333"]}


def test_images_are_of_one_version(compose: dict[str, Any]) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for name, service in compose["services"].items():
        image, _, tag = service["image"].rpartition(":")
        assert re.fullmatch(r"\d[\w.]*", tag), f"{name} runs {service['image']}"
        if image == "engagement-reports":
            assert tag == __version__
    (airflow,) = (d for d in project["dependencies"] if d.startswith("apache-airflow=="))
    base = re.search(r"^FROM \S+:slim-([\d.]+)-python3\.12$", _dockerfile(), re.MULTILINE)
    assert base
    assert base[1] == airflow.partition("==")[2]


def test_the_image_installs_what_is_locked_and_is_not_roots() -> None:
    assert "--require-hashes" in _dockerfile()
    assert re.findall(r"^USER (\S+)$", _dockerfile(), re.MULTILINE)[-1] == "airflow"


def test_settings_are_settings_that_exist(compose: dict[str, Any]) -> None:
    environment = compose["services"]["scheduler"]["environment"]
    given = {k: v for k, v in environment.items() if k.startswith("ENGAGEMENT_")}
    values = {name.removeprefix("ENGAGEMENT_").lower(): value for name, value in given.items()}
    settings = Settings(**values)
    assert settings.destination == "s3://engagement-reports"
    assert compose["services"]["bucket"]["environment"]["S3_BUCKET"] == "engagement-reports"


def test_the_key_of_airflow_is_that_of_the_s3_server(compose: dict[str, Any]) -> None:
    environment = compose["services"]["scheduler"]["environment"]
    connection = json.loads(environment["AIRFLOW_CONN_AWS_DEFAULT"])
    server = compose["services"]["s3"]["environment"]
    assert connection["login"] == server["AWS_ACCESS_KEY_ID"]
    assert connection["password"] == server["AWS_SECRET_ACCESS_KEY"]


def test_the_example_names_every_variable_and_holds_no_secret() -> None:
    text = (ROOT / "docker-compose.yaml").read_text()
    required = set(re.findall(r"(?<!\$)\$\{(\w+):\?", text))
    optional = set(re.findall(r"(?<!\$)\$\{(\w+):-", text))
    example = _example()
    assert required | optional == set(example)
    assert {name for name, value in example.items() if not value} == required


@pytest.mark.parametrize("missing", sorted(n for n, value in _example().items() if not value))
def test_a_missing_secret_is_named(missing: str) -> None:
    done = _resolve({k: v for k, v in _filled_in().items() if k != missing})
    assert done.returncode != 0
    assert f"required variable {missing} is missing" in done.stderr


def _dockerfile() -> str:
    return (ROOT / "Dockerfile").read_text()

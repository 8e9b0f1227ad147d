"""docker-compose.yml and the Dockerfile against what the program reads. No engine runs here, so
this is what can be known.
"""

import re

import pytest
import yaml

from explorer import celery, settings
from explorer.env import VARIABLES
from tests.conftest import ROOT

SERVICES = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
OURS = {name: service for name, service in SERVICES.items() if "build" in service}
DOCKERFILE = (ROOT / "Dockerfile").read_text()


@pytest.mark.parametrize("name", OURS)
def test_every_variable_of_a_service_is_one_that_the_settings_read(name):
    assert settings.DATABASES  # read, so that VARIABLES is full
    unknown = set(OURS[name]["environment"]) - set(VARIABLES)
    assert not unknown, f"{name} sets what nothing reads: {unknown}"


def test_variables_that_compose_asks_for_are_read_somewhere():
    asked = set(re.findall(r"\$\{(\w+)", (ROOT / "docker-compose.yml").read_text()))
    assert asked - set(VARIABLES) == {"POSTGRES_PASSWORD", "POSTGRES_BUFFERS"}


@pytest.mark.parametrize("name", OURS)
def test_every_service_of_ours_has_database_broker_secret_and_a_known_image(name):
    assert {"DATABASE_URL", "CELERY_BROKER_URL", "SECRET_KEY", "FEATURESCOPE_ARTIFACTS"} <= set(
        OURS[name]["environment"]
    )
    assert f" AS {OURS[name]['build']['target']}\n" in DOCKERFILE


def test_all_services_of_ours_share_one_place_for_artifacts():
    places = {service["environment"]["FEATURESCOPE_ARTIFACTS"] for service in OURS.values()}
    assert places == {"/data/artifacts"}
    assert all("data:/data" in service["volumes"] for service in OURS.values())


def test_every_queue_has_a_worker_with_a_gpu():
    commands = {
        name: service["command"] for name, service in OURS.items() if name.startswith("worker-")
    }
    queues = {command[command.index("--queues") + 1] for command in commands.values()}
    assert queues == {celery.INFERENCE, celery.JOBS}
    for name, command in commands.items():
        assert command[:4] == ["celery", "--app", "explorer", "worker"]
        assert command[command.index("--include") + 1] == "workers.tasks"
        assert (
            "gpu" in OURS[name]["deploy"]["resources"]["reservations"]["devices"][0]["capabilities"]
        )


def test_the_schema_is_there_before_anything_that_uses_it():
    for name in set(OURS) - {"migrate"}:
        assert OURS[name]["depends_on"]["migrate"]["condition"] == "service_completed_successfully"
    assert OURS["migrate"]["command"][:3] == ["python", "manage.py", "migrate"]
    assert SERVICES["postgres"]["image"].startswith("pgvector/pgvector:")


def test_servers_are_asked_for_their_health_and_not_open_to_the_world():
    assert all("healthcheck" in SERVICES[name] for name in ("postgres", "redis", "web"))
    assert all(
        port.startswith("127.0.0.1:")
        for service in SERVICES.values()
        for port in service.get("ports", [])
    )


def test_the_health_check_asks_by_a_name_that_is_answered_whatever_the_operator_allows():
    hosts = re.sub(
        r"\$\{ALLOWED_HOSTS[^}]*\}",
        "scope.example.org",
        OURS["web"]["environment"]["ALLOWED_HOSTS"],
    )
    asked = re.search(r"http://([\w.]+):8000/healthz", " ".join(OURS["web"]["healthcheck"]["test"]))
    assert hosts.split(",") == ["scope.example.org", asked[1]]

"""What compose.yaml says of the team's services; the other tests here run the commands that it has."""

import re

from flows.arguments import parse_arguments
from tests.services.composed import COMPOSE, SERVICES

PINNED = re.compile(r"[\w/]+:v?\d+(\.\d+)+")
BUILT = {"mlflow-migrate", "mlflow", "prefect"}
RUNS_ONCE = {"mlflow-migrate"}


def test_services_and_images() -> None:
    assert set(SERVICES) == {"postgres", "s3"} | BUILT
    for name, service in SERVICES.items():
        if name in BUILT:
            assert service["build"] == {"context": ".", "target": "pipeline"}
            assert service["cap_drop"] == ["ALL"]
        else:
            assert PINNED.fullmatch(service["image"]), "an image has one version"


def test_what_is_kept_is_in_named_volumes() -> None:
    volumes = {volume.split(":")[0] for service in SERVICES.values() for volume in service.get("volumes", [])}
    assert volumes == set(COMPOSE["volumes"]) == {"postgres", "artifacts"}
    assert SERVICES["s3"]["volumes"] == ["artifacts:/data/mlflow"]
    assert SERVICES["mlflow"]["environment"]["MLFLOW_ARTIFACTS_DESTINATION"] == "s3://mlflow"


def test_what_lasts_is_healthy_before_others_use_it() -> None:
    for name in set(SERVICES) - RUNS_ONCE:
        assert SERVICES[name]["healthcheck"]["test"][0] == "CMD"
        assert SERVICES[name]["restart"] == "unless-stopped"
    conditions = {
        (name, other): needed["condition"]
        for name, service in SERVICES.items()
        for other, needed in service.get("depends_on", {}).items()
    }
    assert conditions == {
        ("mlflow-migrate", "postgres"): "service_healthy",
        ("mlflow", "mlflow-migrate"): "service_completed_successfully",
        ("mlflow", "s3"): "service_healthy",
        ("prefect", "postgres"): "service_healthy",
    }


def test_only_this_machine_reaches_the_two_servers() -> None:
    ports = {name: service["ports"] for name, service in SERVICES.items() if "ports" in service}
    assert ports == {"mlflow": ["127.0.0.1:5000:5000"], "prefect": ["127.0.0.1:4200:4200"]}


def test_no_password_is_written_down() -> None:
    for service in SERVICES.values():
        for name, value in service["environment"].items():
            if re.search(r"PASSWORD|SECRET|AUTH_STRING", name):
                assert re.fullmatch(r"(team:)?\$\{\w+:-\}", value), name


def test_the_migration_is_a_command() -> None:
    assert SERVICES["mlflow-migrate"]["entrypoint"][:3] == ["python", "-m", "flows"]
    assert parse_arguments(SERVICES["mlflow-migrate"]["entrypoint"][3:]).command == "migrate"

"""What the services tests share: PostgreSQL, S3, and MLflow and Prefect servers upon them, each started once."""

import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass

import boto3
import pytest

from tests.end_to_end.conftest import ROOT, corpus
from tests.services.composed import PROGRAMS, Machine
from tests.services.postgres import PASSWORD, Postgres, running_postgres
from tests.services.servers import Gate, free_port, running, wait_until_healthy

__all__ = ["corpus"]

BUCKET = "mlflow"
PYTHONPATH = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
S3_KEYS = {"aws_access_key_id": "artifacts", "aws_secret_access_key": "storage1"}
ADMIN = {"MLFLOW_TRACKING_USERNAME": "admin", "MLFLOW_TRACKING_PASSWORD": "aLongPassword1"}
PREFECT_USER = "team:anotherPassword1"
QUIET = {"DO_NOT_TRACK": "1", "MLFLOW_DISABLE_TELEMETRY": "true", "PREFECT_SERVER_ANALYTICS_ENABLED": "false"}
VARIABLES = {
    "DATABASE_PASSWORD": PASSWORD,
    "ARTIFACTS_PASSWORD": S3_KEYS["aws_secret_access_key"],
    "MLFLOW_ADMIN_PASSWORD": ADMIN["MLFLOW_TRACKING_PASSWORD"],
    "MLFLOW_SECRET_KEY": "signsCookies",
    "PREFECT_PASSWORD": PREFECT_USER.split(":")[1],
}


@dataclass(frozen=True)
class Services:
    """The servers of a team, behind gates that can be shut."""

    postgres: Postgres
    s3: str
    tracking: Gate
    artifacts: Gate
    prefect: str

    @property
    def tracking_uri(self) -> str:
        """The MLflow server, through its gate."""
        return f"http://127.0.0.1:{self.tracking.port}"

    @property
    def past_the_gate(self) -> str:
        """The MLflow server, also while the gate is shut."""
        return f"http://127.0.0.1:{self.tracking.server_port}"

    def bucket(self) -> "boto3.resources.base.ServiceResource":
        """The bucket of the artifacts, past its gate."""
        return boto3.resource("s3", endpoint_url=self.s3, region_name="us-east-1", **S3_KEYS).Bucket(BUCKET)

    def environment(self) -> dict[str, str]:
        """The environment of a run on these servers."""
        own = {
            "MLFLOW_TRACKING_URI": self.tracking_uri,
            "PREFECT_API_URL": self.prefect,
            "PREFECT_API_AUTH_STRING": PREFECT_USER,
            "PYTHONPATH": PYTHONPATH,
            "OMP_NUM_THREADS": "1",
            "TQDM_DISABLE": "1",
        }
        return os.environ | QUIET | ADMIN | own


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A PostgreSQL server without databases of ours."""
    with running_postgres() as server:
        yield server


@pytest.fixture(scope="session")
def services(postgres: Postgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Services]:
    """What compose.yaml starts: MLflow with users on PostgreSQL and S3, Prefect on PostgreSQL. All of it was empty."""
    folder = tmp_path_factory.mktemp("services")
    s3, mlflow, prefect = (free_port() for _ in range(3))
    artifacts, users = Gate(s3), folder / "users.ini"
    places = {
        "@postgres/": f"@127.0.0.1:{postgres.port}/",
        "http://s3:7070": f"http://127.0.0.1:{artifacts.port}",
        "/etc/mlflow-users.ini": str(users),
    }
    machine = Machine(VARIABLES, places)
    users.write_text(machine.config("mlflow-users"))
    postgres.create("mlflow")  # the image makes it, by POSTGRES_DB
    for statement in machine.config("databases").splitlines():
        postgres.run("psql", "--dbname=mlflow", f"--command={statement}")
    with ExitStack() as stack:

        def start(name: str, command: list[str], port: int, health: str, **more: str) -> Callable[[], None]:
            """Start a server; what is returned waits until it answers."""
            log = folder / f"{name}.log"
            process = stack.enter_context(running(command, os.environ | QUIET | more, log))
            return lambda: wait_until_healthy(f"http://127.0.0.1:{port}{health}", process, log)

        moto = [str(PROGRAMS / "moto_server"), "-H", "127.0.0.1", "-p", str(s3)]
        waiting = [start("s3", moto, s3, "/moto-api/")]
        more = machine.environment("prefect") | {"PREFECT_HOME": str(folder / "prefect")}
        command = machine.command("prefect", host="127.0.0.1", port=str(prefect))
        waiting.append(start("prefect", command, prefect, "/api/health", **more))
        migrate = os.environ | QUIET | {"PYTHONPATH": PYTHONPATH} | machine.environment("mlflow-migrate")
        subprocess.run(machine.command("mlflow-migrate"), env=migrate, cwd=folder, check=True, timeout=600)
        command = machine.command("mlflow", host="127.0.0.1", port=str(mlflow), workers="1")
        waiting.append(start("mlflow", command, mlflow, "/health", **machine.environment("mlflow")))
        for healthy in waiting:
            healthy()
        api = f"http://127.0.0.1:{prefect}/api"
        found = Services(postgres, f"http://127.0.0.1:{s3}", Gate(mlflow), artifacts, api)
        found.bucket().create()  # the folder that compose mounts
        yield found

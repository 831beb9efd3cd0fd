"""What the end-to-end tests share: a small spoken corpus, one Prefect server, and runs of the command line."""

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from pydantic import TypeAdapter

from sermodels.corpora.demo import make_demo_corpus, small_demo_clips
from tests.shared import made_once, new_database_file

ROOT = Path(__file__).resolve().parents[2]
TINY = Path(__file__).parent / "tiny.yaml"


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with a few voices of the demo corpus under the names of the real corpora."""
    return made_once(tmp_path_factory, "spoken", lambda folder: make_demo_corpus(folder, clips=small_demo_clips()))


@pytest.fixture(scope="session")
def prefect_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the session's Prefect server keeps its database."""
    return tmp_path_factory.mktemp("prefect")


@pytest.fixture(scope="session")
def prefect_api(prefect_home: Path) -> Iterator[str]:
    """The address of a real Prefect server, started once."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port)]
    environment = os.environ | {
        "PREFECT_HOME": str(prefect_home),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_SERVER_DEPLOYMENTS_CONCURRENCY_SLOT_WAIT_SECONDS": "3",  # 30 otherwise
    }
    with open(prefect_home / "server.log", "w") as log:
        server = subprocess.Popen(command, env=environment, stdout=log, stderr=subprocess.STDOUT, cwd=prefect_home)
    api = f"http://127.0.0.1:{port}/api"
    try:
        _wait_until_healthy(api, server)
        yield api
    finally:
        server.terminate()
        server.wait(timeout=60)


def _wait_until_healthy(api: str, server: "subprocess.Popen[bytes]", timeout_s: float = 180.0) -> None:
    """Until the server answers, or fail."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline and server.poll() is None:
        try:
            with urllib.request.urlopen(f"{api}/health", timeout=5):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.5)
    pytest.fail(f"the Prefect server did not start within {timeout_s} s (exit code {server.poll()})")


def clean_environment() -> dict[str, str]:
    """This process's environment without the run and experiment that MLflow notes there for its children."""
    return {
        name: value for name, value in os.environ.items() if not name.startswith(("MLFLOW_EXPERIMENT", "MLFLOW_RUN"))
    }


def environment_of(folder: Path, prefect_api: str, prefect_home: Path) -> dict[str, str]:
    """Environment of a run with the MLflow database of this folder, and this Prefect server."""
    return clean_environment() | {
        "MLFLOW_TRACKING_URI": f"sqlite:///{folder / 'mlflow.db'}",
        "PREFECT_API_URL": prefect_api,
        "PREFECT_HOME": str(prefect_home),
        "PYTHONPATH": str(ROOT),
        "OMP_NUM_THREADS": "1",
        "TQDM_DISABLE": "1",
    }


def command_of(folder: Path, corpus: Path) -> list[str]:
    """The command line of a tiny run in this folder's workspace."""
    options = [f"--preset={TINY}", f"--data-dir={corpus}", f"--workspace={folder / 'workspace'}"]
    return [sys.executable, "-m", "flows", "run", *options]


def run_flow(folder: Path, corpus: Path, environment: dict[str, str], *more: str) -> str:
    """A tiny run in this folder, to its good end; returns what it says."""
    command = [*command_of(folder, corpus), *more]
    done = subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True, timeout=1500)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout + done.stderr


def figures(workspace: Path) -> dict[str, str]:
    """What each stage measured, and every prediction."""
    files = [*workspace.glob("stages/*/figures.json"), *workspace.glob("stages/*/predictions-*.csv")]
    return {str(path.relative_to(workspace)): path.read_text(encoding="utf-8") for path in files}


@pytest.fixture
def environment(
    tmp_path: Path, prefect_api: str, prefect_home: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, str]:
    """Environment of a run: its own MLflow database, the session's Prefect server."""
    shutil.copy(new_database_file(tmp_path_factory), tmp_path / "mlflow.db")
    return environment_of(tmp_path, prefect_api, prefect_home)


@pytest.fixture
def command(tmp_path: Path, corpus: Path) -> list[str]:
    """The command line of a tiny run in the test's own workspace."""
    return command_of(tmp_path, corpus)


@dataclass(frozen=True)
class WholeRun:
    """A run that nothing has disturbed: where it ran, on whose Prefect server, what it said and measured.

    One test goes on in the folder; the others have what is kept here.
    """

    folder: Path
    prefect_home: Path
    output: str
    figures: dict[str, str]


@pytest.fixture(scope="session")
def whole_run(tmp_path_factory: pytest.TempPathFactory, corpus: Path, prefect_api: str, prefect_home: Path) -> WholeRun:
    """The tiny run on a database that is not there yet, made once."""

    def make(folder: Path) -> None:
        output = run_flow(folder, corpus, environment_of(folder, prefect_api, prefect_home))
        run = WholeRun(folder, prefect_home, output, figures(folder / "workspace"))
        (folder / "run.json").write_bytes(TypeAdapter(WholeRun).dump_json(run))

    folder = made_once(tmp_path_factory, "whole-run", make)
    return TypeAdapter(WholeRun).validate_json((folder / "run.json").read_bytes())

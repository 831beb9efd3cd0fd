"""What the end-to-end tests share: a small spoken corpus, one Prefect server, and runs of the command line."""

import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sermodels.corpora.demo import make_demo_corpus, small_demo_clips

ROOT = Path(__file__).resolve().parents[2]
TINY = Path(__file__).parent / "tiny.yaml"

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with a few voices of the demo corpus under the names of the real corpora."""
    folder = tmp_path_factory.mktemp("spoken")
    make_demo_corpus(folder, clips=small_demo_clips())
    return folder


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


@pytest.fixture
def environment(tmp_path: Path, prefect_api: str, prefect_home: Path) -> dict[str, str]:
    """Environment of a run: its own MLflow database, the session's Prefect server."""
    return clean_environment() | {
        "MLFLOW_TRACKING_URI": f"sqlite:///{tmp_path / 'mlflow.db'}",
        "PREFECT_API_URL": prefect_api,
        "PREFECT_HOME": str(prefect_home),
        "PYTHONPATH": str(ROOT),
        "OMP_NUM_THREADS": "1",
        "TQDM_DISABLE": "1",
    }


@pytest.fixture
def command(tmp_path: Path, corpus: Path) -> list[str]:
    """The command line of a tiny run in the test's own workspace."""
    options = [f"--preset={TINY}", f"--data-dir={corpus}", f"--workspace={tmp_path / 'workspace'}"]
    return [sys.executable, "-m", "flows", "run", *options]


@pytest.fixture
def run_flow(tmp_path: Path, command: list[str], environment: dict[str, str]) -> Run:
    """Run the command line to its end; keyword arguments are passed to subprocess.run."""

    def run(*more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*command, *more], env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=1500
        )

    return run

"""Servers that are wrong, gone or full: one line with the address and the remedy, soon, and nothing half-made."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import mlflow
import pytest
from mlflow import MlflowClient

from flows import results, tracking
from flows.__main__ import main
from flows.server_errors import masked, server_error
from sermodels.files import check_free
from tests.end_to_end.conftest import ROOT, TINY
from tests.sermodels.small_disk import fill, small_disk

CLOSED = "http://127.0.0.1:9"
SOON_S = 60


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Each test's own folder, and MLflow as a new process has it."""
    monkeypatch.chdir(tmp_path)
    for name in ("MLFLOW_RUN_ID", "MLFLOW_EXPERIMENT_NAME", "MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD"):
        monkeypatch.delenv(name, raising=False)
    for name in (tracking.RETRIES, tracking.TIMEOUT):
        monkeypatch.setenv(name, "5")  # so that what the code under test sets is undone
    mlflow.set_tracking_uri(None)
    yield
    mlflow.set_tracking_uri(None)


def refused(uri: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> str:
    """The line that the command line ends with."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    assert results.__name__ in sys.modules, "its import takes longer than what is measured"
    begun = time.monotonic()
    assert main(["results", "--docs=docs"]) == 1
    assert time.monotonic() - begun < SOON_S
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert not list(Path.cwd().iterdir()), "nothing was begun"
    return line


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        ("nonsense", "error: MLFLOW_TRACKING_URI=nonsense: not the address of a tracking server; allowed are http://"),
        ("ftp://me:secret@host", "error: MLFLOW_TRACKING_URI=ftp://me:***@host: not the address of a tracking server"),
        (CLOSED, f"error: {CLOSED}: the tracking server does not answer ([Errno 111] Connection refused); start it"),
        ("http://me:secret@127.0.0.1:9", "error: http://me:***@127.0.0.1:9: the tracking server does not answer"),
        (
            "postgresql://me:secret@127.0.0.1:9/mlflow",
            "error: postgresql://me:***@127.0.0.1:9/mlflow: the database refuses (connection to server",
        ),
        ("sqlite:////proc/nowhere/mlflow.db", "error: /proc/nowhere/mlflow.db: cannot be written"),
    ],
)
def test_a_wrong_address(
    uri: str, expected: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert refused(uri, monkeypatch, capsys).startswith(expected)


class AnotherServer(BaseHTTPRequestHandler):
    """A web server that knows nothing of MLflow."""

    def do_GET(self) -> None:
        self.send_error(404)

    def log_message(self, *_: object) -> None:
        """Nothing."""


def test_a_server_of_another_kind(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    with HTTPServer(("127.0.0.1", 0), AnotherServer) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        line = refused(f"http://127.0.0.1:{server.server_port}", monkeypatch, capsys)
        server.shutdown()
    assert "this is no MLflow server; set MLFLOW_TRACKING_URI to the address of one" in line


class HangingUp(AnotherServer):
    """A server that was reached and ends the connection in place of an answer."""

    def do_GET(self) -> None:
        self.close_connection = True

    def do_POST(self) -> None:
        self.close_connection = True


def test_a_server_that_hangs_up(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    with HTTPServer(("127.0.0.1", 0), HangingUp) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        line = refused(f"http://127.0.0.1:{server.server_port}", monkeypatch, capsys)
        server.shutdown()
    assert f"http://127.0.0.1:{server.server_port}: the server fails; its log says why" in line


@pytest.mark.parametrize(
    ("variables", "named"),
    [
        ({"MLFLOW_TRACKING_URI": CLOSED}, f"{CLOSED}: the tracking server does not answer"),
        ({"PREFECT_API_URL": f"{CLOSED}/api"}, f"{CLOSED}/api: the Prefect server does not answer"),
    ],
)
def test_a_run_does_not_begin(variables: dict[str, str], named: str, tmp_path: Path, new_database: Path) -> None:
    database = shutil.copy(new_database, tmp_path / "mlflow.db")
    own = {"MLFLOW_TRACKING_URI": f"sqlite:///{database}", "PYTHONPATH": str(ROOT), "PREFECT_HOME": str(tmp_path)}
    command = [sys.executable, "-m", "flows", "run", f"--preset={TINY}", "--overrides=corpus.names=[demo]"]
    done = subprocess.run(command, env=os.environ | own | variables, capture_output=True, text=True, timeout=600)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith(f"error: {named}"), done.stderr
    assert "Traceback" not in done.stderr
    assert not [path for path in (tmp_path / "workspace").rglob("*") if path.is_file()]


def test_a_full_artifact_store(client: MlflowClient, tmp_path: Path) -> None:
    with small_disk(tmp_path / "mlruns", kilobytes=400) as disk:
        fill(disk, leave=8192)
        with pytest.raises(OSError, match="No space left") as caught, tracking.open_run("full", tags={}) as run:
            run.log_text("x" * 100_000, "long.txt")
        assert client.get_run(run.run_id).info.status == "FAILED"
        line = str(server_error(caught.value))
        assert line.startswith(f"sqlite:///{tmp_path / 'mlflow.db'}: the disk is full")
        assert "free some space. Stages that are done are kept: the same command goes on from there" in line


def test_passwords_are_masked() -> None:
    assert (
        masked("postgresql://me:p@ss:w@host:5432/db?password=x&a=b")
        == "postgresql://me:***@host:5432/db?password=***&a=b"
    )
    assert masked("http://host:5000") == "http://host:5000"
    assert masked("sqlite:////folder/mlflow.db") == "sqlite:////folder/mlflow.db"


def test_room_is_asked_of_a_folder_that_is_not_there_yet(tmp_path: Path) -> None:
    check_free(tmp_path / "a" / "b", needed_bytes=1)

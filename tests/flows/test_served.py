"""Bundles on their way from a real registry to a server: another champion is fetched, an outage changes nothing."""

import os
import shutil
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import mlflow
import pytest
from mlflow import MlflowClient

from flows import tracking
from flows.__main__ import main
from flows.registry import CHALLENGER, CHAMPION, CLASSIFIER_MODEL, ONNX_NAMES, RegistryError
from flows.served import fetch_bundle, refresh
from serve.errors import BundleError
from tests.serve.serving import ROOT, Server, running, within
from tests.serve.versions import damage, write_version

NAME = ONNX_NAMES[CLASSIFIER_MODEL]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The database of a registry with versions 1 to 3, of which 1 is champion and 3 is damaged; copy it."""
    folder = tmp_path_factory.mktemp("registry")
    uri = f"sqlite:///{folder / 'mlflow.db'}"
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("MLFLOW_TRACKING_URI", uri)
        mlflow.set_tracking_uri(uri)
        tracking.setup()
        client = MlflowClient(uri)
        client.create_registered_model(NAME)
        for number in (1, 2, 3):
            bundle = write_version(folder / f"made-{number}", number)
            with tracking.open_run("export", tags={}) as run:
                run.log_folder(damage(bundle) if number == 3 else bundle, patterns=["**/*"], below="bundle-champion")
            client.create_model_version(NAME, bundle.as_uri(), run.run_id, tags={"bundle": "bundle-champion"})
        client.set_registered_model_alias(NAME, CHAMPION, "1")
    return folder / "mlflow.db"


@pytest.fixture
def client(store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MlflowClient:
    """A registry of the test's own, which the modules under test use."""
    shutil.copy(store, tmp_path)
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    mlflow.set_tracking_uri(uri)
    return MlflowClient(uri)


def version_in(folder: Path) -> str:
    """The version that a server would load."""
    return (folder / "current").readlink().name.split("-")[1]


def test_another_champion_comes_into_a_folder_of_its_own(client: MlflowClient, tmp_path: Path) -> None:
    served, challenger = tmp_path / "served", tmp_path / "served" / CHALLENGER
    served.joinpath(CHAMPION).mkdir(parents=True)
    served.joinpath(CHAMPION, "bundle.json").write_text("of a server that kept its bundle here")
    assert refresh(served) == "champion is version 1, challenger none"
    first = fetch_bundle(served / CHAMPION)
    assert first is not None
    assert first.manifest.provenance.classifier.version == "1"
    assert list(challenger.iterdir()) == []
    kept = {path.name: path.stat().st_mtime_ns for path in first.folder.iterdir()}

    client.set_registered_model_alias(NAME, CHAMPION, "2")
    client.set_registered_model_alias(NAME, CHALLENGER, "1")
    assert refresh(served) == "champion is version 2, challenger 1"
    assert {path.name: path.stat().st_mtime_ns for path in first.folder.iterdir()} == kept, "it may be being loaded"
    assert not served.joinpath(CHAMPION, "bundle.json").exists()
    assert (version_in(served / CHAMPION), version_in(challenger)) == ("2", "1")

    client.delete_registered_model_alias(NAME, CHALLENGER)
    assert refresh(served) == "champion is version 2, challenger none"
    assert list(challenger.iterdir()) == []
    assert not first.folder.exists(), "only what is served is kept"


def test_what_cannot_be_served_is_not_pointed_at(client: MlflowClient, tmp_path: Path) -> None:
    served = tmp_path / "served"
    refresh(served)
    client.set_registered_model_alias(NAME, CHAMPION, "3")
    with pytest.raises(BundleError, match="sha256 is"):
        refresh(served)
    client.delete_registered_model_alias(NAME, CHAMPION)
    with pytest.raises(RegistryError, match="no ser-classifier@champion is registered"):
        refresh(served)
    assert version_in(served / CHAMPION) == "1"


def test_an_empty_registry_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'empty.db'}")
    mlflow.set_tracking_uri(f"sqlite:///{tmp_path / 'empty.db'}")
    assert main(["serve", "--workspace", str(tmp_path), "--port", "0"]) == 1
    assert "no ser-classifier@champion is registered; train one first" in capfd.readouterr().err.splitlines()[-1]


@contextmanager
def serving_the_champion(tmp_path: Path) -> Iterator[Server]:
    """`python -m flows serve` on a free port, looking at the registry every half second."""
    command = [sys.executable, "-m", "flows", "serve", "--port", "0", "--refresh-s", "0.5"]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "SERMODELS_DEVICE": "cpu", "PYTHONPATH": str(ROOT)}
    with running(command, within_s=600, cwd=tmp_path, env=environment) as server:
        yield server


def version_served(server: Server) -> str:
    return str(httpx.get(f"{server.url}/v1/model", timeout=60).json()["model"]["version"])


@pytest.mark.timeout(400)
def test_a_live_server_follows_the_alias_and_outlives_the_registry(client: MlflowClient, tmp_path: Path) -> None:
    with serving_the_champion(tmp_path) as server:
        assert version_served(server) == "1"
        client.set_registered_model_alias(NAME, CHAMPION, "2")
        within(server, lambda: version_served(server) == "2", timeout_s=90.0)

        database = tmp_path / "mlflow.db"
        content = database.read_bytes()
        with database.open("r+b", buffering=0) as file:  # at once: an emptied database would be another fault
            file.write(b"no database" * 1000)
        within(server, lambda: "what is served stays" in server.log, timeout_s=90.0)
        time.sleep(3.0)
        assert server.log.count("what is served stays") == 1, "an outage is told once"
        assert version_served(server) == "2"

        database.write_bytes(content)
        client.set_registered_model_alias(NAME, CHAMPION, "1")
        within(server, lambda: version_served(server) == "1", timeout_s=90.0)

        follower = child_of(server.process.pid, "follow")
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(60) == 0, server.log
        within(server, lambda: not Path(f"/proc/{follower}/cmdline").exists(), timeout_s=90.0)


def child_of(parent: int, word: str) -> int:
    """The child process that has this word in its command line."""
    children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    (found,) = [pid for pid in children if word in Path(f"/proc/{pid}/cmdline").read_text().split("\0")]
    return int(found)


@pytest.mark.parametrize("given", ["0", "-1", "nan", "soon"])
def test_a_follower_looks_now_and_then(given: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["follow", "--refresh-s", given])
    assert "--refresh-s: invalid" in capsys.readouterr().err

"""What the tests of flows share."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import mlflow
import pytest
from mlflow import MlflowClient

from flows import tracking
from flows.migration import up_to_date


@pytest.fixture(scope="session")
def new_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SQLite file with MLflow's tables and nothing in them, to be copied: making one takes seconds."""
    file = tmp_path_factory.mktemp("tables") / "mlflow.db"
    with up_to_date(f"sqlite:///{file}"):
        return file


@pytest.fixture
def client(tmp_path: Path, new_database: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[MlflowClient]:
    """A fresh store that the modules under test use."""
    monkeypatch.chdir(tmp_path)
    for name in ("MLFLOW_RUN_ID", "MLFLOW_EXPERIMENT_NAME"):
        monkeypatch.delenv(name, raising=False)
    shutil.copy(new_database, tmp_path / "mlflow.db")
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    mlflow.set_tracking_uri(uri)
    tracking.setup()
    yield MlflowClient(uri)
    while mlflow.active_run():
        mlflow.end_run()

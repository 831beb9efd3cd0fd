"""The servers of a team: who is refused, and two pipelines at once, killed, cut off, resumed, backed up, restored."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import mlflow
import numpy as np
import psycopg2
import pytest
from mlflow import MlflowClient
from mlflow.entities import Run

from flows import tracking
from flows.__main__ import main
from flows.server_errors import server_error
from sermodels.files import sha256_of_file
from tests.end_to_end.conftest import TINY
from tests.flows.first_starts import check_first_starts
from tests.services.conftest import ADMIN, Services
from tests.services.pipeline import WAIT_S, Pipeline
from tests.services.postgres import Postgres

STAGES = 11
"""Children of a whole run: caching, four classifiers, embedding, diffusion, synthesis, editing and export."""
KEPT = "Stages that are done are kept"


@pytest.fixture
def client(services: Services, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[MlflowClient]:
    """This process as a client of the team's server."""
    monkeypatch.chdir(tmp_path)
    mlflow.set_tracking_uri(None)  # before the variable is set, which this would take away
    values = ADMIN | {"MLFLOW_TRACKING_URI": services.tracking_uri, tracking.RETRIES: "1", tracking.TIMEOUT: "20"}
    for name, value in values.items():
        monkeypatch.setenv(name, value)
    yield MlflowClient()
    mlflow.set_tracking_uri(None)
    os.environ.pop("MLFLOW_EXPERIMENT_ID", None)  # which mlflow.set_experiment leaves behind


def test_first_starts_on_a_new_database(postgres: Postgres, tmp_path: Path) -> None:
    postgres.create("first_starts")
    check_first_starts(postgres.url("first_starts"), tmp_path)


def test_wrong_password_of_the_database(
    postgres: Postgres, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    mlflow.set_tracking_uri(None)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", postgres.url("mlflow", password="guessed"))
    assert main(["results"]) == 1
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert "sermodels:***@" in line
    assert "the database refuses" in line
    assert "password authentication failed" in line
    assert "guessed" not in line


@pytest.mark.usefixtures("client")
def test_wrong_password_of_the_tracking_server(
    services: Services, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "guessed")
    assert main(["results"]) == 1
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert line.startswith(
        f"error: {services.tracking_uri}: user name or password refused; set MLFLOW_TRACKING_USERNAME"
    )


def test_wrong_password_of_prefect(services: Services, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "flows", "run", f"--preset={TINY}", "--overrides=corpus.names=[demo]"]
    environment = services.environment() | {"PREFECT_API_AUTH_STRING": "team:guessed"}
    done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=600)
    assert done.returncode == 1
    expected = f"error: {services.prefect}: user name or password refused; set PREFECT_API_AUTH_STRING"
    assert done.stderr.splitlines()[-1].startswith(expected), done.stderr
    assert "Traceback" not in done.stderr


def test_an_artifact_store_that_is_gone(services: Services, client: MlflowClient) -> None:
    tracking.setup()
    tracking.check_artifacts()
    services.artifacts.shut()
    try:
        with pytest.raises(mlflow.MlflowException) as early:
            tracking.check_artifacts()
        with pytest.raises(mlflow.MlflowException) as late, tracking.open_run("cut off", tags={}) as run:
            run.log_text("text", "text.txt")
    finally:
        services.artifacts.open()
    for caught in (early, late):
        line = str(server_error(caught.value))
        assert line.startswith(f"{services.tracking_uri}: the server fails; its log says why"), line
    assert client.get_run(run.run_id).info.status == "FAILED"
    tracking.check_artifacts()
    client.delete_run(run.run_id)


def runs(client: MlflowClient) -> list[Run]:
    """All runs of all experiments."""
    return list(client.search_runs([experiment.experiment_id for experiment in client.search_experiments()]))


@pytest.fixture
def machines(services: Services, corpus: Path, tmp_path: Path) -> Iterator[tuple[Pipeline, Pipeline]]:
    """Two machines of the team."""
    one, other = (Pipeline(services, corpus, tmp_path / f"machine-{seed}", seed=seed) for seed in (1, 2))
    yield one, other
    one.kill()
    other.kill()


@pytest.mark.timeout(3000)
def test_two_at_once_one_killed_and_cut_off(
    services: Services, machines: tuple[Pipeline, Pipeline], client: MlflowClient
) -> None:
    one, other = machines
    first, killed = one.start(MLFLOW_TRACKING_URI=services.past_the_gate), other.start()
    other.wait_for("baseline", killed)
    other.kill()
    cut_off = other.start(MLFLOW_HTTP_REQUEST_MAX_RETRIES="2")
    other.wait_for("diffusion", cut_off)
    services.tracking.shut()
    text = cut_off.communicate(timeout=WAIT_S)[0]
    assert cut_off.returncode == 1
    (line,) = [line for line in text.splitlines() if line.startswith("error: ")]
    assert line.startswith(f"error: {services.tracking_uri}: the tracking server does not answer (")
    assert KEPT in line
    done = other.complete()
    assert any(stage.startswith("augmentation") for stage in done)
    services.tracking.open()

    for process in (other.start(), first):
        text = process.communicate(timeout=WAIT_S)[0]
        assert process.returncode == 0, text[-3000:]
    assert done <= other.complete()
    check_runs(client)
    check_registry(client, (one, other))
    check_prefect(services)


def check_runs(client: MlflowClient) -> None:
    """Two whole pipelines, what was killed is marked so, and everything is in one experiment."""
    found = runs(client)
    by_parent: dict[str, list[Run]] = {}
    for run in found:
        by_parent.setdefault(run.data.tags.get("mlflow.parentRunId", ""), []).append(run)
    assert sorted(run.info.status for run in by_parent[""]) == ["FINISHED", "FINISHED", "KILLED", "KILLED"]
    for parent in by_parent[""]:
        children = [run.info.status for run in by_parent[parent.info.run_id]]
        if parent.info.status == "FINISHED":
            assert children == ["FINISHED"] * STAGES
        else:
            assert "RUNNING" not in children
    assert len({run.info.experiment_id for run in found}) == 1
    resumed = max(by_parent[""], key=lambda run: int(run.info.start_time))
    reused = [run for run in by_parent[resumed.info.run_id] if run.data.tags.get("reused") == "true"]
    assert {"caching", "baseline", "augmentation"} <= {run.data.tags["stage"] for run in reused}


def check_registry(client: MlflowClient, pipelines: tuple[Pipeline, ...]) -> None:
    """Each classifier is registered once with the bytes that its machine has, and the champion answers."""
    made = {
        sha256_of_file(file)
        for pipeline in pipelines
        for file in pipeline.folder.glob("workspace/stages/*/classifier.safetensors")
    }
    versions = client.search_model_versions("name='ser-classifier'")
    assert len(versions) == len(made) == 8
    folders = [Path(mlflow.artifacts.download_artifacts(f"models:/ser-classifier/{one.version}")) for one in versions]
    assert {sha256_of_file(next(folder.rglob("*.safetensors"))) for folder in folders} == made
    loaded = mlflow.pyfunc.load_model("models:/ser-classifier@champion")
    assert loaded.predict(np.zeros((1, 80, 50), dtype=np.float32)).shape == (1, 6)
    exported = client.get_model_version_by_alias("ser-classifier-onnx", "champion")
    champion = client.get_model_version_by_alias("ser-classifier", "champion")
    assert exported.tags["parent_version"] == champion.version
    bundle = client.list_artifacts(exported.run_id, exported.tags["bundle"])
    assert {"classifier.onnx", "bundle.json"} <= {Path(file.path).name for file in bundle}


def check_prefect(services: Services) -> None:
    """Prefect's own records are in PostgreSQL."""
    with psycopg2.connect(services.postgres.url("prefect")) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT state_type, count(*) FROM flow_run GROUP BY state_type")
        found = dict(cursor.fetchall())
    connection.close()
    assert found["COMPLETED"] == 2
    assert found["FAILED"] == 1


def test_backup_and_restore(services: Services, tmp_path: Path, client: MlflowClient) -> None:
    """Dump, lose everything, restore: the same runs, versions and bytes, through the same server."""

    def records() -> tuple[dict[str, object], dict[str, object]]:
        versions = {f"{one.name} {one.version}": dict(one) for one in client.search_model_versions()}
        return {run.info.run_id: record(run) for run in runs(client)}, versions

    def record(run: Run) -> tuple[object, ...]:
        datasets = sorted((one.dataset.name, one.dataset.digest) for one in run.inputs.dataset_inputs)
        return dict(run.info), run.data.to_dictionary(), datasets

    with_a_model = client.search_model_versions("name='ser-classifier'")[0]
    before, postgres, bucket = records(), services.postgres, services.bucket()
    for database in ("mlflow", "mlflow_auth"):
        postgres.run("pg_dump", "--format=custom", f"--file={tmp_path / database}.dump", database)
    kept = {item.key: item.get()["Body"].read() for item in bucket.objects.all()}
    assert kept
    bucket.objects.delete()
    for database in ("mlflow", "mlflow_auth"):
        postgres.run("dropdb", "--force", database)
        postgres.create(database)
        postgres.run("pg_restore", "--exit-on-error", f"--dbname={database}", f"{tmp_path / database}.dump")
    for key, content in kept.items():
        bucket.put_object(Key=key, Body=content)

    assert records() == before
    folder = mlflow.artifacts.download_artifacts(f"models:/ser-classifier/{with_a_model.version}")
    assert list(Path(folder).rglob("*.safetensors"))
    shutil.rmtree(folder)

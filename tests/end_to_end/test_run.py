"""The whole pipeline by its command line on a small spoken corpus: what MLflow and Prefect hold afterwards."""

import json
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pytest
from mlflow import MlflowClient
from mlflow.entities import Run as MlflowRun

from flows.served import fetch_bundle
from tests.end_to_end.conftest import WholeRun, environment_of, run_flow

CLASSIFIERS = ("baseline", "augmentation", "retraining", "oversampling")
STAGES = {"caching", "embedding", "diffusion", "synthesis", "editing", *CLASSIFIERS, "gate", "export"}


def rows(database: Path, query: str) -> list[tuple[object, ...]]:
    """Rows of a query on a SQLite file."""
    with sqlite3.connect(database) as connection:
        found: list[tuple[object, ...]] = connection.execute(query).fetchall()
    connection.close()
    return found


def runs_of(database: Path) -> tuple[MlflowRun, dict[str, MlflowRun]]:
    """The newest parent run and its children by stage."""
    client = MlflowClient(f"sqlite:///{database}")
    experiment = client.get_experiment_by_name("sermodels")
    assert experiment is not None
    everything = client.search_runs([experiment.experiment_id])
    parent = next(run for run in everything if "mlflow.parentRunId" not in run.data.tags)
    children = [run for run in everything if run.data.tags.get("mlflow.parentRunId") == parent.info.run_id]
    return parent, {run.data.tags["stage"]: run for run in children}


def artifacts(database: Path, run: MlflowRun, folder: str = "") -> set[str]:
    """Paths of a run's artifacts in a folder."""
    found = MlflowClient(f"sqlite:///{database}").list_artifacts(run.info.run_id, folder or None)
    return {file.path for file in found}


def test_a_run_and_its_rerun(whole_run: WholeRun, prefect_api: str, prefect_home: Path, corpus: Path) -> None:
    folder = whole_run.folder
    environment, database = environment_of(folder, prefect_api, prefect_home), folder / "mlflow.db"
    parent, children = runs_of(database)
    check_runs(database, parent, children)
    check_registry(database, children)
    check_export(database, folder)
    check_prefect(whole_run)
    check_output(whole_run.output, folder)
    check_evaluation(folder, corpus, environment)
    run_flow(folder, corpus, environment)
    check_rerun(database, parent, children)
    third = run_flow(folder, corpus, environment, "--overrides=augmentation.probability=0.5")
    check_gate(database, prefect_home, third)


def evaluate(folder: Path, environment: dict[str, str], *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "flows", "evaluate", f"--workspace={folder / 'workspace'}", *options]
    return subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True, timeout=900)


def check_evaluation(folder: Path, corpus: Path, environment: dict[str, str]) -> None:
    """The champion on its own corpus: what it was taught is left out, and the rest gives the figures of its test."""
    client = MlflowClient(environment["MLFLOW_TRACKING_URI"])
    version = client.get_model_version_by_alias("ser-classifier", "champion")
    trained = client.get_run(version.run_id).data.metrics

    ended = evaluate(folder, environment, str(corpus))
    assert ended.returncode == 0, ended.stderr[-3000:]
    assert "recordings left out that the model was trained or chosen on" in ended.stdout
    experiment = client.get_experiment_by_name("sermodels")
    assert experiment is not None
    (run,) = client.search_runs([experiment.experiment_id], "tags.stage = 'evaluation'")
    assert run.info.status == "FINISHED"
    for name in ("uar", "accuracy", "macro_f1"):
        assert run.data.metrics[name] == pytest.approx(trained[f"test/{name}"], abs=1e-6)
    for name in ("uar", "uar_known_speakers", "uar_known_corpus"):
        assert run.data.metrics[f"{name}_low"] <= run.data.metrics[name] <= run.data.metrics[f"{name}_high"]
    assert {file.path for file in client.list_artifacts(run.info.run_id)} == {
        "predictions.csv",
        "confusion.png",
        "report.md",
    }
    unknown = evaluate(folder, environment, str(corpus), "--model=ser-classifier/99")
    assert unknown.returncode == 1
    assert "there is no ser-classifier/99; name a version as ser-classifier@champion" in unknown.stderr


def check_runs(database: Path, parent: MlflowRun, children: dict[str, MlflowRun]) -> None:
    """A parent and a child for each stage, ended well, with parameters, metrics, datasets and artifacts."""
    assert set(children) == STAGES
    assert {run.info.status for run in [parent, *children.values()]} == {"FINISHED"}
    assert parent.data.params["training.epochs"] == "3"
    assert parent.data.params["diffusion.frames"] == "32"
    assert "comparison.md" in artifacts(database, parent)
    assert len(parent.inputs.dataset_inputs) == 1
    client = MlflowClient(f"sqlite:///{database}")
    for name in CLASSIFIERS:
        run = children[name]
        assert [metric.step for metric in client.get_metric_history(run.info.run_id, "val/uar")] == [0, 1, 2]
        assert {
            "test/uar",
            "development/uar",
            "gap",
            "test/recall/anger",
            "test/uar/corpus/emodb",
        } <= run.data.metrics.keys()
        expected = {
            "confusion-test.png",
            "confusion-development.png",
            "curves.png",
            "predictions-test.csv",
            "history.json",
        }
        assert expected <= artifacts(database, run)
        contexts = {tag.value for one in run.inputs.dataset_inputs for tag in one.tags}
        assert contexts == {"training", "development", "test"}
        assert parent.data.metrics[f"{name}/test_uar"] == pytest.approx(run.data.metrics["test/uar"])
    assert {"embeddings.png", "embeddings.safetensors"} <= artifacts(database, children["embedding"])
    assert len(artifacts(database, children["diffusion"], "samples")) == 2
    assert len(client.get_metric_history(children["diffusion"].info.run_id, "train/loss")) >= 3
    assert len(artifacts(database, children["synthesis"], "audio")) == 6
    assert children["caching"].data.metrics["clips"] == 108


def check_registry(database: Path, children: dict[str, MlflowRun]) -> None:
    """A version a candidate stage, the champion has the best development UAR, and loaded models work."""
    client = MlflowClient(f"sqlite:///{database}")
    versions = client.search_model_versions("name='ser-classifier'")
    assert sorted(version.tags["stage"] for version in versions) == sorted(CLASSIFIERS)
    champion = client.get_model_version_by_alias("ser-classifier", "champion")
    best = max(CLASSIFIERS, key=lambda name: children[name].data.metrics["development/uar"])
    best_uar = children[best].data.metrics["development/uar"]
    assert "| UAR, 95 % interval over speakers |" in str(champion.description)
    assert "Not for" in str(client.get_model_version_by_alias("ser-diffusion", "champion").description)
    assert float(champion.tags["development_uar"]) == pytest.approx(best_uar, abs=1e-6)
    mlflow.set_tracking_uri(f"sqlite:///{database}")
    classifier = mlflow.pyfunc.load_model("models:/ser-classifier@champion")
    probabilities = classifier.predict(np.random.default_rng(0).normal(-40, 10, (3, 80, 44)).astype(np.float32))
    np.testing.assert_allclose(probabilities.sum(axis=1), 1.0, atol=1e-5)
    assert classifier.metadata.signature is not None
    diffusion = mlflow.pyfunc.load_model("models:/ser-diffusion@champion")
    log_mels = diffusion.predict(pd.DataFrame({"emotion": ["fear", "anger"], "number": [0, 1]}))
    assert log_mels.shape == (2, 80, 32)
    assert np.isfinite(log_mels).all()


def check_export(database: Path, folder: Path) -> None:
    """The ONNX versions stand beside their parents under the same aliases, load, and agree with them."""
    client = MlflowClient(f"sqlite:///{database}")
    for alias, parts in (("champion", ("classifier", "diffusion")), ("challenger", ("classifier",))):
        for part in parts:
            parent = client.get_model_version_by_alias(f"ser-{part}", alias)
            exported = client.get_model_version_by_alias(f"ser-{part}-onnx", alias)
            assert exported.tags["parent_version"] == str(parent.version)
    served = mlflow.pyfunc.load_model("models:/ser-classifier-onnx@champion")
    waveform = np.random.default_rng(0).normal(0, 0.1, (2, 22_050)).astype(np.float32)
    np.testing.assert_allclose(served.predict({"waveform": waveform})["probabilities"].sum(axis=1), 1.0, atol=1e-5)
    bundle = fetch_bundle(folder / "served")
    assert bundle is not None
    assert bundle.manifest.parity["classifier/silence/probabilities"] < 1e-4
    assert bundle.has("sampler.onnx")
    assert "| UAR, 95 % interval over speakers |" in bundle.path("card.md").read_text(encoding="utf-8")


def check_prefect(run: WholeRun) -> None:
    """The flow ended Completed with a task run a stage, a progress bar and the comparison as a table."""
    database = run.prefect_home / "prefect.db"
    name = run.output.split("Flow run '")[1].split("'")[0]  # other tests run flows on that server meanwhile
    assert rows(database, f"select state_name from flow_run where name = '{name}'") == [("Completed",)]
    names = {str(name) for (name,) in rows(database, "select name from task_run")}
    assert all(any(name.startswith(stage) for name in names) for stage in STAGES)
    kinds = {kind for (kind,) in rows(database, "select distinct type from artifact")}
    assert {"progress", "table"} <= kinds
    ((table,),) = rows(database, "select data from artifact where key = 'comparison' order by created desc limit 1")
    assert [row["stage"] for row in json.loads(json.loads(str(table)))] == [
        "A baseline",
        "B augmentation",
        "C retraining",
        "D oversampling",
    ]


def check_output(text: str, folder: Path) -> None:
    """The run ends with the table and the commands that open the UIs and serve the champion."""
    assert "| C retraining" in text
    assert f"mlflow ui --backend-store-uri sqlite:///{folder / 'mlflow.db'}" in text
    assert "http://127.0.0.1:5000/#/experiments/1/runs?workflowType=machine_learning" in text
    assert "Prefect UI" in text
    assert f"-m flows serve --workspace {folder / 'workspace'}" in text


def check_rerun(database: Path, parent: MlflowRun, children: dict[str, MlflowRun]) -> None:
    """A second run does no work, registers nothing twice, and shows the same figures."""
    again, again_children = runs_of(database)
    assert again.info.run_id != parent.info.run_id
    assert {run.data.tags["reused"] for name, run in again_children.items() if name not in ("gate", "export")} == {
        "true"
    }
    assert again_children["caching"].data.metrics["cache/computed"] == 0
    assert again.data.metrics == parent.data.metrics
    assert again_children["retraining"].data.metrics == children["retraining"].data.metrics
    assert len(MlflowClient(f"sqlite:///{database}").search_model_versions("name='ser-classifier'")) == 4
    assert len(MlflowClient(f"sqlite:///{database}").search_model_versions("name='ser-classifier-onnx'")) == 2


def check_gate(database: Path, home: Path, output: str) -> None:
    """A run with other settings meets the champion, and the one that remains is the one whose graph is served."""
    client = MlflowClient(f"sqlite:///{database}")
    _, children = runs_of(database)
    gate = children["gate"]
    assert gate.info.status == "FINISHED"
    assert {"gate/uar_gain_low", "gate/recall_fear", "gate/parity_sampler", "uar"} <= gate.data.metrics.keys()
    decision = gate.data.tags["decision"]
    assert f"{gate.data.tags['candidate']}: {decision} (against {gate.data.tags['against']})" in output
    champion = client.get_model_version_by_alias("ser-classifier", "champion")
    winner = gate.data.tags["candidate" if decision == "passed" else "against"]
    assert winner == f"ser-classifier {champion.version}"
    served = client.get_model_version_by_alias("ser-classifier-onnx", "champion")
    assert served.tags["parent_version"] == str(champion.version)
    query = f"select event from events where event like 'sermodels.%' and payload like '%{gate.info.run_id}%'"
    deadline = time.monotonic() + 60
    while not (told := rows(home / "prefect.db", query)) and time.monotonic() < deadline:
        time.sleep(0.5)  # the server writes events when it has time
    assert told == [(f"sermodels.champion.{'promoted' if decision == 'passed' else 'refused'}",)]
    ((text,),) = rows(
        home / "prefect.db", "select data from artifact where key = 'promotion' order by created desc limit 1"
    )
    assert gate.data.tags["candidate"] in str(text)

"""Runs in MLflow that have ended: found by their tags, and what they left."""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import mlflow
from mlflow import MlflowClient
from mlflow.entities import Run

from flows import tracking

COMPUTED_TAG = "computed"
"""On a run whose stage ran elsewhere: when it ended there."""


@dataclass(frozen=True)
class FinishedRun:
    """A run that ended well: its tags, its parameters and what it measured."""

    run_id: str
    computed: float
    """When it ended, or what it holds was computed elsewhere: in seconds since 1970."""
    tags: dict[str, str]
    params: dict[str, str]
    metrics: dict[str, float]


def finished_runs(tags: Mapping[str, str]) -> list[FinishedRun]:
    """The experiment's finished runs with these tags, the newest first."""
    experiment = mlflow.get_experiment_by_name(tracking.experiment_name())
    if experiment is None:
        return []
    query = " and ".join(["attributes.status = 'FINISHED'", *(f"tags.`{key}` = '{tags[key]}'" for key in tags)])
    found = mlflow.search_runs([experiment.experiment_id], query, output_format="list")
    runs = [
        FinishedRun(r.info.run_id, _computed(r), dict(r.data.tags), dict(r.data.params), dict(r.data.metrics))
        for r in found
    ]
    return sorted(runs, key=lambda run: -run.computed)


def _computed(run: Run) -> float:
    """When what a run of MLflow holds was computed, in seconds since 1970."""
    elsewhere = run.data.tags.get(COMPUTED_TAG)
    return datetime.fromisoformat(elsewhere).timestamp() if elsewhere else run.info.end_time / 1000


def params_of(run_id: str) -> dict[str, str]:
    """The parameters of a run, as text."""
    return dict(MlflowClient().get_run(run_id).data.params)


def fetch_file(run_id: str, file: str, folder: Path) -> Path:
    """An artifact of a run, in `folder`."""
    return Path(MlflowClient().download_artifacts(run_id, file, made(folder)))


def has_file(run_id: str, file: str) -> bool:
    """Whether a run has an artifact of this name at its top."""
    return any(artifact.path == file for artifact in MlflowClient().list_artifacts(run_id))


def fetch_artifacts(run_id: str, place: str, folder: Path) -> None:
    """A run's artifact folder as `folder`, there whole or not at all."""
    scratch = folder.with_name(f".{folder.name}.part")
    shutil.rmtree(scratch, ignore_errors=True)
    fetched = MlflowClient().download_artifacts(run_id, place, made(scratch))
    Path(fetched).rename(folder)
    shutil.rmtree(scratch)


def made(folder: Path) -> str:
    """The folder, which exists now."""
    folder.mkdir(parents=True, exist_ok=True)
    return str(folder)

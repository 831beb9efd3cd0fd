"""What can go: failed and killed runs with their artifacts and models, and stage folders that no run knows."""

import os
import shutil
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import mlflow
import mlflow.cli
from filelock import FileLock, Timeout
from mlflow import MlflowClient
from mlflow.entities import FileInfo, LoggedModel, Run, ViewType

from flows.sweeper import MS_PER_H, PARENT_TAG
from flows.tracking import STAGE_KEY_TAG, shown_uri, tracking_uri
from sermodels.store import COMPLETE, KEY_LENGTH

DEAD = ("FAILED", "KILLED")
BACKEND = "MLFLOW_BACKEND_STORE_URI"
UNNAMED_STAGES = ("splitting",)
"""Stages without a run of their own: small, and never deleted."""


@dataclass(frozen=True)
class Rubbish:
    """What would be deleted, and what is already in MLflow's trash, which is emptied along with it."""

    runs: tuple[tuple[Run, int], ...]
    """Each run with the bytes of its artifacts and models."""
    models: tuple[LoggedModel, ...]
    folders: tuple[tuple[Path, int], ...]
    trash: tuple[str, ...]

    def __bool__(self) -> bool:
        """Whether there is anything."""
        return bool(self.runs or self.folders or self.trash)

    def text(self) -> str:
        """A line for each thing, with its size."""
        lines = [
            f"  run {run.info.run_id} {run.info.status} {run.info.run_name}: {_mb(size)}" for run, size in self.runs
        ]
        lines += [f"  {folder}: {_mb(size)}" for folder, size in self.folders]
        lines += [f"  in MLflow's trash since before: {name}" for name in self.trash]
        total = sum(size for _, size in (*self.runs, *self.folders))
        title = f"{shown_uri()}: {len(self.runs)} runs and {len(self.folders)} stage folders can go, {_mb(total)}"
        return "\n".join([title, *lines])


def find_rubbish(experiment_id: str, workspace: Path, *, older_than_h: float) -> Rubbish:
    """What is dead since so many hours.

    A failed or killed run goes with all below it, if no registered version comes from one of them, none still runs, and
    what finished among them was logged again by a later run. If not, those go that failed and have none below them.
    """
    client = MlflowClient()
    limit_ms = int(time.time() * 1000 - older_than_h * MS_PER_H)
    runs: list[Run] = mlflow.search_runs([experiment_id], output_format="list")
    dead = _dead_runs(runs, _registered(client), limit_ms)
    doomed = {run.info.run_id for run in dead}
    models = tuple(model for model in _logged_models(client, experiment_id) if model.source_run_id in doomed)
    keys = {run.data.tags.get(STAGE_KEY_TAG, "") for run in runs if run.info.run_id not in doomed}
    folders = _unused_folders(workspace, keys, limit_ms)
    return Rubbish(
        tuple((run, _size_of(client, run, models)) for run in dead),
        models,
        tuple((folder, _folder_size(folder)) for folder in folders),
        _trash(client),
    )


def delete_rubbish(rubbish: Rubbish) -> None:
    """Delete it all.

    Behind an http server runs are marked as deleted, and freed if MLFLOW_BACKEND_STORE_URI names the server's database.
    """
    client = MlflowClient()
    for model in rubbish.models:
        client.delete_logged_model(model.model_id)
    for run, _ in rubbish.runs:
        client.delete_run(run.info.run_id)
    backend = os.environ.get(BACKEND) or ("" if tracking_uri().startswith("http") else tracking_uri())
    if backend:
        options = ["--backend-store-uri", backend, "--tracking-uri", tracking_uri()]
        mlflow.cli.gc.main(options, standalone_mode=False)
    elif rubbish.runs or rubbish.trash:
        print(f"marked as deleted; to free their space, run this again with {BACKEND}=(the server's database)")
    for folder, _ in rubbish.folders:
        _delete_folder(folder)


def _dead_runs(runs: Sequence[Run], registered: set[str], limit_ms: int) -> list[Run]:
    """The runs that can go, by the rules of `find_rubbish`."""
    trees = _trees(runs)
    living = [run for root, *below in trees if root.info.status not in DEAD for run in (root, *below)]
    logged = {run.data.tags.get(STAGE_KEY_TAG) for run in living if run.info.status == "FINISHED"} - {None}

    def can_go(run: Run) -> bool:
        over = run.info.status in DEAD or (run.info.status == "FINISHED" and run.data.tags.get(STAGE_KEY_TAG) in logged)
        return (
            over and max(run.info.start_time, run.info.end_time or 0) < limit_ms and run.info.run_id not in registered
        )

    found: list[Run] = []
    for tree in trees:
        whole = tree[0].info.status in DEAD and all(map(can_go, tree))
        parents = {run.data.tags.get(PARENT_TAG) for run in tree}
        found += [
            run for run in tree if whole or (run.info.status in DEAD and run.info.run_id not in parents and can_go(run))
        ]
    return found


def _trees(runs: Sequence[Run]) -> list[list[Run]]:
    """Each run without a parent, and those below it."""
    by_id = {run.info.run_id: run for run in runs}
    trees: dict[str, list[Run]] = {}
    for run in sorted(runs, key=lambda run: run.data.tags.get(PARENT_TAG) in by_id):  # roots first
        root = run
        while parent := by_id.get(root.data.tags.get(PARENT_TAG, "")):
            root = parent
        trees.setdefault(root.info.run_id, []).append(run)
    return list(trees.values())


def _registered(client: MlflowClient) -> set[str]:
    """The runs that registered versions come from."""
    return {str(version.run_id) for version in _all(lambda token: client.search_model_versions(page_token=token))}


def _logged_models(client: MlflowClient, experiment_id: str) -> list[LoggedModel]:
    """All models of the experiment."""
    return _all(lambda token: client.search_logged_models([experiment_id], page_token=token))


def _trash(client: MlflowClient) -> tuple[str, ...]:
    """What was marked as deleted in MLflow before: runs, and whole experiments."""
    experiments = _all(lambda token: client.search_experiments(view_type=ViewType.ALL, page_token=token))
    names = [experiment.experiment_id for experiment in experiments]
    deleted: list[Run] = mlflow.search_runs(names, run_view_type=ViewType.DELETED_ONLY, output_format="list")
    return (
        *(f"run {run.info.run_id} {run.info.run_name}" for run in deleted),
        *(f"experiment {one.name}" for one in experiments if one.lifecycle_stage == "deleted"),
    )


def _all(page_of: Callable[[str | None], Any]) -> list[Any]:
    """All pages of a search."""
    found, token = [], None
    while True:
        page = page_of(token)
        found += page
        token = page.token
        if not token:
            return found


def _unused_folders(workspace: Path, keys: set[str], limit_ms: int) -> list[Path]:
    """Stage folders that none of these stage keys names, untouched since the limit.

    None at all if the keys name no folder: then the workspace belongs to another tracking server.
    """
    folders = sorted(folder for folder in (workspace / "stages").glob("*-*") if folder.is_dir())
    known = {key[:KEY_LENGTH] for key in keys}
    unused = [folder for folder in folders if folder.name.rpartition("-")[2] not in known]
    if len(unused) == len(folders) and any((folder / COMPLETE).exists() for folder in folders):
        print(f"{workspace}: {shown_uri()} knows none of its stages; its folders are left alone")
        return []
    return [
        folder
        for folder in unused
        if folder.name.rpartition("-")[0] not in UNNAMED_STAGES and _newest_ms(folder) < limit_ms
    ]


def _newest_ms(folder: Path) -> float:
    """When something in a folder was last written, in milliseconds since 1970."""
    return max(path.stat().st_mtime for path in (folder, *folder.rglob("*"))) * 1000


def _delete_folder(folder: Path) -> None:
    """Delete a stage's folder, unless a process works in it."""
    try:
        with FileLock(folder.with_suffix(".lock"), timeout=0):
            shutil.rmtree(folder)
    except Timeout:
        print(f"{folder}: in use, and left alone")


def _size_of(client: MlflowClient, run: Run, models: Iterable[LoggedModel]) -> int:
    """The bytes of a run's artifacts and of the models that it logged."""
    run_id = run.info.run_id
    own = [model.model_id for model in models if model.source_run_id == run_id]
    listings = [
        partial(client.list_artifacts, run_id),
        *(partial(client.list_logged_model_artifacts, one) for one in own),
    ]
    return sum(map(_artifact_bytes, listings))


def _artifact_bytes(listed: Callable[[str | None], list[FileInfo]], place: str | None = None) -> int:
    """The bytes of all files below a place of an artifact store."""
    return sum(
        _artifact_bytes(listed, file.path) if file.is_dir else int(file.file_size or 0) for file in listed(place)
    )


def _folder_size(folder: Path) -> int:
    """The bytes of all files below a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _mb(size: int) -> str:
    """Bytes for people."""
    return f"{size / 1e6:,.1f} MB"

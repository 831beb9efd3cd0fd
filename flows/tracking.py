"""Runs in MLflow: opened and closed, with parameters, metrics and artifacts."""

import os
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import mlflow
from matplotlib.figure import Figure
from mlflow import MlflowClient
from mlflow.entities import Experiment, RunInfo
from mlflow.exceptions import MlflowException

from flows.migration import up_to_date
from flows.server_errors import ServerError, masked
from flows.sweeper import close_abandoned_runs, close_children, close_dead_runs, owner_tags
from sermodels.files import check_free

EXPERIMENT = "sermodels"
ROOT = Path(__file__).resolve().parents[1]
STAGE_KEY_TAG = "stage_key"
CORPUS_TAG = "corpus_digest"
"""On a pipeline's run: the digest of all that its corpus folders held, unreadable recordings included."""
NEEDED_BYTES = 1_000_000_000
"""Of free space for artifacts on a local disk."""
BACKENDS = ("http", "https", "sqlite", "postgresql", "mysql", "mssql", "databricks")
RETRIES, TIMEOUT = "MLFLOW_HTTP_REQUEST_MAX_RETRIES", "MLFLOW_HTTP_REQUEST_TIMEOUT"
PATIENCE = {RETRIES: "5", TIMEOUT: "60"}
"""A server may be away for a minute; MLflow's own patience is four minutes a request."""
QUIET = {"MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false"}
"""A run fetches dozens of small artifacts, and a bar for each would hide what it says."""
IMPATIENCE = {RETRIES: "1", TIMEOUT: "20"}


@dataclass(frozen=True)
class Run:
    """An open MLflow run, and what the stages report to it."""

    run_id: str
    experiment_id: str
    tracking_uri: str
    """Where it is kept: tasks on the workers of a cluster have another environment than their flow."""

    def log_epoch(self, record: Mapping[str, float]) -> None:
        """All metrics of one epoch in one request."""
        metrics = {name: value for name, value in record.items() if name != "epoch"}
        mlflow.log_metrics(metrics, step=int(record["epoch"]), run_id=self.run_id)

    def log_metrics(self, metrics: Mapping[str, float]) -> None:
        """Final figures."""
        mlflow.log_metrics(dict(metrics), run_id=self.run_id)

    def log_params(self, params: Mapping[str, Any]) -> None:
        """Parameters that the run does not have yet; lists and None as text."""
        known = MlflowClient().get_run(self.run_id).data.params
        fresh = {name: value for name, value in params.items() if name not in known}
        mlflow.log_params(fresh, run_id=self.run_id)

    def log_folder(self, folder: Path, *, patterns: Sequence[str], below: str = "") -> None:
        """The files of a folder that match, as artifacts at the same places below `below`."""
        for path in sorted({path for pattern in patterns for path in folder.glob(pattern) if path.is_file()}):
            self.log_file(path, str(below / path.parent.relative_to(folder)))

    def log_file(self, path: Path, place: str = ".") -> None:
        """One file as an artifact."""
        mlflow.log_artifact(str(path), None if place == "." else place, run_id=self.run_id)

    def log_text(self, text: str, file: str) -> None:
        """A text as an artifact."""
        mlflow.log_text(text, file, run_id=self.run_id)

    def log_picture(self, figure: Figure, file: str) -> None:
        """A picture as an artifact."""
        MlflowClient().log_figure(self.run_id, figure, file)

    def set_tags(self, tags: Mapping[str, str]) -> None:
        """Tags of the run."""
        client = MlflowClient()
        for name, value in tags.items():
            client.set_tag(self.run_id, name, value)


def setup() -> None:
    """Choose the tracking server and the experiment, close runs that nothing works on any more.

    MLFLOW_TRACKING_URI wins; without it everything goes to `mlflow.db` in the working directory, whose tables are made
    first. Under `mlflow run` the experiment is that of the run which is waiting to be adopted. Raises ServerError.
    """
    with up_to_date(choose_server()):
        experiment = _experiment()
    # By its number once more: of two processes that create the name at once, MLflow leaves one in another experiment.
    mlflow.set_experiment(experiment_id=experiment.experiment_id)
    close_dead_runs(experiment.experiment_id)
    close_abandoned_runs(experiment.experiment_id)


def choose_server() -> str:
    """The address that MLFLOW_TRACKING_URI names, or of `mlflow.db` in the working directory. Raises ServerError."""
    for name, value in (PATIENCE | QUIET).items():
        os.environ.setdefault(name, value)
    if not os.environ.get("MLFLOW_TRACKING_URI"):
        mlflow.set_tracking_uri(f"sqlite:///{Path.cwd() / 'mlflow.db'}")
    uri = tracking_uri()
    if uri.partition(":")[0].partition("+")[0] not in BACKENDS:
        raise ServerError(
            f"MLFLOW_TRACKING_URI={masked(uri)}: not the address of a tracking server; allowed are http://host:port, "
            "sqlite:////folder/mlflow.db and postgresql://user:password@host/database"
        )
    return uri


def check() -> None:
    """`setup` by a client that does not wait for a server to come back. Raises ServerError and MLflow's own errors."""
    with _impatience():
        setup()


def check_artifacts() -> None:
    """Look at the artifact store; raises StorageError where a local disk lacks room, and what a remote one refuses."""
    location = _experiment().artifact_location
    if (place := urlsplit(location)).scheme in ("", "file"):
        check_free(Path(place.path), needed_bytes=NEEDED_BYTES)
        return
    with _impatience():
        mlflow.artifacts.list_artifacts(artifact_uri=f"{location}/check")


def _experiment() -> Experiment:
    """The experiment of the runs, which exists now."""
    if adopted := os.environ.get("MLFLOW_RUN_ID"):
        return mlflow.set_experiment(experiment_id=mlflow.get_run(adopted).info.experiment_id)
    return mlflow.set_experiment(experiment_name())


def experiment_name() -> str:
    """The experiment that runs belong to, unless one is adopted: MLflow's own variable names another."""
    return os.environ.get("MLFLOW_EXPERIMENT_NAME", EXPERIMENT)


def experiment_id() -> str:
    """The experiment of the runs, as MLflow names it."""
    return str(_experiment().experiment_id)


@contextmanager
def _impatience() -> Iterator[None]:
    """Fewer retries for a while, unless the user chose how many; MLflow reads it from the environment alone."""
    before = {name: os.environ.get(name) for name in IMPATIENCE}
    own = {name: value for name, value in IMPATIENCE.items() if before[name] in (None, PATIENCE[name])}
    os.environ.update(own)
    try:
        yield
    finally:
        for name in own:
            os.environ[name] = before[name] or PATIENCE[name]


def tracking_uri() -> str:
    """Where the runs are kept."""
    return str(mlflow.get_tracking_uri())


def shown_uri() -> str:
    """Where the runs are kept, without a password."""
    return masked(tracking_uri())


@contextmanager
def open_run(name: str, *, tags: Mapping[str, str], parent: Run | None = None) -> Iterator[Run]:
    """A run that ends FINISHED, FAILED or, on an interrupt, KILLED. The first parent adopts the run of `mlflow run`."""
    adopted = (
        os.environ.pop("MLFLOW_RUN_ID", None) if parent is None else None
    )  # left there, a child would adopt it too
    own_tags = {**owner_tags(), **tags}
    if adopted:
        active = mlflow.start_run(run_id=adopted)
        mlflow.set_tags({**own_tags, "mlflow.runName": name})
    elif parent:
        mlflow.set_tracking_uri(parent.tracking_uri)
        active = mlflow.start_run(
            run_name=name,
            experiment_id=parent.experiment_id,
            nested=True,
            parent_run_id=parent.run_id,
            tags=own_tags,
        )
    else:
        active = mlflow.start_run(run_name=name, tags=own_tags)
    status = "FAILED"
    try:
        yield Run(active.info.run_id, active.info.experiment_id, tracking_uri())
        status = "FINISHED"
    except KeyboardInterrupt:
        status = "KILLED"
        raise
    finally:
        _end_run(status, active.info if parent is None else None)


def _end_run(status: str, top: RunInfo | None) -> None:
    """End the open run, and what lost processes left running below it if it is a `top` one.

    After an error the server may be gone: then the next start marks the run as KILLED.
    """
    if status == "FINISHED":
        if top:
            close_children(top)
        mlflow.end_run(status)
        return
    try:
        with _impatience():
            if top:
                close_children(top)
            mlflow.end_run(status)
    except MlflowException as error:
        print(f"the run could not be marked as {status}: {str(error).splitlines()[0][:200]}")


def end_adopted_run(name: str, tags: Mapping[str, str]) -> None:
    """Under `mlflow run`, end its run FINISHED here, before the process becomes another program.

    However that program or mlflow is stopped, no run stays RUNNING. On Ctrl-C mlflow marks every run FAILED.
    """
    if os.environ.get("MLFLOW_RUN_ID"):
        with open_run(name, tags=tags):
            pass


def is_unreachable(error: object) -> bool:
    """Whether an error says that the tracking server or its database did not answer, and not that it refused."""
    return isinstance(error, MlflowException) and error.error_code in ("INTERNAL_ERROR", "TEMPORARILY_UNAVAILABLE")


def git_commit() -> str:
    """The commit that runs, with `+` if files differ from it; empty outside a checkout."""
    described = subprocess.run(
        ["git", "describe", "--always", "--abbrev=40", "--dirty=+"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    return described.stdout.strip()

"""Drift: what a served model answered lately against what it was trained on, as a report in MLflow and a trigger."""

import tempfile
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import cast

import numpy as np
from prefect import flow
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import FlowRun
from prefect.deployments import run_deployment
from prefect.events import emit_event
from prefect.exceptions import ObjectNotFound

from flows import registry, tracking
from flows.drift_reference import CONFIDENCE, EMOTION, Columns, DriftError, reference_columns
from flows.drift_report import report_json, report_page, report_table
from flows.evaluate import named_version
from flows.registry import RegisteredVersion
from flows.tracking import Run
from sermodels.drift import ColumnDrift, compare_columns, drifted_share
from sermodels.files import write_json, write_text
from sermodels.log_mel_statistics import STATISTICS
from serve.records import Record, read_records

EVENT = "sermodels.drift.detected"
TOO_FEW, NONE, DETECTED = "too few records", "no drift", "drift"


@dataclass(frozen=True)
class Answers:
    """What a model answered since a moment, how many lines cannot be used, and what other models answered meanwhile."""

    records: list[Record]
    damaged: int
    others: Counter[str]


@flow(name="drift", log_prints=True)
def drift(
    watch_dir: Path,
    workspace: Path = Path("workspace"),
    model: str = f"{registry.CLASSIFIER_MODEL}@{registry.CHAMPION}",
    days: float = 7.0,
    min_records: int = 100,
    min_share: float = 0.3,
    retrain: str = "",
) -> str:
    """Compare the records of the last `days` with the model's reference; returns the outcome in words.

    Drift is when at least `min_share` of the columns have drifted. It emits the event EVENT and starts the deployment
    `retrain` (flow/deployment), once for each version. Raises DriftError, RegistryError and StorageError.
    """
    _check(watch_dir, days, min_records, min_share, retrain)
    tracking.setup()
    version = named_version(model)
    name = f"{version.name}/{version.version}"
    answers = answers_of(name, watch_dir, since=datetime.now(UTC) - timedelta(days=days))
    tags = {"stage": "drift", "model": version.name, "version": str(version.version)}
    with tracking.open_run(f"drift of {name}", tags=tags) as run:
        run.log_params({"days": days, "min_records": min_records, "min_share": min_share})
        run.log_metrics({"records": len(answers.records), "damaged_records": answers.damaged})
        if len(answers.records) < min_records:
            message = _too_few(name, answers, watch_dir, days, min_records)
            run.set_tags({"outcome": TOO_FEW, "mlflow.note.content": message})
            print(message)
            return TOO_FEW
        columns = _compare(run, version, answers, workspace)
        outcome = DETECTED if drifted_share(columns) >= min_share else NONE
        drifted = ", ".join(column.name for column in columns if column.drifted)
        run.set_tags({"outcome": outcome, "drifted": drifted})
    print(f"{name}: {outcome} in {len(answers.records):,} answers; drifted: {drifted or 'nothing'}")
    if outcome == DETECTED:
        _react(run, version, columns, retrain)
    return outcome


def answers_of(model: str, watch_dir: Path, *, since: datetime) -> Answers:
    """The records of one model, such as `ser-classifier/3`, since a moment."""
    found = list(read_records(watch_dir, since=since))
    whole = [one for one in found if one is not None and one.get("statistics", {}).keys() >= STATISTICS.keys()]
    others = Counter(str(record["model"]) for record in whole if record["model"] != model)
    return Answers([record for record in whole if record["model"] == model], len(found) - len(whole), others)


def answer_columns(records: list[Record]) -> Columns:
    """Records as columns like those of the reference."""
    statistics = {name: np.array([record["statistics"][name] for record in records]) for name in STATISTICS}
    return {
        EMOTION: np.array([record["emotion"] for record in records]),
        CONFIDENCE: np.array([max(record["probabilities"].values()) for record in records]),
    } | statistics


def _check(watch_dir: Path, days: float, min_records: int, min_share: float, retrain: str) -> None:
    """Refuse what could only fail later, perhaps months from now. Raises DriftError."""
    if not watch_dir.is_dir():
        raise DriftError(f"{watch_dir}: no such folder; the server writes it with SERMODELS_WATCH_DIR={watch_dir}")
    if days <= 0 or min_records < 1 or not 0 < min_share <= 1:
        raise DriftError(
            f"days {days}, min_records {min_records}, min_share {min_share}: allowed are days above 0, at least 1 "
            "record, and a share above 0 and up to 1"
        )
    if retrain:
        with get_client(sync_client=True) as client:
            try:
                client.read_deployment_by_name(retrain)
            except (ObjectNotFound, ValueError) as error:
                raise DriftError(
                    f"there is no deployment {retrain!r}; `prefect deployment ls` lists them as flow/deployment"
                ) from error


def _too_few(name: str, answers: Answers, watch_dir: Path, days: float, min_records: int) -> str:
    """Why there is nothing to compare."""
    others = ", ".join(f"{count:,} of {other}" for other, count in answers.others.most_common())
    return (
        f"{name}: {len(answers.records):,} answers in {watch_dir} in the last {days:g} days, too few to compare "
        f"({min_records:,} are asked for)" + (f"; there are {others}" if others else "")
    )


def _compare(run: Run, version: RegisteredVersion, answers: Answers, workspace: Path) -> list[ColumnDrift]:
    """Compare every column, and log figures and report."""
    current = answer_columns(answers.records)
    with tempfile.TemporaryDirectory() as scratch:
        reference = reference_columns(version, workspace, Path(scratch))
        columns = compare_columns(reference, current)
        title = f"Drift of {registry.described(version)}, {len(answers.records):,} answers"
        page, figures = Path(scratch) / "drift.html", Path(scratch) / "drift.json"
        write_text(page, report_page(title, columns, reference, current))
        write_json(figures, report_json(columns, reference, current))
        run.log_file(page)
        run.log_file(figures)
    run.log_metrics({"drifted_share": drifted_share(columns)})
    run.log_metrics({f"psi/{column.name}": column.psi for column in columns})
    run.log_metrics({f"p/{column.name}": column.p for column in columns})
    print(report_table(columns))
    return columns


def _react(run: Run, version: RegisteredVersion, columns: list[ColumnDrift], retrain: str) -> None:
    """Tell Prefect, and start the retraining or say how."""
    name = f"{version.name}/{version.version}"
    resource = {"prefect.resource.id": f"sermodels.model.{version.name}", "prefect.resource.name": name}
    psi = {column.name: column.psi for column in columns if column.drifted}
    emit_event(EVENT, resource=resource, payload={"model": name, "mlflow_run_id": run.run_id, "psi": psi})
    if not retrain:
        print("no retraining is started: name its deployment by --retrain, or train anew with: python -m flows run")
        return
    # The key makes it one retraining a version, however often the drift of that version is found.
    started = run_deployment(retrain, timeout=0, as_subflow=False, idempotency_key=f"drift of {name}")
    flow_run = cast(FlowRun, started)
    run.set_tags({"retraining": str(flow_run.id)})
    print(f"retraining: flow run {flow_run.name} of {retrain}")

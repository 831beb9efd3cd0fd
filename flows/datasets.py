"""The clips of a run as MLflow datasets."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd
from mlflow import MlflowClient
from mlflow.data.dataset_source_registry import get_dataset_source_from_json
from mlflow.data.pandas_dataset import from_pandas
from mlflow.entities import Dataset, DatasetInput, InputTag
from mlflow.exceptions import MlflowException

from flows.tracking import Run


def log_dataset(run: Run, rows: Sequence[Mapping[str, str]], *, name: str, digest: str, context: str) -> None:
    """The clips of a run as an MLflow dataset: identifiers and labels, with the digest of their content."""
    folder = Path(rows[0]["path"]).resolve().parent.as_uri()
    source = get_dataset_source_from_json(json.dumps({"uri": folder}), source_type="local")
    frame = pd.DataFrame(
        [{key: row[key] for key in ("identifier", "corpus", "speaker", "sex", "emotion")} for row in rows]
    )
    dataset = from_pandas(frame, source=source, name=name, digest=digest[:16])
    tagged = DatasetInput(Dataset(**dataset.to_dict()), [InputTag("mlflow.data.context", context)])
    try:
        MlflowClient().log_inputs(run.run_id, datasets=[tagged])
    except MlflowException as error:
        if not _was_written_meanwhile(error):
            raise
        MlflowClient().log_inputs(run.run_id, datasets=[tagged])  # finds the other's


def _was_written_meanwhile(error: MlflowException) -> bool:
    """Whether a row was there when MLflow came to write it, which it had not found before: runs of two processes."""
    return any(sign in str(error) for sign in ("IntegrityError", "UniqueViolation"))

"""Evaluation and validation by MLflow's own means: predictions in, metrics in the run, thresholds held or not."""

from collections.abc import Callable, Sequence

import mlflow
import numpy as np
import pandas as pd
from mlflow.data.pandas_dataset import from_pandas
from mlflow.models import EvaluationResult, MetricThreshold, make_metric
from mlflow.models.evaluation.validation import ModelValidationFailedException, validate_evaluation_results

from flows.gate import Check
from sermodels.files import sha256_of_json
from sermodels.predictions import Predictions


def evaluate_predictions(predictions: Predictions) -> dict[str, float]:
    """`uar`, `accuracy` and `recall_<emotion>` of the emotions that occur, logged to the open run with the clips."""
    names = np.array(predictions.labels)
    table = pd.DataFrame(
        {
            "identifier": predictions.identifiers,
            "speaker": predictions.groups["speaker"],
            "truth": names[predictions.truth],
            "predicted": names[predictions.predicted],
        }
    )
    digest = sha256_of_json(list(predictions.identifiers))[:16]
    data = from_pandas(table, targets="truth", predictions="predicted", name="held-out", digest=digest)
    emotions = [predictions.labels[label] for label in np.unique(predictions.truth)]
    metrics = [make_metric(eval_fn=_uar, greater_is_better=True, name="uar")]
    metrics += [make_metric(eval_fn=_accuracy, greater_is_better=True, name="accuracy")]
    metrics += [
        make_metric(eval_fn=_recall_of(emotion), greater_is_better=True, name=f"recall_{emotion}")
        for emotion in emotions
    ]
    found = mlflow.models.evaluate(data=data, extra_metrics=metrics)
    return {name: float(value) for name, value in found.metrics.items()}


def _uar(predictions: "pd.Series[str]", targets: "pd.Series[str]") -> float:
    return float(np.mean([_recall_of(emotion)(predictions, targets) for emotion in targets.unique()]))


def _accuracy(predictions: "pd.Series[str]", targets: "pd.Series[str]") -> float:
    return float((predictions == targets).mean())


def _recall_of(emotion: str) -> Callable[["pd.Series[str]", "pd.Series[str]"], float]:
    """The recall of one emotion, as MLflow wants a metric."""

    def recall(predictions: "pd.Series[str]", targets: "pd.Series[str]") -> float:
        return float((predictions[targets == emotion] == emotion).mean())

    return recall


def holds(checks: Sequence[Check]) -> bool:
    """Whether MLflow finds every figure within its limit; nothing checked holds nothing."""
    thresholds = {
        check.name: MetricThreshold(threshold=check.limit, greater_is_better=check.at_least) for check in checks
    }
    figures = EvaluationResult(metrics={check.name: check.value for check in checks}, artifacts={})
    try:
        validate_evaluation_results(thresholds, figures)
    except ModelValidationFailedException:
        return False
    return bool(checks)

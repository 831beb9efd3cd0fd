"""What the deployments of prefect.yaml run: flows whose parameters are a form, with time limits and notifications.

What trains is imported when it is needed: deploying, and reporting a crash, need neither torch nor MLflow.
"""

from pathlib import Path
from typing import Any

from prefect import flow

from flows.defaults import HOUR_S
from flows.forms import DriftRequest, SynthesisRequest, TrainingRequest
from flows.notify import report_failure
from sermodels.config import Config
from sermodels.corpora import load_corpus

LONGEST_TRAINING_S = 72 * HOUR_S
LONGEST_SYNTHESIS_S = 2 * HOUR_S
REPORTED: dict[str, Any] = {"log_prints": True, "on_failure": [report_failure], "on_crashed": [report_failure]}
DATA_DIR = "corpus.data_dir"
USUAL_TRAINING = TrainingRequest()
USUAL_SYNTHESIS = SynthesisRequest()
USUAL_DRIFT = DriftRequest()


@flow(name="nightly", timeout_seconds=LONGEST_TRAINING_S, **REPORTED)
def nightly(training: TrainingRequest = USUAL_TRAINING) -> None:
    """Retrain and let the better model through. Stages whose input did not change are not trained again."""
    train(training, training.config())


@flow(name="data-watch", timeout_seconds=LONGEST_TRAINING_S, **REPORTED)
def data_watch(training: TrainingRequest = USUAL_TRAINING) -> bool:
    """Retrain if the recordings are not those of the last run that ended well; returns whether it did."""
    config = training.config()
    digest = load_corpus(config.corpus).digest()
    last = last_digest(training, config.corpus.data_dir)
    if digest == last:
        print(f"{config.corpus.data_dir}: unchanged since the last run of {training.name} (digest {digest[:12]})")
        return False
    print(f"{config.corpus.data_dir}: digest {digest[:12]}, last trained on {last[:12] or 'nothing'}; training")
    train(training, config)
    return True


@flow(name="synthesis-on-demand", timeout_seconds=LONGEST_SYNTHESIS_S, **REPORTED)
def synthesis_on_demand(clips: SynthesisRequest = USUAL_SYNTHESIS) -> str:
    """New clips of the chosen emotions, as sound, pictures and provenance in MLflow; returns the id of their run."""
    from flows.synthesize import synthesize_clips

    return synthesize_clips(clips)


@flow(name="drift-watch", timeout_seconds=LONGEST_SYNTHESIS_S, **REPORTED)
def drift_watch(served: DriftRequest = USUAL_DRIFT) -> str:
    """Compare what a watched server answered with the champion's training data; returns the outcome in words."""
    from flows.drift import drift

    request = served.model_dump()
    outcome: str = drift(Path(request.pop("watch_dir")), Path(request.pop("workspace")), **request)
    return outcome


def train(training: TrainingRequest, config: Config) -> None:
    """Check everything that can be checked in seconds, then run the pipeline."""
    from flows.pipeline import pipeline
    from sermodels.preflight import check_start

    workspace = Path(training.workspace)
    check_start(config, workspace)
    pipeline(config, workspace, training.name, training.skip_unreadable, training.stages)


def last_digest(training: TrainingRequest, data_dir: str) -> str:
    """Digest of the recordings that the newest finished run of this kind was trained on; empty without one."""
    from flows import tracking
    from flows.finished import finished_runs

    tracking.setup()
    runs = finished_runs({"preset": training.name, "stages": training.stages})  # newest first
    digests = [run.tags.get(tracking.CORPUS_TAG, "") for run in runs if run.params.get(DATA_DIR) == data_dir]
    return digests[0] if digests else ""

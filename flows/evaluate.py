"""A registered classifier on any labelled recordings, with the same figures and intervals, as an MLflow run."""

import tempfile
from pathlib import Path

from prefect import flow

from flows import registry, tracking
from flows.export import split_recordings
from flows.registry import RegisteredVersion, RegistryError
from sermodels.calibration import expected_calibration_error, negative_log_likelihood
from sermodels.checkpoint import load_tensors
from sermodels.corpora.labelled import parse_emotion_names, read_labelled
from sermodels.evaluation import confusion, figures
from sermodels.plots import confusion_picture
from sermodels.predictions import Predictions, adapted
from sermodels.stages.evaluation import predict_recordings, unheard, unread
from sermodels.statistics import accuracy, bounded, interval, speakers_in_words, with_bounds

REPORT = """# {model} on {corpus}

{clips:,} recordings of {speakers}. Intervals are 95 %, by bootstrap over speakers.

| UAR | WA | macro-F1 | ECE | NLL |
| --- | --- | --- | --- | --- |
| {uar} | {wa} | {macro_f1:.3f} | {ece:.3f} | {nll:.3f} |

| UAR where others of these recordings are known, without labels | |
| --- | --- |
| those of the same speaker | {uar_known_speakers} |
| those of the same corpus | {uar_known_corpus} |

They help most where a speaker or a corpus has all emotions about equally often, and harm where nearly all is neutral.

| emotion | recordings | recall |
| --- | --- | --- |
{recalls}
{notes}"""


@flow(name="evaluate", log_prints=True, validate_parameters=False)
def evaluate_registered(
    model: str, corpus: Path, workspace: Path, emotion_names: str = "", skip_unreadable: bool = False
) -> str:
    """Evaluate `model` (such as `ser-classifier@champion` or `ser-classifier/3`) on labelled recordings.

    Recordings that the version was trained or chosen on are left out by their content. Returns the report. Raises
    RegistryError, CorpusError and AudioError.
    """
    tracking.setup()
    version = named_version(model)
    labelled = read_labelled(corpus, parse_emotion_names(emotion_names))
    name = registry.described(version)
    tags = {"stage": "evaluation", "model": version.name, "version": str(version.version), "corpus": corpus.name}
    with tempfile.TemporaryDirectory() as scratch, tracking.open_run(f"{name} on {corpus.name}", tags=tags) as run:
        checkpoint = registry.fetch_checkpoint(version, Path(scratch) / "model")
        labels = tuple(load_tensors(checkpoint)[1]["labels"])
        recordings, notes = unheard(labelled, labels, heard_by(version, Path(scratch)))
        file = Path(scratch) / "predictions.csv"
        found = predict_recordings(checkpoint, recordings, workspace, file, skip_unreadable=skip_unreadable)
        measured = _figures(found)
        run.log_params({"model": model, "corpus": str(corpus), "emotion_names": emotion_names})
        run.log_metrics(measured)
        run.log_file(file)
        title = f"{name} on {corpus.name}: UAR {measured['uar']:.3f}"
        run.log_picture(confusion_picture(confusion(found.truth, found.probabilities), labels, title), "confusion.png")
        text = _report(name, corpus.name, found, measured, [*labelled.notes, *notes, *unread(recordings, found)])
        run.log_text(text, "report.md")
    return text


def named_version(model: str) -> RegisteredVersion:
    """The version that `name@alias` or `name/number` means. Raises RegistryError."""
    name, at, alias = model.partition("@")
    if not at:
        name, _, alias = model.partition("/")
    version = registry.version_by_alias(name, alias) if at else registry.version_by_number(name, alias)
    if version is None:
        raise RegistryError(
            f"{tracking.shown_uri()}: there is no {model}; name a version as "
            f"{registry.CLASSIFIER_MODEL}@{registry.CHAMPION} or {registry.CLASSIFIER_MODEL}/1"
        )
    return version


def heard_by(version: RegisteredVersion, scratch: Path) -> frozenset[str]:
    """The sha256 of every recording that a version was trained on or chosen by."""
    training, development, _ = split_recordings(version, scratch)
    if not training:
        print(f"{registry.described(version)}: MLflow does not hold what it was trained on; nothing is left out")
    return frozenset(utterance.sha256 for utterance in [*training, *development])


def _figures(found: Predictions) -> dict[str, float]:
    """All figures of the predictions; intervals as `_low` and `_high`."""
    intervals = {
        "uar": interval(found),
        "accuracy": interval(found, accuracy),
        "uar_known_speakers": interval(adapted(found, to="speaker")),
        "uar_known_corpus": interval(adapted(found, to="corpus")),
    }
    groups = {kind: found.groups[kind] for kind in ("corpus", "sex")}
    return {
        **figures(found.truth, found.probabilities, found.labels, groups),
        "clips": float(len(found)),
        "speakers": float(len(set(found.groups["speaker"]))),
        **with_bounds(intervals),
        "ece": expected_calibration_error(found.truth, found.probabilities),
        "nll": negative_log_likelihood(found.truth, found.probabilities),
    }


def _report(model: str, corpus: str, found: Predictions, measured: dict[str, float], notes: list[str]) -> str:
    """The figures as Markdown."""
    recalls = [
        f"| {label} | {int((found.truth == number).sum()):,} | {measured[f'recall/{label}']:.3f} |"
        for number, label in enumerate(found.labels)
        if f"recall/{label}" in measured
    ]
    return REPORT.format(
        model=model,
        corpus=corpus,
        clips=len(found),
        speakers=speakers_in_words(found),
        uar=bounded(measured, "uar"),
        uar_known_speakers=bounded(measured, "uar_known_speakers"),
        uar_known_corpus=bounded(measured, "uar_known_corpus"),
        wa=bounded(measured, "accuracy"),
        macro_f1=measured["macro_f1"],
        ece=measured["ece"],
        nll=measured["nll"],
        recalls="\n".join(recalls),
        notes="".join(f"\n- {note}" for note in notes),
    )

"""A trained classifier on recordings that it was not trained on: their log-mels cached, their emotions predicted."""

from pathlib import Path

from sermodels.cache import cache_log_mels, read_log_mels
from sermodels.classifier_checkpoint import load_classifier
from sermodels.clips import ClipSet
from sermodels.config import Config
from sermodels.corpora.folder import NAMED_PROBLEMS
from sermodels.corpora.utterance import Corpus, Utterance
from sermodels.device import best_device
from sermodels.errors import AudioError, CorpusError
from sermodels.prediction import predict
from sermodels.predictions import Predictions, read_predictions, write_predictions
from sermodels.stages.context import cache_folder
from sermodels.training_data import everything


def unheard(corpus: Corpus, labels: tuple[str, ...], heard: frozenset[str]) -> tuple[list[Utterance], list[str]]:
    """The recordings to be evaluated on, and notes about those that cannot be.

    Left out are emotions that are not in `labels`, and contents (sha256) in `heard`. Raises CorpusError when none is
    left.
    """
    known = [utterance for utterance in corpus.utterances if utterance.emotion in labels]
    fresh = [utterance for utterance in known if utterance.sha256 not in heard]
    notes = []
    if len(known) < len(corpus.utterances):
        others = sorted({utterance.emotion for utterance in corpus.utterances} - set(labels))
        count = len(corpus.utterances) - len(known)
        notes.append(f"{count:,} recordings of emotions that the model does not know left out: {', '.join(others)}")
    if len(fresh) < len(known):
        notes.append(f"{len(known) - len(fresh):,} recordings left out that the model was trained or chosen on")
    if not fresh:
        reasons = "; ".join(notes) or "the corpus is empty"
        raise CorpusError(f"no recording to evaluate on: {reasons}; the model knows {', '.join(labels)}")
    return fresh, notes


def unread(utterances: list[Utterance], found: Predictions) -> list[str]:
    """A note that counts and names the recordings without a prediction, if there are any."""
    heard = set(found.identifiers)
    lost = [utterance.identifier for utterance in utterances if utterance.identifier not in heard]
    more = f" and {len(lost) - NAMED_PROBLEMS:,} more" if len(lost) > NAMED_PROBLEMS else ""
    return [f"{len(lost):,} unreadable left out: {', '.join(lost[:NAMED_PROBLEMS])}{more}"] if lost else []


def predict_recordings(
    checkpoint: Path, utterances: list[Utterance], workspace: Path, file: Path, *, skip_unreadable: bool
) -> Predictions:
    """Predictions of recordings, also written to `file`; the front end is that of the classifier.

    Raises AudioError naming every unreadable recording unless `skip_unreadable`, WeightsError and StorageError.
    """
    classifier, header = load_classifier(checkpoint)
    config, cache = Config.model_validate(header["config"]), cache_folder(workspace)
    report = cache_log_mels(utterances, config.front_end, cache)
    lost = {identifier for identifier, _ in report.unreadable}
    readable = [utterance for utterance in utterances if utterance.identifier not in lost]
    if lost and not (skip_unreadable and readable):
        raise AudioError(report.message())
    log_mels = read_log_mels(cache, readable, config.front_end)
    labels = [classifier.labels.index(utterance.emotion) for utterance in readable]
    data = everything(ClipSet.from_config(log_mels, labels, config.clip, config.front_end).to(best_device()), config)
    probabilities = predict(classifier.to(best_device()), data, data.training, config.training)
    write_predictions(file, readable, probabilities, classifier.labels)
    return read_predictions(file)

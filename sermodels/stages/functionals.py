"""Stage F: no network, but functionals of each recording and logistic regression, the classical baseline."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from tqdm import tqdm

from sermodels.audio import read_waveform
from sermodels.corpora.utterance import Utterance
from sermodels.descriptors import SAMPLE_RATE_HZ
from sermodels.errors import AudioError
from sermodels.files import atomic_write, write_json
from sermodels.functionals import functionals_of
from sermodels.splits import PARTS, check_split
from sermodels.stages.context import RunContext, labels_of, places_of, read_utterances
from sermodels.stages.parts import write_part
from sermodels.store import StageResult, run_stage

LETTER = "F"
NAME = "functionals"
BACKBONE = "logistic regression"
"""What stands where other stages name their network."""
VERSION = 1
"""Bumped by hand when the same recordings would give other functionals or another classifier."""
FEATURES_FILE = "functionals.npz"
LARGEST_DEVIATION = 5.0
"""Standard deviations at which a functional is cut off: some have rare values far out."""
REGULARISATION = 0.003
"""scikit-learn's C: chosen on development speakers."""

Vectors = NDArray[np.float32]


def run_functionals(context: RunContext) -> StageResult:
    """Fit on the training clips, predict those of development; then fit on both and predict those of the test.

    Nothing is chosen by the development clips, as in stage R. The folder holds figures, predictions and pictures.
    Needs the recordings. Raises AudioError naming one that is missing or silent, SplitError when the split is none.
    """
    utterances = read_utterances(context.prepared)
    split = context.split()
    check_split(split, utterances)
    features = _features(context, utterances)
    inputs = {"split": split.digest(), "features": features.key, "emotions": list(context.config.corpus.emotions)}
    return run_stage(
        context.workspace, NAME, inputs, lambda folder: _fit_and_predict(context, utterances, features, folder)
    )


def _features(context: RunContext, utterances: tuple[Utterance, ...]) -> StageResult:
    """The functionals of all recordings, for all splits."""
    inputs = {"corpus": context.prepared.read("corpus.json")["digest"], "version": VERSION}
    return run_stage(context.workspace, "descriptors", inputs, lambda folder: _compute(utterances, folder))


def _compute(utterances: tuple[Utterance, ...], folder: Path) -> None:
    """Write the vectors of all recordings, (clip, functional), and the functionals' names."""
    found: list[dict[str, float]] = []
    for utterance in tqdm(utterances, desc=NAME, unit="clip", mininterval=1.0):
        waveform = read_waveform(utterance.path, sample_rate_hz=SAMPLE_RATE_HZ)
        try:
            found.append(functionals_of(waveform))
        except AudioError as error:
            raise AudioError(f"{utterance.path}: {error}") from error
    vectors = np.array([list(each.values()) for each in found], dtype=np.float32)
    with atomic_write(folder / FEATURES_FILE) as temporary, open(temporary, "wb") as file:
        np.savez(file, vectors=vectors, names=np.array(list(found[0])))


def _fit_and_predict(
    context: RunContext, utterances: tuple[Utterance, ...], features: StageResult, folder: Path
) -> None:
    """Everything that the stage does, in its folder."""
    emotions, split = context.config.corpus.emotions, context.split()
    with np.load(features.folder / FEATURES_FILE) as file:
        vectors: Vectors = file["vectors"]
    truth = labels_of(utterances, emotions)
    training, development, test = (places_of(utterances, getattr(split, part)) for part in PARTS)
    both = np.concatenate([training, development])
    chosen, final = (_fitted(vectors[places], truth[places]) for places in (training, both))
    results: dict[str, Any] = {
        "stage": LETTER,
        "weights": "none",
        "training_clips": len(both),
        "optimizer_steps": 0,
    }
    for part, classifier, places in (
        ("development", chosen, development),
        ("training", final, both),
        ("test", final, test),
    ):
        probabilities = _probabilities(classifier, vectors[places], len(emotions))
        heard = [utterances[place] for place in places]
        name = f"{NAME} ({LETTER}), {split.name}"
        results[part] = write_part(folder, part, name, heard, truth[places], probabilities, emotions)
    results["gap"] = results["training"]["accuracy"] - results["development"]["accuracy"]
    write_json(folder / "figures.json", results)


def _fitted(vectors: Vectors, truth: NDArray[np.int64]) -> Pipeline:
    """Logistic regression of z-scored functionals, every emotion counting as much."""
    cut = FunctionTransformer(np.clip, kw_args={"a_min": -LARGEST_DEVIATION, "a_max": LARGEST_DEVIATION})
    regression = LogisticRegression(C=REGULARISATION, class_weight="balanced", max_iter=1000)
    return make_pipeline(StandardScaler(), cut, regression).fit(vectors, truth)


def _probabilities(classifier: Pipeline, vectors: Vectors, emotions: int) -> NDArray[np.float64]:
    """Probabilities (clip, emotion); of an emotion that was not heard in training 0."""
    probabilities = np.zeros((len(vectors), emotions))
    probabilities[:, classifier.classes_] = classifier.predict_proba(vectors)
    return probabilities

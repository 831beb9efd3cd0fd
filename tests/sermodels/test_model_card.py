"""The model card says what was measured, on whom, and what the model is not for."""

import numpy as np
import pytest

from sermodels.config import Config
from sermodels.model_card import diffusion_card, model_card
from sermodels.predictions import Predictions
from sermodels.splits import Split

LABELS = ("anger", "fear", "sadness")


def predictions() -> Predictions:
    """Twelve clips of four speakers: all anger right, half of fear, no sadness in the test."""
    truth = np.array([0, 0, 1, 1] * 3)
    probabilities = np.full((12, 3), 0.1)
    probabilities[np.arange(12), np.where(np.arange(12) % 4 == 3, 0, truth)] = 0.8
    groups = {
        "corpus": ("emodb",) * 4 + ("ravdess",) * 8,
        "speaker": tuple(f"s{number // 3}" for number in range(12)),
        "sex": ("f", "m") * 6,
    }
    return Predictions(LABELS, tuple(map(str, range(12))), groups, truth, probabilities)


def card(protocol: str = "speaker", names: tuple[str, ...] = ("emodb", "ravdess"), **values: object) -> str:
    values = {"stage": "augmentation (B)", "weights": "none", "gap": 0.125, "synthetic": False} | values
    config = Config.model_validate({"corpus": {"names": names, "manifests": ["mine.csv"]}})
    split = Split("fold 2", protocol, tuple("abc"), tuple("de"), tuple(map(str, range(12))))
    return model_card(config, split, predictions(), **values)  # type: ignore[arg-type]


def test_it_has_the_figures_with_intervals_and_the_gaps() -> None:
    text = card()
    assert "| UAR, 95 % interval over speakers | **0.750 (" in text
    assert "| UAR where other recordings of the speaker are known, without labels | 0.750 (" in text
    assert "| UAR where other recordings of the corpus are known, without labels or speakers | 0.750 (" in text
    assert "| accuracy, 95 % interval | 0.750 (" in text
    assert "| anger | 1.000 |\n| fear | 0.500 |" in text
    assert "| sadness |" not in text
    assert "| 0.125 |" in text
    assert "emodb 0.750, ravdess 0.750, women 1.000, men 0.500" in text
    assert "Trained on 3 clips; 2 clips of other recordings chose the epoch." in text
    assert "Tested once on 12 clips of 4 speakers." in text


@pytest.mark.parametrize(
    ("protocol", "said"),
    [("speaker", "speakers that no part"), ("corpus", "a corpus that no part"), ("seed", "Speaker-dependent")],
)
def test_it_says_what_kind_of_number_it_is(protocol: str, said: str) -> None:
    assert said in card(protocol)


def test_it_names_every_corpus_its_licence_and_what_it_is_not_for() -> None:
    text = card()
    assert "CC BY-NC-SA 4.0" in text
    assert "mine.csv: recordings of whoever trained the model" in text
    assert "Not for" in text
    assert "spontaneous speech, other languages" in text
    assert "mean nothing about people" not in text
    assert "mean nothing about people" in card(names=("demo",))


def test_it_says_when_synthetic_clips_were_trained_on() -> None:
    assert "diffusion model" in card(synthetic=True)
    assert "diffusion model" not in card()


def test_the_diffusion_models_card_names_data_and_misuse() -> None:
    text = diffusion_card(Config(), Split("fold 2", "speaker", tuple("abc"), tuple("de"), tuple("f")))
    assert "Trained on 3 clips, fold 2" in text
    assert "EmoDB" in text
    assert "Not for** imitating a person" in text

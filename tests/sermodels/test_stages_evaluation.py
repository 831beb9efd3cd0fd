"""A trained classifier on recordings of others: the same figures as its own test, and nothing that it was taught."""

from pathlib import Path

import numpy as np
import pytest
import soundfile

from sermodels.classifier_checkpoint import CLASSIFIER_FILE
from sermodels.corpora.utterance import Corpus, Utterance
from sermodels.errors import AudioError, CorpusError
from sermodels.predictions import read_predictions
from sermodels.stages.context import read_utterances
from sermodels.stages.evaluation import predict_recordings, unheard, unread
from tests.sermodels.tiny import EMOTIONS
from tests.sermodels.tiny_chain import Chain, whole_chain


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Chain:
    return whole_chain(tmp_path_factory)


def recordings(chain: Chain, part: str) -> list[Utterance]:
    chosen = set(getattr(chain.context.split(), part))
    return [utterance for utterance in read_utterances(chain.context.prepared) if utterance.identifier in chosen]


def test_its_own_test_clips_get_the_answers_of_its_test(chain: Chain, tmp_path: Path) -> None:
    stage = chain.stages["augmentation"]

    found = predict_recordings(
        stage.folder / CLASSIFIER_FILE,
        recordings(chain, "test"),
        tmp_path,
        tmp_path / "predictions.csv",
        skip_unreadable=False,
    )

    expected = read_predictions(stage.folder / "predictions-test.csv")
    assert sorted(found.identifiers) == sorted(expected.identifiers)
    by_name = dict(zip(expected.identifiers, expected.probabilities, strict=True))
    for name, probabilities in zip(found.identifiers, found.probabilities, strict=True):
        np.testing.assert_allclose(probabilities, by_name[name], atol=1e-4)


def test_an_unreadable_recording_is_named_or_left_out(chain: Chain, tmp_path: Path) -> None:
    broken = tmp_path / "broken.wav"
    broken.write_bytes(b"RIFF but no sound")
    extra = Utterance("mine/broken", broken, "mine", "mine/a", EMOTIONS[0], "0" * 64)
    checkpoint, given = chain.stages["augmentation"].folder / CLASSIFIER_FILE, [*recordings(chain, "test"), extra]

    with pytest.raises(AudioError, match="mine/broken"):
        predict_recordings(checkpoint, given, tmp_path, tmp_path / "p.csv", skip_unreadable=False)
    found = predict_recordings(checkpoint, given, tmp_path, tmp_path / "p.csv", skip_unreadable=True)
    assert "mine/broken" not in found.identifiers
    assert len(found) == len(given) - 1
    assert unread(given, found) == ["1 unreadable left out: mine/broken"]
    assert unread(given[:-1], found) == []


def test_what_was_taught_and_what_is_unknown_is_left_out_and_told(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    soundfile.write(path, np.zeros(10), 8_000)
    corpus = Corpus(
        tuple(
            Utterance(f"mine/{number}", path, "mine", "mine/a", emotion, str(number))
            for number, emotion in enumerate(("anger", "anger", "calm", "sadness"))
        )
    )

    fresh, notes = unheard(corpus, ("anger", "sadness"), frozenset({"1"}))

    assert [utterance.identifier for utterance in fresh] == ["mine/0", "mine/3"]
    assert notes == [
        "1 recordings of emotions that the model does not know left out: calm",
        "1 recordings left out that the model was trained or chosen on",
    ]
    with pytest.raises(CorpusError, match=r"no recording to evaluate on: .*calm, sadness; the model knows fear"):
        unheard(corpus, ("fear",), frozenset())

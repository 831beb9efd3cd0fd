"""Predictions adapted to a speaker or a corpus: the formula, and that no label and no stranger has a say."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from sermodels.adaptation import PRIOR_RECORDINGS, adapt
from sermodels.evaluation import unweighted_average_recall
from sermodels.predictions import Predictions, adapted

LABELS = ("anger", "neutral", "sadness")


def shares(count: int, seed: int = 0) -> NDArray[np.float64]:
    return np.random.default_rng(seed).dirichlet(np.ones(3), count)


def spoken(probabilities: NDArray[np.float64], speakers: list[str], truth: NDArray[np.int64]) -> Predictions:
    count = len(probabilities)
    groups = {"corpus": ("c",) * count, "speaker": tuple(speakers), "sex": ("f",) * count}
    return Predictions(LABELS, tuple(f"c/{number}" for number in range(count)), groups, truth, probabilities)


def conversation(seed: int = 0) -> Predictions:
    """Four speakers of twelve clips, every emotion alike, each of whom always sounds somewhat of one emotion."""
    rng = np.random.default_rng(seed)
    truth = np.tile(np.arange(3), 16)
    speakers = np.repeat(np.arange(4), 12)
    logits = rng.normal(size=(48, 3)) + 2.0 * np.eye(3)[truth] + 2.5 * np.eye(3)[speakers % 3]
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return spoken(probabilities, [f"c/{speaker}" for speaker in speakers], truth)


@pytest.mark.parametrize("count", [1, 5, 40])
def test_a_habit_is_divided_out_the_more_recordings_show_it(count: int) -> None:
    (own, habit), known = shares(2), count / (count + PRIOR_RECORDINGS)
    expected = own / habit**known
    found = adapt(own, np.tile(habit, (count, 1)))
    np.testing.assert_allclose(found, expected / expected.sum(), rtol=1e-9)


def test_of_an_unknown_speaker_nothing_is_taken() -> None:
    own = shares(4)
    np.testing.assert_allclose(adapt(own, own[:0]), own, rtol=1e-9)


def test_probabilities_of_zero_stay_finite() -> None:
    found = adapt(np.array([1.0, 0.0, 0.0]), np.array([[0.0, 1.0, 0.0]]))
    assert np.isfinite(found).all()
    assert found.sum() == pytest.approx(1.0)


def test_voices_that_always_sound_alike_are_told_apart() -> None:
    plain = conversation()
    known = adapted(plain)
    assert unweighted_average_recall(known.truth, known.predicted) > 0.1 + unweighted_average_recall(
        plain.truth, plain.predicted
    )


def test_a_clip_is_adapted_to_the_speakers_other_clips() -> None:
    plain = conversation()
    others = [place for place in range(12) if place != 3]
    expected = adapt(plain.probabilities[3], plain.probabilities[others])
    np.testing.assert_allclose(adapted(plain).probabilities[3], expected, rtol=1e-9)


def test_a_clip_is_adapted_to_all_other_clips_of_its_corpus() -> None:
    plain = conversation()
    corpora = ("near",) * 30 + ("far",) * 18
    plain = replace(plain, groups={**plain.groups, "corpus": corpora})
    others = [place for place in range(30) if place != 3]
    expected = adapt(plain.probabilities[3], plain.probabilities[others])
    found = adapted(plain, to="corpus")
    np.testing.assert_allclose(found.probabilities[3], expected, rtol=1e-9)
    expected = adapt(plain.probabilities[47], plain.probabilities[30:47])
    np.testing.assert_allclose(found.probabilities[47], expected, rtol=1e-9)


def test_labels_have_no_say() -> None:
    plain = conversation()
    other = replace(plain, truth=np.roll(plain.truth, 1))
    np.testing.assert_array_equal(adapted(plain).probabilities, adapted(other).probabilities)


def test_strangers_have_no_say() -> None:
    plain = conversation()
    changed = plain.probabilities.copy()
    changed[12:] = shares(36)
    found = adapted(replace(plain, probabilities=changed)).probabilities
    np.testing.assert_array_equal(found[:12], adapted(plain).probabilities[:12])


def test_so_many_recordings_are_known_as_are_asked_for() -> None:
    plain = conversation()
    np.testing.assert_allclose(adapted(plain, recordings=0).probabilities, plain.probabilities, rtol=1e-9)
    everything = adapted(plain, recordings=11).probabilities
    np.testing.assert_allclose(everything, adapted(plain).probabilities, rtol=1e-9)
    drawn = [adapted(plain, recordings=2, seed=seed).probabilities for seed in (0, 0, 1)]
    np.testing.assert_array_equal(drawn[0], drawn[1])
    assert not np.allclose(drawn[0], drawn[2])


def test_only_clips_of_an_emotion_may_be_known() -> None:
    plain = conversation()
    neutral = [place for place in range(12) if plain.truth[place] == 1 and place != 4]
    expected = adapt(plain.probabilities[4], plain.probabilities[neutral])
    np.testing.assert_allclose(adapted(plain, emotion="neutral").probabilities[4], expected, rtol=1e-9)


def test_without_clips_there_is_nothing_to_do() -> None:
    nothing = spoken(shares(0), [], np.empty(0, dtype=np.int64))
    assert len(adapted(nothing)) == 0

"""Intervals and tests: against closed forms, other libraries, and how often they err on made-up data."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import binomtest

from sermodels.evaluation import unweighted_average_recall
from sermodels.predictions import Predictions
from sermodels.statistics import accuracy, difference, holm, interval, mcnemar_p, permutation_p

SPEAKERS, CLIPS, EMOTIONS = 12, 20, 3


def predictions(right: NDArray[np.bool_], truth: NDArray[np.int64]) -> Predictions:
    """Clips of which `right` are taken for what they are, the others for the next emotion."""
    predicted = np.where(right, truth, (truth + 1) % EMOTIONS)
    speakers = tuple(f"s{number // CLIPS}" for number in range(len(truth)))
    return Predictions(
        tuple("abc"),
        tuple(str(n) for n in range(len(truth))),
        {"speaker": speakers},
        truth,
        np.eye(EMOTIONS)[predicted],
    )


def drawn(share: float, *, seed: int, spread: float = 0.0) -> Predictions:
    """`share` of the clips right, more or fewer with each speaker."""
    rng = np.random.default_rng(seed)
    truth = np.tile(np.arange(EMOTIONS), SPEAKERS * CLIPS)[: SPEAKERS * CLIPS]
    chance = np.clip(share + spread * rng.standard_normal(SPEAKERS), 0.0, 1.0).repeat(CLIPS)
    return predictions(rng.random(len(truth)) < chance, truth)


def test_an_interval_is_around_its_figure() -> None:
    found = interval(drawn(0.7, seed=0))
    assert found.low < found.value < found.high
    assert found.value == pytest.approx(0.7, abs=0.1)
    assert str(found) == f"{found.value:.3f} ({found.low:.3f}–{found.high:.3f})"
    assert interval(drawn(0.7, seed=0)) == found


def test_speakers_who_differ_make_it_wider() -> None:
    alike, apart = interval(drawn(0.6, seed=1)), interval(drawn(0.6, seed=1, spread=0.25))
    assert apart.high - apart.low > 1.3 * (alike.high - alike.low)


def test_intervals_hold_the_truth_most_of_the_time() -> None:
    found = [interval(drawn(0.7, seed=seed, spread=0.1), accuracy) for seed in range(40)]
    assert sum(one.low <= 0.7 <= one.high for one in found) >= 34


def test_a_difference_is_that_of_the_figures() -> None:
    better, worse = drawn(0.8, seed=2), drawn(0.5, seed=3)
    found = difference(better, worse)
    expected = unweighted_average_recall(better.truth, better.predicted) - unweighted_average_recall(
        worse.truth, worse.predicted
    )
    assert found.value == pytest.approx(expected)
    assert 0 < found.low < found.value < found.high
    assert difference(worse, better).value == pytest.approx(-expected)


def test_equal_classifiers_do_not_differ() -> None:
    one = drawn(0.7, seed=4)
    assert difference(one, one).low == difference(one, one).high == 0.0
    assert permutation_p(one, one) == pytest.approx(1.0)
    assert mcnemar_p(one, one) == pytest.approx(1.0)


def test_one_speaker_tells_nothing_of_others() -> None:
    """As where each fold leaves one speaker out, or a corpus has only one."""
    one, other = (drawn(share, seed=7) for share in (0.9, 0.2))
    for each in (one, other):
        each.groups["speaker"] = ("alone",) * len(each)
    assert (interval(one).low, interval(one).high) == (0.0, 1.0)
    gained = difference(one, other)
    assert gained.value > 0.5
    assert (gained.low, gained.high) == (-1.0, 1.0)
    assert permutation_p(one, other) == 1.0


def test_mcnemar_is_the_sign_test_of_the_clips_that_differ() -> None:
    one, other = drawn(0.8, seed=5), drawn(0.6, seed=6)
    right, also = one.predicted == one.truth, other.predicted == other.truth
    gained, lost = int(np.sum(right & ~also)), int(np.sum(~right & also))
    assert mcnemar_p(one, other) == pytest.approx(binomtest(gained, gained + lost).pvalue)


def test_a_clear_difference_is_found_and_chance_is_not() -> None:
    assert permutation_p(drawn(0.8, seed=7), drawn(0.5, seed=8)) < 0.01
    by_chance = [permutation_p(drawn(0.6, seed=seed), drawn(0.6, seed=seed + 100)) for seed in range(20)]
    assert sum(p < 0.05 for p in by_chance) <= 4


def test_holm_multiplies_the_smallest_by_their_number() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([]) == []


def test_other_orders_are_refused() -> None:
    one = drawn(0.7, seed=9)
    turned = replace(one, identifiers=one.identifiers[::-1])
    for compare in (difference, permutation_p, mcnemar_p):
        with pytest.raises(ValueError, match="another order"):
            compare(one, turned)

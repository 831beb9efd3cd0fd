"""The gate's decisions: what passes, what does not, and that MLflow's validation agrees."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flows import gate
from flows.gate import Check, Decision
from flows.model_evaluation import holds
from sermodels.predictions import Predictions

LABELS = ("anger", "fear")
CLIPS = 20
"""Of each emotion by each speaker."""

numbers = st.floats(width=32, allow_infinity=False)
checks = st.builds(Check, st.uuids().map(str), numbers, st.floats(-10, 10), st.just("a figure"), st.booleans())


def predictions(right: list[int]) -> Predictions:
    """Six speakers of whom each has so many clips of each emotion right."""
    truth = np.array([label for _ in right for label in (0, 1) for _ in range(CLIPS)])
    correct = np.array([clip < count for count in right for _ in (0, 1) for clip in range(CLIPS)])
    predicted = np.where(correct, truth, 1 - truth)
    speakers = tuple(f"c/{number}" for number in range(len(right)) for _ in range(2 * CLIPS))
    nobody = ("",) * len(truth)
    identifiers = tuple(f"clip {number}" for number in range(len(truth)))
    groups = {"speaker": speakers, "corpus": nobody, "sex": nobody}
    return Predictions(LABELS, identifiers, groups, truth, np.eye(2)[predicted])


def uar_passes(candidate: list[int], champion: list[int]) -> bool:
    return gate.gain_check(predictions(candidate), predictions(champion)).passed


def test_a_gain_that_most_speakers_share_passes() -> None:
    assert uar_passes([16, 17, 15, 18, 14, 16], [12, 14, 13, 14, 12, 13])


@pytest.mark.parametrize(
    "candidate",
    [[12, 14, 13, 14, 12, 13], [11, 13, 12, 13, 11, 12], [20, 12, 11, 13, 13, 12]],
    ids=["the same", "worse", "better by one speaker alone"],
)
def test_a_gain_that_chance_explains_does_not(candidate: list[int]) -> None:
    assert not uar_passes(candidate, [12, 14, 13, 14, 12, 13])


@given(st.integers(0, 60), st.integers(0, 60))
def test_five_points_of_recall_may_be_lost_and_no_more(own: int, theirs: int) -> None:
    (check,) = gate.recall_checks({"uar": 0.0, "recall_anger": own / 60}, {"uar": 1.0, "recall_anger": theirs / 60})
    assert check.passed == (theirs - own <= 3)


@given(st.lists(checks, min_size=1, max_size=6))
def test_mlflow_validates_as_the_checks_say(found: list[Check]) -> None:
    assert holds(found) == all(check.passed for check in found)


def test_nothing_checked_is_nothing_passed() -> None:
    assert not holds([])


def test_parity_is_that_of_the_worst_case_and_nan_does_not_pass() -> None:
    parity = {
        "classifier/silence/logits": 1e-5,
        "classifier/longest/logits": 2e-2,
        "vocoder/batch_1/waveform": math.nan,
    }
    found = gate.parity_checks(parity, {"classifier": 1e-3, "vocoder": 5e-2})
    assert [(check.name, check.passed) for check in found] == [("parity_classifier", False), ("parity_vocoder", False)]
    assert all(check.passed for check in gate.parity_checks({"classifier/silence/logits": 1e-5}, {"classifier": 1e-3}))


@pytest.mark.parametrize(
    ("copies", "ratio", "passed"),
    [(0, 1.02, [True, True]), (30, 1.02, [False, True]), (2, 0.3, [True, False]), (0, math.nan, [True, False])],
)
def test_copies_are_refused(copies: int, ratio: float, passed: list[bool]) -> None:
    figures = {"clips": 240.0, "near_copies": copies, "synthetic/duplicate_ratio": ratio, "real/duplicate_ratio": 0.82}
    assert [check.passed for check in gate.synthesis_checks(figures)] == passed
    assert not any(check.passed for check in gate.synthesis_checks({})), "what is not known does not pass"


@pytest.mark.parametrize(
    ("candidate", "champion", "withdrawn", "refusals"),
    [
        ("false", "false", False, []),
        ("true", "true", False, []),
        ("false", "true", False, []),
        ("true", None, False, []),
        ("true", "false", False, ["speech"]),
        ("false", "false", True, ["withdrawn"]),
    ],
)
def test_what_no_figure_outweighs(candidate: str, champion: str | None, withdrawn: bool, refusals: list[str]) -> None:
    tags = {} if champion is None else {"synthetic_speech": champion}
    found = gate.eligibility({"synthetic_speech": candidate}, tags, withdrawn=withdrawn)
    assert [check.name for check in found] == refusals
    assert not any(check.passed for check in found)


def test_an_emotion_may_be_learnt_but_not_forgotten() -> None:
    assert gate.labels_check(("anger", "fear", "joy"), ("anger", "fear")).passed
    lost = gate.labels_check(("anger",), ("anger", "fear"))
    assert not lost.passed
    assert "fear" in str(lost)


@pytest.mark.parametrize(("ratio", "passed"), [(0.7, True), (1.5, True), (1.6, False)])
def test_latency(ratio: float, passed: bool) -> None:
    assert gate.latency_check(ratio).passed is passed


@pytest.mark.parametrize(("speakers", "passed"), [(0, False), (2, False), (3, True)])
def test_speakers(speakers: int, passed: bool) -> None:
    assert gate.speakers_check(speakers).passed is passed


def test_reasons_are_those_of_the_outcome() -> None:
    good, bad = gate.latency_check(1.0), gate.latency_check(2.0)
    refused = Decision("m 2", "m 1", (good, bad), passed=False)
    assert refused.reasons() == "time beside the champion's: 2, at most 1.5"
    assert str(refused) == f"m 2: refused (against m 1): {refused.reasons()}"
    assert "**no**" in refused.markdown()
    assert Decision("m 2", "", (good,), passed=True).reasons() == "time beside the champion's: 1, at most 1.5"

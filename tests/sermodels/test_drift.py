"""Drift between two samples: none in a resample, found where there is some, and too small to matter however sure."""

import numpy as np
import pytest
from numpy.typing import NDArray

from sermodels.drift import compare_columns, drifted_share, stability_index

Columns = dict[str, NDArray[np.generic]]
EMOTIONS = np.array(["anger", "fear", "happiness", "neutral"])


def sample(count: int, *, seed: int, gain_db: float = 0.0, shares: tuple[float, ...] = (0.25,) * 4) -> Columns:
    rng = np.random.default_rng(seed)
    return {
        "emotion": rng.choice(EMOTIONS, count, p=shares),
        "confidence": rng.beta(4, 2, count),
        "level_db": rng.normal(-20.0, 5.0, count) + gain_db,
        "quiet_share": np.maximum(0.0, rng.normal(0.0, 0.2, count)),  # half of it the same value
    }


def drifted(reference: Columns, current: Columns) -> list[str]:
    return [column.name for column in compare_columns(reference, current) if column.drifted]


@pytest.mark.parametrize("seed", range(8))
def test_a_resample_of_the_reference_has_not_drifted(seed: int) -> None:
    reference = sample(800, seed=100)
    places = np.random.default_rng(seed).integers(800, size=150)
    assert drifted(reference, {name: values[places] for name, values in reference.items()}) == []


def test_what_has_changed_is_found_and_nothing_else() -> None:
    reference = sample(800, seed=0)
    louder = compare_columns(reference, sample(150, seed=1, gain_db=12.0))
    assert [column.name for column in louder if column.drifted] == ["level_db"]
    assert drifted_share(louder) == 0.25
    assert drifted(reference, sample(150, seed=1, shares=(0.05, 0.05, 0.1, 0.8))) == ["emotion"]


def test_a_sure_but_small_difference_is_no_drift() -> None:
    (level,) = (
        column
        for column in compare_columns(sample(50_000, seed=0), sample(50_000, seed=1, gain_db=0.5))
        if column.name == "level_db"
    )
    assert level.p < 1e-6
    assert not level.drifted


def test_a_large_difference_between_few_is_not_sure() -> None:
    assert drifted(sample(800, seed=0), sample(5, seed=3, gain_db=2.0)) == []


def test_categories_that_only_one_side_knows() -> None:
    reference: Columns = {"emotion": np.array(["anger"] * 100)}
    assert drifted(reference, {"emotion": np.array(["sadness"] * 100)}) == ["emotion"]
    assert drifted(reference, reference) == []


def test_the_index_is_what_it_says() -> None:
    counts = np.array([[2_000_000, 2_000_000], [3_000_000, 1_000_000]])
    expected = 0.25 * np.log(0.75 / 0.5) + -0.25 * np.log(0.25 / 0.5)
    assert stability_index(counts) == pytest.approx(expected, rel=1e-5)
    assert stability_index(np.array([[5, 0], [5, 0]])) == 0.0

"""Quality of synthetic clips: figures of samples whose quality is known, on embeddings drawn for the purpose."""

import numpy as np
import pytest

from sermodels.quality import (
    Vectors,
    density_and_coverage,
    distribution_distances,
    duplicate_ratio,
    near_copies,
    nearest,
    probe_uar,
)

WIDTH = 32
CENTRES = np.random.default_rng(9).normal(size=(6, WIDTH))


def draw(clips: int, *, seed: int, spread: float = 1.0, labels: np.ndarray | None = None) -> Vectors:
    rng = np.random.default_rng(seed)
    centre = CENTRES[rng.integers(6, size=clips) if labels is None else labels]
    return (2.0 * centre + spread * rng.normal(size=(clips, WIDTH))).astype(np.float32)


TRAINING, UNSEEN, REAL = draw(600, seed=1), draw(300, seed=2), draw(200, seed=3)
NOISE = 0.05 * np.random.default_rng(4).normal(size=(200, WIDTH)).astype(np.float32)
COPIES = TRAINING[:200] + NOISE


def test_the_nearest_clip_is_found_and_none_is_its_own() -> None:
    found = nearest(COPIES, TRAINING)
    assert (found.place == np.arange(200)).all()
    own = nearest(TRAINING, TRAINING, themselves=True)
    assert (own.place != np.arange(600)).all()
    assert found.distance.max() < own.distance.min()


def test_length_does_not_count() -> None:
    np.testing.assert_allclose(nearest(3.0 * REAL, TRAINING).distance, nearest(REAL, TRAINING).distance, atol=1e-6)


def test_near_copies_are_found_and_fresh_clips_are_not() -> None:
    assert near_copies(COPIES, TRAINING).all()
    assert near_copies(REAL, TRAINING).mean() < 0.05


def test_copies_have_a_low_duplicate_ratio_and_fresh_clips_that_of_real_ones() -> None:
    real = duplicate_ratio(REAL, TRAINING, UNSEEN)
    assert duplicate_ratio(draw(200, seed=5), TRAINING, UNSEEN) == pytest.approx(real, rel=0.05)
    assert duplicate_ratio(COPIES, TRAINING, UNSEEN) < 0.2 * real


def test_distances_grow_with_the_difference() -> None:
    same, shifted, far = (distribution_distances(vectors, TRAINING) for vectors in (REAL, REAL + 2.0, REAL + 4.0))
    for name in ("frechet_distance", "mmd"):
        assert same[name] < 0.5 * shifted[name] < 0.5 * far[name]
    assert same["mmd"] < 0.05 * shifted["mmd"]


def test_the_frechet_distance_of_a_shift_is_its_square() -> None:
    """Equal covariances leave the squared distance of the means, each scaled by the real clips' deviation."""
    shifted = TRAINING + TRAINING.std(axis=0)
    assert distribution_distances(shifted, TRAINING)["frechet_distance"] == pytest.approx(WIDTH, rel=0.01)


def test_a_dead_dimension_does_not_drown_the_others() -> None:
    dead = [np.hstack([vectors, np.zeros_like(vectors[:, :1])]) for vectors in (REAL, TRAINING)]
    dead[0][0, -1] = 0.1
    before, after = distribution_distances(REAL, TRAINING), distribution_distances(*dead)
    assert {name: pytest.approx(value, abs=0.2) for name, value in before.items()} == after


def test_density_is_fidelity_and_coverage_is_diversity() -> None:
    good = density_and_coverage(REAL, TRAINING[:200])
    narrow = density_and_coverage(np.repeat(REAL[:2], 100, axis=0) + NOISE, TRAINING[:200])
    wrong = density_and_coverage(-REAL, TRAINING[:200])
    assert good["density"] == pytest.approx(1.0, abs=0.25)
    assert good["coverage"] > 0.85
    assert narrow["coverage"] < 0.3
    assert wrong["density"] < 0.1


def test_a_probe_learns_from_clips_that_carry_the_emotion_and_from_no_others() -> None:
    labels = np.arange(300) % 6
    vectors, test = draw(300, seed=6, labels=labels), draw(300, seed=7, labels=labels)
    assert probe_uar(vectors, labels, test, labels) > 0.95
    assert probe_uar(vectors, np.random.default_rng(0).permutation(labels), test, labels) < 0.35

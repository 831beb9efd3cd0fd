"""Emotion embeddings: class means of z-scored vectors, and the conditions drawn around them."""

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from sermodels.checkpoint import save_tensors
from sermodels.embedding import TENSOR_NAMES, EmotionEmbeddings
from sermodels.errors import SplitError, WeightsError

LABELS = ("anger", "fear", "sadness")
TRUTH = np.array([0, 1, 2, 0, 1, 2, 0, 0, 1, 2])
NUMBERS = torch.tensor([2, 0, 1, 1])


def raw_vectors() -> NDArray[np.float32]:
    return (np.random.default_rng(0).normal(size=(10, 5)) * [1, 10, 100, 0.1, 3] + 7).astype(np.float32)


def fitted() -> EmotionEmbeddings:
    return EmotionEmbeddings.fit(raw_vectors(), TRUTH, LABELS)


def test_centroids_and_spread_are_those_of_the_z_scored_class() -> None:
    vectors = raw_vectors().astype(np.float64)
    scored = (vectors - vectors.mean(axis=0)) / vectors.std(axis=0)

    embeddings = fitted()

    assert embeddings.width == 5
    for number in range(3):
        own = scored[number == TRUTH]
        np.testing.assert_allclose(embeddings.centroids[number], own.mean(axis=0), atol=1e-5)
        np.testing.assert_allclose(embeddings.spread[number], own.std(axis=0), atol=1e-5)


def test_mean_and_scale_undo_the_z_score() -> None:
    embeddings = fitted()

    np.testing.assert_allclose(embeddings.mean, raw_vectors().mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(embeddings.scale, raw_vectors().std(axis=0), rtol=1e-5)


def test_the_centroids_weighted_by_clips_cancel() -> None:
    weights = torch.tensor([4.0, 3.0, 3.0])

    torch.testing.assert_close(weights @ fitted().centroids, torch.zeros(5), rtol=0.0, atol=1e-5)


def test_the_order_of_clips_does_not_matter() -> None:
    order = np.random.default_rng(1).permutation(10)

    shuffled = EmotionEmbeddings.fit(raw_vectors()[order], TRUTH[order], LABELS)

    for name in TENSOR_NAMES:
        torch.testing.assert_close(getattr(shuffled, name), getattr(fitted(), name))


def test_a_constant_feature_gives_finite_numbers() -> None:
    vectors = raw_vectors()
    vectors[:, 0] = 3.0

    embeddings = EmotionEmbeddings.fit(vectors, TRUTH, LABELS)

    assert torch.equal(embeddings.centroids[:, 0], torch.zeros(3))
    assert all(torch.isfinite(getattr(embeddings, name)).all() for name in TENSOR_NAMES)


def test_an_emotion_without_training_clips_is_named() -> None:
    with pytest.raises(SplitError, match="no training clip of fear, calm: its centroid"):
        EmotionEmbeddings.fit(raw_vectors(), TRUTH % 2 * 2, ("anger", "fear", "sadness", "calm"))


def test_conditions_without_noise_or_variation_are_the_centroids() -> None:
    embeddings, noise = fitted(), torch.randn(4, 5)

    without_noise = embeddings.conditions(NUMBERS, torch.zeros(4, 5), 0.5)
    without_variation = embeddings.conditions(NUMBERS, noise, 0.0)

    assert torch.equal(without_noise, embeddings.centroids[NUMBERS])
    assert torch.equal(without_variation, embeddings.centroids[NUMBERS])


def test_conditions_vary_by_the_spread_of_their_emotion() -> None:
    embeddings = fitted()
    emotion = torch.full((20_000,), 1)
    noise = torch.randn(20_000, 5, generator=torch.Generator().manual_seed(0))

    conditions = embeddings.conditions(emotion, noise, 0.5)

    torch.testing.assert_close(conditions.mean(dim=0), embeddings.centroids[1], rtol=0.0, atol=0.02)
    torch.testing.assert_close(conditions.std(dim=0), 0.5 * embeddings.spread[1], rtol=0.03, atol=0.0)


def test_what_is_saved_comes_back(tmp_path: Path) -> None:
    fitted().save(tmp_path / "e.safetensors")

    loaded = EmotionEmbeddings.load(tmp_path / "e.safetensors")

    assert loaded.labels == LABELS
    assert all(torch.equal(getattr(loaded, name), getattr(fitted(), name)) for name in TENSOR_NAMES)


@pytest.mark.parametrize("header", [{}, {"labels": list(LABELS)}])
def test_a_checkpoint_of_something_else_is_refused_by_name(tmp_path: Path, header: dict[str, object]) -> None:
    save_tensors(tmp_path / "other.safetensors", {"mean": torch.zeros(3)}, header)

    with pytest.raises(WeightsError, match=r"other\.safetensors: holds no emotion embeddings"):
        EmotionEmbeddings.load(tmp_path / "other.safetensors")


def test_a_damaged_file_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "damaged.safetensors").write_bytes(b"\x00" * 20)

    with pytest.raises(WeightsError, match=r"damaged\.safetensors: not a readable checkpoint"):
        EmotionEmbeddings.load(tmp_path / "damaged.safetensors")

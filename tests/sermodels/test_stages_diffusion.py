"""Stages embedding and diffusion: fitted on the training clips alone, drawn as they learn, reused whole."""

from pathlib import Path

import numpy as np
import pytest
import torch

from sermodels.checkpoint import load_tensors
from sermodels.clips import trim_silence
from sermodels.diffusion.model import DiffusionModel
from sermodels.embedding import TENSOR_NAMES, EmotionEmbeddings
from sermodels.stages.diffusion import DENOISER_FILE, run_diffusion
from sermodels.stages.embedding import EMBEDDINGS_FILE, run_embedding
from sermodels.training import EpochRecord
from tests.sermodels.tiny import EMOTIONS
from tests.sermodels.tiny_chain import Chain, elsewhere, training_log_mels, whole_chain


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Chain:
    return whole_chain(tmp_path_factory)


def test_the_embedding_stage_holds_vectors_centroids_figures_and_a_picture(chain: Chain) -> None:
    files = {path.name for path in chain.stages["embedding"].folder.iterdir()}

    assert files == {
        *("training-embeddings.safetensors", EMBEDDINGS_FILE, "embeddings.png"),
        *("figures.json", "inputs.json", "complete.json"),
    }


def test_only_training_clips_are_embedded(chain: Chain) -> None:
    tensors, header = load_tensors(chain.stages["embedding"].folder / "training-embeddings.safetensors")

    assert tuple(header["clips"]) == chain.context.split().training
    assert tensors["embeddings"].shape == (12, 512)


def test_the_centroids_are_those_of_the_stored_vectors(chain: Chain) -> None:
    stage, data = chain.stages["embedding"], chain.context.load()
    vectors = load_tensors(stage.folder / "training-embeddings.safetensors")[0]["embeddings"].numpy()
    truth = data.labels[data.indices(chain.context.split().training)]

    stored, fitted = (
        EmotionEmbeddings.load(stage.folder / EMBEDDINGS_FILE),
        EmotionEmbeddings.fit(vectors, truth, EMOTIONS),
    )

    assert stored.labels == EMOTIONS
    for name in TENSOR_NAMES:
        torch.testing.assert_close(getattr(stored, name), getattr(fitted, name))


def test_the_embedding_figures_follow_from_the_vectors(chain: Chain) -> None:
    stage, data = chain.stages["embedding"], chain.context.load()
    vectors = load_tensors(stage.folder / "training-embeddings.safetensors")[0]["embeddings"].numpy()
    embeddings = EmotionEmbeddings.load(stage.folder / EMBEDDINGS_FILE)
    scored = (vectors - embeddings.mean.numpy()) / embeddings.scale.numpy()
    distances = np.stack([np.linalg.norm(scored - centroid.numpy(), axis=1) for centroid in embeddings.centroids])
    truth = data.labels[data.indices(chain.context.split().training)]

    written = stage.read("figures.json")

    assert (written["clips"], written["width"]) == (12, 512)
    assert written["nearest_centroid_accuracy"] == pytest.approx(np.mean(distances.argmin(axis=0) == truth))
    apart = np.linalg.norm(embeddings.centroids[0].numpy() - embeddings.centroids[1].numpy())
    assert written["centroid_distance"] == pytest.approx(apart, rel=1e-4)


def test_embeddings_are_reused(chain: Chain) -> None:
    assert run_embedding(chain.context, chain.stages["augmentation"]).reused


def test_the_diffusion_stage_holds_denoiser_history_figures_and_sample_grids(chain: Chain) -> None:
    files = {path.name for path in chain.stages["diffusion"].folder.iterdir()}

    assert files == {
        *(DENOISER_FILE, "history.json", "figures.json", "inputs.json", "complete.json", "curves.png"),
        *("samples-epoch-0002.png", "samples-epoch-0004.png"),
    }


def test_losses_and_pictures_are_reported_as_they_come(chain: Chain) -> None:
    history = chain.stages["diffusion"].read("history.json")

    assert chain.histories["diffusion"] == history
    assert [record["epoch"] for record in history] == [0, 1, 2, 3]
    assert all(np.isfinite(record["train/loss"]) for record in history)
    folder = chain.stages["diffusion"].folder
    assert chain.pictures == [(epoch, folder / f"samples-epoch-{epoch:04d}.png") for epoch in (2, 4)]
    assert chain.stages["diffusion"].read("figures.json")["train/loss"] == history[-1]["train/loss"]


def test_the_denoiser_has_the_emotions_and_the_training_clips_statistics(chain: Chain) -> None:
    model = DiffusionModel.load(chain.stages["diffusion"].folder / DENOISER_FILE)
    clips = [trim_silence(log_mel, 40.0).astype(np.float64) for log_mel in training_log_mels(chain.context)]
    frames = np.concatenate([clip - clip.mean() for clip in clips], axis=1)

    assert model.embeddings.labels == EMOTIONS
    assert model.config == chain.config.diffusion
    np.testing.assert_allclose(model.mean, frames.mean(axis=1), atol=0.01)
    np.testing.assert_allclose(model.std, frames.std(axis=1, ddof=1), atol=0.01)
    parameters = sum(parameter.numel() for parameter in model.denoiser.parameters())
    assert chain.stages["diffusion"].read("figures.json")["parameters"] == parameters


def test_a_second_call_reports_history_and_pictures_again(chain: Chain) -> None:
    heard: list[EpochRecord] = []
    shown: list[tuple[int, Path]] = []

    again = run_diffusion(
        chain.context,
        chain.stages["embedding"],
        on_epoch=heard.append,
        on_picture=lambda *picture: shown.append(picture),
    )

    assert again.reused
    assert heard == chain.histories["diffusion"]
    assert shown == chain.pictures


def test_a_damaged_denoiser_is_trained_again_to_the_same_weights(chain: Chain, tmp_path: Path) -> None:
    whole = chain.stages["diffusion"].folder / DENOISER_FILE
    context = elsewhere(chain, tmp_path, "diffusion")
    path = tmp_path / whole.relative_to(chain.context.workspace)
    path.write_bytes(whole.read_bytes()[:-1])

    again = run_diffusion(context, chain.stages["embedding"])

    assert not again.reused
    assert again.folder == path.parent
    assert path.read_bytes() == whole.read_bytes()

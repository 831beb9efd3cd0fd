"""A kept diffusion model samples the same when it is read, undoes its z-score, and is refused when damaged."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from sermodels.checkpoint import save_tensors
from sermodels.config import DiffusionConfig
from sermodels.diffusion.model import DiffusionModel, build_denoiser
from sermodels.embedding import TENSOR_NAMES, EmotionEmbeddings
from sermodels.errors import WeightsError
from sermodels.synthesis import Draw, sample_log_mels
from tests.sermodels.tiny import same, tiny_diffusion_model, tiny_synthesis


def test_what_is_saved_comes_back(tmp_path: Path) -> None:
    model = tiny_diffusion_model(timesteps=20)
    model.save(tmp_path / "model.safetensors")

    loaded = DiffusionModel.load(tmp_path / "model.safetensors")

    assert (loaded.config, loaded.top_db) == (model.config, model.top_db)
    assert loaded.embeddings.labels == ("anger", "fear", "sadness")
    assert all(torch.equal(getattr(loaded.embeddings, n), getattr(model.embeddings, n)) for n in TENSOR_NAMES)
    assert same(dict(loaded.denoiser.state_dict()), dict(model.denoiser.state_dict()))
    assert not loaded.denoiser.training


def test_samples_are_the_same(tmp_path: Path) -> None:
    model, draws = tiny_diffusion_model(), [Draw(0, 0), Draw(2, 1)]
    model.save(tmp_path / "model.safetensors")

    loaded = DiffusionModel.load(tmp_path / "model.safetensors")

    first, second = (sample_log_mels(each, draws, tiny_synthesis(), seed=1) for each in (model, loaded))
    torch.testing.assert_close(first, second, rtol=0.0, atol=1e-3)


def test_its_device_is_that_of_its_network_wherever_its_statistics_lie() -> None:
    model = tiny_diffusion_model()
    assert model.device == torch.device("cpu")
    model.denoiser.to("meta")
    assert model.device == torch.device("meta")
    assert model.mean.device == torch.device("cpu")


def test_the_z_score_is_undone() -> None:
    model = tiny_diffusion_model()
    model.mean.copy_(torch.linspace(-60.0, -30.0, 16))
    model.std.copy_(torch.linspace(5.0, 15.0, 16))
    log_mel = torch.randn(3, 16, 16).clamp(-3, 3) * 10 - 40

    standardized = (log_mel - model.mean[:, None]) / model.std[:, None]

    torch.testing.assert_close(model.to_log_mel(standardized), log_mel, rtol=1e-5, atol=1e-4)


def test_nothing_lies_further_below_the_loudest_cell_than_the_dynamic_range() -> None:
    model = replace(tiny_diffusion_model(), top_db=30.0)

    log_mel = model.to_log_mel(3.0 * torch.randn(3, 16, 16))

    assert (log_mel.amin(dim=(1, 2)) == log_mel.amax(dim=(1, 2)) - 30.0).all()


@pytest.mark.parametrize("header", [{}, {"config": {"frames": -1}, "labels": ["a"]}, {"config": {}, "labels": ["a"]}])
def test_a_checkpoint_of_something_else_is_refused_by_name(tmp_path: Path, header: dict[str, object]) -> None:
    save_tensors(tmp_path / "other.safetensors", {"mean": torch.zeros(3)}, header)

    with pytest.raises(WeightsError, match=r"other\.safetensors: is no diffusion model"):
        DiffusionModel.load(tmp_path / "other.safetensors")


def test_weights_that_do_not_fit_the_config_are_refused_by_name(tmp_path: Path) -> None:
    narrow = tiny_diffusion_model()
    wide = DiffusionModel(narrow.config.model_copy(update={"widths": (24, 32)}), narrow.denoiser, *_rest(narrow))
    wide.save(tmp_path / "wide.safetensors")

    with pytest.raises(WeightsError, match=r"wide\.safetensors: does not fit the network"):
        DiffusionModel.load(tmp_path / "wide.safetensors")


def _rest(model: DiffusionModel) -> tuple[EmotionEmbeddings, torch.Tensor, torch.Tensor, float]:
    return model.embeddings, model.mean, model.std, model.top_db


@pytest.mark.parametrize("kept_bytes", [0, 100, -1])
def test_a_damaged_file_is_refused_by_name(tmp_path: Path, kept_bytes: int) -> None:
    path = tmp_path / "model.safetensors"
    tiny_diffusion_model().save(path)
    path.write_bytes(path.read_bytes()[:kept_bytes])

    with pytest.raises(WeightsError, match=r"model\.safetensors: not a readable checkpoint"):
        DiffusionModel.load(path)


@pytest.mark.parametrize(("widths", "condition_size"), [((16,), 3), ((16, 32), 512), ((8, 16, 24), 2048)])
def test_a_denoiser_of_the_configured_size_is_built(widths: tuple[int, ...], condition_size: int) -> None:
    denoiser = build_denoiser(DiffusionConfig(widths=widths, frames=32), condition_size=condition_size)

    with torch.inference_mode():
        clean = denoiser(torch.randn(2, 16, 32), torch.ones(2), torch.randn(2, condition_size))
    assert clean.shape == (2, 16, 32)

"""Each alternative that needs no server runs at tiny size, and gives what ours gives."""

from multiprocessing.pool import ThreadPool
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from benchmarks.agreement import DisagreementError, require_close
from benchmarks.alternatives.notebook_features import log_mel, read_all, save_all
from benchmarks.alternatives.pixel_diffusion import CHANNELS, EMOTIONS, sampling_step, training_step
from benchmarks.alternatives.pixel_unet import PixelUNet
from benchmarks.context import Bench
from benchmarks.parts import features, training
from sermodels.cache import cache_paths
from sermodels.stages.caching import run_caching
from sermodels.stages.context import cache_folder

ignore_old_modules = pytest.mark.filterwarnings("ignore:.*slated for removal:DeprecationWarning")
"""librosa.load asks audioread, which imports modules that Python will drop."""


@ignore_old_modules
def test_librosas_log_mels_are_those_of_the_caching_stage(bench: Bench, tmp_path: Path) -> None:
    run_caching(bench.config, tmp_path, skip_unreadable=False)
    assert features._check(bench.utterances, bench.config, tmp_path) < features.TOLERANCE_DB


@ignore_old_modules
def test_another_log_mel_in_the_cache_is_a_disagreement(bench: Bench, tmp_path: Path) -> None:
    run_caching(bench.config, tmp_path, skip_unreadable=False)
    first, second = cache_paths(cache_folder(tmp_path), bench.utterances[:2], bench.config.front_end)
    first.write_bytes(second.read_bytes())
    with pytest.raises(DisagreementError, match=bench.utterances[0].identifier):
        features._check(bench.utterances, bench.config, tmp_path)


@ignore_old_modules
def test_the_notebook_keeps_a_z_scored_picture_of_each_recording(bench: Bench, tmp_path: Path) -> None:
    paths = [one.path for one in bench.utterances[:3]]
    with ThreadPool(1) as pool:
        pictures = read_all(save_all(pool, paths, tmp_path / "npy", bench.config.front_end))
    assert [(one.shape, one.dtype) for one in pictures] == [((224, 224, 3), np.float32)] * 3
    for path, picture in zip(paths, pictures, strict=True):
        assert np.array_equal(picture[..., 0], picture[..., 2])
        assert abs(picture.mean()) < 0.1
        assert log_mel(path, bench.config.front_end).shape[0] == bench.config.front_end.n_mels


def test_both_training_loops_have_the_same_losses(bench: Bench, tmp_path: Path) -> None:
    case = training.prepare(bench, "cpu")
    exactly = case.config.training.model_copy(update={"precision": "float32"})  # four clips tell little of bfloat16
    case.config = case.config.model_copy(update={"training": exactly})
    ours, seconds = training.train_ours(case, tmp_path)
    notebook = list(training.train_notebook(case, workers=0, device="cpu"))
    assert len(seconds) == len(notebook) == case.config.training.epochs == 2
    theirs = [loss for loss, _ in notebook]
    assert require_close("losses", ours, theirs, tolerance=0.01, unit="nats") >= 0.0
    state = case.classifier.state_dict()
    assert case.classifier.frozen == ("conv1", "bn1", "layer1", "layer2", "layer3")
    assert all(torch.isfinite(tensor).all() for tensor in state.values())


def test_the_pixel_unet_has_the_seeds_size() -> None:
    with torch.device("meta"):
        network = PixelUNet(CHANNELS, EMOTIONS)
    assert 15e6 < sum(one.numel() for one in network.parameters()) < 19e6


def test_the_pixel_unet_samples_and_learns() -> None:
    torch.manual_seed(0)
    network: nn.Module = PixelUNet((32, 32), EMOTIONS)
    noisy = torch.randn(2, 3, 16, 16)
    assert sampling_step(network.eval(), noisy, 10).shape == noisy.shape
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
    losses = [training_step(network.train(), optimizer, torch.zeros(4, 3, 16, 16)) for _ in range(20)]
    assert losses[-1] < losses[0]

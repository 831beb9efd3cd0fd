"""Every preset trains: one epoch of its classifier and one loss of its denoiser, at its own sizes on a few clips."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from sermodels.classifier import Classifier
from sermodels.clips import ClipSet, statistics_of
from sermodels.config import Config
from sermodels.diffusion.model import DiffusionModel, build_denoiser
from sermodels.diffusion.training import batch_loss
from sermodels.embedding import EmotionEmbeddings
from sermodels.presets import PRESETS, resolve_config
from sermodels.training import train_classifier
from sermodels.training_data import everything


@pytest.fixture(params=sorted(path.stem for path in PRESETS.glob("*.yaml")))
def config(request: pytest.FixtureRequest) -> Config:
    """Each preset, without pretrained weights."""
    return resolve_config(request.param, ["training.epochs=1", "training.batch_size=2", "classifier.weights=none"])


def clips_for(config: Config) -> ClipSet:
    """Two clips an emotion, of noise with silence around."""
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(len(config.corpus.emotions)), 2)
    log_mels = [rng.normal(-30.0, 10.0, (config.front_end.n_mels, 60)).astype(np.float16) for _ in labels]
    return ClipSet.from_config(log_mels, labels.tolist(), config.clip, config.front_end)


def test_classifier_trains(config: Config, tmp_path: Path) -> None:
    clips, rows = clips_for(config), np.arange(2 * len(config.corpus.emotions))
    classifier = Classifier(config.classifier, labels=config.corpus.emotions, n_mels=config.front_end.n_mels)
    data = replace(everything(clips, config), training=rows[:4], development=rows[::2], clips_per_epoch=4)
    (record,) = train_classifier(
        classifier, data, config.training, augmentation=config.augmentation, seed=0, checkpoint=tmp_path / "state"
    )
    assert np.isfinite(record["train/loss"])


def test_denoiser_trains(config: Config) -> None:
    clips = clips_for(config)
    emotions = len(config.corpus.emotions)
    vectors = np.random.default_rng(1).normal(size=(2 * emotions, 8)).astype(np.float32)
    embeddings = EmotionEmbeddings.fit(vectors, clips.labels.numpy(), config.corpus.emotions)
    denoiser = build_denoiser(config.diffusion, condition_size=8)
    model = DiffusionModel(config.diffusion, denoiser, embeddings, *statistics_of(clips, torch.arange(4)), 80.0)
    loss = batch_loss(model, clips, torch.arange(2), (0, 0, 0))
    loss.backward()
    assert torch.isfinite(loss)

"""Tiny recordings, clips, networks and configs that the tests of models and stages share."""

from pathlib import Path

import numpy as np
import soundfile
import torch
from numpy.typing import NDArray

from sermodels.classifier import Classifier
from sermodels.clips import ClipSet
from sermodels.config import ClassifierConfig, ClipConfig, Config, DiffusionConfig, FrontEndConfig, SynthesisConfig
from sermodels.diffusion.model import DiffusionModel, build_denoiser
from sermodels.embedding import EmotionEmbeddings
from sermodels.mel import mel_centres_hz
from sermodels.training_data import TrainingData

EMOTIONS = ("anger", "sadness")
LETTERS = {"W": 400.0, "T": 2500.0}
"""EmoDB's letters of both emotions, and the tone in Hz that stands for each."""

SPEAKERS = ("03", "08", "09", "10", "11", "13")
MELS, FRAMES = 16, 16
BANDS_HZ = mel_centres_hz(FrontEndConfig(n_mels=MELS))


def write_corpus(data_dir: Path) -> None:
    """24 recordings of 0.3 s, named as EmoDB's: a noisy tone whose pitch is the emotion."""
    folder = data_dir / "emodb"
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    time_s = np.arange(4_800) / 16_000
    for speaker in SPEAKERS:
        for text in ("a01", "b02"):
            for letter, tone_hz in LETTERS.items():
                pitch_hz = tone_hz * rng.uniform(0.9, 1.1)
                samples = 0.3 * np.sin(2 * np.pi * pitch_hz * time_s) + rng.normal(scale=0.02, size=len(time_s))
                soundfile.write(folder / f"{speaker}{text}{letter}a.wav", samples, 16_000, subtype="PCM_16")


def tiny_config(data_dir: Path, *, fold: int = 0) -> Config:
    """Every stage in about a second: ResNet18 on 32 bands and 22 frames, a denoiser of two narrow levels."""
    return Config.model_validate(
        {
            "seed": 7,
            "corpus": {"data_dir": str(data_dir), "names": ("emodb",), "emotions": EMOTIONS},
            "front_end": {"n_mels": 32},
            "clip": {"duration_s": 0.25, "trim_db": 40.0, "level": "clip", "crop": "random"},
            "split": {"folds": 3, "fold": fold},
            "classifier": {
                "backbone": "resnet18",
                "weights": "none",
                "trainable": ("all",),
                "dropout": 0.2,
                "image_size": None,
            },
            "training": {"epochs": 3, "batch_size": 4, "optimizer": "adamw", "learning_rate": 1e-3},
            "diffusion": {"frames": 16, "widths": (16, 32), "epochs": 4, "batch_size": 8, "sample_every": 2},
            "synthesis": {"per_emotion": 5, "steps": 3, "batch_size": 3, "audio_per_emotion": 1},
        }
    )


def banded_log_mels(labels: NDArray[np.int64], *, seed: int = 0, frames: int = FRAMES) -> list[NDArray[np.float32]]:
    """Log-mels of 16 bands in dB: noise at -60 dB, and 30 dB more in the three bands that stand for the label."""
    rng = np.random.default_rng(seed)
    log_mels = rng.normal(-60.0, 3.0, (len(labels), MELS, frames)).astype(np.float32)
    for log_mel, label in zip(log_mels, labels, strict=True):
        log_mel[4 * label : 4 * label + 3] += 30.0
    return list(log_mels)


def tiny_data(*, swapped_development: bool = False, frames: int = FRAMES) -> TrainingData:
    """24 clips of three emotions, two thirds of them for training; swapped labels cannot be learnt."""
    labels = np.arange(24) % 3
    log_mels = banded_log_mels(labels, frames=frames)
    development = np.arange(16, 24)
    if swapped_development:
        labels[development] = (labels[development] + 1) % 3
    clips = ClipSet.build(log_mels, labels.tolist())
    return TrainingData(clips, np.arange(16), development, 16, frames, ClipConfig(), BANDS_HZ)


def tiny_classifier_config(**values: object) -> ClassifierConfig:
    """ResNet18 at the log-mel's own size, all of it learning."""
    defaults = {"backbone": "resnet18", "weights": "none", "trainable": ("all",), "image_size": None}
    return ClassifierConfig.model_validate(defaults | values)


def tiny_diffusion_config(**values: object) -> DiffusionConfig:
    """A denoiser of two narrow levels for log-mels of 16 x 16 cells."""
    defaults = {"frames": FRAMES, "widths": (16, 32), "precision": "float32", "batch_size": 8}
    return DiffusionConfig.model_validate(defaults | values)


def tiny_synthesis(**values: object) -> SynthesisConfig:
    """Five clips an emotion in shards of at most two."""
    return SynthesisConfig.model_validate({"per_emotion": 5, "steps": 4, "batch_size": 2, **values})


def tiny_diffusion_model(*, trained: bool = True, std_db: float = 10.0, **values: object) -> DiffusionModel:
    """A diffusion model of three emotions; `trained` gives its zero-initialised convolutions some weight."""
    config = tiny_diffusion_config(**values)
    torch.manual_seed(0)
    denoiser = build_denoiser(config, condition_size=6)
    if trained:
        for parameter in denoiser.parameters():
            parameter.data += 0.05 * torch.randn_like(parameter)
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(30, 6)).astype(np.float32)
    embeddings = EmotionEmbeddings.fit(vectors, np.arange(30) % 3, ("anger", "fear", "sadness"))
    return DiffusionModel(config, denoiser, embeddings, torch.full((MELS,), -50.0), torch.full((MELS,), std_db), 80.0)


def train_one_batch(classifier: Classifier) -> None:
    """One optimiser step on random log-mels of 16 bands, which moves batch statistics too."""
    optimizer = torch.optim.SGD([p for p in classifier.parameters() if p.requires_grad], lr=0.1)
    labels = torch.arange(4) % len(classifier.labels)
    torch.nn.functional.cross_entropy(classifier.train()(torch.randn(4, MELS, 32)), labels).backward()
    optimizer.step()


def copy_of(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Copies that later training does not touch."""
    return {name: tensor.detach().clone() for name, tensor in tensors.items()}


def same(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    """Whether two state dicts are equal bit for bit."""
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)

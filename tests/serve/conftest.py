"""A small bundle with all its parts, made once a session from networks that have learnt nothing."""

from pathlib import Path

import numpy as np
import pytest
import torch

from sermodels.classifier import Classifier
from sermodels.classifier_checkpoint import save_classifier
from sermodels.config import Config
from sermodels.diffusion.model import DiffusionModel, build_denoiser
from sermodels.embedding import EmotionEmbeddings
from serve.bundle import ModelVersion, Provenance
from serve.export.bundle_writer import Sources, write_bundle
from serve.settings import Settings
from tests.shared import made_once

CONFIG = Config.model_validate(
    {
        "corpus": {"names": ["demo"]},
        "clip": {"duration_s": 2.0, "trim_db": 40.0, "level": "clip", "crop": "random"},
        "classifier": {"backbone": "resnet18", "weights": "none", "trainable": ["all"], "image_size": None},
        "diffusion": {"frames": 64, "widths": [16, 32], "timesteps": 20},
        "synthesis": {"steps": 4},
    }
)


def small_classifier(folder: Path, config: Config = CONFIG, *, seed: int = 0) -> Path:
    """The checkpoint of a classifier whose statistics fit speech and whose weights are random."""
    torch.manual_seed(seed)
    classifier = Classifier(config.classifier, labels=config.corpus.emotions, n_mels=config.front_end.n_mels)
    classifier.std.fill_(15.0)
    torch.nn.init.normal_(classifier.fc.weight, std=0.2)
    path = folder / "classifier.safetensors"
    save_classifier(path, classifier, {"config": config.model_dump(mode="json")})
    return path


def small_diffusion(folder: Path, config: Config = CONFIG) -> Path:
    """The checkpoint of a diffusion model with random weights."""
    torch.manual_seed(0)
    denoiser = build_denoiser(config.diffusion, condition_size=12)
    for parameter in denoiser.parameters():
        parameter.data += 0.05 * torch.randn_like(parameter)
    vectors = np.random.default_rng(0).normal(size=(60, 12)).astype(np.float32)
    embeddings = EmotionEmbeddings.fit(vectors, np.arange(60) % 6, config.corpus.emotions)
    mels = config.front_end.n_mels
    mean, std = torch.full((mels,), -50.0), torch.full((mels,), 10.0)
    path = folder / "denoiser.safetensors"
    DiffusionModel(config.diffusion, denoiser, embeddings, mean, std, config.front_end.top_db).save(path)
    return path


def provenance(*, split: str = "fold 0", diffusion: bool = True) -> Provenance:
    """Where a test bundle says that it comes from."""
    classifier = ModelVersion(name="ser-classifier", version="3", run_id="a" * 32, stage="augmentation", split=split)
    generator = ModelVersion(name="ser-diffusion", version="2", run_id="b" * 32, stage="diffusion", split=split)
    return Provenance(
        created="2026-01-01T00:00:00+00:00",
        git_commit="0" * 40,
        data_digest="d" * 64,
        protocol="speaker",
        synthetic_speech=True,
        classifier=classifier,
        diffusion=generator if diffusion else None,
    )


@pytest.fixture(scope="session")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The classifier's and the diffusion model's checkpoints of `bundle_folder`."""

    def make(folder: Path) -> None:
        small_classifier(folder)
        small_diffusion(folder)

    folder = made_once(tmp_path_factory, "checkpoints", make)
    return folder / "classifier.safetensors", folder / "denoiser.safetensors"


@pytest.fixture(scope="session")
def bundle_folder(tmp_path_factory: pytest.TempPathFactory, checkpoints: tuple[Path, Path]) -> Path:
    """A complete bundle; copy it before changing anything in it."""
    sources = Sources(*checkpoints, CONFIG, provenance(), {"test_uar": 0.5, "development_uar": 0.6})

    def write(folder: Path) -> None:
        write_bundle(sources, folder / "champion", say=lambda text: None)

    return made_once(tmp_path_factory, "bundle", write) / "champion"


@pytest.fixture(scope="session")
def challenger_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle with another classifier and no diffusion model."""

    def write(folder: Path) -> None:
        checkpoint, metrics = small_classifier(folder, seed=1), {"test_uar": 0.45, "development_uar": 0.5}
        sources = Sources(checkpoint, None, CONFIG, provenance(diffusion=False), metrics)
        write_bundle(sources, folder / "challenger", say=lambda text: None)

    return made_once(tmp_path_factory, "challenger", write) / "challenger"


@pytest.fixture(scope="session")
def service_settings() -> Settings:
    """One decoder, the CPU, and small limits."""
    return Settings(device="cpu", decode_workers=1, max_duration_s=60.0, max_body_bytes=5_000_000)

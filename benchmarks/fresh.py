"""Networks that have learnt nothing: weights do not matter to how long a computation takes."""

import numpy as np
import torch

from sermodels.classifier import Classifier
from sermodels.config import Config
from sermodels.diffusion.model import DiffusionModel, build_denoiser
from sermodels.embedding import EmotionEmbeddings

WEIGHT_STD = 0.02
"""Added to every weight: the convolutions that start at zero would make one answer of all."""


def fresh_classifier(config: Config) -> Classifier:
    """A classifier whose z-score fits speech."""
    torch.manual_seed(0)
    network = config.classifier.model_copy(update={"weights": "none"})
    classifier = Classifier(network, labels=config.corpus.emotions, n_mels=config.front_end.n_mels)
    classifier.mean.fill_(-20.0)
    classifier.std.fill_(15.0)
    return classifier


def fresh_diffusion(config: Config, *, width: int = 512) -> DiffusionModel:
    """A diffusion model conditioned on embeddings of `width`, which is ResNet18's."""
    torch.manual_seed(0)
    denoiser = build_denoiser(config.diffusion, condition_size=width)
    for parameter in denoiser.parameters():
        parameter.data += WEIGHT_STD * torch.randn_like(parameter)
    emotions, bands = config.corpus.emotions, config.front_end.n_mels
    vectors = np.random.default_rng(0).normal(size=(60, width)).astype(np.float32)
    embeddings = EmotionEmbeddings.fit(vectors, np.arange(60) % len(emotions), emotions)
    level, spread = torch.full((bands,), -20.0), torch.full((bands,), 15.0)
    return DiffusionModel(config.diffusion, denoiser.eval(), embeddings, level, spread, config.front_end.top_db)

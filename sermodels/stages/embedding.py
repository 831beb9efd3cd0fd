"""Stage `embedding`: embeddings of the training clips, their centroids, and a picture of them."""

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.manifold import TSNE

from sermodels.checkpoint import save_tensors
from sermodels.classifier_checkpoint import CLASSIFIER_FILE, load_classifier
from sermodels.device import best_device
from sermodels.embedding import EmotionEmbeddings
from sermodels.files import write_json
from sermodels.plots import embedding_picture, save_figure
from sermodels.prediction import embed
from sermodels.stages.context import RunContext
from sermodels.store import StageResult, run_stage
from sermodels.training_data import everything

VERSION = 1
EMBEDDINGS_FILE = "embeddings.safetensors"
VECTORS_FILE = "training-embeddings.safetensors"


def run_embedding(context: RunContext, trained: StageResult) -> StageResult:
    """Embed the training clips with a trained classifier and fit the emotions' centroids and spread on them."""
    inputs = context.inputs(version=VERSION, classifier=trained.key)
    return run_stage(context.workspace, "embedding", inputs, lambda folder: _embed(context, trained, folder))


def _embed(context: RunContext, trained: StageResult, folder: Path) -> None:
    """Everything that the stage does, in its folder."""
    config, split, data, device = context.config, context.split(), context.load(), best_device()
    classifier, _ = load_classifier(trained.folder / CLASSIFIER_FILE)
    training = data.indices(split.training)
    vectors = embed(classifier.to(device), everything(data.clip_set(config, device), config), training, config.training)
    truth = data.labels[training]
    embeddings = EmotionEmbeddings.fit(vectors, truth, config.corpus.emotions)
    header = {"clips": list(split.training), "split": split.name}
    save_tensors(folder / VECTORS_FILE, {"embeddings": torch.from_numpy(vectors)}, header)
    _picture(embeddings, vectors, truth, folder / "embeddings.png", f"Training clips, {split.name}, t-SNE")
    write_json(folder / "figures.json", _figures(embeddings, vectors, truth))
    embeddings.save(folder / EMBEDDINGS_FILE)


def _figures(
    embeddings: EmotionEmbeddings, vectors: NDArray[np.float32], truth: NDArray[np.int64]
) -> dict[str, int | float]:
    """How many clips lie nearest to their own emotion's centroid, and how far apart the centroids are."""
    scored = (vectors - embeddings.mean.numpy()) / embeddings.scale.numpy()
    centroids = embeddings.centroids.numpy()
    distance = np.linalg.norm(scored[:, None] - centroids, axis=2)
    apart = np.linalg.norm(centroids[:, None] - centroids, axis=2)[np.triu_indices(len(centroids), 1)]
    nearest = float(np.mean(distance.argmin(axis=1) == truth))
    return {
        "width": embeddings.width,
        "clips": len(vectors),
        "nearest_centroid_accuracy": nearest,
        "centroid_distance": float(apart.mean()),
    }


def _picture(
    embeddings: EmotionEmbeddings, vectors: NDArray[np.float32], truth: NDArray[np.int64], path: Path, title: str
) -> None:
    """Clips and centroids in two dimensions by t-SNE."""
    scored = np.vstack([(vectors - embeddings.mean.numpy()) / embeddings.scale.numpy(), embeddings.centroids.numpy()])
    perplexity = min(30.0, (len(scored) - 1) / 3.0)
    points = TSNE(perplexity=perplexity, init="pca", random_state=0).fit_transform(scored)
    figure = embedding_picture(points[: len(vectors)], truth, points[len(vectors) :], embeddings.labels, title)
    save_figure(figure, path)

"""How good synthetic clips are, in an embedding that had no part in making them: spread, fidelity, and copies."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial.distance import cdist
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import NearestNeighbors
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import nn
from torchmetrics.image.fid import FrechetInceptionDistance
from torchmetrics.image.kid import poly_mmd

from sermodels.evaluation import unweighted_average_recall

NEIGHBOURS = 5
COPY_QUANTILE = 0.01
"""A synthetic clip is a near-copy where it lies closer to a training clip than this share of training clips lie to
their own nearest neighbours."""
STILL = 0.01
"""Embedding dimensions that vary less than this share of the liveliest one are scaled as if they varied by it."""

Vectors = NDArray[np.float32]
"""Embeddings, shape (clip, width)."""


@dataclass(frozen=True)
class Neighbours:
    """The nearest clip of each clip: its `place` and the `distance` of their unit vectors, both (clip,)."""

    place: NDArray[np.int64]
    distance: NDArray[np.float64]


def nearest(queries: Vectors, reference: Vectors, *, themselves: bool = False) -> Neighbours:
    """The nearest of `reference` for each query; `themselves`: they are the same clips, and none is its own."""
    distance, place = _search(reference, 2 if themselves else 1).kneighbors(_unit(queries))
    return Neighbours(place[:, -1].astype(np.int64), distance[:, -1].astype(np.float64))


def _search(reference: Vectors, neighbours: int) -> NearestNeighbors:
    return NearestNeighbors(n_neighbors=neighbours).fit(_unit(reference))


def _unit(vectors: Vectors) -> NDArray[np.float64]:
    """Vectors of length 1, whose Euclidean distance grows with the angle between them."""
    wide = vectors.astype(np.float64)
    unit: NDArray[np.float64] = wide / np.maximum(np.linalg.norm(wide, axis=1, keepdims=True), 1e-12)
    return unit


def near_copies(synthetic: Vectors, training: Vectors) -> NDArray[np.bool_]:
    """Which synthetic clips lie closer to a training clip than training clips lie to each other (COPY_QUANTILE)."""
    among = nearest(training, training, themselves=True).distance
    copies: NDArray[np.bool_] = nearest(synthetic, training).distance < np.quantile(among, COPY_QUANTILE)
    return copies


def duplicate_ratio(queries: Vectors, training: Vectors, unseen: Vectors) -> float:
    """Median of d(query, nearest training clip) / d(query, nearest unseen real clip).

    It is below 1 for real clips, too, where more clips were trained on than are unseen: compare it with theirs.
    """
    seen, new = (nearest(queries, part).distance for part in (training, unseen))
    return float(np.median(seen / np.maximum(new, 1e-12)))


def distribution_distances(synthetic: Vectors, real: Vectors) -> dict[str, float]:
    """Fréchet distance (Heusel et al. 2017) and squared MMD with a cubic kernel (Bińkowski et al. 2018).

    Both of embeddings scaled to unit variance over the real clips, where they vary (a network's dead units are not
    blown up); the MMD of equally many, drawn from each.
    """
    spread = real.std(axis=0, keepdims=True)
    scale = np.maximum(spread, max(STILL * float(spread.max()), 1e-6))
    true, made = (torch.from_numpy(part / scale) for part in (real, synthetic))
    frechet = FrechetInceptionDistance(feature=_AlreadyEmbedded(real.shape[1]))
    frechet.update(true, real=True)
    frechet.update(made, real=False)
    size = min(len(true), len(made))  # torchmetrics' estimate of the MMD holds for equal numbers
    mmd = poly_mmd(_drawn(true, size), _drawn(made, size))
    return {"frechet_distance": float(frechet.compute()), "mmd": float(mmd)}


def _drawn(rows: torch.Tensor, size: int) -> torch.Tensor:
    """So many rows, drawn without replacement."""
    return rows[torch.from_numpy(np.random.default_rng(0).permutation(len(rows))[:size])]


class _AlreadyEmbedded(nn.Module):
    """Hands embeddings on to metrics that would embed pictures."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.num_features = width

    def forward(self, vectors: torch.Tensor) -> torch.Tensor:
        return vectors


def density_and_coverage(synthetic: Vectors, real: Vectors) -> dict[str, float]:
    """Fidelity and diversity by the real clips' neighbourhoods of k = 5 (Naeem et al. 2020, eq. 4 and 5)."""
    search = _search(real, NEIGHBOURS + 1)
    radius = search.kneighbors(_unit(real))[0][:, -1]
    inside = cdist(_unit(synthetic), _unit(real)) <= radius
    density, covered = inside.sum() / (NEIGHBOURS * len(synthetic)), inside.any(axis=0)
    return {"density": float(density), "coverage": float(covered.mean())}


def probe_uar(
    vectors: Vectors, labels: NDArray[np.int64], test_vectors: Vectors, test_labels: NDArray[np.int64]
) -> float:
    """UAR on test clips of a logistic regression that was fitted on other clips' embeddings."""
    probe = make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000, C=0.01, class_weight="balanced"))
    predicted: NDArray[np.int64] = probe.fit(vectors, labels).predict(test_vectors)
    return unweighted_average_recall(test_labels, predicted)

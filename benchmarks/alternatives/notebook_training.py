"""torchvision's ResNet50 in float32, fed by a DataLoader that reads .npy files: the published notebook's loop."""

import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
import torchvision
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

FROZEN = ("conv1", "bn1", "layer1", "layer2", "layer3")

Batches = Sequence[NDArray[np.int64]]


class Pictures(Dataset[tuple[Tensor, int]]):
    """Pictures (3, 224, 224) in float32, a file each, and their labels."""

    def __init__(self, files: Sequence[Path], labels: Sequence[int]) -> None:
        """Both in the same order."""
        self.files, self.labels = list(files), list(labels)

    def __len__(self) -> int:
        """Number of pictures."""
        return len(self.files)

    def __getitem__(self, place: int) -> tuple[Tensor, int]:
        """One picture, read from its file."""
        return torch.from_numpy(np.load(self.files[place])), self.labels[place]


def resnet50(weights: dict[str, Tensor], emotions: int) -> nn.Module:
    """The network with `layer4` and `fc` to be trained; `weights` name torchvision's tensors."""
    model: nn.Module = torchvision.models.resnet50(weights=None, num_classes=emotions)
    model.load_state_dict(weights)
    for name in FROZEN:
        model.get_submodule(name).requires_grad_(False)
    return model


def train(
    model: nn.Module, data: Pictures, epochs: Sequence[Batches], rates: Sequence[float], *, workers: int, device: str
) -> Iterator[tuple[float, float]]:
    """Mean loss and seconds of each epoch, whose batches are given; `rates` has the learning rate of each step.

    One loader for all epochs, so that its processes start once.
    """
    loader = DataLoader(
        data,
        batch_sampler=[batch.tolist() for batches in epochs for batch in batches],
        num_workers=workers,
        pin_memory=device == "cuda",
    )
    optimizer = torch.optim.Adam([one for one in model.parameters() if one.requires_grad], lr=rates[0])
    model.to(device).train()
    for name in FROZEN:
        model.get_submodule(name).eval()
    steps = iter(zip(loader, rates, strict=True))
    for batches in epochs:
        begun, total, count = time.perf_counter(), 0.0, 0
        for _ in batches:
            (pictures, labels), rate = next(steps)
            optimizer.param_groups[0]["lr"] = rate
            loss = nn.functional.cross_entropy(model(pictures.to(device)), labels.to(device))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total, count = total + loss.item() * len(labels), count + len(labels)
        yield total / count, time.perf_counter() - begun

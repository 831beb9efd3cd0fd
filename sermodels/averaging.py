"""Averaged weights: an exponential moving average of a network's parameters and statistics while it trains."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from sermodels.checkpoint import Tensors


class WeightAverage:
    """Exponential moving average of a network's state (Polyak & Juditsky 1992); a decay of 0 follows the network."""

    def __init__(self, network: nn.Module) -> None:
        """Start from the network as it is."""
        self.tensors: Tensors = _copy(network)

    @torch.no_grad()
    def update(self, network: nn.Module, decay: float, step: int) -> None:
        """Move towards the network after optimiser step `step`; the decay warms up, to forget the first steps."""
        now = min(decay, (1 + step) / (10 + step))
        for name, tensor in network.state_dict().items():
            if tensor.is_floating_point():
                self.tensors[name].lerp_(tensor, 1.0 - now)
            else:
                self.tensors[name].copy_(tensor)

    def restore(self, tensors: Tensors) -> None:
        """Continue from an average that was saved."""
        for name, tensor in tensors.items():
            self.tensors[name].copy_(tensor)

    @contextmanager
    def applied_to(self, network: nn.Module) -> Iterator[None]:
        """Within the block the network has the averaged weights, afterwards the trained ones again."""
        trained = _copy(network)
        network.load_state_dict(self.tensors)
        yield
        network.load_state_dict(trained)


def _copy(network: nn.Module) -> Tensors:
    return {name: tensor.detach().clone() for name, tensor in network.state_dict().items()}

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
        state = network.state_dict()
        averaged = [name for name, tensor in state.items() if tensor.is_floating_point()]
        # All tensors in one call: on a GPU a call for each costs as much as the network's own backward pass.
        torch._foreach_lerp_([self.tensors[name] for name in averaged], [state[name] for name in averaged], 1.0 - now)
        for name in state.keys() - set(averaged):
            self.tensors[name].copy_(state[name])

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

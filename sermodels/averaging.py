"""Averaged weights: an exponential moving average of a network's parameters and statistics while it trains."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from sermodels.checkpoint import Tensors


class WeightAverage:
    """Exponential moving average of a network's state (Polyak & Juditsky 1992); a decay of 0 follows the network.

    All tensors are changed in one call: on a GPU a call for each costs as much as the network's own backward pass.
    """

    def __init__(self, network: nn.Module) -> None:
        """Start from the network as it is; its tensors stay where they are from now on."""
        state = network.state_dict()
        self.tensors: Tensors = {name: tensor.detach().clone() for name, tensor in state.items()}
        self._own, self._network = list(self.tensors.values()), list(state.values())
        pairs = list(zip(self._own, self._network, strict=True))
        self._averaged = [pair for pair in pairs if pair[0].is_floating_point()]
        self._counted = [pair for pair in pairs if not pair[0].is_floating_point()]

    @torch.no_grad()
    def update(self, decay: float, step: int) -> None:
        """Move towards the network after optimiser step `step`; the decay warms up, to forget the first steps."""
        now = min(decay, (1 + step) / (10 + step))
        own, network = zip(*self._averaged, strict=True)
        torch._foreach_lerp_(own, network, 1.0 - now)
        _put([network for _, network in self._counted], [own for own, _ in self._counted])

    def restore(self, tensors: Tensors) -> None:
        """Continue from an average that was saved."""
        for name, tensor in tensors.items():
            self.tensors[name].copy_(tensor)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Within the block the network has the averaged weights, afterwards the trained ones again."""
        trained = [tensor.clone() for tensor in self._network]
        _put(self._own, self._network)
        yield
        _put(trained, self._network)


@torch.no_grad()
def _put(values: list[Tensor], tensors: list[Tensor]) -> None:
    """Give tensors, if there are any, their values."""
    if tensors:
        torch._foreach_copy_(tensors, values)

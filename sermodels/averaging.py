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
        places = [place for place, tensor in enumerate(self._own) if tensor.is_floating_point()]
        self._averaged = [self._own[place] for place in places], [self._network[place] for place in places]
        places = [place for place, tensor in enumerate(self._own) if not tensor.is_floating_point()]
        self._counted = [self._own[place] for place in places], [self._network[place] for place in places]

    @torch.no_grad()
    def update(self, decay: float, step: int) -> None:
        """Move towards the network after optimiser step `step`; the decay warms up, to forget the first steps."""
        now = min(decay, (1 + step) / (10 + step))
        own, network = self._averaged
        torch._foreach_lerp_(own, network, 1.0 - now)
        _put(*reversed(self._counted))

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

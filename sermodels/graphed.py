"""Steps as CUDA graphs: a GPU is given a whole training step by one call, and not each of its hundreds of kernels."""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from sermodels import ranks

Inputs = Mapping[str, Tensor]
Step = Callable[[Inputs], tuple[Tensor, ...]]
Shapes = tuple[tuple[str, torch.Size], ...]

WARM_UPS = 3
"""How often a step runs as written for each of its shapes before it is captured: libraries set themselves up first."""


@dataclass(frozen=True)
class Captured:
    """A graph with the tensors that it reads and those that it leaves."""

    graph: torch.cuda.CUDAGraph
    inputs: dict[str, Tensor]
    outputs: tuple[Tensor, ...]

    def __call__(self, inputs: Inputs) -> tuple[Tensor, ...]:
        """Run the step on these values; what it gives is a copy, since the next run overwrites the original."""
        for name, tensor in inputs.items():
            self.inputs[name].copy_(tensor)
        self.graph.replay()
        return tuple(output.clone() for output in self.outputs)


class GraphedStep:
    """Calls a step with the same effect as the step itself; on a GPU by a graph for each of the shapes it has met.

    The step reads nothing but its inputs and tensors that stay where they are, such as parameters, and changes those in
    place; it never waits for the GPU. Chance in it comes from torch's global generator, which may be seeded between
    calls. Processes that train together run the step as it is written, since they talk within it.
    """

    def __init__(self, step: Step, device: torch.device) -> None:
        """`device`: where the step computes."""
        self._step, self._graphed = step, device.type == "cuda" and not ranks.together()
        self._met: Counter[Shapes] = Counter()
        self._captured: dict[Shapes, Captured] = {}

    def __call__(self, inputs: Inputs) -> tuple[Tensor, ...]:
        """Take one step."""
        if not self._graphed:
            return self._step(inputs)
        shapes = tuple((name, tensor.shape) for name, tensor in inputs.items())
        self._met[shapes] += 1
        if self._met[shapes] <= WARM_UPS:
            return self._beside(inputs)
        if shapes not in self._captured:
            self._captured[shapes] = self._capture(inputs)
        return self._captured[shapes](inputs)

    def _beside(self, inputs: Inputs) -> tuple[Tensor, ...]:
        """The step as it is written, on a stream of its own, as torch asks for before a capture."""
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            outputs = self._step(inputs)
        torch.cuda.current_stream().wait_stream(stream)
        return outputs

    def _capture(self, inputs: Inputs) -> Captured:
        """Record the step's kernels without running them."""
        own = {name: tensor.clone() for name, tensor in inputs.items()}
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            outputs = self._step(own)
        return Captured(graph, own, outputs)


def set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Set the learning rate of all parameters; in place where it is a tensor, which a graph reads."""
    for group in optimizer.param_groups:
        if isinstance(group["lr"], Tensor):
            group["lr"].fill_(rate)
        else:
            group["lr"] = rate


def optimizer_options(rate: float, device: torch.device) -> dict[str, Any]:
    """What torch's Adam and AdamW are given on this device: one pass over all parameters, on a GPU fit for a graph."""
    if device.type != "cuda":
        return {"lr": rate, "fused": True}
    return {"lr": torch.tensor(rate, device=device), "fused": True, "capturable": True}

"""Checkpoints without pickles: safetensors weights with a JSON header, atomically written."""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from sermodels.errors import StorageError, WeightsError
from sermodels.files import atomic_write

Tensors = dict[str, Tensor]


def save_tensors(path: Path, tensors: Tensors, header: dict[str, Any]) -> None:
    """Write tensors and a JSON header as one safetensors file, whole or not at all. Raises StorageError."""
    plain = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    with atomic_write(path) as temporary:
        try:
            save_file(plain, temporary, metadata={"header": json.dumps(header, sort_keys=True)})
        except SafetensorError as error:  # safetensors hides the operating system's error number
            raise StorageError(f"{path}: cannot be written ({error}); free some space, then run again") from error


def load_tensors(path: Path) -> tuple[Tensors, dict[str, Any]]:
    """Tensors and JSON header of a file that `save_tensors` wrote. Raises WeightsError naming the file."""
    try:
        with safe_open(path, framework="pt") as file:
            header = json.loads((file.metadata() or {})["header"])
            return {name: file.get_tensor(name) for name in file.keys()}, header  # noqa: SIM118
    except (SafetensorError, OSError, KeyError, ValueError) as error:
        raise WeightsError(f"{path}: not a readable checkpoint ({error}); delete it and run again") from error


def load_into(module: nn.Module, tensors: Tensors, source: Path) -> None:
    """Load a state dict that must fit exactly. Raises WeightsError naming the file."""
    try:
        module.load_state_dict(tensors)
    except RuntimeError as error:
        raise WeightsError(f"{source}: does not fit the network ({error})") from error


def prefixed(prefix: str, tensors: Tensors) -> Tensors:
    """The tensors under `prefix.name`."""
    return {f"{prefix}.{name}": tensor for name, tensor in tensors.items()}


def without_prefix(prefix: str, tensors: Tensors) -> Tensors:
    """The tensors whose names start with the prefix, without it."""
    return {name[len(prefix) + 1 :]: tensor for name, tensor in tensors.items() if name.startswith(prefix + ".")}


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> Tensors:
    """The optimizer's state as named tensors: `parameter index / state name`."""
    state = optimizer.state_dict()["state"]
    return {
        f"{index}/{name}": torch.as_tensor(value) for index, values in state.items() for name, value in values.items()
    }


def load_optimizer(optimizer: torch.optim.Optimizer, tensors: Tensors) -> None:
    """Put back what `optimizer_tensors` gave; what has a parameter's shape lies in memory as the parameter does.

    An optimizer that updates all parameters in one kernel asks for that.
    """
    state: dict[int, dict[str, Tensor]] = {}
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    for key, tensor in tensors.items():
        index, name = key.split("/")
        like = parameters[int(index)]
        laid_out = torch.empty_like(like, dtype=tensor.dtype).copy_(tensor) if tensor.shape == like.shape else tensor
        state.setdefault(int(index), {})[name] = laid_out
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})

"""Training in several processes, one a GPU: each takes its share of every batch, and all take the same steps.

Chance is drawn for the whole batch in every process, so a batch is the same however many share it. What differs from
one process is the order of sums, the masks of dropout, and, off the GPU, what batch normalisation sees.
"""

import numpy as np
import torch
import torch.distributed as dist
from numpy.typing import NDArray
from torch import Tensor, nn

from sermodels.errors import ConfigError


def rank() -> int:
    """This process's number among those that train together; 0 is the one that writes and reports."""
    return dist.get_rank() if together() else 0


def ranks() -> int:
    """How many processes train together; 1 outside torchrun."""
    return dist.get_world_size() if together() else 1


def together() -> bool:
    """Whether several processes train together."""
    return dist.is_available() and dist.is_initialized()


def share(length: int) -> slice:
    """This process's part of so many clips: every `ranks()`-th of them. Raises ConfigError if a part would be empty."""
    if length < ranks():
        raise ConfigError(
            f"a batch of {length} clips cannot be shared by {ranks()} processes; set a larger batch_size, or "
            "SERMODELS_RANKS=1 to train on one GPU"
        )
    return slice(rank(), None, ranks())


def weight(length: int, device: torch.device) -> Tensor:
    """What this process's mean over its part of so many clips counts in the mean over all of them, shape ()."""
    return torch.full((), len(range(length)[share(length)]) / length, device=device)


def synchronize_statistics(network: nn.Module) -> None:
    """Let batch normalisation see the whole batch, which torch does on GPUs alone."""
    if together() and next(network.parameters()).is_cuda:
        nn.SyncBatchNorm.convert_sync_batchnorm(network)  # changes the network's parts in place


def sum_gradients(network: nn.Module) -> None:
    """Give every process the sum of all gradients, in one message."""
    if not together():
        return
    gradients = [parameter.grad for parameter in network.parameters() if parameter.grad is not None]
    joined = torch.cat([gradient.flatten() for gradient in gradients])
    dist.all_reduce(joined)
    for gradient, summed in zip(gradients, joined.split([gradient.numel() for gradient in gradients]), strict=True):
        gradient.copy_(summed.view_as(gradient))


def sum_numbers(numbers: list[float], device: torch.device) -> list[float]:
    """Give every process the sum of each number over all of them."""
    if not together():
        return numbers
    joined = torch.tensor(numbers, dtype=torch.float64, device=device)
    dist.all_reduce(joined)
    return [float(number) for number in joined]


def gather_rows(rows: NDArray[np.float32], length: int) -> NDArray[np.float32]:
    """Give every process the rows of all, in order, where each has those of `share(length)`."""
    if not together():
        return rows
    parts: list[NDArray[np.float32]] = [rows] * ranks()
    dist.all_gather_object(parts, rows)
    whole = np.empty((length, *rows.shape[1:]), dtype=rows.dtype)
    for number, part in enumerate(parts):
        whole[number :: ranks()] = part
    return whole

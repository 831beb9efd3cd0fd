"""The device, its number format, and the cores at hand."""

import timeit
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import TypeVar

import torch

T = TypeVar("T")
R = TypeVar("R")


def best_device() -> torch.device:
    """CUDA when it is there, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def autocast(device: torch.device, precision: str) -> torch.autocast:
    """Mixed precision in bfloat16, or none."""
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=number_format(device, precision) == "bfloat16")


def number_format(device: torch.device, precision: str) -> str:
    """`bfloat16` or `float32`; `auto` is the former only where the hardware is faster with it."""
    wanted = precision == "bfloat16" or (precision == "auto" and has_bfloat16(device))
    return "bfloat16" if wanted else "float32"


def has_bfloat16(device: torch.device) -> bool:
    """Whether matrix products are faster in bfloat16 than in float32.

    They are on a CUDA card of 2020 on, and on a CPU that has instructions for it and is seen to gain by them.
    """
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    known = hasattr(torch.cpu, "get_capabilities") and bool(torch.cpu.get_capabilities().get("avx512_bf16"))
    return known and _gains_by_bfloat16()


def on_each_core(function: Callable[[T], R], items: Sequence[T]) -> list[R]:
    """`function` of each item: as many at a time as torch has threads, on one thread each.

    For networks on a CPU: the threads of one item wait for each other after each layer, those of several do not.
    """
    threads = torch.get_num_threads()
    has_bfloat16(torch.device("cpu"))  # found out once by all threads, not by each beside the others
    try:
        with ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            return list(pool.map(function, items))
    finally:
        torch.set_num_threads(threads)  # else threads that begin later would have one as well


@cache
def _gains_by_bfloat16() -> bool:
    """Measured in a few milliseconds.

    Instructions alone do not say it: an Intel processor whose AMX is hidden from a virtual machine still has
    AVX512-BF16, and takes twice as long with it as with float32.
    """
    return _product_s(torch.bfloat16) < _product_s(torch.float32)


def _product_s(dtype: torch.dtype, side: int = 256, repeats: int = 10) -> float:
    """Seconds of the fastest of several matrix products."""
    matrix = torch.ones(side, side, dtype=dtype)
    return min(timeit.repeat(lambda: matrix @ matrix, number=1, repeat=repeats))

"""The device, when it computes in bfloat16, and work for each core."""

import threading
import timeit
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from sermodels.device import autocast, best_device, has_bfloat16, on_each_core

CPU = torch.device("cpu")


def product_dtype(device: torch.device, precision: str) -> torch.dtype:
    matrix = torch.ones(4, 4, device=device)
    with autocast(device, precision):
        return (matrix @ matrix).dtype


def test_the_best_device_is_cuda_where_there_is_one() -> None:
    assert best_device().type == ("cuda" if torch.cuda.is_available() else "cpu")


def test_bfloat16_and_float32_are_taken_at_their_word() -> None:
    assert product_dtype(best_device(), "bfloat16") == torch.bfloat16
    assert product_dtype(best_device(), "float32") == torch.float32


def test_auto_follows_the_hardware() -> None:
    expected = torch.bfloat16 if has_bfloat16(best_device()) else torch.float32

    assert product_dtype(best_device(), "auto") == expected


def test_the_choice_ends_with_its_block() -> None:
    with autocast(CPU, "bfloat16"):
        pass

    assert (torch.ones(4, 4) @ torch.ones(4, 4)).dtype == torch.float32


def test_a_cpu_without_instructions_for_bfloat16_computes_in_float32() -> None:
    if not hasattr(torch.cpu, "get_capabilities"):
        pytest.skip("this torch does not tell a CPU's capabilities")
    if torch.cpu.get_capabilities().get("avx512_bf16"):
        pytest.skip("this CPU has them")
    assert not has_bfloat16(CPU)


def test_auto_is_not_the_slower_number_format() -> None:
    chosen, other = (torch.bfloat16, torch.float32) if has_bfloat16(CPU) else (torch.float32, torch.bfloat16)

    assert product_s(chosen) < 1.2 * product_s(other)


def product_s(dtype: torch.dtype) -> float:
    matrix = torch.ones(384, 384, dtype=dtype)
    return min(timeit.repeat(lambda: matrix @ matrix, number=1, repeat=10))


def test_a_cuda_card_computes_in_bfloat16_from_2020_on() -> None:
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    assert has_bfloat16(torch.device("cuda")) is (torch.cuda.get_device_capability() >= (8, 0))


@pytest.fixture
def three_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("three_threads")
def test_items_run_beside_each_other_on_one_thread_each() -> None:
    together = threading.Barrier(3, timeout=30)

    def threads_of(item: int) -> tuple[int, int]:
        together.wait()
        return item, torch.get_num_threads()

    assert on_each_core(threads_of, range(6)) == [(item, 1) for item in range(6)]
    assert torch.get_num_threads() == 3
    with ThreadPoolExecutor(1) as later:
        assert later.submit(torch.get_num_threads).result() == 3


@pytest.mark.usefixtures("three_threads")
def test_an_item_that_fails_is_told_and_leaves_the_threads_as_they_were() -> None:
    with pytest.raises(ZeroDivisionError):
        on_each_core(lambda item: 1 // item, [1, 0])
    assert torch.get_num_threads() == 3

"""Draws follow from their key alone."""

import numpy as np
import pytest

from sermodels.randomness import generator, torch_seed

KEYS = [(0, 0, 0), (0, 0, 1), (0, 1, 0), (1, 0, 0), (0, 1, 2), (2, 1, 0), (12, 3, 4), (1, 23, 4), (2**32 - 1, 3, 4)]


@pytest.mark.parametrize("key", KEYS)
def test_the_same_key_gives_the_same_draws(key: tuple[int, ...]) -> None:
    np.testing.assert_array_equal(generator(*key).random(20), generator(*key).random(20))
    assert torch_seed(*key) == torch_seed(*key)


def test_other_keys_give_other_draws() -> None:
    assert len({generator(*key).random() for key in KEYS}) == len(KEYS)
    assert len({torch_seed(*key) for key in KEYS}) == len(KEYS)


def test_neighbouring_keys_are_unrelated() -> None:
    first = np.array([generator(0, epoch, step).random() for epoch in range(40) for step in range(25)])
    assert abs(first.mean() - 0.5) < 0.05
    assert abs(np.corrcoef(first[:-1], first[1:])[0, 1]) < 0.1


def test_the_global_generator_is_left_alone() -> None:
    before = np.random.get_state(legacy=False)
    generator(1, 2).random(5)
    torch_seed(1, 2)
    after = np.random.get_state(legacy=False)
    np.testing.assert_array_equal(before["state"]["key"], after["state"]["key"])
    assert before["state"]["pos"] == after["state"]["pos"]


@pytest.mark.parametrize("key", KEYS)
def test_a_torch_seed_is_an_unsigned_32_bit_number(key: tuple[int, ...]) -> None:
    assert 0 <= torch_seed(*key) < 2**32

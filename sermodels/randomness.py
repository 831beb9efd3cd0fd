"""Chance from explicit seeds: the same (seed, epoch, step) always gives the same draws, resumed or not."""

import numpy as np


def generator(*key: int) -> np.random.Generator:
    """A generator for this key, such as (seed, epoch, step)."""
    return np.random.default_rng([*key, len(key)])  # numpy ignores trailing zeros


def torch_seed(*key: int) -> int:
    """A seed for torch, well mixed from the key."""
    return int(np.random.SeedSequence([*key, len(key)]).generate_state(1)[0])

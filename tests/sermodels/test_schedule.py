"""Noise schedules: from nearly clean to nearly pure noise, and the levels that a sampler visits."""

import numpy as np
import pytest
import torch

from sermodels.config import DiffusionConfig
from sermodels.diffusion.schedule import (
    SIGMA_MIN,
    drawn_sigmas,
    karras_sigmas,
    last_sigmas,
    sampling_sigmas,
    training_sigmas,
)
from sermodels.errors import ConfigError

SIGMA_MAX = DiffusionConfig().sigma_max
SCHEDULES = ("karras", "linear")


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("timesteps", [2, 10, 50, 1000])
def test_training_sigmas_rise(schedule: str, timesteps: int) -> None:
    sigmas = training_sigmas(DiffusionConfig.model_validate({"schedule": schedule, "timesteps": timesteps}))

    assert sigmas.shape == (timesteps,)
    assert bool((sigmas.diff() > 0).all())
    assert bool(torch.isfinite(sigmas).all())
    assert sigmas[0] > 0


@pytest.mark.parametrize("steps", [2, 15, 50])
def test_karras_sigmas_fall_between_their_bounds(steps: int) -> None:
    sigmas = karras_sigmas(steps, SIGMA_MAX)

    assert bool((sigmas.diff() < 0).all())
    assert float(sigmas[0]) == pytest.approx(SIGMA_MAX)
    assert float(sigmas[-1]) == pytest.approx(SIGMA_MIN)


def test_karras_sigmas_are_those_of_the_paper() -> None:
    """Equation 5 with its sigma_min 0.002 replaced: evenly spaced in sigma ** (1 / 7)."""
    roots = karras_sigmas(5, SIGMA_MAX).double() ** (1 / 7)

    torch.testing.assert_close(roots.diff(), roots.diff().mean().expand(4), rtol=1e-4, atol=0.0)


def test_the_linear_schedule_is_ddpms() -> None:
    """With 1000 timesteps, betas run from 1e-4 to 0.02 and almost nothing of the signal is left (Ho et al. 2020)."""
    sigmas = training_sigmas(DiffusionConfig(schedule="linear", timesteps=1000)).double()
    alpha_bar = 1.0 / (1.0 + sigmas.square())
    betas = 1.0 - alpha_bar[1:] / alpha_bar[:-1]

    assert float(1.0 - alpha_bar[0]) == pytest.approx(1e-4, rel=1e-3)
    assert float(betas[-1]) == pytest.approx(0.02, rel=1e-3)
    assert float(alpha_bar[-1]) == pytest.approx(4.0e-5, rel=0.02)


@pytest.mark.parametrize("timesteps", [50, 100, 1000])
def test_few_linear_timesteps_still_end_in_almost_pure_noise(timesteps: int) -> None:
    last = float(training_sigmas(DiffusionConfig(schedule="linear", timesteps=timesteps))[-1])

    signal_share = 1.0 / (1.0 + last**2) ** 0.5
    assert signal_share < 0.01


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("steps", [1, 2, 3, 15, 49, 50])
def test_sampling_sigmas_fall_from_the_noisiest_timestep_to_zero(schedule: str, steps: int) -> None:
    config = DiffusionConfig.model_validate({"schedule": schedule})

    sigmas = sampling_sigmas(config, steps)

    assert sigmas.shape == (steps + 1,)
    assert bool((sigmas.diff() < 0).all())
    assert sigmas[-1] == 0.0
    assert sigmas[0] == training_sigmas(config)[-1]
    assert set(sigmas[:-1].tolist()) <= set(training_sigmas(config).tolist())


def test_as_many_steps_as_timesteps_visit_each() -> None:
    config = DiffusionConfig()

    assert torch.equal(sampling_sigmas(config, 50)[:-1], training_sigmas(config).flip(0))


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_more_steps_than_timesteps_are_refused(schedule: str) -> None:
    config = DiffusionConfig.model_validate({"schedule": schedule, "timesteps": 50})

    with pytest.raises(ConfigError, match=r"synthesis\.steps=51 is more .* diffusion\.timesteps=50"):
        sampling_sigmas(config, 51)


@pytest.mark.parametrize(("strength", "kept"), [(1.0, 10), (0.5, 5), (0.04, 1), (0.001, 1)])
def test_a_share_of_the_sigmas_ends_as_all_do(strength: float, kept: int) -> None:
    sigmas = sampling_sigmas(DiffusionConfig(), 10)
    some = last_sigmas(sigmas, strength)
    assert len(some) == kept + 1
    assert torch.equal(some, sigmas[-kept - 1 :])


def test_log_normal_levels_are_drawn_where_there_is_most_to_learn() -> None:
    config = DiffusionConfig(noise_levels="log-normal")
    drawn = drawn_sigmas(config, 20_000, np.random.default_rng(0)).log()
    assert float(drawn.mean()) == pytest.approx(-0.5, abs=0.03)
    assert float(drawn.std()) == pytest.approx(1.2, abs=0.03)


def test_other_levels_are_the_timesteps_all_alike() -> None:
    config = DiffusionConfig(timesteps=4, sigma_max=20.0)
    drawn = drawn_sigmas(config, 20_000, np.random.default_rng(0))
    levels, counts = drawn.unique(return_counts=True)
    torch.testing.assert_close(levels, training_sigmas(config))
    assert float(levels[-1]) == pytest.approx(20.0)
    assert counts.min() > 4_800

"""Samplers: a perfect denoiser gives x0 back, Gaussian data come out as known, and orders are as claimed."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from sermodels.config import DiffusionConfig
from sermodels.diffusion.samplers import SAMPLERS, sample
from sermodels.diffusion.schedule import karras_sigmas, sampling_sigmas

MEAN, STD = 0.7, 0.5
SIGMA_MAX = DiffusionConfig().sigma_max
DETERMINISTIC = ("ddim", "heun", "dpmpp_2m")


def noise(*, clips: int = 64, seed: int = 0) -> Tensor:
    return torch.randn(clips, 8, 16, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def noise_source(seed: int = 1) -> Callable[[], Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return lambda: torch.randn(64, 8, 16, generator=generator, dtype=torch.float64)


def no_noise() -> Tensor:
    raise AssertionError("this sampler draws no noise")


def gaussian_denoiser(x: Tensor, sigma: Tensor) -> Tensor:
    """The posterior mean of x0 ~ N(MEAN, STD ** 2) given x0 + sigma * noise."""
    variance, wide = STD**2, sigma[:, None, None].double()
    return (variance * x + wide**2 * MEAN) / (variance + wide**2)


def exact_solution(x: Tensor) -> Tensor:
    """Where the probability flow of that Gaussian takes x from SIGMA_MAX: its distance from the mean shrinks."""
    end: Tensor = MEAN + (x - MEAN) * STD / (STD**2 + SIGMA_MAX**2) ** 0.5
    return end


def fine_sigmas(steps: int) -> Tensor:
    return torch.cat([karras_sigmas(steps, SIGMA_MAX), torch.zeros(1)])


def error_of(sampler: str, steps: int) -> float:
    start = SIGMA_MAX * noise()
    result = sample(gaussian_denoiser, start, fine_sigmas(steps), sampler=sampler, draw_noise=no_noise)
    return float((result - exact_solution(start)).abs().max())


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("schedule", ["karras", "linear"])
@pytest.mark.parametrize("steps", [1, 2, 15, 50])
def test_a_perfect_denoiser_gives_x0_back(sampler: str, schedule: str, steps: int) -> None:
    sigmas = sampling_sigmas(DiffusionConfig.model_validate({"schedule": schedule}), steps)
    clean = torch.randn(64, 8, 16, dtype=torch.float64)
    start = clean + float(sigmas[0]) * noise()

    result = sample(lambda x, sigma: clean, start, sigmas, sampler=sampler, draw_noise=noise_source())

    torch.testing.assert_close(result, clean, atol=1e-6, rtol=0.0)


@pytest.mark.parametrize(("sampler", "timesteps"), [("ddpm", 500), ("ddim", 100), ("heun", 50), ("dpmpp_2m", 50)])
@pytest.mark.parametrize("schedule", ["karras", "linear"])
def test_gaussian_data_come_out_with_their_mean_and_deviation(sampler: str, schedule: str, timesteps: int) -> None:
    """DDPM needs most steps for it: its posterior variance takes the predicted x0 to be certain."""
    config = DiffusionConfig.model_validate({"schedule": schedule, "timesteps": timesteps})
    sigmas = sampling_sigmas(config, timesteps)

    result = sample(gaussian_denoiser, float(sigmas[0]) * noise(), sigmas, sampler=sampler, draw_noise=noise_source())

    assert float(result.mean()) == pytest.approx(MEAN, abs=0.02)
    assert float(result.std()) == pytest.approx(STD, rel=0.05)


@pytest.mark.parametrize(("sampler", "steps"), [("heun", 15), ("heun", 30), ("dpmpp_2m", 8), ("dpmpp_2m", 15)])
def test_second_order_samplers_are_nearer_to_the_exact_solution_than_ddim(sampler: str, steps: int) -> None:
    assert error_of(sampler, steps) < 0.5 * error_of("ddim", steps)


@pytest.mark.parametrize(("sampler", "shrinks"), [("ddim", 1.7), ("heun", 3.0), ("dpmpp_2m", 3.0)])
def test_twice_the_steps_shrink_the_error_by_the_samplers_order(sampler: str, shrinks: float) -> None:
    assert error_of(sampler, 40) > shrinks * error_of(sampler, 80)


@pytest.mark.parametrize("sampler", DETERMINISTIC)
def test_all_but_ddpm_are_deterministic(sampler: str) -> None:
    start, sigmas = SIGMA_MAX * noise(), fine_sigmas(10)

    first, second = (sample(gaussian_denoiser, start, sigmas, sampler=sampler, draw_noise=no_noise) for _ in range(2))

    assert torch.equal(first, second)


def test_ddpm_follows_the_noise_that_it_is_given() -> None:
    start, sigmas = SIGMA_MAX * noise(), fine_sigmas(10)

    first, again, other = (
        sample(gaussian_denoiser, start, sigmas, sampler="ddpm", draw_noise=noise_source(seed)) for seed in (1, 1, 2)
    )

    assert torch.equal(first, again)
    assert not torch.allclose(first, other, atol=0.1)


def test_ddpm_draws_noise_in_every_step_but_the_last() -> None:
    drawn: list[Tensor] = []
    source = noise_source()

    def counted() -> Tensor:
        drawn.append(source())
        return drawn[-1]

    sample(gaussian_denoiser, noise(), fine_sigmas(10), sampler="ddpm", draw_noise=counted)

    assert len(drawn) == 9


def test_a_ddpm_step_has_the_posterior_of_the_paper() -> None:
    """Ho et al. 2020, eq. 7 for sigma 2 to 1: alpha_bar = 1 / (1 + sigma ** 2), all scaled by 1 / sqrt(alpha_bar)."""
    bar_now, bar_after = 1.0 / 5.0, 1.0 / 2.0
    alpha = bar_now / bar_after
    weight_clean = bar_after**0.5 * (1 - alpha) / (1 - bar_now)
    weight_now = alpha**0.5 * (1 - bar_after) / (1 - bar_now)
    deviation = ((1 - bar_after) / (1 - bar_now) * (1 - alpha)) ** 0.5
    x, clean, drawn = (noise(seed=seed) for seed in (3, 4, 5))
    steps: list[Tensor] = []

    def denoise(now: Tensor, _: Tensor) -> Tensor:
        steps.append(now)
        return clean

    sample(denoise, x, torch.tensor([2.0, 1.0, 0.0]), sampler="ddpm", draw_noise=lambda: drawn)

    scaled = (weight_clean * clean + weight_now * bar_now**0.5 * x + deviation * drawn) / bar_after**0.5
    torch.testing.assert_close(steps[1], scaled)


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_each_step_is_reported_with_its_prediction(sampler: str) -> None:
    reported: list[tuple[int, Tensor]] = []
    clean = noise(seed=6)

    sample(
        lambda x, sigma: clean,
        noise(),
        fine_sigmas(7),
        sampler=sampler,
        draw_noise=noise_source(),
        on_step=lambda step, prediction: reported.append((step, prediction)),
    )

    assert [step for step, _ in reported] == list(range(1, 8))
    assert all(torch.equal(prediction, clean) for _, prediction in reported)


@pytest.mark.parametrize(("sampler", "passes"), [("ddpm", 10), ("ddim", 10), ("heun", 19), ("dpmpp_2m", 10)])
def test_passes_of_the_network(sampler: str, passes: int) -> None:
    levels: list[float] = []

    def counted(x: Tensor, sigma: Tensor) -> Tensor:
        levels.append(float(sigma[0]))
        return gaussian_denoiser(x, sigma)

    sample(counted, noise(), fine_sigmas(10), sampler=sampler, draw_noise=noise_source())

    assert len(levels) == passes
    assert set(levels) == set(karras_sigmas(10, SIGMA_MAX).tolist())

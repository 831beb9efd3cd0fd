"""The denoiser around the network, and guidance around the denoiser."""

import pytest
import torch
from torch import Tensor

from sermodels.diffusion.denoiser import Denoiser, guided
from tests.sermodels.tiny import MELS, tiny_diffusion_model

SIGMA = torch.tensor([0.01, 1.0, 80.0])


def denoiser(*, trained: bool = True) -> Denoiser:
    return tiny_diffusion_model(trained=trained).denoiser


def random_inputs() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(2)
    return torch.randn(3, MELS, 16, generator=generator), torch.randn(3, 6, generator=generator)


def test_the_prediction_has_the_shape_of_the_input() -> None:
    noisy, condition = random_inputs()

    assert denoiser()(noisy, SIGMA, condition).shape == noisy.shape


def test_a_network_of_zeros_gives_the_best_linear_guess() -> None:
    """For data of unit variance and no other knowledge that is the noisy value divided by 1 + sigma ** 2."""
    noisy, condition = random_inputs()

    clean = denoiser(trained=False)(noisy, SIGMA, condition)

    torch.testing.assert_close(clean, noisy / (1.0 + SIGMA.square())[:, None, None])


def test_preconditioning_is_that_of_the_paper() -> None:
    """Karras et al. 2022, table 1 with sigma_data = 1: c_skip x + c_out F(c_in x, c_noise)."""
    model, (noisy, condition) = denoiser(), random_inputs()
    seen: list[Tensor] = []
    model.network.register_forward_hook(lambda module, inputs, output: seen.extend([*inputs, output]))

    clean = model(noisy, SIGMA, condition)

    scaled, level, passed, output = seen
    wide = SIGMA[:, None, None]
    torch.testing.assert_close(scaled, noisy / (wide**2 + 1.0) ** 0.5)
    torch.testing.assert_close(level, SIGMA.log() / 4.0)
    assert passed is condition
    torch.testing.assert_close(clean, noisy / (wide**2 + 1.0) + wide / (wide**2 + 1.0) ** 0.5 * output)


def test_little_noise_leaves_little_to_predict() -> None:
    noisy, condition = random_inputs()

    clean = denoiser()(noisy, torch.full((3,), 1e-4), condition)

    torch.testing.assert_close(clean, noisy, atol=1e-2, rtol=0.0)


def test_dropped_conditions_are_the_learnt_null_condition() -> None:
    model, (_, condition) = denoiser(), random_inputs()

    mixed = model.drop_condition(condition, torch.tensor([False, True, False]))

    assert torch.equal(mixed[[0, 2]], condition[[0, 2]])
    assert torch.equal(mixed[1], model.null_condition)
    mixed.sum().backward()
    gradient = model.null_condition.grad
    assert gradient is not None
    assert torch.equal(gradient, torch.ones(6))


@torch.inference_mode()
def test_guidance_of_1_is_the_conditional_and_of_0_the_unconditional_prediction() -> None:
    model, (noisy, condition) = denoiser(), random_inputs()
    conditional = model(noisy, SIGMA, condition)
    unconditional = model(noisy, SIGMA, model.null_condition.expand(3, -1))
    assert not torch.allclose(conditional, unconditional, atol=1e-3)

    torch.testing.assert_close(guided(model, condition, 1.0)(noisy, SIGMA), conditional)
    torch.testing.assert_close(guided(model, condition, 0.0)(noisy, SIGMA), unconditional, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("scale", [0.5, 1.5, 4.0])
@torch.inference_mode()
def test_guidance_is_linear_in_its_scale(scale: float) -> None:
    model, (noisy, condition) = denoiser(), random_inputs()
    conditional = model(noisy, SIGMA, condition)
    unconditional = model(noisy, SIGMA, model.null_condition.expand(3, -1))

    guessed = guided(model, condition, scale)(noisy, SIGMA)

    torch.testing.assert_close(guessed, unconditional + scale * (conditional - unconditional), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(("scale", "clips"), [(1.0, 3), (1.5, 6)])
def test_only_guidance_costs_a_second_pass(scale: float, clips: int) -> None:
    model, (noisy, condition) = denoiser(), random_inputs()
    batches: list[int] = []
    model.network.register_forward_hook(lambda module, inputs, output: batches.append(len(output)))

    guided(model, condition, scale)(noisy, SIGMA)

    assert batches == [clips]

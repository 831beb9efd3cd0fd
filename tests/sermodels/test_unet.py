"""The U-Net: any size it is meant for, conditioned on level and emotion, and learning in every part."""

import pytest
import torch
from torch import Tensor

from sermodels.diffusion.unet import FourierFeatures, SelfAttention, UNet


def build(*, widths: tuple[int, ...] = (16, 32), patch: int = 4, condition_size: int = 6) -> UNet:
    torch.manual_seed(0)
    return UNet(widths=widths, patch=patch, condition_size=condition_size)


def inputs(mels: int = 16, frames: int = 16, *, batch: int = 2) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    shapes = ((batch, mels, frames), (batch,), (batch, 6))
    noisy, level, condition = (torch.randn(shape, generator=generator) for shape in shapes)
    return noisy, level, condition


def updated(network: UNet, steps: int) -> UNet:
    """The network after some optimiser steps: its zero-initialised convolutions have come alive."""
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-2)
    for _ in range(steps):
        optimizer.zero_grad()
        (network(*inputs()) - inputs()[0]).square().mean().backward()
        optimizer.step()
    return network


@pytest.mark.parametrize("widths", [(8,), (16, 32), (8, 16, 24), (16, 16, 16, 16)])
@pytest.mark.parametrize("patch", [1, 2, 4])
def test_the_output_has_the_shape_of_the_input(widths: tuple[int, ...], patch: int) -> None:
    network = build(widths=widths, patch=patch)
    multiple = patch * 2 ** (len(widths) - 1)

    for mels, frames in ((multiple, multiple), (2 * multiple, 3 * multiple)):
        with torch.inference_mode():
            assert network(*inputs(mels, frames)).shape == (2, mels, frames)


def test_the_presets_sizes_fit() -> None:
    for widths, patch, frames in (((48, 96, 128), 4, 128), ((64, 128, 256), 2, 864)):
        with torch.inference_mode():
            assert build(widths=widths, patch=patch)(*inputs(80, frames, batch=1)).shape == (1, 80, frames)


def test_an_untrained_network_gives_zero() -> None:
    with torch.inference_mode():
        assert not build()(*inputs()).any()


def test_the_gradient_reaches_every_parameter_once_the_zeros_are_gone() -> None:
    network = build()
    assert with_gradient(network) == {"exit.2.weight", "exit.2.bias"}

    updated(network, 2)

    assert with_gradient(network) == {name for name, _ in network.named_parameters()}


def with_gradient(network: UNet) -> set[str]:
    network.zero_grad()
    network(*inputs()).sum().backward()
    return {
        name for name, parameter in network.named_parameters() if parameter.grad is not None and parameter.grad.any()
    }


def test_level_and_condition_change_the_output() -> None:
    network = updated(build(), 3)
    noisy, level, condition = inputs()

    with torch.inference_mode():
        output = network(noisy, level, condition)
        assert not torch.allclose(network(noisy, level + 1.0, condition), output, atol=1e-3)
        assert not torch.allclose(network(noisy, level, condition + 1.0), output, atol=1e-3)


def test_clips_do_not_see_each_other() -> None:
    network = updated(build(), 3)
    noisy, level, condition = inputs(batch=3)

    with torch.inference_mode():
        together = network(noisy, level, condition)
        alone = torch.cat([network(noisy[i : i + 1], level[i : i + 1], condition[i : i + 1]) for i in range(3)])
    torch.testing.assert_close(alone, together, rtol=1e-4, atol=1e-5)


def test_attention_keeps_the_shape_and_starts_as_the_identity() -> None:
    attention, hidden = SelfAttention(16), torch.randn(2, 16, 3, 5)

    assert torch.equal(attention(hidden), hidden)
    torch.nn.init.normal_(attention.output.weight)
    assert attention(hidden).shape == hidden.shape
    assert not torch.equal(attention(hidden), hidden)


def test_attention_mixes_all_positions_and_follows_their_order() -> None:
    torch.manual_seed(0)
    attention, hidden = SelfAttention(16), torch.randn(1, 16, 2, 4)
    torch.nn.init.normal_(attention.output.weight)
    changed = hidden.clone()
    changed[..., 0, 0] += 1.0

    assert bool((attention(changed) != attention(hidden)).any(dim=1).all())
    torch.testing.assert_close(attention(hidden.flip(3)), attention(hidden).flip(3))


def test_attention_is_that_of_torch() -> None:
    torch.manual_seed(0)
    attention, reference = SelfAttention(16), torch.nn.MultiheadAttention(16, 4, batch_first=True)
    torch.nn.init.normal_(attention.output.weight)
    state = {
        "in_proj_weight": attention.query_key_value.weight.flatten(1),
        "in_proj_bias": attention.query_key_value.bias,
        "out_proj.weight": attention.output.weight.flatten(1),
        "out_proj.bias": attention.output.bias,
    }
    reference.load_state_dict({name: tensor.detach() for name, tensor in state.items() if tensor is not None})
    hidden = torch.randn(2, 16, 3, 5)

    positions = attention.norm(hidden).flatten(2).transpose(1, 2)
    expected, _ = reference(positions, positions, positions)

    torch.testing.assert_close(
        attention(hidden) - hidden, expected.transpose(1, 2).unflatten(2, (3, 5)), atol=1e-5, rtol=1e-4
    )


def test_fourier_features_are_sines_and_cosines_of_rising_frequency() -> None:
    features = FourierFeatures(8)(torch.tensor([0.0, 0.3]))

    expected = torch.tensor([0.3 * 10**power for power in range(4)])
    assert features[0].tolist() == [0.0] * 4 + [1.0] * 4
    torch.testing.assert_close(features[1], torch.cat([expected.sin(), expected.cos()]), atol=1e-3, rtol=0.0)

"""A compact U-Net with attention over log-mel patches, conditioned on noise level and emotion embedding."""

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

GROUPS = 8


class UNet(nn.Module):
    """Maps a noisy log-mel to the network's output of the same shape.

    The log-mel is folded into patches of `patch` x `patch` cells, so that the first layer already works on a grid of
    80 / patch x frames / patch. Each level halves both sides; the lowest has self-attention. Condition and noise level
    scale and shift every residual block (Perez et al. 2018, FiLM; Dhariwal & Nichol 2021).
    """

    def __init__(self, *, widths: Sequence[int], patch: int, condition_size: int) -> None:
        """`widths`: channels of each level, each a multiple of 8; `condition_size`: width of the emotion embedding."""
        super().__init__()
        self.patch, self.multiple = patch, patch * 2 ** (len(widths) - 1)
        features = 4 * widths[0]
        self.embed_noise = nn.Sequential(
            FourierFeatures(64), nn.Linear(64, features), nn.SiLU(), nn.Linear(features, features)
        )
        self.embed_condition = nn.Linear(condition_size, features)
        self.entrance = nn.Conv2d(patch * patch, widths[0], 3, padding=1)
        self.down = nn.ModuleList(
            Level(narrow, wide, features) for narrow, wide in zip([widths[0], *widths], widths, strict=False)
        )
        self.middle = Level(widths[-1], widths[-1], features, attention=True)
        reversed_widths = list(reversed(widths))
        self.up = nn.ModuleList(
            Level(below + width, width, features)
            for below, width in zip([widths[-1], *reversed_widths], reversed_widths, strict=False)
        )
        self.exit = nn.Sequential(
            nn.GroupNorm(GROUPS, widths[0]), nn.SiLU(), _zero(nn.Conv2d(widths[0], patch * patch, 3, padding=1))
        )

    def forward(
        self,
        noisy: Float[Tensor, "batch mel frame"],
        noise_level: Float[Tensor, " batch"],
        condition: Float[Tensor, "batch width"],
    ) -> Float[Tensor, "batch mel frame"]:
        """One pass; mel bands and frames must be multiples of patch * 2 ** (levels - 1)."""
        code = nn.functional.silu(self.embed_noise(noise_level) + self.embed_condition(condition))
        hidden = self.entrance(nn.functional.pixel_unshuffle(noisy[:, None], self.patch))
        kept = []
        for depth, level in enumerate(self.down):
            hidden = level(nn.functional.avg_pool2d(hidden, 2) if depth else hidden, code)
            kept.append(hidden)
        hidden = self.middle(hidden, code)
        for depth, level in enumerate(self.up):
            if depth:
                hidden = nn.functional.interpolate(hidden, scale_factor=2.0, mode="nearest")
            hidden = level(torch.cat([hidden, kept.pop()], dim=1), code)
        return nn.functional.pixel_shuffle(self.exit(hidden), self.patch)[:, 0]


class Level(nn.Module):
    """Two residual blocks at one resolution, with self-attention between them where asked."""

    def __init__(self, channels_in: int, channels: int, features: int, *, attention: bool = False) -> None:
        """`features`: width of the code that scales and shifts."""
        super().__init__()
        self.first, self.second = (
            ResidualBlock(channels_in, channels, features),
            ResidualBlock(channels, channels, features),
        )
        self.attention = SelfAttention(channels) if attention else nn.Identity()

    def forward(self, hidden: Tensor, code: Tensor) -> Tensor:
        """Same height and width, `channels` channels."""
        result: Tensor = self.second(self.attention(self.first(hidden, code)), code)
        return result


class ResidualBlock(nn.Module):
    """Convolutions of 3 x 3 whose second normalisation is scaled and shifted by the code."""

    def __init__(self, channels_in: int, channels: int, features: int) -> None:
        """A 1 x 1 convolution carries the input over where the number of channels changes."""
        super().__init__()
        self.norm_in, self.norm_out = nn.GroupNorm(GROUPS, channels_in), nn.GroupNorm(GROUPS, channels)
        self.conv_in = nn.Conv2d(channels_in, channels, 3, padding=1)
        self.conv_out = _zero(nn.Conv2d(channels, channels, 3, padding=1))
        self.modulate = nn.Linear(features, 2 * channels)
        self.carry = nn.Conv2d(channels_in, channels, 1) if channels_in != channels else nn.Identity()

    def forward(self, hidden: Tensor, code: Tensor) -> Tensor:
        """Same height and width, `channels` channels."""
        scale, shift = self.modulate(code)[:, :, None, None].chunk(2, dim=1)
        inner = self.conv_in(nn.functional.silu(self.norm_in(hidden)))
        inner = nn.functional.silu(self.norm_out(inner) * (1.0 + scale) + shift)
        result: Tensor = self.carry(hidden) + self.conv_out(inner)
        return result


class SelfAttention(nn.Module):
    """Multi-head self-attention over all positions, added to its input."""

    def __init__(self, channels: int, heads: int = 4) -> None:
        """`channels` must be a multiple of `heads`."""
        super().__init__()
        self.heads, self.norm = heads, nn.GroupNorm(GROUPS, channels)
        self.query_key_value = nn.Conv2d(channels, 3 * channels, 1)
        self.output = _zero(nn.Conv2d(channels, channels, 1))

    def forward(self, hidden: Tensor) -> Tensor:
        """Same shape as the input."""
        height, width = hidden.shape[-2:]
        heads = self.query_key_value(self.norm(hidden)).flatten(2).unflatten(1, (3, self.heads, -1)).transpose(-2, -1)
        mixed = nn.functional.scaled_dot_product_attention(heads[:, 0], heads[:, 1], heads[:, 2])
        result: Tensor = hidden + self.output(mixed.transpose(-2, -1).flatten(1, 2).unflatten(2, (height, width)))
        return result


class FourierFeatures(nn.Module):
    """Sines and cosines of a scalar at geometrically spaced frequencies (Vaswani et al. 2017, section 3.5)."""

    frequencies: Tensor

    def __init__(self, size: int) -> None:
        """`size` features, half of them sines."""
        super().__init__()
        self.register_buffer(
            "frequencies", torch.exp(torch.linspace(0.0, math.log(1000.0), size // 2)), persistent=False
        )

    def forward(self, value: Float[Tensor, " batch"]) -> Float[Tensor, "batch size"]:
        """Features of one scalar a batch item."""
        angle = value[:, None] * self.frequencies
        return torch.cat([angle.sin(), angle.cos()], dim=-1)


def _zero(convolution: nn.Conv2d) -> nn.Conv2d:
    """Start a block's last convolution at zero, so that the block starts as the identity."""
    nn.init.zeros_(convolution.weight)
    if convolution.bias is not None:
        nn.init.zeros_(convolution.bias)
    return convolution

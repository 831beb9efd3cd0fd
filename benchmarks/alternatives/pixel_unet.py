"""The pixel U-Net in plain torch, for where diffusers is not installed: the same channels, about the same size."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

GROUPS = 32


class PixelUNet(nn.Module):
    """Predicts the noise in pictures (batch, 3, side, side), whose side is a multiple of 8."""

    def __init__(self, channels: Sequence[int], emotions: int) -> None:
        """`channels` of each level; all but the last halve both sides."""
        super().__init__()
        first, code = channels[0], 4 * channels[0]
        self.embed_time = nn.Sequential(nn.Linear(first, code), nn.SiLU(), nn.Linear(code, code))
        self.embed_class = nn.Embedding(emotions, code)
        self.entrance = nn.Conv2d(3, first, 3, padding=1)
        narrow = [first, *channels[:-1]]
        self.down = nn.ModuleList(Block(a, b, code) for a, b in zip(narrow, channels, strict=True))
        self.smaller = nn.ModuleList(nn.Conv2d(width, width, 3, stride=2, padding=1) for width in channels[:-1])
        self.middle = nn.ModuleList(Block(channels[-1], channels[-1], code) for _ in range(4))
        self.attention = nn.MultiheadAttention(channels[-1], 8, batch_first=True)
        wide = list(reversed(channels))
        above = [*wide[1:], first]
        self.up = nn.ModuleList(Block(2 * here, here, code) for here in wide)
        self.narrow = nn.ModuleList(Block(here, after, code) for here, after in zip(wide, above, strict=True))
        self.larger = nn.ModuleList(nn.Conv2d(width, width, 3, padding=1) for width in above[:-1])
        self.exit = nn.Sequential(nn.GroupNorm(GROUPS, first), nn.SiLU(), nn.Conv2d(first, 3, 3, padding=1))

    def forward(self, noisy: Tensor, timestep: Tensor, emotion: Tensor) -> Tensor:
        """Same shape as `noisy`; `timestep` and `emotion` are (batch,)."""
        code = self.embed_time(sinusoids(timestep, self.entrance.out_channels)) + self.embed_class(emotion)
        hidden, kept = self.entrance(noisy), []
        for depth, block in enumerate(self.down):
            hidden = block(self.smaller[depth - 1](hidden) if depth else hidden, code)
            kept.append(hidden)
        for number, block in enumerate(self.middle):
            hidden = block(self._attend(hidden) if number == 1 else hidden, code)
        for depth, (block, narrower) in enumerate(zip(self.up, self.narrow, strict=True)):
            if depth:
                hidden = self.larger[depth - 1](nn.functional.interpolate(hidden, scale_factor=2.0))
            hidden = narrower(block(torch.cat([hidden, kept.pop()], dim=1), code), code)
        result: Tensor = self.exit(hidden)
        return result

    def _attend(self, hidden: Tensor) -> Tensor:
        """Self-attention over all positions, added."""
        places = hidden.flatten(2).transpose(1, 2)
        mixed = self.attention(places, places, places, need_weights=False)[0]
        result: Tensor = hidden + mixed.transpose(1, 2).reshape(hidden.shape)
        return result


class Block(nn.Module):
    """A residual block that the code is added to."""

    def __init__(self, channels_in: int, channels: int, code: int) -> None:
        """`code`: width of the embedding of timestep and class."""
        super().__init__()
        self.first = nn.Sequential(
            nn.GroupNorm(GROUPS, channels_in), nn.SiLU(), nn.Conv2d(channels_in, channels, 3, padding=1)
        )
        self.second = nn.Sequential(
            nn.GroupNorm(GROUPS, channels), nn.SiLU(), nn.Conv2d(channels, channels, 3, padding=1)
        )
        self.code = nn.Linear(code, channels)
        self.carry = nn.Conv2d(channels_in, channels, 1)

    def forward(self, hidden: Tensor, code: Tensor) -> Tensor:
        """Same height and width, `channels` channels."""
        result: Tensor = self.carry(hidden) + self.second(self.first(hidden) + self.code(code)[:, :, None, None])
        return result


def sinusoids(timestep: Tensor, size: int) -> Tensor:
    """Features (batch, size) of the timestep (Vaswani et al. 2017, section 3.5)."""
    rates = torch.exp(torch.arange(size // 2, device=timestep.device) * (-math.log(10_000) / (size // 2)))
    angle = timestep[:, None] * rates
    return torch.cat([angle.sin(), angle.cos()], dim=1)

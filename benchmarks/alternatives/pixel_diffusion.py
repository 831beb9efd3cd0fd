"""A U-Net over 224 x 224 x 3 pixels, 64-128-256-256 channels, 50 DDPM steps: diffusers' where it is, else plain torch.

`python -m benchmarks.alternatives.pixel_diffusion DEVICE` answers each line `sample BATCH` or `train BATCH` on standard
input with the seconds that one step took, so that it can be measured in turns with another process.
"""

import sys
import time
from typing import Any

import torch
from torch import Tensor, nn

SIDE, CHANNELS, STEPS, EMOTIONS = 224, (64, 128, 256, 256), 50, 6


def build_network() -> tuple[nn.Module, str]:
    """The network, called with (noisy, timestep, class), and who wrote it."""
    try:
        from diffusers import UNet2DModel
    except ImportError:
        from benchmarks.alternatives.pixel_unet import PixelUNet

        return PixelUNet(CHANNELS, EMOTIONS), "plain torch"
    network: nn.Module = UNet2DModel(
        sample_size=SIDE,
        layers_per_block=1,
        block_out_channels=CHANNELS,
        down_block_types=("DownBlock2D", "DownBlock2D", "DownBlock2D", "AttnDownBlock2D"),
        up_block_types=("AttnUpBlock2D", "UpBlock2D", "UpBlock2D", "UpBlock2D"),
        num_class_embeds=EMOTIONS,
    )
    return network, "diffusers"


def predicted_noise(network: nn.Module, noisy: Tensor, timestep: int) -> Tensor:
    """The network's output (batch, 3, side, side)."""
    batch = len(noisy)
    places = torch.full((batch,), timestep, device=noisy.device)
    output: Any = network(noisy, places, torch.arange(batch, device=noisy.device) % EMOTIONS)
    result: Tensor = output if isinstance(output, Tensor) else output.sample
    return result


@torch.inference_mode()
def sampling_step(network: nn.Module, noisy: Tensor, timestep: int) -> Tensor:
    """One ancestral step (Ho et al. 2020, algorithm 2)."""
    betas = torch.linspace(1e-4, 0.02, STEPS)
    alphas = torch.cumprod(1.0 - betas, dim=0)
    beta, alpha = float(betas[timestep]), float(alphas[timestep])
    noise = predicted_noise(network, noisy, timestep)
    mean = (noisy - beta / (1.0 - alpha) ** 0.5 * noise) / (1.0 - beta) ** 0.5
    result: Tensor = mean + beta**0.5 * torch.randn_like(noisy)
    return result


def training_step(network: nn.Module, optimizer: torch.optim.Optimizer, clean: Tensor) -> float:
    """One optimiser step on the squared error of the noise (Ho et al. 2020, algorithm 1)."""
    noise = torch.randn_like(clean)
    loss = (predicted_noise(network, 0.9 * clean + 0.4 * noise, STEPS // 2) - noise).square().mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return float(loss.detach())


def main(device: str) -> None:
    """Answer until standard input ends."""
    torch.manual_seed(0)
    network, writer = build_network()
    network.to(device)
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-4)
    print(writer, sum(one.numel() for one in network.parameters()), flush=True)
    for line in sys.stdin:
        kind, batch = line.split()
        pictures = torch.randn(int(batch), 3, SIDE, SIDE, device=device)
        begun = time.perf_counter()
        if kind == "train":
            training_step(network.train(), optimizer, pictures)
        else:
            float(sampling_step(network.eval(), pictures, STEPS // 2).sum())
        print(time.perf_counter() - begun, flush=True)


if __name__ == "__main__":
    main(sys.argv[1])

"""Diffusion of log-mels: noise schedule, network, denoiser, samplers and training."""

"""vocoder.onnx: log-mel to waveform, by Griffin-Lim or by HiFi-GAN, in one graph."""

from pathlib import Path

import torch
from torch import nn
from torch.export import Dim

from sermodels.config import FrontEndConfig
from sermodels.griffin_lim import GriffinLim
from sermodels.hifigan import HifiGanVocoder
from serve.export.graph import export_module, require_symbolic, save_graph

INPUT, OUTPUT = "log_mel", "waveform"


def export_vocoder(front_end: FrontEndConfig, path: Path, *, hifigan: Path | None = None) -> nn.Module:
    """Write vocoder.onnx and return the module that it was made from, to compare with.

    With a checkpoint of HiFi-GAN that is the vocoder, else Griffin-Lim. Raises WeightsError for a checkpoint that does
    not fit, BundleError for a graph that is not as served, and StorageError.
    """
    vocoder = GriffinLim(front_end) if hifigan is None else HifiGanVocoder(front_end, hifigan)
    write_vocoder_graph(vocoder.eval(), front_end.n_mels, path)
    return vocoder


def write_vocoder_graph(vocoder: nn.Module, n_mels: int, path: Path) -> None:
    """Write a module from log-mel (batch, mel, frame) to waveform (batch, sample). Raises BundleError, StorageError."""
    example = {INPUT: -40.0 + 10.0 * torch.randn(2, n_mels, 40)}
    shapes = {INPUT: {0: Dim("batch", min=1, max=2**20), 2: Dim("frame", min=1, max=2**20)}}
    model = export_module(vocoder, example, shapes, (OUTPUT,))
    require_symbolic(model, {INPUT: (0, 2)})
    save_graph(model, path)

"""vocoder.onnx: log-mel to waveform, by Griffin-Lim or by HiFi-GAN, in one graph."""

from pathlib import Path

import torch
from torch import nn
from torch.export import Dim

from sermodels.config import FrontEndConfig
from sermodels.griffin_lim import GriffinLim
from sermodels.hifigan import HifiGanVocoder
from serve.export.graph import export_module, require_symbolic, save_graph
from serve.export.griffin_lim_graph import griffin_lim_model

INPUT, OUTPUT = "log_mel", "waveform"


def export_vocoder(front_end: FrontEndConfig, path: Path, *, hifigan: Path | None = None) -> nn.Module:
    """Write vocoder.onnx and return the module that it was made from, to compare with.

    With a checkpoint of HiFi-GAN that is the vocoder, else Griffin-Lim. Raises WeightsError for a checkpoint that does
    not fit, BundleError for a graph that is not as served, and StorageError.
    """
    if hifigan is not None:
        return _export_hifigan(HifiGanVocoder(front_end, hifigan).eval(), front_end.n_mels, path)
    return export_griffin_lim(GriffinLim(front_end).eval(), front_end.n_mels, path)


def export_griffin_lim(vocoder: GriffinLim, n_mels: int, path: Path) -> nn.Module:
    """Write Griffin-Lim with any number of iterations. Raises BundleError and StorageError."""
    save_graph(griffin_lim_model(vocoder, n_mels, input_name=INPUT, output_name=OUTPUT), path)
    return vocoder


def _export_hifigan(vocoder: HifiGanVocoder, n_mels: int, path: Path) -> nn.Module:
    """Write HiFi-GAN."""
    example = {INPUT: -40.0 + 10.0 * torch.randn(2, n_mels, 40)}
    shapes = {INPUT: {0: Dim("batch", min=1, max=2**20), 2: Dim("frame", min=1, max=2**20)}}
    model = export_module(vocoder, example, shapes, (OUTPUT,))
    require_symbolic(model, {INPUT: (0, 2)})
    save_graph(model, path)
    return vocoder

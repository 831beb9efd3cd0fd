"""Log-mel back to sound, by Griffin-Lim."""

from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray

from sermodels.config import FrontEndConfig
from sermodels.griffin_lim import PEAK, GriffinLim

__all__ = ["PEAK", "log_mel_to_waveform"]


def log_mel_to_waveform(log_mel: NDArray[np.floating], config: FrontEndConfig) -> NDArray[np.float32]:
    """Waveform (frame * hop_length,) of a log-mel (mel, frame) in dB, scaled to a peak of PEAK."""
    with torch.inference_mode():
        waveform: NDArray[np.float32] = _griffin_lim(config)(torch.from_numpy(log_mel.astype(np.float32))[None])[
            0
        ].numpy()
    return waveform


@cache
def _griffin_lim(config: FrontEndConfig) -> GriffinLim:
    """The module with its tables, made once for each front end."""
    return GriffinLim(config).eval()

"""Log-mels to be heard and seen: wav files by Griffin-Lim, and one picture of all."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from sermodels.config import FrontEndConfig
from sermodels.files import atomic_write
from sermodels.plots import log_mel_grid, save_figure
from sermodels.vocoder import log_mel_to_waveform

LogMels = Mapping[str, Sequence[NDArray[np.floating]]]
"""Each emotion's log-mels (mel, frame) in dB."""


def audio_name(emotion: str, number: int) -> str:
    """The file of an emotion's clip below the folder that `write_audio` was given."""
    return f"{emotion}-{number:02d}.wav"


def write_audio(log_mels: LogMels, front_end: FrontEndConfig, folder: Path) -> None:
    """Every log-mel as a wav file of 16 bits. Raises StorageError."""
    import soundfile

    chosen = [(emotion, number) for emotion, row in log_mels.items() for number in range(len(row))]
    for emotion, number in tqdm(chosen, desc="Griffin-Lim", unit="clip"):
        waveform = log_mel_to_waveform(log_mels[emotion][number], front_end)
        with atomic_write(folder / audio_name(emotion, number)) as temporary:
            soundfile.write(temporary, waveform, front_end.sample_rate_hz, subtype="PCM_16", format="WAV")


def write_picture(log_mels: LogMels, front_end: FrontEndConfig, file: Path, title: str) -> None:
    """All log-mels in one picture, a row an emotion. Raises StorageError."""
    save_figure(log_mel_grid(list(log_mels.values()), list(log_mels), front_end, title), file)

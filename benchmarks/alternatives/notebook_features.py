"""librosa, a process per core: load, melspectrogram, power_to_db, z-score, resize to 224 x 224 x 3, np.save."""

import multiprocessing
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.pool import Pool
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sermodels.config import FrontEndConfig

SIDE = 224
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")


def log_mel(path: Path, config: FrontEndConfig) -> NDArray[np.float32]:
    """Log-mel (mel, frame) in dB."""
    import librosa

    waveform, _ = librosa.load(path, sr=config.sample_rate_hz)
    power = librosa.feature.melspectrogram(
        y=waveform,
        sr=config.sample_rate_hz,
        n_fft=config.n_fft,
        hop_length=config.hop_length,
        n_mels=config.n_mels,
        fmin=config.f_min_hz,
        fmax=config.f_max_hz,
    )
    level_db: NDArray[np.float32] = librosa.power_to_db(power, top_db=config.top_db)
    return level_db


def picture(level_db: NDArray[np.float32]) -> NDArray[np.float32]:
    """The z-scored log-mel as (224, 224, 3)."""
    scored = (level_db - level_db.mean()) / (level_db.std() + 1e-6)
    resized = np.asarray(Image.fromarray(scored).resize((SIDE, SIDE), Image.Resampling.BILINEAR))
    return np.repeat(resized[..., None], 3, axis=2)


def save_picture(path: Path, target: Path, config: FrontEndConfig) -> None:
    """One recording to one .npy file."""
    np.save(target, picture(log_mel(path, config)))


@contextmanager
def pool_of(processes: int) -> Iterator[Pool]:
    """Processes of one thread each, so that they do not fight for the cores."""
    before = {name: os.environ.get(name) for name in THREADS}
    os.environ.update(dict.fromkeys(THREADS, "1"))
    try:
        pool = multiprocessing.get_context("spawn").Pool(processes)
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})
    with pool:
        yield pool


def save_all(pool: Pool, paths: Sequence[Path], folder: Path, config: FrontEndConfig) -> list[Path]:
    """All recordings; returns the files."""
    folder.mkdir(parents=True, exist_ok=True)
    targets = [folder / f"{number:06d}.npy" for number in range(len(paths))]
    jobs = [(path, target, config) for path, target in zip(paths, targets, strict=True)]
    pool.starmap(save_picture, jobs, chunksize=4)
    return targets


def read_all(paths: Sequence[Path]) -> list[NDArray[np.float32]]:
    """Every file, into memory."""
    return [np.load(path) for path in paths]

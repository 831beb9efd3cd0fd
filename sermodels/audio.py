"""Any recording that libsndfile reads, to one mono waveform at one rate; damaged ones are refused by name."""

import math
import os
import struct
from io import BytesIO, FileIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sermodels.errors import AudioError

LOWEST_RATE_HZ = 1_000
HIGHEST_RATE_HZ = 768_000
STREAM_SIZE = 0x7FFF0000
"""Sizes from here on are placeholders of programs that wrote to a pipe (sox 0x7FFFF000, ffmpeg 0xFFFFFFFF)."""


def read_waveform(path: Path, *, sample_rate_hz: int) -> NDArray[np.float32]:
    """The recording at `path` as mono float32, shape (sample,), at `sample_rate_hz`.

    Channels are averaged; another rate is converted as `librosa.resample(res_type="soxr_hq")` does.
    Raises AudioError naming the file when it is missing, not audio, empty, truncated or not finite.
    """
    waveform, native_rate_hz = decode_audio(path)
    return resample(waveform, from_hz=native_rate_hz, to_hz=sample_rate_hz)


def decode_audio(path: Path) -> tuple[NDArray[np.float32], int]:
    """The recording as mono float32, shape (sample,), and its own sample rate in Hz. Raises AudioError."""
    try:
        with open(path, "rb", buffering=0) as file:
            channels, rate_hz = _decode(path, file)
    except OSError as error:
        raise AudioError(f"{path}: cannot be read ({error.strerror}); check the path and its permissions") from error
    if not LOWEST_RATE_HZ <= rate_hz <= HIGHEST_RATE_HZ:
        raise AudioError(f"{path}: sample rate {rate_hz} Hz; allowed: {LOWEST_RATE_HZ} to {HIGHEST_RATE_HZ} Hz")
    if len(channels) == 0:
        raise AudioError(f"{path}: holds no samples; remove it or put the original recording in its place")
    if not np.isfinite(channels).all():
        raise AudioError(f"{path}: holds NaN or infinite samples; put the original recording in its place")
    return channels[:, 0] if channels.shape[1] == 1 else channels.mean(axis=1, dtype=np.float32), rate_hz


def resample(waveform: NDArray[np.float32], *, from_hz: int, to_hz: int) -> NDArray[np.float32]:
    """The waveform, shape (sample,), at `to_hz`; equal to librosa's soxr_hq without its three seconds of import."""
    import soxr

    if from_hz == to_hz:
        return waveform
    length = math.ceil(len(waveform) * to_hz / from_hz)
    converted: NDArray[np.float32] = soxr.resample(waveform, from_hz, to_hz, quality="HQ")[:length]
    return np.pad(converted, (0, length - len(converted)))


def _decode(path: Path, file: FileIO) -> tuple[NDArray[np.float32], int]:
    """All samples, shape (sample, channel), and the rate in Hz."""
    import soundfile

    source = _source(path, file)
    file.seek(0)
    try:
        channels, rate_hz = soundfile.read(source, dtype="float32", always_2d=True, closefd=False)
    except soundfile.LibsndfileError as error:
        raise AudioError(_not_audio(path, error.error_string.rstrip("."))) from error
    except MemoryError as error:
        raise AudioError(_not_audio(path, "its header promises more samples than fit in memory")) from error
    return channels, int(rate_hz)


def _not_audio(path: Path, reason: str) -> str:
    return f"{path}: is no audio file that libsndfile reads ({reason}); put the original recording in its place"


def _source(path: Path, file: FileIO) -> int | BytesIO:
    """What libsndfile reads: the open file (without the interpreter's lock), or a copy with its data size filled in.

    Raises AudioError when bytes that a WAV's header promises are missing: libsndfile reads the rest and says nothing.
    """
    start = _data_start(file)
    if start is None:
        return file.fileno()
    size = os.fstat(file.fileno()).st_size
    present, promised = size - start, _unsigned(file, start - 4)
    # In a WAV that really is empty, the RIFF size fits the file; in a streamed one, it is a placeholder too.
    if promised >= STREAM_SIZE or (promised == 0 and _unsigned(file, 4) + 8 != size):
        file.seek(0)
        content = file.readall()
        return BytesIO(content[: start - 4] + struct.pack("<I", present) + content[start:])
    if promised > present:
        raise AudioError(
            f"{path}: is truncated: its header promises {promised:,} bytes of samples and {present:,} are there; "
            "copy or download it again"
        )
    return file.fileno()


def _data_start(file: FileIO) -> int | None:
    """Where the samples of a RIFF WAVE begin; None for other formats."""
    head = file.read(12)
    if head[:4] != b"RIFF" or head[8:] != b"WAVE":
        return None
    while len(head := file.read(8)) == 8:
        name, size = struct.unpack("<4sI", head)
        if name == b"data":
            return file.tell()
        file.seek(size + size % 2, os.SEEK_CUR)
    return None


def _unsigned(file: FileIO, position: int) -> int:
    """The little-endian 32-bit number at a position."""
    file.seek(position)
    value: int = struct.unpack("<I", file.read(4))[0]
    return value

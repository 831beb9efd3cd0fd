"""The simplest recordings, short WAVs of 16-bit PCM, to a waveform in this very process: numpy alone reads them."""

import struct

import numpy as np
from numpy.typing import NDArray

from sermodels.audio import HIGHEST_RATE_HZ, LOWEST_RATE_HZ

Waveform = NDArray[np.float32]

MAX_BYTES = 2**21
"""More would hold up the event loop, which does other things meanwhile: about 20 s at 48 kHz."""
MAX_CHUNKS = 16
MAX_CHANNELS = 2
FULL_SCALE = 32_768.0

_RIFF = struct.Struct("<4sI4s")
_CHUNK = struct.Struct("<4sI")
_FORMAT = struct.Struct("<HHIIHH")
_PCM = 1


def read_plain_wav(recording: bytes) -> tuple[Waveform, int] | None:
    """The channels' average, shape (sample,), and the sample rate in Hz; None for whatever is not plain and whole.

    Plain is RIFF WAVE of 16-bit PCM, mono or stereo, whose samples are not empty and end the file. They are read as
    `sermodels.audio.decode_audio` reads them. Source: "Multimedia Programming Interface and Data Specifications 1.0".
    """
    chunks = _chunks(recording)
    if chunks is None or len(chunks["fmt "]) not in (_FORMAT.size, _FORMAT.size + 2):
        return None
    kind, channels, rate_hz, _, frame_bytes, bits = _FORMAT.unpack_from(chunks["fmt "])
    if (kind, bits, frame_bytes) != (_PCM, 16, 2 * channels) or not LOWEST_RATE_HZ <= rate_hz <= HIGHEST_RATE_HZ:
        return None
    data = chunks["data"]
    if not 1 <= channels <= MAX_CHANNELS or not data or len(data) % frame_bytes:
        return None
    pcm = np.frombuffer(data, dtype="<i2")
    waveform = pcm[::channels].astype(np.float32)
    for channel in range(1, channels):
        waveform += pcm[channel::channels]
    waveform *= np.float32(1.0 / (channels * FULL_SCALE))  # exact: sums of 16-bit numbers, and a power of two
    return waveform, rate_hz


def _chunks(recording: bytes) -> dict[str, memoryview] | None:
    """What lies in each chunk, by name, with a "fmt " and, last and whole, a "data"; None where that is not so."""
    if not _RIFF.size <= len(recording) <= MAX_BYTES:
        return None
    riff, _, wave = _RIFF.unpack_from(recording)
    if (riff, wave) != (b"RIFF", b"WAVE"):
        return None
    chunks: dict[str, memoryview] = {}
    view, begin = memoryview(recording), _RIFF.size
    while begin + _CHUNK.size <= len(view) and len(chunks) < MAX_CHUNKS:
        code, size = _CHUNK.unpack_from(view, begin)
        name, begin, end = code.decode("latin-1"), begin + _CHUNK.size, begin + _CHUNK.size + size
        if name in chunks:
            return None
        chunks[name] = view[begin:end]
        if name == "data":
            return chunks if "fmt " in chunks and end == len(view) else None
        begin = end + size % 2
    return None

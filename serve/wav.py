"""Sound as a file in memory: 16-bit PCM WAV."""

import base64
import io
import wave

import numpy as np
from numpy.typing import NDArray


def wav_bytes(waveform: NDArray[np.float32], sample_rate_hz: int) -> bytes:
    """A waveform (sample,) in [-1, 1] as a WAV file; what lies outside is clipped."""
    samples = np.round(np.clip(waveform, -1.0, 1.0) * 32767.0).astype("<i2")
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(sample_rate_hz)
        file.writeframes(samples.tobytes())
    return buffer.getvalue()


def wav_base64(waveform: NDArray[np.float32], sample_rate_hz: int) -> str:
    """The same for JSON."""
    return base64.b64encode(wav_bytes(waveform, sample_rate_hz)).decode("ascii")

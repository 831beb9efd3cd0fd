"""The same waveform as bytes in every format that a browser, a phone or an audio program sends."""

from collections.abc import Callable
from fractions import Fraction
from io import BytesIO
from typing import Any

import av
import numpy as np
import soundfile
from numpy.typing import NDArray

from sermodels.audio import resample
from sermodels.corpora.espeak import SAMPLE_RATE_HZ, speak

Waveform = NDArray[np.float32]
Encode = Callable[..., bytes]


def spoken(text: str = "She had your dark suit in greasy wash water all year.", *, voice: str = "en-us+f2") -> Waveform:
    """Speech, shape (sample,), at 22,050 Hz: about three seconds."""
    return 0.9 * speak(text, voice=voice)


def tone(*, duration_s: float, sample_rate_hz: int = SAMPLE_RATE_HZ) -> Waveform:
    """Two partials that swell, shape (sample,)."""
    time_s = np.arange(int(duration_s * sample_rate_hz)) / sample_rate_hz
    partials = np.sin(2 * np.pi * 220 * time_s) + 0.5 * np.sin(2 * np.pi * 660 * time_s)
    return (0.3 * partials * np.sin(np.pi * time_s / duration_s)).astype(np.float32)


def encode(waveform: Waveform, *, format: str, sample_rate_hz: int = SAMPLE_RATE_HZ) -> bytes:
    """A waveform (sample,) or (sample, channel) as a recording in one of `FORMATS`."""
    return FORMATS[format](waveform, sample_rate_hz=sample_rate_hz)


def _libsndfile(container: str, subtype: str) -> Encode:
    def write(waveform: Waveform, *, sample_rate_hz: int) -> bytes:
        file = BytesIO()
        soundfile.write(file, waveform, sample_rate_hz, format=container, subtype=subtype)
        return file.getvalue()

    return write


def _libav(
    container: str, codec: str, *, rate_hz: int | None = None, bit_rate: int = 64_000, picture: bool = False
) -> Encode:
    """`rate_hz` is the one that the codec knows, if it does not know them all; `picture` adds a video track."""

    def write(waveform: Waveform, *, sample_rate_hz: int) -> bytes:
        mono = waveform if waveform.ndim == 1 else waveform.mean(axis=1)
        mono = resample(mono, from_hz=sample_rate_hz, to_hz=rate_hz or sample_rate_hz)
        file = BytesIO()
        with av.open(file, "w", format=container) as output:
            video: Any = _add_video(output) if picture else None
            stream: Any = output.add_stream(codec, rate=rate_hz or sample_rate_hz, layout="mono")
            stream.bit_rate = bit_rate
            if video:
                output.mux(_black(video))
            for frame in _frames(mono, rate_hz or sample_rate_hz):
                output.mux(stream.encode(frame))
            output.mux(stream.encode(None))
        return file.getvalue()

    return write


def _add_video(output: Any) -> Any:
    video = output.add_stream("mpeg4", rate=10)
    video.width, video.height, video.pix_fmt = 32, 32, "yuv420p"
    return video


def _black(video: Any) -> list[Any]:
    frames = [av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8), format="rgb24") for _ in range(5)]
    for number, frame in enumerate(frames):
        frame.pts, frame.time_base = number, Fraction(1, 10)
    return [packet for frame in [*frames, None] for packet in video.encode(frame)]


def _frames(mono: Waveform, rate_hz: int) -> list[av.AudioFrame]:
    """In pieces, as an encoder takes them: the stream's resampler and FIFO make its own frames of them."""
    pieces = np.split(mono, range(1024, len(mono), 1024))
    frames = [av.AudioFrame.from_ndarray(np.ascontiguousarray(piece)[None], "fltp", "mono") for piece in pieces]
    for number, frame in enumerate(frames):
        frame.sample_rate, frame.pts, frame.time_base = rate_hz, number * 1024, Fraction(1, rate_hz)
    return frames


FORMATS: dict[str, Encode] = {
    "wav": _libsndfile("WAV", "PCM_16"),
    "wav-24": _libsndfile("WAV", "PCM_24"),
    "wav-float": _libsndfile("WAV", "FLOAT"),
    "wav-mulaw": _libsndfile("WAV", "ULAW"),
    "aiff": _libsndfile("AIFF", "PCM_16"),
    "caf": _libsndfile("CAF", "PCM_16"),
    "flac": _libsndfile("FLAC", "PCM_16"),
    "ogg": _libsndfile("OGG", "VORBIS"),
    "mp3": _libav("mp3", "libmp3lame"),
    "opus": _libav("ogg", "libopus", rate_hz=48_000),
    "webm": _libav("webm", "libopus", rate_hz=48_000),
    "m4a": _libav("ipod", "aac"),
    "m4a-lossless": _libav("ipod", "alac"),
    "aac": _libav("adts", "aac"),
    "mp4": _libav("mp4", "aac", picture=True),
    "amr": _libav("amr", "libopencore_amrnb", rate_hz=8_000, bit_rate=12_200),
}

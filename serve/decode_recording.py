"""A recording in any format that people send, from bytes to one mono waveform; FFmpeg's part of it runs here."""

from collections.abc import Iterator
from io import BytesIO
from typing import Any

import av
import numpy as np
from av.container import InputContainer
from numpy.typing import NDArray

from sermodels.audio import HIGHEST_RATE_HZ, LOWEST_RATE_HZ, resample
from serve.decode_protocol import EMPTY, UNREADABLE
from serve.errors import InputError, TooLargeError, UndecodableError

Waveform = NDArray[np.float32]

DEMUXERS = "wav,w64,aiff,au,caf,flac,mp3,aac,ogg,matroska,webm,mov,mp4,m4a,3gp,amr,asf"
DECODERS = (
    "flac,alac,mp1float,mp2float,mp3float,mp1,mp2,mp3,aac,vorbis,opus,libopus,speex,libspeex,wmav1,wmav2,amrnb,amrwb,"
    "libopencore_amrnb,libopencore_amrwb,gsm,gsm_ms,adpcm_ms,adpcm_ima_wav,adpcm_ima_qt,pcm_alaw,pcm_mulaw,pcm_u8,pcm_s8,"
    "pcm_s16le,pcm_s16be,pcm_s24le,pcm_s24be,pcm_s32le,pcm_s32be,pcm_f32le,pcm_f32be,pcm_f64le,pcm_f64be"
)
"""FFmpeg reads hundreds more, playlists that name other files among them; those are refused unopened."""

OPTIONS = {
    "format_whitelist": DEMUXERS,
    "codec_whitelist": DECODERS,
    "protocol_whitelist": "none",
    "max_probe_packets": "1",  # else 16-bit WAVs are searched for hidden formats, 20 times as long as decoding takes
}
ROUNDING_S = 1e-6
LOUDEST = 1e9
"""Larger samples are damage, and would make the power spectrum infinite."""

FFMPEG_PLANES = 8
"""AV_NUM_DATA_POINTERS."""

LONGEST_PADDING = 2_048
"""Samples of one AAC frame: as many can follow the end of an MP4's sound."""

_ERRORS = (av.FFmpegError, ValueError)
_SCALE = {"u1": 128.0, "i2": 32_768.0, "i4": 2_147_483_648.0}
"""Full scale of integer samples; floats have 1."""


def decode_recording(recording: bytes, *, sample_rate_hz: int, max_duration_s: float) -> Waveform:
    """The first audio track, channels averaged, shape (sample,), at `sample_rate_hz`.

    A WAV gives what `sermodels.audio.read_waveform` gives; a damaged recording gives what of it can be decoded.
    Raises UndecodableError, TooLargeError (longer than `max_duration_s`, or too large for this process's memory) and
    InputError (no samples).
    """
    try:
        with np.errstate(all="ignore"):
            segments = _segments(recording, max_duration_s=max_duration_s)
            parts = [resample(part, from_hz=rate_hz, to_hz=sample_rate_hz) for rate_hz, part in segments]
            waveform = np.concatenate(parts) if len(parts) > 1 else parts[0]
            loudest = max(float(waveform.max()), -float(waveform.min()))  # NaN if any sample is
    except MemoryError as error:
        raise TooLargeError(
            "The recording needs too much memory to be decoded; send it shorter, or at a lower sample rate"
        ) from error
    if not loudest < LOUDEST:
        raise UndecodableError("The recording holds NaN, infinite or absurdly large samples; send the original")
    return waveform


def _segments(recording: bytes, *, max_duration_s: float) -> list[tuple[int, Waveform]]:
    """Stretches with their rate in Hz: a single one, unless recordings were damaged or strung together."""
    segments: list[tuple[int, bytearray]] = []  # one growing block: it goes back to the system whole
    duration_s, failed = 0.0, False
    with _open(recording) as container:
        stream = _audio_stream(container)
        said_s = _said_duration_s(container, stream)
        for frame in _frames(container, stream):
            if frame is None:
                failed = True
            elif frame.samples:
                duration_s += frame.samples / _checked_rate(frame.sample_rate)
                if duration_s > max_duration_s + ROUNDING_S:
                    raise TooLargeError(f"The recording is longer than {max_duration_s:g} s; send a shorter part of it")
                if not segments or segments[-1][0] != frame.sample_rate:
                    segments.append((frame.sample_rate, bytearray()))
                segments[-1][1].extend(_mono(frame).data)
    if not segments:
        raise UndecodableError(UNREADABLE) if failed else InputError(EMPTY)
    stretches = [(rate_hz, np.frombuffer(samples, dtype=np.float32)) for rate_hz, samples in segments]
    if len(stretches) == 1 and said_s is not None:
        rate_hz, waveform = stretches[0]
        return [(rate_hz, _without_padding(waveform, round(said_s * rate_hz)))]
    return stretches


def _said_duration_s(container: InputContainer, stream: av.AudioStream) -> float | None:
    """How long the edit list of an MP4 with AAC says that it is; what pads others is cut off when they are read."""
    if "mp4" not in container.format.name or stream.codec_context.name != "aac":
        return None
    if not stream.duration or not stream.time_base:
        return None
    return float(stream.duration * stream.time_base)


def _without_padding(waveform: Waveform, said: int) -> Waveform:
    """Without what fills the codec's last frame; where more than that would go, what is said is not believed."""
    return waveform[:said] if 0 < said < len(waveform) <= said + LONGEST_PADDING else waveform


def _frames(container: InputContainer, stream: av.AudioStream) -> Iterator[av.AudioFrame | None]:
    """Decoded frames of an audio track, and None where something is damaged."""
    try:
        for packet in container.demux(stream):
            yield from _frames_of(packet)
    except _ERRORS as error:
        _raise_if_memory(error)
        yield None


def _frames_of(packet: Any) -> list[av.AudioFrame | None]:
    """A packet's frames, or None if it is damaged: those after it may be whole."""
    try:
        return [_readable(frame) for frame in packet.decode()]
    except _ERRORS as error:
        _raise_if_memory(error)
        return [None]


def _readable(frame: av.AudioFrame) -> av.AudioFrame:
    """The frame, interleaved by FFmpeg if PyAV cannot read it.

    PyAV (18.1) looks for the end of a frame's planes where eight and more have none, and crashes.
    """
    if not frame.format.is_planar or frame.layout.nb_channels < FFMPEG_PLANES:
        return frame
    (interleaved,) = av.AudioResampler(format=frame.format.packed, layout=frame.layout).resample(frame)
    return interleaved


def _open(recording: bytes) -> InputContainer:
    source = BytesIO(recording)
    try:
        return av.open(source, "r", container_options=OPTIONS, metadata_errors="ignore", io_open=_refuse)
    except _ERRORS as error:
        _raise_if_memory(error)
        raise UndecodableError(UNREADABLE) from error


def _refuse(address: str, _flags: int, _options: dict[str, str]) -> BytesIO:
    """What a recording gets that wants another file opened."""
    raise UndecodableError(f"The recording asks for {address}. {UNREADABLE}")


def _audio_stream(container: InputContainer) -> av.AudioStream:
    """The first audio track, to be decoded by this thread alone."""
    if not container.streams.audio:
        raise UndecodableError(f"It has no audio track. {UNREADABLE}")
    stream = container.streams.audio[0]
    context = stream.codec_context
    if context is None or context.codec.name not in DECODERS.split(","):
        raise UndecodableError(f"Its audio has a codec that is not read here. {UNREADABLE}")
    context.thread_count = 1
    return stream


def _checked_rate(rate_hz: int) -> int:
    if not LOWEST_RATE_HZ <= rate_hz <= HIGHEST_RATE_HZ:
        allowed = f"{LOWEST_RATE_HZ} to {HIGHEST_RATE_HZ} Hz"
        raise UndecodableError(f"The recording's sample rate is {rate_hz} Hz; allowed: {allowed}")
    return rate_hz


def _mono(frame: av.AudioFrame) -> Waveform:
    """The frame's channels averaged, shape (sample,)."""
    samples = frame.to_ndarray()  # (channel, sample), or (1, sample * channel) if interleaved
    if not frame.format.is_planar:
        samples = samples.reshape(frame.samples, -1).T
    channels = samples.astype(np.float32)
    if samples.dtype == np.uint8:
        channels -= 128.0
    if samples.dtype.str[1:] in _SCALE:
        channels /= _SCALE[samples.dtype.str[1:]]
    mono: Waveform = channels.mean(axis=0, dtype=np.float32)
    return mono


def _raise_if_memory(error: Exception) -> None:
    """Running out of memory is no damage."""
    if isinstance(error, MemoryError):
        raise error

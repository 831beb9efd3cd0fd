"""WAVs that the server reads itself: as training reads them, and nothing but whole and simple ones."""

import struct
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import soundfile

from sermodels.audio import decode_audio
from serve.plain_wav import MAX_BYTES, MAX_CHUNKS, read_plain_wav
from tests.serve.damage import mutated


def chunk(name: bytes, content: bytes) -> bytes:
    return name + struct.pack("<I", len(content)) + content + b"\0" * (len(content) % 2)


def fmt(*, kind: int = 1, channels: int = 1, rate_hz: int = 16_000, frame_bytes: int = 2, bits: int = 16) -> bytes:
    return chunk(b"fmt ", struct.pack("<HHIIHH", kind, channels, rate_hz, rate_hz * frame_bytes, frame_bytes, bits))


def riff(*chunks: bytes) -> bytes:
    return chunk(b"RIFF", b"WAVE" + b"".join(chunks))


DATA = chunk(b"data", np.arange(-40, 40, dtype="<i2").tobytes())
PLAIN = riff(fmt(), DATA)


def written(channels: int, rate_hz: int, frames: int, subtype: str = "PCM_16") -> bytes:
    samples = np.random.default_rng(frames).normal(scale=0.5, size=(frames, channels)).clip(-1, 1)
    file = BytesIO()
    soundfile.write(file, samples, rate_hz, subtype=subtype, format="WAV")
    return file.getvalue()


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("rate_hz", [1_000, 22_050, 44_100, 768_000])
@pytest.mark.parametrize("frames", [1, 2, 4_001])
def test_it_is_what_training_reads(channels: int, rate_hz: int, frames: int, tmp_path: Path) -> None:
    path = tmp_path / "clip.wav"
    path.write_bytes(written(channels, rate_hz, frames))
    found, expected = read_plain_wav(path.read_bytes()), decode_audio(path)
    assert found is not None
    assert found[1] == expected[1]
    assert (found[0].dtype, found[0].flags.c_contiguous) == (np.float32, True)
    np.testing.assert_array_equal(found[0], expected[0])


@pytest.mark.parametrize(
    "recording",
    [
        PLAIN,
        riff(chunk(b"LIST", b"INFOodd"), fmt(), chunk(b"fact", b"\0\0\0\0"), DATA),
        riff(chunk(b"fmt ", fmt()[8:] + b"\0\0"), DATA),
    ],
    ids=["bare", "other chunks before the samples", "a longer header"],
)
def test_what_programs_write_before_the_samples_is_passed_over(recording: bytes) -> None:
    found = read_plain_wav(recording)
    assert found is not None
    assert found[1] == 16_000
    np.testing.assert_array_equal(found[0], np.arange(-40, 40, dtype=np.float32) / 32_768)


@pytest.mark.parametrize(
    "recording",
    {
        "nothing": b"",
        "a beginning": PLAIN[:11],
        "another format": b"fLaC" + PLAIN[4:],
        "RIFF, but no sound": PLAIN.replace(b"WAVE", b"AVI "),
        "no samples": riff(fmt(), chunk(b"data", b"")),
        "no chunk of samples": riff(fmt()),
        "no header": riff(DATA),
        "the header behind the samples": riff(DATA, fmt()),
        "two headers": riff(fmt(), fmt(rate_hz=8_000), DATA),
        "a short header": riff(chunk(b"fmt ", b"\1\0\1\0"), DATA),
        "truncated": PLAIN[:-2],
        "half a sample": riff(fmt(), chunk(b"data", b"\0\1\2")),
        "half a frame": riff(fmt(channels=2, frame_bytes=4), chunk(b"data", b"\0" * 6)),
        "a placeholder for the size": PLAIN.replace(DATA[:8], b"data\xff\xff\xff\xff"),
        "more samples in another chunk": riff(fmt(), DATA, DATA),
        "floats": riff(fmt(kind=3), DATA),
        "an extensible header": riff(fmt(kind=0xFFFE), DATA),
        "bytes": riff(fmt(bits=8, frame_bytes=1), DATA),
        "a wrong frame size": riff(fmt(frame_bytes=4), DATA),
        "no channels": riff(fmt(channels=0, frame_bytes=0), DATA),
        "four channels": riff(fmt(channels=4, frame_bytes=8), DATA),
        "too low a rate": riff(fmt(rate_hz=999), DATA),
        "too high a rate": riff(fmt(rate_hz=768_001), DATA),
        "too many chunks": riff(*(chunk(b"%04d" % n, b"") for n in range(MAX_CHUNKS)), fmt(), DATA),
        "too long": riff(fmt(), chunk(b"data", b"\0" * MAX_BYTES)),
    }.items(),
    ids=lambda case: case[0],
)
def test_all_else_is_left_to_the_workers(recording: tuple[str, bytes]) -> None:
    assert read_plain_wav(recording[1]) is None


@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_24", "PCM_32", "FLOAT", "ULAW", "MS_ADPCM"])
def test_other_samples_are_left_to_the_workers(subtype: str) -> None:
    assert read_plain_wav(written(1, 16_000, 500, subtype)) is None


def test_what_is_read_of_damaged_ones_is_what_training_reads(tmp_path: Path) -> None:
    rng, path, read = np.random.default_rng(0), tmp_path / "clip.wav", 0
    originals = [written(1, 16_000, 3_000), written(2, 48_000, 2_000), PLAIN]
    for _ in range(3_000):
        recording = mutated(rng, originals)
        found = read_plain_wav(recording)
        if found is not None:
            read += 1
            path.write_bytes(recording)
            waveform, rate_hz = decode_audio(path)
            assert rate_hz == found[1]
            np.testing.assert_array_equal(found[0], waveform)
    assert 100 < read < 2_900

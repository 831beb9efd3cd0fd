"""Recordings to waveforms, and every kind of damaged file refused by name."""

import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import librosa
import numpy as np
import pytest
import soundfile

from sermodels.audio import decode_audio, read_waveform, resample
from sermodels.errors import AudioError


@pytest.fixture
def wav(tmp_path: Path) -> Path:
    path = tmp_path / "clip.wav"
    soundfile.write(path, np.linspace(-0.5, 0.5, 800), 16_000, subtype="PCM_16")
    return path


def test_same_rate_gives_the_samples_as_they_are(wav: Path) -> None:
    waveform = read_waveform(wav, sample_rate_hz=16_000)
    assert waveform.shape == (800,)
    assert waveform.dtype == np.float32
    assert waveform.flags.c_contiguous
    assert waveform.flags.writeable
    np.testing.assert_allclose(waveform, np.linspace(-0.5, 0.5, 800), atol=1 / 32_768)


def test_channels_are_averaged(tmp_path: Path) -> None:
    path = tmp_path / "stereo.wav"
    soundfile.write(path, np.stack([np.full(100, 0.5), np.full(100, -0.25)], axis=1), 16_000, subtype="FLOAT")
    np.testing.assert_array_equal(read_waveform(path, sample_rate_hz=16_000), np.full(100, 0.125, dtype=np.float32))


@pytest.mark.parametrize(("from_hz", "to_hz"), [(16_000, 22_050), (48_000, 22_050), (44_100, 16_000), (8_000, 22_050)])
@pytest.mark.parametrize("length", [1, 2, 7, 4_801])
def test_resampling_equals_librosa(from_hz: int, to_hz: int, length: int) -> None:
    waveform = np.random.default_rng(0).standard_normal(length).astype(np.float32)
    converted = resample(waveform, from_hz=from_hz, to_hz=to_hz)
    reference = librosa.resample(waveform, orig_sr=from_hz, target_sr=to_hz, res_type="soxr_hq")
    assert converted.dtype == np.float32
    np.testing.assert_array_equal(converted, reference)


def test_resampling_keeps_a_tone(tmp_path: Path) -> None:
    path = tmp_path / "tone.wav"
    soundfile.write(path, 0.5 * np.sin(2 * np.pi * 440 * np.arange(48_000) / 48_000), 48_000, subtype="FLOAT")
    waveform = read_waveform(path, sample_rate_hz=22_050)
    expected = 0.5 * np.sin(2 * np.pi * 440 * np.arange(22_050) / 22_050)
    np.testing.assert_allclose(waveform[500:-500], expected[500:-500], atol=1e-4)


@pytest.mark.parametrize("kind", ["FLAC", "AIFF", "OGG", "RF64", "W64"])
def test_other_formats_of_libsndfile_are_read_whatever_the_suffix(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "clip.raw"
    with soundfile.SoundFile(path.with_suffix(".any"), "w", 16_000, 1, format=kind) as file:
        file.write(np.linspace(-0.5, 0.5, 1_600))
    path.with_suffix(".any").rename(path)
    assert read_waveform(path, sample_rate_hz=16_000).shape == (1_600,)


def _with_sizes(content: bytes, *, riff: int, data: int) -> bytes:
    at = content.index(b"data") + 4
    return content[:4] + struct.pack("<I", riff) + content[8:at] + struct.pack("<I", data) + content[at + 4 :]


@pytest.mark.parametrize(
    ("riff", "data"),
    [(0xFFFFFFFF, 0xFFFFFFFF), (0, 0), (0xFFFFFFFF, 0), (0x7FFFF024, 0x7FFFF000), (0x80000024, 0x80000000)],
)
def test_headers_of_streams_are_read_to_the_end_of_the_file(wav: Path, riff: int, data: int) -> None:
    whole = read_waveform(wav, sample_rate_hz=16_000)
    wav.write_bytes(_with_sizes(wav.read_bytes(), riff=riff, data=data))
    np.testing.assert_array_equal(read_waveform(wav, sample_rate_hz=16_000), whole)


def test_chunks_around_the_samples_are_no_truncation(wav: Path) -> None:
    content = wav.read_bytes()
    at = content.index(b"data")
    extra = b"LIST" + struct.pack("<I", 5) + b"INFOx\0"  # an odd size, padded
    chunks = content[12:at] + extra + content[at:] + extra
    wav.write_bytes(b"RIFF" + struct.pack("<I", 4 + len(chunks)) + b"WAVE" + chunks)
    assert read_waveform(wav, sample_rate_hz=16_000).shape == (800,)


def test_a_wav_cut_anywhere_is_refused_by_name(wav: Path) -> None:
    content = wav.read_bytes()
    for length in [*range(60), *range(60, len(content), 41), len(content) - 1]:
        wav.write_bytes(content[:length])
        with pytest.raises(AudioError, match=r"clip\.wav"):
            read_waveform(wav, sample_rate_hz=16_000)


def test_a_truncated_wav_says_how_much_is_missing(wav: Path) -> None:
    wav.write_bytes(wav.read_bytes()[:-600])
    with pytest.raises(AudioError, match=r"promises 1,600 bytes of samples and 1,000 are there; copy or download"):
        read_waveform(wav, sample_rate_hz=16_000)


def _write_samples(path: Path, samples: list[float], *, sample_rate_hz: int = 16_000) -> None:
    soundfile.write(path, np.array(samples), sample_rate_hz, subtype="FLOAT", format="WAV")


DAMAGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "text": (lambda path: path.write_text("not a recording"), "Format not recognised"),
    "pointer": (
        lambda path: path.write_text("version https://git-lfs.github.com/spec/v1\n" * 20),
        "Format not recognised",
    ),
    "nothing": (lambda path: path.write_bytes(b""), "Format not recognised"),
    "no samples": (lambda path: _write_samples(path, []), "holds no samples"),
    "not a number": (lambda path: _write_samples(path, [0.0, np.nan, 0.0]), "NaN or infinite"),
    "infinite": (lambda path: _write_samples(path, [0.0, -np.inf, 0.0]), "NaN or infinite"),
    "slow": (lambda path: _write_samples(path, [0.0] * 9, sample_rate_hz=10), "sample rate 10 Hz; allowed: 1000 to"),
    "folder": (lambda path: path.mkdir(), "Is a directory"),
    "missing": (lambda path: None, "No such file"),
    "dangling link": (lambda path: path.symlink_to("nowhere.wav"), "No such file"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_files_are_refused_by_name_and_reason(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "damaged.wav"
    make, reason = DAMAGES[damage]
    make(path)
    with pytest.raises(AudioError) as raised:
        read_waveform(path, sample_rate_hz=16_000)
    assert str(path) in str(raised.value)
    assert reason in str(raised.value)


def test_a_recording_without_permission_is_refused(locked: Path) -> None:
    with pytest.raises(AudioError, match=r"03a01Fa\.wav: cannot be read \(Permission denied\)"):
        read_waveform(locked / "03a01Fa.wav", sample_rate_hz=16_000)


def test_an_empty_wav_with_a_chunk_behind_is_empty_all_the_same(tmp_path: Path) -> None:
    path = tmp_path / "empty.wav"
    _write_samples(path, [])
    content = path.read_bytes() + b"LIST" + struct.pack("<I", 4) + b"INFO"
    path.write_bytes(_with_sizes(content, riff=len(content) - 8, data=0))
    with pytest.raises(AudioError, match="holds no samples"):
        read_waveform(path, sample_rate_hz=16_000)


def test_a_header_that_promises_more_than_memory_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "huge.flac"
    soundfile.write(path, np.zeros(1_000), 16_000)
    content = bytearray(path.read_bytes())
    content[21:26] = bytes([content[21] | 0x0F, 0xFF, 0xFF, 0xFF, 0xFF])  # STREAMINFO: 2**36 - 1 samples
    path.write_bytes(content)
    with pytest.raises(AudioError, match=r"huge\.flac"):
        read_waveform(path, sample_rate_hz=16_000)


def test_decoding_gives_the_native_rate(wav: Path) -> None:
    waveform, rate_hz = decode_audio(wav)
    assert (waveform.shape, rate_hz) == ((800,), 16_000)


def test_importing_and_reading_does_not_load_librosa(wav: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from sermodels.audio import read_waveform; "
        "assert 'soundfile' not in sys.modules; read_waveform(Path(sys.argv[1]), sample_rate_hz=22050); "
        "assert 'librosa' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code, str(wav)], check=True, cwd=Path(__file__).resolve().parents[2])


def test_every_real_recording_is_read(real_corpora_dir: Path) -> None:
    for path in sorted(real_corpora_dir.rglob("*.wav"))[::20]:
        waveform = read_waveform(path, sample_rate_hz=22_050)
        assert 1.0 < len(waveform) / 22_050 < 10.0
        assert 0.004 < np.abs(waveform).max() < 1.2  # the filter overshoots a little at full scale

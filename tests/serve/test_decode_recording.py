"""Decoding itself: every format, the same as training reads it, nothing but the recording read, damage survived."""

from io import BytesIO
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from sermodels.audio import read_waveform, resample
from serve.decode_recording import decode_recording
from serve.errors import InputError, TooLargeError, UndecodableError
from tests.serve.recordings import FORMATS, encode, spoken, tone

RATE_HZ = 22_050
LEAST_CORRELATION = {"amr": 0.8}  # a telephone's band
"""Of the lossy formats; 0.99 where nothing is said."""


def decode(recording: bytes, *, sample_rate_hz: int = RATE_HZ, max_duration_s: float = 60.0) -> NDArray[np.float32]:
    return decode_recording(recording, sample_rate_hz=sample_rate_hz, max_duration_s=max_duration_s)


@pytest.fixture(scope="module")
def speech() -> NDArray[np.float32]:
    return spoken()


def correlation(waveform: NDArray[np.float32], reference: NDArray[np.float32]) -> tuple[float, int]:
    """The largest correlation over all shifts, and the shift in samples at which it is."""
    size = 2 * max(len(waveform), len(reference))
    spectrum = np.fft.rfft(waveform, size) * np.conj(np.fft.rfft(reference, size))
    products = np.fft.irfft(spectrum, size)
    shift = int(products.argmax())
    largest = float(products[shift] / (np.linalg.norm(waveform) * np.linalg.norm(reference)))
    return largest, shift if shift < size // 2 else shift - size


@pytest.mark.parametrize("format", FORMATS)
def test_every_format_gives_the_same_speech(format: str, speech: NDArray[np.float32]) -> None:
    waveform = decode(encode(speech, format=format))
    largest, shift = correlation(waveform, speech)
    assert (waveform.dtype, waveform.ndim) == (np.float32, 1)
    assert largest > LEAST_CORRELATION.get(format, 0.99)
    assert 0 <= shift <= 1024  # AAC without a container does not say how long its encoder's delay is
    assert len(speech) - RATE_HZ / 1000 <= len(waveform) <= len(speech) + 1200  # MP4 counts in milliseconds


@pytest.mark.parametrize("length", [30_000, 30_720, 47_111])
@pytest.mark.parametrize("rate_hz", [16_000, 22_050, 44_100])
def test_what_fills_the_last_aac_frame_of_an_mp4_is_cut_off(length: int, rate_hz: int) -> None:
    sound = tone(duration_s=length / rate_hz, sample_rate_hz=rate_hz)
    waveform = decode_recording(
        encode(sound, format="m4a", sample_rate_hz=rate_hz), sample_rate_hz=rate_hz, max_duration_s=60.0
    )
    assert abs(len(waveform) - len(sound)) <= rate_hz / 1000  # edit lists count in milliseconds


def test_eight_channels_in_planes(speech: NDArray[np.float32]) -> None:
    mono = resample(speech, from_hz=RATE_HZ, to_hz=48_000)
    levels = np.arange(1, 9) / 9  # all but the LFE, which Opus filters, carry speech
    levels[3] = 0
    samples = (mono[:, None] * levels * 32_767).astype(np.int16)
    file = BytesIO()
    with av.open(file, "w", format="ogg") as output:
        stream = output.add_stream("libopus", rate=48_000, layout="7.1")
        frame = av.AudioFrame.from_ndarray(samples.reshape(1, -1), "s16", "7.1")
        frame.sample_rate = 48_000
        output.mux([*stream.encode(frame), *stream.encode(None)])
    waveform = decode(file.getvalue())
    assert correlation(waveform, speech)[0] > 0.97
    assert np.linalg.norm(waveform) == pytest.approx(np.linalg.norm(speech) * levels.mean(), rel=0.1)


@pytest.mark.parametrize("rate_hz", [8_000, 16_000, 22_050, 44_100, 48_000])
@pytest.mark.parametrize("channels", [1, 2, 6, 12])
@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE"])
def test_a_wav_is_what_training_reads(subtype: str, channels: int, rate_hz: int, tmp_path: Path) -> None:
    path = tmp_path / "clip.wav"
    samples = np.random.default_rng(rate_hz).normal(scale=0.2, size=(rate_hz // 5, channels))
    soundfile.write(path, samples, rate_hz, subtype=subtype)
    expected = read_waveform(path, sample_rate_hz=RATE_HZ)
    np.testing.assert_allclose(decode(path.read_bytes()), expected, rtol=0, atol=1e-6)


def test_a_streamed_wav_with_a_placeholder_for_its_size() -> None:
    recording = bytearray(encode(tone(duration_s=0.5), format="wav"))
    whole = decode(bytes(recording))
    recording[4:8] = recording[40:44] = b"\xff\xff\xff\xff"
    np.testing.assert_array_equal(decode(bytes(recording)), whole)


@pytest.mark.parametrize("format", ["wav", "flac", "opus"])
def test_one_sample(format: str) -> None:
    assert len(decode(encode(np.full(1, 0.5, dtype=np.float32), format=format))) >= 1


@pytest.mark.parametrize(
    "content",
    [
        "Dear all, this is a text.\n" * 100,
        "<html><body>no sound</body></html>",
        "{}",
        "\0" * 10_000,
        "RIFF",
        "ID3",
        "OggS",
        "fLaC",
        "%PDF-1.7",
        "\x1aE\xdf\xa3" * 20,
    ],
)
def test_what_is_no_recording(content: str) -> None:
    with pytest.raises(UndecodableError, match="not a recording that can be read; send wav, flac, mp3"):
        decode(content.encode("latin-1"))


def test_a_picture_and_a_film_without_sound() -> None:
    for container, codec, pixels in (("image2pipe", "png", "rgb24"), ("mp4", "mpeg4", "yuv420p")):
        file = BytesIO()
        with av.open(file, "w", format=container) as output:
            stream = output.add_stream(codec, rate=10)
            stream.width, stream.height, stream.pix_fmt = 32, 32, pixels
            frame = av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8), format="rgb24")
            output.mux([*stream.encode(frame), *stream.encode(None)])
        with pytest.raises(UndecodableError, match="not a recording that can be read"):
            decode(file.getvalue())


def test_a_codec_that_is_not_served() -> None:
    file = BytesIO()
    with av.open(file, "w", format="mov") as output:
        stream = output.add_stream("ac3", rate=48_000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1536), np.float32), "fltp", "mono")
        frame.sample_rate = 48_000
        output.mux([*stream.encode(frame), *stream.encode(None)])
    with pytest.raises(UndecodableError, match="codec"):
        decode(file.getvalue())


@pytest.mark.parametrize("format", ["wav", "aiff"])
def test_no_samples(format: str) -> None:
    with pytest.raises(InputError, match="holds no samples"):
        decode(encode(np.zeros(0, dtype=np.float32), format=format))


@pytest.mark.parametrize("sample", [np.nan, np.inf, -np.inf, 1e30])
@pytest.mark.parametrize("rate_hz", [16_000, RATE_HZ])
def test_samples_that_are_no_sound(sample: float, rate_hz: int) -> None:
    waveform = tone(duration_s=0.2)
    waveform[1000] = sample
    with pytest.raises(UndecodableError, match="NaN"):
        decode(encode(waveform, format="wav-float", sample_rate_hz=rate_hz))


@pytest.mark.parametrize("rate_hz", [999, 1_000_000])
def test_absurd_sample_rates(rate_hz: int) -> None:
    with pytest.raises(UndecodableError, match=rf"{rate_hz} Hz; allowed: 1000 to 768000 Hz"):
        decode(encode(tone(duration_s=0.2), format="wav", sample_rate_hz=rate_hz))


@pytest.mark.parametrize("rate_hz", [16_000, 44_100, 48_000])
@pytest.mark.parametrize("format", ["wav", "flac"])
def test_the_limit_is_on_decoded_seconds(format: str, rate_hz: int) -> None:
    longest = np.zeros(20 * rate_hz, dtype=np.float32)
    recording = encode(longest, format=format, sample_rate_hz=rate_hz)
    assert len(decode(recording, max_duration_s=20)) == 20 * RATE_HZ
    with pytest.raises(TooLargeError, match=r"longer than 19\.99 s"):
        decode(recording, max_duration_s=19.99)


def test_a_header_that_promises_less_does_not_get_more_in() -> None:
    recording = bytearray(encode(tone(duration_s=5.0), format="flac"))
    recording[21:26] = bytes([recording[21] & 0xF0, 0, 0, 0, 100])  # STREAMINFO: 100 samples
    with pytest.raises(TooLargeError, match="longer than 2 s"):
        decode(bytes(recording), max_duration_s=2)


@pytest.mark.parametrize("format", [format for format in FORMATS if not format.startswith(("m4a", "mp4"))])
def test_half_a_recording_gives_half_the_speech(format: str, speech: NDArray[np.float32]) -> None:
    recording = encode(speech, format=format)
    waveform = decode(recording[: len(recording) // 2])
    largest, _ = correlation(waveform[:20_000], speech[:20_000])
    assert 0.3 * len(speech) < len(waveform) < 0.75 * len(speech)
    assert largest > LEAST_CORRELATION.get(format, 0.98)


@pytest.mark.parametrize("format", ["m4a", "mp4"])
def test_half_an_m4a_lacks_its_index(format: str, speech: NDArray[np.float32]) -> None:
    recording = encode(speech, format=format)
    with pytest.raises(UndecodableError, match="not a recording"):
        decode(recording[: len(recording) // 2])


@pytest.mark.parametrize("format", ["flac", "mp3", "ogg", "aac"])
def test_what_follows_damage_is_kept(format: str, speech: NDArray[np.float32]) -> None:
    recording = encode(speech, format=format)
    middle = len(recording) // 2
    noise = np.random.default_rng(0).bytes(300)
    waveform = decode(recording[:middle] + noise + recording[middle + len(noise) :])
    assert len(waveform) > 0.8 * len(speech)
    assert correlation(waveform[-15_000:], speech[-15_000:])[0] > 0.9


def test_recordings_of_two_rates_strung_together() -> None:
    low, high = tone(duration_s=1.0, sample_rate_hz=16_000), tone(duration_s=1.0, sample_rate_hz=44_100)
    recording = encode(low, format="mp3", sample_rate_hz=16_000) + encode(high, format="mp3", sample_rate_hz=44_100)
    waveform = decode(recording)
    assert len(waveform) == pytest.approx(2 * RATE_HZ, rel=0.1)
    assert correlation(waveform[: RATE_HZ // 2], resample(low, from_hz=16_000, to_hz=RATE_HZ))[0] > 0.5


PLAYLISTS = {
    "concat": "ffconcat version 1.0\nfile secret.wav\n",
    "concat by path": "ffconcat version 1.0\nfile '{path}'\n",
    "hls": "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\nfile://{path}\n#EXT-X-ENDLIST\n",
    "hls variant": "#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=9\nfile://{path}\n",
    "dash": '<?xml version="1.0"?><MPD type="static"><Period><AdaptationSet mimeType="audio/wav">'
    '<Representation id="1"><BaseURL>file://{path}</BaseURL></Representation></AdaptationSet></Period></MPD>',
    "sdp": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=audio 50040 RTP/AVP 0\n",
}


@pytest.mark.parametrize("playlist", PLAYLISTS.values(), ids=PLAYLISTS.keys())
def test_a_playlist_reads_no_file_of_the_server(playlist: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "secret.wav").write_bytes(encode(tone(duration_s=0.2), format="wav"))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UndecodableError, match="not a recording that can be read"):
        decode(playlist.format(path=tmp_path / "secret.wav").encode())


def test_without_the_limits_a_playlist_would(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "secret.wav").write_bytes(encode(tone(duration_s=0.2), format="wav"))
    monkeypatch.chdir(tmp_path)
    with av.open(BytesIO(PLAYLISTS["concat"].encode())) as container:
        assert sum(frame.samples for frame in container.decode(audio=0)) > 0

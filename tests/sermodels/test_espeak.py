"""espeak-ng through ctypes: speech, the same bytes again, and errors that say what to do."""

import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import espeakng_loader
import numpy as np
import pytest
from numpy.typing import NDArray

from sermodels.corpora.espeak import SAMPLE_RATE_HZ, speak
from sermodels.corpora.voices import ENGLISH_VOICES, GERMAN_VOICES
from sermodels.errors import CorpusError

TEXT = "In sieben Stunden wird es soweit sein."
VARIANTS = sorted({voice.variant for voice in GERMAN_VOICES + ENGLISH_VOICES})


def test_speech_is_mono_float_of_plausible_length() -> None:
    waveform = speak(TEXT, voice="de+m3")

    assert waveform.dtype == np.float32
    assert waveform.ndim == 1
    assert 1.0 < len(waveform) / SAMPLE_RATE_HZ < 4.0
    assert 0.05 < np.abs(waveform).max() <= 1.0


@pytest.mark.parametrize("voice", VARIANTS)
def test_same_arguments_give_same_bytes_whatever_was_spoken_before(voice: str) -> None:
    first = speak(TEXT, voice=voice, seed=3)
    speak("Something else, and of another length.", voice="en-us+f5", rate_wpm=220, pitch=80, seed=9)

    assert np.array_equal(speak(TEXT, voice=voice, seed=3), first)


def test_seed_changes_the_noise_in_the_voice() -> None:
    assert not np.array_equal(speak(TEXT, voice="de+f2", seed=1), speak(TEXT, voice="de+f2", seed=2))


def test_every_variant_is_a_voice_of_its_own() -> None:
    # espeak-ng falls back to its standard voice, without an error, when it does not know a variant
    spoken = {speak("Dogs are sitting by the door.", voice=voice).tobytes() for voice in VARIANTS}

    assert len(spoken) == len(VARIANTS) == 18


def test_rate_shortens_and_pitch_raises() -> None:
    slow, fast = (speak(TEXT, voice="de+f2", rate_wpm=rate_wpm) for rate_wpm in (110, 220))
    low, high = (speak(TEXT, voice="de+f2", pitch=pitch) for pitch in (20, 80))

    assert len(fast) < 0.75 * len(slow)
    assert _pitch_hz(high) > 1.5 * _pitch_hz(low)


def test_threads_do_not_disturb_each_other() -> None:
    voices = VARIANTS[:4] * 5
    alone = [speak(TEXT, voice=voice) for voice in voices]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda voice: speak(TEXT, voice=voice), voices))

    assert all(np.array_equal(*pair) for pair in zip(together, alone, strict=True))


def test_data_below_a_long_path_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = speak(TEXT, voice="de+m3")
    far = tmp_path / ("long" * 30) / ("path" * 30)
    far.mkdir(parents=True)
    (far / "espeak-ng-data").symlink_to(espeakng_loader.get_data_path())
    monkeypatch.setattr(espeakng_loader, "get_data_path", lambda: str(far / "espeak-ng-data"))

    assert np.array_equal(speak(TEXT, voice="de+m3"), expected)


def test_unknown_language_is_named() -> None:
    with pytest.raises(CorpusError, match=r"no voice 'qqq\+m1'; allowed: .*de\+f2"):
        speak(TEXT, voice="qqq+m1")


def test_missing_package_names_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "espeakng_loader", None)

    with pytest.raises(CorpusError, match="pip install espeakng-loader"):
        speak(TEXT, voice="de+m3")


def test_damaged_library_names_the_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "libespeak-ng.so").write_bytes(b"no library")
    monkeypatch.setattr(espeakng_loader, "get_library_path", lambda: str(tmp_path / "libespeak-ng.so"))

    with pytest.raises(CorpusError, match=r"libespeak-ng\.so.*pip install"):
        speak(TEXT, voice="de+m3")


def test_missing_data_names_the_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(espeakng_loader, "get_data_path", lambda: str(tmp_path / "gone"))

    with pytest.raises(CorpusError, match=r"gone.*pip install"):
        speak(TEXT, voice="de+m3")


def _pitch_hz(waveform: NDArray[np.float32]) -> float:
    import librosa

    pitch_hz, voiced, _ = librosa.pyin(waveform, fmin=60, fmax=600, sr=SAMPLE_RATE_HZ, hop_length=512)
    return float(np.median(pitch_hz[voiced]))

"""How the demo corpus sounds: emotions go the way the literature says, and are learnable but not trivial."""

import functools
import re

import librosa
import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score
from sklearn.model_selection import GroupKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sermodels.corpora.demo import DemoClip, demo_clips, render
from sermodels.corpora.prosody import CLIP_SPREAD, PROSODY, draw_prosody, generator
from sermodels.corpora.voice_quality import Waveform, breathe, set_level, tilt, trim, warp
from sermodels.corpora.voices import GERMAN_VOICES
from sermodels.emotions import ALL_EMOTIONS, COMMON_EMOTIONS

Acoustics = dict[str, dict[str, float]]
RATE_HZ = 22_050
TONE = 0.1 * np.sin(2 * np.pi * 220 * np.arange(RATE_HZ) / RATE_HZ)

rendered = functools.cache(render)


@pytest.fixture(scope="module")
def acoustics() -> Acoustics:
    """For each emotion, how one take of each of nine speakers differs from that speaker's neutral, on average."""
    clips = [clip for clip in demo_clips() if re.search(r"(03|08|13)a02.a|-01-01-01-0[1-6]\.wav", clip.name)]
    measured = {(clip.voice, clip.emotion): _measure(clip) for clip in clips}
    differences: dict[str, list[Waveform]] = {emotion: [] for emotion in ALL_EMOTIONS}
    for (voice, emotion), values in measured.items():
        differences[emotion].append(values - measured[voice, "neutral"])
    names = ("pitch_st", "range_st", "duration_log2", "level_db", "high_frequency_db")
    return {emotion: dict(zip(names, np.mean(rows, axis=0), strict=True)) for emotion, rows in differences.items()}


def test_pitch_goes_the_published_way(acoustics: Acoustics) -> None:
    pitch = {emotion: values["pitch_st"] for emotion, values in acoustics.items()}

    assert min(pitch["anger"], pitch["fear"], pitch["happiness"], pitch["surprise"]) > 1.5
    assert max(pitch["sadness"], pitch["boredom"], pitch["disgust"]) < -0.5


def test_pitch_range_goes_the_published_way(acoustics: Acoustics) -> None:
    spread = {emotion: values["range_st"] for emotion, values in acoustics.items()}

    assert min(spread["happiness"], spread["anger"]) > 0.1
    assert max(spread["sadness"], spread["boredom"], spread["calm"]) < -0.1


def test_rate_goes_the_published_way(acoustics: Acoustics) -> None:
    duration = {emotion: values["duration_log2"] for emotion, values in acoustics.items()}

    assert max(duration["anger"], duration["fear"]) < -0.05
    assert min(duration["sadness"], duration["boredom"], duration["disgust"]) > 0.1


def test_level_and_spectral_tilt_go_the_published_way(acoustics: Acoustics) -> None:
    assert acoustics["anger"]["level_db"] > acoustics["happiness"]["level_db"] > 1.5
    assert acoustics["sadness"]["level_db"] < -2.5
    assert acoustics["anger"]["high_frequency_db"] > 1.5
    assert acoustics["sadness"]["high_frequency_db"] < -1.5


def test_strong_anger_is_louder_than_normal_anger() -> None:
    clips = [clip for clip in demo_clips() if re.search(r"03-01-05-0[12]-01-01", clip.name)]
    normal, strong = (
        np.mean([rendered(clip).std() for clip in clips if clip.intensity == intensity])
        for intensity in ("normal", "strong")
    )

    assert strong > 1.15 * normal


def test_emotions_are_learnable_across_speakers_but_not_trivial() -> None:
    clips = [clip for clip in demo_clips() if clip.emotion in COMMON_EMOTIONS]
    features = np.array([_log_mel_statistics(clip) for clip in clips])
    emotions = np.array([clip.emotion for clip in clips])
    speakers = np.array([clip.voice.variant + clip.voice.speaker for clip in clips])

    classifier = make_pipeline(StandardScaler(), LogisticRegression(C=0.05, max_iter=2000))
    predicted = cross_val_predict(classifier, features, emotions, groups=speakers, cv=GroupKFold(6))

    assert 0.55 < balanced_accuracy_score(emotions, predicted) < 0.85


def test_table_has_every_emotion_and_neutral_is_its_origin() -> None:
    assert set(PROSODY) == set(ALL_EMOTIONS)
    assert not any(PROSODY["neutral"])


def test_clips_of_one_speaker_and_emotion_spread() -> None:
    voice = GERMAN_VOICES[0]
    rng = generator("spread")
    drawn = np.array([draw_prosody("anger", voice, strength=1.0, rng=rng, seed=0) for _ in range(400)])

    np.testing.assert_allclose(drawn.std(axis=0), CLIP_SPREAD, rtol=0.15)


def test_warp_moves_pitch_and_duration_together() -> None:
    warped = warp(TONE, speed=1.25, jitter=0.0, tremor=0.0, sample_rate_hz=RATE_HZ, rng=generator(0))

    assert len(warped) == int(RATE_HZ / 1.25)
    assert np.abs(np.fft.rfft(warped)).argmax() * RATE_HZ / len(warped) == pytest.approx(275, abs=2)


def test_jitter_blurs_the_harmonic() -> None:
    steady, jittered = (
        warp(TONE, speed=1.0, jitter=jitter, tremor=0.0, sample_rate_hz=RATE_HZ, rng=generator(0))
        for jitter in (0.0, 0.05)
    )

    assert np.abs(np.fft.rfft(jittered)).max() < 0.8 * np.abs(np.fft.rfft(steady)).max()


def test_tilt_is_in_db_per_octave() -> None:
    impulse = np.zeros(RATE_HZ)
    impulse[RATE_HZ // 2] = 1.0
    gain_db = 20 * np.log10(np.abs(np.fft.rfft(tilt(impulse, db_per_octave=-3.0, sample_rate_hz=RATE_HZ))))

    np.testing.assert_allclose(gain_db[[500, 1000, 4000]], [3.0, 0.0, -6.0], atol=0.01)


def test_breath_is_as_loud_as_asked_and_follows_the_voice() -> None:
    half = np.where(np.arange(RATE_HZ) < RATE_HZ // 2, TONE, 0.0)
    noise = breathe(half, noise_db=-10.0, sample_rate_hz=RATE_HZ, rng=generator(0)) - half

    assert 20 * np.log10(noise.std() / half.std()) == pytest.approx(-10, abs=0.1)
    assert np.abs(noise[-RATE_HZ // 3 :]).max() == 0.0


def test_level_is_met_unless_it_would_clip() -> None:
    assert 20 * np.log10(set_level(TONE, rms_db=-30.0).std()) == pytest.approx(-30, abs=0.01)
    assert np.abs(set_level(TONE, rms_db=6.0)).max() == pytest.approx(0.97)


def test_trim_cuts_quiet_ends_and_leaves_silence_empty() -> None:
    assert np.array_equal(trim(np.array([0.0, 1e-4, 0.5, 0.0, -0.2, 0.0])), [0.5, 0.0, -0.2])
    assert trim(np.zeros(5)).size == 0


def _log_mel_statistics(clip: DemoClip) -> Waveform:
    """Mean and standard deviation of 80 mel bands in dB, of the speech alone and at one level."""
    waveform = librosa.resample(rendered(clip), orig_sr=clip.style.sample_rate_hz, target_sr=RATE_HZ)
    speech, _ = librosa.effects.trim(waveform, top_db=40)
    mel = librosa.feature.melspectrogram(y=speech / speech.std(), sr=RATE_HZ, n_fft=1024, hop_length=256, n_mels=80)
    log_mel = librosa.power_to_db(mel, top_db=80)
    return np.concatenate([log_mel.mean(axis=1), log_mel.std(axis=1)])


def _measure(clip: DemoClip) -> Waveform:
    """Median and spread of pitch (semitones), duration (octaves), level (dB), energy above 1 kHz re below (dB)."""
    rate_hz = clip.style.sample_rate_hz
    speech, _ = librosa.effects.trim(rendered(clip), top_db=30)
    pitch_hz, voiced, _ = librosa.pyin(speech, fmin=50, fmax=600, sr=rate_hz, hop_length=512)
    pitch_st = 12 * np.log2(pitch_hz[voiced])
    power = np.abs(np.fft.rfft(speech)) ** 2
    low = np.fft.rfftfreq(len(speech), 1 / rate_hz) < 1000
    high_frequency_db = 10 * np.log10(power[~low].sum() / power[low].sum())
    level_db = 20 * np.log10(speech.std())
    return np.array([np.median(pitch_st), pitch_st.std(), np.log2(len(speech)), level_db, high_frequency_db])

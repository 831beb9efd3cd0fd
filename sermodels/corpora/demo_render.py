"""One clip of the demo corpus as a waveform: prosody drawn, spoken by espeak-ng, voice quality and recording added."""

import numpy as np

from sermodels.corpora.demo_clips import DemoClip, Style
from sermodels.corpora.espeak import SAMPLE_RATE_HZ, speak
from sermodels.corpora.prosody import ENDINGS, Prosody, draw_prosody, generator
from sermodels.corpora.voice_quality import Waveform, breathe, set_level, tilt, trim, warp

STRENGTH = {"": 1.0, "normal": 0.9, "strong": 1.3}
"""How far an emotion is from neutral, by the intensity in the file name."""

# A neutral voice: words a minute, aspiration noise relative to the voice, irregularity and tremor of the period.
NEUTRAL_RATE_WPM, NEUTRAL_BREATH_DB, NEUTRAL_WAVERING = 165, -28.0, 0.004


def render(clip: DemoClip, *, seed: int = 0) -> Waveform:
    """The clip's waveform: (sample,) mono in [-1, 1] at the rate of its style, the same for the same clip and seed.

    Raises CorpusError when espeak-ng is missing or fails.
    """
    rng = generator(seed, clip.name)
    prosody = draw_prosody(clip.emotion, clip.voice, strength=STRENGTH[clip.intensity], rng=rng, seed=seed)
    speed = float(clip.voice.formants * 2**prosody.formants_log2)
    spoken = _speak(clip, prosody, speed, int(rng.integers(2**31)))
    return _record(_colour(clip, prosody, speed, spoken, rng), clip.style, prosody.level_db, rng)


def _speak(clip: DemoClip, prosody: Prosody, speed: float, seed: int) -> Waveform:
    """The text with the pitch and rate that will be right once it is played at `speed`."""
    pitch_st = clip.voice.pitch_st + prosody.pitch_st - 12 * np.log2(speed)
    rate_wpm = NEUTRAL_RATE_WPM * clip.voice.rate * 2**prosody.rate_log2 / speed
    spoken = speak(
        clip.text.rstrip(".") + ENDINGS.get(clip.emotion, "."),
        voice=clip.voice.variant,
        rate_wpm=_whole(rate_wpm, 90, 300),
        pitch=_whole(50 + pitch_st * 50 / 12, 0, 99),
        pitch_range=_whole(50 * 2**prosody.range_log2, 0, 99),
        seed=seed,
    )
    return trim(spoken.astype(np.float64))


def _whole(value: float, lowest: int, highest: int) -> int:
    return min(max(round(value), lowest), highest)


def _colour(clip: DemoClip, prosody: Prosody, speed: float, spoken: Waveform, rng: np.random.Generator) -> Waveform:
    """Vocal tract, irregularity, tilt and breath of this voice in this emotion."""
    jitter, tremor = NEUTRAL_WAVERING * 2**prosody.jitter_log2, NEUTRAL_WAVERING * 2**prosody.tremor_log2
    warped = warp(spoken, speed=speed, jitter=jitter, tremor=tremor, sample_rate_hz=SAMPLE_RATE_HZ, rng=rng)
    tilted = tilt(warped, db_per_octave=clip.voice.tilt_db + prosody.tilt_db, sample_rate_hz=SAMPLE_RATE_HZ)
    noise_db = NEUTRAL_BREATH_DB + clip.voice.breath_db + prosody.breath_db
    return breathe(tilted, noise_db=noise_db, sample_rate_hz=SAMPLE_RATE_HZ, rng=rng)


def _record(voiced: Waveform, style: Style, level_db: float, rng: np.random.Generator) -> Waveform:
    """The voice at the level of its half of the corpus, with silence and noise around it."""
    import librosa

    wave = librosa.resample(voiced, orig_sr=SAMPLE_RATE_HZ, target_sr=style.sample_rate_hz)
    wave = set_level(wave, rms_db=style.level_db + level_db)
    before, after = (int(silence_s * style.sample_rate_hz) for silence_s in rng.uniform(*style.silence_s, size=2))
    padded = np.pad(wave, (before, after))
    return padded + rng.standard_normal(len(padded)) * 10 ** (style.noise_db / 20)

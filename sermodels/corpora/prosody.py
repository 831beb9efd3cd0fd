"""How the demo corpus lets an emotion sound: one table of prosody and voice quality, and the spread around it."""

import hashlib
from typing import NamedTuple

import numpy as np

from sermodels.corpora.voices import Voice


class Prosody(NamedTuple):
    """Differences from a speaker's neutral voice, each on a scale on which halving and adding make sense."""

    pitch_st: float = 0.0
    """Mean pitch, semitones."""
    range_log2: float = 0.0
    """Pitch range, octaves of the factor: 1 doubles it."""
    rate_log2: float = 0.0
    """Speech rate, octaves of the factor."""
    level_db: float = 0.0
    tilt_db: float = 0.0
    """Spectral tilt, dB per octave: positive is more energy in the high frequencies."""
    breath_db: float = 0.0
    """Aspiration noise relative to the voice."""
    jitter_log2: float = 0.0
    """Irregularity from one period to the next, octaves of the factor."""
    tremor_log2: float = 0.0
    """Slow wavering of the pitch, octaves of the factor."""
    formants_log2: float = 0.0
    """All formants, octaves: spread lips raise them, a lowered larynx or rounded lips lower them."""


# Directions from Scherer 2003 (Speech Communication 40: level, F0 level, range, high-frequency energy and rate of
# anger, fear, joy, sadness, boredom), Juslin & Laukka 2003 (Psychological Bulletin 129: also the microstructural
# irregularity of fear, sadness and anger), Burkhardt & Sendlmeier 2000 (ISCA Workshop on Speech and
# Emotion: tense voice in anger, spread lips in joy, breathy voice in sadness, narrow range and slow rate in boredom),
# Banse & Scherer 1996 (JPSP 70: disgust, with a low and slow voice). Calm follows "tenderness" in Juslin & Laukka.
# Sizes are chosen so that a simple classifier tells the classes apart in part only: they are no measurements of people.
PROSODY = {
    "anger": Prosody(2.6, 0.45, 0.18, 7.0, 2.0, -3.0, 0.7, 0.0, 0.00),
    "disgust": Prosody(-1.4, 0.00, -0.24, -0.5, 0.4, 1.0, 1.6, 0.0, -0.06),
    "fear": Prosody(5.2, -0.25, 0.30, 0.5, 0.5, 4.5, 1.0, 2.0, 0.02),
    "happiness": Prosody(3.2, 0.80, 0.12, 4.0, 0.8, -2.0, -0.2, 0.0, 0.07),
    "neutral": Prosody(),
    "sadness": Prosody(-1.0, -0.80, -0.28, -5.0, -1.8, 6.0, 0.6, 1.0, -0.03),
    "boredom": Prosody(-1.6, -0.90, -0.30, -3.0, -0.9, 1.0, 0.0, 0.0, -0.02),
    "calm": Prosody(-0.8, -0.40, -0.15, -2.5, -1.0, 3.0, -0.3, 0.0, 0.00),
    "surprise": Prosody(4.5, 0.85, 0.05, 3.0, 0.8, 1.0, 0.0, 0.0, 0.02),
}

ENDINGS = {"anger": "!", "happiness": "!", "surprise": "?"}
"""Punctuation by which espeak-ng chooses another final contour; all others end on a full stop."""

# Standard deviations: how differently speakers portray the same emotion, and clips of one speaker and emotion differ.
HABIT_SPREAD = Prosody(0.7, 0.15, 0.04, 1.0, 0.40, 1.5, 0.3, 0.3, 0.012)
CLIP_SPREAD = Prosody(0.7, 0.15, 0.05, 1.5, 0.40, 1.5, 0.3, 0.4, 0.012)


def generator(*key: object) -> np.random.Generator:
    """A generator that depends on the key alone, so that clips may be made in any order."""
    digest = hashlib.sha256("/".join(map(str, key)).encode()).digest()
    return np.random.default_rng(int.from_bytes(digest[:16], "big"))


def draw_prosody(emotion: str, voice: Voice, *, strength: float, rng: np.random.Generator, seed: int) -> Prosody:
    """The prosody of one clip: the table's row times strength, the speaker's habit and the clip's own deviation."""
    habit = generator(seed, "habit", voice.speaker, voice.variant, emotion).standard_normal(len(HABIT_SPREAD))
    chance = rng.standard_normal(len(CLIP_SPREAD))
    row = np.array(PROSODY[emotion]) * strength * voice.strength
    return Prosody(*(row + habit * np.array(HABIT_SPREAD) + chance * np.array(CLIP_SPREAD)).tolist())

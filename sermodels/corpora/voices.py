"""The speakers of the demo corpus: espeak-ng variants, each moved to a pitch, rate and vocal tract of its own."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Voice:
    """One synthetic speaker.

    `variant` is espeak-ng's language and variant. `pitch_st` (semitones), `rate` and `formants` (factors; formants
    below 1 are a longer vocal tract) move it away from others of that variant. `tilt_db` (dB per octave) and
    `breath_db` colour its neutral voice. `strength` is how strongly the speaker expresses emotion.
    """

    speaker: str
    sex: str
    variant: str
    pitch_st: float
    rate: float
    formants: float
    tilt_db: float
    breath_db: float
    strength: float


GERMAN_VOICES = (
    Voice("03", "m", "de+m3", 0.5, 1.00, 1.00, 0.0, 0.0, 1.10),
    Voice("08", "f", "de+f1", 0.0, 1.03, 1.00, 0.4, 0.0, 1.15),
    Voice("09", "f", "de+f2", 1.0, 0.96, 1.04, -0.4, 2.0, 0.90),
    Voice("10", "m", "de+m7", -1.5, 0.95, 0.96, 0.6, -1.0, 0.85),
    Voice("11", "m", "de+m4", 2.0, 1.05, 1.03, -0.2, 1.0, 1.00),
    Voice("13", "f", "de+f4", -1.0, 1.00, 0.97, 0.2, -1.0, 1.00),
)
"""Six of EmoDB's ten speaker numbers, with the sex that EmoDB gives each."""

ENGLISH_VOICES = (
    Voice("01", "m", "en-us+m1", 0.0, 1.00, 1.00, 0.0, 0.0, 1.00),
    Voice("02", "f", "en-us+f3", -1.0, 1.00, 0.98, 0.0, 0.0, 1.10),
    Voice("03", "m", "en+m2", 2.5, 1.04, 1.04, 0.5, -1.0, 1.15),
    Voice("04", "f", "en+f2", 1.5, 0.97, 1.05, -0.5, 1.0, 0.85),
    Voice("05", "m", "en-us+m6", -1.5, 0.95, 0.96, -0.3, 1.5, 0.90),
    Voice("06", "f", "en-us+linda", -2.5, 1.05, 1.00, 0.3, -1.0, 1.00),
    Voice("07", "m", "en-us+max", 1.0, 1.02, 0.98, 0.4, 0.0, 1.10),
    Voice("08", "f", "en-us+aunty", 1.0, 0.95, 1.02, 0.0, 2.0, 0.95),
    Voice("09", "m", "en+michel", 0.5, 1.00, 1.02, 0.8, 0.0, 0.80),
    Voice("10", "f", "en-us+Annie", -3.0, 1.00, 0.94, -0.6, 0.0, 1.20),
    Voice("11", "m", "en-us+m5", 3.0, 1.06, 1.06, -0.4, -2.0, 1.05),
    Voice("12", "f", "en+Andrea", -3.5, 1.02, 0.97, 0.2, 1.0, 0.90),
)
"""Twelve actors by RAVDESS's rule: odd numbers male, even female."""

"""What the demo corpus holds: who says which text in which emotion, and under which file name."""

from dataclasses import dataclass

from sermodels.corpora.emodb import EMOTION_OF_LETTER
from sermodels.corpora.ravdess import EMOTION_OF_CODE, STATEMENTS
from sermodels.corpora.voices import ENGLISH_VOICES, GERMAN_VOICES, Voice
from sermodels.emotions import COMMON_EMOTIONS

# Burkhardt et al. 2005, "A database of German emotional speech": four of the ten texts, the short ones.
GERMAN_TEXTS = {
    "a01": "Der Lappen liegt auf dem Eisschrank.",
    "a02": "Das will sie am Mittwoch abgeben.",
    "a04": "Heute abend könnte ich es ihm sagen.",
    "a07": "In sieben Stunden wird es soweit sein.",
}


@dataclass(frozen=True)
class Style:
    """How one of the two halves was recorded: level of a neutral voice, silence at either end, background noise."""

    sample_rate_hz: int
    level_db: float
    silence_s: tuple[float, float]
    noise_db: float


# The originals: EmoDB at full scale and cut closely; RAVDESS with a median peak of a tenth of that and long silences.
EMODB_STYLE = Style(16_000, -22.0, (0.05, 0.20), -75.0)
RAVDESS_STYLE = Style(22_050, -38.0, (0.5, 1.0), -85.0)


@dataclass(frozen=True)
class DemoClip:
    """One recording to be made; `name` is its path in the corpus folder."""

    name: str
    voice: Voice
    emotion: str
    text: str
    intensity: str
    style: Style


def demo_clips() -> tuple[DemoClip, ...]:
    """The whole corpus: 168 German and 300 English clips of 6 and 12 speakers, all classes of EmoDB and RAVDESS."""
    return _german_clips() + _english_clips()


def small_demo_clips() -> tuple[DemoClip, ...]:
    """One clip of each of the six common emotions by each of the 18 speakers, 108 in all."""
    first = {(clip.voice, clip.emotion): clip for clip in reversed(demo_clips())}
    return tuple(clip for clip in reversed(first.values()) if clip.emotion in COMMON_EMOTIONS)


def _german_clips() -> tuple[DemoClip, ...]:
    return tuple(
        DemoClip(f"emodb/{voice.speaker}{code}{letter}a.wav", voice, emotion, text, "", EMODB_STYLE)
        for voice in GERMAN_VOICES
        for code, text in GERMAN_TEXTS.items()
        for letter, emotion in EMOTION_OF_LETTER.items()
    )


def _english_clips() -> tuple[DemoClip, ...]:
    takes = [("normal", "01", "01"), ("normal", "02", "01"), ("strong", "01", "01")]
    neutral_takes = [("normal", statement, repetition) for statement in STATEMENTS for repetition in ("01", "02")]
    return tuple(
        _english_clip(voice, code, *take)
        for voice in ENGLISH_VOICES
        for code, emotion in EMOTION_OF_CODE.items()
        for take in (neutral_takes if emotion == "neutral" else takes)
    )


def _english_clip(voice: Voice, code: str, intensity: str, statement: str, repetition: str) -> DemoClip:
    level = "02" if intensity == "strong" else "01"
    name = f"ravdess/Actor_{voice.speaker}/03-01-{code}-{level}-{statement}-{repetition}-{voice.speaker}.wav"
    text = f"{STATEMENTS[statement].capitalize()}."
    return DemoClip(name, voice, EMOTION_OF_CODE[code], text, intensity, RAVDESS_STYLE)

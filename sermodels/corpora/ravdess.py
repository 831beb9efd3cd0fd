"""RAVDESS, speech recordings (Livingstone & Russo 2018): 1,440 English recordings of 24 actors."""

import re
from itertools import product
from pathlib import Path

from sermodels.corpora.scheme import Labels, NameScheme, fields_of, look_up
from sermodels.errors import CorpusError

EMOTION_OF_CODE = {
    "01": "neutral",
    "02": "calm",
    "03": "happiness",
    "04": "sadness",
    "05": "anger",
    "06": "fear",
    "07": "disgust",
    "08": "surprise",
}
MODALITIES = {"03": "audio only"}
CHANNELS = {"01": "speech", "02": "song"}
INTENSITIES = {"01": "normal", "02": "strong"}
STATEMENTS = {"01": "kids are talking by the door", "02": "dogs are sitting by the door"}
REPETITIONS = {"01": "first", "02": "second"}
SEX_OF_ACTOR = {f"{actor:02d}": "m" if actor % 2 else "f" for actor in range(1, 25)}

_PARTS = ("modality", "channel", "emotion", "intensity", "statement", "repetition", "actor")
_NAME = re.compile("-".join(rf"(?P<{part}>\d\d)" for part in _PARTS))
_FOLDER = re.compile(r"actor_?(\d+)", re.IGNORECASE)


def parse_ravdess(path: Path) -> Labels | None:
    """Labels from a name such as Actor_12/03-01-06-01-02-01-12.wav; None for a song. Raises CorpusError."""
    fields = fields_of(path, _NAME, "RAVDESS's scheme, for example 03-01-06-01-02-01-12.wav")
    emotion = look_up(path, "RAVDESS emotion code", fields["emotion"], EMOTION_OF_CODE)
    look_up(path, "RAVDESS modality", fields["modality"], MODALITIES)
    look_up(path, "RAVDESS statement", fields["statement"], STATEMENTS)
    look_up(path, "RAVDESS repetition", fields["repetition"], REPETITIONS)
    labels = Labels(
        speaker=fields["actor"],
        sex=look_up(path, "RAVDESS actor", fields["actor"], SEX_OF_ACTOR),
        sentence=fields["statement"],
        emotion=emotion,
        intensity=look_up(path, "RAVDESS intensity", fields["intensity"], INTENSITIES),
        take=fields["repetition"],
    )
    _check_actor(path, labels)
    channel = look_up(path, "RAVDESS vocal channel", fields["channel"], CHANNELS)
    return labels if channel == "speech" else None


def _check_actor(path: Path, labels: Labels) -> None:
    folder = _FOLDER.fullmatch(path.parent.name)
    if folder and int(folder[1]) != int(labels.speaker):
        raise CorpusError(
            f"{path}: the name says actor {labels.speaker} and the folder {path.parent.name}; "
            f"move the file to Actor_{labels.speaker} or correct its name"
        )
    if labels.emotion == "neutral" and labels.intensity == "strong":
        raise CorpusError(f"{path}: neutral (01) has no strong intensity (02); allowed: 01; rename or remove the file")


def _published_stems() -> frozenset[str]:
    """The full grid; neutral is recorded at normal intensity only."""
    grid = product(EMOTION_OF_CODE, INTENSITIES, STATEMENTS, REPETITIONS, SEX_OF_ACTOR)
    return frozenset("-".join(("03", "01", *codes)) for codes in grid if codes[:2] != ("01", "02"))


RAVDESS = NameScheme(
    name="ravdess",
    layout="Actor_XX/*.wav",
    parse=parse_ravdess,
    published={emotion: 96 if emotion == "neutral" else 192 for emotion in EMOTION_OF_CODE.values()},
    passed_over="song recordings (vocal channel 02)",
    published_stems=_published_stems(),
)

"""EmoDB, the Berlin Database of Emotional Speech (Burkhardt et al. 2005): 535 German recordings of 10 speakers."""

import re
from pathlib import Path

from sermodels.corpora.scheme import Labels, NameScheme, fields_of, look_up

EMOTION_OF_LETTER = {
    "W": "anger",
    "L": "boredom",
    "E": "disgust",
    "A": "fear",
    "F": "happiness",
    "T": "sadness",
    "N": "neutral",
}
"""The letters are the German words: Wut, Langeweile, Ekel, Angst, Freude, Trauer."""

SEX_OF_SPEAKER = {
    "03": "m",
    "08": "f",
    "09": "f",
    "10": "m",
    "11": "m",
    "12": "m",
    "13": "f",
    "14": "f",
    "15": "m",
    "16": "f",
}
TEXTS = ("a01", "a02", "a04", "a05", "a07", "b01", "b02", "b03", "b09", "b10")

_NAME = re.compile(r"(?P<speaker>\d\d)(?P<text>[ab]\d\d)(?P<emotion>[A-Z])(?P<take>[a-z])")


def parse_emodb(path: Path) -> Labels:
    """Labels from a name such as 03a01Fa.wav: speaker 03, text a01, emotion F, take a. Raises CorpusError."""
    fields = fields_of(path, _NAME, "EmoDB's scheme, for example 03a01Fa.wav (speaker, text, emotion letter, take)")
    return Labels(
        speaker=fields["speaker"],
        sex=look_up(path, "EmoDB speaker", fields["speaker"], SEX_OF_SPEAKER),
        sentence=look_up(path, "EmoDB text", fields["text"], dict(zip(TEXTS, TEXTS, strict=True))),
        emotion=look_up(path, "EmoDB emotion letter", fields["emotion"], EMOTION_OF_LETTER),
        take=fields["take"],
    )


EMODB = NameScheme(
    name="emodb",
    layout="*.wav",
    parse=parse_emodb,
    published={
        "anger": 127,
        "boredom": 81,
        "disgust": 46,
        "fear": 69,
        "happiness": 71,
        "neutral": 79,
        "sadness": 62,
    },
)

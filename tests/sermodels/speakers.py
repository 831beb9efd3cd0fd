"""Utterances like those of the two corpora, and who of them is where in a split."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

from sermodels.config import SplitConfig
from sermodels.corpora.utterance import Utterance
from sermodels.emotions import COMMON_EMOTIONS
from sermodels.splits import Split, make_splits

EMODB_SEXES = {"03": "m", "08": "f", "09": "f", "10": "m", "11": "m", "12": "m", "13": "f", "14": "f", "15": "m"}
ACTOR_SEXES = {f"{actor:02}": "m" if actor % 2 else "f" for actor in range(1, 25)}
TWINS = ("ravdess/07-happiness-0", "ravdess/07-happiness-1")

Utterances = tuple[Utterance, ...]


def clip(corpus: str, speaker: str, sex: str, emotion: str, take: int = 0, content: str = "") -> Utterance:
    stem = f"{speaker}-{emotion}-{take}"
    digest = content or f"sha of {corpus}/{stem}"
    return Utterance(f"{corpus}/{stem}", Path(f"{stem}.wav"), corpus, f"{corpus}/{speaker}", emotion, digest, sex=sex)


def like_the_real_ones() -> Utterances:
    """Ten speakers and twenty-four actors, two clips of each emotion; one recording of actor 07 under two names."""
    speakers = [("emodb", *item) for item in (EMODB_SEXES | {"16": "f"}).items()]
    speakers += [("ravdess", *item) for item in ACTOR_SEXES.items()]
    made = [clip(*speaker, emotion, take) for speaker, emotion, take in product(speakers, COMMON_EMOTIONS, (0, 1))]
    return tuple(replace(u, sha256="the twins") if u.identifier in TWINS else u for u in made)


MADE = like_the_real_ones()


def speakers_of(split: Split, part: str, utterances: Sequence[Utterance], corpus: str = "") -> set[str]:
    names = set(getattr(split, part))
    return {u.speaker for u in utterances if u.identifier in names and u.corpus.startswith(corpus)}


def all_folds(utterances: Sequence[Utterance], **options: Any) -> list[Split]:
    return make_splits(utterances, SplitConfig(fold="all", **options))

"""Any labelled recordings, with a mapping of emotion names: a manifest, known corpora, or a folder an emotion."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from sermodels.corpora.folder import collect, content_of, sound_files
from sermodels.corpora.manifest import read_manifest
from sermodels.corpora.sources import find_sources
from sermodels.corpora.utterance import Corpus, Utterance
from sermodels.emotions import ALL_EMOTIONS
from sermodels.errors import CorpusError

LEFT_OUT = "-"
"""What an emotion is mapped to whose recordings are not wanted."""


def parse_emotion_names(text: str) -> dict[str, str]:
    """`angry=anger calm=neutral other=-` as a mapping. Raises CorpusError naming what is not allowed."""
    names = {}
    for pair in text.replace(",", " ").split():
        theirs, equals, ours = pair.partition("=")
        if not equals or not theirs or ours not in (*ALL_EMOTIONS, LEFT_OUT):
            raise CorpusError(
                f"emotion name {pair!r} is not of the form theirs=ours; ours is one of {', '.join(ALL_EMOTIONS)}, "
                f"or {LEFT_OUT} to leave it out"
            )
        names[theirs] = ours
    return names


def read_labelled(target: Path, names: Mapping[str, str]) -> Corpus:
    """The recordings in a manifest, in a folder of known corpora, or in a folder with a folder for each emotion.

    Raises CorpusError naming file, line or folder.
    """
    if target.suffix.lower() == ".csv" and not target.is_dir():
        return _without_left_out(read_manifest(target, names).accepted())
    if not target.is_dir():
        raise CorpusError(f"{target}: there is no such folder or manifest")
    if _is_by_emotion(target, names):
        return _by_emotion(target, names)
    parts = [
        collect(source.path, source.scheme, name=source.name).accepted()
        if source.scheme
        else read_manifest(source.path, names).accepted()
        for source in find_sources(target)
    ]
    renamed = (replace(u, emotion=names.get(u.emotion, u.emotion)) for part in parts for u in part.utterances)
    return _without_left_out(Corpus(tuple(renamed), tuple(note for part in parts for note in part.notes)))


def _is_by_emotion(folder: Path, names: Mapping[str, str]) -> bool:
    """Whether a folder in it is named as an emotion."""
    return any(path.is_dir() and path.name in {*names, *ALL_EMOTIONS} for path in folder.iterdir())


def _by_emotion(folder: Path, names: Mapping[str, str]) -> Corpus:
    """Recordings as `EMOTION/SPEAKER/file`, or `EMOTION/file` where nobody knows who speaks."""
    utterances = []
    for path in sound_files(folder):
        emotion, *inner = path.relative_to(folder).parts
        label = names.get(emotion, emotion)
        if not inner or label not in (*ALL_EMOTIONS, LEFT_OUT):
            raise CorpusError(
                f"{path}: lies in no folder of an emotion; say what {emotion!r} is, such as {emotion}=anger, "
                f"or {emotion}={LEFT_OUT} to leave it out"
            )
        speaker = inner[0] if len(inner) > 1 else path.stem
        utterances.append(
            Utterance(
                identifier=f"{folder.name}/{'/'.join((emotion, *inner))}",
                path=path,
                corpus=folder.name,
                speaker=f"{folder.name}/{speaker}",
                emotion=label,
                sha256=content_of(path),
            )
        )
    return _without_left_out(Corpus(tuple(utterances)))


def _without_left_out(corpus: Corpus) -> Corpus:
    """Without recordings whose emotion is mapped to LEFT_OUT, and with a note that counts them."""
    kept = tuple(utterance for utterance in corpus.utterances if utterance.emotion != LEFT_OUT)
    left = Counter(utterance.corpus for utterance in corpus.utterances if utterance.emotion == LEFT_OUT)
    notes = (f"{name}: {count:,} recordings left out by their emotion" for name, count in left.items())
    return Corpus(kept, (*corpus.notes, *notes))

"""Any labelled recordings, with a mapping of emotion names: a manifest, known corpora, or a folder an emotion."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from sermodels.corpora.folder import collect, content_of, sound_files
from sermodels.corpora.manifest import read_manifest
from sermodels.corpora.sources import Source, find_sources
from sermodels.corpora.utterance import Corpus, Utterance
from sermodels.emotions import ALL_EMOTIONS
from sermodels.errors import CorpusError

LEFT_OUT = "-"
"""What an emotion is mapped to whose recordings are not wanted."""
NAMED_FOLDERS = 3
"""So many are named as an example of a mapping."""


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
        for source in _known_corpora(target)
    ]
    renamed = (replace(u, emotion=names.get(u.emotion, u.emotion)) for part in parts for u in part.utterances)
    return _without_left_out(Corpus(tuple(renamed), tuple(note for part in parts for note in part.notes)))


def _known_corpora(folder: Path) -> list[Source]:
    """The corpora in a folder. Raises CorpusError, which says how else a folder of recordings is understood."""
    try:
        return find_sources(folder)
    except CorpusError as error:
        paths, _ = sound_files(folder)
        names = sorted({path.relative_to(folder).parts[0] for path in paths if path.parent != folder})
        if not names:
            raise
        mapping = " ".join(f"{name}=EMOTION" for name in names[:NAMED_FOLDERS])
        raise CorpusError(
            f"{error}; or, where each folder in it is an emotion, say which: --emotions '{mapping}' "
            f"(EMOTION is one of {', '.join(ALL_EMOTIONS)}, or {LEFT_OUT} to leave it out)"
        ) from error


def _is_by_emotion(folder: Path, names: Mapping[str, str]) -> bool:
    """Whether a folder in it is named as an emotion."""
    return any(path.is_dir() and _emotion_of(path.name, names) for path in folder.iterdir())


def _emotion_of(name: str, names: Mapping[str, str]) -> str | None:
    """The emotion that a folder's name stands for: by the mapping, or our own name in any case."""
    return names.get(name) or (name.lower() if name.lower() in ALL_EMOTIONS else None)


def _by_emotion(folder: Path, names: Mapping[str, str]) -> Corpus:
    """Recordings as `EMOTION/SPEAKER/file`, or `EMOTION/file` where nobody knows who speaks."""
    paths, not_read = sound_files(folder)
    utterances = []
    for path in paths:
        place, *inner = path.relative_to(folder).parts
        emotion = _emotion_of(place, names)
        if not inner or emotion is None:
            raise CorpusError(
                f"{path}: lies in no folder of an emotion; say what {place!r} is, such as {place}=anger, "
                f"or {place}={LEFT_OUT} to leave it out"
            )
        speaker = inner[0] if len(inner) > 1 else path.stem
        utterances.append(
            Utterance(
                identifier=f"{folder.name}/{'/'.join((place, *inner))}",
                path=path,
                corpus=folder.name,
                speaker=f"{folder.name}/{speaker}",
                emotion=emotion,
                sha256=content_of(path),
            )
        )
    return _without_left_out(Corpus(tuple(utterances), _notes(folder, not_read)))


def _notes(folder: Path, left: list[Path]) -> tuple[str, ...]:
    """What of a folder's sound is left because it is not read."""
    if not left:
        return ()
    first = left[0].relative_to(folder)
    return (
        f"{folder.name}: {len(left):,} left out of a format that libsndfile does not read, the first of them {first}; "
        "convert them: ffmpeg -i FILE FILE.flac",
    )


def _without_left_out(corpus: Corpus) -> Corpus:
    """Without recordings whose emotion is mapped to LEFT_OUT, and with a note that counts them."""
    kept = tuple(utterance for utterance in corpus.utterances if utterance.emotion != LEFT_OUT)
    left = Counter(utterance.corpus for utterance in corpus.utterances if utterance.emotion == LEFT_OUT)
    notes = (f"{name}: {count:,} recordings left out by their emotion" for name, count in left.items())
    return Corpus(kept, (*corpus.notes, *notes))

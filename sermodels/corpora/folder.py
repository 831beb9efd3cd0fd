"""A named corpus out of the folder that holds it: every .wav found, labelled by its name, copies dropped."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from sermodels.corpora.scheme import Labels, NameScheme
from sermodels.corpora.utterance import Corpus, Utterance
from sermodels.errors import CorpusError
from sermodels.files import sha256_of_file
from sermodels.known import UNKNOWN, KnownFiles

READ = (".wav", ".w64", ".flac", ".mp3", ".ogg", ".oga", ".opus", ".aif", ".aiff", ".au", ".caf", ".sph")
"""Sound that libsndfile reads."""
NOT_READ = (".m4a", ".aac", ".mp4", ".mov", ".mkv", ".mka", ".webm", ".wma", ".amr", ".3gp")
"""Sound that it does not read, and FFmpeg converts."""

NAMED_PROBLEMS = 10
"""So many problems are named in one error; the audit lists all."""


@dataclass(frozen=True)
class Findings:
    """A corpus and everything that is wrong with it, each problem naming its file."""

    corpus: Corpus
    problems: tuple[str, ...] = ()

    def accepted(self) -> Corpus:
        """The corpus; CorpusError with the problems when there are any."""
        if self.problems:
            more = len(self.problems) - NAMED_PROBLEMS
            rest = f"; and {more} more" if more > 0 else ""
            raise CorpusError("; ".join(self.problems[:NAMED_PROBLEMS]) + rest)
        return self.corpus


@dataclass(frozen=True)
class _Recording:
    path: Path
    labels: Labels
    sha256: str


def collect(folder: Path, scheme: NameScheme, *, name: str = "", known: KnownFiles = UNKNOWN) -> Findings:
    """The recordings below `folder`, named by `scheme`, as the corpus `name` (default: the scheme's).

    Those that are `known`, and were not touched since, are not read again.

    Raises CorpusError when the folder is missing, cannot be read or holds no .wav file; what is wrong with single
    files is in the findings.
    """
    corpus = name or scheme.name
    recordings, passed_over, misnamed = _label(wav_files(folder, scheme), scheme, known)
    kept, conflicts = _without_copies(recordings)
    notes = []
    if copies := len(recordings) - len(kept) - len(conflicts):
        files = "copy" if copies == 1 else "copies"
        notes.append(f"{corpus}: {copies:,} {files} dropped (same file name and same bytes as one that is kept)")
    if passed_over:
        notes.append(f"{corpus}: {passed_over:,} {scheme.passed_over} passed over")
    utterances = tuple(_utterance(corpus, recording) for recording in kept)
    return Findings(Corpus(utterances, tuple(notes)), tuple(misnamed + conflicts))


def wav_files(folder: Path, scheme: NameScheme) -> list[Path]:
    """Every .wav below `folder`, the shallowest first; hidden files and folders are left out. Raises CorpusError."""
    remedy = (
        f"put the {scheme.name} recordings there as {folder.name}/{scheme.layout}, "
        f"or download them: python -m sermodels.corpora download {folder.parent}"
    )
    try:
        names = list(_walk(folder, (".wav",)))
    except OSError as error:
        raise CorpusError(f"{error.filename or folder}: cannot be read ({error.strerror}); {remedy}") from error
    if not names:
        raise CorpusError(f"{folder}: holds no .wav file; {remedy}")
    return [Path(name) for name in sorted(names, key=lambda name: (name.count(os.sep), name))]


def sound_files(folder: Path) -> tuple[list[Path], list[Path]]:
    """The sound below `folder` that is read, and that is not, sorted; hidden files and folders are left out.

    Raises CorpusError.
    """
    try:
        paths = sorted(Path(name) for name in _walk(folder, READ + NOT_READ))
    except OSError as error:
        raise CorpusError(f"{error.filename or folder}: cannot be read ({error.strerror})") from error
    read = [path for path in paths if path.suffix.lower() in READ]
    return read, [path for path in paths if path.suffix.lower() in NOT_READ]


def content_of(path: Path, known: KnownFiles = UNKNOWN) -> str:
    """Hex sha256 of a recording's bytes; CorpusError naming the file when it cannot be read."""
    try:
        return known.about(path, sha256_of_file)
    except OSError as error:
        raise CorpusError(f"{path}: cannot be read ({error.strerror}); check the file and its permissions") from error


def _walk(folder: Path, endings: tuple[str, ...]) -> Iterator[str]:
    """Files below `folder` that end so and are not hidden, linked folders too, each real folder once.

    They are names, since a Path for each file of a corpus takes longer than the walk. Raises what Path.rglob passes
    over.
    """
    seen = set()
    for root, names, files in os.walk(folder, onerror=_raise, followlinks=True):
        seen.add(os.path.realpath(root))
        names[:] = sorted(
            name
            for name in names
            if not name.startswith((".", "__MACOSX")) and os.path.realpath(Path(root, name)) not in seen
        )
        yield from (
            f"{root}{os.sep}{name}" for name in files if name.lower().endswith(endings) and not name.startswith(".")
        )


def _raise(error: OSError) -> None:
    raise error


def _label(paths: list[Path], scheme: NameScheme, known: KnownFiles) -> tuple[list[_Recording], int, list[str]]:
    """The recordings that the scheme labels, how many it passes over, and what is wrong with the others."""
    recordings: list[_Recording] = []
    passed_over: set[str] = set()
    problems: list[str] = []
    for path in paths:
        try:
            labels = scheme.parse(path)
            if labels is None:
                passed_over.add(path.stem)
            else:
                recordings.append(_Recording(path, labels, content_of(path, known)))
        except CorpusError as error:
            problems.append(str(error))
    return recordings, len(passed_over), problems


def _without_copies(recordings: list[_Recording]) -> tuple[list[_Recording], list[str]]:
    """The first recording of each file name, and a problem wherever a later one has other bytes."""
    first: dict[str, _Recording] = {}
    conflicts = []
    for recording in recordings:
        known = first.setdefault(recording.path.stem, recording)
        if known.sha256 != recording.sha256:
            conflicts.append(
                f"{recording.path}: differs from {known.path}, which has the same name; remove or rename one of them"
            )
    return list(first.values()), conflicts


def _utterance(corpus: str, recording: _Recording) -> Utterance:
    labels = recording.labels
    return Utterance(
        identifier=f"{corpus}/{recording.path.stem}",
        path=recording.path,
        corpus=corpus,
        speaker=f"{corpus}/{labels.speaker}",
        emotion=labels.emotion,
        sha256=recording.sha256,
        sex=labels.sex,
        sentence=labels.sentence,
        intensity=labels.intensity,
        take=labels.take,
    )

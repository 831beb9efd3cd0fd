"""One labelled recording, and the set of them that a run uses."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from sermodels.files import sha256_of_json


@dataclass(frozen=True)
class Utterance:
    """One labelled recording.

    `identifier` is unique in a run (`corpus/stem`); `speaker` is unique across corpora (`emodb/03`);
    `sha256` is of the file's bytes. `sex` (`f`, `m`), `sentence`, `intensity` and `take` may be empty.
    """

    identifier: str
    path: Path
    corpus: str
    speaker: str
    emotion: str
    sha256: str
    sex: str = ""
    sentence: str = ""
    intensity: str = ""
    take: str = ""


@dataclass(frozen=True)
class Corpus:
    """Utterances in a fixed order, and what was noticed while they were collected."""

    utterances: tuple[Utterance, ...]
    notes: tuple[str, ...] = ()
    """Sentences for the user: copies dropped, recordings under two names, files passed over."""

    def digest(self) -> str:
        """Hex sha256 of every recording's content and labels, independent of where the files lie."""
        rows = [{**vars(utterance), "path": utterance.path.name} for utterance in self.utterances]
        return sha256_of_json(rows)

    def select(self, emotions: tuple[str, ...]) -> "Corpus":
        """The utterances of the given emotions only."""
        kept = tuple(utterance for utterance in self.utterances if utterance.emotion in emotions)
        return Corpus(kept, self.notes)

    def counts(self) -> dict[str, Counter[str]]:
        """Recordings per emotion, for each corpus."""
        table: dict[str, Counter[str]] = {}
        for utterance in self.utterances:
            table.setdefault(utterance.corpus, Counter())[utterance.emotion] += 1
        return table

    def speakers(self) -> tuple[str, ...]:
        """All speakers, sorted."""
        return tuple(sorted({utterance.speaker for utterance in self.utterances}))

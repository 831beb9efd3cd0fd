"""Recordings with their labels: the named corpora, the demo corpus and anyone's own, by one call."""

import os
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from sermodels.corpora.emodb import EMODB
from sermodels.corpora.folder import collect
from sermodels.corpora.manifest import read_manifest
from sermodels.corpora.ravdess import RAVDESS
from sermodels.corpora.scheme import NameScheme
from sermodels.corpora.utterance import Corpus, Utterance
from sermodels.errors import CorpusError
from sermodels.known import UNKNOWN, KnownFiles

if TYPE_CHECKING:  # the commands of this package answer --help without loading pydantic
    import sermodels.config

CORPORA: dict[str, NameScheme] = {scheme.name: scheme for scheme in (EMODB, RAVDESS)}
"""The named corpora. A new one is a file with its NameScheme, an entry here, and its test."""

DEMO = "demo"
DEMO_HALVES = (EMODB, RAVDESS)
"""The demo corpus is named and laid out like these two, as `demo-emodb` and `demo-ravdess`."""

__all__ = ["CORPORA", "Corpus", "Utterance", "load_corpus", "load_demo", "load_named"]


def load_corpus(config: "sermodels.config.CorpusConfig", known: KnownFiles = UNKNOWN) -> Corpus:
    """The recordings that a run uses: named corpora and manifests, the selected emotions, sorted by identifier.

    Recordings that are `known`, and were not touched since, are not read again; the others are known afterwards.

    Raises CorpusError naming folder, file or line when a source is missing or something in it is wrong, when two
    sources hold the same recording, or when a selected emotion has no recording.
    """
    data_dir = Path(config.data_dir)
    parts = [load_named(name, data_dir, demo_seed=config.demo_seed, known=known) for name in config.names]
    parts += [read_manifest(Path(manifest), known=known).accepted() for manifest in config.manifests]
    known.save()
    everything = _merge(parts)
    selected = everything.select(tuple(config.emotions))
    _check_emotions(selected, config.emotions, everything)
    return Corpus(selected.utterances, selected.notes + same_content_notes(selected.utterances))


def load_named(name: str, data_dir: Path, *, demo_seed: int = 0, known: KnownFiles = UNKNOWN) -> Corpus:
    """The corpus `name` from the folder of its name below `data_dir`, all its emotions. Raises CorpusError."""
    folder = data_dir / name
    if name == DEMO:
        return load_demo(folder, seed=demo_seed, known=known)
    if name not in CORPORA:
        raise CorpusError(f"unknown corpus {name!r}; allowed: {', '.join((*CORPORA, DEMO))}, or list it as a manifest")
    scheme = CORPORA[name]
    corpus = collect(folder, scheme, known=known).accepted()
    if len(corpus.utterances) == scheme.published_total():
        return corpus
    note = (
        f"{name}: {len(corpus.utterances):,} recordings, {scheme.published_total():,} are published; "
        f"see python -m sermodels.corpora audit {folder}"
    )
    return Corpus(corpus.utterances, (*corpus.notes, note))


def load_demo(folder: Path, *, seed: int = 0, known: KnownFiles = UNKNOWN) -> Corpus:
    """The synthetic corpus in `folder`, made there first where it is not complete; both halves, all emotions."""
    from sermodels.corpora.demo import make_demo_corpus

    make_demo_corpus(folder, seed=seed)
    halves = [
        collect(folder / half.name, half, name=f"{DEMO}-{half.name}", known=known).accepted() for half in DEMO_HALVES
    ]
    note = f"{DEMO}: synthetic speech; numbers from it mean nothing about people"
    return Corpus(
        tuple(utterance for half in halves for utterance in half.utterances),
        (*(text for half in halves for text in half.notes), note),
    )


def same_content_notes(utterances: Iterable[Utterance]) -> tuple[str, ...]:
    """A note for each content that lies under several names; such recordings are kept."""
    groups: dict[str, list[str]] = {}
    for utterance in utterances:
        groups.setdefault(utterance.sha256, []).append(utterance.identifier)
    return tuple(
        f"{' and '.join(sorted(names))} are one recording under {len(names)} names; kept, on one side of every split"
        for names in groups.values()
        if len(names) > 1
    )


def _merge(parts: list[Corpus]) -> Corpus:
    """All parts sorted by identifier; CorpusError where two of them hold the same file or the same identifier."""
    utterances = sorted((u for part in parts for u in part.utterances), key=lambda u: u.identifier)
    _check_once([(u.identifier, u) for u in utterances], "the identifier")
    _check_once([(os.path.normpath(u.path.absolute()), u) for u in utterances], "the file")
    return Corpus(tuple(utterances), tuple(note for part in parts for note in part.notes))


def _check_once(keyed: list[tuple[str, Utterance]], what: str) -> None:
    first: dict[str, Utterance] = {}
    for key, utterance in keyed:
        known = first.setdefault(key, utterance)
        if known is not utterance:
            raise CorpusError(
                f"{what} {key} comes twice ({known.path} as {known.identifier}, {utterance.path} as "
                f"{utterance.identifier}); name each source once, or give the manifest a corpus column of its own"
            )


def _check_emotions(selected: Corpus, emotions: Iterable[str], everything: Corpus) -> None:
    present = Counter(utterance.emotion for utterance in selected.utterances)
    missing = [emotion for emotion in emotions if not present[emotion]]
    if missing:
        available = sorted({utterance.emotion for utterance in everything.utterances})
        raise CorpusError(
            f"no recording of {', '.join(missing)}; these corpora hold: {', '.join(available)}; "
            "change corpus.emotions or add a corpus"
        )

"""Speaker-independent folds, corpora left out, and the random stratified split, with checks that keep them honest."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import numpy as np
from sklearn.model_selection import train_test_split

from sermodels.config import SplitConfig
from sermodels.corpora.utterance import Utterance
from sermodels.errors import SplitError
from sermodels.files import sha256_of_json
from sermodels.randomness import generator

PARTS = ("training", "development", "test")


@dataclass(frozen=True)
class Split:
    """Identifiers of the clips that are trained on, that choose the epoch, and that are tested once."""

    name: str
    protocol: str
    training: tuple[str, ...]
    development: tuple[str, ...]
    test: tuple[str, ...]

    def digest(self) -> str:
        """Hex sha256 of the whole split."""
        return sha256_of_json(asdict(self))

    @staticmethod
    def from_json(value: dict[str, Any]) -> "Split":
        """The inverse of `dataclasses.asdict`."""
        return Split(value["name"], value["protocol"], *(tuple(value[part]) for part in PARTS))


def make_splits(utterances: Sequence[Utterance], config: SplitConfig) -> list[Split]:
    """The splits that the config asks for, checked: one, or all folds. Raises SplitError."""
    if config.protocol == "seed":
        splits = [_random_split(utterances, config)]
    elif config.protocol == "corpus":
        splits = _corpus_splits(utterances, config)
    else:
        folds = range(config.folds) if config.fold == "all" else [config.fold]
        splits = [_speaker_split(utterances, config, fold) for fold in folds]
    for split in splits:
        check_split(split, utterances)
    return splits


def check_split(split: Split, utterances: Sequence[Utterance]) -> None:
    """Raise SplitError naming the clip when a recording's content, or but for `seed` its speaker, is on two sides."""
    by_identifier = {utterance.identifier: utterance for utterance in utterances}
    side_of: dict[str, str] = {}
    for part in PARTS:
        members = [by_identifier[identifier] for identifier in getattr(split, part)]
        if not members:
            raise SplitError(f"{split.name}: the {part} part is empty; use fewer folds or more speakers")
        for utterance in members:
            marks = [utterance.sha256] + ([utterance.speaker] if split.protocol != "seed" else [])
            for mark in marks:
                if side_of.setdefault(mark, part) != part:
                    raise SplitError(
                        f"{split.name}: {utterance.identifier} (speaker {utterance.speaker}) is in {part}, "
                        f"but its speaker or content is in {side_of[mark]} too"
                    )


def check_fitted(what: str, clips: Sequence[str], split: Split) -> None:
    """Raise SplitError naming the clip when something was fitted on a clip that the split does not train on."""
    foreign = sorted(set(clips) - set(split.training))
    if foreign:
        raise SplitError(f"{what} descend from {foreign[0]}, which {split.name} does not train on")


def check_synthetic(provenance: dict[str, Any], split: Split) -> None:
    """Raise SplitError unless the synthetic clips descend from this split's training clips alone."""
    check_fitted(f"synthetic clips of {provenance['split']}", provenance["training_clips"], split)
    if provenance["split"] != split.name:
        raise SplitError(f"synthetic clips of {provenance['split']} were offered to {split.name}")


def _speaker_split(utterances: Sequence[Utterance], config: SplitConfig, fold: int) -> Split:
    """Hold out the fold's speakers, and from the others a development share of each corpus."""
    groups = _speaker_groups(utterances)
    test = set(_deal(groups, config.folds, config.seed)[fold])
    development = _development_groups(groups, test, config, fold)
    return _split(f"fold {fold}", "speaker", utterances, partial(_side_of, groups, development, test))


def _corpus_splits(utterances: Sequence[Utterance], config: SplitConfig) -> list[Split]:
    """Hold out one corpus after the other, or the one that the config names. Raises SplitError."""
    corpora = sorted({utterance.corpus for utterance in utterances})
    if len(corpora) < 2:
        raise SplitError(f"protocol corpus needs at least two corpora; this run has {', '.join(corpora)}")
    if config.fold != "all" and config.fold >= len(corpora):
        raise SplitError(f"split.fold={config.fold}: protocol corpus has folds 0 to {len(corpora) - 1}, or all")
    groups, splits = _speaker_groups(utterances), []
    for fold in range(len(corpora)) if config.fold == "all" else [config.fold]:
        test = {groups[u.speaker].name for u in utterances if u.corpus == corpora[fold]}
        development = _development_groups(groups, test, config, fold)
        side = partial(_side_of, groups, development, test)
        splits.append(_split(f"without {corpora[fold]}", "corpus", utterances, side))
    return splits


def _development_groups(groups: dict[str, "SpeakerGroup"], test: set[str], config: SplitConfig, fold: int) -> set[str]:
    """From the speakers of each corpus that are not tested a share that chooses the epoch."""
    development: set[str] = set()
    for corpus in sorted({group.corpus for group in groups.values()}):
        names = sorted({group.name for group in groups.values() if group.corpus == corpus} - test)
        if len(names) > 1:
            wanted = max(1, round(config.development_fraction * len(names)))
            shuffled = _alternate_sexes(names, groups, generator(config.seed, fold, len(names)))
            development |= set(shuffled[:wanted])
    return development


@dataclass(frozen=True)
class SpeakerGroup:
    """Speakers that must stay together because they share a recording; nearly always one."""

    name: str
    corpus: str
    sex: str


def _speaker_groups(utterances: Sequence[Utterance]) -> dict[str, SpeakerGroup]:
    """The group of each speaker. Keys are speakers; a group has the name of its first one."""
    leader = {utterance.speaker: utterance.speaker for utterance in utterances}
    first_with: dict[str, str] = {}
    for utterance in utterances:
        other = first_with.setdefault(utterance.sha256, utterance.speaker)
        ours, theirs = leader[utterance.speaker], leader[other]
        if ours != theirs:
            leader = {speaker: theirs if name == ours else name for speaker, name in leader.items()}
    details = {utterance.speaker: utterance for utterance in utterances}
    return {speaker: SpeakerGroup(name, details[name].corpus, details[name].sex) for speaker, name in leader.items()}


def _deal(groups: dict[str, SpeakerGroup], folds: int, seed: int) -> list[list[str]]:
    """Deal each corpus' shuffled speakers round the folds, sex by sex, so that both are spread evenly."""
    hands: list[list[str]] = [[] for _ in range(folds)]
    unique = sorted(set(groups.values()), key=lambda group: group.name)
    for corpus in sorted({group.corpus for group in unique}):
        members = [group for group in unique if group.corpus == corpus]
        order = generator(seed).permutation(len(members))
        shuffled = sorted((members[place] for place in order), key=lambda group: group.sex)
        for place, group in enumerate(shuffled):
            hands[place % folds].append(group.name)
    return hands


def _alternate_sexes(names: Sequence[str], groups: dict[str, SpeakerGroup], rng: np.random.Generator) -> list[str]:
    """Shuffled names of groups, the sexes taking turns."""
    shuffled = [names[place] for place in rng.permutation(len(names))]
    queues: dict[str, list[str]] = {}
    for name in shuffled:
        queues.setdefault(groups[name].sex, []).append(name)
    turns = {name: turn for queue in queues.values() for turn, name in enumerate(queue)}
    return sorted(shuffled, key=lambda name: turns[name])


def _side_of(groups: dict[str, SpeakerGroup], development: set[str], test: set[str], utterance: Utterance) -> str:
    """Which part an utterance belongs to by its speaker."""
    return _side(groups[utterance.speaker].name, development, test)


def _side(leader: str, development: set[str], test: set[str]) -> str:
    """Which part a speaker group belongs to."""
    return "test" if leader in test else "development" if leader in development else "training"


def _random_split(utterances: Sequence[Utterance], config: SplitConfig) -> Split:
    """Protocol `seed`: stratified over emotions, recordings of the same content together. Speaker-dependent."""
    contents = {utterance.sha256: utterance.emotion for utterance in utterances}
    try:
        rest, test = _stratified(list(contents), contents, config.test_fraction, config.seed)
        _, development = _stratified(rest, contents, config.development_fraction, config.seed)
    except ValueError as error:
        raise SplitError(f"protocol seed: {len(contents)} clips cannot be split ({error})") from error
    development_set, test_set = set(development), set(test)
    name = f"seed {config.seed} (speaker-dependent, for comparison)"
    return _split(name, "seed", utterances, lambda u: _side(u.sha256, development_set, test_set))


def _stratified(keys: list[str], emotions: dict[str, str], fraction: float, seed: int) -> tuple[list[str], list[str]]:
    """Split keys so that every emotion keeps its share."""
    first, second = train_test_split(
        keys, test_size=fraction, random_state=seed, stratify=[emotions[key] for key in keys]
    )
    return first, second


def _split(name: str, protocol: str, utterances: Iterable[Utterance], side: Any) -> Split:
    """Collect the identifiers of each side."""
    parts: dict[str, list[str]] = {part: [] for part in PARTS}
    for utterance in utterances:
        parts[side(utterance)].append(utterance.identifier)
    return Split(name, protocol, *(tuple(parts[part]) for part in PARTS))

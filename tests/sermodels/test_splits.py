"""Folds and splits: who is on which side."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, reject, settings
from hypothesis import strategies as st

from sermodels.config import CorpusConfig, SplitConfig
from sermodels.corpora import load_corpus
from sermodels.corpora.utterance import Utterance
from sermodels.emotions import COMMON_EMOTIONS
from sermodels.errors import SplitError
from sermodels.splits import PARTS, Split, make_splits
from tests.sermodels.speakers import MADE, Utterances, all_folds, clip, speakers_of


@pytest.fixture(scope="module")
def real(real_corpora_dir: Path) -> Utterances:
    return load_corpus(CorpusConfig(data_dir=str(real_corpora_dir))).utterances


@pytest.fixture(params=["made", "real"])
def utterances(request: pytest.FixtureRequest) -> Utterances:
    return MADE if request.param == "made" else request.getfixturevalue("real")


def assert_whole_and_disjoint(split: Split, utterances: Sequence[Utterance]) -> None:
    """Each clip is in one part, and no content in two."""
    members = [identifier for part in PARTS for identifier in getattr(split, part)]
    assert sorted(members) == sorted(u.identifier for u in utterances)
    contents = [{u.sha256 for u in utterances if u.identifier in set(getattr(split, part))} for part in PARTS]
    assert not contents[0] & contents[1]
    assert not contents[0] & contents[2]
    assert not contents[1] & contents[2]


def test_six_folds_test_every_speaker_once(utterances: Utterances) -> None:
    folds = all_folds(utterances)
    assert [fold.name for fold in folds] == [f"fold {number}" for number in range(6)]
    assert {fold.protocol for fold in folds} == {"speaker"}
    tested = Counter(speaker for fold in folds for speaker in speakers_of(fold, "test", utterances))
    assert set(tested) == {u.speaker for u in utterances}
    assert set(tested.values()) == {1}
    clips = Counter(identifier for fold in folds for identifier in fold.test)
    assert clips == Counter(u.identifier for u in utterances)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_parts_of_a_fold_share_neither_speaker_nor_content(utterances: Utterances, seed: int) -> None:
    for fold in all_folds(utterances, seed=seed):
        assert_whole_and_disjoint(fold, utterances)
        sides = [speakers_of(fold, part, utterances) for part in PARTS]
        assert sum(len(side) for side in sides) == len(set.union(*sides)) == 34


@pytest.mark.parametrize("seed", [0, 1, 2, 3])
def test_each_fold_holds_out_two_women_and_two_men_and_one_or_two_of_emodb(utterances: Utterances, seed: int) -> None:
    sex = {u.speaker: u.sex for u in utterances}
    for fold in all_folds(utterances, seed=seed):
        actors = speakers_of(fold, "test", utterances, "ravdess")
        assert Counter(sex[actor] for actor in actors) == {"f": 2, "m": 2}
        german = speakers_of(fold, "test", utterances, "emodb")
        assert len(german) in (1, 2)
        assert len({sex[speaker] for speaker in german}) == len(german)
        assert len(speakers_of(fold, "development", utterances, "ravdess")) == 3
        assert len(speakers_of(fold, "development", utterances, "emodb")) == 1


def test_the_development_actors_are_of_both_sexes(utterances: Utterances) -> None:
    sex = {u.speaker: u.sex for u in utterances}
    for fold in all_folds(utterances):
        assert {sex[speaker] for speaker in speakers_of(fold, "development", utterances, "ravdess")} == {"f", "m"}


def test_one_fold_is_the_same_as_among_all(utterances: Utterances) -> None:
    for number, fold in enumerate(all_folds(utterances)):
        assert make_splits(utterances, SplitConfig(fold=number)) == [fold]


def test_folds_depend_on_the_seed_alone(utterances: Utterances) -> None:
    first = all_folds(utterances, seed=5)
    assert all_folds(utterances, seed=5) == first
    tested = [[speakers_of(fold, "test", utterances) for fold in all_folds(utterances, seed=seed)] for seed in (5, 6)]
    assert tested[0] != tested[1]
    places = np.random.default_rng(0).permutation(len(utterances))
    for fold, shuffled in zip(first, all_folds([utterances[place] for place in places], seed=5), strict=True):
        for part in PARTS:
            assert set(getattr(fold, part)) == set(getattr(shuffled, part))


@pytest.mark.parametrize("folds", [2, 3, 10])
def test_other_numbers_of_folds(utterances: Utterances, folds: int) -> None:
    splits = all_folds(utterances, folds=folds)
    assert len(splits) == folds
    assert {speaker for split in splits for speaker in speakers_of(split, "test", utterances)} == {
        u.speaker for u in utterances
    }


@pytest.mark.parametrize("fraction", [0.05, 0.3, 0.45])
def test_the_development_share_is_the_configs(fraction: float) -> None:
    for fold in all_folds(MADE, development_fraction=fraction):
        development = speakers_of(fold, "development", MADE, "ravdess")
        assert len(development) == max(1, round(fraction * 20))


@pytest.mark.parametrize("seed", range(20))
def test_one_recording_under_two_names_is_on_one_side_of_a_random_split(utterances: Utterances, seed: int) -> None:
    split = make_splits(utterances, SplitConfig(protocol="seed", seed=seed))[0]
    assert_whole_and_disjoint(split, utterances)
    names: dict[str, list[str]] = {}
    for utterance in utterances:
        names.setdefault(utterance.sha256, []).append(utterance.identifier)
    twins = [identifiers for identifiers in names.values() if len(identifiers) > 1]
    assert len(twins) == 1
    assert sum(any(twin in getattr(split, part) for twin in twins[0]) for part in PARTS) == 1


def test_a_random_split_is_stratified_and_has_its_shares(utterances: Utterances) -> None:
    config = SplitConfig(protocol="seed")
    split = make_splits(utterances, config)[0]
    assert split.name == "seed 0 (speaker-dependent, for comparison)"
    emotion = {u.identifier: u.emotion for u in utterances}
    total = Counter(emotion.values())
    rest = (1 - config.test_fraction) * config.development_fraction
    for part, share in (("test", config.test_fraction), ("development", rest)):
        found = Counter(emotion[identifier] for identifier in getattr(split, part))
        assert len(getattr(split, part)) == pytest.approx(share * len(utterances), abs=3)
        for name, count in total.items():
            assert found[name] == pytest.approx(share * count, abs=2.5), (part, name)


def test_a_random_split_depends_on_its_seed_alone(utterances: Utterances) -> None:
    splits = [make_splits(utterances, SplitConfig(protocol="seed", seed=seed))[0] for seed in (1, 1, 2)]
    assert splits[0] == splits[1]
    assert splits[0].digest() == splits[1].digest()
    assert set(splits[0].test) != set(splits[2].test)


def test_speakers_that_share_a_recording_stay_together() -> None:
    """A chain of three, one of them of the other corpus."""
    shared = {"ravdess/01-fear-0": "x", "ravdess/02-fear-0": "x", "ravdess/02-fear-1": "y", "emodb/03-fear-0": "y"}
    linked = [replace(u, sha256=shared.get(u.identifier, u.sha256)) for u in MADE]
    chain = {"ravdess/01", "ravdess/02", "emodb/03"}
    for seed in range(5):
        for fold in all_folds(linked, seed=seed):
            assert_whole_and_disjoint(fold, linked)
            assert sum(bool(chain & speakers_of(fold, part, linked)) for part in PARTS) == 1


def test_groups_count_once_when_development_speakers_are_chosen() -> None:
    """Nine speakers share one recording: they are one group, and it does not swell the development set."""
    clips = [clip("own", f"{n:02}", "", "anger", take) for n in range(13) for take in (0, 1)]
    clips = [replace(u, sha256="shared") if u.speaker < "own/09" and u.identifier.endswith("-1") else u for u in clips]
    for seed in range(10):
        for fold in all_folds(clips, folds=2, seed=seed):
            assert_whole_and_disjoint(fold, clips)
            assert len(speakers_of(fold, "development", clips)) in (1, 9)


@pytest.mark.parametrize(
    ("speakers", "folds", "part"), [(1, 2, "training"), (3, 6, "test"), (2, 2, "development"), (5, 6, "test")]
)
def test_too_few_speakers_are_an_error(speakers: int, folds: int, part: str) -> None:
    clips = [clip("own", f"{number}", "f", emotion) for number in range(speakers) for emotion in COMMON_EMOTIONS]
    with pytest.raises(SplitError, match=f"the {part} part is empty; use fewer folds or more speakers"):
        all_folds(clips, folds=folds)


@pytest.mark.parametrize("clips", [[], [clip("own", "1", "f", "anger")], [clip("own", "1", "f", e) for e in "abcdef"]])
def test_too_few_clips_for_a_random_split_are_an_error(clips: list[Utterance]) -> None:
    with pytest.raises(SplitError, match=f"protocol seed: {len(clips)} clips cannot be split"):
        make_splits(clips, SplitConfig(protocol="seed"))


@st.composite
def speaker_tables(draw: st.DrawFn) -> tuple[Utterances, int]:
    """One to three corpora with speakers of any sex, and folds that they suffice for."""
    folds = draw(st.integers(2, 6))
    clips: list[Utterance] = []
    for corpus in "xyz"[: draw(st.integers(1, 3))]:
        sexes = draw(st.lists(st.sampled_from(["f", "m", ""]), min_size=max(4, folds), max_size=15))
        for number, sex in enumerate(sexes):
            takes = range(draw(st.integers(1, 3)))
            clips += [clip(corpus, f"{number:02}", sex, "anger", take) for take in takes]
    return tuple(clips), folds


@settings(deadline=None, max_examples=60)
@given(speaker_tables(), st.integers(0, 1_000))
def test_any_table_of_speakers_is_split_evenly(table: tuple[Utterances, int], seed: int) -> None:
    clips, folds = table
    splits = all_folds(clips, folds=folds, seed=seed)
    tested = Counter(speaker for split in splits for speaker in speakers_of(split, "test", clips))
    assert tested == Counter({u.speaker for u in clips})
    for split in splits:
        assert_whole_and_disjoint(split, clips)
    for corpus in {u.corpus for u in clips}:
        for sex in ("f", "m", ""):
            own = {u.speaker for u in clips if u.corpus == corpus and u.sex == sex}
            sizes = [len(own & speakers_of(split, "test", clips)) for split in splits]
            assert max(sizes) - min(sizes) <= 1


@settings(deadline=None, max_examples=60)
@given(speaker_tables(), st.integers(0, 1_000), st.data())
def test_shared_recordings_never_leak(table: tuple[Utterances, int], seed: int, data: st.DataObject) -> None:
    sharing, folds = list(table[0]), table[1]
    places = st.integers(0, len(sharing) - 1)
    for first, second in data.draw(st.lists(st.tuples(places, places), min_size=1, max_size=4)):
        sharing[second] = replace(sharing[second], sha256=sharing[first].sha256)
    try:
        splits = all_folds(sharing, folds=folds, seed=seed)
    except SplitError:
        reject()  # too few groups are left
    for split in splits:
        assert_whole_and_disjoint(split, sharing)
        sides = [speakers_of(split, part, sharing) for part in PARTS]
        assert sum(len(side) for side in sides) == len(set.union(*sides))

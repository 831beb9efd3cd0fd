"""Leaks planted in a split, and synthetic clips offered to the wrong one: refused by name."""

from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

import pytest

from sermodels.errors import SplitError
from sermodels.splits import PARTS, Split, check_split, check_synthetic
from tests.sermodels.speakers import MADE, all_folds, clip


def planted(**changes: tuple[str, ...]) -> Split:
    """Three speakers' clips, one each side."""
    parts = {"training": ("a/1-fear-0",), "development": ("a/2-fear-0",), "test": ("a/3-fear-0",)} | changes
    return Split("fold 9", "speaker", **parts)


THREE = [clip("a", str(number), "f", "fear", take) for number in (1, 2, 3) for take in (0, 1)]


def test_a_clean_split_passes() -> None:
    check_split(planted(), THREE)


def test_a_planted_speaker_leak_is_named() -> None:
    leaking = planted(test=("a/3-fear-0", "a/1-fear-1"))
    with pytest.raises(SplitError, match=r"fold 9: a/1-fear-1 \(speaker a/1\) is in test, but its .* is in training"):
        check_split(leaking, THREE)
    check_split(replace(leaking, protocol="seed"), THREE)


@pytest.mark.parametrize("protocol", ["speaker", "seed"])
def test_a_planted_content_leak_is_named(protocol: str) -> None:
    leaking = [replace(u, sha256="same") if u.identifier in ("a/1-fear-0", "a/2-fear-0") else u for u in THREE]
    with pytest.raises(SplitError, match=r"a/2-fear-0 \(speaker a/2\) is in development, but .* is in training too"):
        check_split(replace(planted(), protocol=protocol), leaking)


@pytest.mark.parametrize("part", PARTS)
def test_an_empty_part_is_named(part: str) -> None:
    with pytest.raises(SplitError, match=f"fold 9: the {part} part is empty"):
        check_split(planted(**{part: ()}), THREE)


def provenance(fold: Split, clips: Sequence[str] | None = None) -> dict[str, Any]:
    return {"split": fold.name, "training_clips": list(fold.training if clips is None else clips)}


def test_synthetic_clips_are_taken_where_they_descend_from() -> None:
    fold = all_folds(MADE)[2]
    check_synthetic(provenance(fold), fold)
    check_synthetic(provenance(fold, fold.training[:5]), fold)


def test_a_foreign_folds_synthetic_clips_are_refused_by_name() -> None:
    folds = all_folds(MADE)
    for made, used in ((0, 1), (4, 2)):
        foreign = sorted(set(folds[made].training) - set(folds[used].training))
        with pytest.raises(SplitError) as raised:
            check_synthetic(provenance(folds[made]), folds[used])
        assert str(raised.value) == (
            f"synthetic clips of fold {made} descend from {foreign[0]}, which fold {used} does not train on"
        )


@pytest.mark.parametrize("part", ["development", "test"])
def test_descent_from_held_out_clips_is_refused(part: str) -> None:
    fold = all_folds(MADE)[0]
    held_out = getattr(fold, part)[0]
    with pytest.raises(SplitError, match=f"descend from {held_out}"):
        check_synthetic(provenance(fold, [*fold.training, held_out]), fold)


def test_another_splits_name_is_refused_even_with_the_same_clips() -> None:
    fold = all_folds(MADE)[0]
    with pytest.raises(SplitError, match="synthetic clips of fold 3 were offered to fold 0"):
        check_synthetic({**provenance(fold), "split": "fold 3"}, fold)


def test_a_split_survives_json() -> None:
    fold = all_folds(MADE)[0]
    assert Split.from_json(asdict(fold)) == fold
    assert Split.from_json(asdict(fold)).digest() == fold.digest()
    assert replace(fold, test=fold.test[1:]).digest() != fold.digest()

"""The results page: a section for each protocol and set of corpora, so that no figure stands beside foreign ones."""

from pathlib import Path

import numpy as np
import pytest

from flows.finished import FinishedRun
from flows.results import row_of
from flows.results_groups import Cell, Group
from flows.results_page import write_results
from flows.results_words import title_of
from sermodels.predictions import Predictions

LABELS = ("anger", "sadness")
TAGS = {"seed": "0", "backbone": "resnet18", "weights": "none", "recipe": "r", "common_recipe": "c"}
METRICS = {"gap": 0.0, "optimizer_steps": 1.0}


def cell(corpora: tuple[str, ...], split: str, speakers: tuple[str, ...]) -> Cell:
    """A classifier's answers: two clips of each speaker, of corpora in turn, all of them heard right."""
    clips = [(corpora[place % len(corpora)], speaker) for place, speaker in enumerate(speakers) for _ in LABELS]
    truth = np.tile(np.arange(len(LABELS)), len(speakers))
    part = Predictions(
        labels=LABELS,
        identifiers=tuple(f"{speaker}/{place}" for place, (_, speaker) in enumerate(clips)),
        groups={
            "corpus": tuple(corpus for corpus, _ in clips),
            "speaker": tuple(speaker for _, speaker in clips),
            "sex": ("f",) * len(clips),
        },
        truth=truth,
        probabilities=np.eye(len(LABELS))[truth] * 0.6 + 0.2,
    )
    return Cell(FinishedRun(split, 0, TAGS | {"split": split}, {}, METRICS), part, part)


@pytest.fixture
def page(tmp_path: Path) -> str:
    both = Group("speaker", "a, b", "B", (cell(("a", "b"), "fold 0", ("1", "2")), cell(("a",), "fold 1", ("3", "4"))))
    alone = Group("speaker", "a", "B", tuple(cell(("a",), f"fold {place}", (f"{place}",)) for place in range(3)))
    groups = [alone, both]
    rows = [row_of(group) for group in groups]
    tests = {title_of(row): group.test for row, group in zip(rows, groups, strict=True)}
    write_results(tmp_path, rows, [], tests, command="python")
    assert {path.name for path in (tmp_path / "results").glob("speaker*.png")} == {"speaker-a.png", "speaker-a-b.png"}
    return (tmp_path / "results.md").read_text()


def test_corpora_have_sections_of_their_own_with_most_speakers_first(page: str) -> None:
    _, _, _, both, alone, *_ = page.split("## ")
    assert both.startswith("Unseen speakers (protocol `speaker`): a, b\n")
    assert alone.startswith("Unseen speakers (protocol `speaker`): a\n")
    assert "| a, b | B augmentation |" in both
    assert "| a | B augmentation |" not in both


def test_a_section_says_which_stages_were_augmented_alike(tmp_path: Path) -> None:
    row = row_of(Group("speaker", "a", "B", tuple(cell(("a",), f"fold {place}", (f"{place}",)) for place in range(3))))
    ways = {"A": "", "B": "warped", "C": "plain", "D": "plain", "R": "warped"}
    rows = [{**row, "stage": letter, "augmented_as": way} for letter, way in ways.items()]
    tests = {title_of(each): cell(("a",), "fold 0", ("1",)).test for each in rows}
    write_results(tmp_path, rows, [], tests, command="python")
    assert (
        "Not all were augmented alike, and only those that were are compared: B, R; C, D."
        in (tmp_path / "results.md").read_text()
    )
    write_results(tmp_path, rows[1:2], [], tests, command="python")
    assert "augmented alike" not in (tmp_path / "results.md").read_text()


def test_where_each_speaker_is_left_out_once_the_page_says_so(page: str) -> None:
    _, _, _, both, alone, *_ = page.split("## ")
    assert "Each speaker is left out once" in alone
    assert "left out" not in both


def test_it_begins_with_the_highest_row_of_each_section_and_with_what_synthesis_was_worth(tmp_path: Path) -> None:
    row = row_of(Group("speaker", "a", "B", tuple(cell(("a",), f"fold {place}", (f"{place}",)) for place in range(3))))
    best = {"uar": 0.9, "uar_low": 0.8, "uar_high": 0.95}
    single = {"uar": 0.7, "uar_low": 0.6, "uar_high": 0.75}
    rows = [
        {**row, **single, "stage": "A"},
        {**row, **best, "members": 3},
        {**row, **single, "stage": "C", "uar": 0.65},
    ]
    pair = {"protocol": "speaker", "corpora": "a", "stages": "C - D", "folds": ["fold 0"], "seeds": [0]}
    tested = {"permutation_p": 0.5, "permutation_p_holm": 1.0, "mcnemar_p": 0.5, "mcnemar_p_holm": 1.0}
    comparison = {**pair, "uar_difference": -0.01, "low": -0.03, "high": 0.02, **tested}
    tests = {title_of(each): cell(("a",), "fold 0", ("1",)).test for each in rows}
    write_results(tmp_path, rows, [comparison], tests, command="python")
    _, short, *_ = (tmp_path / "results.md").read_text().split("## ")
    heading = "Unseen speakers (protocol `speaker`)"
    whole = "1.000 (1.000–1.000)"
    assert f"| {heading} | B augmentation, mean of 3 seeds | 0.900 (0.800–0.950) | {whole} |" in short
    assert f"|  | A | C |\n| --- | --- | --- |\n| {heading} | 0.700, 1.000 | 0.650, 1.000 |" in short
    assert "(C - D, protocol `speaker`) changed UAR by -0.010 (-0.030–0.020), p 0.5000 (1.0000)" in short
    write_results(tmp_path, rows, [], tests, command="python")
    assert "C - D" not in (tmp_path / "results.md").read_text()


def test_it_says_what_ran_and_what_did_not(tmp_path: Path) -> None:
    row = row_of(Group("speaker", "a", "B", tuple(cell(("a",), f"fold {place}", (f"{place}",)) for place in range(3))))
    rows = [
        {**row, "stage": "A", "seeds": [0, 1]},
        row,
        {**row, "recipe_number": 2, "seeds": [0, 1, 2]},
        {**row, "members": 3},
        {**row, "protocol": "seed", "stage": "C", "folds": ["seed 0", "seed 1"], "runs": ["0", "1"]},
    ]
    tests = {title_of(each): cell(("a",), "fold 0", ("1",)).test for each in rows}
    write_results(tmp_path, rows, [], tests, command="python")
    _, ran = (tmp_path / "results.md").read_text().split("## What ran, and what did not\n")
    lines = ran.split("##")[0].strip().splitlines()
    assert lines[2].startswith("| Unseen speakers (protocol `speaker`) | 3 × 2 | 3 × 1; 3 × 3 (recipe 2) | not run |")
    assert lines[3].endswith("(protocol `seed`) | not run | not run | 2 | not run | not run | not run |")
    assert lines[-1] == "Classifiers: resnet18. Not run: resnet34, resnet50."

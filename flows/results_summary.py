"""The beginning of the results page: the highest figures, what synthetic clips were worth, and what ran at all."""

from collections.abc import Mapping, Sequence
from typing import get_args

from flows.results_pairs import gain_in_words, p_in_words
from flows.results_words import KNOWN, MEANINGS, Row, recipe_name, stage_of, table_of
from sermodels.config import ClassifierConfig
from sermodels.plan import LETTERS
from sermodels.statistics import bounded

ALONE = """One classifier of each stage, UAR and WA of all folds and seeds that ran. Each stage is there with its best
recipe, so two of them may have been trained differently; the paired tests further down compare like with like.
"""
CAUTION = """The highest of several rows flatters a little. How each was found, on whose recordings, and what failed,
is in [experiments.md](experiments.md); the command behind each row is [below](#commands)."""


def summary(sections: Mapping[str, Sequence[Row]], comparisons: Sequence[Row]) -> str:
    """The section "In short" of rows by the headings that they stand under: the highest, and those of each stage."""
    highest = {name: max(rows, key=_uar) for name, rows in sections.items()}
    figures = [(name, stage_of(row), bounded(row, "uar"), bounded(row, "wa")) for name, row in highest.items()]
    stages = {name: _by_stage(rows) for name, rows in sections.items()}
    letters = sorted({letter for found in stages.values() for letter in found})
    alone = [(name, *(found.get(letter, "") for letter in letters)) for name, found in stages.items()]
    return "\n".join([
        "## In short\n",
        table_of(("", "highest", "UAR", "WA"), figures),
        ALONE,
        table_of(("", *letters), alone),
        CAUTION,
        *map(_worth, _synthesis(comparisons)),
        "",
        MEANINGS,
        "",
        _what_ran(sections),
    ])  # fmt: skip


def _uar(row: Row) -> float:
    """What rows are ordered by."""
    return float(row["uar"])


def _by_stage(rows: Sequence[Row]) -> dict[str, str]:
    """UAR and WA of the best recipe of each stage whose classifiers answer alone."""
    alone = sorted((row for row in rows if row["members"] == 1), key=_uar)  # the last one of a stage is its best
    return {row["stage"]: f"{row['uar']:.3f}, {row['wa']:.3f}" for row in alone}


def _synthesis(comparisons: Sequence[Row]) -> list[Row]:
    """Where synthetic clips are compared with real ones that are repeated as often."""
    pairs = [(row, *row["stages"].split(" - ")) for row in comparisons]
    return [row for row, one, other in pairs if (one[0], other[0]) == ("C", "D")]


def _worth(row: Row) -> str:
    """One sentence: what synthetic clips changed, and how sure that is."""
    return (
        f"\nSynthetic clips in place of repeated ones ({row['stages']}, protocol `{row['protocol']}`) changed UAR by "
        f"{gain_in_words(row)}, p {p_in_words(row, 'permutation_p')} by permutation of speakers (after Holm)."
    )


def _what_ran(sections: Mapping[str, Sequence[Row]]) -> str:
    """How many splits and seeds of each stage ran, and which did not: nothing stands in for them."""
    lines = [
        (name, *(_how_often([row for row in rows if row["stage"] == letter]) for letter in LETTERS))
        for name, rows in sections.items()
        if rows[0]["protocol"] != KNOWN
    ]
    ran = dict.fromkeys(row["backbone"] for rows in sections.values() for row in rows if row["members"] == 1)
    backbones = get_args(ClassifierConfig.model_fields["backbone"].annotation)
    missing = [name for name in backbones if name not in ran]
    return "\n".join([
        "## What ran, and what did not\n",
        table_of(("splits and seeds", *LETTERS), lines),
        f"Classifiers: {', '.join(ran)}." + (f" Not run: {', '.join(missing)}." if missing else ""),
        "",
    ])  # fmt: skip


def _how_often(rows: Sequence[Row]) -> str:
    """Splits and seeds of one stage, each recipe by itself."""
    alone = [row for row in rows if row["members"] == 1]
    return "; ".join(_runs(row) + recipe_name(row["recipe_number"]) for row in alone) or "not run"


def _runs(row: Row) -> str:
    """A random split is drawn anew with each seed; else each seed trains on all splits."""
    if row["protocol"] == "seed":
        return f"{len(row['runs'])}"
    return f"{len(row['folds'])} × {len(row['seeds'])}"

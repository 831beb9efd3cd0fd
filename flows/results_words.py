"""The results in words: what protocols and rows are called, what stages do, and tables in Markdown."""

from collections.abc import Mapping, Sequence
from typing import Any

Row = Mapping[str, Any]
KNOWN = "speaker-known"
PROTOCOLS = {
    "speaker": "Unseen speakers (protocol `speaker`)",
    KNOWN: "Unseen speakers, other recordings of whom are known without labels (protocol `speaker`)",
    "corpus": "A corpus that was not trained on (protocol `corpus`)",
    "seed": "Speaker-dependent, for comparison with published numbers (protocol `seed`)",
}
STAGES = {
    "A": "A baseline",
    "B": "B augmentation",
    "C": "C real + synthetic",
    "D": "D oversampling",
    "R": "R = B, refitted",
    "F": "F functionals, no network",
    "R+F": "R and F",
}
MEANINGS = """The stages: **A** is trained on real clips as they are, **B** on augmented ones, **C** on these and
synthetic clips, **D** as C with real clips repeated in place of synthetic ones, **R** as B on the development speakers
too; **F** has no network, but logistic regression on functionals of the recording. A mean of several classifiers is
that of their probabilities. *Gap* is the accuracy on training clips less that on development clips."""


def title_of(row: Row) -> str:
    """What tells a row from the others."""
    return f"{row['protocol']} {row['corpora']} {letter_of(row)}"


def letter_of(row: Row) -> str:
    """The stage's letter, how many classifiers an ensemble is the mean of, and which recipe it is if not the first."""
    several = f"x{row['members']}" if row["members"] > 1 else ""
    recipes = f" of {row['recipes']} recipes" if row["recipes"] > 1 else ""
    return str(row["stage"]) + several + recipes + recipe_name(row["recipe_number"])


def stage_of(row: Row) -> str:
    """The stage's name, with the same said as by its letter."""
    several = f", mean of {row['members']} seeds" if row["members"] > 1 else ""
    if row["recipes"] > 1:
        several = f", mean of {row['recipes']} recipes, {row['members']} classifiers"
    return STAGES[row["stage"]] + several + recipe_name(row["recipe_number"])


def recipe_name(number: int) -> str:
    """What a stage's name says of its recipe, if that is not the row's first."""
    return f" (recipe {number})" if number > 1 else ""


def table_of(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines) + "\n"

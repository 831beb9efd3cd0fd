"""The beginning of the results page: the highest figures of each section, and what synthetic clips were worth."""

from collections.abc import Mapping, Sequence

from flows.results_pairs import gain_in_words, p_in_words
from flows.results_words import MEANINGS, Row, stage_of, table_of
from sermodels.statistics import bounded

CAUTION = """The highest of several rows flatters a little. How each was found, on whose recordings, and what failed,
is in [experiments.md](experiments.md)."""


def summary(sections: Mapping[str, Sequence[Row]], comparisons: Sequence[Row]) -> str:
    """The section "In short": the rows by the headings that they stand under, the highest of each first."""
    head = ("", "highest", "UAR", "WA", "highest of one classifier", "UAR", "WA")
    table = table_of(head, [(name, *_highest(rows), *_highest(_single(rows))) for name, rows in sections.items()])
    return "\n".join(["## In short\n", table, CAUTION, *map(_worth, _synthesis(comparisons)), "", MEANINGS, ""])


def _highest(rows: Sequence[Row]) -> tuple[str, ...]:
    """The row with the highest UAR, and its figures."""
    row = max(rows, key=lambda each: each["uar"])
    return stage_of(row), str(bounded(row, "uar")), str(bounded(row, "wa"))


def _single(rows: Sequence[Row]) -> list[Row]:
    """The rows of classifiers that answer alone."""
    return [row for row in rows if row["members"] == 1]


def _synthesis(comparisons: Sequence[Row]) -> list[Row]:
    """Where synthetic clips are compared with real ones that are repeated as often."""
    return [row for row in comparisons if row["stages"] == "C - D"]


def _worth(row: Row) -> str:
    """One sentence: what synthetic clips changed, and how sure that is."""
    return (
        f"\nSynthetic clips in place of repeated ones (C - D, protocol `{row['protocol']}`) changed UAR by "
        f"{gain_in_words(row)}, p {p_in_words(row, 'permutation_p')} by permutation of speakers (after Holm)."
    )

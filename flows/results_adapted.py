"""The part of the results page about whole collections: what the other recordings of a corpus tell, without labels."""

from collections.abc import Sequence
from dataclasses import astuple
from pathlib import Path
from typing import Any

import numpy as np

from flows.results_page import headline_of
from flows.results_pairs import adjust, gain_in_words, gain_of, p_in_words
from flows.results_words import Row, letter_of, stage_of, table_of
from sermodels.plots import interval_picture, save_figure
from sermodels.predictions import Predictions, adapted, joined
from sermodels.statistics import bounded, with_bounds

PROTOCOLS = ("speaker", "corpus")
WAYS: dict[str, tuple[str, dict[str, Any]]] = {
    "corpus": ("its corpus known", {"to": "corpus"}),
    "neutral": ("… by neutral clips alone", {"to": "corpus", "emotion": "neutral"}),
    "speaker": ("its speaker known", {"to": "speaker"}),
}
"""What is known of a clip besides itself: a heading, and how `adapted` is told."""
KEPT = ("protocol", "corpora", "stage", "members", "recipes", "recipe_number", "backbone", "recipe", "folds")
PICTURE = "adapted.png"
HEAD = """## What the other recordings of a corpus tell

The same classifiers, none of them trained again. A test clip is adapted to all other test clips of its corpus and
split, without their emotions and without a word on who speaks, as where somebody has a whole collection to hear: their
mean log-probabilities are subtracted (`sermodels/adaptation.py`). That takes statistics from the tested recordings, so
compare these figures with others that do so, and not with those of one clip alone. Both corpora have about as many
clips of each emotion, which helps; the column of neutral clips tells what is left where a collection has no other.
"""


def adapted_rows(heard: Sequence[tuple[Row, Sequence[Predictions]]]) -> list[dict[str, Any]]:
    """One row for each row of the results whose speakers or corpus are strangers, with its test clips by split."""
    rows = [_row(row, cells) for row, cells in heard if row["protocol"] in PROTOCOLS]
    adjust(rows, "permutation_p")
    return rows


def _row(row: Row, cells: Sequence[Predictions]) -> dict[str, Any]:
    """Figures with everything of `WAYS` known, and how far knowing the corpus lies above knowing nothing."""
    alone = joined(cells)
    ways = {
        name: joined([adapted(cell, **how) for cell in cells])
        for name, (_, how) in WAYS.items()
        if how.get("emotion") in (None, *alone.labels)
    }
    return {
        **{name: row[name] for name in KEPT},
        **with_bounds({"uar": bounded(row, "uar")}),
        **{f"{way}_{name}": value for way, found in ways.items() for name, value in headline_of(found).items()},
        **gain_of(ways["corpus"], alone),
    }


def adapted_section(rows: Sequence[Row], pictures: Path) -> str:
    """A table, and a picture of each protocol's best row."""
    best = [
        max(own, key=lambda row: row["corpus_uar"])
        for protocol, corpora in dict.fromkeys((row["protocol"], row["corpora"]) for row in rows)
        for own in [[row for row in rows if (row["protocol"], row["corpora"]) == (protocol, corpora)]]
    ]
    bars = {
        f"{row['protocol']} {row['corpora']}, {letter_of(row)}: {known}": astuple(bounded(row, f"{way}uar"))
        for row in best
        for way, known in [("", "one clip alone"), ("corpus_", WAYS["corpus"][0]), ("speaker_", WAYS["speaker"][0])]
    }
    title = "UAR of the best stages, by what is known"
    save_figure(interval_picture(list(bars), np.array(list(bars.values())), title, "UAR"), pictures / PICTURE)
    head = ("protocol", "corpora", "stage", "UAR of one clip alone", *(known for known, _ in WAYS.values()))
    table = table_of((*head, "corpus known - one clip alone", "permutation p (Holm)"), [
        (row["protocol"], row["corpora"], stage_of(row), bounded(row, "uar"),
         *(bounded(row, f"{way}_uar") if f"{way}_uar" in row else "" for way in WAYS),
         gain_in_words(row), p_in_words(row, "permutation_p"))
        for row in rows
    ])  # fmt: skip
    return "\n".join([HEAD, table, f"![{title}](results/{PICTURE})\n"])

"""The part of the results page about speakers who were heard before: how many other recordings it takes."""

from collections.abc import Sequence
from dataclasses import astuple
from pathlib import Path
from typing import Any, Literal

import numpy as np

from flows.results_page import headline_of
from flows.results_words import Row, table_of
from sermodels.adaptation import PRIOR_RECORDINGS
from sermodels.plots import interval_picture, save_figure
from sermodels.predictions import Predictions, adapted, joined
from sermodels.statistics import bounded

COUNTS = (0, 1, 2, 3, 5, 10, 20)
DRAWS = 5
PICTURE = "known-recordings.png"
HEAD = """## How many recordings of a speaker it takes

{title}, each test clip heard with so many other clips, drawn at random {draws} times: of its speaker, and to compare,
of all test speakers of its corpus. No label of them is used. Their mean log-probabilities are subtracted, as if
{prior:g} more recordings without any habit were known (`sermodels/adaptation.py`). Both corpora have each speaker act
every emotion about equally often, which helps; the row of neutral clips alone tells what is left where that does not
hold.
"""


def known_rows(cells: Sequence[Predictions]) -> list[dict[str, Any]]:
    """Figures of one classifier a split, by how many other clips are known, and if all are neutral."""
    asked: list[tuple[str, dict[str, Any]]] = [(str(count), {"recordings": count}) for count in COUNTS]
    asked.append(("all others", {}))
    if "neutral" in cells[0].labels:
        asked.append(("all others that are neutral", {"emotion": "neutral"}))
    return [_row(known, cells, how) for known, how in asked]


def _row(known: str, cells: Sequence[Predictions], how: dict[str, Any]) -> dict[str, Any]:
    """One row: test clips of all splits, as often as there is anything to draw; `corpus_…` where others' are known."""
    draws = DRAWS if how.get("recordings") else 1

    def heard(to: Literal["speaker", "corpus"]) -> dict[str, float]:
        return headline_of(joined([adapted(cell, to=to, seed=draw, **how) for draw in range(draws) for cell in cells]))

    strangers = {f"corpus_{name}": value for name, value in heard("corpus").items()}
    return {"known": known, "draws": draws, **heard("speaker"), **strangers}


def known_section(rows: Sequence[Row], title: str, pictures: Path) -> str:
    """A table and a picture of the rows; `title` names the classifiers."""
    values = np.array([astuple(bounded(row, "uar")) for row in rows])
    names = [row["known"] for row in rows]
    save_figure(interval_picture(names, values, "UAR by recordings of the speaker known", "UAR"), pictures / PICTURE)
    figures = ("uar", "wa", "corpus_uar")
    lines = [(row["known"], *(bounded(row, name) for name in figures)) for row in rows]
    table = table_of(("other recordings known", "UAR, the speaker's", "WA, the speaker's", "UAR, the corpus's"), lines)
    head = HEAD.format(title=title, draws=DRAWS, prior=PRIOR_RECORDINGS)
    return "\n".join([head, table, f"![UAR by recordings of the speaker known](results/{PICTURE})\n"])

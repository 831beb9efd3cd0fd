"""docs/results.md and docs/results.json: the rows as tables and pictures, with the command behind them."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import astuple
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from flows.results_pairs import gain_in_words, p_in_words
from flows.results_recipes import differing
from flows.results_summary import summary
from flows.results_words import KNOWN, PROTOCOLS, Row, letter_of, stage_of, table_of, title_of
from sermodels.evaluation import confusion
from sermodels.files import write_json, write_text
from sermodels.plots import confusion_picture, interval_picture, save_figure
from sermodels.predictions import Predictions
from sermodels.stages.functionals import LETTER as FUNCTIONALS
from sermodels.statistics import accuracy, bounded, interval, with_bounds

REMARKS = {
    KNOWN: """The same classifiers, none of them trained again. A clip's probabilities are relative to
those of the speaker's other test clips, as where a speaker comes back. Compare these rows with one another, and with
those of others only where they normalise by speaker; for one clip of a stranger the figures above are what to expect.
""",
}
ONE_SPEAKER_A_FOLD = "Each speaker is left out once: a fold has one test speaker.\n"
HEAD = """# Results

Written by `{command}` from the runs in MLflow; nothing here was typed by hand. Every figure is of real recordings.
Intervals are 95 %, by bootstrap over speakers. UAR is the mean recall of the
emotions, WA the share of clips that are right. A row names the folds and seeds that ran; nothing is extrapolated.
"""


def write_results(
    folder: Path,
    rows: Sequence[Row],
    comparisons: Sequence[Row],
    tests: Mapping[str, Predictions],
    *,
    command: str,
    more: Sequence[str] = (),
) -> None:
    """Write `results.md`, `results.json` (`results-known.json` where speakers are known) and their pictures.

    `tests` are test predictions by the row's title, `more` sections that come before the list of runs.
    """
    write_json(folder / "results.json", [row for row in rows if row["protocol"] != KNOWN])
    write_json(folder / "results-known.json", [row for row in rows if row["protocol"] == KNOWN])
    write_json(folder / "results-comparisons.json", list(comparisons))
    pictures = folder / "results"
    sections = _sections(rows)
    by_section = {name: [row for row in rows if _is_of(row, protocol, corpora)] for protocol, corpora, name in sections}
    text = [HEAD.format(command=command), summary(by_section, comparisons)]
    for protocol, corpora, heading in sections:
        own = by_section[heading]
        compared = [row for row in comparisons if _is_of(row, protocol, corpora)]
        overview = f"{protocol}-{_file_name(corpora)}.png"
        save_figure(_overview(own, heading), pictures / overview)
        text += [
            f"## {heading}\n",
            _remark(own),
            _figures_table(own),
            f"\n![UAR of each stage](results/{overview})\n",
        ]
        text += [_groups_table(own), "\n", _calibration_table(own), "\n"]
        text += [_comparison_table(compared), "\n"] if compared else []
        text += [_confusion(row, tests[title_of(row)], pictures) for row in own]
    text += [*more, _provenance(rows)]
    write_text(folder / "results.md", "\n".join(text))


def _sections(rows: Sequence[Row]) -> list[tuple[str, str, str]]:
    """Protocol, corpora and heading of each section: most speakers first where a protocol has several corpora."""
    sections: list[tuple[str, str, str]] = []
    for protocol, heading in PROTOCOLS.items():
        speakers = {row["corpora"]: row["speakers"] for row in rows if row["protocol"] == protocol}
        ordered = sorted(speakers, key=lambda name: -speakers[name])
        sections += [(protocol, name, f"{heading}: {name}" if len(ordered) > 1 else heading) for name in ordered]
    return sections


def _is_of(row: Row, protocol: str, corpora: str) -> bool:
    """Whether a row belongs to a section."""
    return bool(row["protocol"] == protocol and row["corpora"] == corpora)


def _remark(rows: Sequence[Row]) -> str:
    """What must be said before a section's table."""
    alone = all(row["protocol"] in ("speaker", KNOWN) and len(row["folds"]) == row["speakers"] for row in rows)
    return REMARKS.get(rows[0]["protocol"], "") + (ONE_SPEAKER_A_FOLD if alone else "")


def _file_name(words: str) -> str:
    """Words in a picture's name."""
    return "-".join(re.findall(r"[\w.]+", words))


def headline_of(test: Predictions) -> dict[str, float]:
    """UAR and WA of test clips, with the bounds of their intervals."""
    return with_bounds({"uar": interval(test), "wa": interval(test, accuracy)})


def _figures_table(rows: Sequence[Row]) -> str:
    """Headline figures, and below them what the networks started from and which were trained alike."""
    head = ("corpora", "stage", "backbone", "folds", "seeds", "clips", "UAR", "WA", "macro-F1", "gap")
    table = table_of(head, [
        (row["corpora"], stage_of(row), row["backbone"], _folds(row), len(row["seeds"]), row["clips"],
         bounded(row, "uar"), bounded(row, "wa"), f"{row['macro_f1']:.3f}", f"{row['gap']:.3f}")
        for row in rows
    ])  # fmt: skip
    lines = [
        f"Started from, {backbone} ({stages}): {weights}."
        for (backbone, weights), stages in _stages_by(rows, "backbone", "weights").items()
    ]
    single = [row for row in rows if row["recipes"] == 1 and row["stage"] != FUNCTIONALS]  # which has no settings
    alike = _stages_by(single, "common_recipe", "number_format").values()
    if len(alike) > 1:
        lines.append(f"Not all were trained alike, and only those that were are compared: {'; '.join(alike)}.")
    augmented = _stages_by([row for row in single if row["augmented_as"]], "augmented_as").values()
    if len(augmented) > 1:
        lines.append(f"Not all were augmented alike, and only those that were are compared: {'; '.join(augmented)}.")
    trained = [row for row in single if row["members"] == 1]
    if names := differing([row["settings"] for row in trained]):
        lines.append("The settings in which they differ:\n\n" + _settings_table(trained, names))
    return table + "\n" + "\n\n".join(lines) + "\n"


def _settings_table(rows: Sequence[Row], names: Sequence[str]) -> str:
    """These settings of each row; nothing where its stage has no such setting."""
    return table_of(
        ("stage", *names), [(letter_of(row), *(row["settings"].get(name, "") for name in names)) for row in rows]
    )


def _stages_by(rows: Sequence[Row], *names: str) -> dict[tuple[str, ...], str]:
    """The letters of the rows that have the same values of these."""
    letters: dict[tuple[str, ...], list[str]] = {}
    for row in rows:
        letters.setdefault(tuple(row[name] for name in names), []).append(letter_of(row))
    return {values: ", ".join(own) for values, own in letters.items()}


def _groups_table(rows: Sequence[Row]) -> str:
    """Figures of each emotion, corpus and sex."""
    emotions = list(rows[0]["recall"])
    corpora = sorted({name for row in rows for name in row["uar_by_corpus"]})
    sexes = sorted({name for row in rows for name in row["uar_by_sex"]})
    head = ("stage", *(f"recall {name}" for name in emotions), *(f"UAR {name}" for name in [*corpora, *sexes]))
    return table_of(head, [
        (stage_of(row), *(_number(row["recall"].get(name)) for name in emotions),
         *(_number(row["uar_by_corpus"].get(name)) for name in corpora),
         *(_number(row["uar_by_sex"].get(name)) for name in sexes))
        for row in rows
    ])  # fmt: skip


def _calibration_table(rows: Sequence[Row]) -> str:
    """Whether the probabilities can be believed."""
    head = ("stage", "ECE", "NLL", "temperature from development clips", "ECE after", "NLL after")
    names = ("ece", "nll", "temperature", "ece_scaled", "nll_scaled")
    return table_of(head, [(stage_of(row), *(_number(row[name]) for name in names)) for row in rows])


def _comparison_table(rows: Sequence[Row]) -> str:
    """Stages against each other; p-values as they are and after Holm."""
    head = ("stages", "corpora", "folds", "seeds", "UAR difference", "permutation p (Holm)", "McNemar p (Holm)")
    return table_of(head, [
        (row["stages"], row["corpora"], _folds(row), len(row["seeds"]),
         gain_in_words(row), p_in_words(row, "permutation_p"), p_in_words(row, "mcnemar_p"))
        for row in rows
    ])  # fmt: skip


def _confusion(row: Row, test: Predictions, pictures: Path) -> str:
    """A confusion matrix as a picture."""
    title = f"{stage_of(row)}, {row['corpora']}, {row['protocol']}: UAR {row['uar']:.3f}"
    name = f"confusion-{row['protocol']}-{_file_name(row['corpora'])}-{_file_name(letter_of(row))}.png"
    picture = confusion_picture(confusion(test.truth, test.probabilities), test.labels, title)
    save_figure(picture, pictures / name)
    return f"![{title}](results/{name})"


def _overview(rows: Sequence[Row], title: str) -> Figure:
    """UAR of each row with its interval."""
    names = [stage_of(row) for row in rows]
    values = np.array([astuple(bounded(row, "uar")) for row in rows])
    return interval_picture(names, values, title, "UAR")


def _provenance(rows: Sequence[Row]) -> str:
    """Which recipe and how many MLflow runs are behind each row."""
    head = ("protocol", "corpora", "stage", "recipe", "optimiser steps", "MLflow runs")
    return "## Where the rows come from\n\n" + table_of(head, [
        (row["protocol"], row["corpora"], letter_of(row), f"`{row['recipe']}`", row["optimizer_steps"],
         len(row["runs"]))
        for row in rows
    ])  # fmt: skip


def _folds(row: Row) -> str:
    """How many folds, or what was left out."""
    folds = row["folds"]
    named = [fold.split(" (")[0] for fold in folds]
    return ", ".join(named) if len(named) <= 3 else f"{len(named)}"


def _number(value: float | None) -> str:
    """Three decimals."""
    return "" if value is None else f"{value:.3f}"

"""The published results: rows with intervals and tests, from what MLflow holds and nothing else."""

from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from flows import tracking
from flows.registry import RegistryError
from flows.results_adapted import adapted_rows, adapted_section
from flows.results_commands import commands_of, commands_section
from flows.results_groups import WITH_FUNCTIONALS, Group, ensembles_of, heard_before, read_groups
from flows.results_known import known_rows, known_section
from flows.results_page import headline_of, write_results
from flows.results_pairs import adjust, gain_of
from flows.results_recipes import settings_of
from flows.results_synthetic import synthetic_rows, synthetic_section
from flows.results_words import KNOWN, Row, stage_of, title_of
from sermodels.calibration import (
    expected_calibration_error,
    fit_temperature,
    negative_log_likelihood,
    with_temperature,
)
from sermodels.config import Config
from sermodels.evaluation import figures
from sermodels.files import write_json
from sermodels.predictions import Predictions, joined
from sermodels.statistics import mcnemar_p

KINDS = ("corpus", "sex")
COMPARED = (("B", "A"), ("C", "B"), ("D", "B"), ("C", "D"), ("R", "B"))


def publish_results(table: str, docs: Path, config: Config) -> Path:
    """Write the results page of a table, whose preset says `config`, from MLflow alone.

    Raises RegistryError when nothing of it has finished.
    """
    groups = read_groups(table, config)
    if not groups:
        raise RegistryError(
            f"{tracking.shown_uri()}: no finished cell of table {table}; run: python -m flows table --preset {table}"
        )
    ensembles = ensembles_of(groups)
    shown = [*groups, *ensembles]
    heard = [heard_before(group) for group in shown if group.protocol == "speaker"]
    shown += heard
    rows = [row_of(group) | {"commands": commands_of(group, table, config)} for group in shown]
    pairs = list(zip(rows, shown, strict=True))
    tests = {title_of(row): group.test for row, group in pairs}
    more = [*_of_known_speakers(pairs, docs), *_of_known_corpora(pairs, docs), *_of_synthetic_clips(table, docs)]
    more.append(commands_section(rows))
    command = f"python -m flows results --preset {table}"
    write_results(docs, rows, comparisons_of(groups, heard, ensembles), tests, command=command, more=more)
    return docs / "results.md"


def _of_known_speakers(pairs: Sequence[tuple[Row, Group]], docs: Path) -> list[str]:
    """The section on how many recordings of a speaker it takes, of the best row of unseen speakers, if there is one."""
    unseen = [pair for pair in pairs if pair[0]["protocol"] == "speaker"]
    if not unseen:
        return []
    row, best = max(unseen, key=lambda pair: (pair[0]["speakers"], pair[0]["uar"]))
    found = known_rows([cell.test for cell in best.cells])
    write_json(docs / "results-known-recordings.json", found)
    return [known_section(found, stage_of(row), docs / "results")]


def _of_known_corpora(pairs: Sequence[tuple[Row, Group]], docs: Path) -> list[str]:
    """The section on what the other recordings of a corpus tell, if there are rows of strangers."""
    found = adapted_rows([(row, [cell.test for cell in group.cells]) for row, group in pairs])
    write_json(docs / "results-adapted.json", found)
    return [adapted_section(found, docs / "results")] if found else []


def _of_synthetic_clips(table: str, docs: Path) -> list[str]:
    """The section on synthetic clips, if any were made."""
    made = synthetic_rows(table)
    write_json(docs / "results-synthetic.json", made)
    return [synthetic_section(made, docs / "results")] if made else []


def row_of(group: Group) -> dict[str, Any]:
    """One row of the table: figures of all its test clips, with 95 % intervals over speakers."""
    test = group.test
    by_training: dict[tuple[int, str, str], list[Predictions]] = {}
    for tags, heard in ((cell.run.tags, cell.test) for cell in group.classifiers):
        training = (int(tags["seed"]), tags["recipe"], tags.get("number_format", ""))
        by_training.setdefault(training, []).append(heard)
    parts = [joined(by_training[training]) for training in sorted(by_training, key=lambda found: found[0])]
    found = figures(test.truth, test.probabilities, test.labels, {kind: test.groups[kind] for kind in KINDS})
    return {
        "protocol": group.protocol,
        "corpora": group.corpora,
        "stage": group.letter,
        "members": group.size,
        "recipes": group.recipes,
        "recipe_number": group.recipe_number,
        **{name: _tags(group, name) for name in ("backbone", "weights", "recipe", "number_format")},
        "common_recipe": group.common_recipe,
        "augmented_as": group.augmented_as,
        "folds": group.splits,
        "seeds": [int(seed) for seed in group.seeds],
        "clips": len(test),
        "speakers": len(set(test.groups["speaker"])),
        **headline_of(test),
        "uar_per_seed": [figures(part.truth, part.probabilities, part.labels)["uar"] for part in parts],
        "macro_f1": found["macro_f1"],
        **calibration_of(group),
        "recall": {name.split("/")[1]: value for name, value in found.items() if name.startswith("recall/")},
        **{
            f"uar_by_{kind}": {
                name.rsplit("/", 1)[1]: value for name, value in found.items() if name.startswith(f"uar/{kind}/")
            }
            for kind in KINDS
        },
        "gap": _mean_metric(group, "gap"),
        "settings": _settings_of(group) if group.recipes == 1 else {},
        "optimizer_steps": round(_mean_metric(group, "optimizer_steps")),
        "runs": _runs_of(group),
    }


def _runs_of(group: Group) -> list[str]:
    """The runs of its classifiers."""
    return [cell.run.run_id for cell in group.classifiers]


def _settings_of(group: Group) -> dict[str, str]:
    """What all its classifiers were trained by, and in which format of numbers."""
    return settings_of(group.cells[0].run) | {"number format": _tags(group, "number_format")}


def _tags(group: Group, name: str) -> str:
    """What the runs of a row say under a name: one value, but for the recipes of a mean over several."""
    return ", ".join(dict.fromkeys(cell.run.tags.get(name) or "not noted" for cell in group.classifiers))


def _mean_metric(group: Group, name: str) -> float:
    """The mean of a metric over all classifiers of a row."""
    return float(np.mean([cell.run.metrics[name] for cell in group.classifiers]))


def calibration_of(group: Group) -> dict[str, float]:
    """ECE and NLL of the test clips, before and after the temperature that each cell's development clips give."""
    temperatures = [fit_temperature(cell.development.truth, cell.development.probabilities) for cell in group.cells]
    raw = group.test
    scaled = np.concatenate(
        [with_temperature(cell.test.probabilities, t) for cell, t in zip(group.cells, temperatures, strict=True)]
    )
    return {
        "ece": expected_calibration_error(raw.truth, raw.probabilities),
        "nll": negative_log_likelihood(raw.truth, raw.probabilities),
        "temperature": float(np.mean(temperatures)),
        "ece_scaled": expected_calibration_error(raw.truth, scaled),
        "nll_scaled": negative_log_likelihood(raw.truth, scaled),
    }


def comparisons_of(
    groups: Sequence[Group], heard: Sequence[Group], ensembles: Sequence[Group] = ()
) -> list[dict[str, Any]]:
    """Stages against each other, and known speakers against strangers, on the splits and seeds that both have.

    Ensembles with stage F are compared with the same ensembles without it. Stages that were trained otherwise, such as
    for more epochs, or augmented otherwise, are not compared. P-values are adjusted over all pairs.
    """
    pairs = [
        (one, other)
        for row in sorted({group.row for group in groups})
        for letters in COMPARED
        for one, other in product(groups, groups)
        if (one.letter, other.letter) == letters and one.row == other.row == row and _alike(one, other)
    ]
    strangers = {(group.corpora, group.name): group for group in groups if group.protocol == "speaker"}
    pairs += [(one, strangers[one.corpora, one.name]) for one in heard if not one.members]
    pairs += [
        (one, other)
        for one, other in product(ensembles, ensembles)
        if one.row == other.row
        and (one.letter, one.recipes) == (WITH_FUNCTIONALS, other.recipes + 1)
        and other.letter == "R"
        and set(_runs_of(other)) < set(_runs_of(one))
    ]
    shared = [sorted({c.place for c in one.cells} & {c.place for c in other.cells}) for one, other in pairs]
    found = [_compare(one, other, places) for (one, other), places in zip(pairs, shared, strict=True) if places]
    for name in ("permutation_p", "mcnemar_p"):
        adjust(found, name)
    return found


def _alike(first: Group, second: Group) -> bool:
    """Whether nothing sets them apart but what their stages do."""
    augmented = {first.augmented_as, second.augmented_as} - {""}
    same = (first.common_recipe, first.number_format) == (second.common_recipe, second.number_format)
    return same and len(augmented) <= 1


def _compare(first: Group, second: Group, places: list[tuple[str, str]]) -> dict[str, Any]:
    """How far `first` lies above `second`."""
    one, other = first.at(places), second.at(places)
    return {
        "protocol": second.protocol,
        "corpora": second.corpora,
        "stages": f"{first.name}{' of known speakers' if first.protocol == KNOWN else ''} - {second.name}",
        "folds": sorted({split for split, _ in places}),
        "seeds": [int(seed) for seed in second.seeds] if second.members else sorted({int(seed) for _, seed in places}),
        **gain_of(one, other),
        "mcnemar_p": mcnemar_p(one, other),
    }

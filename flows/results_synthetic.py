"""The part of the results page about synthetic clips: their quality beside that of real ones, and how they look."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from flows.finished import FinishedRun, fetch_file, finished_runs, has_file
from flows.results_words import Row, table_of

FIGURES = {
    "frechet_distance": "Fréchet distance",
    "mmd": "MMD",
    "density": "density",
    "coverage": "coverage",
    "duplicate_ratio": "duplicate ratio",
}
PROBES = {
    "agreement/uar": "agreement",
    "train_synthetic_test_real": "synthetic → real",
    "train_real_test_synthetic": "real → synthetic",
    "train_real_test_real": "real → real",
}
HEAD = """## Synthetic clips

In the embedding of stage A, which had no part in making them. Fréchet distance, squared MMD, density and coverage are
those of the synthetic clips, and of real clips of unseen speakers, against the split's training clips. The duplicate
ratio is the median of the distance to the nearest training clip over that to the nearest test clip: of the synthetic
clips, and of the development clips. Agreement is the UAR of stage A, taking the emotion that a clip was made for as the
truth; the last three are the UAR of a logistic regression on the embeddings, trained on one kind of clip and tested on
another. Means over the splits and seeds that ran.
"""
PICTURE = "neighbours.png"
Runs = dict[tuple[str, str], FinishedRun]
"""Runs by split and seed."""


class Way(NamedTuple):
    """What runs of one row share: whose clips, and how they were drawn; numbers are text, as MLflow keeps them."""

    protocol: str
    corpora: str
    sampler: str
    steps: str
    guidance_scale: str
    strength: str


def synthetic_rows(table: str) -> list[dict[str, Any]]:
    """One row a protocol and way of drawing, of the newest run of each split and seed of a table.

    Where another sampler drew from some of the models alone, there is a row of these, to be compared with that one.
    """
    found = finished_runs({"table": table, "stage": "synthesis"})  # newest first
    drawn: dict[Way, Runs] = {}
    for run in found:
        drawn.setdefault(_way(run), {}).setdefault((run.tags["split"], run.tags["seed"]), run)
    return [row for way in sorted(drawn) for row in (_row(way, drawn[way]), *_beside_others(way, drawn, found))]


def _beside_others(way: Way, drawn: Mapping[Way, Runs], found: Sequence[FinishedRun]) -> list[dict[str, Any]]:
    """A row for each other sampler that drew from the same models, if that is not the way's own row."""
    own = {run.params["diffusion"]: run for run in reversed(found) if _way(run) == way}  # the newest of each model
    rows = []
    for other, theirs in drawn.items():
        if other.sampler != way.sampler and (*other[:2], *other[4:]) == (*way[:2], *way[4:]):
            models = {place: run.params["diffusion"] for place, run in theirs.items()}
            runs = {place: own[model] for place, model in models.items() if model in own}
            if runs and runs != drawn[way]:
                rows.append(_row(way, runs) | {"beside": other.sampler})
    return rows


def _way(run: FinishedRun) -> Way:
    """How a run's clips were drawn; what a run does not say was so before it could be set."""
    sampler, steps, guidance = (run.params[f"synthesis.{name}"] for name in ("sampler", "steps", "guidance_scale"))
    strength = run.params.get("synthesis.strength", "1.0")
    return Way(run.tags["protocol"], run.tags["corpora"], sampler, steps, guidance, strength)


def _row(way: Way, runs: Runs) -> dict[str, Any]:
    """Means over runs."""
    names = [f"{part}/{name}" for part in ("synthetic", "real") for name in FIGURES] + list(PROBES)
    ordered = [runs[place] for place in sorted(runs)]
    return {
        "protocol": way.protocol,
        "corpora": way.corpora,
        "sampler": way.sampler,
        "steps": int(way.steps),
        "guidance_scale": float(way.guidance_scale),
        "strength": float(way.strength),
        "beside": "",
        "folds": sorted({run.tags["split"] for run in ordered}),
        "seeds": sorted({int(run.tags["seed"]) for run in ordered}),
        "clips": sum(int(run.metrics["clips"]) for run in ordered),
        "near_copies": sum(int(run.metrics["near_copies"]) for run in ordered),
        **{name: float(np.mean([run.metrics[name] for run in ordered])) for name in names},
        "runs": [run.run_id for run in ordered],
    }


def _sampling(row: Row) -> str:
    """How the clips were drawn, in words."""
    start = "noise" if row["strength"] == 1.0 else f"training clips noised by {row['strength']:g}"
    beside = f"; of the models that {row['beside']} drew from, too" if row["beside"] else ""
    return f"{row['sampler']}, {row['steps']} steps, guidance {row['guidance_scale']:g}, from {start}{beside}"


def synthetic_section(rows: Sequence[Row], pictures: Path) -> str:
    """Tables, and one picture of synthetic clips beside their nearest training clips, if it was kept."""
    pictures.mkdir(parents=True, exist_ok=True)
    picture = ""
    if run := next((one for row in rows for one in row["runs"] if has_file(one, PICTURE)), None):
        fetch_file(run, PICTURE, pictures)
        picture = f"![Synthetic clips beside their nearest training clips](results/{PICTURE})\n"
    head = ("protocol", "sampler", "splits", "clips", "near-copies", *FIGURES.values(), *PROBES.values())
    lines = [
        (row["protocol"], _sampling(row),
         len(row["runs"]), row["clips"], row["near_copies"], *(_with_real(row, name) for name in FIGURES),
         *(f"{row[name]:.3f}" for name in PROBES))
        for row in rows
    ]  # fmt: skip
    return "\n".join([HEAD, table_of(head, lines), picture])


def _with_real(row: Row, name: str) -> str:
    """A figure of the synthetic clips, and of real ones; of a ratio also how far they are apart."""
    synthetic, real = (row[f"{part}/{name}"] for part in ("synthetic", "real"))
    apart = f", {synthetic / real - 1:+.1%}" if name.endswith("ratio") else ""
    return f"{synthetic:.3g} (real {real:.3g}{apart})"

"""The part of the results page about synthetic clips: their quality beside that of real ones, and how they look."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

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
SAMPLING = {"sampler": "", "steps": "", "guidance_scale": "", "strength": "1.0"}
"""What tells one way of sampling from another, and what it was where a run does not say."""


def synthetic_rows(table: str) -> list[dict[str, Any]]:
    """One row a protocol and way of sampling, of the newest run of each split and seed of a table."""
    newest: dict[tuple[str, ...], FinishedRun] = {}
    for run in finished_runs({"table": table, "stage": "synthesis"}):
        newest.setdefault((*_row_of(run), run.tags["split"], run.tags["seed"]), run)
    return [
        _row(row, [run for key, run in sorted(newest.items()) if key[: len(row)] == row])
        for row in sorted({_row_of(run) for run in newest.values()})
    ]


def _row_of(run: FinishedRun) -> tuple[str, ...]:
    """What runs of one row share."""
    sampling = (run.params.get(f"synthesis.{name}", whole) for name, whole in SAMPLING.items())
    return run.tags["protocol"], run.tags["corpora"], *sampling


def _row(row: tuple[str, ...], runs: Sequence[FinishedRun]) -> dict[str, Any]:
    """Means over runs."""
    protocol, corpora, sampler, steps, guidance, strength = row
    names = [f"{part}/{name}" for part in ("synthetic", "real") for name in FIGURES] + list(PROBES)
    return {
        "protocol": protocol,
        "corpora": corpora,
        "sampler": sampler,
        "steps": int(steps),
        "guidance_scale": float(guidance),
        "strength": float(strength),
        "folds": sorted({run.tags["split"] for run in runs}),
        "seeds": sorted({int(run.tags["seed"]) for run in runs}),
        "clips": sum(int(run.metrics["clips"]) for run in runs),
        "near_copies": sum(int(run.metrics["near_copies"]) for run in runs),
        **{name: float(np.mean([run.metrics[name] for run in runs])) for name in names},
        "runs": [run.run_id for run in runs],
    }


def _sampling(row: Row) -> str:
    """How the clips were drawn, in words."""
    start = "noise" if row["strength"] == 1.0 else f"training clips noised by {row['strength']:g}"
    return f"{row['sampler']}, {row['steps']} steps, guidance {row['guidance_scale']:g}, from {start}"


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
         len(row["runs"]), row["clips"], row["near_copies"], *(_beside(row, name) for name in FIGURES),
         *(f"{row[name]:.3f}" for name in PROBES))
        for row in rows
    ]  # fmt: skip
    return "\n".join([HEAD, table_of(head, lines), picture])


def _beside(row: Row, name: str) -> str:
    """A figure of the synthetic clips, and of real ones."""
    return f"{row[f'synthetic/{name}']:.3g} (real {row[f'real/{name}']:.3g})"

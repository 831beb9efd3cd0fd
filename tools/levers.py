"""Tries changes of a preset's classifier on development speakers alone, to choose a recipe by; no test clip is read.

    python tools/levers.py WORKSPACE LEVERS.yaml --preset quick [--folds 0,1,2,3,4,5] [--processes 2] [--minutes 60]

LEVERS.yaml names each change and lists its overrides: `long: [training.epochs=60]`. The workspace's cache is used, no
recording. Prints a line of JSON for each change and fold as it ends, and at last a table of means over folds.
"""

import argparse
import json
import multiprocessing
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import yaml

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from sermodels.cells.running import begin_process  # noqa: E402
from sermodels.device import best_device  # noqa: E402
from sermodels.emotions import COMMON_EMOTIONS  # noqa: E402
from sermodels.evaluation import figures  # noqa: E402
from sermodels.prediction import predict  # noqa: E402
from sermodels.presets import resolve_config  # noqa: E402
from sermodels.stages.classification import build_classifier  # noqa: E402
from sermodels.stages.prepared import contexts_of  # noqa: E402
from sermodels.training import train_classifier  # noqa: E402
from sermodels.training_data import everything  # noqa: E402

SIX = len(COMMON_EMOTIONS)
SHOWN = ("best", "last", "best_epoch", "emodb", "ravdess", "seconds")
Job = tuple[str, list[str], int, Path, str]


def tried(job: Job) -> dict[str, Any]:
    """One change on one fold: development figures over the six common emotions, and how they rose."""
    name, overrides, fold, workspace, preset = job
    began = time.monotonic()
    config = resolve_config(preset, [*overrides, f"split.fold={fold}"])
    (context,) = contexts_of(workspace, config)
    split, data = context.split(), context.load()
    clips = data.clip_set(config, best_device())
    training, heard = data.indices(split.training), data.indices(split.development)
    heard = heard[data.labels[heard] < SIX]
    classifier, _ = build_classifier(config, clips, training)
    fed = replace(everything(clips, config), training=training, development=heard, clips_per_epoch=len(training))
    history = train_classifier(
        classifier,
        fed,
        config.training,
        augmentation=config.augmentation,
        seed=config.seed,
        checkpoint=workspace / f"{name}-{fold}.never",
        save_every_s=1e9,
    )
    probabilities = predict(classifier, fed, heard, config.training)[:, :SIX]
    corpora = [data.utterances[place].corpus for place in heard]
    found = figures(data.labels[heard], probabilities, COMMON_EMOTIONS, {"corpus": corpora})
    risen = [record["val/uar"] for record in history]
    return {
        "lever": name,
        "fold": fold,
        "best": found["uar"],
        "last": float(np.mean(risen[-3:])),
        "best_epoch": int(np.argmax(risen)),
        "seconds": time.monotonic() - began,
        "steps": len(history) * -(-len(training) // config.training.batch_size),
        **{key.split("/")[-1]: value for key, value in found.items() if key.startswith("uar/corpus/")},
    }


def main() -> int:
    """Run all changes on all folds, the first change first."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("workspace", type=Path)
    parser.add_argument("levers", type=Path)
    parser.add_argument("--preset", default="quick")
    parser.add_argument("--folds", default="0,1,2,3,4,5")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--overrides", nargs="*", default=[])
    options = parser.parse_args()
    ends = time.monotonic() + 60.0 * options.minutes
    levers = yaml.safe_load(options.levers.read_text(encoding="utf-8"))
    folds = [int(fold) for fold in options.folds.split(",")]
    jobs = [
        (name, [*options.overrides, *(changes or [])], fold, options.workspace.resolve(), options.preset)
        for name, changes in levers.items()
        for fold in folds
    ]
    rows: list[dict[str, Any]] = []
    with multiprocessing.get_context("spawn").Pool(options.processes, begin_process) as pool:
        results = pool.imap_unordered(tried, jobs)
        for _ in jobs:
            try:
                rows.append(results.next(timeout=max(0.1, ends - time.monotonic())))
            except multiprocessing.TimeoutError:
                print("time is over: the table is of what has ended", file=sys.stderr)
                break
            print(json.dumps(rows[-1]), flush=True)
        pool.terminate()
    for name in levers:
        own = [row for row in rows if row["lever"] == name]
        if own:
            means = " ".join(f"{key} {np.mean([row[key] for row in own]):.3f}" for key in SHOWN)
            print(f"{name:16s} folds {len(own)} {means}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())

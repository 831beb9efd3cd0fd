"""The whole `quick` pipeline as a user starts it, beside the sum of the alternatives, reckoned from measured pieces."""

import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks.alternatives.pixel_diffusion import STEPS
from benchmarks.context import ROOT, Bench
from benchmarks.parts.synthesis import CLIPS
from benchmarks.rows import Measured, row
from sermodels.errors import ConfigError
from sermodels.files import read_json
from sermodels.presets import resolve_config

QUICK = (
    "training.epochs=1 training.patience=1 diffusion.epochs=1 diffusion.sample_every=1 "
    "synthesis.per_emotion=6 synthesis.audio_per_emotion=1 editing.clips_per_emotion=1"
)
"""What `--quick` shortens; the alternatives are reckoned for the same counts."""
CLASSIFIERS = 4
PIECES = ("features", "training", "synthesis")


def measure(bench: Bench) -> Measured:
    """One row, from one run: its spread is not known. Raises ConfigError where the pieces are not measured yet."""
    pieces = measured_pieces(bench)
    workspace = bench.scratch / "pipeline"
    ours_s = run_pipeline(bench, workspace)
    parts = alternatives_s(bench, pieces, workspace)
    one = row(
        "whole quick pipeline, against the sum of the alternatives",
        [ours_s],
        [sum(parts.values())],
        unit="s",
        target=5.0,
        device=bench.device,
        note="one run; the alternatives' pieces are measured, and reckoned to as many clips and epochs: "
        + ", ".join(f"{name} {seconds:,.0f} s" for name, seconds in parts.items()),
    )
    return Measured([one], {"seconds": ours_s, "alternatives": parts})


def measured_pieces(bench: Bench) -> dict[str, Any]:
    """The raw figures that the alternatives are reckoned from. Raises ConfigError where they are not measured yet."""
    files = {name: bench.options.results / f"{name}.json" for name in PIECES}
    if lacking := [name for name, path in files.items() if not path.exists()]:
        raise ConfigError(
            f"the parts {', '.join(lacking)} are not measured yet; run with --parts {','.join(PIECES)},pipeline"
        )
    return {name: read_json(path) for name, path in files.items()}


def run_pipeline(bench: Bench, workspace: Path) -> float:
    """Seconds of `python -m flows run` with its own tracking. Raises CalledProcessError."""
    command = [sys.executable, "-m", "flows", "run", "--preset", "quick", "--workspace", str(workspace)]
    command += ["--data-dir", bench.config.corpus.data_dir, "--weights", bench.options.weights]
    command += ["--overrides", _overrides(bench)]
    tracking = {"MLFLOW_TRACKING_URI": f"sqlite:///{bench.scratch / 'mlflow.db'}", "MLFLOW_DISABLE_TELEMETRY": "true"}
    begun = time.perf_counter()
    subprocess.run(command, cwd=ROOT, env=os.environ | tracking, stdout=sys.stderr, check=True)
    return time.perf_counter() - begun


def _overrides(bench: Bench) -> str:
    """The demo corpus where there are no recordings, and fewer epochs where time is short."""
    names = "" if bench.options.data_dir else "corpus.names=[demo]"
    return f"{names} {QUICK if bench.options.quick else ''}".strip()


def alternatives_s(bench: Bench, pieces: dict[str, Any], workspace: Path) -> dict[str, float]:
    """Seconds of each alternative for what the pipeline did: as many clips, epochs and synthetic clips."""
    config = resolve_config("quick", _overrides(bench).split())
    split = read_json(next((workspace / "stages").glob("splitting-*")) / "split-0.json")
    corpus = sum(len(split[part]) for part in ("training", "development", "test"))
    training = len(split["training"])
    features, images, clips = pieces["features"], pieces["training"]["cpu"], pieces["synthesis"]["cpu"]
    wanted = config.synthesis.per_emotion * len(config.corpus.emotions)
    return {
        "features": statistics.median(features["cold"]["librosa"]) / features["clips"] * corpus,
        f"{CLASSIFIERS} classifiers": CLASSIFIERS
        * config.training.epochs
        * training
        / statistics.median(images["images_per_second"]["notebook"]),
        "diffusion training": config.diffusion.epochs * training * clips["pixel_train_s_a_clip"],
        f"{wanted} synthetic clips of {STEPS} steps": wanted * statistics.median(clips["seconds"]["pixels"]) / CLIPS,
    }

"""Eighteen recordings of both corpora, written on the spot, and a run of the benchmarks on them."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from benchmarks.context import QUICK, Bench, Options

RATE_HZ = 16_000
NAMES = [f"emodb/{speaker}a01{letter}a.wav" for speaker in ("03", "08") for letter in "WEAFNT"]
NAMES += [f"ravdess/Actor_01/03-01-{code}-01-01-01-01.wav" for code in ("01", "03", "04", "05", "06", "07")]


@pytest.fixture(scope="session")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as --data-dir names it: half a second of noise that swells, each another."""
    folder = tmp_path_factory.mktemp("recordings")
    swell = np.hanning(RATE_HZ // 2)
    for number, name in enumerate(NAMES):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        noise = np.random.default_rng(number).normal(scale=0.1, size=len(swell))
        soundfile.write(path, swell * noise, RATE_HZ, subtype="PCM_16")
    return folder


@pytest.fixture
def bench(recordings: Path, tmp_path: Path) -> Bench:
    """A run that measures next to nothing."""
    options = Options(
        quick=True, rounds=1, data_dir=recordings, weights="none", bundle=None, results=tmp_path / "results"
    )
    run = Bench(options, tmp_path)
    run.sizes = replace(QUICK, training_clips=4, training_batch=2, growth_clips=3)
    return run

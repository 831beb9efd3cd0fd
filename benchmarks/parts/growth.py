"""1, 4 and 16 times the corpus, repeated with other pitch and tempo: time and peak memory of each stage."""

import multiprocessing
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from multiprocessing.context import ForkServerContext
from pathlib import Path

import numpy as np
import soundfile

from benchmarks.context import Bench
from benchmarks.growth_child import STAGES, weighed
from benchmarks.measure import tell
from benchmarks.rows import Measured, Row, limit_row
from sermodels.config import Config
from sermodels.corpora import Utterance

EXPONENT_LIMIT = 1.1
"""Of time as a power of the corpus' size; 1 is linear."""
PEAK_LIMIT = 1.1
"""Of the peak at 16 times the corpus over that at once."""
FLAT = ("caching", "synthesis")
RATE_STEP = 0.01


def measure(bench: Bench) -> Measured:
    """The exponent of each stage's time, and the growth of the peak of those that should not grow."""
    found: dict[str, list[tuple[float, float]]] = {stage: [] for stage in STAGES}
    for factor in bench.sizes.growth_factors:
        config, folder = grown(bench, factor), bench.scratch / f"growth-{factor}" / "workspace"
        for stage in STAGES:
            seconds, peak = run_child(stage, config, folder)
            tell(f"  {stage}, {factor} times: {seconds:.2f} s, peak {peak / 1e6:.0f} MB")
            found[stage].append((seconds, peak))
    rows = [_time_row(bench, stage, [seconds for seconds, _ in values]) for stage, values in found.items()]
    rows += [_peak_row(bench, stage, [peak for _, peak in found[stage]]) for stage in FLAT]
    return Measured(rows, {"factors": bench.sizes.growth_factors, "seconds_and_peak_bytes": found})


def grown(bench: Bench, factor: int) -> Config:
    """The config of so many times the recordings and synthetic clips; what shares a batch stays the same."""
    chosen = bench.utterances[:: max(1, len(bench.utterances) // bench.sizes.growth_clips)][: bench.sizes.growth_clips]
    config = bench.config_of(repeated(chosen, factor, bench.scratch / "growth-recordings"), f"growth-{factor}")
    number = bench.sizes.growth_per_emotion
    synthesis = config.synthesis.model_copy(update={"per_emotion": number * factor, "batch_size": number})
    return config.model_copy(update={"synthesis": synthesis})


def repeated(utterances: Sequence[Utterance], factor: int, folder: Path) -> list[tuple[Path, Utterance]]:
    """Each recording `factor` times: the same samples said to be faster by some percent, so they get another pitch."""
    folder.mkdir(exist_ok=True)
    recordings = []
    for number, one in enumerate(utterances):
        samples, rate_hz = soundfile.read(one.path, dtype="int16")
        for turn in range(factor):
            path = folder / f"{number:05d}-{turn:02d}.wav"
            if not path.exists():
                soundfile.write(path, samples, round(rate_hz * (1.0 + RATE_STEP * turn)), subtype="PCM_16")
            recordings.append((path, one))
    return recordings


def run_child(stage: str, config: Config, folder: Path) -> tuple[float, float]:
    """Seconds and peak bytes of a stage in a process that has just imported what it needs."""
    with ProcessPoolExecutor(1, mp_context=_imported()) as pool:
        return pool.submit(weighed, stage, config, folder).result()


@cache
def _imported() -> ForkServerContext:
    """A server that imports torch once and forks a process for each stage."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["benchmarks.growth_child"])
    return context


def exponent(factors: Sequence[int], seconds: Sequence[float]) -> float:
    """The slope of log time over log size."""
    return float(np.polyfit(np.log(factors), np.log(seconds), 1)[0])


def _time_row(bench: Bench, stage: str, seconds: list[float]) -> Row:
    return limit_row(
        f"growth of {stage}: time, as a power of the corpus",
        [exponent(bench.sizes.growth_factors, seconds)],
        limit=EXPONENT_LIMIT,
        unit="exponent",
        device=bench.device,
        note=f"{_listed(seconds)} s at {_listed(bench.sizes.growth_factors)} times {bench.sizes.growth_clips} clips; "
        "one run each",
    )


def _peak_row(bench: Bench, stage: str, peaks: list[float]) -> Row:
    return limit_row(
        f"growth of {stage}: peak memory at {bench.sizes.growth_factors[-1]} times the corpus, over once",
        [peaks[-1] / peaks[0]],
        limit=PEAK_LIMIT,
        unit="times",
        device=bench.device,
        note=f"{_listed([peak / 1e6 for peak in peaks])} MB; one run each",
    )


def _listed(values: Sequence[float]) -> str:
    return ", ".join(f"{value:.3g}" for value in values)

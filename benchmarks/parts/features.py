"""Recordings to features: cold, warm when nothing has changed, and the bytes that they take on disk."""

import statistics
from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from itertools import count
from multiprocessing.pool import Pool
from pathlib import Path

import numpy as np
import torch

from benchmarks.agreement import require_close
from benchmarks.alternatives.notebook_features import log_mel, pool_of, read_all, save_all
from benchmarks.context import Bench
from benchmarks.flops import torch_flops
from benchmarks.measure import alternate, timed
from benchmarks.rows import Measured, Row, row
from sermodels.audio import read_waveform
from sermodels.cache import read_log_mels
from sermodels.config import Config
from sermodels.corpora import Utterance
from sermodels.features import LogMel
from sermodels.stages.caching import run_caching
from sermodels.stages.context import cache_folder

TOLERANCE_DB = 0.1
"""Of a cell's level: float16 keeps 0.03 dB at -60 dB and 0.06 dB at -100 dB."""
CHECKED_CLIPS = 12


def measure(bench: Bench) -> Measured:
    """All three rows."""
    config = bench.config_of([(one.path, one) for one in bench.utterances], "features")
    with pool_of(bench.cores) as pool:
        cold, files = _cold(bench, config, pool)
    workspace = bench.scratch / "features-ours-0"
    differ_db = _check(bench.utterances, config, workspace)
    note = f"{len(bench.utterances)} clips; log-mels differ by {differ_db:.3f} dB, allowed {TOLERANCE_DB:g}"
    warm = alternate(
        {
            "ours": timed(lambda: run_caching(config, workspace, skip_unreadable=False)),
            "reading .npy": timed(lambda: read_all(files)),
        },
        rounds=bench.rounds,
    )
    rows = [
        row(
            "features, cold, against librosa with a process per core",
            cold["ours"],
            cold["librosa"],
            unit="s",
            target=5.0,
            floor=_cold_floor_s(bench, config, workspace),
            device=bench.device,
            note=f"{note}; processes of both sides run already",
        ),
        row(
            "features, warm, against reading .npy files",
            warm["ours"],
            warm["reading .npy"],
            unit="s",
            target=10.0,
            floor=(_bytes_of_recordings(bench) + _bytes_below(cache_folder(workspace))) / bench.rates.copy,
            device=bench.device,
            note="ours asks the status of every recording and log-mel; what was touched is read again",
        ),
        _disk_row(bench, workspace, files),
    ]
    return Measured(rows, {"cold": cold, "warm": warm, "clips": len(bench.utterances), "rates": asdict(bench.rates)})


def _cold(bench: Bench, config: Config, pool: Pool) -> tuple[dict[str, list[float]], list[Path]]:
    """Seconds of both sides, each time into an empty folder; the alternative's files."""
    numbers = {side: count() for side in ("ours", "librosa")}
    paths = [one.path for one in bench.utterances]
    files: list[Path] = []

    def ours() -> None:
        run_caching(config, bench.scratch / f"features-ours-{next(numbers['ours'])}", skip_unreadable=False)

    def librosa() -> None:
        folder = bench.scratch / "features-librosa"
        for old in folder.glob("*.npy") if next(numbers["librosa"]) else ():
            old.unlink()
        files[:] = save_all(pool, paths, folder, config.front_end)

    return alternate({"ours": timed(ours), "librosa": timed(librosa)}, rounds=bench.rounds), files


def _check(utterances: Sequence[Utterance], config: Config, workspace: Path) -> float:
    """Raise DisagreementError unless the cached log-mels are librosa's; returns the largest difference in dB."""
    chosen = utterances[:: -(-len(utterances) // CHECKED_CLIPS)]
    cached = read_log_mels(cache_folder(workspace), chosen, config.front_end)
    return max(
        require_close(
            f"log-mel of {one.identifier}",
            ours,
            log_mel(one.path, config.front_end),
            tolerance=TOLERANCE_DB,
            unit="dB",
        )
        for one, ours in zip(chosen, cached, strict=True)
    )


def _cold_floor_s(bench: Bench, config: Config, workspace: Path) -> float:
    """The front end's products at the float32 rate, or the bytes read and written, whichever takes longer."""
    samples = [read_waveform(one.path, sample_rate_hz=config.front_end.sample_rate_hz) for one in bench.utterances[:8]]
    front_end = LogMel(config.front_end)
    operations = [torch_flops(partial(front_end, torch.from_numpy(one)[None])) for one in samples]
    computing_s = float(np.mean(operations)) * len(bench.utterances) / bench.rates.float32
    reading_s = _bytes_of_recordings(bench) / bench.rates.copy
    writing_s = _bytes_below(cache_folder(workspace)) / bench.rates.disk_write
    return max(computing_s, reading_s + writing_s)


def _disk_row(bench: Bench, workspace: Path, files: Sequence[Path]) -> Row:
    """Bytes a clip, of both."""
    ours = [_bytes_below(cache_folder(workspace)) / len(bench.utterances)]
    pictures = [statistics.mean(path.stat().st_size for path in files)]
    return row(
        "bytes on disk a clip, against 224 x 224 x 3 float32",
        ours,
        pictures,
        unit="bytes",
        target=20.0,
        device=bench.device,
    )


def _bytes_of_recordings(bench: Bench) -> int:
    return sum(one.path.stat().st_size for one in bench.utterances)


def _bytes_below(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*.npz"))

"""One classifier request after the other, client to server over HTTP: p50 and p99."""

from dataclasses import asdict
from functools import partial

import numpy as np

from benchmarks.clients import latencies_s
from benchmarks.context import Bench
from benchmarks.flops import onnx_flops
from benchmarks.measure import alternate
from benchmarks.rivals import LITSERVE, MLFLOW, OURS, TOLERANCE, Rivals
from benchmarks.rows import Measured, Row, row
from benchmarks.servers import missing_peers
from serve.bundle import CLASSIFIER

TARGETS = {50: 3.0, 99: 1.0}
"""By percentile: three times sooner in the middle, and ahead at the end."""


def measure(bench: Bench) -> Measured:
    """A row for each alternative and percentile."""
    rivals = Rivals(bench)
    with rivals.start_all([OURS, MLFLOW, LITSERVE]) as servers:
        taken: dict[str, list[list[float]]] = {name: [] for name in servers}

        def ask(name: str) -> float:
            taken[name].append(latencies_s(servers[name].port, rivals.all[name].request, bench.sizes.requests))
            return float(np.median(taken[name][-1]))

        alternate({name: partial(ask, name) for name in servers}, rounds=bench.rounds)
    measured = {name: rounds[1:] for name, rounds in taken.items()}  # the first round was the warm-up
    operations = onnx_flops(bench.bundle / CLASSIFIER, {"waveform": rivals.recording.waveform[None]})
    floor_s = operations / bench.rates.float32
    rows = [
        _row(bench, measured, percentile, name, floor_s) for name in measured if name != OURS for percentile in TARGETS
    ]
    return Measured(rows, {"seconds": measured, "flop": operations, "rates": asdict(bench.rates)}, missing_peers())


def _row(bench: Bench, measured: dict[str, list[list[float]]], percentile: int, name: str, floor_s: float) -> Row:
    ours, theirs = ([1000.0 * float(np.percentile(one, percentile)) for one in measured[side]] for side in (OURS, name))
    return row(
        f"classifier request, one clip, p{percentile}, against {name}",
        ours,
        theirs,
        unit="ms",
        target=TARGETS[percentile],
        floor=1000.0 * floor_s,
        device=bench.device,
        note=f"{bench.sizes.requests} requests a round; probabilities agree within {TOLERANCE:g}",
    )

"""One classifier request after the other, client to server: p50 and p99, by each graph that the bundle has."""

from dataclasses import asdict
from functools import partial
from typing import Any

import numpy as np

from benchmarks.clients import latencies_s
from benchmarks.context import Bench
from benchmarks.flops import onnx_flops
from benchmarks.measure import alternate
from benchmarks.rivals import IN_WORDS, LITSERVE, MLFLOW, OURS, TOLERANCE, Recording, Rivals, precisions
from benchmarks.rows import Measured, Row, row
from benchmarks.servers import missing_peers
from serve.bundle import CLASSIFIER
from serve.settings import Precision

TARGETS = {50: 3.0, 99: 1.0}
"""By percentile: three times sooner in the middle, and ahead at the end."""


def measure(bench: Bench) -> Measured:
    """A row for each graph, alternative and percentile; all servers of a row run the same graph."""
    waveform = Recording.of(bench.bundle).waveform[None]
    operations = onnx_flops(bench.bundle / CLASSIFIER, {"waveform": waveform})
    rows: list[Row] = []
    raw: dict[str, Any] = {"flop": operations, "rates": asdict(bench.rates), "seconds": {}}
    for precision in precisions(bench):
        seconds = _measure(bench, precision)
        raw["seconds"][precision] = seconds
        floor_s = operations / getattr(bench.rates, precision)
        rows += [
            _row(bench, precision, seconds, percentile, name, floor_s)
            for name in seconds
            if name != OURS
            for percentile in TARGETS
        ]
    return Measured(rows, raw, missing_peers())


def _measure(bench: Bench, precision: Precision) -> dict[str, list[list[float]]]:
    """Seconds of each server's requests, round by round."""
    rivals = Rivals(bench, precision=precision)
    with rivals.start_all([OURS, MLFLOW, LITSERVE]) as servers:
        taken: dict[str, list[list[float]]] = {name: [] for name in servers}

        def ask(name: str) -> float:
            taken[name].append(latencies_s(servers[name].port, rivals.all[name].request, bench.sizes.requests))
            return float(np.median(taken[name][-1]))

        alternate({name: partial(ask, name) for name in servers}, rounds=bench.rounds)
    return {name: rounds[1:] for name, rounds in taken.items()}  # the first round was the warm-up


def _row(
    bench: Bench,
    precision: Precision,
    seconds: dict[str, list[list[float]]],
    percentile: int,
    name: str,
    floor_s: float,
) -> Row:
    ours, theirs = ([1000.0 * float(np.percentile(one, percentile)) for one in seconds[side]] for side in (OURS, name))
    return row(
        f"classifier request, one clip{IN_WORDS[precision]}, p{percentile}, against {name}",
        ours,
        theirs,
        unit="ms",
        target=TARGETS[percentile],
        floor=1000.0 * floor_s,
        device=bench.device,
        note=f"{bench.sizes.requests} requests a round; probabilities agree within {TOLERANCE:g}",
    )

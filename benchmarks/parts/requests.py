"""One classifier request after the other, client to server: p50 and p99, by each graph that the bundle has."""

from functools import partial

import numpy as np

from benchmarks.clients import latencies_s
from benchmarks.context import Bench
from benchmarks.measure import alternate
from benchmarks.rivals import IN_WORDS, LITSERVE, MLFLOW, OURS, TOLERANCE, Rivals, by_each_graph
from benchmarks.rows import Measured, Row, row
from serve.settings import Precision

TARGETS = {50: 3.0, 99: 1.0}
"""By percentile: three times sooner in the middle, and ahead at the end."""
Seconds = dict[str, list[list[float]]]
"""Of each server's requests, round by round."""


def measure(bench: Bench) -> Measured:
    """A row for each graph, alternative and percentile; all servers of a row run the same graph."""
    return by_each_graph(bench, "seconds", _measure, _rows)


def _measure(bench: Bench, precision: Precision) -> Seconds:
    """Seconds of each server's requests, round by round."""
    rivals = Rivals(bench, precision=precision)
    with rivals.start_all([OURS, MLFLOW, LITSERVE]) as servers:
        taken: dict[str, list[list[float]]] = {name: [] for name in servers}

        def ask(name: str) -> float:
            server, request = servers[name], rivals.all[name].request
            with server.turn():
                latencies_s(server.port, request, 1)  # it has stood still for a while
                taken[name].append(latencies_s(server.port, request, bench.sizes.requests))
            return float(np.median(taken[name][-1]))

        alternate({name: partial(ask, name) for name in servers}, rounds=bench.rounds)
    return {name: rounds[1:] for name, rounds in taken.items()}  # the first round was the warm-up


def _rows(bench: Bench, precision: Precision, seconds: Seconds, floor_s: float) -> list[Row]:
    figures = {
        (name, percentile): [1000.0 * float(np.percentile(one, percentile)) for one in rounds]
        for name, rounds in seconds.items()
        for percentile in TARGETS
    }
    return [
        row(
            f"classifier request, one clip{IN_WORDS[precision]}, p{percentile}, against {name}",
            figures[OURS, percentile],
            theirs,
            unit="ms",
            target=TARGETS[percentile],
            floor=1000.0 * floor_s,
            device=bench.device,
            note=f"{bench.sizes.requests} requests a round; probabilities agree within {TOLERANCE:g}",
        )
        for (name, percentile), theirs in figures.items()
        if name != OURS
    ]

"""Clips a second under 64 clients at once, beside the other servers and the bare onnxruntime session."""

import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import onnxruntime

from benchmarks.clients import crowd_rate
from benchmarks.context import Bench
from benchmarks.measure import Side, alternate
from benchmarks.rivals import GRAPHS, IN_WORDS, LITSERVE, MLFLOW, OURS, TOLERANCE, UNBATCHED, Rivals, by_each_graph
from benchmarks.rows import Measured, Row, row
from serve.settings import Precision, Settings

CLIENTS = 64
BARE = "the bare session"
TARGETS = {MLFLOW: 3.0, LITSERVE: 3.0, UNBATCHED: 3.0, BARE: 0.8}


def measure(bench: Bench) -> Measured:
    """A row for each graph and alternative. All servers of a row run the same graph with as many threads."""
    return by_each_graph(bench, "clips_per_second", _measure, _rows)


def _measure(bench: Bench, precision: Precision) -> dict[str, list[float]]:
    """Clips a second of each server and of the bare session, round by round."""
    rivals = Rivals(bench, precision=precision, litserve_batch=Settings().max_batch)
    with rivals.start_all([OURS, MLFLOW, LITSERVE, UNBATCHED]) as servers:

        def rate(name: str) -> float:
            server, request = servers[name], rivals.all[name].request
            with server.turn():
                return crowd_rate(server.port, request, clients=CLIENTS, count=bench.sizes.crowd_requests)

        sides: dict[str, Side] = {name: partial(rate, name) for name in servers}
        return alternate(sides | {BARE: _bare(bench, rivals)}, rounds=bench.rounds)


def _rows(bench: Bench, precision: Precision, figures: dict[str, list[float]], floor_s: float) -> list[Row]:
    return [
        row(
            f"clips/s under {CLIENTS} clients{IN_WORDS[precision]}, against {name}",
            figures[OURS],
            figures[name],
            unit="clips/s",
            better="higher",
            target=target,
            floor=1.0 / floor_s,
            device=bench.device,
            note=f"{bench.sizes.crowd_requests} requests a round; probabilities agree within {TOLERANCE:g}",
        )
        for name, target in TARGETS.items()
        if name in figures
    ]


def _bare(bench: Bench, rivals: Rivals) -> Side:
    """The graph with nothing around it, in whatever way it is fastest.

    One run at a time on all cores, clip by clip or in full batches, or a run of one clip on each core.
    """
    graph, waveform = bench.bundle / GRAPHS[rivals.precision], rivals.recording.waveform
    whole, shared = _session(graph, threads=bench.cores), _session(graph, threads=1)

    def rate(session: onnxruntime.InferenceSession, batch: int, lanes: int) -> float:
        given = {"waveform": np.repeat(waveform[None], batch, axis=0)}
        calls = -(-bench.sizes.crowd_requests // (len(ways) * batch * lanes))

        def run(_: int) -> None:
            for _ in range(calls):
                session.run(["probabilities"], given)

        begun = time.perf_counter()
        with ThreadPoolExecutor(lanes) as pool:
            list(pool.map(run, range(lanes)))
        return lanes * calls * batch / (time.perf_counter() - begun)

    ways = [(whole, 1, 1), (whole, Settings().max_batch, 1), (shared, 1, bench.cores)]
    return lambda: max(rate(*way) for way in ways)


def _session(graph: Path, *, threads: int) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    return onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])

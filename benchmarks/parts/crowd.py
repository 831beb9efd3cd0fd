"""Clips a second under 64 clients at once, beside the other servers and the bare onnxruntime session."""

import time
from dataclasses import asdict
from functools import partial

import numpy as np
import onnxruntime

from benchmarks.clients import crowd_rate
from benchmarks.context import Bench
from benchmarks.flops import onnx_flops
from benchmarks.measure import Side, alternate
from benchmarks.rivals import LITSERVE, MLFLOW, OURS, TOLERANCE, UNBATCHED, Rivals
from benchmarks.rows import Measured, row
from benchmarks.servers import missing_peers
from serve.bundle import CLASSIFIER
from serve.settings import Settings

CLIENTS = 64
BARE = "the bare session"
TARGETS = {MLFLOW: 3.0, LITSERVE: 3.0, UNBATCHED: 3.0, BARE: 0.8}


def measure(bench: Bench) -> Measured:
    """A row for each alternative. All servers compute with as many threads."""
    rivals = Rivals(bench, litserve_batch=Settings().max_batch)
    with rivals.start_all([OURS, MLFLOW, LITSERVE, UNBATCHED]) as servers:
        sides: dict[str, Side] = {
            name: partial(
                crowd_rate, server.port, rivals.all[name].request, clients=CLIENTS, count=bench.sizes.crowd_requests
            )
            for name, server in servers.items()
        }
        figures = alternate(sides | {BARE: _bare(bench, rivals)}, rounds=bench.rounds)
    operations = onnx_flops(bench.bundle / CLASSIFIER, {"waveform": rivals.recording.waveform[None]})
    rows = [
        row(
            f"clips/s under {CLIENTS} clients, against {name}",
            figures[OURS],
            figures[name],
            unit="clips/s",
            better="higher",
            target=target,
            floor=bench.rates.float32 / operations,
            device=bench.device,
            note=f"{bench.sizes.crowd_requests} requests a round; probabilities agree within {TOLERANCE:g}",
        )
        for name, target in TARGETS.items()
        if name in figures
    ]
    return Measured(rows, {"clips_per_second": figures, "rates": asdict(bench.rates)}, missing_peers())


def _bare(bench: Bench, rivals: Rivals) -> Side:
    """The graph on full batches, with nothing around it: the better of batches of one and of the server's size."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = bench.cores
    session = onnxruntime.InferenceSession(bench.bundle / CLASSIFIER, options, providers=["CPUExecutionProvider"])
    waveform = rivals.recording.waveform

    def rate(batch: int) -> float:
        given = {"waveform": np.repeat(waveform[None], batch, axis=0)}
        calls = -(-bench.sizes.crowd_requests // (2 * batch))
        begun = time.perf_counter()
        for _ in range(calls):
            session.run(["probabilities"], given)
        return calls * batch / (time.perf_counter() - begun)

    return lambda: max(rate(1), rate(Settings().max_batch))

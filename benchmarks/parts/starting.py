"""A server's start to its first answer, and its memory once it has answered a few requests."""

import statistics
import sys
from functools import partial

from benchmarks.clients import latencies_s, upload
from benchmarks.context import Bench
from benchmarks.measure import alternate, timed
from benchmarks.parts.imports import seconds_of
from benchmarks.rivals import MLFLOW, OURS, Rival, Rivals
from benchmarks.rows import Measured, row
from benchmarks.servers import our_command

WITH_DEMO = "ours with the demo"
WARMED = 20
MEGABYTE = 1e6


def measure(bench: Bench) -> Measured:
    """Both rows; the demo, which MLflow has no counterpart of, is measured beside them."""
    rivals = Rivals(bench)
    sides = [OURS, MLFLOW]
    if not bench.options.quick:
        rivals.all[WITH_DEMO] = Rival(
            lambda port: our_command(bench.bundle, port),
            upload("/v1/classify", rivals.recording.wav),
            rivals.all[OURS].read,
        )
        sides.append(WITH_DEMO)
    memory: dict[str, list[float]] = {name: [] for name in sides}

    def start(name: str) -> float:
        with rivals.start(name) as server:
            latencies_s(server.port, rivals.all[name].request, WARMED)
            memory[name].append(server.memory_bytes() / MEGABYTE)
            return server.first_answer_s

    seconds = alternate({name: partial(start, name) for name in memory}, rounds=bench.rounds)
    memory = {name: values[1:] for name, values in memory.items()}  # the first round was the warm-up
    python_s = timed(lambda: seconds_of([sys.executable, "-c", "pass"]))()
    rows = [
        row(
            "server, process start to first answer, against mlflow models serve",
            seconds[OURS],
            seconds[MLFLOW],
            unit="s",
            target=5.0,
            floor=python_s + _bundle_bytes(bench) / bench.rates.disk_read,
            device=bench.device,
            note=f"without the demo{_with_demo(seconds, 's')}; the floor is Python's own start and reading the bundle",
        ),
        row(
            "server, resident memory, against mlflow models serve",
            memory[OURS],
            memory[MLFLOW],
            unit="MB",
            target=3.0,
            floor=_bundle_bytes(bench) / MEGABYTE,
            device=bench.device,
            note=f"all processes, after {WARMED} answers, without the demo{_with_demo(memory, 'MB')}; the floor is the "
            "bundle's size",
        ),
    ]
    return Measured(rows, {"seconds": seconds, "megabytes": memory})


def _with_demo(figures: dict[str, list[float]], unit: str) -> str:
    """The same with the demo, where that was measured."""
    return f"; with it {statistics.median(figures[WITH_DEMO]):.3g} {unit}" if WITH_DEMO in figures else ""


def _bundle_bytes(bench: Bench) -> int:
    return sum(path.stat().st_size for path in bench.bundle.rglob("*") if path.is_file())

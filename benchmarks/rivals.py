"""The servers that are compared: ours, ours without micro-batching, MLflow's and LitServe, all given one recording."""

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import soundfile
from numpy.typing import NDArray

from benchmarks.agreement import require_close
from benchmarks.clients import Request, ask, posted_json, upload
from benchmarks.context import PEERS, Bench
from benchmarks.flops import onnx_flops
from benchmarks.measure import tell
from benchmarks.rows import Measured, Row
from benchmarks.servers import Server, free_port, litserve_command, missing_peers, our_command, running
from sermodels.audio import read_waveform
from serve.bundle import CLASSIFIER, CLASSIFIER_INT8, load_bundle
from serve.settings import Precision
from serve.wav import wav_bytes

Figures = TypeVar("Figures")

TOLERANCE = 1e-4
"""Of a probability."""
GRAPHS: dict[Precision, str] = {"float32": CLASSIFIER, "int8": CLASSIFIER_INT8}
IN_WORDS: dict[Precision, str] = {"float32": "", "int8": " in int8"}
"""What a row's name has of it."""
OURS, UNBATCHED, MLFLOW, LITSERVE = "ours", "ours without micro-batching", "mlflow models serve", "LitServe"


@dataclass(frozen=True)
class Recording:
    """One clip as a WAV file of 16 bits, and as the samples (sample,) that it decodes to."""

    wav: bytes
    waveform: NDArray[np.float32]

    @staticmethod
    def of(bundle: Path) -> "Recording":
        """The bundle's first example."""
        loaded = load_bundle(bundle)
        rate_hz = loaded.manifest.front_end.sample_rate_hz
        wav = wav_bytes(read_waveform(loaded.examples()[0], sample_rate_hz=rate_hz), rate_hz)
        waveform, _ = soundfile.read(BytesIO(wav), dtype="float32")
        return Recording(wav, waveform)


@dataclass(frozen=True)
class Rival:
    """How a server is started on a port, what it is asked, and where in its answer the probabilities are."""

    command: Callable[[int], list[str]]
    request: Request
    read: Callable[[Any], list[float]]

    def probabilities(self, server: Server) -> list[float]:
        """Its answer."""
        return self.read(json.loads(ask(server.port, self.request)))


class Rivals:
    """All servers of one bundle, and of its classifier's graph of one precision."""

    def __init__(self, bench: Bench, *, precision: Precision = "float32", litserve_batch: int = 1) -> None:
        """Writes the MLflow model; LitServe is left out where its environment is missing."""
        self.bench, self.precision, self.recording = bench, precision, Recording.of(bench.bundle)
        graph, wav, waveform = bench.bundle / GRAPHS[precision], self.recording.wav, self.recording.waveform
        self.labels = load_bundle(bench.bundle).manifest.labels
        ours = upload("/v1/classify", wav)
        self.all = {
            OURS: Rival(lambda port: our_command(bench.bundle, port, "--no-demo"), ours, self._by_label),
            UNBATCHED: Rival(partial(_unbatched_command, bench.bundle), ours, self._by_label),
            MLFLOW: Rival(
                partial(_mlflow_command, self._mlflow_model(graph)),
                posted_json("/invocations", {"inputs": {"waveform": [waveform.tolist()]}}),
                lambda answer: answer["predictions"]["probabilities"][0],
            ),
        }
        if PEERS.exists():
            self.all[LITSERVE] = Rival(
                lambda port: litserve_command(graph, port, threads=bench.cores, batch=litserve_batch),
                upload("/predict", wav),
                lambda answer: answer["probabilities"],
            )

    def _by_label(self, answer: Any) -> list[float]:
        return [answer["probabilities"][label] for label in self.labels]

    def _mlflow_model(self, graph: Path) -> Path:
        folder = self.bench.scratch / f"mlflow-model-{self.precision}"
        if not folder.exists():
            from benchmarks.alternatives.mlflow_model import save_model

            save_model(graph, folder, threads=self.bench.cores)
        return folder

    @contextmanager
    def start(self, name: str) -> Iterator[Server]:
        """One server, which has answered once."""
        port, rival = free_port(), self.all[name]
        log = self.bench.scratch / f"{name.replace(' ', '-')}.log"
        settings = {"SERMODELS_PRECISION": self.precision}
        with running(rival.command(port), port, rival.request, log, settings) as server:
            yield server

    @contextmanager
    def start_all(self, names: Sequence[str]) -> Iterator[dict[str, Server]]:
        """Several servers, once they agree; each stands still but in its `turn`. Raises DisagreementError."""
        with ExitStack() as stack:
            servers = {name: stack.enter_context(self.start(name)) for name in names if name in self.all}
            answers = {name: self.all[name].probabilities(server) for name, server in servers.items()}
            for name, answer in answers.items():
                what = f"probabilities of {name}"
                require_close(what, answers[OURS], answer, tolerance=TOLERANCE, unit="")
            for server in servers.values():
                server.pause()
            yield servers


def by_each_graph(
    bench: Bench,
    name: str,
    measure: Callable[[Bench, Precision], Figures],
    rows_of: Callable[[Bench, Precision, Figures, float], list[Row]],
) -> Measured:
    """What a part measures, with each graph that the bundle has; `name` is that of its raw figures.

    `rows_of` is given the seconds that one clip takes at the machine's rate.
    """
    bundle = load_bundle(bench.bundle)
    operations = onnx_flops(bundle.path(CLASSIFIER), {"waveform": Recording.of(bench.bundle).waveform[None]})
    rows: list[Row] = []
    figures: dict[str, Figures] = {}
    for precision, graph in GRAPHS.items():
        if not bundle.has(graph):
            tell(f"  skipped: {precision}; the bundle has no {graph}")
            continue
        figures[precision] = measure(bench, precision)
        rows += rows_of(bench, precision, figures[precision], operations / getattr(bench.rates, precision))
    return Measured(rows, {name: figures, "flop": operations, "rates": asdict(bench.rates)}, missing_peers())


def _unbatched_command(bundle: Path, port: int) -> list[str]:
    return [sys.executable, "-m", "benchmarks.alternatives.unbatched", str(bundle), str(port)]


def _mlflow_command(folder: Path, port: int) -> list[str]:
    from benchmarks.alternatives.mlflow_model import command

    return command(Path(sys.executable).parent / "mlflow", folder, port)

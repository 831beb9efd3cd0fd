"""One generated clip with its sound: our server's answer, beside a Python loop and librosa's Griffin-Lim."""

import json
from dataclasses import asdict
from typing import Any

import numpy as np

from benchmarks.agreement import require_close
from benchmarks.alternatives.notebook_generation import NotebookGenerator
from benchmarks.clients import ask, latencies_s, posted_json
from benchmarks.context import Bench
from benchmarks.flops import onnx_flops
from benchmarks.measure import alternate, timed
from benchmarks.rivals import OURS, Rivals
from benchmarks.rows import Measured, row
from serve.bundle import CLASSIFIER, UNET_STEP, Diffusion

TOLERANCE_DB = 0.1
"""Of a cell's level: the answer is rounded to 0.01 dB, and float32 differs by its order of sums."""


def measure(bench: Bench) -> Measured:
    """One row."""
    rivals, notebook = Rivals(bench), NotebookGenerator(bench.bundle, threads=bench.cores)
    emotion, diffusion = notebook.manifest.labels[0], notebook.manifest.diffusion
    assert diffusion is not None
    body = {"emotion": emotion, "seed": 7}
    wav = posted_json("/v1/generate", body, accept="audio/wav")
    requests = bench.sizes.generations
    with rivals.start(OURS) as server:
        answer = json.loads(ask(server.port, posted_json("/v1/generate", body)))
        differ_db = _check(answer, notebook, emotion)
        one_by_loop = timed(lambda: notebook.sound(notebook.log_mel(emotion, 7)))
        sides = {
            "ours": lambda: float(np.median(latencies_s(server.port, wav, requests))),
            "loop": lambda: float(np.median([one_by_loop() for _ in range(requests)])),
        }
        figures = alternate(sides, rounds=bench.rounds)
    operations = _operations(bench, rivals, notebook, diffusion)
    one = row(
        "generation request, one clip with sound, p50, against a Python loop and librosa's Griffin-Lim",
        figures["ours"],
        figures["loop"],
        unit="s",
        target=3.0,
        floor=operations / bench.rates.float32,
        device=bench.device,
        note=f"ours over HTTP with a verdict, the loop within this process; both take {diffusion.steps} steps; "
        f"log-mels differ by {differ_db:.3f} dB, allowed {TOLERANCE_DB:g}; the floor leaves the vocoder out",
    )
    return Measured([one], {"seconds": figures, "flop": operations, "rates": asdict(bench.rates)})


def _check(answer: Any, notebook: NotebookGenerator, emotion: str) -> float:
    """Raise DisagreementError unless both made the same log-mel."""
    ours = np.array(answer["clips"][0]["log_mel_db"])
    return require_close("log-mel", ours, notebook.log_mel(emotion, 7), tolerance=TOLERANCE_DB, unit="dB")


def _operations(bench: Bench, rivals: Rivals, notebook: NotebookGenerator, diffusion: Diffusion) -> float:
    """Of all steps, and of the classifier that says what the clip is taken for."""
    noise = np.zeros((1, len(notebook.tensors["mean"]), diffusion.frames), dtype=np.float32)
    given = {
        "x": noise,
        "previous": noise,
        "sigmas": np.array([3.0, 2.0, 1.0], dtype=np.float32),
        "condition": notebook.tensors["centroids"][:1],
        "guidance_scale": np.array(diffusion.guidance_scale, dtype=np.float32),
    }
    step = onnx_flops(bench.bundle / UNET_STEP, given)
    return diffusion.steps * step + onnx_flops(bench.bundle / CLASSIFIER, {"waveform": rivals.recording.waveform[None]})

"""1,200 synthetic clips: our `quick` preset's sampler beside a pixel U-Net of the seed's size with 50 DDPM steps."""

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from typing import Any

import torch

from benchmarks.agreement import require_close
from benchmarks.alternatives.pixel_diffusion import STEPS
from benchmarks.context import PEERS, ROOT, Bench
from benchmarks.flops import torch_flops
from benchmarks.fresh import fresh_diffusion
from benchmarks.machine import matrix_rate
from benchmarks.measure import alternate, tell
from benchmarks.rows import Measured, Row, limit_row, row
from sermodels.config import SynthesisConfig
from sermodels.device import has_bfloat16
from sermodels.diffusion.denoiser import LogMelBatch
from sermodels.diffusion.model import DiffusionModel
from sermodels.synthesis import Draw, sample_log_mels, synthesize

CLIPS = 1200
TOLERANCE_DB = 1.0
"""Of a cell's level, on average, between our bfloat16 and our float32 path."""
GPU_LIMIT_S = 10.0
NOTE = "the Fréchet distance of the clips is in docs/results.md"


class PixelWorker:
    """The pixel U-Net in a process of its own."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        """Waits until the network is there."""
        self.process = process
        self.writer, _, size = self._line().rpartition(" ")
        self.parameters = int(size)

    def step_s(self, kind: str, batch: int) -> float:
        """Seconds of one `sample` or `train` step."""
        assert self.process.stdin is not None
        print(kind, batch, file=self.process.stdin, flush=True)
        return float(self._line())

    def _line(self) -> str:
        assert self.process.stdout is not None
        if not (line := self.process.stdout.readline().strip()):
            raise RuntimeError("the pixel U-Net's process ended, see above")
        return line


@contextmanager
def pixel_worker(device: str) -> Iterator[PixelWorker]:
    """With diffusers' network from the peers' environment, or the one in plain torch."""
    if not PEERS.exists():
        tell("  diffusers is MISSING (run: make peers): the pixel U-Net is plain torch")
    program = str(PEERS if PEERS.exists() else sys.executable)
    command = [program, "-m", "benchmarks.alternatives.pixel_diffusion", device]
    with subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
    ) as process:
        try:
            yield PixelWorker(process)
        finally:
            process.kill()


def measure(bench: Bench) -> Measured:
    """A row for the CPU, and one for the GPU where there is one."""
    on = {"cpu": _on_cpu, "cuda": _on_gpu}
    results = {device: on[device](bench) for device in bench.devices}
    return Measured([one for one, _ in results.values()], {device: raw for device, (_, raw) in results.items()})


def _on_cpu(bench: Bench) -> tuple[Row, dict[str, Any]]:
    """Seconds for all clips, reckoned on both sides from what was measured."""
    model = fresh_diffusion(bench.config)
    differ_db = _check(model, bench.config.synthesis)
    batch = bench.sizes.pixel_batch
    with pixel_worker("cpu") as worker:
        sides = {
            "ours": _ours(bench, model),
            "pixels": lambda: CLIPS * STEPS * worker.step_s("sample", batch) / batch,
        }
        figures = alternate(sides, rounds=bench.rounds)
        training = [worker.step_s("train", batch) / batch for _ in range(2)][-1]
    one = row(
        f"{CLIPS:,} synthetic clips, CPU, against a 224 x 224 pixel U-Net with {STEPS} DDPM steps",
        figures["ours"],
        figures["pixels"],
        unit="s",
        target=150.0,
        floor=_floor_s(model, bench, "cpu"),
        device=bench.device,
        note=f"reckoned from {_clips(bench)} clips of ours, {_start(bench.config.synthesis)}, "
        f"and from {bench.rounds} steps of {batch} pictures by "
        f"{worker.writer} ({worker.parameters / 1e6:.1f} M); bfloat16 differs from float32 by {differ_db:.2f} dB on "
        f"average, allowed {TOLERANCE_DB:g}; {NOTE}",
    )
    raw = {"seconds": figures, "pixel_train_s_a_clip": training, "writer": worker.writer, "size": worker.parameters}
    return one, raw


def _on_gpu(bench: Bench) -> tuple[Row, dict[str, Any]]:
    """All 1,200 clips, measured as they are."""
    model = fresh_diffusion(bench.config)
    model.denoiser.to("cuda")
    figures = alternate({"ours": _ours(bench, model, per_emotion=CLIPS // 6)}, rounds=bench.rounds)
    one = limit_row(
        f"{CLIPS:,} synthetic clips, GPU",
        figures["ours"],
        limit=GPU_LIMIT_S,
        unit="s",
        floor=_floor_s(model, bench, "cuda"),
        device=torch.cuda.get_device_name(),
        note=f"the alternative is a limit; clips {_start(bench.config.synthesis)}; {NOTE}",
    )
    return one, {"seconds": figures}


def _clips(bench: Bench) -> int:
    return bench.sizes.synthetic_per_emotion * len(bench.config.corpus.emotions)


def _start(config: SynthesisConfig) -> str:
    """What clips are made from, in words."""
    if config.strength == 1.0:
        return f"from pure noise in {config.steps} steps"
    return f"from clips that are noised by {config.strength:g}, in the last steps of {config.steps}"


def _ours(bench: Bench, model: DiffusionModel, *, per_emotion: int | None = None) -> Any:
    """Sampling and storing log-mels as the pipeline does, into an empty folder each time; seconds for all clips."""
    wanted = per_emotion or bench.sizes.synthetic_per_emotion
    config = bench.config.synthesis.model_copy(update={"per_emotion": wanted})
    numbers = count()

    def side() -> float:
        begun = time.perf_counter()
        folder = bench.scratch / f"synthesis-{wanted}-{next(numbers)}"
        draws = synthesize(model, config, folder, seed=0, originals=lambda draws: _originals(model, len(draws)))
        return (time.perf_counter() - begun) * CLIPS / len(draws)

    return side


def _originals(model: DiffusionModel, count: int) -> LogMelBatch:
    """What clips start from in the place of real ones, z-scored as those are."""
    return torch.randn(count, len(model.mean), model.config.frames, generator=torch.Generator().manual_seed(0))


def _check(model: DiffusionModel, config: SynthesisConfig) -> float:
    """The mean difference in dB of our fast path from float32 on the same noise. Raises DisagreementError."""
    draws = [Draw(emotion, 0) for emotion in range(2)]
    fast, plain = (
        sample_log_mels(
            DiffusionModel(
                model.config.model_copy(update={"precision": precision}),
                model.denoiser,
                model.embeddings,
                model.mean,
                model.std,
                model.top_db,
            ),
            draws,
            config,
            seed=0,
            originals=_originals(model, len(draws)),
        )
        for precision in ("auto", "float32")
    )
    difference_db = float((fast - plain).abs().mean())
    return require_close("log-mels in both precisions", [difference_db], [0.0], tolerance=TOLERANCE_DB, unit="dB")


def _floor_s(model: DiffusionModel, bench: Bench, device: str) -> float:
    """All passes of the network at the matrix rate of its number format."""
    config = bench.config.synthesis
    draws, originals = [Draw(0, 0), Draw(1, 0)], _originals(model, 2)
    operations = torch_flops(lambda: sample_log_mels(model, draws, config, seed=0, originals=originals)) / 2
    half = has_bfloat16(torch.device(device)) and model.config.precision != "float32"
    if device == "cpu":
        return CLIPS * operations / (bench.rates.bfloat16 if half else bench.rates.float32)
    return CLIPS * operations / matrix_rate(torch.bfloat16 if half else torch.float32, device)

"""What one core does a second at each costly stage, and the operations a clip: the measured half of docs/scaling.md.

    OMP_NUM_THREADS=1 python tools/throughput.py full quick

Seconds are those that the processor worked for this process, so a busy machine gives about the same figures.
"""

import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import soundfile
import torch

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.flops import torch_flops  # noqa: E402
from benchmarks.fresh import fresh_classifier, fresh_diffusion  # noqa: E402
from sermodels.audio import read_waveform  # noqa: E402
from sermodels.cache import read_log_mel, write_log_mel  # noqa: E402
from sermodels.clips import ClipSet, frames_of  # noqa: E402
from sermodels.config import Config  # noqa: E402
from sermodels.diffusion.training import batch_loss  # noqa: E402
from sermodels.features import LogMel  # noqa: E402
from sermodels.files import sha256_of_file  # noqa: E402
from sermodels.presets import resolve_config  # noqa: E402
from sermodels.synthesis import Draw, sample_log_mels  # noqa: E402

CLIP_S, RATE_HZ = 3.0, 16_000
CLIPS, BATCH = 40, 4


def core_seconds(work: Callable[[], object]) -> float:
    """Processor time of a call."""
    begun = time.process_time()
    work()
    return time.process_time() - begun


def measure_caching(config: Config, folder: Path) -> dict[str, float]:
    """Recordings of 3 s at 16 kHz to cached log-mels, as the stage does it."""
    rng = np.random.default_rng(0)
    front_end = LogMel(config.front_end).eval()
    sources = [folder / f"{number}.wav" for number in range(CLIPS)]
    for path in sources:
        soundfile.write(path, rng.normal(scale=0.1, size=int(CLIP_S * RATE_HZ)), RATE_HZ, subtype="PCM_16")

    @torch.inference_mode()
    def cache() -> None:
        for path in sources:
            sha256_of_file(path)
            waveform = read_waveform(path, sample_rate_hz=config.front_end.sample_rate_hz)
            write_log_mel(path.with_suffix(".npz"), front_end(torch.from_numpy(waveform)[None])[0].numpy())

    def read() -> None:
        for path in sources:
            read_log_mel(path.with_suffix(".npz"))

    seconds = core_seconds(cache)
    size = sum(path.with_suffix(".npz").stat().st_size for path in sources)
    return {
        "caching: hours of audio a core-hour": CLIPS * CLIP_S / seconds,
        "cache: clips read a core-second": CLIPS / core_seconds(read),
        "cache: MB an hour of audio": size / (CLIPS * CLIP_S) * 3600 / 1e6,
    }


def random_clips(config: Config) -> ClipSet:
    """A batch of clips of noise in dB."""
    frames = frames_of(CLIP_S, config.front_end)
    rng = np.random.default_rng(0)
    log_mels = rng.normal(-50, 10, (BATCH, config.front_end.n_mels, frames)).astype(np.float16)
    return ClipSet.build(list(log_mels), [0] * BATCH)


def measure_classifier(config: Config) -> dict[str, float]:
    """One optimiser step's forward and backward pass, and a pass without gradients."""
    classifier = fresh_classifier(config)
    classifier.freeze(())
    trained, heard = (
        random_clips(config).batch(
            torch.arange(BATCH), torch.zeros(BATCH, dtype=torch.int64), frames_of(duration_s, config.front_end)
        )
        for duration_s in (config.clip.duration_s, config.clip.heard_s)
    )

    def train() -> None:
        classifier.train()(trained).sum().backward()

    @torch.inference_mode()
    def infer() -> None:
        classifier.eval()(heard)

    size = sum(parameter.numel() for parameter in classifier.parameters())
    return {
        "classifier: millions of parameters": size / 1e6,
        "classifier: GFLOP a clip trained": torch_flops(train) / BATCH / 1e9,
        "classifier: clips trained a core-second": BATCH / core_seconds(train),
        "classifier: clips evaluated a core-second": BATCH / core_seconds(infer) / config.clip.views,
    }


def measure_diffusion(config: Config) -> dict[str, float]:
    """A training step of the denoiser, and clips drawn from it."""
    model = fresh_diffusion(config)
    clips, rows = random_clips(config), torch.arange(BATCH)
    draws = [Draw(0, number) for number in range(BATCH)]

    def train() -> None:
        batch_loss(model, clips, rows, (0, 0, 0)).backward()

    def synthesize() -> None:
        sample_log_mels(model, draws, config.synthesis, seed=0)

    return {
        "diffusion: millions of parameters": sum(one.numel() for one in model.denoiser.parameters()) / 1e6,
        "diffusion: GFLOP a clip trained": torch_flops(train) / BATCH / 1e9,
        "diffusion: clips trained a core-second": BATCH / core_seconds(train),
        "synthesis: clips a core-second": BATCH / core_seconds(synthesize),
    }


def main(presets: list[str]) -> None:
    """Print a table with a column for each preset."""
    torch.set_num_threads(1)
    columns = []
    for preset in presets:
        config = resolve_config(preset, [])
        with tempfile.TemporaryDirectory() as folder:
            columns.append(measure_caching(config, Path(folder)))
        columns[-1] |= measure_classifier(config) | measure_diffusion(config)
    print("| measured |" + "|".join(f" `{preset}` " for preset in presets) + "|")
    print("| --- |" + " ---: |" * len(presets))
    for name in columns[0]:
        print(f"| {name} | " + " | ".join(f"{column[name]:,.3g}" for column in columns) + " |")


if __name__ == "__main__":
    main(sys.argv[1:])

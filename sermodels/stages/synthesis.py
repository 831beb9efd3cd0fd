"""Stage `synthesis`: synthetic clips of every emotion with their provenance, some of them as sound."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from sermodels.config import Config
from sermodels.device import best_device
from sermodels.diffusion.model import DiffusionModel
from sermodels.files import atomic_write, sha256_of_json, write_json
from sermodels.plots import log_mel_grid, save_figure
from sermodels.stages.context import RunContext
from sermodels.stages.diffusion import DENOISER_FILE
from sermodels.stages.originals import Originals
from sermodels.stages.quality import measure_quality
from sermodels.store import StageResult, run_stage
from sermodels.synthesis import read_synthetic, synthesize
from sermodels.vocoder import log_mel_to_waveform

VERSION = 2


def run_synthesis(
    context: RunContext,
    diffusion: StageResult,
    judge: StageResult,
    *,
    on_progress: Callable[[float], None] = lambda share: None,
) -> StageResult:
    """Draw the synthetic clips of a split.

    `judge` is a classifier stage that had no part in making them: it says how good they are, and which of them are
    near-copies of a training clip, which no classifier is trained on.
    """
    inputs = context.inputs("front_end", "synthesis", version=VERSION, diffusion=diffusion.key, judge=judge.key)
    return run_stage(
        context.workspace,
        "synthesis",
        inputs,
        lambda folder: _synthesize(context, diffusion, judge, on_progress, folder),
    )


def _synthesize(
    context: RunContext, diffusion: StageResult, judge: StageResult, on_progress: Callable[[float], None], folder: Path
) -> None:
    """Everything that the stage does, in its folder."""
    config, split = context.config, context.split()
    model = DiffusionModel.load(diffusion.folder / DENOISER_FILE)
    model.denoiser.to(best_device())
    originals = Originals(context, model) if config.synthesis.strength < 1.0 else None
    draws = synthesize(
        model,
        config.synthesis,
        folder / "clips",
        seed=config.seed,
        originals=originals.standardized if originals else None,
        on_progress=on_progress,
    )
    log_mels, labels = read_synthetic(folder / "clips", len(model.embeddings.labels), config.synthesis)
    _listen(config, log_mels, labels, folder)
    quality = measure_quality(context, judge, log_mels, labels, folder)
    write_json(folder / "figures.json", quality.figures)
    provenance = {
        "split": split.name,
        "training_clips": list(split.training),
        "training_digest": sha256_of_json(list(split.training)),
        "diffusion": diffusion.key,
        "seed": config.seed,
        "synthesis": config.synthesis.model_dump(mode="json"),
        "clips": [
            {
                "identifier": f"synthetic/{emotion}-{draw.number:05d}",
                "emotion": emotion,
                "seed": [config.seed, draw.emotion, draw.number],
                "original": originals.identifier(draw) if originals else "",
                "near_copy": bool(copy),
            }
            for draw, copy in zip(draws, quality.copies, strict=True)
            for emotion in [model.embeddings.labels[draw.emotion]]
        ],
    }
    write_json(folder / "provenance.json", provenance)


def _listen(config: Config, log_mels: list[NDArray[np.float16]], labels: list[int], folder: Path) -> None:
    """A few clips of each emotion as wav files, and their log-mels in one picture."""
    import soundfile

    audible = config.synthesis.audio_per_emotion
    rows = [
        [log_mels[place] for place, label in enumerate(labels) if label == emotion][: max(1, audible)]
        for emotion in sorted(set(labels))
    ]
    save_figure(
        log_mel_grid(rows, config.corpus.emotions, config.front_end, "Synthetic clips"), folder / "synthetic.png"
    )
    chosen = [(emotion, number) for emotion, row in enumerate(rows) for number in range(min(audible, len(row)))]
    for emotion, number in tqdm(chosen, desc="Griffin-Lim", unit="clip"):
        waveform = log_mel_to_waveform(rows[emotion][number], config.front_end)
        with atomic_write(folder / "audio" / f"{config.corpus.emotions[emotion]}-{number:02d}.wav") as temporary:
            soundfile.write(temporary, waveform, config.front_end.sample_rate_hz, subtype="PCM_16", format="WAV")

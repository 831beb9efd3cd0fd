"""Stage `synthesis`: synthetic clips of every emotion with their provenance, some of them as sound."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from sermodels.classifier_checkpoint import CLASSIFIER_FILE, load_classifier
from sermodels.clips import ClipSet, frames_of
from sermodels.config import Config
from sermodels.device import best_device
from sermodels.diffusion.model import DiffusionModel
from sermodels.evaluation import figures
from sermodels.files import atomic_write, sha256_of_json, write_json
from sermodels.plots import log_mel_grid, save_figure
from sermodels.stages.context import RunContext
from sermodels.stages.diffusion import DENOISER_FILE
from sermodels.store import StageResult, run_stage
from sermodels.synthesis import read_synthetic, synthesize
from sermodels.training import TrainingData, predict
from sermodels.vocoder import log_mel_to_waveform

VERSION = 1


def run_synthesis(
    context: RunContext,
    diffusion: StageResult,
    judge: StageResult,
    *,
    on_progress: Callable[[float], None] = lambda share: None,
) -> StageResult:
    """Draw the synthetic clips of a split.

    `judge` is a classifier stage that says how often a clip is taken for the emotion it was made for; it is the one
    that the conditions come from, so its agreement is a check of the wiring, not a measure of quality.
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
    draws = synthesize(model, config.synthesis, folder / "clips", seed=config.seed, on_progress=on_progress)
    log_mels, labels = read_synthetic(folder / "clips", len(model.embeddings.labels), config.synthesis)
    _listen(config, log_mels, labels, folder)
    write_json(folder / "figures.json", _agreement(config, judge, log_mels, labels))
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
            }
            for draw in draws
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


def _agreement(
    config: Config, judge: StageResult, log_mels: list[NDArray[np.float16]], labels: list[int]
) -> dict[str, int | float]:
    """Figures of the judge on the synthetic clips, with the emotion they were made for as the truth."""
    device = best_device()
    classifier, _ = load_classifier(judge.folder / CLASSIFIER_FILE)
    clips = ClipSet.from_config(log_mels, labels, config.clip, config.front_end).to(device)
    everything = np.arange(len(clips))
    frames = frames_of(config.clip.duration_s, config.front_end)
    fed = TrainingData(clips, everything, everything, len(clips), frames, config.clip)
    found = figures(
        np.array(labels), predict(classifier.to(device), fed, everything, config.training), config.corpus.emotions
    )
    return {"clips": len(labels), **{f"agreement/{name}": value for name, value in found.items()}}

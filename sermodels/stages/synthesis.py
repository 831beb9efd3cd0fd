"""Stage `synthesis`: synthetic clips of every emotion with their provenance, some of them as sound."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sermodels.config import Config
from sermodels.device import best_device
from sermodels.diffusion.model import DiffusionModel
from sermodels.files import sha256_of_json, write_json
from sermodels.listening import write_audio, write_picture
from sermodels.stages.context import RunContext
from sermodels.stages.diffusion import DENOISER_FILE
from sermodels.stages.originals import Originals
from sermodels.stages.quality import measure_quality
from sermodels.store import StageResult, is_complete, run_stage, stage_folder
from sermodels.synthesis import Draw, read_synthetic, synthesize

NAME = "synthesis"
VERSION = 3


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
    return run_stage(
        context.workspace,
        NAME,
        _inputs(context, diffusion, judge),
        lambda folder: _synthesize(context, diffusion, judge, on_progress, folder),
    )


def draw_part(
    context: RunContext,
    diffusion: StageResult,
    judge: StageResult,
    *,
    part: int,
    parts: int,
    on_progress: Callable[[float], None] = lambda share: None,
) -> None:
    """Draw a part of the clips of `run_synthesis`, which finds them in its folder and draws those that it lacks.

    Parts may run at the same time, before it: each shard is there whole or not at all, and always the same.
    """
    _, folder = stage_folder(context.workspace, NAME, _inputs(context, diffusion, judge))
    if not is_complete(folder):
        model, originals = _model(context, diffusion)
        _draw(context, model, originals, folder, on_progress, part=part, parts=parts)


def _inputs(context: RunContext, diffusion: StageResult, judge: StageResult) -> dict[str, Any]:
    """What identifies the stage."""
    return context.inputs("front_end", "synthesis", version=VERSION, diffusion=diffusion.key, judge=judge.key)


def _model(context: RunContext, diffusion: StageResult) -> tuple[DiffusionModel, Originals | None]:
    """The model on its device, and the real clips that it starts from, if it does."""
    model = DiffusionModel.load(diffusion.folder / DENOISER_FILE)
    model.denoiser.to(best_device())
    return model, Originals(context, model) if context.config.synthesis.strength < 1.0 else None


def _draw(
    context: RunContext,
    model: DiffusionModel,
    originals: Originals | None,
    folder: Path,
    on_progress: Callable[[float], None],
    **which: int,
) -> list[Draw]:
    """Draw the shards that the stage's folder lacks."""
    return synthesize(
        model,
        context.config.synthesis,
        folder / "clips",
        seed=context.config.seed,
        originals=originals.standardized if originals else None,
        on_progress=on_progress,
        **which,
    )


def _synthesize(
    context: RunContext, diffusion: StageResult, judge: StageResult, on_progress: Callable[[float], None], folder: Path
) -> None:
    """Everything that the stage does, in its folder."""
    config, split = context.config, context.split()
    model, originals = _model(context, diffusion)
    draws = _draw(context, model, originals, folder, on_progress)
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
                "agreement": float(agreement),
            }
            for draw, copy, agreement in zip(draws, quality.copies, quality.agreement, strict=True)
            for emotion in [model.embeddings.labels[draw.emotion]]
        ],
    }
    write_json(folder / "provenance.json", provenance)


def _listen(config: Config, log_mels: list[NDArray[np.float16]], labels: list[int], folder: Path) -> None:
    """A few clips of each emotion as wav files, and their log-mels in one picture."""
    audible, emotions = config.synthesis.audio_per_emotion, config.corpus.emotions
    rows = {
        emotions[number]: [log_mels[place] for place, label in enumerate(labels) if label == number][: max(1, audible)]
        for number in sorted(set(labels))
    }
    write_picture(rows, config.front_end, folder / "synthetic.png", "Synthetic clips")
    heard = {emotion: row[:audible] for emotion, row in rows.items()}
    write_audio(heard, config.front_end, folder / "audio")

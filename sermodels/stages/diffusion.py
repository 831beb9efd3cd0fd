"""Stage `diffusion`: the denoiser trained on the split's training clips."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from sermodels import ranks
from sermodels.checkpoint import load_tensors
from sermodels.clips import ClipSet, statistics_of
from sermodels.config import Config
from sermodels.device import best_device
from sermodels.diffusion.model import DiffusionModel, build_denoiser
from sermodels.diffusion.training import train_denoiser
from sermodels.embedding import EmotionEmbeddings
from sermodels.files import write_json
from sermodels.plots import curves, log_mel_grid, save_figure
from sermodels.randomness import torch_seed
from sermodels.splits import check_fitted
from sermodels.stages.context import RunContext, RunData
from sermodels.stages.embedding import EMBEDDINGS_FILE, VECTORS_FILE
from sermodels.stages.launch import Request, train_together, wanted_ranks
from sermodels.store import StageResult, run_stage
from sermodels.synthesis import Draw, sample_log_mels
from sermodels.training import OnEpoch

VERSION = 2
DENOISER_FILE = "denoiser.safetensors"
STATE_FILE = "state.safetensors"
SAMPLES_PER_EMOTION = 4

OnPicture = Callable[[int, Path], None]
"""Called with the epoch and the file of a picture as soon as it is there."""


def run_diffusion(
    context: RunContext,
    embedding: StageResult,
    *,
    on_epoch: OnEpoch = lambda record: None,
    on_picture: OnPicture = lambda epoch, path: None,
) -> StageResult:
    """Train the diffusion model; the folder holds its averaged weights, its history and sample grids as it trained."""
    inputs = context.inputs("front_end", "clip", "diffusion", version=VERSION, embedding=embedding.key)
    result = run_stage(
        context.workspace,
        "diffusion",
        inputs,
        lambda folder: _train_here_or_together(context, embedding, on_epoch, on_picture, folder),
    )
    if result.reused:
        for record in result.read("history.json"):
            on_epoch(record)
        _show_again(result.folder, on_picture)
    return result


def _show_again(folder: Path, on_picture: OnPicture) -> None:
    """Hand out the sample grids that lie in the folder already."""
    for path in sorted(folder.glob("samples-epoch-*.png")):
        on_picture(int(path.stem.split("-")[-1]), path)


def _train_here_or_together(
    context: RunContext, embedding: StageResult, on_epoch: OnEpoch, on_picture: OnPicture, folder: Path
) -> None:
    """In this process, or with more than one GPU in a process for each."""
    if (processes := wanted_ranks()) == 1:
        train(context, embedding, on_epoch, on_picture, folder)
        return

    def hear(kind: str, value: Any) -> None:
        if kind == "epoch":
            on_epoch(value)
        else:
            on_picture(value[0], Path(value[1]))

    train_together(Request("diffusion", context, folder, embedding), processes, hear)


def train(context: RunContext, embedding: StageResult, on_epoch: OnEpoch, on_picture: OnPicture, folder: Path) -> None:
    """Everything that the stage does, in its folder; where several processes train together, the first one writes."""
    config, split, data, device = context.config, context.split(), context.load(), best_device()
    clips = diffusion_clips(config, data).to(device)
    training = data.indices(split.training)
    mean, std = statistics_of(clips, torch.from_numpy(training).to(device))
    _, vectors = load_tensors(embedding.folder / VECTORS_FILE)
    check_fitted("centroids", vectors["clips"], split)
    embeddings = EmotionEmbeddings.load(embedding.folder / EMBEDDINGS_FILE)
    torch.manual_seed(torch_seed(config.seed))
    denoiser = build_denoiser(config.diffusion, condition_size=embeddings.width).to(device)
    model = DiffusionModel(config.diffusion, denoiser, embeddings, mean, std, config.front_end.top_db)

    _show_again(folder, on_picture)  # what was drawn before a kill

    def show(epoch: int, current: DiffusionModel) -> None:
        path = folder / f"samples-epoch-{epoch + 1:04d}.png"
        _sample_grid(context, current, epoch, path)
        on_picture(epoch + 1, path)

    history = train_denoiser(
        model, clips, training, seed=config.seed, checkpoint=folder / STATE_FILE, on_epoch=on_epoch, on_samples=show
    )
    if ranks.rank():
        return
    save_figure(curves(history, f"diffusion, {split.name}"), folder / "curves.png")
    write_json(folder / "history.json", history)
    parameters = sum(parameter.numel() for parameter in denoiser.parameters())
    write_json(folder / "figures.json", {"parameters": parameters, "train/loss": history[-1]["train/loss"]})
    model.save(folder / DENOISER_FILE)
    (folder / STATE_FILE).unlink(missing_ok=True)


def diffusion_clips(config: Config, data: RunData) -> ClipSet:
    """The clips as the diffusion model is trained on them."""
    return ClipSet.build(
        data.log_mels,
        data.labels.tolist(),
        trim_db=config.diffusion.trim_db,
        level=config.clip.level,
        top_db=config.front_end.top_db,
    )


def _sample_grid(context: RunContext, model: DiffusionModel, epoch: int, path: Path) -> None:
    """A few samples of each emotion, always from the same noise so that progress can be seen."""
    config, labels = context.config, model.embeddings.labels
    draws = [Draw(emotion, number) for emotion in range(len(labels)) for number in range(SAMPLES_PER_EMOTION)]
    log_mels = sample_log_mels(model, draws, config.synthesis, seed=config.seed).cpu().numpy()
    rows = log_mels.reshape(len(labels), SAMPLES_PER_EMOTION, *log_mels.shape[1:])
    save_figure(
        log_mel_grid([list(row) for row in rows], labels, config.front_end, f"Samples after epoch {epoch + 1}"), path
    )

"""Clips on demand from a registered diffusion model: sound, pictures and provenance as an MLflow run."""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from prefect import flow, task
from prefect.cache_policies import NO_CACHE

from flows import registry, tracking
from flows.evaluate import named_version
from flows.finished import params_of
from flows.forms import SynthesisRequest
from flows.registry import RegisteredVersion, RegistryError
from flows.retries import IO_TASK
from flows.tasks import progress_in_prefect
from flows.tracking import Run
from sermodels.config import FrontEndConfig
from sermodels.device import best_device
from sermodels.diffusion.model import DiffusionModel
from sermodels.errors import ConfigError
from sermodels.files import write_json
from sermodels.listening import LogMels, audio_name, write_audio, write_picture
from sermodels.synthesis import Draw, draw_log_mels

IN_A_ROW = 8
"""Clips side by side in a picture."""


@flow(name="synthesize", log_prints=True, validate_parameters=False)
def synthesize_clips(request: SynthesisRequest) -> str:
    """Make the clips and log them; returns the id of the MLflow run.

    Raises RegistryError when there is no such model, and ConfigError when it does not know an emotion or has fewer
    steps.
    """
    tracking.setup()
    version = named_version(request.model)
    name = registry.described(version)
    tags = {"stage": "generation", "model": version.name, "version": str(version.version)}
    with tempfile.TemporaryDirectory() as scratch, tracking.open_run(f"clips of {name}", tags=tags) as run:
        run.log_params(request.model_dump(mode="json"))
        generation_task(request, version, Path(scratch), run)
        print(f"clips of {name}: MLflow run {run.run_id}")
    return run.run_id


@task(name="generation", cache_policy=NO_CACHE, **IO_TASK)
def generation_task(request: SynthesisRequest, version: RegisteredVersion, scratch: Path, run: Run) -> None:
    """Draw the clips, make them heard and seen, and log them with where they come from."""
    model = DiffusionModel.load(registry.fetch_checkpoint(version, scratch / "model"))
    emotions = chosen_emotions(request, model)
    front_end = front_end_of(version)
    log_mels = drawn(request, model, emotions)
    folder = scratch / "clips"
    write_audio(log_mels, front_end, folder / "audio")
    for emotion, clips in log_mels.items():
        rows = {f"{emotion} {first}": clips[first : first + IN_A_ROW] for first in range(0, len(clips), IN_A_ROW)}
        write_picture(rows, front_end, folder / "pictures" / f"{emotion}.png", request.model)
    write_json(folder / "provenance.json", provenance(request, version, model, emotions))
    run.log_folder(folder, patterns=["**/*"])
    run.log_metrics({"clips": float(request.count * len(emotions))})


def chosen_emotions(request: SynthesisRequest, model: DiffusionModel) -> tuple[str, ...]:
    """The emotions that are wanted, all of the model's by default. Raises ConfigError."""
    labels = model.embeddings.labels
    if unknown := [emotion for emotion in request.emotions if emotion not in labels]:
        raise ConfigError(f"{request.model} was not taught {unknown[0]}; it knows: {', '.join(labels)}")
    return request.emotions or labels


def drawn(request: SynthesisRequest, model: DiffusionModel, emotions: Sequence[str]) -> LogMels:
    """Each emotion's log-mels (mel, frame) in dB."""
    labels = model.embeddings.labels
    draws = [Draw(labels.index(emotion), number) for emotion in emotions for number in range(request.count)]
    model.denoiser.to(best_device())
    progress = progress_in_prefect("clips drawn")
    log_mels = draw_log_mels(model, draws, request.config(), seed=request.seed, on_progress=progress)
    return {
        emotion: log_mels[place * request.count : (place + 1) * request.count] for place, emotion in enumerate(emotions)
    }


def front_end_of(version: RegisteredVersion) -> FrontEndConfig:
    """The front end whose log-mels the model was trained on, from the run that trained it. Raises RegistryError."""
    params = params_of(str(version.run_id))
    values = {
        name: params[f"front_end.{name}"] for name in FrontEndConfig.model_fields if f"front_end.{name}" in params
    }
    if len(values) < len(FrontEndConfig.model_fields):
        raise RegistryError(f"{registry.described(version)}: its run {version.run_id} does not name its front end")
    return FrontEndConfig.model_validate(values)


def provenance(
    request: SynthesisRequest, version: RegisteredVersion, model: DiffusionModel, emotions: Sequence[str]
) -> dict[str, Any]:
    """Where every clip comes from, and how to make it again."""
    labels = model.embeddings.labels
    return {
        "model": version.name,
        "version": str(version.version),
        "run": str(version.run_id),
        "diffusion": version.tags[tracking.STAGE_KEY_TAG],
        "split": version.tags["split"],
        "data_digest": version.tags["data_digest"],
        "git_commit": tracking.git_commit(),
        "seed": request.seed,
        "synthesis": request.config().model_dump(mode="json"),
        "clips": [
            {
                "file": f"audio/{audio_name(emotion, number)}",
                "emotion": emotion,
                "seed": [request.seed, labels.index(emotion), number],
            }
            for emotion in emotions
            for number in range(request.count)
        ],
    }

"""What deployments and the command line ask for: small models that Prefect's UI shows as forms."""

from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, ValidationError, field_validator

from flows.defaults import CLIPS_PER_EMOTION, DIFFUSION, STAGES, STAGES_HELP, WORKSPACE
from sermodels.config import Config, Section, Seed, SynthesisConfig
from sermodels.emotions import ALL_EMOTIONS
from sermodels.errors import ConfigError
from sermodels.presets import resolve_config

USUAL = SynthesisConfig()


class SynthesisRequest(Section):
    """Which clips are wanted. The same request to the same model gives the same clips."""

    model: Annotated[
        str,
        Field(
            title="Model",
            description="A registered diffusion model, as name@alias or name/number.",
            pattern=r"^[\w.-]+[@/][\w.-]+$",
        ),
    ] = DIFFUSION
    emotions: Annotated[
        tuple[str, ...],
        Field(
            title="Emotions",
            description="Which emotions are spoken; none chosen means every emotion of the model.",
            json_schema_extra={"items": {"type": "string", "enum": list(ALL_EMOTIONS)}, "uniqueItems": True},
        ),
    ] = ()
    count: Annotated[int, Field(title="Clips", description="How many clips of each emotion.", ge=1, le=200)] = (
        CLIPS_PER_EMOTION
    )
    seed: Annotated[Seed, Field(title="Seed", description="Another seed gives other clips.")] = 0
    steps: Annotated[
        int,
        Field(
            title="Steps",
            description="Denoising steps: more are slower and finer, at most as many as the model was trained with.",
            ge=1,
            le=1000,
        ),
    ] = USUAL.steps
    guidance_scale: Annotated[
        float,
        Field(
            title="Guidance scale",
            description="How strongly the emotion is stressed; 1 is none.",
            ge=0.0,
            le=20.0,
        ),
    ] = USUAL.guidance_scale

    @field_validator("emotions")
    @classmethod
    def _known(cls, emotions: tuple[str, ...]) -> tuple[str, ...]:
        """Each emotion once."""
        if unknown := [emotion for emotion in emotions if emotion not in ALL_EMOTIONS]:
            raise ValueError(f"unknown emotion {unknown[0]!r}; allowed: {', '.join(ALL_EMOTIONS)}")
        return tuple(dict.fromkeys(emotions))

    def config(self) -> SynthesisConfig:
        """What the sampler is told."""
        return USUAL.model_copy(
            update={"per_emotion": self.count, "steps": self.steps, "guidance_scale": self.guidance_scale}
        )


class TrainingRequest(Section):
    """What is trained, on what, and where it is kept. Empty values mean: as in the preset."""

    preset: Annotated[
        str, Field(title="Preset", description="demo, quick, seed, full, or the path of a .yaml file.", min_length=1)
    ] = "quick"
    data_dir: Annotated[
        str, Field(title="Recordings", description="Folder that holds the corpora, such as emodb/ and ravdess/.")
    ] = ""
    workspace: Annotated[
        str, Field(title="Workspace", description="Folder for cache, stages and checkpoints.", min_length=1)
    ] = WORKSPACE
    stages: Annotated[str, Field(title="Stages", description=STAGES_HELP, pattern="^[ABCD]+$")] = STAGES
    overrides: Annotated[
        str, Field(title="Overrides", description="Config values on top: training.epochs=5 split.fold=all")
    ] = ""
    skip_unreadable: Annotated[
        bool, Field(title="Skip unreadable recordings", description="Go on without them; else they stop the run.")
    ] = False

    def config(self) -> Config:
        """The resolved config. Raises ConfigError."""
        folder = [f"corpus.data_dir={self.data_dir}"] if self.data_dir else []
        return resolve_config(self.preset, [*folder, *self.overrides.split()])

    @property
    def name(self) -> str:
        """By which runs of this preset are found in MLflow."""
        return Path(self.preset).stem


class DriftRequest(Section):
    """Which answers are compared with the training data, and what follows."""

    watch_dir: Annotated[
        str, Field(title="Records", description="The folder in the server's SERMODELS_WATCH_DIR.", min_length=1)
    ] = f"{WORKSPACE}/watch"
    workspace: Annotated[
        str, Field(title="Workspace", description="Folder with the log-mel cache of the training.", min_length=1)
    ] = WORKSPACE
    days: Annotated[float, Field(title="Days", description="How far back.", gt=0.0)] = 7.0
    min_records: Annotated[int, Field(title="Fewest answers", description="With fewer nothing is compared.", ge=1)] = (
        100
    )
    min_share: Annotated[
        float, Field(title="Share", description="Share of drifted columns that is called drift.", gt=0.0, le=1.0)
    ] = 0.3
    retrain: Annotated[
        str, Field(title="Retraining", description="Deployment to run on drift, as flow/deployment; empty: none.")
    ] = ""


def request_of(values: dict[str, Any]) -> SynthesisRequest:
    """The request that the command line asks for; empty values mean the default. Raises ConfigError."""
    try:
        return SynthesisRequest.model_validate({name: value for name, value in values.items() if value not in ("", ())})
    except ValidationError as error:
        lines = [f"--{str(one['loc'][0]).replace('_', '-')} {one['input']!r}: {one['msg']}" for one in error.errors()]
        raise ConfigError("\n".join(lines)) from error

"""The configuration: nested frozen models, unknown keys are errors, each default written once."""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from sermodels.emotions import ALL_EMOTIONS, COMMON_EMOTIONS

Probability = Annotated[float, Field(ge=0.0, le=1.0)]
PositiveInt = Annotated[int, Field(gt=0)]
PositiveFloat = Annotated[float, Field(gt=0.0)]
NonNegativeFloat = Annotated[float, Field(ge=0.0)]
NonNegativeInt = Annotated[int, Field(ge=0)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]
Precision = Literal["auto", "bfloat16", "float32"]
"""`auto`: bfloat16 where the hardware is faster with it, else float32."""


class Section(BaseModel):
    """A frozen section in which an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, defer_build=True)


class CorpusConfig(Section):
    """Which recordings are used."""

    data_dir: str = "data"
    names: tuple[str, ...] = ("emodb", "ravdess")
    """Named corpora, each in the folder of its name below `data_dir`; `demo` makes its own recordings."""
    manifests: tuple[str, ...] = ()
    """CSV files with the columns path, emotion, speaker and optionally sex, sentence, corpus."""
    emotions: tuple[str, ...] = COMMON_EMOTIONS
    """Label order is that of `sermodels.emotions`, whatever order they are named in."""
    demo_seed: Seed = 0

    @field_validator("emotions")
    @classmethod
    def _in_the_one_order(cls, emotions: tuple[str, ...]) -> tuple[str, ...]:
        """Stages are reused by what went into them, so the same classes must always have the same numbers."""
        return tuple(sorted(emotions, key=lambda name: ALL_EMOTIONS.index(name) if name in ALL_EMOTIONS else -1))

    @model_validator(mode="after")
    def _emotions_are_known(self) -> "CorpusConfig":
        unknown = [emotion for emotion in self.emotions if emotion not in ALL_EMOTIONS]
        if unknown:
            raise ValueError(f"unknown emotions {unknown}; allowed: {', '.join(ALL_EMOTIONS)}")
        if len(set(self.emotions)) != len(self.emotions) or len(self.emotions) < 2:
            raise ValueError("emotions must be at least two, each named once")
        if not self.names and not self.manifests:
            raise ValueError("name at least one corpus or manifest")
        return self


class FrontEndConfig(Section):
    """Waveform to log-mel."""

    sample_rate_hz: PositiveInt = 22_050
    n_fft: PositiveInt = 1024
    hop_length: PositiveInt = 256
    n_mels: PositiveInt = 80
    f_min_hz: NonNegativeFloat = 0.0
    f_max_hz: PositiveFloat = 11_025.0
    top_db: PositiveFloat = 80.0
    """Levels more than this below the clip's loudest cell are raised to that floor."""

    @model_validator(mode="after")
    def _bands_lie_below_half_the_rate(self) -> "FrontEndConfig":
        if not self.f_min_hz < self.f_max_hz <= self.sample_rate_hz / 2:
            raise ValueError(
                f"f_min_hz {self.f_min_hz:g} < f_max_hz {self.f_max_hz:g} <= sample_rate_hz / 2 "
                f"{self.sample_rate_hz / 2:g} does not hold"
            )
        return self


class ClipConfig(Section):
    """Log-mel of any length to the fixed size that the classifier sees."""

    duration_s: PositiveFloat = 10.0
    trim_db: PositiveFloat | None = None
    """Frames at either end quieter than the loudest frame by more than this are cut; None keeps all."""
    level: Literal["keep", "clip"] = "keep"
    """`clip` subtracts the clip's mean level in dB, so that a quiet corpus looks like a loud one."""
    crop: Literal["start", "random"] = "start"
    """`start`: cut and pad at the end. `random`: anywhere in training, centred in evaluation."""
    views: PositiveInt = 1
    """Places in time over which evaluation averages a clip's embedding; more than one needs `crop: random`."""
    evaluation_s: PositiveFloat | None = None
    """What evaluation hears of a clip at once, `duration_s` if None; another length needs `crop: random`."""

    @property
    def heard_s(self) -> float:
        """What evaluation, and whoever serves the classifier, hears of a clip at once."""
        return self.evaluation_s or self.duration_s

    @model_validator(mode="after")
    def _evaluation_has_places(self) -> "ClipConfig":
        if self.views > 1 and self.crop == "start":
            raise ValueError(f"views {self.views} need crop: random; with crop: start there is one place")
        if self.evaluation_s is not None and self.crop == "start":
            raise ValueError(f"evaluation_s {self.evaluation_s:g} needs crop: random; crop: start hears duration_s")
        return self


class SplitConfig(Section):
    """Who is trained on, who chooses the epoch, who is tested."""

    protocol: Literal["speaker", "seed", "corpus"] = "speaker"
    """`speaker`: unseen speakers. `corpus`: one corpus trains, another tests. `seed`: at random, speaker-dependent."""
    folds: Annotated[int, Field(ge=2)] = 6
    """Protocol `speaker`: as many as there are speakers leaves one speaker out at a time."""
    fold: Annotated[int, Field(ge=0)] | Literal["all"] = 0
    """The fold to run, or all of them; under `corpus` the number of the corpus left out, in alphabetical order."""
    development_fraction: Annotated[float, Field(gt=0.0, lt=0.5)] = 0.15
    """Share of the training speakers (protocol `seed`: clips) that chooses the epoch and nothing else."""
    test_fraction: Annotated[float, Field(gt=0.0, lt=0.9)] = 0.2
    """Protocol `seed` only."""
    seed: Seed = 0

    @model_validator(mode="after")
    def _fold_exists(self) -> "SplitConfig":
        if self.protocol == "speaker" and self.fold != "all" and self.fold >= self.folds:
            raise ValueError(f"fold {self.fold} does not exist; allowed: 0 to {self.folds - 1}, or all")
        return self


class AugmentationConfig(Section):
    """Transforms of the z-scored log-mel batch, each applied with `probability`."""

    probability: Probability = 0.7
    time_mask_fraction: Probability = 0.10
    frequency_mask_fraction: Probability = 0.15
    shift_fraction: Probability = 0.10
    noise_std: NonNegativeFloat = 0.01
    gain_low: PositiveFloat = 0.9
    gain_high: PositiveFloat = 1.1
    equalizer_std: NonNegativeFloat = 0.0
    """Of a random smooth gain over the mel bands, as other microphones, rooms and codecs have it; 0 is none."""
    frequency_warp: NonNegativeFloat = 0.0
    """Largest change of all frequencies, as by another vocal tract (Jaitly & Hinton 2013): 0.15 is up to 1.15 times as
    high, or as low; 0 is none."""
    time_stretch: NonNegativeFloat = 0.0
    """Largest change of the tempo: 0.2 is up to 1.2 times as slow, or as fast; 0 is none."""
    mixup_alpha: NonNegativeFloat = 0.0
    """Beta parameter of mixup (Zhang et al. 2018); 0 is none."""

    @model_validator(mode="after")
    def _gains_are_in_order(self) -> "AugmentationConfig":
        if self.gain_low > self.gain_high:
            raise ValueError(f"gain_low {self.gain_low:g} is above gain_high {self.gain_high:g}")
        return self


class ClassifierConfig(Section):
    """The network."""

    backbone: Literal["resnet18", "resnet34", "resnet50"] = "resnet50"
    weights: str = "imagenet"
    """`imagenet`, `none`, or the path of a safetensors or .pth state dict with torchvision's names."""
    trainable: tuple[str, ...] = ("layer4", "fc")
    """Top-level parts that learn: conv1, bn1, layer1 to layer4, fc; or `all`."""
    dropout: Probability = 0.5
    image_size: tuple[PositiveInt, PositiveInt] | None = (224, 224)
    """Height and width that `forward` resizes to; None keeps the log-mel's own resolution."""
    smoothing: tuple[NonNegativeInt, NonNegativeInt] = (0, 0)
    """Mel bands and frames on either side over which power is averaged first: it evens out what codecs change."""


class TrainingConfig(Section):
    """The one training loop of baseline, augmented and retrained classifiers."""

    epochs: PositiveInt = 50
    batch_size: Annotated[int, Field(ge=2)] = 32
    optimizer: Literal["adam", "adamw"] = "adam"
    learning_rate: PositiveFloat = 1e-4
    weight_decay: NonNegativeFloat = 0.0
    warmup_fraction: Probability = 0.0
    """Share of all steps in which the rate rises linearly before the cosine; 0 is plain cosine annealing."""
    label_smoothing: Probability = 0.0
    ema_decay: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.0
    """Of the averaged weights that are evaluated and kept; 0 keeps the weights of the last step."""
    keep: Literal["best", "last"] = "best"
    """Which epoch's weights are kept: the one with the best development UAR, or the last."""
    patience: PositiveInt = 10
    """Epochs without a better development UAR before training stops; where the last one is kept, none stops it."""
    epoch_size: Literal["real", "data"] = "real"
    """Clips drawn an epoch: as many as there are real training clips (equal optimiser steps in every stage),
    or one pass over all of the stage's clips, as the published recipe has it."""
    precision: Precision = "auto"


class DiffusionConfig(Section):
    """Denoiser, noise schedule and their training."""

    frames: PositiveInt = 256
    trim_db: PositiveFloat | None = 40.0
    patch: PositiveInt = 4
    """Side of the square of log-mel cells folded into channels at the network's entrance."""
    widths: Annotated[tuple[Annotated[int, Field(gt=0, multiple_of=8)], ...], Field(min_length=1)] = (64, 128, 192)
    """Channels of each level of the U-Net; each level halves both sides."""
    timesteps: Annotated[int, Field(ge=2)] = 50
    schedule: Literal["karras", "linear"] = "karras"
    sigma_max: PositiveFloat = 80.0
    """Largest noise level of the schedule `karras`, in standard deviations of the data."""
    noise_levels: Literal["timesteps", "log-normal"] = "timesteps"
    """What is trained at: the schedule's timesteps alike, or log-normal levels, most of them where there is most to
    learn (Karras et al. 2022, table 1)."""
    condition_dropout: Probability = 0.1
    variation: NonNegativeFloat = 0.5
    """Random variation of the condition, in standard deviations of the emotion's embeddings."""
    ema_decay: Probability = 0.999
    epochs: PositiveInt = 60
    batch_size: PositiveInt = 32
    learning_rate: PositiveFloat = 3e-4
    sample_every: PositiveInt = 10
    """Epochs between the sample grids that are logged while it trains."""
    precision: Precision = "auto"


class SynthesisConfig(Section):
    """What is drawn from the diffusion model."""

    per_emotion: PositiveInt = 200
    sampler: Literal["ddpm", "ddim", "heun", "dpmpp_2m"] = "dpmpp_2m"
    steps: PositiveInt = 15
    guidance_scale: NonNegativeFloat = 1.5
    strength: Annotated[float, Field(gt=0.0, le=1.0)] = 1.0
    """Share of the noise levels that a clip is made through: 1 starts from pure noise, less from a training clip of
    its emotion that is noised so far (SDEdit, Meng et al. 2022)."""
    batch_size: PositiveInt = 50
    audio_per_emotion: NonNegativeInt = 2
    """Clips an emotion that are also turned into audio by Griffin-Lim."""


class RetrainingConfig(Section):
    """How a classifier is trained on more than the real clips: on synthetic ones (stage C), or repeated ones (D)."""

    share: Probability | None = None
    """Of an epoch's clips, how many are synthetic or repeated; None draws them as often as any other clip."""
    until: Probability = 1.0
    """Share of the epochs in which they are trained on; in those after it only the real clips are."""
    least_agreement: Probability = 0.0
    """Synthetic clips are left out whose emotion the judge (stage A) thinks less probable than this."""


class EditingConfig(Section):
    """What is tried to see how well the diffusion model turns one emotion into another, on clips of the test part."""

    strengths: Annotated[tuple[Annotated[float, Field(gt=0.0, le=1.0)], ...], Field(min_length=1)] = (0.3, 0.5, 0.7)
    """Shares of the noise levels that a clip is taken through (SDEdit, Meng et al. 2022)."""
    clips_per_emotion: PositiveInt = 5
    guidance_scale: NonNegativeFloat = 2.0


class Config(Section):
    """The whole configuration of a run."""

    seed: Seed = 0
    corpus: CorpusConfig = CorpusConfig()
    front_end: FrontEndConfig = FrontEndConfig()
    clip: ClipConfig = ClipConfig()
    split: SplitConfig = SplitConfig()
    augmentation: AugmentationConfig = AugmentationConfig()
    classifier: ClassifierConfig = ClassifierConfig()
    training: TrainingConfig = TrainingConfig()
    diffusion: DiffusionConfig = DiffusionConfig()
    synthesis: SynthesisConfig = SynthesisConfig()
    retraining: RetrainingConfig = RetrainingConfig()
    editing: EditingConfig = EditingConfig()

    def identity(self) -> dict[str, Any]:
        """The sections as they identify what comes of them: a file of weights by its name, wherever it lies."""
        classifier = self.classifier.model_copy(update={"weights": Path(self.classifier.weights).name})
        return self.model_copy(update={"classifier": classifier}).model_dump(mode="json")

    @model_validator(mode="after")
    def _evaluation_keeps_the_scale_of_time(self) -> "Config":
        """Clips of another length, resized to one size, would be faster or slower speech than what was learnt."""
        if self.clip.evaluation_s is not None and self.classifier.image_size is not None:
            raise ValueError(
                f"clip.evaluation_s {self.clip.evaluation_s:g} needs classifier.image_size: null, not "
                f"{list(self.classifier.image_size)}: resized, its frames would be another tempo than in training"
            )
        return self

    @model_validator(mode="after")
    def _unet_fits_the_log_mel(self) -> "Config":
        """Every level of the U-Net halves both sides, so they must divide."""
        multiple = self.diffusion.patch * 2 ** (len(self.diffusion.widths) - 1)
        for name, size in (("diffusion.frames", self.diffusion.frames), ("front_end.n_mels", self.front_end.n_mels)):
            if size % multiple:
                raise ValueError(f"{name} {size} is not a multiple of patch * 2 ** (levels - 1) = {multiple}")
        return self

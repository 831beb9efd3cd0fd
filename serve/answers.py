"""What the service is asked and what it answers, independent of HTTP and of the demo."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from sermodels.adaptation import adapt
from serve.bundle import Bundle

MAX_COUNT = 16
MAX_KNOWN = 20
MAX_STEPS = 1000
MAX_INTENSITY = 2.0
MAX_GUIDANCE = 10.0


@dataclass(frozen=True)
class Window:
    """Probabilities (emotion,) of one stretch of a long recording; quiet ones do not count in the whole."""

    start_s: float
    end_s: float
    probabilities: NDArray[np.float32]
    quiet: bool


@dataclass(frozen=True)
class Classification:
    """A recording's emotion: probabilities (emotion,), its log-mel (mel, frame) in dB, and a timeline if it is long.

    `bundle` is the one that answered, which need not be served any more.
    """

    bundle: Bundle
    probabilities: NDArray[np.float32]
    log_mel: NDArray[np.float32]
    duration_s: float
    windows: tuple[Window, ...] = ()
    known_recordings: int = 0
    """Other recordings of the speaker, without what is heard in all of which the probabilities are."""

    def relative_to(self, others: Sequence["Classification"]) -> "Classification":
        """The answer where these other recordings of the same speaker are known."""
        if not others:
            return self
        heard = np.array([other.probabilities for other in others])

        def relative(probabilities: NDArray[np.float32]) -> NDArray[np.float32]:
            return adapt(probabilities, heard).astype(np.float32)

        windows = tuple(replace(window, probabilities=relative(window.probabilities)) for window in self.windows)
        whole = relative(self.probabilities)
        return replace(self, probabilities=whole, windows=windows, known_recordings=len(others))

    @property
    def labels(self) -> tuple[str, ...]:
        """All emotions, in order."""
        return self.bundle.manifest.labels

    @property
    def emotion(self) -> str:
        """The most probable emotion."""
        return self.labels[int(self.probabilities.argmax())]

    def by_label(self) -> dict[str, float]:
        """Probability of each emotion."""
        return {label: float(value) for label, value in zip(self.labels, self.probabilities, strict=True)}


class _Request(BaseModel):
    """Fields that generation and editing share; unknown ones are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    emotion: str = Field(description="Emotion to be made; GET /v1/model lists them.", examples=["anger"])
    seed: int = Field(0, ge=0, lt=2**32, description="The same seed and parameters give the same sound.")
    steps: int | None = Field(
        None, ge=1, le=MAX_STEPS, description="Denoising steps; at most the model's timesteps. Default: the model's."
    )
    guidance_scale: float | None = Field(
        None, ge=0.0, le=MAX_GUIDANCE, description="Classifier-free guidance; 1 is none. Default: the model's."
    )


class GenerationRequest(_Request):
    """New speech-like sound with an emotion."""

    intensity: float = Field(
        1.0, ge=0.0, le=MAX_INTENSITY, description="Distance from the average of all emotions; 1 as trained."
    )
    count: int = Field(1, ge=1, le=MAX_COUNT, description="Number of clips.")


class EditRequest(_Request):
    """A recording moved towards another emotion."""

    strength: float = Field(0.5, gt=0.0, le=1.0, description="Share of the noise schedule that is undone and redone.")


@dataclass(frozen=True)
class Progress:
    """One denoising step is done; `log_mel` (clip, mel, frame) in dB is what the model sees so far."""

    step: int
    steps: int
    log_mel: NDArray[np.float32]


@dataclass(frozen=True)
class GeneratedClip:
    """One generated clip: sound (sample,), log-mel (mel, frame) in dB, and what the classifier takes it for."""

    emotion: str
    number: int
    sample_rate_hz: int
    waveform: NDArray[np.float32]
    log_mel: NDArray[np.float32]
    verdict: Classification

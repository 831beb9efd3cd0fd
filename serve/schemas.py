"""What /v1 is asked and answers, as OpenAPI shows it."""

import math
from typing import Annotated, Any, Literal, Self

from fastapi import UploadFile
from pydantic import BaseModel, ConfigDict, Field

from serve.answers import Classification, EditRequest, GeneratedClip, GenerationRequest
from serve.bundle import Bundle
from serve.wav import wav_base64

Role = Literal["champion", "challenger"]
SYNTHETIC = "Trained on synthetic speech only: what it says about people means nothing."
HEARD = "Its score is from speakers that it had heard in training; on new speakers it is lower."
ACTED = "Trained on acted speech; it hears how a voice sounds, not what a person feels."

_PROBABILITIES = {"anger": 0.91, "disgust": 0.02, "fear": 0.02, "happiness": 0.03, "neutral": 0.01, "sadness": 0.01}
_ID = "0f8fad5bd9cb469fa16570867728950e"
Probabilities = Annotated[dict[str, float], Field(description="By emotion; they sum to 1.", examples=[_PROBABILITIES])]
RequestId = Annotated[str, Field(description="Also in the X-Request-ID header and in the log.", examples=[_ID])]


class ProblemDetail(BaseModel):
    """What went wrong."""

    type: str = Field(examples=["undecodable"])
    message: str = Field(examples=["the file is no recording that can be decoded; send wav, flac, mp3, ogg, ..."])
    request_id: RequestId


class Problem(BaseModel):
    """The answer to every request that failed."""

    error: ProblemDetail


class ModelSummary(BaseModel):
    """The model that answered, and how far to trust it."""

    name: str = Field(examples=["ser-classifier"])
    version: str = Field(examples=["7"])
    stage: str = Field(examples=["retraining"])
    split: str = Field(examples=["speaker-0"])
    test_uar: float | None = Field(description="Mean recall per emotion on test recordings.", examples=[0.62])
    unseen_speakers: bool = Field(description="Whether that score is from speakers that no part of it has heard.")
    synthetic_speech: bool = Field(description="Whether it was trained on spoken-by-machine speech.")
    notice: str = Field(examples=[ACTED])

    @classmethod
    def of(cls, bundle: Bundle) -> Self:
        """The bundle's classifier."""
        provenance = bundle.manifest.provenance
        model = provenance.classifier
        unseen = provenance.protocol != "seed"
        uar = bundle.manifest.metrics.get("test_uar", math.nan)
        return cls(
            name=model.name,
            version=model.version,
            stage=model.stage,
            split=model.split,
            test_uar=uar if math.isfinite(uar) else None,
            unseen_speakers=unseen,
            synthetic_speech=provenance.synthetic_speech,
            notice=SYNTHETIC if provenance.synthetic_speech else ACTED if unseen else HEARD,
        )


class TimelineEntry(BaseModel):
    """One stretch of a long recording."""

    start_s: float = Field(examples=[0.0])
    end_s: float = Field(examples=[3.0])
    emotion: str = Field(examples=["anger"])
    probabilities: Probabilities
    quiet: bool = Field(description="Quiet stretches do not count in the whole.", examples=[False])


class ClassifyAnswer(BaseModel):
    """The emotion of a recording."""

    emotion: str = Field(description="The most probable one.", examples=["anger"])
    probabilities: Probabilities
    duration_s: float = Field(examples=[2.4])
    timeline: list[TimelineEntry] = Field(description="Stretches of a long recording; empty for a short one.")
    known_recordings: int = Field(description="Other recordings of the speaker that the answer is relative to.")
    model: ModelSummary
    request_id: RequestId

    @classmethod
    def of(cls, result: Classification, *, request_id: str) -> Self:
        """The service's answer, and who gave it."""
        return cls(
            emotion=result.emotion,
            probabilities=result.by_label(),
            duration_s=result.duration_s,
            timeline=_timeline(result),
            known_recordings=result.known_recordings,
            model=ModelSummary.of(result.bundle),
            request_id=request_id,
        )


def _timeline(result: Classification) -> list[TimelineEntry]:
    """The windows of a long recording."""
    return [
        TimelineEntry(
            start_s=window.start_s,
            end_s=window.end_s,
            emotion=result.labels[int(window.probabilities.argmax())],
            probabilities={
                label: float(value) for label, value in zip(result.labels, window.probabilities, strict=True)
            },
            quiet=window.quiet,
        )
        for window in result.windows
    ]


class GenerateBody(GenerationRequest):
    """New speech-like sound with an emotion."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"emotion": "anger", "count": 2, "seed": 7}]})

    stream: bool = Field(False, description="Answer line by line (application/x-ndjson), with progress.")

    def request(self) -> GenerationRequest:
        """What the service is asked."""
        return GenerationRequest(**self.model_dump(exclude={"stream"}))


class EditForm(EditRequest):
    """A recording moved towards another emotion."""

    file: UploadFile = Field(description="The recording: wav, flac, mp3, ogg, opus, webm or m4a.")
    stream: bool = Field(False, description="Answer line by line (application/x-ndjson), with progress.")

    def request(self) -> EditRequest:
        """What the service is asked."""
        return EditRequest(**self.model_dump(exclude={"file", "stream"}))


class Verdict(BaseModel):
    """What the classifier takes a clip for."""

    emotion: str = Field(examples=["anger"])
    probabilities: Probabilities


class Clip(BaseModel):
    """One generated clip."""

    emotion: str = Field(examples=["anger"])
    number: int = Field(description="0 for the first of the request.", examples=[0])
    seed: int = Field(examples=[7])
    sample_rate_hz: int = Field(examples=[22050])
    duration_s: float = Field(examples=[3.0])
    wav: str = Field(description="A 16-bit PCM WAV file, base64.", examples=["UklGRiQAAABXQVZF..."])
    log_mel_db: list[list[float]] = Field(
        description="mel × frame, decibels.", examples=[[[-41.52, -40.8], [-38.1, -35.77]]]
    )
    verdict: Verdict

    @classmethod
    def of(cls, clip: GeneratedClip, *, seed: int) -> Self:
        """The service's clip."""
        return cls(
            emotion=clip.emotion,
            number=clip.number,
            seed=seed,
            sample_rate_hz=clip.sample_rate_hz,
            duration_s=clip.waveform.size / clip.sample_rate_hz,
            wav=wav_base64(clip.waveform, clip.sample_rate_hz),
            log_mel_db=clip.log_mel.astype(float).round(2).tolist(),
            verdict=Verdict(emotion=clip.verdict.emotion, probabilities=clip.verdict.by_label()),
        )


class GenerateAnswer(BaseModel):
    """All clips of a request."""

    clips: list[Clip]
    request_id: RequestId


class CancelAnswer(BaseModel):
    """The named request stops after the step in work."""

    request_id: RequestId
    cancelled: bool = True


class ModelAnswer(BaseModel):
    """Everything that is known of a served model."""

    model: ModelSummary
    labels: list[str] = Field(examples=[list(_PROBABILITIES)])
    device: str = Field(description="Where it runs: cpu or cuda.", examples=["cpu"])
    front_end: dict[str, Any] = Field(examples=[{"sample_rate_hz": 22050, "n_mels": 80, "hop_length": 256}])
    provenance: dict[str, Any]
    metrics: dict[str, float | None] = Field(examples=[{"test_uar": 0.62, "test_accuracy": 0.64}])
    parity: dict[str, float | None] = Field(description="Largest difference from torch in float64.")
    generates: bool = Field(description="Whether /v1/generate and /v1/edit work.")
    limits: dict[str, float] = Field(examples=[{"max_body_bytes": 25_000_000, "max_duration_s": 600}])


class HealthAnswer(BaseModel):
    """The process is alive."""

    status: Literal["alive"] = "alive"
    device: str = Field(examples=["cpu"])
    execution_provider: str = Field(examples=["CPUExecutionProvider"])


class ReadyAnswer(BaseModel):
    """Requests may come."""

    status: Literal["ready"] = "ready"

"""/v1/classify and /v1/model: what a recording sounds like, and who says so."""

import math
from collections.abc import Sequence
from typing import Annotated

from fastapi import APIRouter, File, Request, UploadFile

from serve.answers import MAX_COUNT, MAX_GUIDANCE, MAX_INTENSITY, MAX_KNOWN, MAX_STEPS
from serve.context import RoleOf, bundle_of, request_id, service_of
from serve.jobs import Admission
from serve.problems import responses
from serve.schemas import ClassifyAnswer, ModelAnswer, ModelSummary

KNOWN = (
    "Other recordings of the same speaker, or if there are none of others recorded in the same way, of several "
    "emotions; nobody needs to say of which."
)

router = APIRouter(prefix="/v1", tags=["classify"])


@router.post(
    "/classify",
    summary="The emotion of a recording",
    responses=responses(400, 401, 404, 413, 415, 422, 429),
)
async def classify(
    request: Request,
    file: Annotated[UploadFile, File(description="The recording: wav, flac, mp3, ogg, opus, webm or m4a.")],
    known: Annotated[Sequence[UploadFile], File(max_length=MAX_KNOWN, description=KNOWN)] = (),
    model: RoleOf = "champion",
) -> ClassifyAnswer:
    """Decode the recording and tell its emotion; a long one is answered with a timeline as well.

    For example: `curl -F file=@clip.wav localhost:8000/v1/classify`. Where other recordings of the same speaker are
    known, the answer is better with them: what is heard in all of them is the voice and no emotion.
    `curl -F file=@clip.wav -F known=@monday.wav -F known=@tuesday.wav localhost:8000/v1/classify`
    """
    service = service_of(request)
    bundle_of(service, model)  # a challenger that is not there is said before the recording is decoded
    admission: Admission = request.app.state.admission
    with admission.enter():
        others = [await one.read() for one in known]
        result = await service.classify(await file.read(), known=others, challenger=model == "challenger")
    service.answered(result)
    return ClassifyAnswer.of(result, request_id=request_id())


@router.get("/model", summary="What is served", responses=responses(401, 404, 422))
async def describe_model(request: Request, model: RoleOf = "champion") -> ModelAnswer:
    """Labels, front end, provenance, scores, parity with training, device and limits."""
    service = service_of(request)
    bundle = bundle_of(service, model)
    manifest = bundle.manifest
    return ModelAnswer(
        model=ModelSummary.of(bundle),
        labels=list(manifest.labels),
        device=service.device,
        front_end=manifest.front_end.model_dump(mode="json"),
        provenance=manifest.provenance.model_dump(mode="json"),
        metrics=_finite(manifest.metrics),
        parity=_finite(manifest.parity),
        generates=manifest.diffusion is not None,
        limits=_limits(request),
    )


def _finite(values: dict[str, float]) -> dict[str, float | None]:
    """JSON has no NaN."""
    return {name: value if math.isfinite(value) else None for name, value in values.items()}


def _limits(request: Request) -> dict[str, float]:
    """What a request may ask for at most."""
    service = service_of(request)
    diffusion = service.bundle.manifest.diffusion
    return {
        "max_body_bytes": service.settings.max_body_bytes,
        "max_duration_s": service.settings.max_duration_s,
        "max_count": MAX_COUNT,
        "max_known": MAX_KNOWN,
        "max_steps": min(MAX_STEPS, len(diffusion.sigmas)) if diffusion else MAX_STEPS,
        "max_intensity": MAX_INTENSITY,
        "max_guidance_scale": MAX_GUIDANCE,
        "queue_size": service.settings.queue_size,
    }

"""/v1/generate and /v1/edit: new sound with an emotion, whole or line by line, until it is done or cancelled."""

import json
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Annotated, Any

from fastapi import APIRouter, Form, Request
from fastapi.responses import JSONResponse, Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from serve.answers import GeneratedClip, Progress
from serve.context import request_id, service_of
from serve.errors import InputError, ServeError, UnavailableError
from serve.jobs import Admission, Jobs, begun, cancellable, until
from serve.problems import error_body, message_of, responses
from serve.schemas import CancelAnswer, Clip, EditForm, GenerateAnswer, GenerateBody
from serve.wav import wav_bytes

Events = AsyncGenerator[Progress | GeneratedClip, None]
WAV, NDJSON = "audio/wav", "application/x-ndjson"
PATIENCE_S = 0.25
"""What fails before this is answered with its status; after it the lines begin, and an error is one of them."""

router = APIRouter(prefix="/v1", tags=["generate"])

_LINES = "\n".join(
    [
        '{"event": "started", "request_id": "0f8fad5bd9cb469fa16570867728950e"}',
        '{"event": "progress", "step": 1, "steps": 50}',
        '{"event": "clip", "emotion": "anger", "number": 0, "seed": 7, "wav": "UklGRiQAAABXQVZF...", "...": "..."}',
        '{"event": "done"}',
    ]
)
_CONTENT: dict[int | str, dict[str, Any]] = {
    200: {
        "model": GenerateAnswer,
        "description": "The clips; with `Accept: audio/wav` the only clip's sound; with `stream` one event a line.",
        "content": {
            WAV: {"schema": {"type": "string", "format": "binary"}},
            NDJSON: {"schema": {"type": "string"}, "example": _LINES},
        },
    }
}


@router.post(
    "/generate",
    summary="New speech-like sound with an emotion",
    response_model=GenerateAnswer,
    responses=_CONTENT | responses(400, 401, 404, 409, 413, 422, 429),
)
async def generate(request: Request, body: GenerateBody) -> Response:
    """Make sound from noise. Leaving, or DELETE with the answer's X-Request-ID, stops the work.

    For example: `curl -H 'Accept: audio/wav' -d '{"emotion": "anger"}' -H 'Content-Type: application/json'
    localhost:8000/v1/generate -o anger.wav`
    """
    if _wants_wav(request, stream=body.stream) and body.count > 1:
        raise InputError(f"count is {body.count}: audio/wav holds one clip; ask for count 1 or for application/json")
    events = service_of(request).generate(body.request())
    return await _answer(request, events, seed=body.seed, stream=body.stream)


@router.post(
    "/edit",
    summary="A recording moved towards another emotion",
    response_model=GenerateAnswer,
    responses=_CONTENT | responses(400, 401, 404, 409, 413, 415, 422, 429),
)
async def edit(request: Request, form: Annotated[EditForm, Form()]) -> Response:
    """Add noise to the recording and take it away again towards the emotion; `strength` says how much."""
    admission: Admission = request.app.state.admission
    with admission.enter():
        service = service_of(request)
        waveform = await service.decode(await form.file.read())
        return await _answer(request, service.edit(waveform, form.request()), seed=form.seed, stream=form.stream)


@router.delete(
    "/generate/{running_id}",
    summary="Cancel a running request",
    status_code=202,
    responses=responses(401, 404, 422),
)
async def cancel(request: Request, running_id: str) -> CancelAnswer:
    """Stop a running /v1/generate or /v1/edit after the step in work; it is answered with 409."""
    jobs: Jobs = request.app.state.jobs
    if not jobs.cancel(running_id):
        raise UnavailableError("no request with this id is running here; it may be done already")
    return CancelAnswer(request_id=running_id)


class Lines(StreamingResponse):
    """Lines of JSON. The iterator itself watches for the client's leaving, so that it always ends by itself."""

    media_type = NDJSON

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send all lines."""
        await self.stream_response(send)


def _wants_wav(request: Request, *, stream: bool) -> bool:
    """Whether the answer shall be the sound itself."""
    return not stream and WAV in request.headers.get("accept", "")


async def _answer(request: Request, events: Events, *, seed: int, stream: bool) -> Response:
    """The clips in the form that was asked for."""
    if stream:
        return Lines(_lines(request, await begun(events, patience_s=PATIENCE_S), seed=seed))
    async with cancellable(request, request_id()) as stop, aclosing(until(stop, events)) as running:
        clips = [event async for event in running if isinstance(event, GeneratedClip)]
    if _wants_wav(request, stream=stream):
        return Response(wav_bytes(clips[0].waveform, clips[0].sample_rate_hz), media_type=WAV)
    answer = GenerateAnswer(clips=[Clip.of(clip, seed=seed) for clip in clips], request_id=request_id())
    return JSONResponse(answer.model_dump(mode="json"))


async def _lines(request: Request, events: Events, *, seed: int) -> AsyncIterator[str]:
    """The events as lines; an error is the last line, since the status is sent already."""
    yield _line("started", {"request_id": request_id()})
    try:
        async with cancellable(request, request_id()) as stop, aclosing(until(stop, events)) as running:
            async for event in running:
                yield _event_line(event, seed=seed)
    except ServeError as error:
        yield _line("error", error_body(error.status, message_of(error)))
    else:
        yield _line("done", {})


def _event_line(event: Progress | GeneratedClip, *, seed: int) -> str:
    """One step or one clip."""
    if isinstance(event, Progress):
        return _line("progress", {"step": event.step, "steps": event.steps})
    return _line("clip", Clip.of(event, seed=seed).model_dump(mode="json"))


def _line(event: str, content: dict[str, Any]) -> str:
    """One event as a line."""
    return json.dumps({"event": event, **content}) + "\n"

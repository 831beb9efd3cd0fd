"""The Open Inference Protocol v2, as Triton's clients speak it: https://github.com/kserve/open-inference-protocol."""

from typing import Any

from fastapi import APIRouter, Request, Response

from serve.api import is_ready
from serve.bundle import Bundle
from serve.context import service_of
from serve.errors import ServeError
from serve.jobs import Admission
from serve.protocol_schemas import (
    HEADER_LENGTH,
    IndexEntry,
    InferAnswer,
    Liveness,
    ModelMetadata,
    ModelReadiness,
    Readiness,
    ServerMetadata,
    TensorMetadata,
    infer_answer,
    infer_document,
    problems,
)
from serve.sessions import ModelIO, TensorSpec
from serve.tensor_limits import Limits, check_inputs
from serve.tensors import Array, InferRequest, ProtocolError, binary_outputs, encode_response, parse_request

router = APIRouter(prefix="/v2", tags=["Open Inference Protocol v2"])


class UnknownModelError(ServeError):
    """There is no such model or version."""

    status = 404


class NotReadyError(ServeError):
    """The server is warming up or draining."""

    status = 503


@router.get("", summary="This server", responses=problems(401))
async def server_metadata() -> ServerMetadata:
    """Name, version and extensions."""
    return ServerMetadata()


@router.get("/health/live", summary="Is the process alive?")
async def live() -> Liveness:
    """Always, if it answers."""
    return Liveness()


@router.get("/health/ready", summary="May requests come?", responses=problems(503))
async def ready(request: Request) -> Readiness:
    """503 while the models warm up and while the server drains."""
    _check_ready(request)
    return Readiness()


@router.post("/repository/index", summary="All models", responses=problems(401))
async def index(request: Request) -> list[IndexEntry]:
    """Names and versions."""
    return [IndexEntry(name=model.name, version=model.version) for model in service_of(request).models().values()]


@router.get("/models/{name}", summary="One model", responses=problems(401, 404, 422))
@router.get("/models/{name}/versions/{version}", summary="One version of a model", responses=problems(401, 404, 422))
async def model_metadata(request: Request, name: str, version: str | None = None) -> ModelMetadata:
    """Inputs and outputs."""
    model = _model(service_of(request).models(), name, version)
    await model.open()
    return ModelMetadata(
        name=model.name, versions=[model.version], inputs=_metadata(model.inputs), outputs=_metadata(model.outputs)
    )


@router.get("/models/{name}/ready", summary="Is a model ready?", responses=problems(401, 404, 422, 503))
@router.get("/models/{name}/versions/{version}/ready", summary="Is it ready?", responses=problems(401, 404, 422, 503))
async def model_ready(request: Request, name: str, version: str | None = None) -> ModelReadiness:
    """503 while the server is not."""
    model = _model(service_of(request).models(), name, version)
    _check_ready(request)
    return ModelReadiness(name=model.name)


@router.post(
    "/models/{name}/infer",
    summary="Run a model",
    response_model=InferAnswer,
    responses=infer_answer() | problems(400, 401, 404, 413, 422, 429),
    openapi_extra=infer_document(),
)
@router.post(
    "/models/{name}/versions/{version}/infer",
    summary="Run a version of a model",
    response_model=InferAnswer,
    responses=infer_answer() | problems(400, 401, 404, 413, 422, 429),
    openapi_extra=infer_document(),
)
async def infer(request: Request, name: str, version: str | None = None) -> Response:
    """Tensors in, tensors out; as JSON, or as raw bytes behind the JSON."""
    admission: Admission = request.app.state.admission
    with service_of(request).in_use() as models:
        model = _model(models.graphs(), name, version)
        with admission.enter():
            await model.open()
            asked, arrays = parse_request(await request.body(), request.headers.get(HEADER_LENGTH))
            check_inputs(model, asked, arrays, _limits(models.bundle))
            names = _output_names(model, asked)
            results = await models.infer(name, arrays, names)
    return _response(model, asked, {output: results[output] for output in names})


def _limits(bundle: Bundle) -> Limits:
    """What the diffusion graphs may be asked for."""
    diffusion = bundle.manifest.diffusion
    return Limits(frames=4 * diffusion.frames, steps=len(diffusion.sigmas)) if diffusion else Limits()


def _response(model: ModelIO, asked: InferRequest, results: dict[str, Array]) -> Response:
    """The results in the form that was asked for."""
    head: dict[str, Any] = {"model_name": model.name, "model_version": model.version}
    if asked.id is not None:
        head["id"] = asked.id
    binary = binary_outputs(asked, list(results))
    datatypes = {spec.name: spec.datatype for spec in model.outputs}
    body, length = encode_response(head, results, datatypes=datatypes, binary=binary)
    if length is None:
        return Response(body, media_type="application/json")
    return Response(body, media_type="application/octet-stream", headers={HEADER_LENGTH: str(length)})


def _check_ready(request: Request) -> None:
    """Raises NotReadyError."""
    if not is_ready(request):
        raise NotReadyError("the server is warming up or draining")


def _model(models: dict[str, ModelIO], name: str, version: str | None) -> ModelIO:
    """The named model. Raises UnknownModelError."""
    if name not in models:
        raise UnknownModelError(f"there is no model {name!r}; served are {', '.join(models)}")
    if version is not None and version != models[name].version:
        raise UnknownModelError(f"model {name} has no version {version!r}; served is {models[name].version}")
    return models[name]


def _metadata(specs: tuple[TensorSpec, ...]) -> list[TensorMetadata]:
    """Inputs or outputs as the protocol writes them."""
    return [TensorMetadata(name=spec.name, datatype=spec.datatype, shape=list(spec.shape)) for spec in specs]


def _output_names(model: ModelIO, asked: InferRequest) -> list[str]:
    """The outputs that are wanted: all, if none is named."""
    known = [spec.name for spec in model.outputs]
    wanted = list(dict.fromkeys(output.name for output in asked.outputs or ())) or known
    if unknown := [name for name in wanted if name not in known]:
        raise ProtocolError(f"output {unknown[0]}: is not of {model.name}; it has {', '.join(known)}")
    return wanted

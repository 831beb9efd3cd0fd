"""What the Open Inference Protocol's routes answer, as OpenAPI shows it."""

from typing import Any

from pydantic import BaseModel, Field

from serve.tensors import InferRequest

SERVER, SERVER_VERSION = "sermodels", "1.0"
HEADER_LENGTH = "Inference-Header-Content-Length"


class ProtocolProblem(BaseModel):
    """The protocol's own error."""

    error: str = Field(examples=["input waveform: datatype FP64; allowed are FP32, INT64"])


class ServerMetadata(BaseModel):
    """This server."""

    name: str = SERVER
    version: str = SERVER_VERSION
    extensions: list[str] = ["binary_tensor_data", "model_repository"]


class TensorMetadata(BaseModel):
    """One input or output; -1 is any size."""

    name: str
    datatype: str
    shape: list[int]


class ModelMetadata(BaseModel):
    """One model."""

    name: str
    versions: list[str]
    platform: str = "onnxruntime_onnx"
    inputs: list[TensorMetadata]
    outputs: list[TensorMetadata]


class Liveness(BaseModel):
    """The process is alive."""

    live: bool = True


class Readiness(BaseModel):
    """Requests may come."""

    ready: bool = True


class ModelReadiness(Readiness):
    """Requests to this model may come."""

    name: str


class IndexEntry(BaseModel):
    """One model of the repository."""

    name: str
    version: str
    state: str = "READY"
    reason: str = ""


class OutputTensor(TensorMetadata):
    """One result; without `data` its bytes follow the JSON."""

    parameters: dict[str, Any] = {}
    data: list[float] | None = None


class InferAnswer(BaseModel):
    """All results."""

    model_name: str
    model_version: str
    id: str | None = None
    outputs: list[OutputTensor]


_BYTES = {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}
_EXAMPLE = {
    "inputs": [{"name": "waveform", "shape": [1, 4], "datatype": "FP32", "data": [0.1, 0.2, -0.1, 0.0]}],
    "outputs": [{"name": "probabilities"}],
}


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """What OpenAPI says of errors here."""
    return {
        status: {"model": ProtocolProblem, "description": "An error as the protocol has it."} for status in statuses
    }


def infer_document() -> dict[str, Any]:
    """What OpenAPI says of an inference request, whose body the route reads itself."""
    schema = InferRequest.model_json_schema()
    inlined = _inlined(schema, schema.pop("$defs"))
    content = {"application/json": {"schema": inlined, "example": _EXAMPLE}, **_BYTES}
    header = {
        "name": HEADER_LENGTH,
        "in": "header",
        "required": False,
        "description": "Length of the JSON, if raw bytes follow it.",
        "schema": {"type": "string", "pattern": "^[0-9]{1,12}$"},
    }
    return {"parameters": [header], "requestBody": {"required": True, "content": content}}


def infer_answer() -> dict[int | str, dict[str, Any]]:
    """What OpenAPI says of an inference's answer."""
    return {200: {"model": InferAnswer, "description": "JSON, or JSON and raw bytes.", "content": _BYTES}}


def _inlined(part: Any, definitions: dict[str, Any]) -> Any:
    """A schema without references, which FastAPI would not carry over."""
    if isinstance(part, list):
        return [_inlined(item, definitions) for item in part]
    if not isinstance(part, dict):
        return part
    if "$ref" in part:
        return _inlined(definitions[part["$ref"].rsplit("/", 1)[-1]], definitions)
    return {key: _inlined(value, definitions) for key, value in part.items()}

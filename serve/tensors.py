"""Tensors of the Open Inference Protocol v2: JSON numbers or raw bytes behind the JSON, and back."""

import json
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, Field, StrictInt, ValidationError

from serve.errors import ServeError

DTYPES: dict[str, np.dtype[Any]] = {"FP32": np.dtype("<f4"), "INT64": np.dtype("<i8")}
MAX_RANK = 8
_EXACT = 2**53

Array = NDArray[Any]


class ProtocolError(ServeError):
    """A request that does not follow the protocol or does not fit the model."""

    status = 400


class InputTensor(BaseModel):
    """One input, with its data or the size of its bytes in `parameters`."""

    name: str = Field(examples=["waveform"])
    shape: list[StrictInt] = Field(examples=[[1, 4]], max_length=MAX_RANK)
    datatype: str = Field(examples=["FP32"])
    parameters: dict[str, Any] = {}
    data: list[Any] | None = Field(None, examples=[[0.1, 0.2, -0.1, 0.0]])


class RequestedOutput(BaseModel):
    """An output that is wanted."""

    name: str = Field(examples=["probabilities"])
    parameters: dict[str, Any] = {}


class InferRequest(BaseModel):
    """An inference request, without the bytes that may follow it."""

    id: str | None = Field(None, examples=["42"])
    parameters: dict[str, Any] = {}
    inputs: list[InputTensor] = Field(max_length=16)
    outputs: list[RequestedOutput] | None = Field(None, max_length=16)


def parse_request(body: bytes, header_length: str | None) -> tuple[InferRequest, dict[str, Array]]:
    """The request and its arrays by name. Raises ProtocolError."""
    length = _length(header_length, len(body))
    try:
        content = json.loads(body[:length], parse_constant=_no_constant)
        request = InferRequest.model_validate(content)
    except ValidationError as error:
        faults = [f"{'.'.join(str(part) for part in fault['loc'])}: {fault['msg']}" for fault in error.errors()]
        raise ProtocolError("; ".join(faults)) from error
    except (ValueError, RecursionError) as error:
        raise ProtocolError(f"the request is no JSON ({type(error).__name__})") from error
    return request, _arrays(request, memoryview(body)[length:])


def encode_response(
    head: Mapping[str, Any], arrays: Mapping[str, Array], *, datatypes: Mapping[str, str], binary: frozenset[str]
) -> tuple[bytes, int | None]:
    """The body, and the length of its JSON if bytes follow. Raises ProtocolError."""
    outputs, chunks = [], []
    for name, array in arrays.items():
        output: dict[str, Any] = {"name": name, "datatype": datatypes[name], "shape": list(array.shape)}
        values = array.astype(DTYPES[datatypes[name]])
        if name in binary:
            chunks.append(values.tobytes())
            output["parameters"] = {"binary_data_size": values.nbytes}
        elif np.isfinite(values).all():
            output["data"] = values.ravel().tolist()
        else:
            raise ProtocolError(f"output {name}: is not finite for these inputs, which JSON cannot say")
        outputs.append(output)
    text = json.dumps({**head, "outputs": outputs}).encode()
    return b"".join([text, *chunks]), len(text) if binary else None


def binary_outputs(request: InferRequest, names: list[str]) -> frozenset[str]:
    """Which outputs are wanted as bytes."""
    default = bool(request.parameters.get("binary_data_output", False))
    wanted = {output.name: output.parameters.get("binary_data", default) for output in request.outputs or ()}
    return frozenset(name for name in names if wanted.get(name, default))


def _length(header: str | None, size: int) -> int:
    """Where the JSON ends."""
    if header is None:
        return size
    if not header.isdecimal() or len(header) > 12 or int(header) > size:
        raise ProtocolError(
            f"Inference-Header-Content-Length must be the length of the JSON, at most the body's {size} bytes"
        )
    return int(header)


def _no_constant(name: str) -> float:
    """JSON knows no NaN and no Infinity; Python's reader does."""
    raise ValueError(f"{name} is no JSON")


def _arrays(request: InferRequest, rest: memoryview) -> dict[str, Array]:
    """Every input's array; bytes come in the order of the inputs."""
    arrays: dict[str, Array] = {}
    for tensor in request.inputs:
        if tensor.name in arrays:
            raise ProtocolError(f"input {tensor.name}: is there twice")
        size = tensor.parameters.get("binary_data_size")
        if size is None:
            arrays[tensor.name] = _from_numbers(tensor)
            continue
        if not isinstance(size, int) or isinstance(size, bool) or not 0 <= size <= len(rest):
            raise ProtocolError(f"input {tensor.name}: binary_data_size is {size}; {len(rest)} bytes are there")
        arrays[tensor.name] = _from_bytes(tensor, rest[:size])
        rest = rest[size:]
    if len(rest):
        raise ProtocolError(f"{len(rest)} bytes are left after the last input")
    return arrays


def _dtype(tensor: InputTensor) -> np.dtype[Any]:
    """The numpy type of a datatype."""
    if tensor.datatype not in DTYPES:
        raise ProtocolError(f"input {tensor.name}: datatype {tensor.datatype}; allowed are {', '.join(DTYPES)}")
    return DTYPES[tensor.datatype]


def _count(tensor: InputTensor) -> int:
    """The number of values that the shape says."""
    if any(size < 1 for size in tensor.shape):
        raise ProtocolError(f"input {tensor.name}: shape {tensor.shape}; every dimension must be at least 1")
    return math.prod(tensor.shape)


def _from_bytes(tensor: InputTensor, data: memoryview) -> Array:
    """An array from raw bytes."""
    if tensor.data is not None:
        raise ProtocolError(f"input {tensor.name}: has both data and binary_data_size; send one")
    dtype, count = _dtype(tensor), _count(tensor)
    if len(data) != count * dtype.itemsize:
        raise ProtocolError(f"input {tensor.name}: {len(data)} bytes; its shape needs {count * dtype.itemsize}")
    return _finite(tensor, np.frombuffer(data, dtype=dtype)).reshape(tensor.shape)


def _from_numbers(tensor: InputTensor) -> Array:
    """An array from JSON numbers, flat or nested."""
    if tensor.data is None:
        raise ProtocolError(f"input {tensor.name}: has neither data nor binary_data_size (shared memory is not served)")
    dtype, count = _dtype(tensor), _count(tensor)
    try:
        values = np.asarray(tensor.data, dtype=np.float64)  # never text: one long string would widen all values
    except (ValueError, TypeError, OverflowError) as error:
        raise ProtocolError(f"input {tensor.name}: its data must be numbers, flat or nested evenly") from error
    if values.size != count:
        raise ProtocolError(f"input {tensor.name}: {values.size} values; its shape {tensor.shape} needs {count}")
    if dtype.kind == "i" and not ((values == np.rint(values)) & (np.abs(values) <= _EXACT)).all():
        raise ProtocolError(f"input {tensor.name}: its data must be integers up to 2^53")
    with np.errstate(over="ignore"):  # what does not fit becomes infinite, and is refused as such
        return _finite(tensor, values.astype(dtype)).reshape(tensor.shape)


def _finite(tensor: InputTensor, values: Array) -> Array:
    """NaN and infinity never reach a model."""
    if not np.isfinite(values).all():
        raise ProtocolError(f"input {tensor.name}: its data holds NaN or infinite values")
    return values

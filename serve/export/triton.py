"""A Triton model repository of a bundle: one folder a graph, each with a config.pbtxt that says what the graph says.

Written for Triton 23.10 or newer, the first whose ONNX Runtime backend takes optional inputs and scalars. Triton's
ONNX Runtime has to know opset 18. Serve it with: tritonserver --model-repository=FOLDER
"""

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import onnx
from onnx import TensorProto

from sermodels.errors import StorageError
from sermodels.files import atomic_write
from serve.bundle import Bundle
from serve.errors import BundleError
from serve.models import MODEL_NAMES

CONFIG, LABELS, VERSION = "config.pbtxt", "labels.txt", "1"
LABELLED = "probabilities"
MAX_BATCH = 8
TYPES: dict[int, str] = {TensorProto.FLOAT: "TYPE_FP32", TensorProto.INT64: "TYPE_INT64"}

BATCHING = f"""\
# Every tensor starts with the batch, so that Triton may join requests; it joins those of equal shape.
max_batch_size: {MAX_BATCH}
dynamic_batching {{ }}
"""
NO_BATCHING = """\
# No batching by Triton, which wants the batch first in every tensor and refuses optional inputs beside it; and it joins
# only requests of equal shape, which recordings hardly are. A request's own batch is the first of the dims below.
max_batch_size: 0
"""


@dataclass(frozen=True)
class Tensor:
    """An input or output of a graph; a dimension of any size is -1."""

    name: str
    data_type: str
    shape: tuple[int, ...]
    optional: bool = False


@dataclass(frozen=True)
class Signature:
    """What goes into a graph and what comes out."""

    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    batched: bool
    """Whether all of them start with one and the same batch dimension, and all are needed."""


def write_triton_repository(bundle: Bundle, folder: Path) -> None:
    """Write the bundle's graphs into a new folder, named as the server's /v2 names them.

    Raises BundleError for a graph that Triton cannot be told of, and StorageError.
    """
    if folder.exists() and any(folder.iterdir()):
        raise StorageError(f"{folder}: is not empty, and Triton would serve what is left in it; name a new folder")
    signatures = {name: read_signature(bundle.path(file)) for name, file in MODEL_NAMES.items() if bundle.has(file)}
    for name, signature in signatures.items():
        labelled = any(tensor.name == LABELLED for tensor in signature.outputs)
        if labelled:
            _write(folder / name / LABELS, "".join(f"{label}\n" for label in bundle.manifest.labels))
        _write(folder / name / CONFIG, config(name, signature))
        with atomic_write(folder / name / VERSION / "model.onnx") as temporary:
            shutil.copyfile(bundle.path(MODEL_NAMES[name]), temporary)


def read_signature(path: Path) -> Signature:
    """The signature of a graph. Raises BundleError."""
    graph = onnx.load(path, load_external_data=False).graph
    defaults = {tensor.name for tensor in graph.initializer}
    values = [*graph.input, *graph.output]
    firsts = {value.type.tensor_type.shape.dim[0].dim_param for value in values if value.type.tensor_type.shape.dim}
    scalars = [value for value in values if not value.type.tensor_type.shape.dim]
    return Signature(
        inputs=tuple(_tensor(path, value, optional=value.name in defaults) for value in graph.input),
        outputs=tuple(_tensor(path, value) for value in graph.output),
        batched=firsts == {"batch"} and not scalars and not defaults & {value.name for value in graph.input},
    )


def config(name: str, signature: Signature) -> str:
    """The text of config.pbtxt."""
    batched = signature.batched
    inputs = [_entry(tensor, batched=batched) for tensor in signature.inputs]
    outputs = [_entry(tensor, batched=batched) for tensor in signature.outputs]
    return (
        f"name: {json.dumps(name)}\n"
        'platform: "onnxruntime_onnx"\n'
        f"{BATCHING if batched else NO_BATCHING}"
        f"{_list('input', inputs)}"
        f"{_list('output', outputs)}"
        "# On each GPU that Triton may use, else on the CPU.\n"
        f"{_list('instance_group', ['kind: KIND_AUTO'])}"
    )


def _tensor(path: Path, value: onnx.ValueInfoProto, *, optional: bool = False) -> Tensor:
    """One input or output. Raises BundleError."""
    tensor = value.type.tensor_type
    if tensor.elem_type not in TYPES or not tensor.HasField("shape"):
        raise BundleError(f"{path}: {value.name} has no shape or a type that is not served; export the bundle again")
    shape = tuple(dim.dim_value if dim.HasField("dim_value") else -1 for dim in tensor.shape.dim)
    return Tensor(value.name, TYPES[tensor.elem_type], shape, optional)


def _entry(tensor: Tensor, *, batched: bool) -> str:
    """One tensor in a config; Triton has no scalars and sends the one element of [1] as one."""
    dims = (tensor.shape[1:] if batched else tensor.shape) or (1,)
    fields = [f"name: {json.dumps(tensor.name)}", f"data_type: {tensor.data_type}"]
    fields.append(f"dims: [ {', '.join(str(dim) for dim in dims)} ]")
    if tensor.optional:
        fields.append("optional: true")
    if tensor.name == LABELLED:
        fields.append(f"label_filename: {json.dumps(LABELS)}")
    return "\n    ".join(fields)


def _list(name: str, entries: Sequence[str]) -> str:
    """A repeated field of the text format."""
    return f"{name} [\n" + ",\n".join(f"  {{\n    {entry}\n  }}" for entry in entries) + "\n]\n"


def _write(path: Path, text: str) -> None:
    """Write a text file. Raises StorageError."""
    with atomic_write(path) as temporary:
        temporary.write_text(text, encoding="utf-8")

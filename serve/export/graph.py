"""Export of one torch module to one ONNX file, with the checks that every graph must pass."""

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import onnx
import torch
from torch import Tensor, nn

from sermodels.files import atomic_write
from serve.bundle import OPSET
from serve.errors import BundleError

DynamicShapes = Mapping[str, Mapping[int, Any]]


def export_module(
    module: nn.Module, example: Mapping[str, Tensor], dynamic_shapes: DynamicShapes, outputs: Sequence[str]
) -> onnx.ModelProto:
    """Trace a module into an ONNX model of opset 18 with symbolic dimensions where `dynamic_shapes` says so."""
    with _quiet(), torch.no_grad():
        program = torch.onnx.export(
            module,
            kwargs=dict(example),
            dynamo=True,
            opset_version=OPSET,
            input_names=list(example),
            output_names=list(outputs),
            dynamic_shapes={name: dict(dynamic_shapes.get(name, {})) for name in example},
            verbose=False,
        )
    assert program is not None
    model = program.model_proto
    _strip_debugging(model.graph)
    return model


def save_graph(model: onnx.ModelProto, path: Path, metadata: Mapping[str, str] | None = None) -> None:
    """Check a model and write it with metadata, whole or not at all. Raises BundleError and StorageError."""
    onnx.helper.set_model_props(model, dict(metadata or {}))
    onnx.checker.check_model(model, full_check=True)
    opset = next(entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx"))
    if opset != OPSET:
        raise BundleError(f"{path.name}: the exporter gave opset {opset} instead of {OPSET}; use the pinned torch")
    with atomic_write(path) as temporary:
        temporary.write_bytes(model.SerializeToString())


def require_symbolic(model: onnx.ModelProto, dimensions: Mapping[str, Sequence[int]]) -> None:
    """Refuse a graph whose named inputs have a frozen dimension where it must be free. Raises BundleError."""
    for value in model.graph.input:
        for axis in dimensions.get(value.name, ()):
            if not value.type.tensor_type.shape.dim[axis].dim_param:
                raise BundleError(f"{value.name}: dimension {axis} was frozen by the exporter")


def _strip_debugging(graph: onnx.GraphProto) -> None:
    """Drop what the exporter notes about its source: stack traces with paths of this machine."""
    for item in (*graph.node, *graph.value_info, *graph.input, *graph.output, *graph.initializer):
        del item.metadata_props[:]
        item.ClearField("doc_string")
    del graph.metadata_props[:]


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep the exporter's progress and its remarks about its own internals out of the log."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir", "torch.export")]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)

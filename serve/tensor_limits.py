"""Which tensors a served model takes: names, datatypes, shapes, and sizes that it can work off."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serve.answers import MAX_COUNT, MAX_STEPS
from serve.sessions import ModelIO, TensorSpec
from serve.tensors import InferRequest, ProtocolError

Arrays = dict[str, NDArray[Any]]

MAX_BATCH = 64
_MEL_RANK = 3


@dataclass(frozen=True)
class Limits:
    """Frames of a log-mel and denoising steps; a batch of log-mels has at most MAX_COUNT."""

    frames: int = 4096
    steps: int = MAX_STEPS


def check_inputs(model: ModelIO, asked: InferRequest, arrays: Arrays, limits: Limits) -> None:
    """Raise ProtocolError for what the model does not take."""
    specs = {spec.name: spec for spec in model.inputs}
    for tensor in asked.inputs:
        if tensor.name not in specs:
            raise ProtocolError(f"input {tensor.name}: is not of {model.name}; it takes {', '.join(specs)}")
        _check_tensor(specs[tensor.name], tensor.datatype, arrays[tensor.name], limits)
    if missing := [spec.name for spec in model.inputs if spec.name not in arrays and not spec.optional]:
        raise ProtocolError(f"input {missing[0]}: is missing; {model.name} takes {', '.join(specs)}")
    batches = {array.shape[0] for name, array in arrays.items() if specs[name].shape[:1] == (-1,)}
    if len(batches) > 1 or max(batches, default=1) > MAX_BATCH:
        raise ProtocolError(f"batch sizes {sorted(batches)}: must be the same for all inputs, at most {MAX_BATCH}")
    if "length" in arrays and "waveform" in arrays:
        _check_range("length", arrays["length"], arrays["waveform"].shape[1])


def _check_tensor(spec: TensorSpec, datatype: str, array: NDArray[Any], limits: Limits) -> None:
    """One input fits."""
    if datatype != spec.datatype:
        raise ProtocolError(f"input {spec.name}: datatype {datatype}; must be {spec.datatype}")
    fits = len(array.shape) == len(spec.shape) and all(
        wanted in (-1, size) for size, wanted in zip(array.shape, spec.shape, strict=True)
    )
    if not fits:
        raise ProtocolError(f"input {spec.name}: shape {list(array.shape)}; must be {list(spec.shape)}")
    if len(spec.shape) == _MEL_RANK and (array.shape[0] > MAX_COUNT or array.shape[2] > limits.frames):
        raise ProtocolError(
            f"input {spec.name}: shape {list(array.shape)}; at most {MAX_COUNT} log-mels of {limits.frames} frames"
        )
    if spec.name == "steps":
        _check_range("steps", array, limits.steps)


def _check_range(name: str, array: NDArray[Any], largest: int) -> None:
    """All values are 1 to `largest`."""
    if not np.all((array >= 1) & (array <= largest)):
        raise ProtocolError(f"input {name}: must be 1 to {largest}")

"""onnxruntime sessions: on CUDA when it is there, else on the CPU, and never silently on another than asked for."""

import asyncio
import logging
import os
import threading
import time
import weakref
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from serve.errors import BundleError, DeviceError, InputError
from serve.memory import return_memory
from serve.settings import Device, usable_cores

Tensors = Mapping[str, NDArray[Any]]

_log = logging.getLogger(__name__)
_DATATYPES = {"tensor(float)": "FP32", "tensor(int64)": "INT64"}
_ERRORS_ONLY = 3
_GPU_FILES = ("/dev/nvidiactl", "/dev/dxg")


@dataclass(frozen=True)
class TensorSpec:
    """A graph's input or output: `shape` has -1 where any size fits; optional inputs have a default."""

    name: str
    datatype: str
    shape: tuple[int, ...]
    optional: bool = False


class Session:
    """One graph, loaded by `open` or by whatever needs it first; the others then wait for it.

    It is loaded once for each number of threads that it is run on. Its file is held from the beginning: what is loaded
    later is what lay there, whatever becomes of the folder.
    """

    def __init__(
        self, path: Path, *, device: Literal["cpu", "cuda"], threads: int | None = None, plan_memory: bool = True
    ) -> None:
        """A graph, to run on so many threads, or on all cores that this process may use. Raises BundleError.

        `plan_memory` saves a short graph some memory; for one of thousands of nodes the planning takes half a second
        and saves none.
        """
        self._path, self.device, self._plan_memory = path, device, plan_memory
        self.threads = threads or usable_cores()
        try:
            self._descriptor = os.open(path, os.O_RDONLY)
        except OSError as error:
            raise BundleError(f"{path}: cannot be read ({error.strerror})") from error
        weakref.finalize(self, os.close, self._descriptor)
        self._opening = threading.Lock()
        self._opened: dict[int, ort.InferenceSession] = {}

    def open(self, threads: int | None = None) -> ort.InferenceSession:
        """Load the graph, once for so many threads. Raises BundleError, and DeviceError where it does not run there."""
        threads = threads or self.threads
        with self._opening:
            if threads not in self._opened:
                began = time.perf_counter()
                self._opened[threads] = self._load(threads)
                return_memory()  # loading a graph takes several times its size for a moment
                _log.info("%s loaded in %.2f s, threads: %d", self._path.name, time.perf_counter() - began, threads)
            return self._opened[threads]

    @property
    def is_open(self) -> bool:
        """Whether it is loaded, so that nobody waits for it."""
        return self.threads in self._opened

    @cached_property
    def inputs(self) -> tuple[TensorSpec, ...]:
        """What it takes, in order; those with a default last."""
        session = self.open()
        optional = (_spec(value, optional=True) for value in session.get_overridable_initializers())
        return (*map(_spec, session.get_inputs()), *optional)

    @cached_property
    def outputs(self) -> tuple[TensorSpec, ...]:
        """What it gives, in order."""
        return tuple(map(_spec, self.open().get_outputs()))

    def run(
        self, inputs: Tensors, outputs: Sequence[str] | None = None, *, threads: int | None = None
    ) -> dict[str, NDArray[Any]]:
        """Run the graph; every output if `outputs` is None. Raises InputError for inputs that do not fit.

        Runs beside each other share their threads; they go faster with `threads` of their own, as many as are left.
        """
        session = self.open(threads)
        names = list(outputs or (spec.name for spec in self.outputs))
        try:
            results = session.run(names, dict(inputs))
        except Exception as error:
            raise InputError(f"the model cannot run on these inputs: {str(error).splitlines()[0]}") from error
        return dict(zip(names, results, strict=True))

    def _load(self, threads: int) -> ort.InferenceSession:
        options = ort.SessionOptions()
        options.log_severity_level = _ERRORS_ONLY
        options.intra_op_num_threads = threads
        options.add_session_config_entry("session.force_spinning_stop", "1")  # between runs the cores are others'
        options.enable_mem_reuse = self._plan_memory
        try:
            session = ort.InferenceSession(f"/dev/fd/{self._descriptor}", options, providers=_providers(self.device))
        except Exception as error:
            raise BundleError(f"{self._path}: onnxruntime cannot load it ({error}); export it again") from error
        provider = session.get_providers()[0]
        if self.device == "cuda" and provider != "CUDAExecutionProvider":
            raise DeviceError(
                f"{self._path.name}: runs on {provider}, not on CUDA; check the driver and its CUDA version"
            )
        return session


@dataclass(frozen=True)
class ModelIO:
    """A model as the Open Inference Protocol describes it."""

    name: str
    version: str
    session: Session

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        """What it takes."""
        return self.session.inputs

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        """What it gives."""
        return self.session.outputs

    async def open(self) -> None:
        """Load the graph in a thread, so that nobody else waits for its inputs and outputs. Raises BundleError."""
        if not self.session.is_open:
            await asyncio.to_thread(self.session.open)


def choose_device(wanted: Device) -> Literal["cpu", "cuda"]:
    """The device to run on, said in the log. Raises DeviceError when CUDA is asked for and not there."""
    if wanted != "cpu" and _cuda_runs():
        _log.info("execution provider: CUDA")
        return "cuda"
    if wanted == "cuda":
        raise DeviceError("SERMODELS_DEVICE=cuda, but onnxruntime finds no CUDA device; use auto or cpu")
    _log.info("execution provider: CPU, %d threads%s", usable_cores(), "" if wanted == "cpu" else " (no CUDA device)")
    return "cpu"


@cache
def _cuda_runs() -> bool:
    """Whether this build has CUDA and the machine has a device; its libraries are loaded then."""
    if "CUDAExecutionProvider" not in ort.get_available_providers():
        return False
    if not any(Path(file).exists() for file in _GPU_FILES):
        return False
    ort.preload_dlls()
    return True


def _providers(device: Literal["cpu", "cuda"]) -> list[Any]:
    """Providers in the order of preference; without TF32, which costs precision in the front end."""
    if device == "cpu":
        return ["CPUExecutionProvider"]
    cuda = {"use_tf32": "0", "cudnn_conv_algo_search": "HEURISTIC"}
    return [("CUDAExecutionProvider", cuda), "CPUExecutionProvider"]


def _spec(value: Any, *, optional: bool = False) -> TensorSpec:
    """A graph's value as the protocol describes it."""
    shape = tuple(size if isinstance(size, int) else -1 for size in value.shape)
    return TensorSpec(value.name, _DATATYPES[value.type], shape, optional)


def scalar(value: float | int, kind: type[np.generic]) -> NDArray[Any]:
    """A scalar as graphs take it."""
    return np.array(value, dtype=kind)

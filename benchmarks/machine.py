"""The machine: what it is, and the rates that its limits are reckoned from, each measured once a run."""

import os
import platform
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import torch

from sermodels.device import has_bfloat16

FLAGS = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16", "amx_int8")
PACKAGES = ("torch", "onnxruntime-gpu", "librosa", "numpy", "mlflow")
SIDE = {"cpu": 2048, "cuda": 8192}
COPIED_BYTES = 256_000_000
REPEATS = 5


@dataclass(frozen=True)
class Rates:
    """Operations and bytes a second, the best of several tries, at `threads` threads."""

    threads: int
    float32: float
    bfloat16: float
    """Where the processor has none, it is emulated, which takes minutes: then that of float32."""
    int8: float
    copy: float
    """Bytes read plus bytes written, from memory to memory."""
    disk_read: float
    disk_write: float


def measure_rates(folder: Path) -> Rates:
    """Everything that floors are reckoned from; `folder` lies on the disk that is meant."""
    float32 = matrix_rate(torch.float32)
    return Rates(
        threads=torch.get_num_threads(),
        float32=float32,
        bfloat16=matrix_rate(torch.bfloat16) if has_bfloat16(torch.device("cpu")) else float32,
        int8=_int8_rate(),
        copy=_copy_rate(),
        **_disk_rates(folder / "rate.bin"),
    )


def matrix_rate(dtype: torch.dtype, device: str = "cpu") -> float:
    """Floating-point operations a second of a large matrix product."""
    side = SIDE[device]
    left, right = (torch.randn(side, side, device=device).to(dtype) for _ in range(2))

    def multiply() -> None:
        float((left @ right)[0, 0])  # waits for the device

    return 2 * side**3 / _best_seconds(multiply)


def _int8_rate() -> float:
    """Operations a second of onnxruntime's integer matrix product, which quantised graphs run on."""
    import onnxruntime
    from onnx import TensorProto, helper, numpy_helper

    side = SIDE["cpu"]
    weights = np.random.default_rng(0).integers(-127, 128, (side, side), dtype=np.int8)
    graph = helper.make_graph(
        [helper.make_node("MatMulInteger", ["x", "w"], ["y"])],
        "int8",
        [helper.make_tensor_value_info("x", TensorProto.UINT8, [side, side])],
        [helper.make_tensor_value_info("y", TensorProto.INT32, [side, side])],
        [numpy_helper.from_array(weights, "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    given = {"x": np.full((side, side), 7, dtype=np.uint8)}
    return 2 * side**3 / _best_seconds(lambda: session.run(None, given))


def _copy_rate() -> float:
    source = np.ones(COPIED_BYTES, dtype=np.uint8)
    target = np.zeros_like(source)
    return 2 * COPIED_BYTES / _best_seconds(lambda: np.copyto(target, source))


def _disk_rates(path: Path) -> dict[str, float]:
    """Bytes a second, written until they are on the disk, and read after the kernel has forgotten them."""
    content = os.urandom(COPIED_BYTES // 4)

    def write() -> None:
        with open(path, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())

    def read() -> None:
        with open(path, "rb", buffering=0) as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
            file.readall()

    rates = {"disk_write": len(content) / _best_seconds(write), "disk_read": len(content) / _best_seconds(read)}
    path.unlink()
    return rates


def _best_seconds(work: Callable[[], object]) -> float:
    """The shortest of several tries: a limit is what the machine can do undisturbed."""
    seconds = []
    for _ in range(REPEATS):
        begun = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - begun)
    return min(seconds)


def describe() -> dict[str, Any]:
    """Processor, memory, versions, commit and date, for the raw figures."""
    info = _cpu_info()
    flags = info.get("flags", "").split()
    return {
        "cpu": info.get("model name", platform.processor()),
        "cores": len(os.sched_getaffinity(0)),
        "flags": [flag for flag in FLAGS if flag in flags],
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in PACKAGES},
        "commit": _commit(),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _version(name: str) -> str:
    """A package's version; empty where it is not installed, as on a machine that only trains."""
    try:
        return version(name)
    except PackageNotFoundError:
        return ""


def _commit() -> str:
    """The commit that is measured, with `+` if files differ from it; empty outside a checkout."""
    command = ["git", "describe", "--always", "--abbrev=40", "--dirty=+"]
    folder = Path(__file__).parent
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False).stdout.strip()


def _cpu_info() -> dict[str, str]:
    """The first processor's entry in /proc/cpuinfo."""
    first = Path("/proc/cpuinfo").read_text(encoding="utf-8").partition("\n\n")[0]
    pairs = [line.partition(":") for line in first.splitlines()]
    return {name.strip(): value.strip() for name, _, value in pairs}


def cpu_name() -> str:
    """The processor and the threads in use, as rows name their device."""
    return f"{_cpu_info().get('model name', platform.machine())}, {torch.get_num_threads()} threads"

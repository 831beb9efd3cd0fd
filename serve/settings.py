"""What a server may be told by its environment, with limits that suit one small machine."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, cast, get_args

from serve.errors import InputError

Device = Literal["auto", "cpu", "cuda"]
Precision = Literal["float32", "int8"]


@dataclass(frozen=True)
class Settings:
    """Limits and choices of one server process."""

    device: Device = "auto"
    """`auto`: CUDA when it is there, else the CPU. `cuda`: CUDA or an error."""
    precision: Precision = "float32"
    """`int8` serves the quantised classifier, if the bundle holds one."""
    api_key: str | None = None
    max_body_bytes: int = 25_000_000
    max_duration_s: float = 600.0
    queue_size: int = 256
    """Windows that may wait for the classifier; more are refused with 429."""
    generation_queue_size: int = 8
    """Generations that may wait for the one that runs."""
    max_batch: int = 8
    """Windows that the classifier has in work at once: in one batch on a GPU, shared out between the cores of a CPU."""
    decode_workers: int = 2
    watch_dir: Path | None = None
    """Where records of answers are kept, without sound; None keeps none."""

    @staticmethod
    def from_environment(environment: Mapping[str, str] = os.environ) -> "Settings":
        """Read SERMODELS_DEVICE, _PRECISION, _API_KEY and _WATCH_DIR. Raises InputError naming the variable."""
        return Settings(
            device=cast(Device, _one_of(environment, "SERMODELS_DEVICE", "auto", get_args(Device))),
            precision=cast(Precision, _one_of(environment, "SERMODELS_PRECISION", "float32", get_args(Precision))),
            api_key=environment.get("SERMODELS_API_KEY") or None,
            watch_dir=Path(folder) if (folder := environment.get("SERMODELS_WATCH_DIR")) else None,
        )


def _one_of(environment: Mapping[str, str], name: str, default: str, allowed: tuple[str, ...]) -> str:
    """A variable that has one of a few values."""
    value = environment.get(name) or default
    if value not in allowed:
        raise InputError(f"{name}={value}; allowed: {', '.join(allowed)}")
    return value


def usable_cores() -> int:
    """Cores that this process may use: its affinity mask, and the quota of its control group."""
    cores = len(os.sched_getaffinity(0))
    try:
        with open("/sys/fs/cgroup/cpu.max", encoding="ascii") as file:
            quota, period = file.read().split()
    except (OSError, ValueError):
        return cores
    return cores if quota == "max" else max(1, min(cores, round(int(quota) / int(period))))

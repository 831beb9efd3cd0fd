"""What the tests of worker processes share: a pool for one test, and a look at processes."""

import asyncio
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from serve.decode_recording import decode_recording
from serve.decoding import DecoderPool
from tests.serve.recordings import encode, tone

ROOT = Path(__file__).resolve().parents[2]
RATE_HZ = 22_050
SHORT = encode(tone(duration_s=0.1), format="wav")
Result = TypeVar("Result")


def with_pool(use: Callable[[DecoderPool], Awaitable[Result]], *, workers: int = 1, **options: Any) -> Result:
    """Run `use` with a pool all of whose workers run, and stop it."""

    async def run() -> Result:
        pool = DecoderPool(sample_rate_hz=RATE_HZ, workers=workers, **({"max_duration_s": 60.0} | options))
        pool.start()
        try:
            await asyncio.gather(*(pool.decode(SHORT) for _ in range(workers)))
            return await use(pool)
        finally:
            await pool.stop()

    return asyncio.run(run())


def in_process(recording: bytes) -> NDArray[np.float32]:
    return decode_recording(recording, sample_rate_hz=RATE_HZ, max_duration_s=60.0)


def runs(pid: int) -> bool:
    """Whether a process is there and no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


def ends(pid: int, *, within_s: float) -> bool:
    deadline = time.monotonic() + within_s
    while runs(pid) and time.monotonic() < deadline:
        time.sleep(0.02)
    return not runs(pid)


def workers_of_a_killed_program(code: str) -> list[int]:
    """Run a program that prints the numbers of its two worker processes, and kill it once they run."""
    with subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, text=True) as program:
        assert program.stdout is not None
        workers = [int(pid) for pid in program.stdout.readline().split()]
        assert len(workers) == 2
        assert all(runs(pid) for pid in workers)
        program.kill()
    return workers

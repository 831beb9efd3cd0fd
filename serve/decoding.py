"""Recordings to waveforms in worker processes: one that crashes, hangs or eats memory takes one recording with it."""

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serve.decode_process import DecodeProcess
from serve.decode_protocol import EMPTY, ERRORS, Kind
from serve.errors import InputError, ServeError

Waveform = NDArray[np.float32]
Answer = tuple[Kind, bytes]

RECORDINGS_PER_PROCESS = 500
"""After so many a process is replaced, so that what FFmpeg may leak stays small."""
MEMORY_BYTES = 3 * 2**29

_log = logging.getLogger(__name__)


class DecoderPool:
    """Worker processes that decode one recording at a time each, within a time and a memory limit.

    A process is started by the first recording that finds none idle, so that a server has as many as it needs.
    Recordings wait for an idle worker in the order in which they came. A cancelled `decode` gives up its place, or
    leaves its worker to finish on its own. `start` and `stop` belong to the event loop that decodes.
    """

    def __init__(
        self,
        *,
        sample_rate_hz: int,
        workers: int,
        max_duration_s: float,
        timeout_s: float = 30.0,
        memory_bytes: int = MEMORY_BYTES,
        recordings_per_process: int = RECORDINGS_PER_PROCESS,
    ) -> None:
        """`start` makes it ready."""
        self._workers = [
            DecodeProcess(
                sample_rate_hz=sample_rate_hz,
                max_duration_s=max_duration_s,
                timeout_s=timeout_s,
                memory_bytes=memory_bytes,
            )
            for _ in range(workers)
        ]
        self._recordings_per_process = recordings_per_process
        self._idle: asyncio.PriorityQueue[tuple[bool, int, DecodeProcess | None]] = asyncio.PriorityQueue()
        self._turns = 0
        self._tasks: set[asyncio.Task[Any]] = set()
        self._open = False

    @property
    def processes(self) -> tuple[int, ...]:
        """Process ids of the workers that run."""
        return tuple(worker.pid for worker in self._workers if worker.pid is not None)

    def start(self) -> None:
        """Take recordings from now on."""
        self._idle = asyncio.PriorityQueue()
        self._open = True
        for worker in self._workers:
            self._rest(worker)

    async def stop(self) -> None:
        """Let the recordings in work finish, refuse those that wait, and end the workers."""
        self._open = False
        self._rest(None)
        while self._tasks:
            await asyncio.wait(self._tasks)
        await asyncio.gather(*(worker.stop() for worker in self._workers))

    async def decode(self, recording: bytes) -> Waveform:
        """The recording as mono float32, shape (sample,), at the pool's sample rate.

        Raises UndecodableError, TooLargeError (too many seconds) and InputError (no samples) with words for its sender,
        and ServeError where no process starts.
        """
        if not recording:
            raise InputError(EMPTY)
        *_, worker = await self._idle.get()
        if worker is None or not self._open:
            self._rest(worker)  # for the next one that waits
            raise ServeError("the decoder is not running; start the server again")
        # A task of its own: a caller who is cancelled must not leave half an answer in the pipe.
        kind, content = await asyncio.shield(self._spawn(self._decode(worker, recording)))
        if kind in ERRORS:
            raise ERRORS[kind](content.decode())
        return np.frombuffer(bytearray(content), dtype="<f4")

    async def _decode(self, worker: DecodeProcess, recording: bytes) -> Answer:
        try:
            return await worker.decode(recording)
        except asyncio.CancelledError:  # the event loop ends, and starts nothing new
            self._open = False
            raise
        finally:
            if self._open and (worker.pid is None or worker.recordings >= self._recordings_per_process):
                self._spawn(self._replace(worker))
            else:
                self._rest(worker)

    async def _replace(self, worker: DecodeProcess) -> None:
        """A fresh process in the place of one that is dead or has decoded enough."""
        try:
            await worker.stop()
            await worker.start()
        except ServeError as error:
            _log.error("%s; trying again with the next recording", error)
        finally:
            self._rest(worker)

    def _rest(self, worker: DecodeProcess | None) -> None:
        """It is idle: of those that run, the one that rests last is asked first, and one that must be started last."""
        self._turns += 1
        starts = worker is not None and worker.pid is None
        self._idle.put_nowait((starts, -self._turns, worker))

    def _spawn(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Run it whatever becomes of the caller."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._finished)
        return task

    def _finished(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # seen: the caller who would have raised it may be gone

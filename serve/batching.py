"""Micro-batching: waveforms that arrive together run together, behind a queue of bounded length.

Whoever is alone has all cores. A crowd is answered sooner where each core runs batches of its own, since the threads of
one run wait for each other after each of the graph's nodes.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from serve.errors import BusyError, ServeError
from serve.sessions import Session
from serve.settings import Settings

Observe = Callable[[str, float], None]


@dataclass(frozen=True)
class Scored:
    """One waveform's log-mel (mel, frame) in dB and probabilities (emotion,)."""

    log_mel: NDArray[np.float32]
    probabilities: NDArray[np.float32]


@dataclass(frozen=True)
class _Waiting:
    """A waveform (sample,) and where its answer goes."""

    waveform: NDArray[np.float32]
    answer: "asyncio.Future[Scored]"


class Batcher:
    """Runs one classifier graph; its answers do not depend on what shares a batch."""

    def __init__(self, session: Session, settings: Settings, *, hop_length: int, observe: Observe) -> None:
        """Begins to open the graph; `start` begins to take waveforms off the queue."""
        self._session, self._settings, self._hop_length, self._observe = session, settings, hop_length, observe
        self._queue: asyncio.Queue[_Waiting] = asyncio.Queue()
        self._lanes = max(1, min(session.threads, settings.max_batch // 2)) if session.device == "cpu" else 1
        self._in_work = 0
        self._threads = ThreadPoolExecutor(self._lanes, thread_name_prefix="classifier")
        self._threads.submit(session.open)  # what fails is told by the first batch
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self) -> None:
        """Begin; belongs to the running event loop."""
        self._queue = asyncio.Queue()
        self._tasks = {asyncio.create_task(self._work()) for _ in range(self._lanes)}

    async def stop(self) -> None:
        """Stop taking waveforms; those that wait are refused."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks.clear()
        while not self._queue.empty():
            _fail([self._queue.get_nowait()], ServeError("the server is stopping"))
        await asyncio.to_thread(self._threads.shutdown)  # a batch that nobody waits for may still run

    async def score(self, waveforms: list[NDArray[np.float32]], *, refuse: bool = True) -> list[Scored]:
        """Each waveform's scores. With `refuse`, BusyError when they do not all fit into the queue."""
        room = self._settings.queue_size - self._queue.qsize()
        if refuse and len(waveforms) > room and (self._queue.qsize() or len(waveforms) > self._most_windows()):
            raise BusyError(f"{self._queue.qsize()} windows wait already; try again in a moment")
        loop = asyncio.get_running_loop()
        waiting = [_Waiting(waveform, loop.create_future()) for waveform in waveforms]
        for one in waiting:
            self._queue.put_nowait(one)
        self._observe("queue_depth", self._queue.qsize())
        try:
            return list(await asyncio.gather(*(one.answer for one in waiting)))
        finally:
            for one in waiting:
                one.answer.cancel()

    def _most_windows(self) -> int:
        """What one recording may ask for on an idle server, whatever the queue's length."""
        return max(self._settings.queue_size, 2 * int(self._settings.max_duration_s))

    async def _work(self) -> None:
        """One lane: take batches off the queue for ever."""
        loop = asyncio.get_running_loop()
        while True:
            batch = await self._next_batch()
            self._observe("queue_depth", self._queue.qsize())
            self._observe("batch_size", len(batch))
            self._in_work += len(batch)
            waveforms = [one.waveform for one in batch]
            try:
                scored = await loop.run_in_executor(self._threads, self._run, waveforms, self._threads_of_a_run())
            except ServeError as error:
                _fail(batch, error)
                continue
            except asyncio.CancelledError:
                _fail(batch, ServeError("the server is stopping"))
                raise
            finally:
                self._in_work -= len(batch)
            for one, result in zip(batch, scored, strict=True):
                if not one.answer.done():
                    one.answer.set_result(result)

    async def _next_batch(self) -> list[_Waiting]:
        """The first that waits and all who wait with it; those who have left are passed over.

        Nobody is kept waiting for company: whoever comes while the graph runs is the next batch.
        """
        batch: list[_Waiting] = []
        most = self._settings.max_batch // self._lanes
        while not batch or (len(batch) < most and not self._queue.empty()):
            one = await self._queue.get()
            if not one.answer.done():
                batch.append(one)
        return batch

    def _threads_of_a_run(self) -> int:
        """All of them, or a lane's share where there is work for each lane."""
        crowded = self._in_work + self._queue.qsize() >= self._lanes
        return self._session.threads // self._lanes if crowded else self._session.threads

    def _run(self, waveforms: list[NDArray[np.float32]], threads: int) -> list[Scored]:
        """One call of the graph: shorter waveforms are padded, and the graph is told their lengths."""
        batch, lengths = padded(waveforms)
        began = time.perf_counter()
        outputs = ["log_mel", "probabilities"]
        results = self._session.run({"waveform": batch, "length": lengths}, outputs, threads=threads)
        self._observe("inference_s", time.perf_counter() - began)
        frames = 1 + lengths // self._hop_length
        return [
            Scored(log_mel[:, :count].copy(), probabilities)
            for log_mel, probabilities, count in zip(results["log_mel"], results["probabilities"], frames, strict=True)
        ]


def padded(waveforms: Sequence[NDArray[np.float32]]) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Waveforms (sample,) as one batch (waveform, sample) with zeros behind the shorter ones, and their lengths."""
    lengths = np.array([len(waveform) for waveform in waveforms], dtype=np.int64)
    batch = np.zeros((len(waveforms), lengths.max()), dtype=np.float32)
    for row, waveform in zip(batch, waveforms, strict=True):
        row[: len(waveform)] = waveform
    return batch, lengths


def _fail(batch: list[_Waiting], error: ServeError) -> None:
    """Tell everyone in a batch that it failed."""
    for one in batch:
        if not one.answer.done():
            one.answer.set_exception(error)

"""Micro-batching: waveforms that arrive together run together, behind a queue of bounded length.

Whoever is alone has all cores. A crowd is answered sooner where each core runs batches of its own, since the threads of
one run wait for each other after each of the graph's nodes.
"""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from threading import Lock

import numpy as np
from numpy.typing import NDArray

from serve.errors import BusyError, ServeError
from serve.sessions import Session
from serve.settings import Settings

LOG = logging.getLogger(__name__)

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
    """Runs one classifier graph; its answers do not depend on what shares a batch.

    A lane is a thread that takes batch after batch for as long as somebody waits. It does not ask the event loop for
    the next one, which in a crowd has requests to read first.
    """

    def __init__(self, session: Session, settings: Settings, *, hop_length: int, observe: Observe) -> None:
        """Begins to open the graph."""
        self._session, self._settings, self._hop_length, self._observe = session, settings, hop_length, observe
        self._waiting: deque[_Waiting] = deque()
        self._lanes = max(1, min(session.threads, settings.max_batch // 2)) if session.device == "cpu" else 1
        self._changing = Lock()
        """Held while somebody joins or leaves those who wait, or a lane begins or ends."""
        self._busy = self._in_work = 0
        self._threads = ThreadPoolExecutor(self._lanes, thread_name_prefix="classifier")
        self._threads.submit(session.open)  # what fails is told by the first batch

    async def stop(self) -> None:
        """Stop taking waveforms; those that wait are refused."""
        with self._changing:
            left = list(self._waiting)
            self._waiting.clear()
        _answer(left, ServeError("the server is stopping"))
        await asyncio.to_thread(self._threads.shutdown)  # a batch that nobody waits for may still run

    async def score(self, waveforms: list[NDArray[np.float32]], *, refuse: bool = True) -> list[Scored]:
        """Each waveform's scores. With `refuse`, BusyError when they do not all fit into the queue."""
        queued = len(self._waiting)
        room = self._settings.queue_size - queued
        if refuse and len(waveforms) > room and (queued or len(waveforms) > self._most_windows()):
            raise BusyError(f"{queued} windows wait already; try again in a moment")
        loop = asyncio.get_running_loop()
        waiting = [_Waiting(waveform, loop.create_future()) for waveform in waveforms]
        with self._changing:
            self._waiting.extend(waiting)
            fresh = min(len(waiting), self._lanes - self._busy)
            self._busy += fresh
        for _ in range(fresh):
            self._threads.submit(self._work, loop)
        self._observe("queue_depth", len(self._waiting))
        try:
            return list(await asyncio.gather(*(one.answer for one in waiting)))
        finally:
            for one in waiting:
                one.answer.cancel()

    def _most_windows(self) -> int:
        """What one recording may ask for on an idle server, whatever the queue's length."""
        return max(self._settings.queue_size, 2 * int(self._settings.max_duration_s))

    def _work(self, loop: asyncio.AbstractEventLoop) -> None:
        """One lane, until nobody waits any more."""
        while batch := self._next_batch():
            scored: list[Scored] | Exception
            try:
                scored = self._run([one.waveform for one in batch], self._threads_of_a_run())
            except ServeError as error:
                scored = error
            except Exception as error:  # the lane goes on for others
                LOG.exception("a batch failed unexpectedly")
                scored = error
            with self._changing:
                self._in_work -= len(batch)
            loop.call_soon_threadsafe(_answer, batch, scored)

    def _next_batch(self) -> list[_Waiting]:
        """The first that waits and those who wait with it; none ends the lane. Who has left is passed over.

        Nobody is kept waiting for company: whoever comes while the graph runs is the next batch.
        """
        batch: list[_Waiting] = []
        with self._changing:
            while self._waiting and len(batch) < self._settings.max_batch // self._lanes:
                one = self._waiting.popleft()
                if not one.answer.done():
                    batch.append(one)
            self._in_work += len(batch)
            if not batch:
                self._busy -= 1
        return batch

    def _threads_of_a_run(self) -> int:
        """All of them, or a lane's share where there is work for each lane."""
        crowded = self._in_work + len(self._waiting) >= self._lanes
        return self._session.threads // self._lanes if crowded else self._session.threads

    def _run(self, waveforms: list[NDArray[np.float32]], threads: int) -> list[Scored]:
        """One call of the graph: shorter waveforms are padded, and the graph is told their lengths."""
        self._observe("queue_depth", len(self._waiting))
        self._observe("batch_size", len(waveforms))
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


def _answer(batch: Sequence[_Waiting], scored: Sequence[Scored] | Exception) -> None:
    """Give everyone in a batch who still waits their scores, or the reason why there are none."""
    for place, one in enumerate(batch):
        if one.answer.done():
            continue
        if isinstance(scored, Exception):
            one.answer.set_exception(scored)
        else:
            one.answer.set_result(scored[place])

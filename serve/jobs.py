"""Work that can be cancelled: by its id, or because the client has gone."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, TypeVar

from fastapi import Request

from serve.errors import BusyError, ServeError

T = TypeVar("T")


class CancelledByClientError(ServeError):
    """Somebody asked for the work to stop."""

    status = 409


class Jobs:
    """What is running, by request id. Ids may be chosen by clients, so that two can share one."""

    def __init__(self) -> None:
        """Nothing runs."""
        self._running: dict[str, list[asyncio.Event]] = {}

    @contextmanager
    def running(self, request_id: str) -> Iterator[asyncio.Event]:
        """While this is open, `cancel` sets the event."""
        stop = asyncio.Event()
        self._running.setdefault(request_id, []).append(stop)
        try:
            yield stop
        finally:
            self._running[request_id].remove(stop)
            if not self._running[request_id]:
                del self._running[request_id]

    def cancel(self, request_id: str) -> bool:
        """Stop this request's work; False if there is none."""
        stops = self._running.get(request_id, [])
        for stop in stops:
            stop.set()
        return bool(stops)


class Admission:
    """How many requests may hold a recording or tensors in memory at once."""

    def __init__(self, limit: int) -> None:
        """Nobody is in."""
        self._limit, self._inside = limit, 0

    @contextmanager
    def enter(self) -> Iterator[None]:
        """Be one of them; enter before the body is in memory. Raises BusyError."""
        if self._inside >= self._limit:
            raise BusyError(f"{self._inside} requests are in work already; try again in a moment")
        self._inside += 1
        try:
            yield
        finally:
            self._inside -= 1


@asynccontextmanager
async def cancellable(request: Request, request_id: str) -> AsyncIterator[asyncio.Event]:
    """An event that is set when the client leaves or the request is cancelled. The body must have been read."""
    jobs: Jobs = request.app.state.jobs
    with jobs.running(request_id) as stop:
        watcher = asyncio.create_task(_set_on_disconnect(request, stop))
        try:
            yield stop
        finally:
            watcher.cancel()


async def _set_on_disconnect(request: Request, stop: asyncio.Event) -> None:
    """Wait until the client has gone."""
    while (await request.receive())["type"] != "http.disconnect":
        pass
    stop.set()


async def until(stop: asyncio.Event, events: AsyncGenerator[T, None]) -> AsyncGenerator[T, None]:
    """All events; once `stop` is set, `events` is cancelled. Raises CancelledByClientError then."""
    stopped = asyncio.create_task(stop.wait())
    try:
        while (event := await _unless(stopped, _next(events))) is not None:
            yield event
    finally:
        stopped.cancel()
        await events.aclose()


async def begun(events: AsyncGenerator[T, None], *, patience_s: float) -> AsyncGenerator[T, None]:
    """The same events, the first of them asked for already: what fails within `patience_s` is raised here."""
    first = asyncio.create_task(_next(events))
    await asyncio.wait({first}, timeout=patience_s)
    if first.done():
        first.result()
    return _continued(first, events)


async def _continued(first: "asyncio.Task[T | None]", events: AsyncGenerator[T, None]) -> AsyncGenerator[T, None]:
    """The first event, which may still be on its way, and all others."""
    try:
        event = await first
        while event is not None:
            yield event
            event = await _next(events)
    finally:
        first.cancel()
        await asyncio.wait({first})
        await events.aclose()


async def _next(events: AsyncGenerator[T, None]) -> T | None:
    """The next event, None after the last."""
    return await anext(events, None)


async def _unless(stopped: "asyncio.Task[Any]", coroutine: Coroutine[Any, Any, T]) -> T:
    """The coroutine's result, unless `stopped` is done first."""
    step = asyncio.create_task(coroutine)
    try:
        await asyncio.wait({step, stopped}, return_when=asyncio.FIRST_COMPLETED)
        if stopped.done():
            raise CancelledByClientError("this request was cancelled")
        return step.result()
    finally:
        step.cancel()
        await asyncio.wait({step})  # a generator cannot be closed while it runs

"""Work that is cancelled: it stops, and its clean-up is done before anything else goes on."""

import asyncio
from collections.abc import AsyncGenerator

import pytest

from serve.errors import BusyError
from serve.jobs import Admission, CancelledByClientError, Jobs, begun, until


class Source:
    """Counts up to `last`, waiting before each number, and remembers its end."""

    def __init__(self, *, last: int, wait_s: float = 0.0) -> None:
        self.last, self.wait_s = last, wait_s
        self.ended = False

    async def __call__(self) -> AsyncGenerator[int, None]:
        try:
            for number in range(1, self.last + 1):
                await asyncio.sleep(self.wait_s)
                yield number
        finally:
            await asyncio.sleep(0.01)
            self.ended = True


def test_everything_comes_through() -> None:
    async def run() -> list[int]:
        return [number async for number in until(asyncio.Event(), source())]

    source = Source(last=5)
    assert asyncio.run(run()) == [1, 2, 3, 4, 5]
    assert source.ended


@pytest.mark.parametrize("wait_s", [0.0, 30.0], ids=["between events", "while it waits"])
def test_stop_ends_it(wait_s: float) -> None:
    async def run() -> None:
        jobs = Jobs()
        with jobs.running("a") as stop:
            asyncio.get_running_loop().call_later(0.05, jobs.cancel, "a")
            async for _ in until(stop, source()):
                pass

    source = Source(last=10**9, wait_s=wait_s)
    with pytest.raises(CancelledByClientError):
        asyncio.run(asyncio.wait_for(run(), timeout=5))
    assert source.ended


def test_cancelling_the_task_ends_it() -> None:
    async def run() -> None:
        async for _ in until(asyncio.Event(), source()):
            pass

    source = Source(last=1, wait_s=30.0)
    with pytest.raises(TimeoutError):
        asyncio.run(asyncio.wait_for(run(), timeout=0.05))
    assert source.ended


def test_an_error_comes_through() -> None:
    async def failing() -> AsyncGenerator[int, None]:
        yield 1
        raise KeyError("inside")

    async def run() -> None:
        async for _ in until(asyncio.Event(), failing()):
            pass

    with pytest.raises(KeyError, match="inside"):
        asyncio.run(run())


def test_two_with_one_id_are_cancelled_together() -> None:
    jobs = Jobs()
    with jobs.running("a") as first, jobs.running("a") as second, jobs.running("b") as other:
        assert jobs.cancel("a")
        assert (first.is_set(), second.is_set(), other.is_set()) == (True, True, False)
    assert not jobs.cancel("a")
    assert not jobs.cancel("never")


@pytest.mark.parametrize("wait_s", [0.0, 0.1], ids=["at once", "later than the patience"])
def test_begun_events_are_all_there(wait_s: float) -> None:
    async def run() -> list[int]:
        return [number async for number in await begun(source(), patience_s=0.02)]

    source = Source(last=3, wait_s=wait_s)
    assert asyncio.run(run()) == [1, 2, 3]
    assert source.ended


def test_what_fails_at_once_is_raised_before_the_events() -> None:
    async def failing() -> AsyncGenerator[int, None]:
        raise KeyError("inside")
        yield 1

    async def run() -> None:
        await begun(failing(), patience_s=5.0)

    with pytest.raises(KeyError, match="inside"):
        asyncio.run(run())


def test_begun_events_can_be_cancelled() -> None:
    async def run() -> None:
        stop = asyncio.Event()
        events = until(stop, await begun(source(), patience_s=0.01))
        asyncio.get_running_loop().call_later(0.05, stop.set)
        async for _ in events:
            pass

    source = Source(last=1, wait_s=30.0)
    with pytest.raises(CancelledByClientError):
        asyncio.run(asyncio.wait_for(run(), timeout=5))
    assert source.ended


def test_admission_has_a_limit() -> None:
    admission = Admission(2)
    with admission.enter():
        with admission.enter(), pytest.raises(BusyError, match="2 requests are in work"), admission.enter():
            pass
        with admission.enter():
            pass

"""Work that is cancelled: it stops, and its clean-up is done before anything else goes on."""

import asyncio
from collections.abc import AsyncGenerator

import pytest

from serve.jobs import CancelledByClientError, Jobs, until


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

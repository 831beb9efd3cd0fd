"""The batcher on a real graph: everyone who waits has an answer or a reason, whoever leaves and whatever fails."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from serve.batching import Batcher, Scored
from serve.bundle import CLASSIFIER
from serve.errors import ServeError
from serve.sessions import Session
from serve.settings import Settings

HOP_LENGTH = 256
SETTINGS = Settings(device="cpu", max_batch=4, queue_size=100)


def some(seed: int, samples: int = 12_000) -> NDArray[np.float32]:
    return 0.1 * np.random.default_rng(seed).standard_normal(samples).astype(np.float32)


@pytest.fixture
def session(bundle_folder: Path) -> Session:
    return Session(bundle_folder / CLASSIFIER, device="cpu", threads=2)


def with_batcher(session: Session, use: Callable[[Batcher], Awaitable[None]]) -> list[int]:
    """Use a batcher within an event loop, and stop it; returns the sizes of its batches."""
    sizes: list[int] = []

    def observe(name: str, value: float) -> None:
        if name == "batch_size":
            sizes.append(int(value))

    async def run() -> None:
        batcher = Batcher(session, SETTINGS, hop_length=HOP_LENGTH, observe=observe)
        try:
            await use(batcher)
        finally:
            await batcher.stop()

    asyncio.run(asyncio.wait_for(run(), 120))
    return sizes


def test_a_crowd_has_the_answers_that_each_has_alone_whoever_leaves(session: Session) -> None:
    waveforms = [some(seed, 9_000 + 200 * seed) for seed in range(40)]

    async def use(batcher: Batcher) -> None:
        alone = [(await batcher.score([waveform]))[0] for waveform in waveforms]
        tasks = [asyncio.create_task(batcher.score([waveform])) for waveform in waveforms]
        await asyncio.sleep(0)
        for task in tasks[::3]:
            task.cancel()
        answers = await asyncio.gather(*tasks, return_exceptions=True)
        for place, (answer, expected) in enumerate(zip(answers, alone, strict=True)):
            if place % 3 == 0:
                assert isinstance(answer, asyncio.CancelledError)
                continue
            assert isinstance(answer, list)
            np.testing.assert_allclose(answer[0].probabilities, expected.probabilities, atol=1e-5)
            assert answer[0].log_mel.shape == expected.log_mel.shape

    sizes = with_batcher(session, use)
    assert sizes[:40] == [1] * 40
    assert max(sizes) == SETTINGS.max_batch // 2, "each of two lanes has its share"
    assert 26 <= sum(sizes[40:]) < 40, "who has left is not worked for"


def test_who_comes_again_and_again_is_never_forgotten(session: Session) -> None:
    """A lane ends when nobody waits, just as the next one may come."""

    async def client(batcher: Batcher, seed: int) -> None:
        for _ in range(25):
            await batcher.score([some(seed, 3_000)])

    async def use(batcher: Batcher) -> None:
        await asyncio.gather(*(client(batcher, seed) for seed in range(3)))

    assert sum(with_batcher(session, use)) == 75


def test_who_waits_at_the_stop_is_refused_and_who_is_at_work_answered(session: Session) -> None:
    answers: list[list[Scored] | BaseException] = []

    async def use(batcher: Batcher) -> None:
        tasks = [asyncio.create_task(batcher.score([some(seed)])) for seed in range(30)]
        await asyncio.sleep(0)
        await batcher.stop()
        answers.extend(await asyncio.gather(*tasks, return_exceptions=True))

    with_batcher(session, use)
    refused = [answer for answer in answers if isinstance(answer, BaseException)]
    assert {(type(error), str(error)) for error in refused} == {(ServeError, "the server is stopping")}
    assert 0 < len(refused) < 30


def test_what_fails_unexpectedly_is_told_and_the_next_are_answered(
    session: Session, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    whole, calls = session.run, iter(range(100))

    def run(*given: Any, **options: Any) -> dict[str, NDArray[Any]]:
        if next(calls) < 2:
            raise MemoryError("no room for this batch")
        return whole(*given, **options)

    monkeypatch.setattr(session, "run", run)

    async def use(batcher: Batcher) -> None:
        for _ in range(2):
            with pytest.raises(MemoryError, match="no room"):
                await batcher.score([some(0)])
        (answer,) = await batcher.score([some(0)])
        assert answer.probabilities.sum() == pytest.approx(1.0, abs=1e-5)

    with_batcher(session, use)
    assert caplog.text.count("a batch failed unexpectedly") == 2

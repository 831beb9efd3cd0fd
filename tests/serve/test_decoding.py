"""The pool of decode workers: what one recording does to a worker is no other recording's business."""

import asyncio
import os
import signal
import time
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from serve.decode_process import DecodeProcess
from serve.decoding import DecoderPool
from serve.errors import InputError, ServeError, TooLargeError, UndecodableError
from tests.serve.pools import RATE_HZ, in_process, runs, with_pool
from tests.serve.recordings import FORMATS, encode, tone

START_S = 0.2


@pytest.fixture(scope="module")
def wav() -> bytes:
    return encode(tone(duration_s=0.5), format="wav")


def test_every_format_comes_through_whole() -> None:
    recordings = [encode(tone(duration_s=0.5), format=format) for format in FORMATS]

    async def decode_all(pool: DecoderPool) -> list[NDArray[np.float32]]:
        return await asyncio.gather(*(pool.decode(recording) for recording in recordings))

    for recording, waveform in zip(recordings, with_pool(decode_all, workers=2), strict=True):
        np.testing.assert_array_equal(waveform, in_process(recording))
        assert waveform.flags.writeable


def test_a_long_recording_comes_through_whole() -> None:
    recording = encode(tone(duration_s=50.0, sample_rate_hz=48_000), format="wav-float", sample_rate_hz=48_000)
    waveform = with_pool(lambda pool: pool.decode(recording))
    np.testing.assert_array_equal(waveform, in_process(recording))


@pytest.mark.parametrize(
    ("recording", "error", "words"),
    [
        (b"", InputError, "holds no samples"),
        (encode(np.zeros(0, dtype=np.float32), format="wav"), InputError, "holds no samples"),
        (b"Dear all, this is a text.", UndecodableError, "not a recording that can be read; send wav, flac"),
        (encode(tone(duration_s=3.0), format="flac"), TooLargeError, "longer than 2 s"),
    ],
    ids=["no bytes", "no samples", "text", "too long"],
)
def test_refusals_in_words(recording: bytes, error: type[ServeError], words: str, wav: bytes) -> None:
    async def refused(pool: DecoderPool) -> None:
        before = pool.processes
        with pytest.raises(error, match=words):
            await pool.decode(recording)
        np.testing.assert_array_equal(await pool.decode(wav), in_process(wav))
        assert pool.processes == before

    with_pool(refused, max_duration_s=2)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV, signal.SIGABRT])
def test_a_crash_takes_one_recording_with_it(
    number: signal.Signals, wav: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    async def crash(pool: DecoderPool) -> None:
        (first,) = pool.processes
        os.kill(first, signal.SIGSTOP)
        lost, waiting = asyncio.create_task(pool.decode(wav)), asyncio.create_task(pool.decode(wav))
        await asyncio.sleep(0.05)
        os.kill(first, number)
        if number != signal.SIGKILL:  # which also ends what is stopped
            os.kill(first, signal.SIGCONT)
        with pytest.raises(UndecodableError, match="makes the decoder fail"):
            await lost
        np.testing.assert_array_equal(await waiting, in_process(wav))
        assert first not in pool.processes
        assert not runs(first)

    with_pool(crash)
    assert [record.name for record in caplog.records] == ["serve.decode_process"]


def test_a_worker_that_died_while_idle_is_replaced(wav: bytes) -> None:
    async def die(pool: DecoderPool) -> None:
        os.kill(pool.processes[0], signal.SIGKILL)
        with pytest.raises(UndecodableError):
            await pool.decode(wav)
        np.testing.assert_array_equal(await pool.decode(wav), in_process(wav))

    with_pool(die)


def test_a_hang_ends_after_the_timeout(wav: bytes) -> None:
    async def hang(pool: DecoderPool) -> None:
        (first,) = pool.processes
        os.kill(first, signal.SIGSTOP)
        began = time.monotonic()
        with pytest.raises(UndecodableError, match=r"within 0\.5 s"):
            await pool.decode(wav)
        assert 0.4 < time.monotonic() - began < 5.0
        np.testing.assert_array_equal(await pool.decode(wav), in_process(wav))
        assert not runs(first)

    with_pool(hang, timeout_s=0.5)


def test_a_recording_that_needs_too_much_memory(wav: bytes) -> None:
    long = encode(np.zeros(600 * 48_000, dtype=np.float32), format="flac", sample_rate_hz=48_000)

    async def decode_both(pool: DecoderPool) -> None:
        with pytest.raises((TooLargeError, UndecodableError), match=r"memory|decoder fail"):
            await pool.decode(long)
        np.testing.assert_array_equal(await pool.decode(wav), in_process(wav))

    with_pool(decode_both, max_duration_s=1000.0, memory_bytes=3 * 10**8)


def test_the_default_memory_suffices_for_ten_minutes() -> None:
    recording = encode(np.zeros(600 * 96_000, dtype=np.float32), format="flac", sample_rate_hz=96_000)
    waveform = with_pool(lambda pool: pool.decode(recording), max_duration_s=600.0)
    assert len(waveform) == 600 * RATE_HZ


def test_cancelled_callers_leave_no_trace(wav: bytes) -> None:
    other = encode(tone(duration_s=5.0), format="opus")

    async def cancel(pool: DecoderPool) -> None:
        before = pool.processes
        for wait_s in (0.0, 0.001, 0.002, 0.004, 0.008):
            tasks = [asyncio.create_task(pool.decode(other)) for _ in range(4)]
            await asyncio.sleep(wait_s)
            for task in tasks:
                task.cancel()
            results = await asyncio.gather(*tasks, return_exceptions=True)
            assert any(isinstance(result, asyncio.CancelledError) for result in results)
            np.testing.assert_array_equal(await pool.decode(wav), in_process(wav))
        assert pool.processes == before

    with_pool(cancel, workers=2)


def test_a_cancelled_caller_of_a_crash_is_quiet(wav: bytes, caplog: pytest.LogCaptureFixture) -> None:
    async def cancel(pool: DecoderPool) -> None:
        os.kill(pool.processes[0], signal.SIGSTOP)
        task = asyncio.create_task(pool.decode(wav))
        await asyncio.sleep(0.05)
        task.cancel()
        await asyncio.sleep(0)
        os.kill(pool.processes[0], signal.SIGKILL)
        np.testing.assert_array_equal(await pool.decode(wav), in_process(wav))

    with_pool(cancel)
    assert [record.name for record in caplog.records] == ["serve.decode_process"]


def test_workers_are_replaced_in_time(wav: bytes) -> None:
    async def decode_ten(pool: DecoderPool) -> set[int]:
        seen = set(pool.processes)
        for _ in range(10):
            np.testing.assert_array_equal(await pool.decode(wav), in_process(wav))
            seen.update(pool.processes)
        return seen

    seen = with_pool(decode_ten, recordings_per_process=4)
    assert len(seen) == 3
    assert not any(runs(pid) for pid in seen)


def test_stop_answers_what_is_in_work_and_refuses_the_rest(wav: bytes) -> None:
    async def stop() -> tuple[int, list[Any]]:
        pool = DecoderPool(sample_rate_hz=RATE_HZ, workers=1, max_duration_s=60.0)
        pool.start()
        await pool.decode(wav)
        (pid,) = pool.processes
        tasks = [asyncio.create_task(pool.decode(wav)) for _ in range(3)]
        await asyncio.sleep(0)
        await pool.stop()
        results = await asyncio.gather(*tasks, pool.decode(wav), return_exceptions=True)
        assert pool.processes == ()
        return pid, results

    pid, (first, *refused) = asyncio.run(stop())
    np.testing.assert_array_equal(first, in_process(wav))
    assert [str(error) for error in refused] == ["the decoder is not running; start the server again"] * 3
    assert not runs(pid)


def test_as_many_processes_as_work_at_once(wav: bytes) -> None:
    async def count() -> list[int]:
        pool = DecoderPool(sample_rate_hz=RATE_HZ, workers=3, max_duration_s=60.0)
        pool.start()
        found = [len(pool.processes)]
        for together in (1, 1, 2, 1):
            await asyncio.gather(*(pool.decode(wav) for _ in range(together)))
            found.append(len(pool.processes))
        await pool.stop()
        return found

    assert asyncio.run(count()) == [0, 1, 1, 2, 2]


def test_a_worker_that_cannot_start_is_asked_last(wav: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    async def lose_one() -> None:
        pool = DecoderPool(sample_rate_hz=RATE_HZ, workers=2, max_duration_s=60.0)
        pool.start()
        await asyncio.gather(pool.decode(wav), pool.decode(wav))
        with monkeypatch.context() as patch:
            patch.setattr(DecodeProcess, "start", _no_start)
            os.kill(pool.processes[0], signal.SIGKILL)
            failed = await asyncio.gather(pool.decode(wav), pool.decode(wav), return_exceptions=True)
            assert sum(isinstance(answer, UndecodableError) for answer in failed) == 1
            await asyncio.sleep(2 * START_S)  # it rests after the other one now
            for _ in range(3):
                np.testing.assert_array_equal(await pool.decode(wav), in_process(wav))
        await asyncio.gather(pool.decode(wav), pool.decode(wav))
        assert len(pool.processes) == 2
        await pool.stop()

    asyncio.run(lose_one())


async def _no_start(_: DecodeProcess) -> None:
    await asyncio.sleep(START_S)
    raise ServeError("there is no memory for another process")


def test_a_pool_can_be_started_again(wav: bytes) -> None:
    async def twice() -> None:
        pool = DecoderPool(sample_rate_hz=RATE_HZ, workers=2, max_duration_s=60.0)
        for _ in range(2):
            pool.start()
            np.testing.assert_array_equal(await pool.decode(wav), in_process(wav))
            await pool.stop()

    asyncio.run(twice())

"""Thousands of damaged recordings: each gives a waveform or a refusal in words, and nothing is left behind."""

import asyncio
import os
import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from serve.decoding import DecoderPool
from serve.errors import InputError, TooLargeError, UndecodableError
from tests.serve.damage import mutated
from tests.serve.recordings import FORMATS, encode, spoken

MUTATED = 2_000
RATE_HZ = 22_050
MAX_DURATION_S = 5.0
TIMEOUT_S = 10.0
LARGEST_GROWTH_BYTES = 16 * 2**20
WORDS = ("or m4a", "send the original", "Hz", "part of it", "rate", "another one")
"""How refusals end: with the remedy, or with what is allowed."""


def resident_bytes(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")


async def outcome(pool: DecoderPool, recording: bytes) -> str:
    try:
        waveform = await pool.decode(recording)
    except (UndecodableError, TooLargeError, InputError) as error:
        return type(error).__name__ if str(error).endswith(WORDS) else f"{error!r}"
    assert waveform.dtype == np.float32
    assert 0 < len(waveform) <= MAX_DURATION_S * RATE_HZ + 1000
    assert np.isfinite(waveform).all()
    return "waveform"


class Findings:
    """What came of all recordings: outcomes, the slowest, processes used, and resident bytes (server, worker)."""

    def __init__(self) -> None:
        self.outcomes: Counter[str] = Counter()
        self.slowest_s = 0.0
        self.processes: set[int] = set()
        self.memory: list[tuple[int, int]] = []

    def __str__(self) -> str:
        memory = [tuple(value // 2**20 for value in pair) for pair in self.memory]
        return f"{dict(self.outcomes)}, slowest {self.slowest_s:.3f} s, {len(self.processes)} processes, MiB {memory}"


async def decode_mutated(recordings: list[bytes], *, count: int, seed: int) -> Findings:
    rng = np.random.default_rng(seed)
    findings = Findings()
    pool = DecoderPool(
        sample_rate_hz=RATE_HZ,
        workers=1,
        max_duration_s=MAX_DURATION_S,
        timeout_s=TIMEOUT_S,
        recordings_per_process=10 * count,  # no memory is given back by a replacement
    )
    pool.start()
    for number in range(count):
        recording = mutated(rng, recordings)
        began = time.monotonic()
        findings.outcomes[await outcome(pool, recording)] += 1
        findings.slowest_s = max(findings.slowest_s, time.monotonic() - began)
        if number % 100 == 99:
            await pool.decode(recordings[0])
            findings.processes.update(pool.processes)
            findings.memory.append((resident_bytes(os.getpid()), resident_bytes(pool.processes[0])))
    await pool.stop()
    return findings


def test_damaged_recordings_give_waveforms_or_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    clip = spoken("Yes!")[2_000:9_000]
    recordings = [encode(clip, format=format) for format in FORMATS]
    found = asyncio.run(decode_mutated(recordings, count=MUTATED, seed=2026))
    print(found)
    assert found.outcomes.keys() <= {"waveform", "UndecodableError", "TooLargeError", "InputError"}
    assert found.outcomes.total() == MUTATED
    assert min(found.outcomes["waveform"], found.outcomes["UndecodableError"]) > MUTATED / 20
    assert found.slowest_s < TIMEOUT_S
    for resident in zip(*found.memory, strict=True):
        assert max(resident) - min(resident[4:]) < LARGEST_GROWTH_BYTES
    assert list(tmp_path.iterdir()) == []

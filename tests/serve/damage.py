"""Damage that recordings suffer: flipped bits, broken headers, lost, repeated and mixed parts."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]
Mutation = Callable[[np.random.Generator, Bytes, Bytes], Bytes]


def flipped_bits(rng: np.random.Generator, recording: Bytes, _: Bytes) -> Bytes:
    places = rng.integers(len(recording), size=int(2 ** rng.uniform(0, 8)))
    recording[places] ^= (1 << rng.integers(8, size=len(places))).astype(np.uint8)
    return recording


def damaged_header(rng: np.random.Generator, recording: Bytes, _: Bytes) -> Bytes:
    places = rng.integers(min(len(recording), 100), size=rng.integers(1, 8))
    recording[places] = rng.choice([0, 1, 127, 128, 255, rng.integers(256)], size=len(places))
    return recording


def truncated(rng: np.random.Generator, recording: Bytes, _: Bytes) -> Bytes:
    return recording[: rng.integers(1, len(recording))]


def beheaded(rng: np.random.Generator, recording: Bytes, _: Bytes) -> Bytes:
    return recording[rng.integers(1, len(recording)) :]


def spliced(rng: np.random.Generator, recording: Bytes, other: Bytes) -> Bytes:
    return np.concatenate([recording[: rng.integers(1, len(recording))], other[rng.integers(1, len(other)) :]])


def overwritten(rng: np.random.Generator, recording: Bytes, _: Bytes) -> Bytes:
    start = rng.integers(len(recording))
    recording[start : start + rng.integers(1, 200)] = rng.integers(256)
    return recording


def repeated(rng: np.random.Generator, recording: Bytes, _: Bytes) -> Bytes:
    start, stop = sorted(rng.integers(len(recording), size=2))
    return np.concatenate([recording[:stop], np.tile(recording[start:stop], rng.integers(1, 20)), recording[stop:]])


MUTATIONS: list[Mutation] = [flipped_bits, damaged_header, truncated, beheaded, spliced, overwritten, repeated]


def mutated(rng: np.random.Generator, recordings: list[bytes]) -> bytes:
    """One to three mutations of a recording drawn from `recordings`."""
    recording, other = (np.frombuffer(recordings[i], np.uint8).copy() for i in rng.integers(len(recordings), size=2))
    for i in rng.integers(len(MUTATIONS), size=rng.integers(1, 4)):
        recording = MUTATIONS[i](rng, recording, other)
        if len(recording) < 2:
            break
    return recording.tobytes()

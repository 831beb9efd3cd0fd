"""The log-mel cache: one float16 array a recording, addressed by content, written once and verified when used."""

import hashlib
import os
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from sermodels.config import FrontEndConfig
from sermodels.corpora.utterance import Corpus, Utterance
from sermodels.errors import AudioError, StorageError
from sermodels.features import LogMel
from sermodels.files import atomic_write, canonical_json
from sermodels.known import UNKNOWN, KnownFiles

WHOLE = "whole log-mel"
ENTRY = "log_mel.npy"
FAST = 1
"""zlib's level: half the time of its usual one, for a file that is 5 % larger."""
CLIPS_A_JOB = 16
"""At most: a thread that takes clips one by one waits for the others after each."""
CACHE_VERSION = 3
"""Bumped by hand when the same recording and config would give another log-mel."""

Missing = tuple[Utterance, Path]
"""A recording whose log-mel is to be computed, and where it will lie."""


@dataclass(frozen=True)
class CacheReport:
    """What one caching did: how many log-mels it computed, found, and could not read (identifier, reason)."""

    computed: int
    reused: int
    unreadable: tuple[tuple[str, str], ...]
    corpus_digest: str
    """Of all recordings asked for, unreadable ones included."""

    def message(self) -> str:
        """The unreadable recordings by name, one a line, and the remedy."""
        lines = [
            f"{len(self.unreadable)} of {self.computed + self.reused + len(self.unreadable)} recordings unreadable:"
        ]
        lines += [f"  {identifier}: {reason}" for identifier, reason in self.unreadable]
        lines.append("replace or remove them, or go on without them by --skip-unreadable")
        return "\n".join(lines)


def cache_paths(folder: Path, utterances: Iterable[Utterance], config: FrontEndConfig) -> list[Path]:
    """Where the log-mels of recordings lie: a name is a hash of the content and the front end's config."""
    return [Path(name) for name in _cache_names(folder, utterances, config)]


def _cache_names(folder: Path, utterances: Iterable[Utterance], config: FrontEndConfig) -> Iterator[str]:
    """The same as names: a Path for each of thousands takes longer than to ask for its status."""
    front_end = canonical_json(config.model_dump())
    texts = (f'[{CACHE_VERSION},"{utterance.sha256}",{front_end}]' for utterance in utterances)
    keys = (hashlib.sha256(text.encode()).hexdigest() for text in texts)
    return (f"{folder}/{key[:2]}/{key}.npz" for key in keys)


def cache_log_mels(
    utterances: Sequence[Utterance],
    config: FrontEndConfig,
    folder: Path,
    *,
    workers: int | None = None,
    known: KnownFiles = UNKNOWN,
    on_progress: Callable[[float], None] | None = None,
) -> CacheReport:
    """Compute every log-mel that the cache lacks, in parallel; unreadable recordings are collected, not raised.

    Those that are `known` to be whole, and were not touched since, are not verified again.

    Raises StorageError when the cache cannot be written; what was written before stays and is used next time.
    """
    front_end = LogMel(config).eval()
    distinct = _first_of_each_content(utterances)
    names = _cache_names(folder, distinct, config)
    missing = [(u, Path(name)) for u, name in zip(distinct, names, strict=True) if not is_cached(name, known)]
    known.save()
    unreadable: dict[str, str] = {}
    threads, done = workers or len(os.sched_getaffinity(0)), 0
    with (
        _one_torch_thread(),
        ThreadPoolExecutor(threads) as pool,
        tqdm(total=len(missing), desc="log-mels", unit="clip", disable=not missing) as bar,
    ):
        jobs = {pool.submit(_cache_some, part, config, front_end): len(part) for part in _jobs(missing, threads)}
        try:
            for job in as_completed(jobs):
                unreadable |= job.result()
                bar.update(jobs[job])
                done += jobs[job]
                if on_progress:
                    on_progress(done / len(missing))
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise
    failed = tuple((u.identifier, unreadable[u.sha256]) for u in utterances if u.sha256 in unreadable)
    computed = len(missing) - len(unreadable)
    reused = len(utterances) - computed - len(failed)
    return CacheReport(computed, reused, failed, Corpus(tuple(utterances)).digest())


def read_log_mel(path: Path) -> NDArray[np.float16]:
    """A cached log-mel in dB, shape (mel, frame); the archive's CRC is checked. Raises StorageError."""
    try:
        with zipfile.ZipFile(path) as archive:
            content = archive.read(ENTRY)  # all of it, since the CRC is compared at its end
        log_mel: NDArray[np.float16] = np.load(BytesIO(content), allow_pickle=False)
    except (OSError, ValueError, KeyError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error) as error:
        raise StorageError(f"{path}: damaged or missing log-mel ({error}); run the caching again") from error
    return log_mel


def read_log_mels(folder: Path, utterances: Iterable[Utterance], config: FrontEndConfig) -> list[NDArray[np.float16]]:
    """The cached log-mels of recordings, as `read_log_mel`. Raises StorageError."""
    return [read_log_mel(path) for path in cache_paths(folder, utterances, config)]


def write_log_mel(path: Path, log_mel: NDArray[np.floating]) -> None:
    """Store a log-mel as float16, atomically: silence, which is level, takes next to nothing. Raises StorageError."""
    array, content = BytesIO(), BytesIO()
    np.save(array, log_mel.astype(np.float16), allow_pickle=False)
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr(zipfile.ZipInfo(ENTRY), array.getvalue(), zipfile.ZIP_DEFLATED, FAST)
    with atomic_write(path, durable=False) as temporary:
        temporary.write_bytes(content.getbuffer())


def is_cached(path: str | Path, known: KnownFiles = UNKNOWN) -> bool:
    """Whether a whole, undamaged log-mel lies at `path`."""
    try:
        return known.about(path, _verify) == WHOLE
    except (FileNotFoundError, StorageError):
        return False


def _verify(path: Path) -> str:
    """That a log-mel is whole. Raises StorageError where it is not."""
    read_log_mel(path)
    return WHOLE


def _first_of_each_content(utterances: Sequence[Utterance]) -> list[Utterance]:
    """One utterance for each distinct content, so that no entry is computed twice."""
    return list({utterance.sha256: utterance for utterance in reversed(utterances)}.values())


def _jobs(missing: list[Missing], threads: int) -> Iterator[list[Missing]]:
    """Recordings in jobs of several, and four jobs or more for each thread, so that all end together."""
    size = max(1, min(CLIPS_A_JOB, len(missing) // (4 * threads)))
    return (missing[first : first + size] for first in range(0, len(missing), size))


def _cache_some(missing: list[Missing], config: FrontEndConfig, front_end: LogMel) -> dict[str, str]:
    """Cache recordings; returns why those that cannot be read cannot, by the hash of their content."""
    reasons = ((utterance.sha256, _cache_one(utterance, config, front_end, path)) for utterance, path in missing)
    return {content: reason for content, reason in reasons if reason}


def _cache_one(utterance: Utterance, config: FrontEndConfig, front_end: LogMel, path: Path) -> str:
    """Cache one recording; returns why it cannot be read, or an empty string."""
    from sermodels.audio import read_waveform

    try:
        waveform = read_waveform(utterance.path, sample_rate_hz=config.sample_rate_hz)
    except AudioError as error:
        return str(error)
    with torch.inference_mode():
        log_mel = front_end(torch.from_numpy(waveform)[None])[0].numpy()
    write_log_mel(path, log_mel)
    return ""


@contextmanager
def _one_torch_thread() -> Iterator[None]:
    """One thread a matrix product while clips run in parallel: more would only queue for the cores."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)

"""The log-mel cache: computed once, keyed by content, verified, and safe from full disks and kills."""

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from sermodels.audio import read_waveform
from sermodels.cache import CacheReport, cache_log_mels, cache_paths, is_cached, read_log_mel, write_log_mel
from sermodels.config import FrontEndConfig
from sermodels.corpora.utterance import Utterance
from sermodels.errors import StorageError
from sermodels.features import LogMel
from sermodels.files import sha256_of_file
from tests.sermodels.small_disk import fill, small_disk

ROOT = Path(__file__).resolve().parents[2]
TINY = FrontEndConfig(n_fft=256, hop_length=128, n_mels=8)
OTHER_VALUES: dict[str, Any] = {
    "sample_rate_hz": 16_000,
    "n_fft": 512,
    "hop_length": 64,
    "n_mels": 10,
    "f_min_hz": 50.0,
    "f_max_hz": 8_000.0,
    "top_db": 60.0,
}

WriteWav = Callable[..., Path]
MakeClips = Callable[..., list[Utterance]]


def utterance_of(path: Path) -> Utterance:
    return Utterance(f"test/{path.stem}", path, "test", "test/01", "anger", sha256_of_file(path))


@pytest.fixture
def make_clips(tmp_path: Path, write_wav: WriteWav) -> MakeClips:
    """Writes so many recordings, each with its own content."""

    def make(count: int, **options: Any) -> list[Utterance]:
        paths = [write_wav(tmp_path / "wavs" / f"{i:03}.wav", content=i, **options) for i in range(count)]
        return [utterance_of(path) for path in paths]

    return make


def counts(report: CacheReport) -> tuple[int, int, int]:
    return report.computed, report.reused, len(report.unreadable)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def entries(clips: Sequence[Utterance], folder: Path) -> list[Path]:
    return cache_paths(folder, clips, TINY)


def test_an_entry_is_the_log_mel_of_its_recording(tmp_path: Path, make_clips: MakeClips) -> None:
    clips = make_clips(3, duration_s=0.3)
    cache_log_mels(clips, TINY, tmp_path / "cache")
    for clip, entry in zip(clips, entries(clips, tmp_path / "cache"), strict=True):
        stored = read_log_mel(entry)
        waveform = read_waveform(clip.path, sample_rate_hz=TINY.sample_rate_hz)
        exact = LogMel(TINY)(torch.from_numpy(waveform)[None])[0].numpy()
        assert stored.dtype == np.float16
        assert stored.shape == exact.shape
        np.testing.assert_allclose(stored, exact, atol=0.06)


def test_float16_is_within_six_hundredths_of_a_decibel(tmp_path: Path) -> None:
    levels_db = np.linspace(-100.0, 100.0, 8_000, dtype=np.float32).reshape(80, 100)
    write_log_mel(tmp_path / "entry.npz", levels_db)
    assert np.abs(read_log_mel(tmp_path / "entry.npz").astype(np.float32) - levels_db).max() <= 0.06


def test_the_second_run_computes_nothing(tmp_path: Path, make_clips: MakeClips) -> None:
    clips, cache = make_clips(5), tmp_path / "cache"
    assert counts(cache_log_mels(clips, TINY, cache)) == (5, 0, 0)
    before = {path: path.stat().st_mtime_ns for path in entries(clips, cache)}
    assert counts(cache_log_mels(clips, TINY, cache)) == (0, 5, 0)
    assert {path: path.stat().st_mtime_ns for path in entries(clips, cache)} == before


def test_only_a_changed_recording_is_computed_again(tmp_path: Path, make_clips: MakeClips, write_wav: WriteWav) -> None:
    clips, cache = make_clips(5), tmp_path / "cache"
    cache_log_mels(clips, TINY, cache)
    before = contents(cache)
    clips[2] = utterance_of(write_wav(clips[2].path, content=99))
    assert counts(cache_log_mels(clips, TINY, cache)) == (1, 4, 0)
    after = contents(cache)
    assert len(after) == 6
    assert {name: after[name] for name in before} == before


@pytest.mark.parametrize(("field", "value"), OTHER_VALUES.items())
def test_another_front_end_computes_all_and_keeps_the_old(
    tmp_path: Path, make_clips: MakeClips, field: str, value: Any
) -> None:
    clips, cache = make_clips(3), tmp_path / "cache"
    cache_log_mels(clips, TINY, cache)
    other = TINY.model_copy(update={field: value})
    assert counts(cache_log_mels(clips, other, cache)) == (3, 0, 0)
    assert counts(cache_log_mels(clips, TINY, cache)) == (0, 3, 0)
    assert counts(cache_log_mels(clips, other, cache)) == (0, 3, 0)


def test_every_field_of_the_front_end_is_tried() -> None:
    assert set(OTHER_VALUES) == set(FrontEndConfig.model_fields)


def test_a_recording_under_two_names_is_computed_once(tmp_path: Path, write_wav: WriteWav) -> None:
    clips = [utterance_of(write_wav(tmp_path / f"{name}.wav", content=7)) for name in "ab"]
    assert counts(cache_log_mels(clips, TINY, tmp_path / "cache")) == (1, 1, 0)
    assert len(contents(tmp_path / "cache")) == 1


def test_the_name_and_folder_of_a_recording_do_not_matter(tmp_path: Path, write_wav: WriteWav) -> None:
    for name in ("here/a.wav", "there/b.wav"):
        report = cache_log_mels([utterance_of(write_wav(tmp_path / name))], TINY, tmp_path / "cache")
    assert counts(report) == (0, 1, 0)


def test_no_recordings(tmp_path: Path) -> None:
    assert counts(cache_log_mels([], TINY, tmp_path / "cache")) == (0, 0, 0)


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda content: b"",
    "half": lambda content: content[: len(content) // 2],
    "last byte missing": lambda content: content[:-1],
    "a byte of the values": lambda content: content[:100] + bytes([content[100] ^ 1]) + content[101:],
    "not an archive": lambda content: b"x" * len(content),
    "zeros": lambda content: bytes(len(content)),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_entry_is_named_and_computed_again(
    tmp_path: Path, make_clips: MakeClips, damage: Callable[[bytes], bytes]
) -> None:
    clips, cache = make_clips(4), tmp_path / "cache"
    cache_log_mels(clips, TINY, cache)
    before = contents(cache)
    entry = entries(clips, cache)[1]
    entry.write_bytes(damage(entry.read_bytes()))
    with pytest.raises(StorageError, match=rf"{entry.name}: damaged or missing log-mel .*; run the caching again"):
        read_log_mel(entry)
    assert counts(cache_log_mels(clips, TINY, cache)) == (1, 3, 0)
    assert contents(cache) == before


def test_a_missing_entry_is_named(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=r"none\.npz: damaged or missing"):
        read_log_mel(tmp_path / "none.npz")


@pytest.mark.parametrize("shape", [(8, 9), (80, 799)], ids=["short", "long"])
def test_no_flipped_bit_gives_other_values(tmp_path: Path, shape: tuple[int, int]) -> None:
    """In headers and directory, and at places in between: it is refused or does no harm."""
    path = tmp_path / "entry.npz"
    values = np.random.default_rng(0).normal(-40, 10, shape).astype(np.float16)
    write_log_mel(path, values)
    content = path.read_bytes()
    size = len(content)
    places = {*range(200), *range(200, size, max(1, size // 50)), *range(size - 150, size)}
    refused = 0
    for place in places:
        for bit in (place % 8, (place + 3) % 8):
            path.write_bytes(content[:place] + bytes([content[place] ^ 1 << bit]) + content[place + 1 :])
            try:
                np.testing.assert_array_equal(read_log_mel(path), values)
            except StorageError:
                refused += 1
    assert refused > len(places)


def test_one_corrupt_recording_among_twenty_is_reported(tmp_path: Path, make_clips: MakeClips) -> None:
    clips, cache = make_clips(20), tmp_path / "cache"
    whole = clips[13].path.read_bytes()
    clips[13].path.write_bytes(whole[: len(whole) // 2])
    report = cache_log_mels(clips, TINY, cache)
    assert counts(report) == (19, 0, 1)
    assert report.unreadable[0][0] == "test/013"
    assert "013.wav: is truncated" in report.unreadable[0][1]
    assert [is_cached(entry) for entry in entries(clips, cache)] == [number != 13 for number in range(20)]
    message = report.message()
    assert message.startswith("1 of 20 recordings unreadable:\n  test/013: ")
    assert message.endswith("--skip-unreadable")


def test_a_repaired_recording_is_all_that_is_computed(tmp_path: Path, make_clips: MakeClips) -> None:
    clips, cache = make_clips(4), tmp_path / "cache"
    whole = clips[1].path.read_bytes()
    clips[1].path.write_bytes(b"")
    assert counts(cache_log_mels(clips, TINY, cache)) == (3, 0, 1)
    clips[1].path.write_bytes(whole)
    assert counts(cache_log_mels(clips, TINY, cache)) == (1, 3, 0)


def test_both_names_of_an_unreadable_recording_are_reported(tmp_path: Path) -> None:
    paths = [tmp_path / f"{name}.wav" for name in "ab"]
    for path in paths:
        path.write_bytes(b"not audio")
    report = cache_log_mels([utterance_of(path) for path in paths], TINY, tmp_path / "cache")
    assert counts(report) == (0, 0, 2)
    assert [identifier for identifier, _ in report.unreadable] == ["test/a", "test/b"]


def test_parallel_workers_write_the_same_bytes_as_one(tmp_path: Path, make_clips: MakeClips) -> None:
    clips = make_clips(12, duration_s=0.2)
    cache_log_mels(clips, TINY, tmp_path / "one", workers=1)
    cache_log_mels(clips, TINY, tmp_path / "four", workers=4)
    assert contents(tmp_path / "one") == contents(tmp_path / "four")
    assert len(contents(tmp_path / "one")) == 12


def test_progress_rises_to_one_and_torch_has_its_threads_back(tmp_path: Path, make_clips: MakeClips) -> None:
    told: list[float] = []
    threads = torch.get_num_threads()
    cache_log_mels(make_clips(4), TINY, tmp_path / "cache", on_progress=told.append)
    assert told == [0.25, 0.5, 0.75, 1.0]
    assert torch.get_num_threads() == threads


def test_a_full_disk_is_named_and_with_space_it_goes_on(tmp_path: Path, make_clips: MakeClips) -> None:
    config = FrontEndConfig()
    clips = make_clips(20, duration_s=1.0)
    with small_disk(tmp_path / "disk", kilobytes=1024) as disk:
        ballast = fill(disk, leave=80_000)
        with pytest.raises(StorageError, match=r"\.npz: the disk is full; free some space"):
            cache_log_mels(clips, config, disk / "cache", workers=2)
        whole = [is_cached(path) for path in cache_paths(disk / "cache", clips, config)]
        assert 0 < sum(whole) < 20
        assert len(contents(disk / "cache")) == sum(whole)
        ballast.unlink()
        assert counts(cache_log_mels(clips, config, disk / "cache")) == (20 - sum(whole), sum(whole), 0)


KILLED = """
import sys
from pathlib import Path
from sermodels.cache import cache_log_mels
from sermodels.config import FrontEndConfig
from sermodels.corpora.utterance import Utterance

clips = [Utterance(p.stem, p, "test", "01", "anger", p.stem) for p in sorted(Path(sys.argv[1]).glob("*.wav"))]
cache_log_mels(clips, FrontEndConfig(n_fft=2048, hop_length=32), Path(sys.argv[2]), workers=2)
"""


def test_a_killed_run_leaves_no_half_entry(tmp_path: Path, make_clips: MakeClips) -> None:
    clips = make_clips(200, duration_s=1.0)
    cache = tmp_path / "cache"
    cache.mkdir()
    arguments = [sys.executable, "-c", KILLED, str(clips[0].path.parent), str(cache)]
    with subprocess.Popen(arguments, cwd=ROOT, stderr=subprocess.DEVNULL) as process:
        while process.poll() is None and len(list(cache.rglob("*.npz"))) < 5:
            time.sleep(0.005)
        process.kill()
    assert process.returncode == -signal.SIGKILL
    written = [path for path in cache.rglob("*") if path.is_file()]
    assert 5 <= len(written) < 200
    for path in written:
        assert is_cached(path) if path.suffix == ".npz" else path.name.endswith(".part")

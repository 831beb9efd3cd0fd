"""Ragged clips to batches of one size, against the same in plain numpy."""

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from sermodels.clips import VIEW_REACH_FRAMES, ClipSet, frames_of, statistics_of, trim_silence, view_offsets
from sermodels.config import ClipConfig, FrontEndConfig
from sermodels.features import LogMel

MELS = 6


def log_mels(lengths: Sequence[int], seed: int = 0) -> list[NDArray[np.float16]]:
    rng = np.random.default_rng(seed)
    return [rng.normal(-40.0, 15.0, (MELS, length)).astype(np.float16) for length in lengths]


def clip_set(clips: Sequence[NDArray[np.floating]]) -> ClipSet:
    return ClipSet.build(clips, list(range(len(clips))))


def long(values: Sequence[int] | NDArray[np.int64]) -> torch.Tensor:
    return torch.tensor(np.array(values, dtype=np.int64))


def placed(clip: NDArray[np.floating], offset: int, frames: int, floor_db: float) -> NDArray[np.float32]:
    """The reference: one clip written into a window of floor, cell by cell."""
    window = np.full((MELS, frames), floor_db, dtype=np.float32)
    for frame in range(clip.shape[1]):
        if 0 <= frame + offset < frames:
            window[:, frame + offset] = clip[:, frame]
    return window


@pytest.mark.parametrize(
    "config", [FrontEndConfig(), FrontEndConfig(n_fft=512, hop_length=160, sample_rate_hz=16_000, f_max_hz=8_000)]
)
@pytest.mark.parametrize("duration_s", [0.1, 1.0, 2.2, 4.45, 10.0])
def test_frames_of_a_duration_are_those_of_the_front_end(config: FrontEndConfig, duration_s: float) -> None:
    samples = int(duration_s * config.sample_rate_hz)
    assert frames_of(duration_s, config) == LogMel(config)(torch.zeros(1, samples)).shape[2]


def test_trim_keeps_what_is_within_the_bound_of_the_loudest_frame() -> None:
    level_db = np.array([-90.0, -51.0, -49.0, -70.0, -10.0, -50.0, -50.1, -90.0])
    log_mel = np.full((MELS, len(level_db)), -200.0)
    log_mel[2] = level_db
    np.testing.assert_array_equal(trim_silence(log_mel, 40.0)[2], level_db[2:6])


@settings(deadline=None)
@given(
    st.lists(st.floats(-100.0, 30.0), min_size=1, max_size=30),
    st.floats(0.5, 80.0),
)
def test_trim_cuts_quiet_ends_alone(levels_db: list[float], trim_db: float) -> None:
    log_mel = np.tile(np.array(levels_db), (MELS, 1))
    log_mel += np.linspace(0.0, 1e-6, len(levels_db))  # every frame is told from the others
    trimmed = trim_silence(log_mel, trim_db)
    start = int(np.flatnonzero((log_mel == trimmed[:, :1]).all(axis=0))[0])
    end = start + trimmed.shape[1]
    np.testing.assert_array_equal(trimmed, log_mel[:, start:end])
    bound_db = log_mel[0].max() - trim_db
    assert (log_mel[0, :start] < bound_db + 1e-9).all()
    assert (log_mel[0, end:] < bound_db + 1e-9).all()
    assert trimmed[0, 0] >= bound_db - 1e-9
    assert trimmed[0, -1] >= bound_db - 1e-9


def test_trim_of_digital_silence_keeps_all() -> None:
    assert trim_silence(np.full((MELS, 9), -100.0, dtype=np.float16), 40.0).shape == (MELS, 9)


def test_build_joins_the_clips_as_they_are() -> None:
    clips = log_mels([3, 1, 7])
    built = ClipSet.build(clips, [2, 0, 1])
    np.testing.assert_array_equal(built.values.numpy(), np.concatenate(clips, axis=1))
    assert built.values.dtype == torch.float16
    assert built.starts.tolist() == [0, 3, 4]
    assert built.lengths.tolist() == [3, 1, 7]
    assert built.labels.tolist() == [2, 0, 1]
    assert len(built) == 3


def test_the_floor_is_top_db_below_the_loudest_cell() -> None:
    clips = log_mels([5, 9])
    built = ClipSet.build(clips, [0, 0], top_db=60.0)
    np.testing.assert_allclose(built.floor_db.numpy(), [float(clip.max()) - 60.0 for clip in clips])


def test_level_clip_takes_the_mean_off_and_moves_the_floor_with_it() -> None:
    quiet = log_mels([20])[0]
    loud = (quiet.astype(np.float32) + 30.0).astype(np.float16)
    levelled = ClipSet.build([quiet, loud], [0, 0], level="clip")
    first, second = levelled.values[:, :20].float(), levelled.values[:, 20:].float()
    assert abs(float(first.mean())) < 0.05
    torch.testing.assert_close(first, second, atol=0.1, rtol=0.0)
    torch.testing.assert_close(levelled.floor_db[0], levelled.floor_db[1], atol=0.1, rtol=0.0)
    assert float(first.max() - levelled.floor_db[0]) == pytest.approx(80.0, abs=0.1)


def test_the_level_is_taken_after_trimming() -> None:
    voice = log_mels([10])[0]
    silence = np.full((MELS, 30), -150.0, dtype=np.float16)
    padded = ClipSet.build([np.hstack([silence, voice, silence])], [0], trim_db=60.0, level="clip")
    alone = ClipSet.build([voice], [0], level="clip")
    torch.testing.assert_close(padded.values, alone.values)


def test_from_config_is_build_with_the_configs_settings() -> None:
    clips = [np.hstack([np.full((MELS, 4), -120.0, np.float16), clip]) for clip in log_mels([6, 8])]
    clip_config = ClipConfig(trim_db=50.0, level="clip")
    made = ClipSet.from_config(clips, [0, 1], clip_config, FrontEndConfig(top_db=70.0))
    expected = ClipSet.build(clips, [0, 1], trim_db=50.0, level="clip", top_db=70.0)
    assert torch.equal(made.values, expected.values)
    assert torch.equal(made.floor_db, expected.floor_db)
    assert made.lengths.tolist() == [6, 8]


@settings(deadline=None)
@given(
    lengths=st.lists(st.integers(1, 12), min_size=1, max_size=5),
    frames=st.integers(1, 15),
    data=st.data(),
)
def test_a_batch_equals_numpy(lengths: list[int], frames: int, data: st.DataObject) -> None:
    clips = log_mels(lengths)
    chosen = data.draw(st.lists(st.integers(0, len(clips) - 1), min_size=1, max_size=6))
    offsets = data.draw(st.lists(st.integers(-20, 20), min_size=len(chosen), max_size=len(chosen)))
    built = clip_set(clips)
    batch = built.batch(long(chosen), long(offsets), frames)
    expected = [
        placed(clips[index], offset, frames, float(built.floor_db[index]))
        for index, offset in zip(chosen, offsets, strict=True)
    ]
    assert batch.dtype == torch.float32
    np.testing.assert_array_equal(batch.numpy(), np.stack(expected))


def test_padding_is_each_clips_own_floor() -> None:
    clips = [log_mels([3])[0], log_mels([3])[0] + np.float16(20.0)]
    built = clip_set(clips)
    batch = built.batch(long([0, 1]), long([0, 0]), 8)
    for number in range(2):
        assert (batch[number, :, 3:] == built.floor_db[number]).all()


@settings(deadline=None)
@given(length=st.integers(1, 40), frames=st.integers(1, 40))
def test_evaluation_starts_at_the_first_frame_or_is_centred(length: int, frames: int) -> None:
    built, one = clip_set(log_mels([length])), long([0])
    assert built.evaluation_offsets(one, frames, ClipConfig(crop="start")).tolist() == [[0]]
    offset = int(built.evaluation_offsets(one, frames, ClipConfig(crop="random"))[0, 0])
    before, after = offset, frames - length - offset
    assert 0 <= after - before <= 1


@settings(deadline=None)
@given(length=st.integers(1, 400), frames=st.integers(1, 200), views=st.integers(2, 9))
def test_views_cover_a_long_clip_and_stay_near_the_middle_of_a_short_one(length: int, frames: int, views: int) -> None:
    (offsets,) = view_offsets(long([length]), frames, ClipConfig(crop="random", views=views))
    assert len(offsets) == views
    assert sorted(offsets.tolist()) == offsets.tolist()
    room = frames - length
    middle = room // 2
    assert int(offsets[0]) - middle == -max(VIEW_REACH_FRAMES, -room // 2)
    if room <= -2 * VIEW_REACH_FRAMES:
        assert room <= int(offsets[0]) <= room + 1
        assert -1 <= int(offsets[-1]) <= 0


@settings(deadline=None)
@given(length=st.integers(1, 40), frames=st.integers(1, 40), seed=st.integers(0, 1_000))
def test_training_offsets_fit_or_fill(length: int, frames: int, seed: int) -> None:
    built, indices = clip_set(log_mels([length])), long([0] * 20)
    rng = np.random.default_rng(seed)
    assert built.training_offsets(indices, frames, "start", rng).tolist() == [0] * 20
    offsets = built.training_offsets(indices, frames, "random", rng)
    assert offsets.dtype == torch.int64
    assert min(0, frames - length) <= int(offsets.min())
    assert int(offsets.max()) <= max(0, frames - length)


def test_training_offsets_reach_every_place_and_follow_the_generator() -> None:
    built = clip_set(log_mels([3, 12]))
    for index, places in ((0, range(6)), (1, range(-4, 1))):
        indices = long([index] * 300)
        drawn = built.training_offsets(indices, 8, "random", np.random.default_rng(5))
        assert set(drawn.tolist()) == set(places)
        again = built.training_offsets(indices, 8, "random", np.random.default_rng(5))
        assert torch.equal(drawn, again)


def test_join_is_the_clips_of_both() -> None:
    first, second = log_mels([4, 2]), log_mels([5, 1, 3], seed=1)
    joined = ClipSet.build(first, [0, 1]).join(ClipSet.build(second, [2, 3, 4]))
    expected = ClipSet.build(first + second, [0, 1, 2, 3, 4])
    for name in ("values", "starts", "lengths", "floor_db", "labels"):
        assert torch.equal(getattr(joined, name), getattr(expected, name)), name


def test_to_moves_every_tensor() -> None:
    moved = clip_set(log_mels([4, 2])).to(torch.device("meta"))
    for name in ("values", "starts", "lengths", "floor_db", "labels"):
        assert getattr(moved, name).device.type == "meta", name


@settings(deadline=None)
@given(st.lists(st.integers(2, 9), min_size=2, max_size=6), st.integers(0, 100))
def test_statistics_are_of_the_given_clips_alone(lengths: list[int], seed: int) -> None:
    clips = log_mels(lengths, seed)
    chosen = [index for index in range(len(clips)) if index % 2 == 0]
    mean, std = statistics_of(clip_set(clips), long(chosen))
    frames = np.concatenate([clips[index] for index in chosen], axis=1).astype(np.float64)
    np.testing.assert_allclose(mean.numpy(), frames.mean(axis=1), rtol=1e-5)
    np.testing.assert_allclose(std.numpy(), frames.std(axis=1, ddof=1), rtol=1e-5)


def test_a_constant_band_has_a_standard_deviation_that_divides() -> None:
    _, std = statistics_of(clip_set([np.full((MELS, 5), -80.0, dtype=np.float16)]), long([0]))
    assert (std > 0).all()

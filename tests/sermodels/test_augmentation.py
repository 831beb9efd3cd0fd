"""Augmentation: every bound of the contract, how often each transform is applied, and that a draw decides all."""

from dataclasses import fields
from itertools import combinations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor

from sermodels.augmentation import AugmentationDraw, augment, draw
from sermodels.config import AugmentationConfig, FrontEndConfig
from sermodels.features import LogMel
from sermodels.mel import mel_centres_hz

SHAPE = (4, 20, 50)
MANY = (4_000, 20, 50)
TRANSFORMS = ("masked time", "masked mel", "shifted", "noisy", "scaled")
NOTHING = {
    "time_mask_fraction": 0.0,
    "frequency_mask_fraction": 0.0,
    "shift_fraction": 0.0,
    "noise_std": 0.0,
    "gain_low": 1.0,
    "gain_high": 1.0,
}


def bands_hz(mels: int) -> NDArray[np.float64]:
    return mel_centres_hz(FrontEndConfig(n_mels=mels, f_max_hz=8_000.0))


def draw_with(shape: tuple[int, int, int] = SHAPE, seed: int = 0, **values: float) -> AugmentationDraw:
    return draw(AugmentationConfig(**values), shape, np.random.default_rng(seed), bands_hz(shape[1]))


def only(shape: tuple[int, int, int] = SHAPE, seed: int = 0, **values: float) -> AugmentationDraw:
    """A draw in which nothing happens but what the settings say, always."""
    return draw_with(shape, seed, **({**NOTHING, "probability": 1.0} | values))


def batch_of(shape: tuple[int, int, int] = SHAPE, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def applied(chance: AugmentationDraw) -> NDArray[np.bool_]:
    """Which transform changes which clip, shape (transform, clip), in the order of TRANSFORMS."""
    return np.stack(
        [chance.time_span[1] > 0, chance.mel_span[1] > 0, chance.shift != 0, chance.noise_std > 0, chance.gain != 1]
    )


@settings(deadline=None)
@given(
    mels=st.integers(1, 100),
    frames=st.integers(1, 400),
    fraction=st.floats(0.0, 1.0),
    seed=st.integers(0, 1_000),
)
def test_spans_and_shifts_stay_in_their_bounds(mels: int, frames: int, fraction: float, seed: int) -> None:
    chance = draw_with(
        (8, mels, frames),
        seed,
        time_mask_fraction=fraction,
        frequency_mask_fraction=fraction,
        shift_fraction=fraction,
    )
    for (start, width), size in ((chance.time_span, frames), (chance.mel_span, mels)):
        assert (width >= 0).all()
        assert (width <= fraction * size).all()
        assert (start >= 0).all()
        assert (start + width <= size).all()
    assert (np.abs(chance.shift) <= fraction * frames).all()


def test_defaults_are_the_contract() -> None:
    config = AugmentationConfig()
    assert config.probability == 0.7
    chance = draw_with(MANY)
    assert chance.time_span[1].max() == 5
    assert chance.mel_span[1].max() == 3
    assert (chance.shift.min(), chance.shift.max()) == (-5, 5)
    assert set(chance.noise_std.tolist()) == {0.0, float(np.float32(0.01))}
    assert 0.9 <= chance.gain.min() < 0.901
    assert 1.099 < chance.gain.max() <= 1.1
    assert chance.share == 1.0


def test_each_transform_is_applied_with_probability_0_7() -> None:
    shares = applied(draw_with(MANY)).mean(axis=1)
    cells = np.array([5, 3, 10])  # a width from 0 to 5 or 3, and one of 11 shifts: one of them changes nothing
    expected = 0.7 * np.concatenate([cells / (cells + 1), [1.0, 1.0]])
    bound = 4.0 * np.sqrt(expected * (1 - expected) / MANY[0])
    assert (np.abs(shares - expected) < bound).all(), dict(zip(TRANSFORMS, shares, strict=True))


@pytest.mark.parametrize("probability", [0.1, 0.5, 0.95])
def test_the_probability_is_the_configs(probability: float) -> None:
    noisy = applied(draw_with(MANY, probability=probability))[3].mean()
    assert abs(noisy - probability) < 4.0 * np.sqrt(probability * (1 - probability) / MANY[0])


@pytest.mark.parametrize(("first", "second"), list(combinations(range(5), 2)))
def test_transforms_are_applied_independently(first: int, second: int) -> None:
    changed = applied(draw_with(MANY))
    assert abs(np.corrcoef(changed[first], changed[second])[0, 1]) < 4.0 / np.sqrt(MANY[0])


def test_clips_of_a_batch_are_drawn_independently() -> None:
    changed = applied(draw_with(MANY)).astype(float)
    for transform in changed:
        assert abs(np.corrcoef(transform[:-1], transform[1:])[0, 1]) < 4.0 / np.sqrt(MANY[0])


def test_probability_zero_is_the_identity() -> None:
    batch = batch_of()
    assert torch.equal(augment(batch, draw_with(probability=0.0, equalizer_std=1.0)), batch)


def test_the_equalizer_is_one_smooth_gain_for_all_frames_of_a_clip() -> None:
    chance = only((500, 21, 8), equalizer_std=0.5)
    batch = batch_of((500, 21, 8))

    change = augment(batch, chance) - batch

    torch.testing.assert_close(change, torch.from_numpy(chance.equalizer)[:, :, None].expand(-1, -1, 8))
    assert np.std(chance.equalizer[:, [0, 4, 20]]) == pytest.approx(0.5, rel=0.1)
    assert abs(chance.equalizer.mean()) < 0.05
    bends = np.abs(np.diff(chance.equalizer, n=2, axis=1)) > 1e-5
    assert set(np.flatnonzero(bends.any(axis=0)) + 1) == {4, 8, 12, 16}  # linear between six bands


def test_the_equalizer_is_applied_with_its_probability() -> None:
    used = (draw_with(MANY, equalizer_std=0.1).equalizer != 0).any(axis=1).mean()
    assert abs(used - 0.7) < 4.0 * np.sqrt(0.7 * 0.3 / MANY[0])


def test_fractions_of_zero_are_the_identity() -> None:
    batch = batch_of()
    assert torch.equal(augment(batch, only()), batch)


@pytest.mark.parametrize(
    ("field", "axis", "largest"), [("time_mask_fraction", 1, 5), ("frequency_mask_fraction", 2, 3)]
)
def test_a_mask_is_one_run_of_zeros_over_the_other_axis(field: str, axis: int, largest: int) -> None:
    shape = (300, 20, 50)
    fraction = {"time_mask_fraction": 0.10, "frequency_mask_fraction": 0.15}[field]
    batch = batch_of(shape)
    masked = augment(batch, only(shape, **{field: fraction}))
    zero = (masked == 0).all(dim=axis)
    assert torch.equal(masked == 0, zero.unsqueeze(axis).expand(shape))
    assert torch.equal(masked[masked != 0], batch[masked != 0])
    widths = zero.sum(dim=1)
    assert (int(widths.min()), int(widths.max())) == (0, largest)
    edges = torch.diff(zero.int(), dim=1).abs().sum(dim=1)
    assert int(edges.max()) <= 2


def test_a_mask_reaches_both_ends() -> None:
    start, width = only(MANY, time_mask_fraction=0.1).time_span
    assert start[width > 0].min() == 0
    assert (start + width)[width > 0].max() == MANY[2]


def test_a_shift_is_circular_and_keeps_the_content() -> None:
    shape = (60, 20, 50)
    batch = batch_of(shape)
    chance = only(shape, shift_fraction=0.1)
    shifted = augment(batch, chance)
    assert {-5, 0, 5} <= set(chance.shift.tolist())
    for clip, before, frames in zip(shifted, batch, chance.shift, strict=True):
        assert torch.equal(clip, torch.roll(before, int(frames), dims=1))


def test_noise_has_the_standard_deviation_of_the_config() -> None:
    shape = (16, 80, 200)
    batch = batch_of(shape)
    noise = augment(batch, only(shape, noise_std=0.01)) - batch
    assert float(noise.std()) == pytest.approx(0.01, rel=0.02)
    assert abs(float(noise.mean())) < 1e-4
    assert float(torch.corrcoef(noise.flatten(1))[0, 1].abs()) < 0.05


def test_gain_scales_a_clip_by_one_value() -> None:
    shape = (200, 20, 50)
    batch = batch_of(shape)
    chance = only(shape, gain_low=0.9, gain_high=1.1)
    scaled = augment(batch, chance)
    ratio = scaled.flatten(1).norm(dim=1) / batch.flatten(1).norm(dim=1)
    assert 0.9 - 1e-5 <= float(ratio.min()) < 0.91
    assert 1.09 < float(ratio.max()) <= 1.1 + 1e-5
    torch.testing.assert_close(scaled, batch * torch.from_numpy(chance.gain)[:, None, None])


def test_a_frequency_warp_moves_a_band_to_where_its_frequency_is_then() -> None:
    shape = (300, 80, 3)
    chance = only(shape, frequency_warp=0.15)
    assert chance.source_band is not None
    assert chance.source_frame is None
    centres = bands_hz(80)
    for band in (10, 40, 70):  # below 1 kHz, where bands are as wide, and above, where they get wider
        batch = torch.zeros(shape)
        batch[:, band] = 1.0
        moved = augment(batch, chance)[:, :, 0].numpy()
        factor = (moved @ centres) / moved.sum(axis=1) / centres[band]
        assert 1 / 1.15 - 0.02 < factor.min() < 0.9
        assert 1.1 < factor.max() < 1.15 + 0.02
        assert abs(np.log(factor).mean()) < 0.02


@pytest.mark.parametrize("factor", [0.87, 1.15])
def test_warped_frequencies_are_those_of_a_recording_played_faster(factor: float) -> None:
    """Harmonics of a voice, and the same voice with all of them multiplied, as the front end hears both."""
    time_s = torch.arange(22_050) / 22_050.0
    pitches_hz = (180.0, 180.0 * factor)
    voices = torch.stack(
        [sum(torch.sin(2 * torch.pi * hz * n * time_s) / n for n in range(1, 12)) for hz in pitches_hz]
    )
    as_is, faster = LogMel(FrontEndConfig(f_max_hz=8_000.0, top_db=50.0))(voices)[:, :, 20:60]
    chance = only((300, 80, 40), frequency_warp=0.15)
    assert chance.source_band is not None
    wanted = np.interp(bands_hz(80) / factor, bands_hz(80), np.arange(80))
    nearest = np.abs(chance.source_band - wanted).max(axis=1).argmin()

    warped = augment(as_is.expand(300, -1, -1), chance)[nearest]

    voiced = slice(4, 55)  # 150 Hz to 2.2 kHz
    before, after = ((each[voiced] - faster[voiced]).abs().mean() for each in (as_is, warped))
    assert after < 0.45 * before


def test_a_stretch_of_time_moves_frames_away_from_the_middle_or_towards_it() -> None:
    shape = (300, 4, 101)
    chance = only(shape, time_stretch=0.2)
    assert chance.source_band is None
    frame = torch.arange(101.0).expand(shape)
    moved = augment(frame, chance)
    tempo = ((moved[:, 0, 70] - 50.0) / 20.0).numpy()
    assert 1 / 1.2 - 1e-4 <= tempo.min() < 0.84
    assert 1.19 < tempo.max() <= 1.2 + 1e-4
    assert (moved[:, :, 50] == 50.0).all()
    assert (moved.diff(dim=2) > -1e-4).all()
    assert (moved.min(), moved.max()) == (0.0, 100.0)  # beyond the ends lie the first and last frame


@pytest.mark.parametrize("name", ["frequency_warp", "time_stretch"])
def test_a_warp_is_applied_with_its_probability(name: str) -> None:
    batch = batch_of((2_000, 20, 50))
    changed = (augment(batch, draw_with((2_000, 20, 50), **{**NOTHING, name: 0.2})) != batch).flatten(1).any(dim=1)
    assert float(changed.float().mean()) == pytest.approx(0.7, abs=4 * np.sqrt(0.21 / 2_000))
    assert torch.equal(augment(batch, draw_with((2_000, 20, 50), **{**NOTHING, name: 0.2, "probability": 0.0})), batch)


def test_other_transforms_are_drawn_alike_with_and_without_a_warp() -> None:
    plain, warped = draw_with(mixup_alpha=0.4), draw_with(mixup_alpha=0.4, frequency_warp=0.1, time_stretch=0.1)
    for field in fields(AugmentationDraw):
        if not field.name.startswith("source"):
            np.testing.assert_array_equal(getattr(plain, field.name), getattr(warped, field.name))


def test_the_same_generator_gives_the_same_draw_and_another_one_another() -> None:
    first, again, other = draw_with(MANY, 3), draw_with(MANY, 3), draw_with(MANY, 4)
    for field in fields(AugmentationDraw):
        np.testing.assert_array_equal(getattr(first, field.name), getattr(again, field.name), err_msg=field.name)
    for name in ("time_span", "mel_span", "shift", "noise_std", "noise_seed", "gain", "partner"):
        assert not np.array_equal(getattr(first, name), getattr(other, name)), name


def test_a_draw_decides_the_result_whatever_torchs_generator_is_at() -> None:
    batch, chance = batch_of(), draw_with(mixup_alpha=0.4)
    torch.manual_seed(1)
    first = augment(batch, chance)
    torch.manual_seed(2)
    state = torch.get_rng_state()
    assert torch.equal(augment(batch, chance), first)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("mixup_alpha", [0.0, 0.4])
def test_the_input_is_left_as_it_was(mixup_alpha: float) -> None:
    batch = batch_of()
    before = batch.clone()
    result = augment(batch, draw_with(probability=1.0, mixup_alpha=mixup_alpha))
    assert torch.equal(batch, before)
    assert result.shape == batch.shape
    assert result.dtype == batch.dtype
    assert not torch.equal(result, batch)


@settings(deadline=None)
@given(mixup_alpha=st.floats(0.05, 5.0), seed=st.integers(0, 10_000))
def test_mixup_is_convex_between_two_clips(mixup_alpha: float, seed: int) -> None:
    batch = batch_of()
    chance = only(seed=seed, mixup_alpha=mixup_alpha)
    assert 0.0 <= chance.share <= 1.0
    assert sorted(chance.partner.tolist()) == list(range(SHAPE[0]))
    mixed, partner = augment(batch, chance), batch[torch.from_numpy(chance.partner)]
    torch.testing.assert_close(mixed, chance.share * batch + (1 - chance.share) * partner)
    assert (mixed >= torch.minimum(batch, partner) - 1e-5).all()
    assert (mixed <= torch.maximum(batch, partner) + 1e-5).all()


def test_mixup_follows_its_beta_distribution() -> None:
    shares = np.array([only((2, 2, 2), seed, mixup_alpha=0.4).share for seed in range(2_000)])
    assert abs(shares.mean() - 0.5) < 0.04
    assert shares.var() == pytest.approx(0.25 / (2 * 0.4 + 1), rel=0.1)


def test_partners_are_mixed_after_their_own_transforms() -> None:
    batch = batch_of()
    plain = draw_with(probability=1.0, noise_std=0.0)
    mixed = draw_with(probability=1.0, noise_std=0.0, mixup_alpha=0.4)
    changed = augment(batch, plain)
    expected = mixed.share * changed + (1 - mixed.share) * changed[torch.from_numpy(mixed.partner)]
    torch.testing.assert_close(augment(batch, mixed), expected)


def test_one_cell_is_augmented_without_fault() -> None:
    chance = draw_with((1, 1, 1), probability=1.0, mixup_alpha=1.0, frequency_warp=0.2, time_stretch=0.2)
    result = augment(batch_of((1, 1, 1)), chance)
    assert torch.isfinite(result).all()

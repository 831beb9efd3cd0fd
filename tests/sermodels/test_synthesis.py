"""Synthesis: a clip depends on its seed alone, shards are continued and redone, levels are those of a recording."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from sermodels.cache import read_log_mel
from sermodels.errors import StorageError
from sermodels.synthesis import ClipNoise, Draw, read_synthetic, sample_log_mels, shards_of, synthesize
from tests.sermodels.tiny import FRAMES, MELS, tiny_diffusion_model, tiny_synthesis

DRAWS = [Draw(0, 0), Draw(1, 0), Draw(2, 3)]


def test_log_mels_have_their_shape() -> None:
    assert sample_log_mels(tiny_diffusion_model(), DRAWS, tiny_synthesis(), seed=0).shape == (3, MELS, FRAMES)


@pytest.mark.parametrize("sampler", ["ddpm", "ddim", "heun", "dpmpp_2m"])
@pytest.mark.parametrize("guidance_scale", [1.0, 2.0])
def test_a_clip_does_not_depend_on_its_batch(sampler: str, guidance_scale: float) -> None:
    model, config = tiny_diffusion_model(), tiny_synthesis(sampler=sampler, guidance_scale=guidance_scale)

    together = sample_log_mels(model, DRAWS, config, seed=5)
    alone = torch.cat([sample_log_mels(model, [draw], config, seed=5) for draw in reversed(DRAWS)]).flip(0)

    torch.testing.assert_close(alone, together, rtol=0.0, atol=1e-3)


def test_noise_follows_seed_emotion_and_number() -> None:
    def first(draw: Draw, seed: int) -> torch.Tensor:
        return ClipNoise([draw], seed, torch.device("cpu"))(50)

    assert torch.equal(first(Draw(0, 0), 1), first(Draw(0, 0), 1))
    others = [first(Draw(0, 0), 2), first(Draw(0, 1), 1), first(Draw(1, 0), 1), first(Draw(1, 1), 0)]
    assert all(not torch.equal(first(Draw(0, 0), 1), other) for other in others)
    assert not torch.equal(first(Draw(0, 1), 1), first(Draw(1, 0), 1))


def test_clips_of_one_emotion_differ_and_so_do_seeds() -> None:
    model, draws = tiny_diffusion_model(), [Draw(0, 0), Draw(0, 1)]

    first, again, other = (sample_log_mels(model, draws, tiny_synthesis(), seed=seed) for seed in (1, 1, 2))

    assert torch.equal(first, again)
    assert not torch.allclose(first[0], first[1], atol=0.1)
    assert not torch.allclose(first, other, atol=0.1)


def test_the_emotion_changes_the_clip() -> None:
    """Also with the same noise: the condition is all that differs between guidance 0 and 3."""
    model = tiny_diffusion_model()

    without, with_guidance = (
        sample_log_mels(model, DRAWS, tiny_synthesis(guidance_scale=scale), seed=0) for scale in (0.0, 3.0)
    )

    assert not torch.allclose(without, with_guidance, atol=0.1)


def test_levels_end_80_db_below_the_loudest_cell() -> None:
    log_mels = sample_log_mels(tiny_diffusion_model(std_db=80.0), DRAWS, tiny_synthesis(), seed=0)

    torch.testing.assert_close(log_mels.amin(dim=(1, 2)), log_mels.amax(dim=(1, 2)) - 80.0)
    assert bool(torch.isfinite(log_mels).all())


def test_steps_are_reported() -> None:
    steps: list[int] = []

    sample_log_mels(
        tiny_diffusion_model(), DRAWS, tiny_synthesis(), seed=0, on_step=lambda step, clean: steps.append(step)
    )

    assert steps == [1, 2, 3, 4]


def test_shards_hold_one_emotion_and_at_most_a_batch() -> None:
    shards = shards_of(2, tiny_synthesis())

    assert {name: [draw.number for draw in draws] for name, draws in shards.items()} == {
        f"shard-{emotion}-{start:05d}.npz": numbers
        for emotion in range(2)
        for start, numbers in ((0, [0, 1]), (2, [2, 3]), (4, [4]))
    }
    assert all(draw.emotion == int(name[6]) for name, draws in shards.items() for draw in draws)


def test_all_clips_are_made_in_order(tmp_path: Path) -> None:
    model, progress = tiny_diffusion_model(), list[float]()

    draws = synthesize(model, tiny_synthesis(), tmp_path, seed=0, on_progress=progress.append)
    log_mels, labels = read_synthetic(tmp_path, 3, tiny_synthesis())

    assert draws == [Draw(emotion, number) for emotion in range(3) for number in range(5)]
    assert labels == [0] * 5 + [1] * 5 + [2] * 5
    assert progress == pytest.approx([step / 9 for step in range(1, 10)])
    expected = sample_log_mels(model, draws, tiny_synthesis(), seed=0).numpy()
    np.testing.assert_allclose(np.stack(log_mels).astype(np.float32), expected, atol=0.1)
    assert np.isfinite(np.stack(log_mels)).all()


def test_clips_do_not_depend_on_the_number_of_threads(tmp_path: Path) -> None:
    model, before, found = tiny_diffusion_model(), torch.get_num_threads(), []
    try:
        for threads in (1, 3):
            torch.set_num_threads(threads)
            synthesize(model, tiny_synthesis(), tmp_path / str(threads), seed=0)
            found.append(np.stack(read_synthetic(tmp_path / str(threads), 3, tiny_synthesis())[0]))
    finally:
        torch.set_num_threads(before)
    np.testing.assert_allclose(found[1].astype(np.float32), found[0].astype(np.float32), atol=0.1)


def test_a_second_call_makes_only_the_shard_that_is_gone(tmp_path: Path) -> None:
    model = tiny_diffusion_model()
    synthesize(model, tiny_synthesis(), tmp_path, seed=0)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.glob("*.npz")}
    gone = tmp_path / "shard-1-00002.npz"
    whole = read_log_mel(gone)
    gone.unlink()

    synthesize(model, tiny_synthesis(), tmp_path, seed=0)

    after = {path: path.stat().st_mtime_ns for path in tmp_path.glob("*.npz")}
    assert after.keys() == before.keys()
    assert {path for path in before if after[path] != before[path]} == {gone}
    np.testing.assert_array_equal(read_log_mel(gone), whole)


def flipped(content: bytes) -> bytes:
    place = len(content) // 2
    return content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]


@pytest.mark.parametrize("damage", [lambda content: b"", lambda content: content[:-40], flipped])
def test_a_damaged_shard_is_made_again(tmp_path: Path, damage: Callable[[bytes], bytes]) -> None:
    model, path = tiny_diffusion_model(), tmp_path / "shard-0-00000.npz"
    synthesize(model, tiny_synthesis(), tmp_path, seed=0)
    whole = read_log_mel(path)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(StorageError, match=r"shard-0-00000\.npz: damaged"):
        read_synthetic(tmp_path, 3, tiny_synthesis())

    synthesize(model, tiny_synthesis(), tmp_path, seed=0)

    np.testing.assert_array_equal(read_log_mel(path), whole)


def test_little_strength_stays_near_the_original_and_much_does_not() -> None:
    model = tiny_diffusion_model(timesteps=20)
    draws = [Draw(0, number) for number in range(4)]
    originals = torch.randn(4, 16, 16, generator=torch.Generator().manual_seed(5))
    wanted = model.to_log_mel(originals)

    def distance(strength: float) -> float:
        config = tiny_synthesis(steps=20, strength=strength)
        made = sample_log_mels(model, draws, config, seed=1, originals=originals)
        return float((made - wanted).square().mean())

    assert distance(0.05) < 1.0
    assert distance(0.05) < distance(0.3) < distance(1.0)

"""Training of the denoiser: it learns, averages, resumes bit for bit, and sees nothing but the training clips."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from sermodels.checkpoint import load_tensors, without_prefix
from sermodels.clips import ClipSet
from sermodels.diffusion.model import DiffusionModel
from sermodels.diffusion.training import OnSamples, batch_loss, train_denoiser
from sermodels.synthesis import Draw, sample_log_mels
from sermodels.training import EpochRecord, OnEpoch
from tests.sermodels.tiny import banded_log_mels, copy_of, same, tiny_diffusion_model, tiny_synthesis

TRAINING = np.arange(16)
LABELS = np.arange(24) % 3


def tiny_clips(*, poisoned: bool = False) -> ClipSet:
    """Clips of 24 frames, a third of them not for training, and these of NaN where poisoned."""
    log_mels = banded_log_mels(LABELS, frames=24)
    if poisoned:
        log_mels[16:] = [np.full_like(log_mel, np.nan) for log_mel in log_mels[16:]]
    return ClipSet.build(log_mels, LABELS.tolist())


def train(
    model: DiffusionModel,
    folder: Path,
    *,
    clips: ClipSet | None = None,
    training: NDArray[np.int64] = TRAINING,
    on_epoch: OnEpoch = lambda record: None,
    on_samples: OnSamples = lambda epoch, model: None,
) -> list[EpochRecord]:
    return train_denoiser(
        model,
        clips or tiny_clips(),
        training,
        seed=3,
        checkpoint=folder / "state.safetensors",
        on_epoch=on_epoch,
        on_samples=on_samples,
        save_every_s=0.0,
    )


def fresh(**values: object) -> DiffusionModel:
    short: dict[str, Any] = {"epochs": 5, "learning_rate": 3e-3, "sample_every": 2}
    return tiny_diffusion_model(trained=False, **short | values)


class Interrupted(Exception):  # noqa: N818
    """Stands for a kill."""


def test_the_loss_falls_on_a_few_clips(tmp_path: Path) -> None:
    history = train_denoiser(fresh(epochs=40), tiny_clips(), TRAINING, seed=3, checkpoint=tmp_path / "state")

    losses = [record["train/loss"] for record in history]
    assert np.mean(losses[-5:]) < 0.85 * np.mean(losses[:5])
    assert [record["epoch"] for record in history] == list(range(40))


def test_the_untrained_loss_is_about_1() -> None:
    """The weight makes every timestep's error about 1 for z-scored data and an output of zero (Karras et al. 2022)."""
    model, clips = fresh(), tiny_clips()
    model.mean.copy_(clips.values.float().mean(dim=1))
    model.std.copy_(clips.values.float().std(dim=1))

    losses = [float(batch_loss(model, clips, torch.arange(16), (0, 0, step)).detach()) for step in range(30)]

    assert np.mean(losses) == pytest.approx(1.0, abs=0.1)


def test_the_averaged_weights_are_left_in_the_model(tmp_path: Path) -> None:
    model = fresh()

    train(model, tmp_path)

    tensors, _ = load_tensors(tmp_path / "state.safetensors")
    assert same(dict(model.denoiser.state_dict()), without_prefix("average", tensors))
    assert not same(dict(model.denoiser.state_dict()), without_prefix("model", tensors))


@pytest.mark.parametrize("stopped_in", [1, 3])
def test_an_interrupted_training_ends_as_an_uninterrupted_one(tmp_path: Path, stopped_in: int) -> None:
    whole, parts = fresh(), fresh()
    history = train(whole, tmp_path / "whole")

    def interrupt(record: EpochRecord) -> None:
        if record["epoch"] == stopped_in:
            raise Interrupted

    with pytest.raises(Interrupted):
        train(parts, tmp_path / "parts", on_epoch=interrupt)
    reported: list[EpochRecord] = []
    resumed = train(fresh(), tmp_path / "parts", on_epoch=reported.append)

    assert resumed == reported == history
    states = [load_tensors(tmp_path / name / "state.safetensors")[0] for name in ("whole", "parts")]
    assert same(*states)


def test_an_interrupted_picture_is_drawn_again(tmp_path: Path) -> None:
    def interrupt(*_: object) -> None:
        raise Interrupted

    with pytest.raises(Interrupted):
        train(fresh(), tmp_path, on_samples=interrupt)
    drawn: list[int] = []
    train(fresh(), tmp_path, on_samples=lambda epoch, model: drawn.append(epoch))

    assert drawn == [1, 3, 4]


def test_samples_are_drawn_from_the_averaged_weights_and_change_nothing(tmp_path: Path) -> None:
    drawn: dict[int, dict[str, Tensor]] = {}
    averages: dict[int, dict[str, Tensor]] = {}

    def look(epoch: int, model: DiffusionModel) -> None:
        drawn[epoch] = copy_of(dict(model.denoiser.state_dict()))
        sample_log_mels(model, [Draw(0, 0)], tiny_synthesis(), seed=0)

    def read_average(record: EpochRecord) -> None:
        if record["epoch"]:
            tensors, _ = load_tensors(tmp_path / "seen" / "state.safetensors")
            averages[int(record["epoch"]) - 1] = without_prefix("average", tensors)

    seen, unseen = fresh(), fresh(sample_every=100)
    history = train(seen, tmp_path / "seen", on_samples=look, on_epoch=read_average)

    assert list(drawn) == [1, 3, 4]
    assert same(drawn[1], averages[1])
    assert same(drawn[3], averages[3])
    assert same(drawn[4], dict(seen.denoiser.state_dict()))
    assert train(unseen, tmp_path / "unseen") == history
    assert same(dict(unseen.denoiser.state_dict()), dict(seen.denoiser.state_dict()))


def test_only_the_training_clips_are_read(tmp_path: Path) -> None:
    clean, poisoned = fresh(), fresh()

    history = train(clean, tmp_path / "clean", clips=tiny_clips())

    assert train(poisoned, tmp_path / "poisoned", clips=tiny_clips(poisoned=True)) == history
    assert same(dict(poisoned.denoiser.state_dict()), dict(clean.denoiser.state_dict()))
    with_others = train(fresh(), tmp_path / "all", clips=tiny_clips(poisoned=True), training=np.arange(24))
    assert np.isnan(with_others[-1]["train/loss"])


def test_the_null_condition_is_learnt(tmp_path: Path) -> None:
    always, never = fresh(condition_dropout=1.0), fresh(condition_dropout=0.0)

    train(always, tmp_path / "always")
    train(never, tmp_path / "never")

    assert always.denoiser.null_condition.any()
    assert not never.denoiser.null_condition.any()


def test_clips_shorter_than_the_window_are_padded_and_longer_ones_cropped() -> None:
    model = tiny_diffusion_model()

    for frames in (5, 16, 40):
        clips = ClipSet.build(banded_log_mels(LABELS, frames=frames), LABELS.tolist())
        assert torch.isfinite(batch_loss(model, clips, torch.arange(8), (0, 0, 0)))

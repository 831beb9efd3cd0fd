"""What the training loop computes: its rate, its batches and its loss."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from sermodels.config import RetrainingConfig
from sermodels.training import _mixed_loss, learning_rate_factor
from sermodels.training_data import epoch_batches
from tests.sermodels.tiny import tiny_data


def test_the_rate_is_torchs_cosine_without_a_warm_up() -> None:
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=50)
    for step in range(50):
        assert learning_rate_factor(step, 50, 0.0) == pytest.approx(schedule.get_last_lr()[0], abs=1e-9)
        optimizer.step()
        schedule.step()
    assert learning_rate_factor(50, 50, 0.0) == pytest.approx(0.0)


def test_the_rate_rises_linearly_and_then_falls() -> None:
    factors = [learning_rate_factor(step, 100, 0.25) for step in range(100)]

    np.testing.assert_allclose(np.diff(factors[:25]), 1 / 26, rtol=1e-9)
    assert factors[0] == pytest.approx(1 / 26)
    assert factors[25] == 1.0
    assert (np.diff(factors[25:]) < 0).all()
    assert learning_rate_factor(100, 100, 0.25) == pytest.approx(0.0)


def test_an_epoch_draws_without_replacement() -> None:
    data = tiny_data()

    batches = epoch_batches(data, 5, seed=3, epoch=0, epochs=2)

    assert sorted(np.concatenate(batches)) == list(range(16))
    assert [len(batch) for batch in batches] == [4, 4, 4, 4]
    assert not np.array_equal(
        np.concatenate(batches), np.concatenate(epoch_batches(data, 5, seed=3, epoch=1, epochs=2))
    )
    assert not np.array_equal(
        np.concatenate(batches), np.concatenate(epoch_batches(data, 5, seed=4, epoch=0, epochs=2))
    )
    np.testing.assert_array_equal(
        np.concatenate(batches), np.concatenate(epoch_batches(data, 5, seed=3, epoch=0, epochs=2))
    )


@pytest.mark.parametrize("pool", [16, 24, 160])
def test_every_pool_takes_the_same_number_of_steps(pool: int) -> None:
    """Equal optimiser steps in every stage: an epoch has as many clips as there are real ones."""
    data = tiny_data()
    grown = replace(data, training=np.arange(pool))

    batches = epoch_batches(grown, 4, seed=0, epoch=0, epochs=2)

    drawn = np.concatenate(batches)
    assert [len(batch) for batch in batches] == [4] * 4
    assert len(set(drawn.tolist())) == 16
    assert set(drawn.tolist()) <= set(range(pool))


@pytest.mark.parametrize("share", [0.25, 0.9])
def test_a_share_of_each_epoch_is_synthetic_until_real_clips_alone_follow(share: float) -> None:
    data = replace(tiny_data(), extra=np.arange(100, 108), mixture=RetrainingConfig(share=share, until=0.5))

    drawn = [np.concatenate(epoch_batches(data, 5, seed=0, epoch=epoch, epochs=4)) for epoch in range(4)]

    synthetic = min(8, round(share * 16))
    assert [int((epoch >= 100).sum()) for epoch in drawn] == [synthetic, synthetic, 0, 0]
    assert all(len(set(epoch.tolist())) == len(epoch) == 16 for epoch in drawn)
    assert not np.array_equal(np.sort(drawn[0]), np.sort(drawn[1])), "each epoch draws others"


def test_without_a_share_synthetic_clips_are_drawn_like_any_other() -> None:
    data = replace(tiny_data(), extra=np.arange(100, 116))

    drawn = [np.concatenate(epoch_batches(data, 5, seed=0, epoch=epoch, epochs=40)) for epoch in range(40)]

    assert np.mean(np.concatenate(drawn) >= 100) == pytest.approx(0.5, abs=0.05)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("share", [1.0, 0.7, 0.0])
def test_the_loss_of_mixed_clips_is_that_of_mixed_labels(share: float, smoothing: float) -> None:
    logits, labels, partners = torch.randn(8, 3), torch.arange(8) % 3, torch.arange(8).flip(0) % 3
    mixed = share * nn.functional.one_hot(labels, 3) + (1.0 - share) * nn.functional.one_hot(partners, 3)

    expected = nn.functional.cross_entropy(logits, mixed, label_smoothing=smoothing)

    torch.testing.assert_close(_mixed_loss(logits, labels, partners, torch.tensor(share), smoothing), expected)

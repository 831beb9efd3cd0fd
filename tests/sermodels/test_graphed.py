"""Steps as CUDA graphs: on a GPU they train as the step itself does, go on from a checkpoint, elsewhere they are it."""

import copy
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from sermodels import training
from sermodels.classifier import Classifier
from sermodels.config import AugmentationConfig, TrainingConfig
from sermodels.diffusion import training as diffusion_training
from sermodels.graphed import GraphedStep, Inputs, optimizer_options, set_rate
from sermodels.training import EpochRecord, train_classifier
from tests.sermodels.tiny import tiny_classifier_config, tiny_data, tiny_diffusion_model

ON_GPU = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
DEVICES = ["cpu", pytest.param("cuda", marks=ON_GPU)]


class Killed(Exception):  # noqa: N818
    """Stands for a kill."""


class Ungraphed(GraphedStep):
    """The step as it is written, also on a GPU."""

    def __init__(self, step: Callable[[Inputs], tuple[Tensor, ...]], device: torch.device) -> None:
        super().__init__(step, torch.device("cpu"))


def descent(device: str) -> tuple[nn.Linear, torch.optim.Optimizer, GraphedStep]:
    """A linear map that learns to double its input."""
    torch.manual_seed(0)
    network = nn.Linear(3, 3).to(device)
    optimizer = torch.optim.AdamW(network.parameters(), **optimizer_options(0.05, torch.device(device)))

    def step(inputs: Inputs) -> tuple[Tensor, ...]:
        loss = (network(inputs["x"]) - 2.0 * inputs["x"]).square().mean()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return (loss.detach(),)

    return network, optimizer, GraphedStep(step, torch.device(device))


@pytest.mark.parametrize("device", DEVICES)
def test_a_step_takes_new_values_shapes_and_rates(device: str) -> None:
    network, optimizer, step = descent(device)
    chance = torch.Generator().manual_seed(0)
    losses = []
    for number in range(200):
        set_rate(optimizer, 0.05 if number < 100 else 0.0)
        (loss,) = step({"x": torch.randn(8 - number % 2, 3, generator=chance).to(device)})
        losses.append(loss)
        if number == 100:
            weight = network.weight.detach().clone()
    assert losses[0] > 1.0
    assert torch.stack(losses[80:]).max() < 0.1 * losses[0]
    assert torch.equal(network.weight, weight), "a rate of 0 moves nothing"


def test_one_pass_over_all_parameters_updates_them_as_torch_does_one_by_one() -> None:
    torch.manual_seed(0)
    normed = (nn.Conv2d(3, 4, 3, bias=False), nn.BatchNorm2d(4))  # a bias there has no gradient but rounding noise
    network = nn.Sequential(*normed, nn.Conv2d(4, 2, 1)).to(memory_format=torch.channels_last)
    other = copy.deepcopy(network)
    options = optimizer_options(0.05, torch.device("cpu"))
    for one, optimizer in (
        (network, torch.optim.AdamW(network.parameters(), **options)),
        (other, torch.optim.AdamW(other.parameters(), lr=0.05, fused=False, foreach=False)),
    ):
        for seed in range(3):
            batch = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(seed))
            one(batch.contiguous(memory_format=torch.channels_last)).square().mean().backward()
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
    for fused, plain in zip(network.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(fused, plain, rtol=1e-5, atol=1e-6)


def trained(device: str, epochs: int, checkpoint: Path, stop: int | None = None) -> list[EpochRecord]:
    """The history of a tiny classifier; stopped after so many epochs, as a killed run is."""
    made = tiny_data()
    data = replace(made, clips=made.clips.to(torch.device(device)), training=np.arange(15))
    torch.manual_seed(0)
    config = tiny_classifier_config(dropout=0.3)
    classifier = Classifier(config, labels=("anger", "fear", "sadness"), n_mels=16)
    classifier = classifier.to(memory_format=torch.channels_last).to(device)
    settings = TrainingConfig(epochs=epochs, batch_size=4, learning_rate=1e-3, precision="float32", ema_decay=0.9)

    def stops(record: EpochRecord) -> None:
        if record["epoch"] == stop:
            raise Killed

    return train_classifier(
        classifier,
        data,
        settings,
        augmentation=AugmentationConfig(mixup_alpha=0.4),
        seed=0,
        checkpoint=checkpoint,
        on_epoch=stops,
        save_every_s=0.0,
    )


@ON_GPU
def test_a_classifier_learns_the_same_by_graphs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    graphed = trained("cuda", 6, tmp_path / "graphed")
    monkeypatch.setattr(training, "GraphedStep", Ungraphed)
    written = trained("cuda", 6, tmp_path / "written")
    for one, other in zip(graphed, written, strict=True):
        assert one["train/loss"] == pytest.approx(other["train/loss"], rel=2e-3)
        assert one["val/loss"] == pytest.approx(other["val/loss"], rel=2e-2)


@pytest.mark.parametrize("device", DEVICES)
def test_a_killed_training_goes_on_to_the_same_losses(device: str, tmp_path: Path) -> None:
    whole = trained(device, 6, tmp_path / "whole")
    with pytest.raises(Killed):
        trained(device, 6, tmp_path / "killed", stop=3)
    assert (tmp_path / "killed").exists()
    resumed = trained(device, 6, tmp_path / "killed")
    assert [record["train/loss"] for record in resumed] == pytest.approx(
        [record["train/loss"] for record in whole], rel=1e-6 if device == "cpu" else 2e-3
    )


@ON_GPU
def test_a_denoiser_learns_the_same_by_graphs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def losses(name: str) -> list[float]:
        data, model = tiny_data(), tiny_diffusion_model()
        model.denoiser.to("cuda")
        history = diffusion_training.train_denoiser(
            model, data.clips.to(torch.device("cuda")), np.arange(15), seed=0, checkpoint=tmp_path / name
        )
        return [float(record["train/loss"]) for record in history]

    graphed = losses("graphed")
    monkeypatch.setattr(diffusion_training, "GraphedStep", Ungraphed)
    assert graphed == pytest.approx(losses("written"), rel=2e-3)

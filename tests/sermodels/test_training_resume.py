"""An interrupted training ends bit for bit as an uninterrupted one and reports its first epochs again."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from sermodels.checkpoint import load_tensors
from sermodels.classifier import Classifier
from sermodels.config import AugmentationConfig, ClipConfig, TrainingConfig
from sermodels.errors import WeightsError
from sermodels.training import EpochRecord, OnEpoch, train_classifier
from sermodels.training_data import TrainingData
from tests.sermodels.tiny import same, tiny_classifier_config, tiny_data

EVERY_CHANCE = AugmentationConfig(mixup_alpha=0.4, noise_std=0.1)


class Interrupted(Exception):  # noqa: N818
    """Stands for a kill."""


def build(trainable: tuple[str, ...] = ("all",)) -> Classifier:
    torch.manual_seed(0)
    classifier = Classifier(
        tiny_classifier_config(dropout=0.5, trainable=trainable), labels=("anger", "fear", "sadness"), n_mels=16
    )
    classifier.freeze(())
    classifier.mean.fill_(-55.0)
    classifier.std.fill_(15.0)
    return classifier


def cropped_data(*, swapped_development: bool = False) -> TrainingData:
    """Clips longer than the window, so that cropping draws from chance too."""
    data = tiny_data(swapped_development=swapped_development)
    return replace(data, clips_per_epoch=12, frames=12, clip=ClipConfig(crop="random"))


def train(
    classifier: Classifier,
    checkpoint: Path,
    *,
    data: TrainingData | None = None,
    on_epoch: OnEpoch = lambda record: None,
    patience: int = 10,
    epochs: int = 3,
    save_every_s: float = 0.0,
) -> list[EpochRecord]:
    return train_classifier(
        classifier,
        data or cropped_data(),
        TrainingConfig(
            epochs=epochs,
            patience=patience,
            batch_size=8,
            learning_rate=1e-3,
            optimizer="adamw",
            weight_decay=0.05,
            precision="float32",
        ),
        augmentation=EVERY_CHANCE,
        seed=2,
        checkpoint=checkpoint,
        on_epoch=on_epoch,
        save_every_s=save_every_s,
    )


def interrupt_in(epoch: int) -> OnEpoch:
    def interrupt(record: EpochRecord) -> None:
        if record["epoch"] == epoch:
            raise Interrupted

    return interrupt


@pytest.mark.parametrize(("trainable", "stopped_in"), [(("all",), 2), (("layer4", "fc"), 1)])
def test_a_resumed_training_equals_an_uninterrupted_one(
    tmp_path: Path, trainable: tuple[str, ...], stopped_in: int
) -> None:
    whole, resumed = build(trainable), build(trainable)
    history = train(whole, tmp_path / "whole", save_every_s=1e9)

    with pytest.raises(Interrupted):
        train(build(trainable), tmp_path / "parts", on_epoch=interrupt_in(stopped_in))
    reported: list[EpochRecord] = []
    assert len(load_tensors(tmp_path / "parts")[1]["history"]) == stopped_in
    assert train(resumed, tmp_path / "parts", on_epoch=reported.append) == history

    assert reported == history
    assert same(dict(resumed.state_dict()), dict(whole.state_dict()))


def test_a_training_that_is_interrupted_again_and_again_ends_the_same(tmp_path: Path) -> None:
    whole, resumed = build(), build()
    history = train(whole, tmp_path / "whole", save_every_s=1e9)

    for epoch in (1, 2):
        with pytest.raises(Interrupted):
            train(build(), tmp_path / "parts", on_epoch=interrupt_in(epoch))

    assert train(resumed, tmp_path / "parts") == history
    assert same(dict(resumed.state_dict()), dict(whole.state_dict()))


def test_a_finished_training_only_reports_and_restores(tmp_path: Path) -> None:
    whole, again = build(), build()
    history = train(whole, tmp_path / "state", epochs=2)
    reported: list[EpochRecord] = []

    assert train(again, tmp_path / "state", epochs=2, on_epoch=reported.append) == reported == history
    assert same(dict(again.state_dict()), dict(whole.state_dict()))


def test_patience_counts_the_epochs_of_before(tmp_path: Path) -> None:
    data = cropped_data(swapped_development=True)
    history = train(build(), tmp_path / "whole", data=data, epochs=20, patience=2, save_every_s=1e9)
    assert len(history) < 20

    with pytest.raises(Interrupted):
        train(build(), tmp_path / "parts", data=data, epochs=20, patience=2, on_epoch=interrupt_in(len(history) - 1))

    assert train(build(), tmp_path / "parts", data=data, epochs=20, patience=2) == history


@pytest.mark.parametrize("kept_bytes", [0, 1_000, -1])
def test_a_damaged_state_is_refused_by_name(tmp_path: Path, kept_bytes: int) -> None:
    path = tmp_path / "state.safetensors"
    train(build(), path, epochs=1)
    path.write_bytes(path.read_bytes()[:kept_bytes])

    with pytest.raises(WeightsError, match=r"state\.safetensors: not a readable checkpoint .*delete it and run again"):
        train(build(), path)

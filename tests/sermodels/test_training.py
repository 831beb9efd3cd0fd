"""The training loop: it learns, stops in time, keeps its best epoch, and reads what it should."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from sermodels import frozen
from sermodels.augmentation import draw
from sermodels.classifier import Classifier
from sermodels.config import AugmentationConfig, ClipConfig, TrainingConfig
from sermodels.errors import StorageError
from sermodels.evaluation import figures
from sermodels.frozen import frozen_features
from sermodels.prediction import embed, predict
from sermodels.randomness import generator
from sermodels.training import EpochRecord, train_classifier
from sermodels.training_data import TrainingData
from tests.sermodels.small_disk import small_disk
from tests.sermodels.tiny import copy_of, same, tiny_classifier_config, tiny_data

LABELS = ("anger", "fear", "sadness")


def build(**values: object) -> Classifier:
    torch.manual_seed(0)
    classifier = Classifier(tiny_classifier_config(**{"dropout": 0.0, **values}), labels=LABELS, n_mels=16)
    classifier.mean.fill_(-55.0)
    classifier.std.fill_(15.0)
    return classifier


def config(**values: object) -> TrainingConfig:
    defaults = {"epochs": 4, "batch_size": 8, "learning_rate": 1e-3, "precision": "float32"}
    return TrainingConfig.model_validate(defaults | values)


def uar_on_development(classifier: Classifier, data: TrainingData) -> float:
    truth = data.clips.labels.numpy()[data.development]
    return figures(truth, predict(classifier, data, data.development, config()), LABELS)["uar"]


@pytest.mark.parametrize("optimizer", ["adam", "adamw"])
def test_a_trivial_task_is_learnt(tmp_path: Path, optimizer: str) -> None:
    classifier, data = build(), tiny_data(frames=48)

    history = train_classifier(
        classifier,
        data,
        config(optimizer=optimizer, weight_decay=0.01, epochs=3, batch_size=4),
        augmentation=None,
        seed=1,
        checkpoint=tmp_path / "state",
    )

    assert min(record["train/loss"] for record in history) < 0.5 * history[0]["train/loss"]
    assert uar_on_development(classifier, data) == max(record["val/uar"] for record in history) == 1.0
    assert not (tmp_path / "state").exists()


def test_augmented_clips_are_learnt_too(tmp_path: Path) -> None:
    history = train_classifier(
        build(dropout=0.2),
        tiny_data(),
        config(),
        augmentation=AugmentationConfig(),
        seed=1,
        checkpoint=tmp_path / "state",
    )

    assert min(record["train/loss"] for record in history) < 0.5 * history[0]["train/loss"]


def test_training_stops_after_patience_and_keeps_the_best_epoch(tmp_path: Path) -> None:
    """The development labels contradict what is learnt, so that UAR soon rises no more."""
    classifier, data, weights = build(), tiny_data(swapped_development=True), list[dict[str, Tensor]]()

    history = train_classifier(
        classifier,
        data,
        config(epochs=30, patience=2),
        augmentation=None,
        seed=1,
        checkpoint=tmp_path / "state",
        on_epoch=lambda record: weights.append(copy_of(dict(classifier.state_dict()))),
    )

    scores = [record["val/uar"] for record in history]
    best = int(np.argmax(scores))
    assert len(history) == best + 1 + 2 < 30
    assert not same(weights[-1], weights[best])
    assert same(dict(classifier.state_dict()), weights[best])
    assert uar_on_development(classifier, data) == scores[best]


def test_the_last_epoch_is_kept_where_it_is_asked_for(tmp_path: Path) -> None:
    classifier, data, weights = build(), tiny_data(swapped_development=True), list[dict[str, Tensor]]()

    history = train_classifier(
        classifier,
        data,
        config(epochs=5, patience=1, keep="last"),
        augmentation=None,
        seed=1,
        checkpoint=tmp_path / "state",
        on_epoch=lambda record: weights.append(copy_of(dict(classifier.state_dict()))),
    )

    assert len(history) == 5, "nothing stops it"
    assert history[1]["val/uar"] <= history[0]["val/uar"], "else patience would not have stopped it"
    assert same(dict(classifier.state_dict()), weights[-1])


def test_averaged_weights_are_evaluated_and_kept(tmp_path: Path) -> None:
    classifier, data, trained = build(), tiny_data(), list[dict[str, Tensor]]()

    history = train_classifier(
        classifier,
        data,
        config(epochs=4, ema_decay=0.8),
        augmentation=None,
        seed=1,
        checkpoint=tmp_path / "state",
        on_epoch=lambda record: trained.append(copy_of(dict(classifier.state_dict()))),
    )

    best = int(np.argmax([record["val/uar"] for record in history]))
    assert not any(same(dict(classifier.state_dict()), weights) for weights in trained)
    assert uar_on_development(classifier, data) == history[best]["val/uar"]


def test_the_history_tells_each_epoch(tmp_path: Path) -> None:
    reported: list[EpochRecord] = []

    history = train_classifier(
        build(),
        tiny_data(),
        config(epochs=2),
        augmentation=None,
        seed=1,
        checkpoint=tmp_path / "state",
        on_epoch=reported.append,
    )

    assert reported == history
    assert [record["epoch"] for record in history] == [0, 1]
    names = {"loss", "uar", "accuracy", "macro_f1"}
    expected = {"epoch", "learning_rate", "train/loss", "train/accuracy", *(f"val/{name}" for name in names)}
    assert all(record.keys() == expected for record in history)


def test_seeds_differ_and_repeat(tmp_path: Path) -> None:
    first, again, other = (
        train_classifier(
            build(dropout=0.5),
            tiny_data(),
            config(epochs=1),
            augmentation=AugmentationConfig(),
            seed=seed,
            checkpoint=tmp_path / "state",
        )
        for seed in (1, 1, 2)
    )

    assert first == again
    assert first[0]["train/loss"] != other[0]["train/loss"]


def test_frozen_stages_stay_as_they_were(tmp_path: Path) -> None:
    classifier = build(trainable=("layer4", "fc"))
    stages = classifier.freeze(())
    before = copy_of(dict(classifier.state_dict()))

    train_classifier(
        classifier, tiny_data(), config(epochs=1), augmentation=None, seed=1, checkpoint=tmp_path / "state"
    )

    changed = {name for name, tensor in classifier.state_dict().items() if not torch.equal(tensor, before[name])}
    assert stages == ("conv1", "bn1", "layer1", "layer2", "layer3")
    assert {name.split(".")[1] for name in changed if name.startswith("backbone.")} == {"layer4"}
    assert "backbone.layer4.0.bn1.running_mean" in changed


@pytest.mark.parametrize("trainable", [("layer4", "fc"), ("layer2", "layer3", "layer4", "fc"), ("fc",)])
def test_features_of_frozen_stages_that_are_kept_change_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trainable: tuple[str, ...]
) -> None:
    def train() -> tuple[list[EpochRecord], bool]:
        classifier, data = build(trainable=trainable), tiny_data()
        classifier.freeze(())
        rows = torch.arange(len(data.clips))
        kept = frozen_features(classifier, data.clips, rows, data.frames, "float32") is not None
        history = train_classifier(classifier, data, config(), augmentation=None, seed=1, checkpoint=tmp_path / "state")
        return history, kept

    with_them, kept = train()
    monkeypatch.setattr(frozen, "LARGEST_BYTES", 0)
    without, kept_without = train()

    assert (kept, kept_without) == (True, False)
    for one, other in zip(with_them, without, strict=True):
        assert one == pytest.approx(other, rel=1e-5)


def test_only_training_and_development_clips_are_read(tmp_path: Path) -> None:
    data, poisoned = tiny_data(), tiny_data()
    training, development = np.arange(12), np.arange(16, 24)
    start, length = int(poisoned.clips.starts[12]), int(poisoned.clips.lengths[12:16].sum())
    poisoned.clips.values[:, start : start + length] = torch.nan

    histories = [
        train_classifier(
            build(),
            replace(each, training=training, development=development, clips_per_epoch=12),
            config(epochs=1),
            augmentation=None,
            seed=1,
            checkpoint=tmp_path / "state",
        )
        for each in (data, poisoned)
    ]

    assert histories[0] == histories[1]


def test_mixup_reaches_the_loss(tmp_path: Path) -> None:
    """With the other transforms off, the loss of clips mixed half and half stays high."""
    off = {"probability": 0.0, "gain_low": 1.0, "gain_high": 1.0}
    assert (
        0.3 < draw(AugmentationConfig(mixup_alpha=1e6, **off), (4, 16, 16), generator(0), np.arange(16.0)).share < 0.7
    )
    plain, mixed = (
        train_classifier(
            build(),
            tiny_data(),
            config(epochs=3),
            augmentation=AugmentationConfig(mixup_alpha=alpha, **off),
            seed=1,
            checkpoint=tmp_path / "state",
        )
        for alpha in (0.0, 1e6)
    )

    assert plain[-1]["train/loss"] < 0.4 < mixed[-1]["train/loss"]


def test_a_full_disk_is_reported(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", kilobytes=4_000) as disk:
        with pytest.raises(StorageError, match=r"state\.safetensors"):
            train_classifier(
                build(),
                tiny_data(),
                config(epochs=2),
                augmentation=None,
                seed=1,
                checkpoint=disk / "state.safetensors",
                save_every_s=0.0,
            )
        assert list(disk.iterdir()) == []


def test_bfloat16_predicts_nearly_what_float32_does(tmp_path: Path) -> None:
    classifier, data = build(), tiny_data()
    train_classifier(classifier, data, config(epochs=2), augmentation=None, seed=1, checkpoint=tmp_path / "state")

    exact, rough = (
        predict(classifier, data, data.development, config(precision=name)) for name in ("float32", "bfloat16")
    )

    assert not np.array_equal(exact, rough)
    np.testing.assert_allclose(rough, exact, atol=0.05)


def test_evaluation_hears_more_of_a_clip_than_training_where_it_is_told_to() -> None:
    classifier, data = build(), tiny_data()
    frames = data.frames + 8
    told = replace(data, clip=ClipConfig(crop="random", evaluation_s=1.0), evaluation_frames=frames)
    rows = torch.arange(3)
    (offsets,) = told.clips.evaluation_offsets(rows, frames, told.clip).T

    heard = embed(classifier, told, rows.numpy(), config(precision="float32"))

    with torch.inference_mode():
        expected = classifier.eval().embed(told.clips.batch(rows, offsets, frames))
    np.testing.assert_allclose(heard, expected, atol=1e-5)
    assert not np.allclose(heard, embed(classifier, data, rows.numpy(), config(precision="float32")), atol=1e-3)


def test_probabilities_and_embeddings_come_in_the_order_asked_for_whatever_the_batch() -> None:
    classifier, data = build(dropout=0.5), tiny_data()
    order = np.array([5, 0, 17, 3, 3, 11, 9, 2, 1])

    everything = predict(classifier, data, np.arange(24), config())
    some = predict(classifier, data, order, config(batch_size=2))
    vectors = embed(classifier, data, order, config(batch_size=2))

    assert some.shape == (9, 3)
    assert vectors.shape == (9, 512)
    np.testing.assert_allclose(some.sum(axis=1), 1.0, atol=1e-5)
    np.testing.assert_allclose(some, everything[order], atol=1e-4)
    np.testing.assert_allclose(vectors[3], vectors[4], atol=1e-4)

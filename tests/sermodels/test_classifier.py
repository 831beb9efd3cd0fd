"""The classifier: its shapes, the picture that its backbone sees, and what learns and what is frozen."""

import pytest
import torch
from torch import Tensor

from sermodels.classifier import STAGES, Classifier
from sermodels.config import ClassifierConfig
from sermodels.emotions import COMMON_EMOTIONS
from sermodels.errors import ConfigError
from tests.sermodels.tiny import copy_of, tiny_classifier_config, train_one_batch

SEED_STAGES = ("layer4", "fc")


def build(config: ClassifierConfig, *, n_mels: int = 16) -> Classifier:
    torch.manual_seed(0)
    return Classifier(config, labels=COMMON_EMOTIONS, n_mels=n_mels)


def image_seen_by_backbone(classifier: Classifier, log_mel: Tensor) -> Tensor:
    seen: list[Tensor] = []
    classifier.backbone.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    with torch.inference_mode():
        classifier.eval()(log_mel)
    return seen[0]


@pytest.mark.parametrize(("backbone", "width"), [("resnet18", 512), ("resnet34", 512), ("resnet50", 2048)])
def test_logits_and_embeddings_have_their_shapes(backbone: str, width: int) -> None:
    classifier = build(tiny_classifier_config(backbone=backbone)).eval()

    with torch.inference_mode():
        assert classifier(torch.randn(2, 16, 32)).shape == (2, 6)
        assert classifier.embed(torch.randn(3, 16, 32)).shape == (3, width)


def test_any_length_is_resized_to_a_picture_of_three_equal_channels() -> None:
    classifier = build(ClassifierConfig(backbone="resnet18"), n_mels=80)

    image = image_seen_by_backbone(classifier, torch.randn(2, 80, 123))

    assert image.shape == (2, 3, 224, 224)
    assert torch.equal(image[:, 0], image[:, 1])
    assert torch.equal(image[:, 0], image[:, 2])


def test_without_an_image_size_the_backbone_sees_the_z_scored_log_mel_itself() -> None:
    classifier, log_mel = build(tiny_classifier_config()), torch.randn(2, 16, 40)
    classifier.mean.copy_(torch.arange(16.0))
    classifier.std.copy_(torch.arange(16.0) + 2.0)

    image = image_seen_by_backbone(classifier, log_mel)

    expected = (log_mel - torch.arange(16.0)[:, None]) / (torch.arange(16.0)[:, None] + 2.0)
    assert image.shape == (2, 3, 16, 40)
    torch.testing.assert_close(image[:, 1], expected)


def test_smoothing_averages_the_power_of_the_cells_around() -> None:
    classifier, log_mel = build(tiny_classifier_config(smoothing=(1, 2))), 20 * torch.randn(1, 16, 12) - 30

    smooth = classifier.smooth(log_mel)

    for mel, frame in [(0, 0), (0, 11), (7, 5), (15, 3), (15, 11)]:
        around = log_mel[0, max(0, mel - 1) : mel + 2, max(0, frame - 2) : frame + 3]
        expected = 10 * torch.log10((10 ** (around.double() / 10)).mean())
        assert float(smooth[0, mel, frame]) == pytest.approx(float(expected), abs=1e-3)


def test_z_scored_batches_skip_the_z_score() -> None:
    classifier, log_mel = build(tiny_classifier_config()).eval(), torch.randn(2, 16, 32)
    classifier.mean.fill_(-40.0)
    classifier.std.fill_(12.0)

    with torch.inference_mode():
        torch.testing.assert_close(classifier.logits_standardized((log_mel + 40.0) / 12.0), classifier(log_mel))


def test_statistics_belong_to_the_weights() -> None:
    assert {"mean", "std"} <= build(tiny_classifier_config()).state_dict().keys()


def test_dropout_acts_in_training_mode_only() -> None:
    classifier, log_mel = build(tiny_classifier_config(dropout=0.5)), torch.randn(2, 16, 32)

    classifier.eval()
    assert torch.equal(classifier(log_mel), classifier(log_mel))
    embedding = classifier.embed(log_mel)
    classifier.dropout.train()
    assert not torch.equal(classifier(log_mel), classifier(log_mel))
    assert torch.equal(classifier.embed(log_mel), embedding)


def test_frozen_stages_change_neither_weights_nor_batch_statistics() -> None:
    classifier = build(tiny_classifier_config(trainable=SEED_STAGES))
    assert classifier.freeze(()) == ("conv1", "bn1", "layer1", "layer2", "layer3")
    before = copy_of(classifier.state_dict())

    train_one_batch(classifier)

    changed = {name for name, tensor in classifier.state_dict().items() if not torch.equal(tensor, before[name])}
    assert {name.removeprefix("backbone.").split(".")[0] for name in changed} == set(SEED_STAGES)
    assert {"backbone.layer4.0.bn1.running_mean", "backbone.layer4.1.conv2.weight", "fc.bias"} <= changed


def test_frozen_stages_get_no_gradient() -> None:
    classifier = build(tiny_classifier_config(trainable=SEED_STAGES))
    classifier.freeze(())

    train_one_batch(classifier)

    with_gradient = {name for name, parameter in classifier.named_parameters() if parameter.grad is not None}
    expected = {n for n, _ in classifier.named_parameters() if n.startswith(("backbone.layer4.", "fc."))}
    assert with_gradient == expected


def test_stages_without_pretrained_weights_learn_whatever_the_config_says() -> None:
    classifier = build(tiny_classifier_config(trainable=("fc",)))

    assert classifier.freeze(("layer4", "fc")) == ("conv1", "bn1", "layer1", "layer2", "layer3")
    assert build(tiny_classifier_config(trainable=("fc",))).freeze(STAGES) == ()


@pytest.mark.parametrize("trainable", [("all",), ("all", "layer4")])
def test_all_freezes_nothing(trainable: tuple[str, ...]) -> None:
    classifier = build(tiny_classifier_config(trainable=trainable))

    assert classifier.freeze(()) == ()
    assert all(parameter.requires_grad for parameter in classifier.parameters())


def test_the_head_always_learns() -> None:
    classifier = build(tiny_classifier_config(trainable=("layer1",)))

    assert classifier.freeze(()) == ("conv1", "bn1", "layer2", "layer3", "layer4")
    assert classifier.fc.weight.requires_grad


def test_an_unknown_stage_is_refused_by_name() -> None:
    classifier = build(tiny_classifier_config(trainable=("layer4", "layer5", "head")))

    with pytest.raises(ConfigError, match=r"unknown stage head, layer5; allowed: conv1, .*, fc, all"):
        classifier.freeze(())

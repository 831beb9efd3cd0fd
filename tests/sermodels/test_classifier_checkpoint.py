"""A kept classifier gives the same logits when it is read, knows its labels, and is refused when damaged."""

from pathlib import Path

import pytest
import torch

from sermodels.checkpoint import save_tensors
from sermodels.classifier import Classifier
from sermodels.classifier_checkpoint import load_classifier, save_classifier
from sermodels.errors import WeightsError
from tests.sermodels.tiny import same, tiny_classifier_config, train_one_batch

LABELS = ("sadness", "anger", "fear")


@pytest.fixture
def classifier() -> Classifier:
    torch.manual_seed(0)
    classifier = Classifier(tiny_classifier_config(dropout=0.3), labels=LABELS, n_mels=16)
    classifier.mean.copy_(torch.arange(16.0))
    classifier.std.copy_(torch.arange(16.0) + 1.0)
    train_one_batch(classifier)
    return classifier.eval()


def test_weights_config_labels_and_header_come_back(tmp_path: Path, classifier: Classifier) -> None:
    save_classifier(tmp_path / "c.safetensors", classifier, {"split": "fold 0", "note": "ä"})

    loaded, header = load_classifier(tmp_path / "c.safetensors")

    assert loaded.labels == LABELS
    assert loaded.config == classifier.config
    assert (header["split"], header["note"], header["labels"], header["n_mels"]) == ("fold 0", "ä", list(LABELS), 16)
    assert same(dict(loaded.state_dict()), dict(classifier.state_dict()))
    assert not loaded.training


def test_logits_are_the_same(tmp_path: Path, classifier: Classifier) -> None:
    save_classifier(tmp_path / "c.safetensors", classifier, {})
    log_mel = torch.randn(4, 16, 32)

    with torch.inference_mode():
        loaded, _ = load_classifier(tmp_path / "c.safetensors")
        torch.testing.assert_close(loaded(log_mel), classifier(log_mel), rtol=1e-5, atol=1e-5)


def test_the_same_classifier_gives_the_same_bytes(tmp_path: Path, classifier: Classifier) -> None:
    for name in ("first", "second"):
        save_classifier(tmp_path / name, classifier, {"split": "fold 0"})

    assert (tmp_path / "first").read_bytes() == (tmp_path / "second").read_bytes()


@pytest.mark.parametrize("kept_bytes", [0, 5, 1_000, -1])
def test_a_damaged_file_is_refused_by_name(tmp_path: Path, classifier: Classifier, kept_bytes: int) -> None:
    path = tmp_path / "c.safetensors"
    save_classifier(path, classifier, {})
    path.write_bytes(path.read_bytes()[:kept_bytes])

    with pytest.raises(WeightsError, match=rf"{path}: not a readable checkpoint"):
        load_classifier(path)


def test_a_missing_file_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"absent\.safetensors: not a readable checkpoint"):
        load_classifier(tmp_path / "absent.safetensors")


@pytest.mark.parametrize("header", [{}, {"labels": ["a", "b"], "n_mels": 16, "classifier": {"backbone": "vgg"}}])
def test_a_checkpoint_of_something_else_is_refused_by_name(tmp_path: Path, header: dict[str, object]) -> None:
    save_tensors(tmp_path / "other.safetensors", {"mean": torch.zeros(3)}, header)

    with pytest.raises(WeightsError, match=r"other\.safetensors: is no classifier"):
        load_classifier(tmp_path / "other.safetensors")


def test_weights_that_do_not_fit_the_header_are_refused_by_name(tmp_path: Path, classifier: Classifier) -> None:
    tensors = dict(classifier.state_dict())
    del tensors["fc.bias"]
    header = {"labels": list(LABELS), "n_mels": 16, "classifier": classifier.config.model_dump(mode="json")}
    save_tensors(tmp_path / "short.safetensors", tensors, header)

    with pytest.raises(WeightsError, match=r"(?s)short\.safetensors: does not fit the network .*fc\.bias"):
        load_classifier(tmp_path / "short.safetensors")

"""Damaged, hostile and undownloadable weights: refused with the remedy, and nothing in them is run."""

import os
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torchvision.models import get_model_weights

from sermodels.classifier import Classifier
from sermodels.errors import WeightsError
from sermodels.weights import load_pretrained
from tests.sermodels.tiny import tiny_classifier_config


def load(weights: Path | str) -> None:
    classifier = Classifier(tiny_classifier_config(), labels=("anger", "fear"), n_mels=16)
    load_pretrained(classifier, str(weights))


class Hostile:
    """An object whose unpickling makes a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, (str(self.folder),)


DAMAGED = {
    "empty": b"",
    "text": b"these are not the weights you are looking for\n",
    "page": b"<!DOCTYPE html><html><body>404</body></html>",
    "bytes": bytes(range(256)) * 20,
    "zip": b"PK\x03\x04" + bytes(200),
    "pickle": b"\x80\x02}q\x00.",
    "cut pickle": b"\x80\x02",
}


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
@pytest.mark.parametrize("content", DAMAGED.values(), ids=DAMAGED.keys())
def test_a_damaged_file_is_refused(tmp_path: Path, content: bytes, suffix: str) -> None:
    path = tmp_path / f"weights{suffix}"
    path.write_bytes(content)

    with pytest.raises(WeightsError, match=rf"weights\{suffix}: not a readable state dict .*`none`"):
        load(path)


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
@pytest.mark.parametrize("share", [0.001, 0.5, 0.99])
def test_a_truncated_file_is_refused(tmp_path: Path, suffix: str, share: float) -> None:
    path = tmp_path / f"weights{suffix}"
    state = {"conv1.weight": torch.zeros(64, 3, 7, 7)}
    if suffix == ".pth":
        torch.save(state, path)
    else:
        save_file(state, path)
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])

    with pytest.raises(WeightsError, match=r"not a readable state dict"):
        load(path)


@pytest.mark.parametrize("zipped", [True, False])
def test_a_pickled_object_is_refused_and_not_run(tmp_path: Path, zipped: bool) -> None:
    made = tmp_path / "made-by-the-pickle"
    torch.save({"conv1.weight": Hostile(made)}, tmp_path / "hostile.pth", _use_new_zipfile_serialization=zipped)

    with pytest.raises(WeightsError, match=r"hostile\.pth: not a readable state dict"):
        load(tmp_path / "hostile.pth")
    assert not made.exists()


@pytest.fixture
def cached(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where torchvision would keep ResNet18's ImageNet weights, on a machine without a network."""
    urllib.request.install_opener(None)  # urllib reads the proxies once, and keeps them for the whole process
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    yield tmp_path / "hub" / "checkpoints" / Path(get_model_weights("resnet18")["IMAGENET1K_V1"].url).name
    urllib.request.install_opener(None)


def test_without_a_network_the_error_says_which_file_goes_where(cached: Path) -> None:
    with pytest.raises(WeightsError) as raised:
        load("imagenet")

    message = str(raised.value)
    assert "ImageNet weights for resnet18" in message
    assert f"put {cached.name} from another machine into {cached.parent}" in message
    assert "classifier.weights=PATH" in message
    assert "`none`" in message


@pytest.mark.parametrize("content", DAMAGED.values(), ids=DAMAGED.keys())
def test_a_damaged_file_in_torchvisions_cache_is_refused(cached: Path, content: bytes) -> None:
    cached.parent.mkdir(parents=True)
    cached.write_bytes(content)

    with pytest.raises(WeightsError, match=r"ImageNet weights for resnet18"):
        load("imagenet")


def test_a_pickled_object_in_torchvisions_cache_is_refused_and_not_run(cached: Path, tmp_path: Path) -> None:
    cached.parent.mkdir(parents=True)
    torch.save({"conv1.weight": Hostile(tmp_path / "made-by-the-pickle")}, cached)

    with pytest.raises(WeightsError, match=r"ImageNet weights for resnet18"):
        load("imagenet")
    assert not (tmp_path / "made-by-the-pickle").exists()


def test_a_folder_for_the_cache_that_is_a_file_is_refused(cached: Path) -> None:
    (cached.parents[1]).write_text("in the way")

    with pytest.raises(WeightsError, match=r"ImageNet weights for resnet18"):
        load("imagenet")

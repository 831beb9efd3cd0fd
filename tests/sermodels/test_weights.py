"""Pretrained weights: what fits loads exactly, the report says what lacks, and all else is refused by name."""

from pathlib import Path

import pytest
import torch
import torchvision
from safetensors.torch import save_file
from torch import Tensor

from sermodels.classifier import STAGES, Classifier
from sermodels.errors import WeightsError
from sermodels.weights import load_pretrained, weights_digest
from tests.sermodels.tiny import copy_of, same, tiny_classifier_config

SHARED = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "weights"


def build(backbone: str = "resnet18") -> Classifier:
    torch.manual_seed(0)
    return Classifier(tiny_classifier_config(backbone=backbone), labels=("anger", "fear"), n_mels=16)


def network_state(backbone: str = "resnet18") -> dict[str, Tensor]:
    """A state dict as torchvision has it, its batch statistics as they are after some training."""
    torch.manual_seed(1)
    network = torchvision.models.get_model(backbone, weights=None)
    for name, tensor in network.named_buffers():
        tensor += 3 if name.endswith("num_batches_tracked") else torch.rand(tensor.shape)
    return dict(network.state_dict())


def without(state: dict[str, Tensor], *prefixes: str) -> dict[str, Tensor]:
    return {name: tensor for name, tensor in state.items() if not name.startswith(prefixes)}


def saved(path: Path, state: dict[str, Tensor]) -> Path:
    if path.suffix == ".safetensors":
        save_file(state, path)
    else:
        torch.save(state, path)
    return path


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
@pytest.mark.parametrize("backbone", ["resnet18", "resnet50"])
def test_a_whole_state_dict_loads_exactly(tmp_path: Path, backbone: str, suffix: str) -> None:
    classifier, state = build(backbone), network_state(backbone)

    report = load_pretrained(classifier, str(saved(tmp_path / f"weights{suffix}", state)))

    assert same(dict(classifier.backbone.state_dict()), without(state, "fc."))
    assert report.missing_stages == ("fc",)
    assert report.loaded == len(state) - 2
    assert classifier.freeze(report.missing_stages) == ()


def test_the_head_of_another_task_is_left_alone(tmp_path: Path) -> None:
    classifier = build()
    head = copy_of(dict(classifier.fc.state_dict()))

    load_pretrained(classifier, str(saved(tmp_path / "weights.pth", network_state())))

    assert same(dict(classifier.fc.state_dict()), head)


@pytest.mark.parametrize(
    ("lacking", "missing"),
    [
        (("layer4.", "fc."), ("layer4", "fc")),
        (("layer3.1.conv2.",), ("layer3", "fc")),
        (("layer2.0.bn1.running_var",), ("layer2", "fc")),
        (("layer2.0.bn1.num_batches_tracked",), ("fc",)),
    ],
)
def test_what_is_there_is_loaded_and_the_report_names_what_lacks(
    tmp_path: Path, lacking: tuple[str, ...], missing: tuple[str, ...]
) -> None:
    classifier, state = build(), without(network_state(), *lacking)

    report = load_pretrained(classifier, str(saved(tmp_path / "some.safetensors", state)))

    loaded = classifier.backbone.state_dict()
    assert all(torch.equal(loaded[name], tensor) for name, tensor in without(state, "fc.").items())
    assert report.missing_stages == missing
    assert f"started at random: {', '.join(missing)}" in report.message()


def test_half_precision_is_widened(tmp_path: Path) -> None:
    state = {name: t.half() if t.is_floating_point() else t for name, t in network_state().items()}
    classifier = build()

    load_pretrained(classifier, str(saved(tmp_path / "half.safetensors", state)))

    weight = classifier.backbone.state_dict()["layer1.0.conv1.weight"]
    assert weight.dtype == torch.float32
    assert torch.equal(weight, state["layer1.0.conv1.weight"].float())


def test_the_shared_imagenet_layers_load_and_layer_4_learns() -> None:
    path = SHARED / "resnet18_imagenet_layers1-3.safetensors"
    if not path.is_file():
        pytest.skip(f"no weights at {SHARED}")
    classifier = Classifier(tiny_classifier_config(trainable=("fc",)), labels=("anger", "fear"), n_mels=16)

    report = load_pretrained(classifier, str(path))

    assert report.missing_stages == ("layer4", "fc")
    assert classifier.freeze(report.missing_stages) == ("conv1", "bn1", "layer1", "layer2", "layer3")


def test_none_loads_nothing_and_everything_learns() -> None:
    classifier = build()
    before = copy_of(dict(classifier.state_dict()))

    report = load_pretrained(classifier, "none")

    assert report.missing_stages == STAGES
    assert same(dict(classifier.state_dict()), before)


@pytest.mark.parametrize("name", ["layer1.0.conv1.weight", "layer4.1.bn2.running_mean"])
def test_another_shape_is_refused_naming_the_tensor(tmp_path: Path, name: str) -> None:
    path = saved(tmp_path / "wide.safetensors", network_state() | {name: torch.zeros(7, 5)})

    with pytest.raises(WeightsError, match=rf"wide\.safetensors: {name} has shape \(7, 5\), but resnet18 needs \("):
        load_pretrained(build(), str(path))


def test_weights_of_another_backbone_are_refused(tmp_path: Path) -> None:
    path = saved(tmp_path / "resnet50.pth", network_state("resnet50"))

    with pytest.raises(WeightsError, match=r"tensors are not of a torchvision resnet18, such as layer1\.0\.bn3"):
        load_pretrained(build(), str(path))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ({"state_dict": {"conv1.weight": torch.zeros(1)}, "epoch": 3}, "its entry 'state_dict' is dict"),
        ({"fc.weight": torch.zeros(2, 512)}, "holds no backbone tensors"),
        ({}, "holds no backbone tensors"),
        ({"conv1.weight": "a text"}, "its entry 'conv1.weight' is str"),
        ({0: torch.zeros(1)}, "its entry 0 is Tensor, not a named tensor"),
        ([torch.zeros(1)], "it holds list, not named tensors"),
        (torch.zeros(3), "it holds Tensor"),
        (None, "it holds NoneType"),
    ],
)
def test_a_file_that_holds_something_else_is_refused(tmp_path: Path, content: object, reason: str) -> None:
    torch.save(content, tmp_path / "other.pth")

    with pytest.raises(WeightsError, match=rf"other\.pth: .*{reason}.*classifier\.weights=PATH"):
        load_pretrained(build(), str(tmp_path / "other.pth"))


def test_a_missing_file_is_named_and_so_is_a_folder(tmp_path: Path) -> None:
    for path in (tmp_path / "absent.pth", tmp_path):
        with pytest.raises(WeightsError, match=rf"{path}: no such weights file; give a state dict by"):
            load_pretrained(build(), str(path))
        with pytest.raises(WeightsError, match="no such weights file"):
            weights_digest("resnet18", str(path))


def test_the_digest_follows_the_content_not_the_name(tmp_path: Path) -> None:
    first, second, other = (tmp_path / f"{name}.pth" for name in ("first", "second", "other"))
    for path, content in ((first, b"a"), (second, b"a"), (other, b"b")):
        path.write_bytes(content)

    digests = [weights_digest("resnet18", str(path)) for path in (first, second, other)]
    assert digests[0] == digests[1] != digests[2]
    assert weights_digest("resnet18", "imagenet") != weights_digest("resnet50", "imagenet")
    assert weights_digest("resnet18", "imagenet") != weights_digest("resnet18", "none")

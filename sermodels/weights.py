"""Pretrained backbone weights: ImageNet's by download, a state dict by path, or none."""

import struct
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError  # the class of the error only: nothing is unpickled
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor
from torchvision.models import get_model_weights

from sermodels.classifier import STAGES, Classifier
from sermodels.errors import WeightsError
from sermodels.files import sha256_of_file

REMEDY = "give a state dict by `classifier.weights=PATH` (.safetensors or .pth with torchvision's names), or `none`"
UNREADABLE = (
    SafetensorError,
    UnpicklingError,
    OSError,
    RuntimeError,
    ValueError,
    TypeError,
    EOFError,
    LookupError,
    AssertionError,
    struct.error,
)
"""What safetensors and torch.load raise for damaged files and files of another kind."""


@dataclass(frozen=True)
class WeightsReport:
    """Where the backbone's weights came from, and which stages they lack."""

    source: str
    loaded: int
    missing_stages: tuple[str, ...]

    def message(self) -> str:
        """One sentence for the log."""
        lack = f"; not in it, so started at random: {', '.join(self.missing_stages)}" if self.missing_stages else ""
        return f"weights {Path(self.source).name}: {self.loaded} tensors loaded{lack}"


def load_pretrained(classifier: Classifier, weights: str) -> WeightsReport:
    """Load backbone weights into `classifier`, in place.

    Raises WeightsError when the download is impossible, the file is missing or damaged, or a tensor has another shape.
    """
    if weights == "none":
        return WeightsReport("none", 0, STAGES)
    state = _download(classifier.config.backbone) if weights == "imagenet" else _read(Path(weights))
    given = {name: tensor for name, tensor in state.items() if not name.startswith("fc.")}
    _check(given, classifier, weights)
    classifier.backbone.load_state_dict(given, strict=False)
    needed = {name for name in classifier.backbone.state_dict() if not name.endswith("num_batches_tracked")}
    lacking = {name.split(".")[0] for name in needed - given.keys()}
    missing = tuple(stage for stage in STAGES if stage in lacking or stage == "fc")
    return WeightsReport(weights, len(given), missing)


def weights_digest(backbone: str, weights: str) -> str:
    """What identifies the weights for caching: the file's sha256, or the name."""
    return sha256_of_file(_existing(Path(weights))) if weights not in ("imagenet", "none") else f"{weights}:{backbone}"


def _existing(path: Path) -> Path:
    """The path, or a clear error."""
    if not path.is_file():
        raise WeightsError(f"{path}: no such weights file; {REMEDY}")
    return path


def _download(backbone: str) -> dict[str, Tensor]:
    """Torchvision's ImageNet weights, from its cache or the network, with their checksum verified."""
    source = get_model_weights(backbone)["IMAGENET1K_V1"]
    try:
        # The checksum is verified on download only: a file that was put into the cache by hand may be anything.
        return _state_dict(source.get_state_dict(progress=True, check_hash=True, weights_only=True))
    except UNREADABLE as error:
        folder = Path(torch.hub.get_dir()) / "checkpoints"
        raise WeightsError(
            f"ImageNet weights for {backbone} cannot be downloaded or read ({_reason(error)}). Without a network: put "
            f"{Path(source.url).name} from another machine into {folder}, or {REMEDY}"
        ) from error


def _read(path: Path) -> dict[str, Tensor]:
    """A state dict from .safetensors, or from .pth without unpickling objects."""
    _existing(path)
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        return _state_dict(torch.load(path, map_location="cpu", weights_only=True))
    except UNREADABLE as error:
        raise WeightsError(f"{path}: not a readable state dict ({_reason(error)}); {REMEDY}") from error


def _state_dict(value: Any) -> dict[str, Tensor]:
    """The value, if it is named tensors; else TypeError."""
    if not isinstance(value, dict):
        raise TypeError(f"it holds {type(value).__name__}, not named tensors")
    for name, tensor in value.items():
        if not isinstance(name, str) or not isinstance(tensor, Tensor):
            raise TypeError(f"its entry {name!r} is {type(tensor).__name__}, not a named tensor")
    return dict(value)


def _reason(error: Exception) -> str:
    """What is wrong, in one line; torch's own advice for pickles is to run them."""
    if isinstance(error, UnpicklingError):
        return "damaged, or it holds objects other than tensors"
    return str(error).partition("\n")[0] or type(error).__name__


def _check(given: dict[str, Tensor], classifier: Classifier, source: str) -> None:
    """Refuse names that the backbone does not have and tensors of another shape."""
    own = classifier.backbone.state_dict()
    backbone = classifier.config.backbone
    if unknown := sorted(given.keys() - own.keys()):
        raise WeightsError(
            f"{source}: {len(unknown)} tensors are not of a torchvision {backbone}, such as {unknown[0]}; {REMEDY}"
        )
    for name, tensor in given.items():
        if tensor.shape != own[name].shape:
            raise WeightsError(
                f"{source}: {name} has shape {tuple(tensor.shape)}, "
                f"but {backbone} needs {tuple(own[name].shape)}; {REMEDY}"
            )
    if not given:
        raise WeightsError(f"{source}: holds no backbone tensors; {REMEDY}")

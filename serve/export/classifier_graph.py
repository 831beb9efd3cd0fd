"""classifier.onnx: waveform to log-mel, embedding, logits and probabilities, with every preparation in the graph."""

from pathlib import Path

import numpy as np
import onnx
import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn
from torch.export import Dim

from sermodels.classifier import Classifier
from sermodels.clips import frames_of, view_offsets
from sermodels.config import ClipConfig, FrontEndConfig
from sermodels.features import LogMel
from serve.bundle import LABELS_KEY
from serve.export.graph import export_module, require_symbolic, save_graph

OUTPUTS = ("log_mel", "embedding", "logits", "probabilities")
LENGTH = "length"
EVERYTHING = 2**31 - 1
"""The length that stands for all samples of the batch."""

LogMelBatch = Float[Tensor, "batch mel frame"]


class WaveformClassifier(nn.Module):
    """The classifier as it is served: the training pipeline from samples to probabilities, as one module.

    It repeats what `sermodels.cache` and `sermodels.clips` do to a recording, the rounding to float16 included, so
    that a served answer is that of the evaluation; and it takes clips of several lengths in one batch.
    """

    rows: Tensor
    columns: Tensor

    def __init__(self, classifier: Classifier, front_end: FrontEndConfig, clip: ClipConfig) -> None:
        """`clip` must be the classifier's own, from its checkpoint."""
        super().__init__()
        self.front_end, self.classifier, self.clip = LogMel(front_end), classifier, clip
        self.hop_length, self.n_mels = front_end.hop_length, front_end.n_mels
        self.frames = frames_of(clip.heard_s, front_end)
        if size := classifier.config.image_size:
            self.register_buffer("rows", bilinear_matrix(front_end.n_mels, size[0]))
            self.register_buffer("columns", bilinear_matrix(self.frames, size[1]).T.contiguous())

    def forward(
        self, waveform: Float[Tensor, "batch sample"], length: Int64[Tensor, " batch"]
    ) -> tuple[
        LogMelBatch, Float[Tensor, "batch width"], Float[Tensor, "batch emotion"], Float[Tensor, "batch emotion"]
    ]:
        """Of each waveform the first `length` samples count; returns what OUTPUTS names."""
        samples = torch.arange(waveform.shape[1], device=waveform.device)
        heard = torch.where(samples < length[:, None], waveform, 0.0)
        level_db = self.front_end.level_db(heard)
        present = length.clamp(max=waveform.shape[1]) // self.hop_length + 1
        frames = torch.arange(level_db.shape[2], device=waveform.device)
        inside = frames < present[:, None]
        log_mel = self.front_end.with_floor(torch.where(inside[:, None], level_db, -torch.inf))
        prepared = self.prepare(log_mel.half().float(), inside).to(self.classifier.mean.dtype)
        image = self.classifier.standardize(prepared)
        if self.classifier.config.image_size:
            image = self.rows @ image @ self.columns
        views = self.classifier.embed_image(image)
        embedding = views.unflatten(0, (-1, self.clip.views)).mean(dim=1)
        logits = self.classifier.fc(embedding)
        return log_mel, embedding, logits, torch.softmax(logits, dim=1)

    def prepare(self, log_mel: LogMelBatch, inside: Tensor) -> Float[Tensor, "batch_view mel frame"]:
        """Silence trimmed, level set, cropped or padded, as `ClipSet` does for evaluation.

        The views of a clip follow one another.
        """
        first, length = self._loud_part(log_mel, inside)
        frames = torch.arange(log_mel.shape[2], device=log_mel.device)
        kept = ((frames >= first[:, None]) & (frames < (first + length)[:, None]))[:, None]
        offset_db = torch.zeros_like(length, dtype=torch.float64)
        if self.clip.level == "clip":
            offset_db = torch.where(kept, log_mel.double(), 0.0).sum(dim=(1, 2)) / (length * self.n_mels)
        levelled = (log_mel - offset_db.float()[:, None, None]).half().float()
        loudest_db = torch.where(kept, log_mel, -torch.inf).amax(dim=(1, 2))
        floor_db = (loudest_db - offset_db - self.front_end.top_db).float()
        offsets = view_offsets(length, self.frames, self.clip)
        position = (torch.arange(self.frames, device=log_mel.device) - offsets[:, :, None]).flatten(1)
        chosen = first[:, None] + position.clamp(min=0).minimum(length[:, None] - 1)
        cells = levelled.gather(2, chosen[:, None].expand(-1, self.n_mels, -1))
        filled = (position >= 0) & (position < length[:, None])
        side_by_side = torch.where(filled[:, None], cells, floor_db[:, None, None])
        views: Tensor = side_by_side.unflatten(2, (self.clip.views, self.frames)).transpose(1, 2).flatten(0, 1)
        return views

    def _loud_part(
        self, log_mel: LogMelBatch, inside: Tensor
    ) -> tuple[Int64[Tensor, " batch"], Int64[Tensor, " batch"]]:
        """First frame and number of frames between the silences at either end."""
        frames = torch.arange(log_mel.shape[2], device=log_mel.device)
        loud = inside
        if self.clip.trim_db is not None:
            power = torch.exp(log_mel.double() * (np.log(10.0) / 10.0)).sum(dim=1)
            level_db = torch.where(inside, 10.0 * torch.log10(power), -torch.inf)
            loud = level_db >= level_db.amax(dim=1, keepdim=True) - self.clip.trim_db
        first = torch.where(loud, frames, log_mel.shape[2]).amin(dim=1)
        last = torch.where(loud, frames, -1).amax(dim=1)
        return first, last - first + 1


def bilinear_matrix(size: int, wanted: int) -> Float[Tensor, "wanted size"]:
    """Bilinear resizing as a matrix, equal to `interpolate(mode="bilinear", align_corners=False)`."""
    source = ((torch.arange(wanted, dtype=torch.float64) + 0.5) * (size / wanted) - 0.5).clamp(0, size - 1)
    return (1.0 - (source[:, None] - torch.arange(size)).abs()).clamp(min=0.0).float()


def export_classifier(module: WaveformClassifier, path: Path) -> None:
    """Write classifier.onnx; its input `length` may be left out and then means all samples. Raises BundleError."""
    example = {"waveform": torch.randn(2, 30_000), LENGTH: torch.tensor([30_000, 20_000])}
    batch, sample = Dim("batch", min=1, max=2**20), Dim("sample", min=1, max=2**31)
    shapes = {"waveform": {0: batch, 1: sample}, LENGTH: {0: batch}}
    model = export_module(module.eval(), example, shapes, OUTPUTS)
    require_symbolic(model, {"waveform": (0, 1)})
    _make_length_optional(model)
    save_graph(model, path, {LABELS_KEY: ",".join(module.classifier.labels)})


def _make_length_optional(model: onnx.ModelProto) -> None:
    """Give `length` a default, expanded to the batch: ONNX calls an input with an initializer optional."""
    graph, each = model.graph, f"{LENGTH}_of_each"
    for node in graph.node:
        node.input[:] = [each if name == LENGTH else name for name in node.input]
    count = onnx.helper.make_node("Shape", ["waveform"], ["batch_size"], start=0, end=1)
    graph.node.insert(0, count)
    graph.node.insert(1, onnx.helper.make_node("Expand", [LENGTH, "batch_size"], [each]))
    graph.initializer.append(onnx.helper.make_tensor(LENGTH, onnx.TensorProto.INT64, [1], [EVERYTHING]))
    value = next(value for value in graph.input if value.name == LENGTH)
    value.type.tensor_type.shape.dim[0].dim_param = "lengths"

"""Clips of any length to batches of one size: silence trimmed, level set, cropped or padded, on the device."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Float, Int64
from numpy.typing import NDArray
from torch import Tensor

from sermodels.config import ClipConfig, FrontEndConfig

DEFAULT_TOP_DB = 80.0
VIEW_REACH_FRAMES = 15
"""How far from the middle the views of a short clip lie: 0.17 s, enough to average over a ResNet's strides."""


def frames_of(duration_s: float, config: FrontEndConfig) -> int:
    """Number of centred frames that a recording of this duration has."""
    return 1 + int(duration_s * config.sample_rate_hz) // config.hop_length


def trim_silence(log_mel: NDArray[np.floating], trim_db: float) -> NDArray[np.floating]:
    """Cut the frames at either end that are more than `trim_db` below the loudest one; shape (mel, frame)."""
    level_db = 10.0 * np.log10(np.sum(10.0 ** (log_mel.astype(np.float64) / 10.0), axis=0))
    loud = np.flatnonzero(level_db >= level_db.max() - trim_db)
    return log_mel[:, loud[0] : loud[-1] + 1]


def view_offsets(lengths: Int64[Tensor, " batch"], frames: int, clip: ClipConfig) -> Int64[Tensor, "batch view"]:
    """Where evaluation places a clip of so many frames, once for each view: from the first frame, or around the middle.

    The views of a clip that is longer than `frames` cover it from its beginning to its end; those of a shorter one
    lie within VIEW_REACH_FRAMES of the middle.
    """
    room = frames - lengths
    if clip.crop == "start":
        return torch.zeros_like(room)[:, None]
    reach = torch.div(-room, 2, rounding_mode="floor").clamp(min=VIEW_REACH_FRAMES)
    place = 2 * torch.arange(clip.views, device=lengths.device) - (clip.views - 1)
    shift = torch.div(place * reach[:, None], max(1, clip.views - 1), rounding_mode="floor")
    return torch.div(room, 2, rounding_mode="floor")[:, None] + shift


@dataclass(frozen=True)
class ClipSet:
    """Log-mels of many clips as one ragged tensor, ready to be gathered into batches on its device.

    `values` (mel, all frames) in dB as float16; `starts`, `lengths` and `labels` (clip,) int64; `floor_db` (clip,)
    the level of digital silence in each clip, with which it is padded.
    """

    values: Tensor
    starts: Int64[Tensor, " clip"]
    lengths: Int64[Tensor, " clip"]
    floor_db: Float[Tensor, " clip"]
    labels: Int64[Tensor, " clip"]

    @staticmethod
    def build(
        log_mels: Sequence[NDArray[np.floating]],
        labels: Sequence[int],
        *,
        trim_db: float | None = None,
        level: str = "keep",
        top_db: float = DEFAULT_TOP_DB,
    ) -> "ClipSet":
        """Trim, level and join log-mels of shape (mel, frame) in dB."""
        prepared, floors = [], []
        for log_mel in log_mels:
            clip = log_mel if trim_db is None else trim_silence(log_mel, trim_db)
            offset_db = float(clip.mean(dtype=np.float64)) if level == "clip" else 0.0
            prepared.append((clip.astype(np.float32) - offset_db).astype(np.float16))
            floors.append(float(clip.max()) - offset_db - top_db)
        lengths = np.array([clip.shape[1] for clip in prepared], dtype=np.int64)
        return ClipSet(
            values=torch.from_numpy(np.concatenate(prepared, axis=1)),
            starts=torch.from_numpy(np.concatenate([[0], np.cumsum(lengths)[:-1]]).astype(np.int64)),
            lengths=torch.from_numpy(lengths),
            floor_db=torch.tensor(floors, dtype=torch.float32),
            labels=torch.tensor(list(labels), dtype=torch.int64),
        )

    @staticmethod
    def from_config(
        log_mels: Sequence[NDArray[np.floating]], labels: Sequence[int], clip: ClipConfig, front_end: FrontEndConfig
    ) -> "ClipSet":
        """Clips prepared as the classifier's config says."""
        return ClipSet.build(log_mels, labels, trim_db=clip.trim_db, level=clip.level, top_db=front_end.top_db)

    def __len__(self) -> int:
        """Number of clips."""
        return len(self.starts)

    @cached_property
    def _lengths_here(self) -> NDArray[np.int64]:
        """The lengths in the processor's memory, so that no step waits for a GPU."""
        lengths: NDArray[np.int64] = self.lengths.cpu().numpy()
        return lengths

    def to(self, device: torch.device) -> "ClipSet":
        """The same clips on another device."""
        return ClipSet(*(getattr(self, name).to(device) for name in self.__dataclass_fields__))

    def join(self, other: "ClipSet") -> "ClipSet":
        """These clips followed by those of `other`."""
        return ClipSet(
            values=torch.cat([self.values, other.values], dim=1),
            starts=torch.cat([self.starts, other.starts + self.values.shape[1]]),
            lengths=torch.cat([self.lengths, other.lengths]),
            floor_db=torch.cat([self.floor_db, other.floor_db]),
            labels=torch.cat([self.labels, other.labels]),
        )

    def batch(
        self, indices: Int64[Tensor, " batch"], offsets: Int64[Tensor, " batch"], frames: int
    ) -> Float[Tensor, "batch mel frame"]:
        """Gather clips, each placed at its offset: positive pads in front, negative crops the beginning."""
        position = torch.arange(frames, device=self.values.device) - offsets[:, None]
        length = self.lengths[indices][:, None]
        inside = (position >= 0) & (position < length)
        columns = self.starts[indices][:, None] + position.clamp(min=0).minimum(length - 1)
        cells = self.values[:, columns].transpose(0, 1).float()
        return torch.where(inside[:, None, :], cells, self.floor_db[indices][:, None, None])

    def evaluation_offsets(
        self, indices: Int64[Tensor, " batch"], frames: int, clip: ClipConfig
    ) -> Int64[Tensor, "batch view"]:
        """Offsets without chance, one for each of the config's views."""
        return view_offsets(self.lengths[indices], frames, clip)

    def training_offsets(
        self, indices: Int64[Tensor, " batch"], frames: int, crop: str, rng: np.random.Generator
    ) -> Int64[Tensor, " batch"]:
        """Offsets for training: the first frame, or uniform over every place where the clip fits or fills.

        `indices` lie in the processor's memory, the offsets on the clips' device.
        """
        if crop == "start":
            return torch.zeros_like(indices, device=self.values.device)
        room = frames - self._lengths_here[indices.numpy()]
        low, high = np.minimum(room, 0), np.maximum(room, 0)
        return torch.from_numpy(rng.integers(low, high, endpoint=True)).to(self.values.device, non_blocking=True)


def statistics_of(
    clips: ClipSet, indices: Int64[Tensor, " some"]
) -> tuple[Float[Tensor, " mel"], Float[Tensor, " mel"]]:
    """Mean and standard deviation of each mel band over the unpadded frames of the given (training) clips."""
    columns = torch.cat(
        [torch.arange(int(s), int(s + n)) for s, n in zip(clips.starts[indices], clips.lengths[indices], strict=True)]
    )
    frames = clips.values[:, columns].double()
    return frames.mean(dim=1).float(), frames.std(dim=1).clamp(min=1e-3).float()

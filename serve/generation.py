"""Generation and editing on the one-step graph: a host loop that can show its progress and be cancelled."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file

from serve.answers import EditRequest, GenerationRequest
from serve.bundle import CONDITIONS, UNET_STEP, VOCODER, Bundle
from serve.errors import InputError, UnavailableError
from serve.sessions import Session, scalar

LogMels = NDArray[np.float32]
Steps = Iterator[tuple[int, int, LogMels]]
"""After each step: its number from 1, the number of steps, and log-mels (clip, mel, frame) in dB so far."""


@dataclass(frozen=True)
class Generator:
    """The diffusion half of a bundle."""

    bundle: Bundle
    step: Session
    vocoder: Session
    tensors: dict[str, NDArray[np.float32]]
    observe: Callable[[str, float], None]

    @staticmethod
    def load(
        bundle: Bundle, open_session: Callable[[str], Session], observe: Callable[[str, float], None]
    ) -> "Generator":
        """Open the graphs. Raises UnavailableError if the bundle cannot generate, and BundleError."""
        if bundle.manifest.diffusion is None:
            raise UnavailableError("this server's bundle has no diffusion model: it classifies only")
        tensors = load_file(bundle.path(CONDITIONS))
        return Generator(bundle, open_session(UNET_STEP), open_session(VOCODER), tensors, observe)

    def check(self, request: GenerationRequest | EditRequest) -> None:
        """Raise InputError for an emotion or a number of steps that the model does not have."""
        self.emotion(request.emotion)
        self.sigmas(request.steps)

    def generate(self, request: GenerationRequest) -> Steps:
        """Denoise new clips; each has its own noise, so that a clip does not depend on how many are asked for."""
        sigmas = self.sigmas(request.steps)
        draws = [self._draw(request, number) for number in range(request.count)]
        condition = np.stack([condition for condition, _ in draws])
        x = np.stack([noise for _, noise in draws]) * sigmas[0]
        return self._denoise(x, sigmas, condition, request.guidance_scale)

    def edit(self, log_mel: LogMels, request: EditRequest) -> Steps:
        """Noise a log-mel (mel, frame) part-way and denoise it towards another emotion (SDEdit, Meng et al. 2022).

        `strength` 1 starts from pure noise; the recording is cut or padded to the model's length, its middle kept.
        """
        sigmas = self.sigmas(request.steps)
        kept = max(1, round(request.strength * (len(sigmas) - 1)))
        sigmas = sigmas[-kept - 1 :]
        condition, noise = self._draw(request, 0)
        x = self._standardized(log_mel) + sigmas[0] * noise
        return self._denoise(x[None].astype(np.float32), sigmas, condition[None], request.guidance_scale)

    def sound(self, log_mels: LogMels) -> NDArray[np.float32]:
        """Waveforms (clip, sample) of log-mels (clip, mel, frame) in dB."""
        waveform: NDArray[np.float32] = self.vocoder.run({"log_mel": log_mels})["waveform"]
        return waveform

    def emotion(self, name: str) -> int:
        """An emotion's number. Raises InputError."""
        labels = self.bundle.manifest.labels
        if name not in labels:
            raise InputError(f"unknown emotion {name!r}; allowed: {', '.join(labels)}")
        return labels.index(name)

    def sigmas(self, steps: int | None) -> NDArray[np.float32]:
        """Falling noise levels of `steps` steps with a final 0, as in training's schedule. Raises InputError."""
        diffusion = self.bundle.manifest.diffusion
        assert diffusion is not None
        rising = np.array(diffusion.sigmas, dtype=np.float32)
        count = steps or diffusion.steps
        if count > len(rising):
            raise InputError(f"steps={count} is more than the model has: {len(rising)}")
        return np.append(rising[schedule_places(len(rising), count)], np.float32(0.0))

    def _draw(self, request: GenerationRequest | EditRequest, number: int) -> tuple[NDArray[np.float32], LogMels]:
        """Condition (width,) and unit noise (mel, frame) of one clip, from its own generator."""
        diffusion = self.bundle.manifest.diffusion
        assert diffusion is not None
        emotion = self.emotion(request.emotion)
        rng = np.random.default_rng([request.seed, emotion, number])
        centroid, spread = self.tensors["centroids"][emotion], self.tensors["spread"][emotion]
        varied = diffusion.variation * spread * rng.standard_normal(len(spread), dtype=np.float32)
        intensity = request.intensity if isinstance(request, GenerationRequest) else 1.0
        shape = (len(self.tensors["mean"]), diffusion.frames)
        noise = rng.standard_normal(shape, dtype=np.float32)
        return (intensity * centroid + varied).astype(np.float32), noise

    def _denoise(
        self, x: LogMels, sigmas: NDArray[np.float32], condition: NDArray[np.float32], guidance_scale: float | None
    ) -> Steps:
        """The host loop: what sampler.onnx does in one graph."""
        diffusion = self.bundle.manifest.diffusion
        assert diffusion is not None
        scale = scalar(diffusion.guidance_scale if guidance_scale is None else guidance_scale, np.float32)
        previous, steps = x, len(sigmas) - 1
        for number in range(steps):
            began = time.perf_counter()
            around = sigmas[[max(number - 1, 0), number, number + 1]]
            results = self.step.run(
                {"x": x, "previous": previous, "sigmas": around, "condition": condition, "guidance_scale": scale}
            )
            x, previous = results["x_next"], results["denoised"]
            self.observe("generation_step_s", time.perf_counter() - began)
            yield number + 1, steps, results["log_mel"]

    def _standardized(self, log_mel: LogMels) -> LogMels:
        """A recording's log-mel as the diffusion model was trained on it, in its own length and z-score."""
        diffusion = self.bundle.manifest.diffusion
        assert diffusion is not None
        loudness_db = 10.0 * np.log10(np.sum(10.0 ** (log_mel.astype(np.float64) / 10.0), axis=0))
        if diffusion.trim_db is not None:
            loud = np.flatnonzero(loudness_db >= loudness_db.max() - diffusion.trim_db)
            log_mel = log_mel[:, loud[0] : loud[-1] + 1]
        if diffusion.level == "clip":
            log_mel = log_mel - log_mel.mean()
        floor_db = log_mel.max() - self.bundle.manifest.front_end.top_db
        spare = diffusion.frames - log_mel.shape[1]
        if spare < 0:
            log_mel = log_mel[:, -spare // 2 :][:, : diffusion.frames]
        padding = (max(spare, 0) // 2, max(spare, 0) - max(spare, 0) // 2)
        padded = np.pad(log_mel, ((0, 0), padding), constant_values=float(floor_db))
        standardized: LogMels = (padded - self.tensors["mean"][:, None]) / self.tensors["std"][:, None]
        return standardized


def schedule_places(timesteps: int, steps: int) -> NDArray[np.int64]:
    """Timesteps that a sampler visits: torch.linspace(timesteps - 1, 0, steps).round() in single precision."""
    last = np.float32(timesteps - 1)
    if steps == 1:
        return np.array([timesteps - 1])
    stride = last / np.float32(steps - 1)
    count = np.arange(steps)
    from_above = last - stride * count.astype(np.float32)
    from_below = stride * (steps - 1 - count).astype(np.float32)
    return np.where(count < steps // 2, from_above, from_below).round().astype(np.int64)

"""A clip by a Python loop over the one-step session, and librosa's Griffin-Lim for its sound."""

from pathlib import Path

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from safetensors.numpy import load_file

from serve.bundle import CONDITIONS, UNET_STEP, load_bundle
from serve.generation import schedule_places

ITERATIONS = 32


class NotebookGenerator:
    """Generates in this process, without a server between it and the caller."""

    def __init__(self, folder: Path, *, threads: int) -> None:
        """Of the bundle in `folder`."""
        self.manifest = load_bundle(folder).manifest
        self.tensors = load_file(folder / CONDITIONS)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        self.session = onnxruntime.InferenceSession(folder / UNET_STEP, options, providers=["CPUExecutionProvider"])

    def log_mel(self, emotion: str, seed: int) -> NDArray[np.float32]:
        """Log-mel (mel, frame) in dB, from the noise that the server draws for the same request."""
        diffusion = self.manifest.diffusion
        assert diffusion is not None
        number = self.manifest.labels.index(emotion)
        rng = np.random.default_rng([seed, number, 0])
        spread = self.tensors["spread"][number]
        varied = diffusion.variation * spread * rng.standard_normal(len(spread), dtype=np.float32)
        condition = (self.tensors["centroids"][number] + varied)[None].astype(np.float32)
        noise = rng.standard_normal((1, len(self.tensors["mean"]), diffusion.frames), dtype=np.float32)
        rising = np.array(diffusion.sigmas, dtype=np.float32)
        sigmas = np.append(rising[schedule_places(len(rising), diffusion.steps)], np.float32(0.0))
        x = previous = noise * sigmas[0]
        scale = np.array(diffusion.guidance_scale, dtype=np.float32)
        for step in range(diffusion.steps):
            around = sigmas[[max(step - 1, 0), step, step + 1]]
            given = {"x": x, "previous": previous, "sigmas": around, "condition": condition, "guidance_scale": scale}
            x, previous, log_mel = self.session.run(["x_next", "denoised", "log_mel"], given)
        result: NDArray[np.float32] = log_mel[0]
        return result

    def sound(self, log_mel: NDArray[np.float32]) -> NDArray[np.float32]:
        """The waveform (sample,) of a log-mel."""
        import librosa

        front_end = self.manifest.front_end
        waveform: NDArray[np.float32] = librosa.feature.inverse.mel_to_audio(
            librosa.db_to_power(log_mel),
            sr=front_end.sample_rate_hz,
            n_fft=front_end.n_fft,
            hop_length=front_end.hop_length,
            n_iter=ITERATIONS,
            fmin=front_end.f_min_hz,
            fmax=front_end.f_max_hz,
        )
        return waveform

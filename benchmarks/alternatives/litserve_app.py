"""LitServe with the same ONNX session: takes the recording as a WAV file, as LitServe's examples take pictures.

`python litserve_app.py MODEL PORT THREADS BATCH`, in the environment of peers.lock; runs without this project's code.
"""

import sys
from io import BytesIO
from typing import Any

import litserve
import numpy as np
import onnxruntime
import soundfile
from fastapi import Request

BATCH_TIMEOUT_S = 0.004


class ClassifierAPI(litserve.LitAPI):  # type: ignore[misc]
    """A waveform to probabilities."""

    def __init__(self, model: str, threads: int, batch: int) -> None:
        """`batch`: requests that may run together."""
        super().__init__(max_batch_size=batch, batch_timeout=BATCH_TIMEOUT_S if batch > 1 else 0.0)
        self.model, self.threads, self.batched = model, threads, batch > 1

    def setup(self, device: str) -> None:
        """Open the session in the worker."""
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self.threads
        self.session = onnxruntime.InferenceSession(self.model, options, providers=["CPUExecutionProvider"])

    def decode_request(self, request: Request) -> Any:
        """The waveform (sample,) of an uploaded WAV file."""
        waveform, _ = soundfile.read(BytesIO(request["file"].file.read()), dtype="float32")
        return waveform

    def batch(self, inputs: list[Any]) -> Any:
        """Waveforms of one length."""
        return np.stack(inputs)

    def predict(self, x: Any) -> Any:
        """Probabilities, a row for each waveform."""
        rows = self.session.run(["probabilities"], {"waveform": x if self.batched else x[None]})[0]
        return rows if self.batched else rows[0]

    def unbatch(self, output: Any) -> list[Any]:
        """A row for each request."""
        return list(output)

    def encode_response(self, output: Any) -> dict[str, list[float]]:
        """As JSON."""
        return {"probabilities": output.tolist()}


if __name__ == "__main__":
    model, port, threads, batch = sys.argv[1], *map(int, sys.argv[2:])
    server = litserve.LitServer(ClassifierAPI(model, threads, batch), accelerator="cpu", workers_per_device=1)
    server.run(host="127.0.0.1", port=port, generate_client_file=False, log_level="warning")

"""The same ONNX graph as an MLflow model, for `mlflow models serve`: JSON in, all of the graph's outputs out."""

from pathlib import Path

import mlflow.onnx
import numpy as np
import onnx
from mlflow.models import ModelSignature
from mlflow.types import Schema, TensorSpec


def save_model(graph: Path, folder: Path, *, threads: int) -> None:
    """Write the model with its signature, as `mlflow.onnx.log_model` would into a run."""
    signature = ModelSignature(inputs=Schema([TensorSpec(np.dtype(np.float32), (-1, -1), "waveform")]))
    mlflow.onnx.save_model(
        onnx.load(graph),
        folder,
        signature=signature,
        pip_requirements=["numpy", "onnx", "onnxruntime-gpu"],
        onnx_execution_providers=["CPUExecutionProvider"],
        onnx_session_options={"intra_op_num_threads": threads},
        save_as_external_data=False,
    )


def command(mlflow: Path, folder: Path, port: int) -> list[str]:
    """How it is served."""
    return [
        str(mlflow),
        "models",
        "serve",
        "-m",
        str(folder),
        "--env-manager",
        "local",
        "-h",
        "127.0.0.1",
        "-p",
        str(port),
    ]

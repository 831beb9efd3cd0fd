"""The registered classifier as MLflow loads it: log-mels in dB in, probabilities out."""

from typing import Any

import mlflow
import numpy as np
import torch
from mlflow.pyfunc import PythonModel, PythonModelContext
from mlflow.types.type_hints import TypeFromExample
from numpy.typing import NDArray

from sermodels.classifier_checkpoint import load_classifier


class ClassifierModel(PythonModel):
    """Wraps the checkpoint; labels and config are in its header."""

    def load_context(self, context: PythonModelContext) -> None:
        """Read the checkpoint among the model's artifacts."""
        self.classifier, self.header = load_classifier(context.artifacts["classifier"])

    def predict(
        self, context: PythonModelContext, model_input: TypeFromExample, params: Any = None
    ) -> NDArray[np.float32]:
        """Probabilities (clip, emotion) of log-mels (clip, mel, frame) in dB, in the order of the header's labels."""
        with torch.inference_mode():
            return torch.softmax(
                self.classifier(torch.from_numpy(np.asarray(model_input, dtype=np.float32))), dim=1
            ).numpy()


mlflow.models.set_model(ClassifierModel())

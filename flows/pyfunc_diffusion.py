"""The registered diffusion model as MLflow loads it: emotions in, log-mels in dB out."""

from typing import Any

import mlflow
import numpy as np
import pandas as pd
from mlflow.pyfunc import PythonModel, PythonModelContext
from numpy.typing import NDArray

from sermodels.config import SynthesisConfig
from sermodels.diffusion.model import DiffusionModel
from sermodels.errors import ConfigError
from sermodels.synthesis import Draw, sample_log_mels


class SamplerModel(PythonModel):  # type: ignore[misc]  # mlflow's class is untyped
    """Wraps the diffusion model with the default sampler."""

    def load_context(self, context: PythonModelContext) -> None:
        """Read the denoiser among the model's artifacts."""
        self.model = DiffusionModel.load(context.artifacts["denoiser"])

    def predict(self, context: PythonModelContext, model_input: pd.DataFrame, params: Any = None) -> NDArray[np.float32]:
        """One log-mel (mel, frame) a row of `emotion` and `number`; the same row gives the same log-mel."""
        labels = list(self.model.embeddings.labels)
        if unknown := set(model_input["emotion"]) - set(labels):
            raise ConfigError(f"unknown emotion {sorted(unknown)[0]!r}; allowed: {', '.join(labels)}")
        rows = zip(model_input["emotion"], model_input["number"], strict=True)
        draws = [Draw(labels.index(emotion), int(number)) for emotion, number in rows]
        return sample_log_mels(self.model, draws, SynthesisConfig(), seed=0).numpy()


mlflow.models.set_model(SamplerModel())

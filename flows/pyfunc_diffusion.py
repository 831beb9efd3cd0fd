"""The registered diffusion model as MLflow loads it: emotions in, log-mels in dB out."""

from typing import Any, cast

import mlflow
import numpy as np
import pandas as pd
from mlflow.pyfunc import PythonModel, PythonModelContext
from mlflow.types.type_hints import TypeFromExample
from numpy.typing import NDArray

from sermodels.config import SynthesisConfig
from sermodels.diffusion.model import DiffusionModel
from sermodels.errors import ConfigError
from sermodels.synthesis import Draw, sample_log_mels


class SamplerModel(PythonModel):
    """Wraps the diffusion model with the default sampler."""

    def load_context(self, context: PythonModelContext) -> None:
        """Read the denoiser among the model's artifacts."""
        self.model = DiffusionModel.load(context.artifacts["denoiser"])

    def predict(
        self, context: PythonModelContext, model_input: TypeFromExample, params: Any = None
    ) -> NDArray[np.float32]:
        """One log-mel (mel, frame) a row of `emotion` and `number`; the same row gives the same log-mel."""
        rows = cast(pd.DataFrame, model_input)
        labels = list(self.model.embeddings.labels)
        if unknown := set(rows["emotion"]) - set(labels):
            raise ConfigError(f"unknown emotion {sorted(unknown)[0]!r}; allowed: {', '.join(labels)}")
        pairs = zip(rows["emotion"], rows["number"], strict=True)
        draws = [Draw(labels.index(emotion), int(number)) for emotion, number in pairs]
        return sample_log_mels(self.model, draws, SynthesisConfig(), seed=0).numpy()


mlflow.models.set_model(SamplerModel())

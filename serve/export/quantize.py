"""classifier.int8.onnx: static quantisation of the backbone, calibrated on training clips."""

import logging
import tempfile
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

from serve.bundle import LABELS_KEY
from serve.export.graph import save_graph

Waveforms = Sequence[NDArray[np.float32]]
_ERRORS_ONLY = 3
LARGEST_LOSS = 0.005
"""UAR that the int8 graph may lose on development clips and still be kept."""


class _Recordings(CalibrationDataReader):  # type: ignore[misc]
    """Training clips one by one, as the calibrator asks for them."""

    def __init__(self, waveforms: Waveforms) -> None:
        self._waveforms = iter(waveforms)

    def get_next(self) -> dict[str, NDArray[np.float32]] | None:
        """The next clip as the graph's input."""
        waveform = next(self._waveforms, None)
        return None if waveform is None else {"waveform": waveform[None]}


def quantize_classifier(source: Path, target: Path, training: Waveforms) -> None:
    """Write the graph with convolutions and head in 8 bits (QDQ, weights per channel); the front end stays as it is.

    Raises StorageError.
    """
    onnxruntime.set_default_logger_severity(_ERRORS_ONLY)  # the calibrator's sessions take it from there
    loggers = [logging.getLogger(), logging.getLogger("onnxruntime.quantization")]
    levels = [logger.level for logger in loggers]
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        try:
            quantize_static(
                source,
                Path(folder) / "int8.onnx",
                _Recordings(training),
                quant_format=QuantFormat.QDQ,
                per_channel=True,
                activation_type=QuantType.QUInt8,
                weight_type=QuantType.QInt8,
                op_types_to_quantize=["Conv", "Gemm"],
            )
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)
        model = onnx.load(Path(folder) / "int8.onnx")
    labels = next(entry.value for entry in onnx.load(source).metadata_props if entry.key == LABELS_KEY)
    del model.opset_import[:]
    model.opset_import.append(onnx.helper.make_opsetid("", _opset(source)))
    save_graph(model, target, {LABELS_KEY: labels})


def _opset(path: Path) -> int:
    """The graph's opset."""
    return int(onnx.load(path).opset_import[0].version)

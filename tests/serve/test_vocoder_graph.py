"""vocoder.onnx against the torch module that it was exported from, for batches and lengths that it was not traced with.

Griffin-Lim steps by the phase of each cell, and in single precision the phase of a quiet cell is a matter of rounding:
two programs differ by more than rounding, and the more so the more iterations there are. Samples are compared with a
tolerance that was measured (1.1e-3 at worst for 32 iterations, a peak of 0.7 and real speech), and what is heard by
the log-mel.
"""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from sermodels.config import FrontEndConfig
from sermodels.features import LogMel
from sermodels.griffin_lim import PEAK, GriffinLim
from serve.export.vocoder_graph import export_griffin_lim, export_vocoder

CHECKPOINT = (
    Path(__file__).resolve().parents[2].parent / "shared" / "data" / "weights" / "hifigan_v2_22k_80mel.safetensors"
)
CONFIG = FrontEndConfig()
BATCHES, FRAMES = (1, 2, 3, 8), (1, 2, 32, 200, 800)
every_size = pytest.mark.parametrize(
    ("batch", "frames"), [(b, f) for b in BATCHES for f in FRAMES if b * f <= 1_600], ids=lambda value: str(value)
)

Exported = tuple[nn.Module, Path]


@pytest.fixture(scope="module")
def griffin_lim(tmp_path_factory: pytest.TempPathFactory) -> Exported:
    path = tmp_path_factory.mktemp("griffin-lim") / "vocoder.onnx"
    return export_vocoder(CONFIG, path), path


@pytest.fixture(scope="module")
def hifigan(tmp_path_factory: pytest.TempPathFactory) -> Exported:
    if not CHECKPOINT.is_file():
        pytest.skip(f"no weights at {CHECKPOINT.parent}")
    path = tmp_path_factory.mktemp("hifigan") / "vocoder.onnx"
    return export_vocoder(CONFIG, path, hifigan=CHECKPOINT), path


def speechlike(batch: int, frames: int, n_mels: int = 80) -> NDArray[np.float32]:
    """Bands that swell and fade, 60 dB between the loudest and the quietest."""
    rng = np.random.default_rng(frames)
    time, band = np.arange(frames) / 86.0, np.arange(n_mels)[:, None] / n_mels
    swell = np.sin(2 * np.pi * (3.0 * time + rng.uniform(size=(batch, 1, 1)))) - 2.0 * np.abs(band - 0.2)
    return (-40.0 + 20.0 * swell + rng.normal(0.0, 3.0, (batch, n_mels, frames))).astype(np.float32)


def run_both(exported: Exported, log_mel: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    module, path = exported
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (onnx_waveform,) = session.run(["waveform"], {"log_mel": log_mel})
    with torch.inference_mode():
        return onnx_waveform, module(torch.from_numpy(log_mel)).numpy()


def mean_distance_db(first: NDArray[np.float32], second: NDArray[np.float32]) -> float:
    """Of the log-mels of two batches, cells within 40 dB of each clip's loudest."""
    ours, theirs = (LogMel(CONFIG)(torch.from_numpy(waveform)) for waveform in (first, second))
    audible = theirs > theirs.amax(dim=(1, 2), keepdim=True) - 40.0
    return float((ours - theirs)[audible].abs().mean())


@every_size
def test_griffin_lim_equals_the_module(griffin_lim: Exported, batch: int, frames: int) -> None:
    ours, theirs = run_both(griffin_lim, speechlike(batch, frames))

    assert ours.shape == theirs.shape == (batch, frames * CONFIG.hop_length)
    np.testing.assert_allclose(ours, theirs, atol=5e-3)
    assert mean_distance_db(ours, theirs) < 0.02


@every_size
def test_hifigan_equals_the_module(hifigan: Exported, batch: int, frames: int) -> None:
    ours, theirs = run_both(hifigan, speechlike(batch, frames))

    assert ours.shape == theirs.shape == (batch, frames * CONFIG.hop_length)
    np.testing.assert_allclose(ours, theirs, atol=1e-3)


@pytest.mark.parametrize("name", ["griffin_lim", "hifigan"])
@pytest.mark.parametrize("level_db", [-100.0, 0.0])
def test_silence_gives_numbers(request: pytest.FixtureRequest, name: str, level_db: float) -> None:
    exported: Exported = request.getfixturevalue(name)

    ours, theirs = run_both(exported, np.full((2, 80, 32), level_db, np.float32))

    assert np.isfinite(ours).all()
    assert np.isfinite(theirs).all()
    np.testing.assert_allclose(np.abs(ours).max(axis=1), PEAK, rtol=1e-4)


@pytest.mark.parametrize(("name", "limit_mb"), [("griffin_lim", 5.0), ("hifigan", 10.0)])
def test_the_file_is_small_checked_and_free_in_batch_and_frame(
    request: pytest.FixtureRequest, name: str, limit_mb: float
) -> None:
    _, path = request.getfixturevalue(name)
    model = onnx.load(path)

    onnx.checker.check_model(model, full_check=True)
    assert path.stat().st_size < limit_mb * 1e6
    assert {entry.domain: entry.version for entry in model.opset_import}.get("") == 18
    (given,), (made,) = model.graph.input, model.graph.output
    batch, mel, frame = given.type.tensor_type.shape.dim
    assert (given.name, made.name) == ("log_mel", "waveform")
    assert (batch.dim_param, mel.dim_value, frame.dim_param) == ("batch", 80, "frame")


def test_another_front_end_sample_by_sample(tmp_path: Path) -> None:
    config = FrontEndConfig(sample_rate_hz=16_000, n_fft=512, hop_length=160, n_mels=64, f_max_hz=8_000.0)
    module = GriffinLim(config, iterations=2).eval()
    export_griffin_lim(module, config.n_mels, tmp_path / "vocoder.onnx")

    for batch, frames in ((1, 1), (3, 50)):
        ours, theirs = run_both((module, tmp_path / "vocoder.onnx"), speechlike(batch, frames, config.n_mels))

        assert ours.shape == (batch, frames * 160)
        np.testing.assert_allclose(ours, theirs, atol=1e-4)


def test_the_export_says_nothing(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    export_griffin_lim(GriffinLim(CONFIG, iterations=1).eval(), CONFIG.n_mels, tmp_path / "vocoder.onnx")

    assert capfd.readouterr() == ("", "")

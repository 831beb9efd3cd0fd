"""The exported graphs against torch and against the training pipeline itself."""

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray

from sermodels.classifier_checkpoint import load_classifier
from sermodels.clips import ClipSet, frames_of
from sermodels.config import Config
from sermodels.diffusion.schedule import sampling_sigmas
from sermodels.features import LogMel
from serve.answers import GenerationRequest
from serve.bundle import CLASSIFIER, SAMPLER, UNET_STEP, load_bundle
from serve.export.classifier_graph import WaveformClassifier, bilinear_matrix, export_classifier
from serve.generation import Generator, schedule_places
from serve.sessions import Session, scalar
from tests.serve.conftest import CONFIG, small_classifier

SECOND = 22_050


def noise(samples: int, *, seed: int = 0) -> NDArray[np.float32]:
    rng = np.random.default_rng(seed)
    envelope = np.clip(np.sin(np.linspace(-0.5, 3.6, samples)), 0.0005, 1.0)
    return (0.2 * envelope * rng.standard_normal(samples)).astype(np.float32)


def trained_answer(checkpoint: Path, config: Config, waveform: NDArray[np.float32]) -> NDArray[np.float32]:
    """Probabilities by the way that evaluation takes: front end, float16 cache, ClipSet, classifier."""
    classifier, _ = load_classifier(checkpoint)
    with torch.inference_mode():
        log_mel = LogMel(config.front_end)(torch.from_numpy(waveform)[None])[0].numpy().astype(np.float16)
        clips = ClipSet.from_config([log_mel], [0], config.clip, config.front_end)
        frames, only = frames_of(config.clip.heard_s, config.front_end), torch.tensor([0])
        views = clips.evaluation_offsets(only, frames, config.clip)[0]
        batch = torch.cat([clips.batch(only, place[None], frames) for place in views])
        embedding = classifier.embed(batch).mean(dim=0)
        probabilities: NDArray[np.float32] = torch.softmax(classifier.fc(embedding), dim=0).numpy()
    return probabilities


@pytest.fixture(scope="module")
def classifier(bundle_folder: Path) -> Session:
    return Session(bundle_folder / CLASSIFIER, device="cpu")


@pytest.mark.parametrize("samples", [400, SECOND, 2 * SECOND + 77, 7 * SECOND])
def test_a_served_answer_is_that_of_the_evaluation(
    checkpoints: tuple[Path, Path], classifier: Session, samples: int
) -> None:
    waveform = noise(samples)
    served = classifier.run({"waveform": waveform[None]})["probabilities"][0]
    np.testing.assert_allclose(served, trained_answer(checkpoints[0], CONFIG, waveform), atol=1e-4)


@pytest.mark.parametrize(
    "changes",
    [
        {"clip": {"duration_s": 1.0}},
        {"clip": {"duration_s": 1.0, "trim_db": 30.0}, "classifier": {"image_size": [64, 48]}},
        {"clip": {"duration_s": 1.0, "level": "clip"}, "front_end": {"n_mels": 40, "n_fft": 512, "hop_length": 200}},
        {"clip": {"duration_s": 1.0, "crop": "random", "views": 3}, "classifier": {"image_size": [64, 48]}},
        {"clip": {"duration_s": 1.0, "level": "clip"}, "classifier": {"smoothing": [1, 3]}},
        {
            "clip": {"duration_s": 1.0, "crop": "random", "evaluation_s": 1.4, "trim_db": 40.0},
            "classifier": {"image_size": None},
        },
    ],
    ids=["start", "resized", "front end", "views", "smoothing", "longer than in training"],
)
def test_other_configs_agree_as_well(tmp_path: Path, changes: dict[str, dict[str, object]]) -> None:
    values = CONFIG.model_dump()
    network = {**values["classifier"], **changes.get("classifier", {})}
    config = Config.model_validate(
        {**values, "clip": {}, "diffusion": {"patch": 2, "frames": 64}, **changes, "classifier": network}
    )
    checkpoint = small_classifier(tmp_path, config)
    module = WaveformClassifier(load_classifier(checkpoint)[0], config.front_end, config.clip)
    export_classifier(module, tmp_path / CLASSIFIER)
    session = Session(tmp_path / CLASSIFIER, device="cpu")
    for samples in (300, SECOND, 3 * SECOND):
        served = session.run({"waveform": noise(samples)[None]})["probabilities"][0]
        np.testing.assert_allclose(served, trained_answer(checkpoint, config, noise(samples)), atol=1e-4)


def test_an_answer_does_not_depend_on_its_batch(classifier: Session) -> None:
    clips = [noise(samples, seed=samples) for samples in (1, 5_000, SECOND, 30_000, 50_001)]
    lengths = np.array([len(clip) for clip in clips])
    batch = np.zeros((len(clips), lengths.max()), dtype=np.float32)
    for row, clip in zip(batch, clips, strict=True):
        row[: len(clip)] = clip
    together = classifier.run({"waveform": batch, "length": lengths})
    for number, clip in enumerate(clips):
        alone = classifier.run({"waveform": clip[None]})
        np.testing.assert_allclose(together["logits"][number], alone["logits"][0], atol=1e-4)
        frames = alone["log_mel"].shape[2]
        np.testing.assert_allclose(together["log_mel"][number, :, :frames], alone["log_mel"][0], atol=1e-4)


@pytest.mark.parametrize("samples", [1, 100, SECOND])
def test_silence_gives_finite_probabilities(classifier: Session, samples: int) -> None:
    results = classifier.run({"waveform": np.zeros((2, samples), dtype=np.float32)})
    assert all(np.isfinite(values).all() for values in results.values())
    np.testing.assert_allclose(results["probabilities"].sum(axis=1), 1.0, atol=1e-6)


@pytest.mark.parametrize("file", [CLASSIFIER, UNET_STEP, SAMPLER])
def test_the_batch_is_free_and_the_opset_is_18(bundle_folder: Path, file: str) -> None:
    model = onnx.load(bundle_folder / file)
    assert [entry.version for entry in model.opset_import if entry.domain == ""] == [18]
    first = model.graph.input[0].type.tensor_type.shape.dim[0]
    assert first.dim_param
    assert not any(node.metadata_props for node in model.graph.node), "the exporter's notes name paths"


def test_resizing_by_matrices_is_bilinear() -> None:
    picture = torch.randn(1, 1, 80, 173, dtype=torch.float64)
    wanted = torch.nn.functional.interpolate(picture, (224, 224), mode="bilinear", align_corners=False)[0, 0]
    resized = bilinear_matrix(80, 224).double() @ picture[0, 0] @ bilinear_matrix(173, 224).T.double()
    torch.testing.assert_close(resized, wanted, atol=1e-5, rtol=0.0)


def test_served_schedules_are_those_of_training(bundle_folder: Path) -> None:
    rising = np.array(load_bundle(bundle_folder).manifest.diffusion.sigmas, dtype=np.float32)  # type: ignore[union-attr]
    for steps in range(1, len(rising) + 1):
        wanted = sampling_sigmas(CONFIG.diffusion, steps).numpy()
        np.testing.assert_array_equal(rising[schedule_places(len(rising), steps)], wanted[:-1])


@pytest.mark.parametrize("timesteps", [50, 51, 200])
def test_places_are_torchs_linspace(timesteps: int) -> None:
    for steps in range(1, timesteps + 1):
        wanted = torch.linspace(timesteps - 1, 0, steps).round().long().numpy()
        np.testing.assert_array_equal(schedule_places(timesteps, steps), wanted)


@pytest.mark.parametrize("steps", [1, 2, 5, 20])
def test_the_loop_in_the_graph_is_the_loop_of_the_host(bundle_folder: Path, steps: int) -> None:
    bundle = load_bundle(bundle_folder)
    generator = Generator.load(
        bundle, lambda file: Session(bundle_folder / file, device="cpu"), lambda name, value: None
    )
    request = GenerationRequest.model_validate({"emotion": "fear", "count": 2, "steps": steps, "seed": 3})
    *_, (number, count, log_mels) = generator.generate(request)
    assert number == count == steps
    draws = [generator._draw(request, place) for place in range(2)]
    inputs = {
        "noise": np.stack([unit for _, unit in draws]),
        "condition": np.stack([condition for condition, _ in draws]),
        "steps": scalar(steps, np.int64),
        "guidance_scale": scalar(CONFIG.synthesis.guidance_scale, np.float32),
    }
    looped = Session(bundle_folder / SAMPLER, device="cpu").run(inputs)["log_mel"]
    np.testing.assert_allclose(looped, log_mels, atol=2e-2)

"""On a GPU: the same answers as on the CPU, and no floating-point work left on the CPU. Skipped where there is none."""

import asyncio
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest

from serve.answers import Classification, GeneratedClip, GenerationRequest
from serve.bundle import CLASSIFIER, UNET_STEP
from serve.errors import DeviceError
from serve.service import Service
from serve.sessions import Session, Tensors, choose_device
from serve.settings import Settings
from tests.serve.serving import some_wav

HAS_CUDA = choose_device("auto") == "cuda"
needs_cuda = pytest.mark.skipif(not HAS_CUDA, reason="onnxruntime finds no CUDA device")
ROWS = 2


@pytest.mark.skipif(HAS_CUDA, reason="this machine has a CUDA device")
def test_cuda_that_is_not_there_is_an_error_not_another_device(bundle_folder: Path, service_settings: Settings) -> None:
    with pytest.raises(DeviceError, match="finds no CUDA device; use auto or cpu"):
        Service.load(bundle_folder, settings=replace(service_settings, device="cuda"))


@needs_cuda
def test_a_gpu_answers_as_the_cpu_does(bundle_folder: Path, service_settings: Settings) -> None:
    async def answers(device: str) -> tuple[Classification, list[GeneratedClip]]:
        service = Service.load(bundle_folder, settings=replace(service_settings, device=device))
        await service.start()
        request = GenerationRequest.model_validate({"emotion": "anger", "count": ROWS})
        clips = [event async for event in service.generate(request) if isinstance(event, GeneratedClip)]
        answer = await service.classify(some_wav(1.5))
        assert service.device == device
        await service.stop()
        return answer, clips

    (cpu, cpu_clips), (gpu, gpu_clips) = asyncio.run(answers("cpu")), asyncio.run(answers("cuda"))

    np.testing.assert_allclose(gpu.probabilities, cpu.probabilities, atol=1e-3)
    np.testing.assert_allclose(gpu.log_mel, cpu.log_mel, atol=1e-2)
    for on_gpu, on_cpu in zip(gpu_clips, cpu_clips, strict=True):
        np.testing.assert_allclose(on_gpu.log_mel, on_cpu.log_mel, atol=0.1)


@needs_cuda
@pytest.mark.parametrize("file", [CLASSIFIER, UNET_STEP])
def test_the_cpu_computes_shapes_only(bundle_folder: Path, tmp_path: Path, file: str) -> None:
    """onnxruntime keeps the arithmetic of shapes, in whole numbers, on the CPU; all else runs on the GPU."""
    placed = placements(bundle_folder / file, tmp_path)

    assert ("CUDAExecutionProvider", "float") in placed
    assert not placed & {("CPUExecutionProvider", kind) for kind in ("float", "double", "float16")}


def placements(graph: Path, folder: Path) -> set[tuple[str, str]]:
    """Execution provider and type of every tensor that a node of the graph makes."""
    inputs = any_inputs(Session(graph, device="cuda"))
    options = ort.SessionOptions()
    options.log_severity_level = 3
    options.enable_profiling, options.profile_file_prefix = True, str(folder / "profile")
    session = ort.InferenceSession(graph, options, providers=["CUDAExecutionProvider", "CPUExecutionProvider"])
    session.run(None, inputs)
    events = json.loads(Path(session.end_profiling()).read_text(encoding="utf-8"))
    nodes = [event["args"] for event in events if event.get("cat") == "Node" and "provider" in event["args"]]
    return {(node["provider"], kind) for node in nodes for made in node.get("output_type_shape", []) for kind in made}


def any_inputs(session: Session) -> Tensors:
    """Something of each required input's type and shape; open sizes are rows first and then a second of sound."""
    rng = np.random.default_rng(0)
    inputs = {}
    for spec in session.inputs:
        if not spec.optional:
            shape = [size if size >= 0 else (ROWS if axis == 0 else 22_050) for axis, size in enumerate(spec.shape)]
            inputs[spec.name] = np.asarray(np.abs(rng.standard_normal(shape)), np.float32)
    return inputs

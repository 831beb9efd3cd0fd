"""The Triton model repository: Triton's own schema reads it, and it says what onnxruntime says of the graphs."""

import importlib.util
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

import onnx
import onnxruntime
import pytest
from google.protobuf import text_format
from onnx import TensorProto, helper

from sermodels.errors import StorageError
from serve.bundle import OPSET, load_bundle
from serve.errors import BundleError
from serve.export.triton import config, read_signature, write_triton_repository
from serve.models import MODEL_NAMES

FLOAT, INT64 = TensorProto.FLOAT, TensorProto.INT64
TYPES = {"tensor(float)": "TYPE_FP32", "tensor(int64)": "TYPE_INT64"}
Shape = list[int | str]


@pytest.fixture(scope="module")
def schema() -> Any:
    """Triton's schema, which tritonclient[http] has in a package that wants grpc; the file itself does not."""
    file = distribution("tritonclient").locate_file("tritonclient/grpc/model_config_pb2.py")
    spec = importlib.util.spec_from_file_location("model_config_pb2", str(file))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def write_graph(
    path: Path, inputs: dict[str, tuple[int, Shape]], output: tuple[str, Shape], optional: tuple[str, ...] = ()
) -> Path:
    """A graph that gives its first input back under another name."""
    values = [helper.make_tensor_value_info(name, *entry) for name, entry in inputs.items()]
    result = helper.make_tensor_value_info(output[0], next(iter(inputs.values()))[0], output[1])
    defaults = [helper.make_tensor(name, inputs[name][0], [1], [1]) for name in optional]
    node = helper.make_node("Identity", [next(iter(inputs))], [output[0]])
    graph = helper.make_graph([node], "tiny", values, [result], defaults)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=10), path)
    return path


def parsed(schema: Any, path: Path, name: str = "ser-tiny") -> Any:
    return text_format.Parse(config(name, read_signature(path)), schema.ModelConfig())


def expected(values: list[Any], *, batched: bool) -> list[tuple[str, str, list[int]]]:
    """What Triton compares a config with: the tensors of a session, free dimensions as -1, a scalar as [1]."""
    shapes = [[size if isinstance(size, int) else -1 for size in value.shape] for value in values]
    dims = [(shape[1:] if batched else shape) or [1] for shape in shapes]
    return [(value.name, TYPES[value.type], shape) for value, shape in zip(values, dims, strict=True)]


def given(schema: Any, tensors: Any) -> list[tuple[str, str, list[int]]]:
    return [(tensor.name, schema.DataType.Name(tensor.data_type), list(tensor.dims)) for tensor in tensors]


def check(schema: Any, parsed_config: Any, graph: Path) -> None:
    """The checks that Triton's ONNX Runtime backend makes when it loads a model."""
    session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
    batched = parsed_config.max_batch_size > 0
    required = [tensor for tensor in parsed_config.input if not tensor.optional]
    optional = [tensor for tensor in parsed_config.input if tensor.optional]
    assert given(schema, required) == expected(session.get_inputs(), batched=batched)
    assert given(schema, optional) == expected(session.get_overridable_initializers(), batched=batched)
    assert given(schema, parsed_config.output) == expected(session.get_outputs(), batched=batched)
    assert parsed_config.platform == "onnxruntime_onnx"
    assert [group.kind for group in parsed_config.instance_group] == [schema.ModelInstanceGroup.KIND_AUTO]
    assert not (batched and optional)
    assert parsed_config.HasField("dynamic_batching") == batched


def test_scalars_and_fixed_dimensions(schema: Any, tmp_path: Path) -> None:
    inputs = {"x": (FLOAT, ["batch", 80, "frame"]), "sigmas": (FLOAT, [3]), "guidance_scale": (FLOAT, [])}
    graph = write_graph(tmp_path / "step.onnx", inputs, ("x_next", ["batch", 80, "frame"]))
    found = parsed(schema, graph)
    check(schema, found, graph)
    assert given(schema, found.input)[1:] == [("sigmas", "TYPE_FP32", [3]), ("guidance_scale", "TYPE_FP32", [1])]


def test_optional_input(schema: Any, tmp_path: Path) -> None:
    inputs: dict[str, tuple[int, Shape]] = {"waveform": (FLOAT, ["batch", "sample"]), "length": (INT64, ["lengths"])}
    graph = write_graph(tmp_path / "c.onnx", inputs, ("probabilities", ["batch", 6]), ("length",))
    found = parsed(schema, graph)
    check(schema, found, graph)
    assert [tensor.optional for tensor in found.input] == [False, True]
    assert found.max_batch_size == 0
    assert [tensor.label_filename for tensor in found.output] == ["labels.txt"]


def test_batches_where_every_tensor_has_one_batch(schema: Any, tmp_path: Path) -> None:
    graph = write_graph(
        tmp_path / "v.onnx", {"log_mel": (FLOAT, ["batch", 80, "frame"])}, ("y", ["batch", 80, "frame"])
    )
    found = parsed(schema, graph)
    check(schema, found, graph)
    assert found.max_batch_size == 8
    frozen = write_graph(tmp_path / "f.onnx", {"log_mel": (FLOAT, [2, 80])}, ("y", [2, 80]))
    assert parsed(schema, frozen).max_batch_size == 0


def test_type_that_is_not_served(tmp_path: Path) -> None:
    graph = write_graph(tmp_path / "half.onnx", {"x": (TensorProto.FLOAT16, ["batch"])}, ("y", ["batch"]))
    with pytest.raises(BundleError, match=r"half.onnx: x has no shape or a type that is not served"):
        read_signature(graph)


def test_repository_of_a_bundle(schema: Any, bundle_folder: Path, tmp_path: Path) -> None:
    bundle = load_bundle(bundle_folder)
    write_triton_repository(bundle, tmp_path / "repository")
    folders = sorted((tmp_path / "repository").iterdir())
    assert [folder.name for folder in folders] == sorted(MODEL_NAMES)
    for folder in folders:
        found = text_format.Parse((folder / "config.pbtxt").read_text(encoding="utf-8"), schema.ModelConfig())
        assert found.name == folder.name
        graph = folder / "1" / "model.onnx"
        assert graph.read_bytes() == bundle.path(MODEL_NAMES[folder.name]).read_bytes()
        check(schema, found, graph)
        assert {path.name for path in folder.iterdir()} - {"labels.txt"} == {"1", "config.pbtxt"}


def test_labels_are_those_of_the_bundle_in_its_order(bundle_folder: Path, tmp_path: Path) -> None:
    bundle = load_bundle(bundle_folder)
    write_triton_repository(bundle, tmp_path)
    files = list(tmp_path.rglob("labels.txt"))
    assert files == [tmp_path / "ser-classifier" / "labels.txt"]
    assert tuple(files[0].read_text(encoding="utf-8").splitlines()) == bundle.manifest.labels


def test_a_used_folder_is_refused(bundle_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "old").mkdir()
    with pytest.raises(StorageError, match=r"is not empty, .*; name a new folder"):
        write_triton_repository(load_bundle(bundle_folder), tmp_path)

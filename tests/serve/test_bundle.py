"""A bundle is loaded whole and undamaged, or refused with the name of what does not fit."""

import json
import shutil
from pathlib import Path

import onnx
import pytest

from serve.bundle import CLASSIFIER, LABELS_KEY, MANIFEST, UNET_STEP, load_bundle
from serve.errors import BundleError
from serve.export.parity import LARGEST_DIFFERENCE
from serve.graph_header import read_header
from tests.serve.versions import change_manifest, replace_graph


@pytest.fixture
def copy(bundle_folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(bundle_folder, tmp_path / "bundle"))


def test_a_whole_bundle_loads(bundle_folder: Path) -> None:
    bundle = load_bundle(bundle_folder)
    assert bundle.manifest.labels == ("anger", "disgust", "fear", "happiness", "neutral", "sadness")
    assert [path.stem for path in bundle.examples()] == list(bundle.manifest.labels)
    graphs = sorted(path.name for path in bundle_folder.glob("*.onnx"))
    assert graphs == ["classifier.onnx", "sampler.onnx", "unet_step.onnx", "vocoder.onnx"]
    for graph in graphs:
        onnx.checker.check_model(onnx.load(bundle_folder / graph), full_check=True)


def test_every_parity_figure_is_small(bundle_folder: Path) -> None:
    parity = load_bundle(bundle_folder).manifest.parity
    cases = {name.split("/")[1] for name in parity if name.startswith("classifier/")}
    assert cases == {"silence", "one_sample", "longest", "batch_1", "batch_2", "batch_3", "batch_8"}
    too_large = {name for name, value in parity.items() if not value <= LARGEST_DIFFERENCE[name.split("/")[0]]}
    assert too_large == set()


@pytest.mark.parametrize("file", [CLASSIFIER, UNET_STEP, "conditions.safetensors", "card.md"])
def test_a_changed_file_is_refused_by_name(copy: Path, file: str) -> None:
    content = bytearray((copy / file).read_bytes())
    content[len(content) // 2] ^= 1
    (copy / file).write_bytes(content)
    with pytest.raises(BundleError, match=f"{file}: sha256"):
        load_bundle(copy)


def test_a_missing_file_is_refused_by_name(copy: Path) -> None:
    (copy / CLASSIFIER).unlink()
    with pytest.raises(BundleError, match=f"{CLASSIFIER}: is missing"):
        load_bundle(copy)


def test_another_label_order_is_refused(copy: Path) -> None:
    labels = json.loads((copy / MANIFEST).read_text())["labels"]
    change_manifest(copy, labels=labels[::-1])
    with pytest.raises(BundleError, match="labels anger,disgust"):
        load_bundle(copy)


def test_another_opset_is_refused(copy: Path) -> None:
    model = onnx.load(copy / CLASSIFIER)
    next(entry for entry in model.opset_import if entry.domain == "").version = 17
    replace_graph(copy, CLASSIFIER, model)
    with pytest.raises(BundleError, match="opset 17"):
        load_bundle(copy)
    change_manifest(copy, opset=17)
    with pytest.raises(BundleError, match="opset"):
        load_bundle(copy)


def test_a_graphs_header_is_what_onnx_reads(bundle_folder: Path) -> None:
    for path in bundle_folder.glob("*.onnx"):
        model, header = onnx.load(path), read_header(path)
        assert header.opset == next(entry.version for entry in model.opset_import if not entry.domain)
        assert header.metadata == {entry.key: entry.value for entry in model.metadata_props}


@pytest.mark.parametrize("content", [b"", b"RIFF\x24\x00\x00\x00WAVE", b"\x42\xff", b"\x40\x12"])
def test_a_file_that_is_no_graph_is_refused_by_name(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / CLASSIFIER
    path.write_bytes(content)
    with pytest.raises(BundleError, match=f"{CLASSIFIER}: is no ONNX graph"):
        read_header(path)


def test_a_file_outside_the_bundle_is_refused(copy: Path) -> None:
    files = json.loads((copy / MANIFEST).read_text())["files"]
    change_manifest(copy, files=files | {"../secret": "0" * 64})
    with pytest.raises(BundleError, match="outside"):
        load_bundle(copy)


@pytest.mark.parametrize("text", ["", "{}", "not json"])
def test_a_damaged_manifest_is_refused(copy: Path, text: str) -> None:
    (copy / MANIFEST).write_text(text)
    with pytest.raises(BundleError, match=MANIFEST):
        load_bundle(copy)


def test_a_folder_without_manifest_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="flows export"):
        load_bundle(tmp_path)


def test_labels_are_in_the_classifiers_graph(bundle_folder: Path) -> None:
    metadata = {entry.key: entry.value for entry in onnx.load(bundle_folder / CLASSIFIER).metadata_props}
    assert metadata[LABELS_KEY] == "anger,disgust,fear,happiness,neutral,sadness"

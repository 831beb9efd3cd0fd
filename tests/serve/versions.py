"""Versions of a served bundle that are told apart by their answers, light enough for many requests a second."""

import json
import shutil
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from sermodels.files import sha256_of_file
from serve.bundle import CLASSIFIER, CURRENT, LABELS_KEY, MANIFEST, OPSET, Manifest, load_bundle, write_manifest
from tests.serve.conftest import CONFIG, provenance

LABELS = tuple(CONFIG.corpus.emotions)


def write_classifier(path: Path, *, number: int, labels: tuple[str, ...] = LABELS) -> None:
    """A classifier that hears label `number % 6` in everything: real inputs and outputs, and hardly any work."""
    probabilities = np.full((1, len(labels)), 0.1, np.float32)
    probabilities[0, number % len(labels)] = 0.5
    constants = {
        "probability": probabilities,
        "level_db": np.full((1, 1, 1), -50.0, np.float32),
        "zero": np.array([0]),
        "one": np.array([1]),
        "hop": np.array([CONFIG.front_end.hop_length]),
        "mels": np.array([CONFIG.front_end.n_mels]),
        "labels": np.array([len(labels)]),
    }
    steps = [
        ("Shape", ["waveform"], "shape"),
        ("Gather", ["shape", "zero"], "clips"),
        ("Gather", ["shape", "one"], "samples"),
        ("Div", ["samples", "hop"], "hops"),
        ("Add", ["hops", "one"], "frames"),
        ("Concat", ["clips", "mels", "frames"], "log_mel_shape"),
        ("Expand", ["level_db", "log_mel_shape"], "log_mel"),
        ("Concat", ["clips", "labels"], "probabilities_shape"),
        ("Expand", ["probability", "probabilities_shape"], "probabilities"),
    ]
    graph = helper.make_graph(
        [
            helper.make_node(kind, wanted, [made], **({"axis": 0} if kind == "Concat" else {}))
            for kind, wanted, made in steps
        ],
        "classifier",
        [
            helper.make_tensor_value_info("waveform", TensorProto.FLOAT, ["clip", "sample"]),
            helper.make_tensor_value_info("length", TensorProto.INT64, ["clip"]),
        ],
        [
            helper.make_tensor_value_info("log_mel", TensorProto.FLOAT, ["clip", CONFIG.front_end.n_mels, "frame"]),
            helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["clip", len(labels)]),
        ],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=10)
    helper.set_model_props(model, {LABELS_KEY: ",".join(labels)})
    onnx.save(model, path)


def write_version(
    folder: Path, number: int, *, generator: Path | None = None, labels: tuple[str, ...] = LABELS
) -> Path:
    """A bundle of this version, with the diffusion half and the recordings of the bundle `generator`."""
    if generator is not None:
        shutil.copytree(generator, folder)
        manifest = load_bundle(folder).manifest
        (folder / MANIFEST).unlink()
    else:
        folder.mkdir(parents=True)
        manifest = Manifest(
            labels=labels,
            front_end=CONFIG.front_end,
            clip=CONFIG.clip,
            provenance=provenance(diffusion=False),
            metrics={},
            parity={},
            files={},
        )
    write_classifier(folder / CLASSIFIER, number=number, labels=labels)
    origin = manifest.provenance.classifier.model_copy(update={"version": str(number)})
    described = manifest.provenance.model_copy(update={"classifier": origin})
    write_manifest(folder, manifest.model_copy(update={"provenance": described, "labels": labels}))
    return folder


def change_manifest(folder: Path, **values: object) -> None:
    """Other values in a bundle's manifest."""
    manifest = json.loads((folder / MANIFEST).read_text())
    (folder / MANIFEST).write_text(json.dumps(manifest | values))


def replace_graph(folder: Path, file: str, model: onnx.ModelProto) -> None:
    """Another graph with a hash that fits."""
    onnx.save(model, folder / file)
    files = json.loads((folder / MANIFEST).read_text())["files"]
    change_manifest(folder, files=files | {file: sha256_of_file(folder / file)})


def damage(folder: Path) -> Path:
    """Cut the classifier of a bundle off in its middle."""
    graph = folder / CLASSIFIER
    graph.write_bytes(graph.read_bytes()[: graph.stat().st_size // 2])
    return folder


def point_at(folder: Path) -> None:
    """Turn the link `current` beside a bundle's folder to it, in one step."""
    fresh = folder.with_name(".fresh")
    fresh.symlink_to(folder.name)
    fresh.replace(folder.with_name(CURRENT))

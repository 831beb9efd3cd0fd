"""The bundle: a directory with graphs, config, labels and provenance, complete and undamaged or refused."""

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from sermodels.config import ClipConfig, FrontEndConfig
from sermodels.errors import StorageError
from sermodels.files import read_json, sha256_of_file, write_json
from serve.errors import BundleError
from serve.graph_header import read_header

MANIFEST = "bundle.json"
FORMAT = 1
OPSET = 18
LABELS_KEY = "labels"
"""Metadata of the classifier's graph: its label order, comma-separated."""

CLASSIFIER, CLASSIFIER_INT8 = "classifier.onnx", "classifier.int8.onnx"
UNET_STEP, SAMPLER, VOCODER = "unet_step.onnx", "sampler.onnx", "vocoder.onnx"
CONDITIONS = "conditions.safetensors"
"""Tensors `centroids`, `spread` (emotion, width), `mean`, `std` (mel,)."""
CARD = "card.md"
EXAMPLES = "examples"
CURRENT = "current"
"""In a folder that is kept up to date, a link to the one of its bundles that is to be served."""


class Part(BaseModel):
    """A frozen section in which an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Diffusion(Part):
    """What sampling needs beside the graphs."""

    frames: int
    sigmas: tuple[float, ...]
    """Noise standard deviation of each timestep, rising, for data of unit variance."""
    variation: float
    steps: int
    guidance_scale: float
    trim_db: float | None
    level: Literal["keep", "clip"]


class ModelVersion(Part):
    """Where a part of the bundle comes from."""

    name: str
    version: str
    run_id: str
    stage: str
    split: str


class Provenance(Part):
    """What the bundle was made from."""

    created: str
    git_commit: str
    data_digest: str
    protocol: Literal["speaker", "seed", "corpus"]
    """`speaker`: its scores are of speakers that no part of it has heard; `seed`: of speakers that it knows."""
    synthetic_speech: bool
    classifier: ModelVersion
    diffusion: ModelVersion | None = None


class Manifest(Part):
    """The content of bundle.json."""

    format: int = FORMAT
    opset: int = OPSET
    labels: tuple[str, ...]
    front_end: FrontEndConfig
    clip: ClipConfig
    vocoder: Literal["griffin-lim", "hifi-gan"] | None = None
    diffusion: Diffusion | None = None
    provenance: Provenance
    metrics: dict[str, float]
    """`test_uar`, `test_accuracy`, `development_uar`, and those of the int8 graph if there is one."""
    parity: dict[str, float]
    """Largest |difference| from torch in float64, by graph, output and case."""
    files: dict[str, str]
    """sha256 of every other file, by its path in the bundle."""


class Bundle(Part):
    """A verified bundle."""

    folder: Path
    manifest: Manifest

    def path(self, file: str) -> Path:
        """Where a file of the bundle lies."""
        return self.folder / file

    def has(self, file: str) -> bool:
        """Whether the bundle holds this file."""
        return file in self.manifest.files

    def examples(self) -> tuple[Path, ...]:
        """Recordings to try, in order."""
        return tuple(self.path(file) for file in sorted(self.manifest.files) if file.startswith(f"{EXAMPLES}/"))

    def card(self) -> str:
        """The model card in Markdown; empty if there is none."""
        return self.path(CARD).read_text(encoding="utf-8") if self.has(CARD) else ""


def write_manifest(folder: Path, manifest: Manifest) -> Bundle:
    """Hash every file in `folder` and write bundle.json last. Raises StorageError."""
    names = sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
    files = {name: sha256_of_file(folder / name) for name in names if name != MANIFEST}
    complete = manifest.model_copy(update={"files": files})
    write_json(folder / MANIFEST, complete.model_dump(mode="json"))
    return Bundle(folder=folder, manifest=complete)


def located(folder: Path) -> Path:
    """Where the bundle of a folder lies: behind its link `current`, or in the folder itself; no link is left in it."""
    link = folder / CURRENT
    return (link if link.exists() else folder).resolve()


def load_bundle(folder: Path) -> Bundle:
    """Read and verify a bundle. Raises BundleError naming what does not fit: a file, its hash, labels or opset."""
    if not (located(folder) / MANIFEST).is_file():
        raise BundleError(f"{folder}: is no bundle ({MANIFEST} is missing); make one with: python -m flows export")
    folder = located(folder)
    try:
        manifest = Manifest.model_validate(read_json(folder / MANIFEST))
    except (StorageError, ValidationError) as error:
        raise BundleError(f"{folder / MANIFEST}: does not fit this version ({error}); export it again") from error
    if manifest.format != FORMAT:
        raise BundleError(f"{folder / MANIFEST}: format {manifest.format}; this version reads {FORMAT}")
    _check_files(folder, manifest)
    for file in sorted(name for name in manifest.files if name.endswith(".onnx")):
        _check_graph(folder / file, manifest)
    return Bundle(folder=folder, manifest=manifest)


def _check_files(folder: Path, manifest: Manifest) -> None:
    """Every file is there with its hash."""
    wanted = [CLASSIFIER, *([UNET_STEP, CONDITIONS, VOCODER] if manifest.diffusion else [])]
    if missing := [file for file in wanted if file not in manifest.files]:
        raise BundleError(f"{folder}: {missing[0]} is not in {MANIFEST}; export it again")
    for file, digest in manifest.files.items():
        path = folder / file
        if ".." in Path(file).parts or Path(file).is_absolute():
            raise BundleError(f"{folder}: {file} lies outside the bundle")
        if not path.is_file():
            raise BundleError(f"{path}: is missing; export or fetch the bundle again")
        if (found := sha256_of_file(path)) != digest:
            raise BundleError(f"{path}: sha256 is {found}, {MANIFEST} says {digest}; export or fetch the bundle again")


def _check_graph(path: Path, manifest: Manifest) -> None:
    """The graph's opset and, for a classifier, its labels are those of the manifest and of this version."""
    header = read_header(path)
    if not header.opset == manifest.opset == OPSET:
        raise BundleError(f"{path}: opset {header.opset}, {MANIFEST} says {manifest.opset}; this version runs {OPSET}")
    labels = header.metadata.get(LABELS_KEY)
    if path.name.startswith("classifier") and labels != ",".join(manifest.labels):
        raise BundleError(f"{path}: labels {labels}, {MANIFEST} says {','.join(manifest.labels)}; export it again")

"""From registered checkpoints to registered ONNX models and bundles, and from the registry to a bundle's folder."""

import shutil
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from flows import tracking
from flows.tracking import CHALLENGER, CHAMPION, CLASSIFIER_MODEL, DIFFUSION_MODEL, RegisteredVersion, Run
from sermodels.checkpoint import load_tensors
from sermodels.config import Config
from sermodels.corpora.utterance import Utterance
from sermodels.errors import SermodelsError
from sermodels.files import read_json, sha256_of_file, sha256_of_json
from serve.bundle import CLASSIFIER, MANIFEST, SAMPLER, Bundle, ModelVersion, Provenance, load_bundle
from serve.export.bundle_writer import Sources, write_bundle

VERSION = 1
"""Bumped by hand when the same checkpoints would give other graphs."""


def export_champion(run: Run, *, hifigan: Path | None = None, triton: Path | None = None) -> list[str]:
    """Export the champion with the diffusion model, and the challenger's classifier if there is one.

    Each bundle is logged to the run, its ONNX models are registered with the aliases of their parents; what was
    exported before is used again. Returns the aliases exported. Raises RegistryError when nothing is registered,
    BundleError, WeightsError and StorageError.
    """
    done = []
    for alias in (CHAMPION, CHALLENGER):
        version = tracking.version_by_alias(CLASSIFIER_MODEL, alias)
        if version is None:
            continue
        diffusion = tracking.version_by_alias(DIFFUSION_MODEL, CHAMPION) if alias == CHAMPION else None
        key = _export_key(version, diffusion, hifigan)
        if tracking.share_aliases(version, key):
            print(f"{version.name} {alias}: version {version.version} is exported already")
        else:
            with tempfile.TemporaryDirectory() as scratch:
                sources = _sources(version, diffusion, Path(scratch), hifigan)
                bundle = write_bundle(sources, Path(scratch) / "bundle", quantise=alias == CHAMPION)
                _register(run, bundle, version, diffusion, alias, key)
        done.append(alias)
    if not done:
        raise RegistryError(nothing_registered(CLASSIFIER_MODEL))
    if triton is not None:
        _write_triton(triton)
    return done


def _export_key(version: RegisteredVersion, diffusion: RegisteredVersion | None, hifigan: Path | None) -> str:
    """What identifies an export: the checkpoints, the vocoder's file and the exporter's version."""
    keys = [one.tags[tracking.STAGE_KEY_TAG] if one else "" for one in (version, diffusion)]
    return sha256_of_json([VERSION, *keys, sha256_of_file(hifigan) if hifigan else ""])


def _write_triton(folder: Path) -> None:
    """The champion's bundle as a Triton model repository."""
    from serve.export.triton import write_triton_repository

    with tempfile.TemporaryDirectory() as scratch:
        bundle = fetch_bundle(Path(scratch) / "bundle")
        if bundle is not None:
            write_triton_repository(bundle, folder)


class RegistryError(SermodelsError):
    """The registry has no model of the kind asked for."""


def nothing_registered(name: str) -> str:
    """What to do with an empty registry."""
    return (
        f"{tracking.tracking_uri()}: no {name}@{CHAMPION} is registered; train one first with: make run "
        "(or: python -m flows run --preset quick --data-dir data), then: make serve"
    )


def _sources(
    version: RegisteredVersion, diffusion: RegisteredVersion | None, scratch: Path, hifigan: Path | None
) -> Sources:
    """Checkpoints, config, figures and recordings of a registered version."""
    classifier = tracking.fetch_checkpoint(version, scratch / "classifier")
    _, header = load_tensors(classifier)
    config = Config.model_validate(header["config"])
    training, development = _recordings(version, scratch)
    return Sources(
        classifier=classifier,
        diffusion=tracking.fetch_checkpoint(diffusion, scratch / "diffusion") if diffusion else None,
        config=config,
        provenance=Provenance(
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            git_commit=tracking.git_commit(),
            data_digest=version.tags["data_digest"],
            protocol=config.split.protocol,
            synthetic_speech=version.tags["synthetic_speech"] == "true",
            classifier=_source(version),
            diffusion=_source(diffusion) if diffusion else None,
        ),
        metrics={name: float(version.tags[name]) for name in ("test_uar", "development_uar")},
        card=version.description or "",
        training=training,
        development=development,
        hifigan=hifigan,
    )


def _source(version: RegisteredVersion) -> ModelVersion:
    """Where a checkpoint comes from."""
    return ModelVersion(
        name=version.name,
        version=str(version.version),
        run_id=str(version.run_id),
        stage=version.tags["stage"],
        split=version.tags["split"],
    )


def _recordings(version: RegisteredVersion, scratch: Path) -> tuple[list[Utterance], list[Utterance]]:
    """Training and development recordings of a version's split, or none where they are not on this machine."""
    training, development = taught_recordings(version, scratch)
    if not all(one.path.is_file() for one in [*training, *development]):
        print("the recordings are not on this machine: no int8 graph, and parity is measured on synthetic speech")
        return [], []
    return training, development


def taught_recordings(version: RegisteredVersion, scratch: Path) -> tuple[list[Utterance], list[Utterance]]:
    """What a version was trained on and chosen by, wherever it lies; none where MLflow does not hold it."""
    described, splits = tracking.fetch_data_description(version, scratch)
    split = next((split for split in map(read_json, splits) if split["name"] == version.tags["split"]), None)
    if described is None or split is None:
        return [], []
    rows: list[dict[str, Any]] = read_json(described)["utterances"]
    utterances = {row["identifier"]: Utterance(**{**row, "path": Path(row["path"])}) for row in rows}
    training, development = ([utterances[name] for name in split[part]] for part in ("training", "development"))
    return training, development


def _register(
    run: Run, bundle: Bundle, version: RegisteredVersion, diffusion: RegisteredVersion | None, alias: str, key: str
) -> None:
    """Log the bundle and its figures, and register its ONNX models beside their parents' versions."""
    place = tracking.BUNDLE_ARTIFACTS.format(alias=alias)
    run.log_folder(bundle.folder, patterns=["**/*"], below=place)
    manifest = bundle.manifest
    numbers = {f"parity/{name}": value for name, value in manifest.parity.items()} | dict(manifest.metrics)
    run.log_metrics({f"{alias}/{name}": value for name, value in numbers.items()})
    tracking.register_onnx(bundle.path(CLASSIFIER), version, key=key, place=place)
    if diffusion is not None:
        tracking.register_onnx(bundle.path(SAMPLER), diffusion, key=key, place=place)


def fetch_bundle(folder: Path, *, alias: str = CHAMPION) -> Bundle | None:
    """The bundle of `ser-classifier-onnx@alias` in `folder`, fetched only if another one lies there.

    None when no version has the alias. Raises BundleError when what was fetched is damaged, and StorageError.
    """
    version = tracking.version_by_alias(tracking.ONNX_NAMES[CLASSIFIER_MODEL], alias)
    if version is None:
        return None
    marker = folder / "fetched.txt"
    origin = f"{version.name} {version.version} {version.run_id}"
    if not (marker.is_file() and marker.read_text(encoding="utf-8") == origin and (folder / MANIFEST).is_file()):
        shutil.rmtree(folder, ignore_errors=True)
        tracking.fetch_artifacts(str(version.run_id), version.tags["bundle"], folder)
        marker.write_text(origin, encoding="utf-8")
    return load_bundle(folder)

"""From registered checkpoints to registered ONNX models and bundles."""

import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from flows import aliases, registry, tracking
from flows.registry import (
    CHALLENGER,
    CHAMPION,
    CLASSIFIER_MODEL,
    DIFFUSION_MODEL,
    RegisteredVersion,
    RegistryError,
    nothing_registered,
)
from flows.served import fetch_bundle
from flows.tracking import Run
from sermodels.checkpoint import load_tensors
from sermodels.config import Config
from sermodels.corpora.utterance import Utterance
from sermodels.files import read_json, sha256_of_file, sha256_of_json
from sermodels.splits import PARTS
from serve.bundle import CLASSIFIER, SAMPLER, Bundle, ModelVersion, Provenance
from serve.export.bundle_writer import Sources, write_bundle

VERSION = 1
"""Bumped by hand when the same checkpoints would give other graphs."""


def export_champion(run: Run, *, hifigan: Path | None = None, triton: Path | None = None) -> list[str]:
    """Export the champion with the diffusion model, and the challenger's classifier if there is one.

    Returns the aliases exported. Raises RegistryError when nothing is registered, BundleError, WeightsError and
    StorageError.
    """
    done = []
    for alias in (CHAMPION, CHALLENGER):
        version = registry.version_by_alias(CLASSIFIER_MODEL, alias)
        if version is not None:
            export_version(run, version, role=alias, hifigan=hifigan)
            done.append(alias)
    if not done:
        raise RegistryError(nothing_registered(CLASSIFIER_MODEL))
    if triton is not None:
        _write_triton(triton)
    return done


def export_version(
    run: Run, version: RegisteredVersion, *, role: str, hifigan: Path | None = None
) -> RegisteredVersion:
    """The ONNX version of a classifier; what was exported before is used again.

    Its bundle is logged to the run as that of `role`: a challenger's holds the classifier alone, any other's all that
    a champion is served with. ONNX models are registered with the aliases of their parents.
    """
    diffusion = _diffusion_for(version) if role != CHALLENGER else None
    key = _export_key(version, diffusion, hifigan, role)
    exported = registry.find_export(version, key)
    if exported is None:
        with tempfile.TemporaryDirectory() as scratch:
            sources = _sources(version, diffusion, Path(scratch), hifigan)
            bundle = write_bundle(sources, Path(scratch) / "bundle", quantise=role != CHALLENGER)
            exported = _register(run, bundle, version, diffusion, role, key)
    else:
        print(f"{version.name} {role}: version {version.version} is exported already")
    aliases.share(version, exported)
    if diffusion is not None and (sampler := registry.find_export(diffusion, key)):
        aliases.share(diffusion, sampler)
    return exported


def _diffusion_for(version: RegisteredVersion) -> RegisteredVersion | None:
    """The champion of the diffusion models, or the newest former one, whose sound and emotions are the classifier's."""
    champion = registry.version_by_alias(DIFFUSION_MODEL, CHAMPION)
    former = [one for one in registry.versions(DIFFUSION_MODEL) if aliases.PREVIOUS_TAG in one.tags]
    wanted = version.tags.get(registry.SOUND_TAG)
    return next(
        (one for one in [champion, *former] if one is not None and one.tags.get(registry.SOUND_TAG) == wanted), None
    )


def _export_key(
    version: RegisteredVersion, diffusion: RegisteredVersion | None, hifigan: Path | None, role: str
) -> str:
    """What identifies an export: the checkpoints, the vocoder's file, whether it is whole, the exporter's version."""
    keys = [one.tags[tracking.STAGE_KEY_TAG] if one else "" for one in (version, diffusion)]
    return sha256_of_json([VERSION, *keys, sha256_of_file(hifigan) if hifigan else "", role != CHALLENGER])


def _write_triton(folder: Path) -> None:
    """The champion's bundle as a Triton model repository."""
    from serve.export.triton import write_triton_repository

    with tempfile.TemporaryDirectory() as scratch:
        bundle = fetch_bundle(Path(scratch) / "bundle")
        if bundle is not None:
            write_triton_repository(bundle, folder)


def _sources(
    version: RegisteredVersion, diffusion: RegisteredVersion | None, scratch: Path, hifigan: Path | None
) -> Sources:
    """Checkpoints, config, figures and recordings of a registered version."""
    classifier = registry.fetch_checkpoint(version, scratch / "classifier")
    _, header = load_tensors(classifier)
    config = Config.model_validate(header["config"])
    training, development = _recordings(version, scratch)
    return Sources(
        classifier=classifier,
        diffusion=registry.fetch_checkpoint(diffusion, scratch / "diffusion") if diffusion else None,
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
    training, development, _ = split_recordings(version, scratch)
    if not all(one.path.is_file() for one in [*training, *development]):
        print("the recordings are not on this machine: no int8 graph, and parity is measured on synthetic speech")
        return [], []
    return training, development


def split_recordings(version: RegisteredVersion, scratch: Path) -> list[list[Utterance]]:
    """Training, development and test recordings of a version's split, wherever they lie.

    All are empty where MLflow does not hold them.
    """
    described, splits = registry.fetch_data_description(version, scratch)
    split = next((split for split in map(read_json, splits) if split["name"] == version.tags["split"]), None)
    if described is None or split is None:
        return [[], [], []]
    rows: list[dict[str, Any]] = read_json(described)["utterances"]
    utterances = {row["identifier"]: Utterance(**{**row, "path": Path(row["path"])}) for row in rows}
    return [[utterances[name] for name in split[part]] for part in PARTS]


def _register(
    run: Run, bundle: Bundle, version: RegisteredVersion, diffusion: RegisteredVersion | None, role: str, key: str
) -> RegisteredVersion:
    """Log the bundle and its figures, and register its ONNX models beside their parents' versions."""
    place = registry.BUNDLE_ARTIFACTS.format(role=role)
    run.log_folder(bundle.folder, patterns=["**/*"], below=place)
    manifest = bundle.manifest
    numbers = {f"parity/{name}": value for name, value in manifest.parity.items()} | dict(manifest.metrics)
    run.log_metrics({f"{role}/{name}": value for name, value in numbers.items()})
    if diffusion is not None:
        registry.register_onnx(bundle.path(SAMPLER), diffusion, key=key, place=place)
    return registry.register_onnx(bundle.path(CLASSIFIER), version, key=key, place=place)

"""A bundle of networks that have learnt nothing, exported on the spot."""

from pathlib import Path

from benchmarks.fresh import fresh_classifier, fresh_diffusion
from benchmarks.measure import tell
from sermodels.classifier_checkpoint import save_classifier
from sermodels.config import Config
from serve.bundle import ModelVersion, Provenance
from serve.export.bundle_writer import Sources, write_bundle


def fresh_bundle(config: Config, folder: Path) -> Path:
    """All that a server needs, exported on the spot; returns the bundle's folder."""
    folder.mkdir(parents=True, exist_ok=True)
    classifier, diffusion = folder / "classifier.safetensors", folder / "denoiser.safetensors"
    save_classifier(classifier, fresh_classifier(config), {"config": config.model_dump(mode="json")})
    fresh_diffusion(config).save(diffusion)
    metrics = {"test_uar": 0.0, "development_uar": 0.0}
    write_bundle(Sources(classifier, diffusion, config, _provenance(), metrics), folder / "bundle", say=tell)
    return folder / "bundle"


def _provenance() -> Provenance:
    """It says that nothing was trained."""
    version = ModelVersion(name="untrained", version="0", run_id="", stage="none", split="none")
    return Provenance(
        created="2000-01-01T00:00:00+00:00",
        git_commit="",
        data_digest="",
        protocol="speaker",
        synthetic_speech=True,
        classifier=version,
        diffusion=version,
    )

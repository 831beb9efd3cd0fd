"""All stages of a tiny run, made once a session, and a stage that waits to be killed."""

import shutil
import time
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from pydantic import TypeAdapter

from sermodels.config import Config
from sermodels.stages.caching import run_caching, run_splitting
from sermodels.stages.classification import AUGMENTATION, BASELINE, OVERSAMPLING, RETRAINING, run_classification
from sermodels.stages.context import RunContext
from sermodels.stages.diffusion import run_diffusion
from sermodels.stages.embedding import run_embedding
from sermodels.stages.synthesis import run_synthesis
from sermodels.store import COMPLETE, StageResult
from sermodels.training import EpochRecord
from tests.sermodels.tiny import tiny_config, write_corpus
from tests.shared import made_once

SAVED_AFTER_S = 20.5
"""A little longer than stages wait between two saves of their state."""


@dataclass(frozen=True)
class Chain:
    """One whole run: what each stage made, and what it reported."""

    context: RunContext
    stages: dict[str, StageResult]
    histories: dict[str, list[EpochRecord]]
    pictures: list[tuple[int, Path]]

    @property
    def config(self) -> Config:
        """The run's config."""
        return self.context.config


def start(config: Config, workspace: Path) -> RunContext:
    """The context of a run, with the stages `caching` and `splitting` done."""
    prepared, _ = run_caching(config, workspace, skip_unreadable=False)
    return RunContext(config, workspace, prepared, run_splitting(config, workspace, prepared)[0])


def whole_chain(factory: pytest.TempPathFactory) -> Chain:
    """All stages in their order, made once."""
    return _read_chain(made_once(factory, "chain", _make_chain))


@cache
def _read_chain(folder: Path) -> Chain:
    return TypeAdapter(Chain).validate_json((folder / "chain.json").read_bytes())


def _make_chain(folder: Path) -> None:
    write_corpus(folder / "data")
    chain = run_chain(tiny_config(folder / "data"), folder / "workspace")
    (folder / "chain.json").write_bytes(TypeAdapter(Chain).dump_json(chain))


def run_chain(config: Config, workspace: Path) -> Chain:
    """All stages in their order."""
    names = ("baseline", "augmentation", "diffusion", "retraining", "oversampling")
    heard: dict[str, list[EpochRecord]] = {name: [] for name in names}
    pictures: list[tuple[int, Path]] = []
    context = start(config, workspace)
    baseline = run_classification(context, BASELINE, on_epoch=heard["baseline"].append)
    augmentation = run_classification(context, AUGMENTATION, on_epoch=heard["augmentation"].append)
    embedding = run_embedding(context, augmentation)
    diffusion = run_diffusion(
        context, embedding, on_epoch=heard["diffusion"].append, on_picture=lambda *shown: pictures.append(shown)
    )
    synthesis = run_synthesis(context, diffusion, baseline)
    retraining = run_classification(context, RETRAINING, given=synthesis, on_epoch=heard["retraining"].append)
    oversampling = run_classification(context, OVERSAMPLING, on_epoch=heard["oversampling"].append)
    stages = (context.prepared, baseline, augmentation, embedding, diffusion, synthesis, retraining, oversampling)
    return Chain(context, {stage.name: stage for stage in stages}, heard, pictures)


def run_until(context: RunContext, last: str, **callbacks: Any) -> StageResult:
    """The stages that `last` needs, then `last` itself with its callbacks."""
    if last == "baseline":
        return run_classification(context, BASELINE, **callbacks)
    embedding = run_embedding(context, run_classification(context, AUGMENTATION))
    if last == "diffusion":
        return run_diffusion(context, embedding, **callbacks)
    judge = run_classification(context, BASELINE)
    return run_synthesis(context, run_diffusion(context, embedding), judge, **callbacks)


def copy_workspace(source: Path, target: Path, *stages: str) -> None:
    """A workspace with the cache and the given stages of another."""
    shutil.copytree(source / "cache", target / "cache")
    for stage in ("caching", "splitting", *stages):
        for folder in (path for path in (source / "stages").glob(f"{stage}-*") if path.is_dir()):
            shutil.copytree(folder, target / "stages" / folder.name)


def elsewhere(chain: Chain, workspace: Path, *stages: str) -> RunContext:
    """The chain's context in a workspace of its own, where things can be planted and damaged."""
    copy_workspace(chain.context.workspace, workspace, *stages)
    return replace(chain.context, workspace=workspace)


def run_and_wait(stage: str, data_dir: str, workspace: str) -> None:
    """Run a stage; once its first state or shard is saved, write the file `ready` and wait to be killed."""

    def wait(*_: object) -> None:
        (Path(workspace) / "ready").touch()
        time.sleep(600.0)

    def wait_when_saved(record: EpochRecord) -> None:
        if record["epoch"] == 0:
            time.sleep(SAVED_AFTER_S)
        else:
            wait()

    context = start(tiny_config(Path(data_dir)), Path(workspace))
    callback = {"on_progress": wait} if stage == "synthesis" else {"on_epoch": wait_when_saved}
    run_until(context, stage, **callback)


def results_of(stage: StageResult) -> dict[str, bytes]:
    """The content of every file of a stage but its pictures and the mark that has their digests."""
    files = [path for path in stage.folder.rglob("*") if path.is_file()]
    kept = [path for path in files if path.suffix != ".png" and path.name != COMPLETE]
    return {str(path.relative_to(stage.folder)): path.read_bytes() for path in kept}


def changed(config: Config, section: str, **values: Any) -> Config:
    """The config with other values in a section."""
    return Config.model_validate({**config.model_dump(), section: {**getattr(config, section).model_dump(), **values}})


def training_log_mels(context: RunContext) -> list[NDArray[np.float16]]:
    """The cached log-mels of the split's training clips."""
    data = context.load()
    return [data.log_mels[place] for place in data.indices(context.split().training)]

"""Prepared corpora of a workspace, found without their recordings: a machine that only trains has none."""

from pathlib import Path

from sermodels.config import Config
from sermodels.errors import StorageError
from sermodels.stages.caching import run_splitting
from sermodels.stages.context import RunContext, read_utterances
from sermodels.store import StageResult, is_complete, stage_folder


def prepared_corpus(workspace: Path, config: Config) -> StageResult:
    """The workspace's stage `caching` with this front end and these emotions. Raises StorageError if there is none."""
    for folder in sorted((workspace / "stages").glob("caching-*/")):
        if not is_complete(folder):
            continue
        inputs = StageResult("caching", folder, "").read("inputs.json")
        result = StageResult("caching", folder, stage_folder(workspace, "caching", inputs)[0], reused=True)
        emotions = {utterance.emotion for utterance in read_utterances(result)}
        if inputs["front_end"] == config.front_end.model_dump() and emotions == set(config.corpus.emotions):
            return result
    raise StorageError(f"{workspace}: holds no cached corpus of this front end and these emotions; cache it first")


def contexts_of(workspace: Path, config: Config) -> list[RunContext]:
    """What the stages of each of the config's splits start from. Raises StorageError and SplitError."""
    prepared = prepared_corpus(workspace, config)
    return [RunContext(config, workspace, prepared, path) for path in run_splitting(config, workspace, prepared)]

"""What every stage needs to know: the config, the workspace, the prepared corpus and the split, as references."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from sermodels.cache import read_log_mels
from sermodels.clips import ClipSet
from sermodels.config import Config, FrontEndConfig
from sermodels.corpora.utterance import Utterance
from sermodels.files import read_json
from sermodels.splits import Split, check_split
from sermodels.store import StageResult


@dataclass(frozen=True)
class RunContext:
    """References that the stages of one split share; small enough to be passed between tasks."""

    config: Config
    workspace: Path
    prepared: StageResult
    split_path: Path

    @property
    def cache(self) -> Path:
        """The folder of the log-mel cache."""
        return cache_folder(self.workspace)

    def split(self) -> Split:
        """The split, read from its file."""
        return Split.from_json(read_json(self.split_path))

    def load(self) -> "RunData":
        """All log-mels and labels of the prepared corpus, read from the cache.

        Raises SplitError when a speaker or a recording is on two sides of the split.
        """
        utterances = read_utterances(self.prepared)
        check_split(self.split(), utterances)
        log_mels = _log_mels(utterances, self.cache, self.config.front_end)
        return RunData(utterances, list(log_mels), labels_of(utterances, self.config.corpus.emotions))

    def inputs(self, *sections: str, **more: Any) -> dict[str, Any]:
        """What identifies a stage of this split: corpus, split, seed, the named config sections and more."""
        config = self.config.identity()
        common = {"prepared": self.prepared.key, "split": self.split().digest(), "seed": self.config.seed}
        return common | {section: config[section] for section in sections} | more


@dataclass(frozen=True)
class RunData:
    """Utterances, their log-mels (mel, frame) in dB and their labels (clip,), all in the same order."""

    utterances: tuple[Utterance, ...]
    log_mels: list[NDArray[np.float16]]
    labels: NDArray[np.int64]

    def indices(self, identifiers: tuple[str, ...]) -> NDArray[np.int64]:
        """Places of the given clips."""
        return places_of(self.utterances, identifiers)

    def clip_set(self, config: Config, device: torch.device) -> ClipSet:
        """The clips as the classifier's config prepares them."""
        return ClipSet.from_config(self.log_mels, self.labels.tolist(), config.clip, config.front_end).to(device)


@lru_cache(maxsize=1)
def _log_mels(
    utterances: tuple[Utterance, ...], cache: Path, front_end: FrontEndConfig
) -> tuple[NDArray[np.float16], ...]:
    """All log-mels of a prepared corpus, read once for all stages of a process."""
    return tuple(read_log_mels(cache, utterances, front_end))


def labels_of(utterances: Sequence[Utterance], emotions: Sequence[str]) -> NDArray[np.int64]:
    """The number of each utterance's emotion."""
    return np.array([emotions.index(utterance.emotion) for utterance in utterances], dtype=np.int64)


def places_of(utterances: Sequence[Utterance], identifiers: Sequence[str]) -> NDArray[np.int64]:
    """Where the clips of these names stand among the utterances."""
    place = {utterance.identifier: number for number, utterance in enumerate(utterances)}
    return np.array([place[identifier] for identifier in identifiers], dtype=np.int64)


def cache_folder(workspace: Path) -> Path:
    """Where the log-mels of a workspace lie."""
    return workspace / "cache" / "log-mels"


def utterance_json(utterance: Utterance) -> dict[str, Any]:
    """An utterance in JSON types."""
    return {**vars(utterance), "path": str(utterance.path)}


def read_utterances(prepared: StageResult) -> tuple[Utterance, ...]:
    """The utterances of the prepared corpus, in its order."""
    return tuple(Utterance(**{**row, "path": Path(row["path"])}) for row in prepared.read("corpus.json")["utterances"])

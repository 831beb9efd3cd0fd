"""One stage on one corpus, to be run in a process of its own: its seconds and the process's peak memory."""

import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from benchmarks.fresh import fresh_classifier, fresh_diffusion
from sermodels.cache import read_log_mels
from sermodels.clips import ClipSet
from sermodels.config import Config
from sermodels.corpora import load_corpus
from sermodels.stages.caching import run_caching
from sermodels.stages.context import cache_folder
from sermodels.synthesis import synthesize
from sermodels.training import train_classifier
from sermodels.training_data import everything


def caching(config: Config, folder: Path) -> None:
    """The corpus to log-mels."""
    run_caching(config, folder, skip_unreadable=False)


def synthesis(config: Config, folder: Path) -> None:
    """The config's clips, drawn from a network that has learnt nothing."""
    synthesize(fresh_diffusion(config), config.synthesis, folder / "clips", seed=0)


def training(config: Config, folder: Path) -> None:
    """One epoch of the classifier on the log-mels that caching left in `folder`."""
    utterances, cache = load_corpus(config.corpus).utterances, cache_folder(folder)
    log_mels = read_log_mels(cache, utterances, config.front_end)
    labels = [config.corpus.emotions.index(one.emotion) for one in utterances]
    clips = ClipSet.from_config(log_mels, labels, config.clip, config.front_end)
    data = replace(everything(clips, config), development=np.arange(2))
    classifier = fresh_classifier(config).to(memory_format=torch.channels_last)
    one_epoch = config.training.model_copy(update={"epochs": 1})
    train_classifier(classifier, data, one_epoch, augmentation=None, seed=0, checkpoint=folder / "none")


STAGES = {"caching": caching, "training": training, "synthesis": synthesis}


def peak_bytes() -> float:
    """This program's peak; `ru_maxrss` would be that of the process which started it, if that was larger."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) * 1024


def weighed(stage: str, config: Config, folder: Path) -> tuple[float, float]:
    """Run the stage; the seconds that it took, and this process's peak memory in bytes."""
    begun = time.perf_counter()
    STAGES[stage](config, folder)
    return time.perf_counter() - begun, peak_bytes()

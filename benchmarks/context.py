"""What every part is given: how much to measure, the recordings, a bundle, and the machine's rates."""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch

from benchmarks.fresh_bundle import fresh_bundle
from benchmarks.machine import Rates, cpu_name, measure_rates
from benchmarks.measure import tell
from sermodels.config import Config
from sermodels.corpora import DEMO, Utterance, load_corpus
from sermodels.presets import resolve_config
from serve.bundle import load_bundle
from serve.settings import usable_cores

ROOT = Path(__file__).resolve().parents[1]
PEERS = ROOT / "benchmarks" / ".venv" / "bin" / "python"


@dataclass(frozen=True)
class Sizes:
    """How much of each thing is measured."""

    rounds: int
    clips: int
    """Recordings of `features`, at most; the corpus has 1,510."""
    training_clips: int
    training_copies_cuda: int
    """How often each of them is there on a GPU, which has done with so few of them at once."""
    training_epochs: int
    training_batch: int
    synthetic_per_emotion: int
    pixel_batch: int
    requests: int
    """Of each server in each round, one after the other."""
    crowd_requests: int
    """Of each server in each round, by 64 clients."""
    generations: int
    """Of each side in each round."""
    growth_clips: int
    growth_per_emotion: int
    growth_factors: tuple[int, ...]


FULL = Sizes(5, 100_000, 128, 8, 3, 32, 50, 4, 100, 400, 10, 300, 25, (1, 4, 16))
QUICK = Sizes(2, 120, 16, 2, 2, 8, 16, 1, 20, 64, 1, 20, 1, (1, 4))
"""For ten minutes on two old cores."""


@dataclass(frozen=True)
class Options:
    """What the command line says."""

    quick: bool
    rounds: int | None
    data_dir: Path | None
    weights: str
    bundle: Path | None
    results: Path
    """Where the raw figures and the rows of this kind of run lie."""
    devices: tuple[str, ...] = ("cpu", "cuda")
    """Where the parts that know both are measured, if they are there."""


class Bench:
    """One run of the benchmarks; what several parts need is made when the first of them asks for it."""

    def __init__(self, options: Options, scratch: Path) -> None:
        """`scratch` is emptied afterwards; what is worth keeping, such as the demo corpus, lies beside it."""
        self.options, self.scratch = options, scratch
        self.sizes = QUICK if options.quick else FULL
        self.rounds = options.rounds or self.sizes.rounds
        self.cores = usable_cores()
        self.device = cpu_name()

    @property
    def devices(self) -> tuple[str, ...]:
        """Where the parts that know both are measured."""
        here = {"cpu": True, "cuda": torch.cuda.is_available()}
        for device in self.options.devices:
            if not here[device]:
                tell(f"  skipped: {device}; there is no such device here")
        return tuple(device for device in self.options.devices if here[device])

    @cached_property
    def rates(self) -> Rates:
        """What the machine can do at best."""
        tell("measuring the machine's rates")
        return measure_rates(self.scratch)

    @cached_property
    def config(self) -> Config:
        """The `quick` preset on the recordings in --data-dir, or on the demo corpus that the pipeline speaks itself."""
        config = resolve_config("quick")
        place = self.options.data_dir or self.scratch.parent / "recordings"
        given = {"data_dir": str(place)} | ({} if self.options.data_dir else {"names": (DEMO,)})
        return config.model_copy(update={"corpus": config.corpus.model_copy(update=given)})

    @cached_property
    def utterances(self) -> tuple[Utterance, ...]:
        """The recordings of the corpus, or so many of them as `sizes.clips` allows, spread over it."""
        everything = load_corpus(self.config.corpus).utterances
        return everything[:: -(-len(everything) // self.sizes.clips)]

    def config_of(self, recordings: Sequence[tuple[Path, Utterance]], name: str) -> Config:
        """The config whose corpus is these files alone, each with the labels of an utterance."""
        manifest = self.scratch / f"{name}.csv"
        with open(manifest, "w", encoding="utf-8", newline="") as file:
            lines = csv.writer(file)
            lines.writerow(["path", "emotion", "speaker"])
            lines.writerows([path.absolute(), one.emotion, one.speaker] for path, one in recordings)
        present = {one.emotion for _, one in recordings}
        emotions = tuple(emotion for emotion in self.config.corpus.emotions if emotion in present)
        given = {"names": (), "manifests": (str(manifest),), "emotions": emotions}
        corpus = self.config.corpus.model_copy(update=given)
        return self.config.model_copy(update={"corpus": corpus})

    @cached_property
    def bundle(self) -> Path:
        """The bundle in --bundle, or one of untrained networks of the `quick` preset."""
        if self.options.bundle is None:
            return fresh_bundle(self.config, self.scratch / "fresh")
        return load_bundle(self.options.bundle).folder

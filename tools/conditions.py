"""Compares what the diffusion model is conditioned on, and how it is sampled, by the quality of the clips it makes.

    python tools/conditions.py WORKSPACE VARIANTS.yaml --preset quick [--fold 0] [--processes 2]

VARIANTS.yaml names each variant: `kind` is `emotion` (a Gaussian around the emotion's centroid, as wide as
`diffusion.variation` says), `corpus` (the same for each emotion and corpus) or `clip` (a training clip's own
embedding); `overrides` is a list for the preset; `samplings` a list of lists, one for each way to draw clips. The
workspace's cache is used, no recording. Prints a line of JSON for each variant and sampling.
"""

import argparse
import dataclasses
import json
import multiprocessing
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from numpy.typing import NDArray

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from sermodels.cells.running import begin_process  # noqa: E402
from sermodels.checkpoint import load_tensors  # noqa: E402
from sermodels.clips import statistics_of  # noqa: E402
from sermodels.config import Config  # noqa: E402
from sermodels.device import best_device  # noqa: E402
from sermodels.diffusion.model import DiffusionModel, build_denoiser  # noqa: E402
from sermodels.diffusion.training import train_denoiser  # noqa: E402
from sermodels.embedding import EmotionEmbeddings  # noqa: E402
from sermodels.presets import resolve_config  # noqa: E402
from sermodels.randomness import generator, torch_seed  # noqa: E402
from sermodels.stages.classification import AUGMENTATION, BASELINE, run_classification  # noqa: E402
from sermodels.stages.context import RunContext, RunData  # noqa: E402
from sermodels.stages.diffusion import diffusion_clips  # noqa: E402
from sermodels.stages.embedding import EMBEDDINGS_FILE, VECTORS_FILE, run_embedding  # noqa: E402
from sermodels.stages.prepared import contexts_of  # noqa: E402
from sermodels.stages.quality import measure_quality  # noqa: E402
from sermodels.store import StageResult  # noqa: E402
from sermodels.synthesis import Draw, draw_log_mels  # noqa: E402

Numbers = NDArray[np.int64]


@dataclasses.dataclass(frozen=True)
class Job:
    """One variant on one fold, with the stages that it starts from."""

    name: str
    variant: dict[str, Any]
    preset: str
    overrides: tuple[str, ...]
    context: RunContext
    judge: StageResult
    embedding: StageResult

    def config(self, more: list[str]) -> Config:
        """The variant's config."""
        return resolve_config(self.preset, [*self.overrides, *self.variant.get("overrides", []), *more])


def groups_of(kind: str, data: RunData, training: Numbers) -> Numbers:
    """The number of each training clip's condition."""
    if kind == "clip":
        return np.arange(len(training))
    corpora = sorted({utterance.corpus for utterance in data.utterances})
    corpus = np.array([corpora.index(data.utterances[place].corpus) for place in training])
    groups = data.labels[training] * len(corpora) + corpus if kind == "corpus" else data.labels[training]
    return np.unique(groups, return_inverse=True)[1].astype(np.int64)


def conditions_of(job: Job, groups: Numbers) -> EmotionEmbeddings:
    """Centroid and spread of each group's embeddings, where the pipeline has those of each emotion."""
    vectors, _ = load_tensors(job.embedding.folder / VECTORS_FILE)
    fitted = EmotionEmbeddings.load(job.embedding.folder / EMBEDDINGS_FILE)
    scored = (vectors["embeddings"] - fitted.mean) / fitted.scale
    members = [scored[torch.from_numpy(groups == number)] for number in range(groups.max() + 1)]
    return dataclasses.replace(
        fitted,
        labels=tuple(str(number) for number in range(len(members))),
        centroids=torch.stack([member.mean(dim=0) for member in members]),
        spread=torch.stack([member.std(dim=0, correction=0) for member in members]),
    )


def trained(job: Job) -> list[dict[str, Any]]:
    """Train one variant, draw clips in each of its ways, and measure them."""
    began, config, device = time.monotonic(), job.config([]), best_device()
    data, split = job.context.load(), job.context.split()
    training = data.indices(split.training)
    groups = groups_of(job.variant["kind"], data, training)
    labels = np.zeros(len(data.labels), dtype=np.int64)
    labels[training] = groups
    clips = dataclasses.replace(diffusion_clips(config, data), labels=torch.from_numpy(labels)).to(device)
    mean, std = statistics_of(clips, torch.from_numpy(training).to(device))
    conditions = conditions_of(job, groups)
    torch.manual_seed(torch_seed(config.seed))
    denoiser = build_denoiser(config.diffusion, condition_size=conditions.width).to(device)
    model = DiffusionModel(config.diffusion, denoiser, conditions, mean, std, config.front_end.top_db)
    with tempfile.TemporaryDirectory() as folder:
        history = train_denoiser(
            model, clips, training, seed=config.seed, checkpoint=Path(folder) / "never", save_every_s=1e9
        )
        seconds = time.monotonic() - began
        return [
            {
                "variant": job.name,
                "fold": split.name,
                "sampling": sampling,
                "loss": history[-1]["train/loss"],
                "seconds": seconds,
                **drawn(job, job.config(sampling), model, groups, data.labels[training], Path(folder)),
            }
            for sampling in job.variant["samplings"]
        ]


def drawn(
    job: Job, config: Config, model: DiffusionModel, groups: Numbers, truth: Numbers, folder: Path
) -> dict[str, float]:
    """Figures of clips whose conditions are drawn as often as they occur in training."""
    rng, per_emotion = generator(config.seed), config.synthesis.per_emotion
    emotions = [emotion for emotion in range(len(config.corpus.emotions)) for _ in range(per_emotion)]
    chosen = [int(rng.choice(groups[truth == emotion])) for emotion in emotions]
    draws = [Draw(group, number) for number, group in enumerate(chosen)]
    began = time.monotonic()
    log_mels = draw_log_mels(model, draws, config.synthesis, seed=config.seed)
    seconds = time.monotonic() - began
    context = dataclasses.replace(job.context, config=config)
    halves = [log_mel.astype(np.float16) for log_mel in log_mels]
    return {"drawing_s": seconds, **measure_quality(context, job.judge, halves, emotions, folder).figures}


def main() -> int:
    """Train the judge and the embedding that the variants share, then the variants beside each other."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("workspace", type=Path)
    parser.add_argument("variants", type=Path)
    parser.add_argument("--preset", default="quick")
    parser.add_argument("--fold", type=int, default=0)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--overrides", nargs="*", default=[])
    options = parser.parse_args()
    workspace, overrides = options.workspace.resolve(), (*options.overrides, f"split.fold={options.fold}")
    config = resolve_config(options.preset, overrides)
    (context,) = contexts_of(workspace, config)
    judge = run_classification(context, BASELINE)
    embedding = run_embedding(context, run_classification(context, AUGMENTATION))
    jobs = [
        Job(name, variant, options.preset, overrides, context, judge, embedding)
        for name, variant in yaml.safe_load(options.variants.read_text(encoding="utf-8")).items()
    ]
    with multiprocessing.get_context("spawn").Pool(options.processes, begin_process) as pool:
        for rows in pool.imap_unordered(trained, jobs):
            for row in rows:
                print(json.dumps(row), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())

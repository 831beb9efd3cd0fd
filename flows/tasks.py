"""The stages as Prefect tasks: each calls one library function inside its MLflow run."""

from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, cast
from uuid import UUID

from prefect import task
from prefect.artifacts import create_progress_artifact, update_progress_artifact
from prefect.cache_policies import NO_CACHE
from prefect.context import TaskRunContext

from flows import registry, tracking
from flows.datasets import log_dataset
from flows.defaults import HOUR_S
from flows.recipe_tags import stage_tags
from flows.retries import IO_TASK
from flows.tracking import Run
from sermodels.classifier_checkpoint import CLASSIFIER_FILE
from sermodels.config import Config
from sermodels.files import sha256_of_json
from sermodels.model_card import diffusion_card
from sermodels.stages.caching import run_caching, run_splitting
from sermodels.stages.classification import CARD_FILE, Recipe, run_classification
from sermodels.stages.context import RunContext, read_utterances, utterance_json
from sermodels.stages.diffusion import DENOISER_FILE, run_diffusion
from sermodels.stages.editing import run_editing
from sermodels.stages.embedding import run_embedding
from sermodels.stages.functionals import LETTER as FUNCTIONALS
from sermodels.stages.functionals import NAME, run_functionals
from sermodels.stages.synthesis import draw_part, run_synthesis
from sermodels.store import StageResult

NO_TAGS: Mapping[str, str] = MappingProxyType({})


def progress_in_prefect(description: str) -> Callable[[float], None]:
    """A function that shows the done share (0 to 1) as a progress bar of the running task; nothing outside Prefect."""
    if TaskRunContext.get() is None:
        return lambda share: None
    artifact = cast(UUID, create_progress_artifact(progress=0.0, description=description))
    shown = 0

    def report(share: float) -> None:
        nonlocal shown
        if int(100 * share) > shown:  # whole percents only: each is a request
            shown = int(100 * share)
            update_progress_artifact(artifact_id=artifact, progress=float(shown))

    return report


def epoch_reporter(run: Run, epochs: int, description: str) -> Callable[[Mapping[str, float]], None]:
    """Each epoch's metrics to MLflow and its share of all epochs to Prefect."""
    progress = progress_in_prefect(description)

    def report(record: Mapping[str, float]) -> None:
        run.log_epoch(record)
        progress((record["epoch"] + 1) / epochs)

    return report


def log_stage(run: Run, result: StageResult, *patterns: str) -> None:
    """Parameters, figures and files of a stage that ended."""
    run.set_tags({tracking.STAGE_KEY_TAG: result.key, "reused": str(result.reused).lower()})
    run.log_params(flat_inputs(result.read("inputs.json")))
    if (result.folder / "figures.json").exists():
        run.log_metrics(flat_numbers(result.read("figures.json")))
    run.log_folder(result.folder, patterns=patterns)


def flat_inputs(inputs: Mapping[str, Any]) -> dict[str, Any]:
    """Nested sections as `section.key`."""
    flat: dict[str, Any] = {}
    for name, value in inputs.items():
        flat |= {f"{name}.{key}": inner for key, inner in value.items()} if isinstance(value, dict) else {name: value}
    return flat


def flat_numbers(figures: Mapping[str, Any]) -> dict[str, float]:
    """The numbers among figures, nested ones as `part/name`."""
    flat: dict[str, float] = {}
    for name, value in figures.items():
        if isinstance(value, dict):
            flat |= {f"{name}/{key}": float(inner) for key, inner in value.items()}
        elif isinstance(value, int | float):
            flat[name] = float(value)
    return flat


@task(name="caching", cache_policy=NO_CACHE, timeout_seconds=12 * HOUR_S, **IO_TASK)
def caching_task(config: Config, workspace: Path, parent: Run, skip_unreadable: bool) -> StageResult:
    """Collect the corpus and fill the log-mel cache."""
    with tracking.open_run("caching", tags={"stage": "caching"}, parent=parent) as run:
        progress = progress_in_prefect("log-mels cached")
        prepared, report = run_caching(config, workspace, skip_unreadable=skip_unreadable, on_progress=progress)
        progress(1.0)
        described = prepared.read("corpus.json")
        counts = {"computed": report.computed, "reused": report.reused, "unreadable": len(report.unreadable)}
        sizes = {"clips": len(described["utterances"]), "speakers": len(described["speakers"])}
        run.log_metrics({**{f"cache/{name}": float(value) for name, value in counts.items()}, **sizes})
        log_stage(run, prepared, "corpus.json", "*.png")
        rows = [utterance_json(utterance) for utterance in read_utterances(prepared)]
        log_dataset(run, rows, name="corpus", digest=described["digest"], context="corpus")
        parent.set_tags({tracking.CORPUS_TAG: report.corpus_digest})
        log_dataset(parent, rows, name="corpus", digest=described["digest"], context="corpus")
        for note in [*described["notes"], *([report.message()] if report.unreadable else [])]:
            print(note)
    return prepared


@task(name="splitting", cache_policy=NO_CACHE, **IO_TASK)
def splitting_task(config: Config, workspace: Path, prepared: StageResult, parent: Run) -> list[Path]:
    """Decide who is trained on, who chooses the epoch and who is tested."""
    paths = run_splitting(config, workspace, prepared)
    for path in paths:
        parent.log_file(path, "splits")
    return paths


@task(name="classifier", cache_policy=NO_CACHE, **IO_TASK)
def classifier_task(
    context: RunContext,
    recipe: Recipe,
    parent: Run,
    run_name: str,
    given: StageResult | None = None,
    *,
    register: bool = True,
    tags: Mapping[str, str] = NO_TAGS,
) -> StageResult:
    """Train and evaluate one classifier, and `register` it as a candidate."""
    config = context.config
    own_tags = stage_tags(context, recipe.name, recipe.letter)
    with tracking.open_run(run_name, tags={**own_tags, **tags}, parent=parent) as run:
        report = epoch_reporter(run, config.training.epochs, f"epochs of {run_name}")
        result = run_classification(context, recipe, given=given, on_epoch=report)
        log_stage(run, result, "*.json", "*.csv", "*.png", "*.md")
        _log_split_datasets(run, context)
        figures = result.read("figures.json")
        trained_in = figures.get("number_format", "")  # a stage of before 2026-12-01 does not say
        run.set_tags({"weights": figures["weights"], "number_format": trained_in})
        if register:
            _register_classifier(context, recipe, result)
    return result


@task(name="functionals", cache_policy=NO_CACHE, **IO_TASK)
def functionals_task(
    context: RunContext, parent: Run, run_name: str, *, tags: Mapping[str, str] = NO_TAGS
) -> StageResult:
    """Fit and evaluate the classifier without a network."""
    own_tags = stage_tags(context, NAME, FUNCTIONALS) | {"weights": "none"}
    with tracking.open_run(run_name, tags={**own_tags, **tags}, parent=parent) as run:
        result = run_functionals(context)
        log_stage(run, result, "*.json", "*.csv", "*.png")
        _log_split_datasets(run, context)
    return result


def _register_classifier(context: RunContext, recipe: Recipe, result: StageResult) -> None:
    """A new version of the classifier, with the figures that candidates are compared by."""
    config, figures = context.config, result.read("figures.json")
    tags = version_tags(context, result, recipe.letter) | {
        "development_uar": f"{figures['development']['uar']:.6f}",
        "test_uar": f"{figures['test']['uar']:.6f}",
    }
    file = result.folder / CLASSIFIER_FILE
    card = (result.folder / CARD_FILE).read_text(encoding="utf-8")
    registry.register_classifier(
        file, n_mels=config.front_end.n_mels, labels=config.corpus.emotions, tags=tags, card=card
    )


def version_tags(context: RunContext, result: StageResult, letter: str) -> dict[str, str]:
    """What tells registered versions apart."""
    config, described = context.config, context.prepared.read("corpus.json")
    sound = [config.front_end.model_dump(), config.clip.level, config.corpus.emotions]
    return {
        tracking.STAGE_KEY_TAG: result.key,
        "stage": result.name,
        "letter": letter,
        "split": context.split().name,
        "data_digest": described["digest"],
        "synthetic_speech": str("demo" in config.corpus.names).lower(),
        registry.SOUND_TAG: sha256_of_json(sound)[:12],
    }


def _log_split_datasets(run: Run, context: RunContext) -> None:
    """The clips of each part of the split, with the split's digest."""
    split = context.split()
    by_identifier = {utterance.identifier: utterance_json(utterance) for utterance in read_utterances(context.prepared)}
    for part in ("training", "development", "test"):
        rows = [by_identifier[identifier] for identifier in getattr(split, part)]
        log_dataset(run, rows, name=f"{split.name} {part}", digest=split.digest(), context=part)


@task(name="embedding", cache_policy=NO_CACHE, **IO_TASK)
def embedding_task(context: RunContext, trained: StageResult, parent: Run, run_name: str) -> StageResult:
    """Embed the training clips and compute the emotions' centroids."""
    with tracking.open_run(run_name, tags=stage_tags(context, "embedding"), parent=parent) as run:
        result = run_embedding(context, trained)
        log_stage(run, result, "*.safetensors", "*.json", "*.png")
    return result


@task(name="diffusion", cache_policy=NO_CACHE, **IO_TASK)
def diffusion_task(
    context: RunContext, embedding: StageResult, parent: Run, run_name: str, *, register: bool = True
) -> StageResult:
    """Train the diffusion model and `register` it."""
    config = context.config
    with tracking.open_run(run_name, tags=stage_tags(context, "diffusion"), parent=parent) as run:
        report = epoch_reporter(run, config.diffusion.epochs, f"epochs of {run_name}")
        result = run_diffusion(
            context, embedding, on_epoch=report, on_picture=lambda epoch, path: run.log_file(path, "samples")
        )
        log_stage(run, result, "*.json", "curves.png")
        if register:
            registry.register_diffusion(
                result.folder / DENOISER_FILE,
                n_mels=config.front_end.n_mels,
                frames=config.diffusion.frames,
                labels=config.corpus.emotions,
                tags=version_tags(context, result, ""),
                card=diffusion_card(config, context.split()),
            )
    return result


@task(name="synthesis", cache_policy=NO_CACHE, **IO_TASK)
def synthesis_task(
    context: RunContext,
    diffusion: StageResult,
    judge: StageResult,
    parent: Run,
    run_name: str,
    *,
    tags: Mapping[str, str] = NO_TAGS,
) -> StageResult:
    """Draw the synthetic clips."""
    with tracking.open_run(run_name, tags={**stage_tags(context, "synthesis"), **tags}, parent=parent) as run:
        progress = progress_in_prefect("synthetic clips drawn")
        result = run_synthesis(context, diffusion, judge, on_progress=progress)
        log_stage(run, result, "*.json", "*.png", "audio/*.wav")
    return result


@task(name="synthesis part", cache_policy=NO_CACHE, **IO_TASK)
def synthesis_part_task(context: RunContext, diffusion: StageResult, judge: StageResult, part: int, parts: int) -> None:
    """Draw every `parts`-th shard of the synthetic clips, at the same time as the other parts, for `synthesis`."""
    progress = progress_in_prefect(f"synthetic clips drawn, part {part + 1} of {parts}")
    draw_part(context, diffusion, judge, part=part, parts=parts, on_progress=progress)


@task(name="editing", cache_policy=NO_CACHE, **IO_TASK)
def editing_task(
    context: RunContext, diffusion: StageResult, judge: StageResult, parent: Run, run_name: str
) -> StageResult:
    """Move clips of test speakers towards other emotions."""
    with tracking.open_run(run_name, tags=stage_tags(context, "editing"), parent=parent) as run:
        result = run_editing(context, diffusion, judge)
        log_stage(run, result, "*.json", "*.png", "audio/*.wav")
    return result


@task(name="export", cache_policy=NO_CACHE, timeout_seconds=2 * HOUR_S, **IO_TASK)
def export_task(parent: Run, hifigan: Path | None = None, triton: Path | None = None) -> list[str]:
    """Export the champion and the challenger to ONNX, and register the graphs beside them."""
    from flows.export import export_champion

    with tracking.open_run("export", tags={"stage": "export"}, parent=parent) as run:
        return export_champion(run, hifigan=hifigan, triton=triton)

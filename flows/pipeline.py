"""The pipeline: caching, baseline, augmentation, embedding, diffusion, synthesis, editing, retraining, its control."""

from pathlib import Path

from prefect import flow
from prefect.artifacts import create_table_artifact
from prefect.context import FlowRunContext

from flows import tracking
from flows.defaults import STAGES
from flows.promotion import gate_diffusion, gate_task
from flows.report import StageRow, compare, markdown_table
from flows.tasks import (
    caching_task,
    classifier_task,
    diffusion_task,
    editing_task,
    embedding_task,
    export_task,
    splitting_task,
    synthesis_task,
)
from flows.tracking import Run
from sermodels.config import Config
from sermodels.corpora.demo import DEMO_NOTICE
from sermodels.errors import ConfigError
from sermodels.plots import bar_picture
from sermodels.presets import flatten
from sermodels.stages.classification import AUGMENTATION, BASELINE, OVERSAMPLING, RETRAINING, Recipe
from sermodels.stages.context import RunContext
from sermodels.store import StageResult


@flow(name="speech-emotion-recognition", log_prints=True, validate_parameters=False)
def pipeline(
    config: Config, workspace: Path, preset: str = "custom", skip_unreadable: bool = False, stages: str = STAGES
) -> list[StageRow]:
    """Run the stages of every split under one MLflow run; returns the comparison of stages.

    `stages` are the letters of the classifiers that are trained. Raises ConfigError when it names none.
    """
    check_stages(stages)
    tracking.setup()
    tags = {"preset": preset, "protocol": config.split.protocol, "workspace": str(workspace.resolve())}
    tags |= {"stages": stages}
    with tracking.open_run(f"{preset}, protocol {config.split.protocol}", tags=tags | notice_tags(config)) as parent:
        parent.log_params(flatten(config))
        prepared = caching_task(config, workspace, parent, skip_unreadable)
        split_paths = splitting_task(config, workspace, prepared, parent)
        contexts = [RunContext(config, workspace, prepared, path) for path in split_paths]
        results = [run_split(context, parent, len(contexts) > 1, stages) for context in contexts]
        by_recipe = {name: [split[name] for split in results] for name in results[0]}
        rows = compare(by_recipe, config.corpus.emotions)
        publish(parent, rows, config)
        gate_task(parent, [result for several in by_recipe.values() for result in several])
        export_task(parent)
    return rows


@flow(name="export", log_prints=True, validate_parameters=False)
def export_registered(hifigan: Path | None = None, triton: Path | None = None) -> list[str]:
    """Export the registered champion and challenger; returns the aliases exported."""
    tracking.setup()
    with tracking.open_run("export", tags={"stage": "export"}) as parent:
        return export_task(parent, hifigan, triton)


def check_stages(stages: str) -> None:
    """Raise ConfigError unless the letters name stages, and those that they build on."""
    if not stages or set(stages) - set(STAGES):
        raise ConfigError(f"stages {stages!r}: name one or more of {', '.join(STAGES)}, as in {STAGES}")
    if "C" in stages and not {"A", "B"} <= set(stages):
        raise ConfigError(f"stages {stages!r}: C trains on clips that A and B help to make; name ABC")


def run_split(context: RunContext, parent: Run, several: bool, stages: str) -> dict[str, StageResult]:
    """The stages of one split; returns the results of the classifier stages by name."""
    suffix = f", {context.split().name}" if several else ""

    def classify(recipe: Recipe, synthetic: StageResult | None = None) -> StageResult:
        named = classifier_task.with_options(name=recipe.name, task_run_name=recipe.name + suffix)
        return named(context, recipe, parent, recipe.name + suffix, synthetic)

    results = {recipe.name: classify(recipe) for recipe in (BASELINE, AUGMENTATION) if recipe.letter in stages}
    if RETRAINING.letter in stages:
        synthetic = run_diffusion_stages(context, parent, suffix, results[BASELINE.name], results[AUGMENTATION.name])
        results[RETRAINING.name] = classify(RETRAINING, synthetic)
    if OVERSAMPLING.letter in stages:
        results[OVERSAMPLING.name] = classify(OVERSAMPLING)
    return results


def run_diffusion_stages(
    context: RunContext, parent: Run, suffix: str, baseline: StageResult, augmented: StageResult
) -> StageResult:
    """The stages around the diffusion model; returns its synthetic clips."""
    embedding = embedding_task.with_options(task_run_name="embedding" + suffix)(
        context, augmented, parent, "embedding" + suffix
    )
    diffusion = diffusion_task.with_options(task_run_name="diffusion" + suffix)(
        context, embedding, parent, "diffusion" + suffix
    )
    synthetic = synthesis_task.with_options(task_run_name="synthesis" + suffix)(
        context, diffusion, baseline, parent, "synthesis" + suffix
    )
    gate_diffusion(diffusion, synthetic)
    editing_task.with_options(task_run_name="editing" + suffix)(
        context, diffusion, baseline, parent, "editing" + suffix
    )
    return synthetic


def publish(parent: Run, rows: list[StageRow], config: Config) -> None:
    """The comparison as metrics and artifacts in MLflow, as a table in Prefect, and in print."""
    text = markdown_table(rows)
    parent.log_metrics({name: value for row in rows for name, value in row.metrics().items()})
    parent.log_text(text + "\n", "comparison.md")
    bars = {"development UAR": [row.development_uar for row in rows], "test UAR": [row.test_uar for row in rows]}
    parent.log_picture(bar_picture(bars, [f"{row.letter} {row.stage}" for row in rows], "Stages"), "comparison.png")
    if FlowRunContext.get() is not None:
        create_table_artifact(key="comparison", table=[row.cells() for row in rows], description=protocol_line(config))
    print(f"{protocol_line(config)}\n{text}")


def protocol_line(config: Config) -> str:
    """What kind of number the table holds."""
    kind = {
        "speaker": f"unseen speakers (protocol speaker, fold {config.split.fold} of {config.split.folds})",
        "corpus": "a corpus that was not trained on (protocol corpus)",
        "seed": "speaker-dependent, for comparison (protocol seed)",
    }[config.split.protocol]
    return f"{kind}. {DEMO_NOTICE}" if "demo" in config.corpus.names else kind


def notice_tags(config: Config) -> dict[str, str]:
    """The description that MLflow shows above the run."""
    return {"mlflow.note.content": protocol_line(config)}

"""The pipeline: caching, baseline, augmentation, embedding, diffusion, synthesis, editing, retraining, its control."""

from pathlib import Path

from prefect import flow
from prefect.artifacts import create_table_artifact
from prefect.context import FlowRunContext

from flows import tracking
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
from sermodels.plots import bar_picture
from sermodels.presets import flatten
from sermodels.stages.classification import AUGMENTATION, BASELINE, OVERSAMPLING, RECIPES, RETRAINING, Recipe
from sermodels.stages.context import RunContext
from sermodels.store import StageResult


@flow(name="speech-emotion-recognition", log_prints=True, validate_parameters=False)
def pipeline(config: Config, workspace: Path, preset: str = "custom", skip_unreadable: bool = False) -> list[StageRow]:
    """Run every stage of every split under one MLflow run; returns the comparison of stages."""
    tracking.setup()
    tags = {"preset": preset, "protocol": config.split.protocol, "workspace": str(workspace.resolve())}
    with tracking.open_run(f"{preset}, protocol {config.split.protocol}", tags=tags | notice_tags(config)) as parent:
        parent.log_params(flatten(config))
        prepared = caching_task(config, workspace, parent, skip_unreadable)
        split_paths = splitting_task(config, workspace, prepared, parent)
        contexts = [RunContext(config, workspace, prepared, path) for path in split_paths]
        stages = [run_split(context, parent, len(contexts) > 1) for context in contexts]
        by_recipe = {recipe.name: [results[recipe.name] for results in stages] for recipe in RECIPES}
        rows = compare(by_recipe, config.corpus.emotions)
        promote_best([result for results in by_recipe.values() for result in results])
        publish(parent, rows, config)
        export_task(parent)
    return rows


@flow(name="export", log_prints=True, validate_parameters=False)
def export_registered(hifigan: Path | None = None, triton: Path | None = None) -> list[str]:
    """Export the registered champion and challenger; returns the aliases exported."""
    tracking.setup()
    with tracking.open_run("export", tags={"stage": "export"}) as parent:
        return export_task(parent, hifigan, triton)


def run_split(context: RunContext, parent: Run, several: bool) -> dict[str, StageResult]:
    """All stages of one split; returns the results of the classifier stages by name."""
    suffix = f", {context.split().name}" if several else ""

    def classify(recipe: Recipe, synthetic: StageResult | None = None) -> StageResult:
        named = classifier_task.with_options(name=recipe.name, task_run_name=recipe.name + suffix)
        return named(context, recipe, parent, recipe.name + suffix, synthetic)

    baseline, augmented = classify(BASELINE), classify(AUGMENTATION)
    embedding = embedding_task.with_options(task_run_name="embedding" + suffix)(
        context, augmented, parent, "embedding" + suffix
    )
    diffusion = diffusion_task.with_options(task_run_name="diffusion" + suffix)(
        context, embedding, parent, "diffusion" + suffix
    )
    synthetic = synthesis_task.with_options(task_run_name="synthesis" + suffix)(
        context, diffusion, baseline, parent, "synthesis" + suffix
    )
    editing_task.with_options(task_run_name="editing" + suffix)(
        context, diffusion, baseline, parent, "editing" + suffix
    )
    return {
        BASELINE.name: baseline,
        AUGMENTATION.name: augmented,
        RETRAINING.name: classify(RETRAINING, synthetic),
        OVERSAMPLING.name: classify(OVERSAMPLING),
    }


def promote_best(results: list[StageResult]) -> None:
    """Make the candidate with the best development UAR the champion, and the next one the challenger."""
    by_uar = sorted(results, key=lambda result: -float(result.read("figures.json")["development"]["uar"]))
    versions = [tracking.find_version(tracking.CLASSIFIER_MODEL, result.key) for result in by_uar]
    found = [version for version in versions if version is not None]
    if found and tracking.promote(tracking.CLASSIFIER_MODEL, found[0]) and len(found) > 1:
        tracking.challenge(tracking.CLASSIFIER_MODEL, found[1])


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

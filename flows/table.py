"""The table of results: protocols, folds, seeds and stages as Prefect tasks, each cell a run in MLflow, resumable."""

from pathlib import Path
from typing import Any, cast

from prefect import flow
from prefect.futures import PrefectFuture, wait
from prefect.task_runners import TaskRunner, ThreadPoolTaskRunner

from flows import tracking
from flows.cluster import cluster
from flows.tasks import (
    caching_task,
    classifier_task,
    diffusion_task,
    embedding_task,
    functionals_task,
    splitting_task,
    synthesis_part_task,
    synthesis_task,
)
from flows.tracking import Run
from sermodels.config import Config
from sermodels.plan import BY_LETTER, TablePlan, with_needed
from sermodels.presets import flatten
from sermodels.stages.context import RunContext
from sermodels.stages.functionals import LETTER as FUNCTIONALS
from sermodels.store import StageResult

ONE_AFTER_THE_OTHER: TaskRunner[PrefectFuture[Any]] = cast(Any, ThreadPoolTaskRunner(max_workers=1))


@flow(name="results-table", log_prints=True, validate_parameters=False, task_runner=ONE_AFTER_THE_OTHER)
def table(config: Config, plan: TablePlan, workspace: Path, preset: str, workers: int = 1) -> None:
    """Run every cell of the plan that is not done yet. Cells of a plan that ran before are logged again, not trained.

    One cell after the other on one machine; `table.with_options(task_runner=...)` spreads them over many `workers`.
    """
    tracking.setup()
    tags = {"preset": preset, "table": preset, "workspace": str(workspace.resolve())}
    with tracking.open_run(f"table {preset}, {', '.join(plan.protocols)}", tags=tags) as parent:
        parent.log_params(flatten(config))
        prepared = caching_task(config, workspace, parent, skip_unreadable=False)
        cells = [
            future
            for one in plan.configs(config)
            for path in splitting_task(one, workspace, prepared, parent)
            if plan.wants((context := RunContext(one, workspace, prepared, path)).split())
            for future in submit_cell(context, parent, plan.stages_with(one, config), preset, workers)
        ]
        wait(cells)
        for future in cells:
            future.result()  # raises what failed


def submit_cell(context: RunContext, parent: Run, stages: str, preset: str, workers: int) -> list[PrefectFuture[Any]]:
    """All stages of one split and seed, each after what it needs; synthesis in as many parts as there are workers."""
    suffix = f", {context.split().name}, seed {context.config.seed}"
    tags = {"table": preset}

    def classify(letter: str, given: PrefectFuture[StageResult] | None = None) -> PrefectFuture[StageResult]:
        recipe = BY_LETTER[letter]
        named = classifier_task.with_options(name=recipe.name, task_run_name=recipe.name + suffix)
        ready = awaited(given) if given else None
        return named.submit(context, recipe, parent, recipe.name + suffix, ready, tags=tags, register=False)

    needed = with_needed(stages)
    futures = {letter: classify(letter) for letter in "ABD" if letter in needed}
    if "R" in stages:
        futures["R"] = classify("R", futures["B"])
    if FUNCTIONALS in stages:
        name = "functionals" + suffix
        named = functionals_task.with_options(task_run_name=name)
        futures[FUNCTIONALS] = named.submit(context, parent, name, tags=tags)
    if "C" not in stages:
        return list(futures.values())
    judge, embedder = awaited(futures["A"]), awaited(futures["B"])
    embedding = embedding_task.submit(context, embedder, parent, "embedding" + suffix)
    diffusion = diffusion_task.submit(context, awaited(embedding), parent, "diffusion" + suffix, register=False)
    drawn = [
        synthesis_part_task.submit(context, awaited(diffusion), judge, part, workers)
        for part in range(workers if workers > 1 else 0)
    ]
    synthetic = synthesis_task.submit(
        context, awaited(diffusion), judge, parent, "synthesis" + suffix, tags=tags, return_state=False, wait_for=drawn
    )
    return [*futures.values(), embedding, diffusion, *drawn, synthetic, classify("C", synthetic)]


def awaited(future: PrefectFuture[StageResult]) -> StageResult:
    """A future where a task wants its result: Prefect waits for it."""
    return cast(StageResult, future)


def run_table(config: Config, plan: TablePlan, workspace: Path, preset: str, dask: str = "") -> None:
    """Run the flow here, or its cells on Dask: `local` for a cluster on this machine, or a scheduler's address."""
    if not dask:
        table(config, plan, workspace.resolve(), preset)
        return
    with cluster(dask) as (runner, workers):
        table.with_options(task_runner=runner)(config, plan, workspace.resolve(), preset, workers)

"""The table of results: protocols, folds, seeds and stages as Prefect tasks, each cell a run in MLflow, resumable."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from prefect import flow
from prefect.futures import PrefectFuture, wait
from prefect.task_runners import TaskRunner, ThreadPoolTaskRunner

from flows import tracking
from flows.tasks import (
    caching_task,
    classifier_task,
    diffusion_task,
    embedding_task,
    splitting_task,
    synthesis_task,
)
from flows.tracking import Run
from sermodels.config import Config
from sermodels.errors import ConfigError
from sermodels.presets import flatten
from sermodels.stages.classification import RECIPES, Recipe
from sermodels.stages.context import RunContext
from sermodels.store import StageResult

PROTOCOLS = ("speaker", "corpus", "seed")
BY_LETTER: dict[str, Recipe] = {recipe.letter: recipe for recipe in RECIPES}


@dataclass(frozen=True)
class TablePlan:
    """What a call adds to the table: which protocols, folds, seeds and stages."""

    protocols: tuple[str, ...] = ("speaker",)
    folds: tuple[int, ...] | None = None
    """Folds of protocol `speaker`; None is all of them."""
    seeds: int = 1
    stages: str = "ABCD"

    def configs(self, config: Config) -> list[Config]:
        """One config for each protocol and seed, with all folds in it; `seed` draws another split with each seed."""
        return [
            Config.model_validate(
                config.model_dump()
                | {"seed": config.seed + number}
                | {"split": config.split.model_dump() | _split(protocol, config.split.seed + number)}
            )
            for protocol in self.protocols
            for number in range(self.seeds)
        ]


def _split(protocol: str, seed: int) -> dict[str, Any]:
    """What a protocol sets in the section `split`. Folds of speakers are the same for every seed."""
    return {"protocol": protocol, "fold": "all"} | ({"seed": seed} if protocol == "seed" else {})


ONE_AFTER_THE_OTHER: TaskRunner[PrefectFuture[Any]] = cast(Any, ThreadPoolTaskRunner(max_workers=1))


@flow(name="results-table", log_prints=True, validate_parameters=False, task_runner=ONE_AFTER_THE_OTHER)
def table(config: Config, plan: TablePlan, workspace: Path, preset: str) -> None:
    """Run every cell of the plan that is not done yet. Cells of a plan that ran before are logged again, not trained.

    One cell after the other on one machine; `table.with_options(task_runner=...)` spreads them over many.
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
            if _is_wanted(context := RunContext(one, workspace, prepared, path), plan)
            for future in submit_cell(context, parent, plan.stages, preset)
        ]
        wait(cells)
        for future in cells:
            future.result()  # raises what failed


def _is_wanted(context: RunContext, plan: TablePlan) -> bool:
    """Whether the plan names this fold."""
    split = context.split()
    names = {f"fold {fold}" for fold in plan.folds or ()}
    return plan.folds is None or split.protocol != "speaker" or split.name in names


def submit_cell(context: RunContext, parent: Run, stages: str, preset: str) -> list[PrefectFuture[Any]]:
    """All stages of one split and seed; what a stage needs is submitted before it."""
    suffix = f", {context.split().name}, seed {context.config.seed}"
    tags = {"table": preset}

    def classify(letter: str, synthetic: PrefectFuture[StageResult] | None = None) -> PrefectFuture[StageResult]:
        recipe = BY_LETTER[letter]
        named = classifier_task.with_options(name=recipe.name, task_run_name=recipe.name + suffix)
        given = awaited(synthetic) if synthetic else None
        return named.submit(context, recipe, parent, recipe.name + suffix, given, tags=tags, register=False)

    needed = stages + ("AB" if "C" in stages else "")
    futures = {letter: classify(letter) for letter in "ABD" if letter in needed}
    if "C" in stages:
        judge, embedder = awaited(futures["A"]), awaited(futures["B"])
        embedding = awaited(embedding_task.submit(context, embedder, parent, "embedding" + suffix))
        diffusion = awaited(diffusion_task.submit(context, embedding, parent, "diffusion" + suffix, register=False))
        synthetic = synthesis_task.submit(context, diffusion, judge, parent, "synthesis" + suffix, tags=tags)
        futures["C"] = classify("C", synthetic)
    return list(futures.values())


def awaited(future: PrefectFuture[StageResult]) -> StageResult:
    """A future where a task wants its result: Prefect waits for it."""
    return cast(StageResult, future)


def plan_of(protocols: str, folds: str, seeds: int, stages: str) -> TablePlan:
    """The plan that the command line asks for. Raises ConfigError naming what is not allowed."""
    chosen = tuple(name for name in protocols.replace(" ", "").split(",") if name)
    if unknown := sorted(set(chosen) - set(PROTOCOLS)):
        raise ConfigError(f"--protocols {unknown[0]}: allowed are {', '.join(PROTOCOLS)}")
    if unknown := sorted(set(stages) - set(BY_LETTER)):
        raise ConfigError(f"--stages {unknown[0]}: allowed are {', '.join(BY_LETTER)}, as in ABCD")
    numbers = [part for part in folds.split(",") if part not in ("", "all")]
    if not all(number.isdecimal() for number in numbers):
        raise ConfigError(f"--folds {folds}: numbers such as 0,1,2, or all")
    if seeds < 1:
        raise ConfigError(f"--seeds {seeds}: at least 1")
    return TablePlan(chosen, tuple(int(number) for number in numbers) or None, seeds, stages)


def run_table(config: Config, plan: TablePlan, workspace: Path, preset: str, dask: str = "") -> None:
    """Run the flow here, or its cells on Dask: `local` for a cluster on this machine, or a scheduler's address."""
    flow_run = table
    if dask:
        from prefect_dask.task_runners import DaskTaskRunner

        runner = DaskTaskRunner() if dask == "local" else DaskTaskRunner(address=dask)
        flow_run = table.with_options(task_runner=cast(Any, runner))
    flow_run(config, plan, workspace.resolve(), preset)

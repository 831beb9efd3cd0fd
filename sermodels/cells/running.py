"""The stages of many splits and seeds, in processes beside each other, each recorded as it ends."""

import multiprocessing
import os
import threading
import time
import traceback
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from sermodels.cells.packing import CELLS
from sermodels.config import Config
from sermodels.errors import SermodelsError
from sermodels.files import write_json
from sermodels.plan import BY_LETTER, TablePlan
from sermodels.stages.classification import run_classification
from sermodels.stages.context import RunContext
from sermodels.stages.diffusion import run_diffusion
from sermodels.stages.embedding import run_embedding
from sermodels.stages.functionals import LETTER as FUNCTIONALS
from sermodels.stages.functionals import run_functionals
from sermodels.stages.prepared import contexts_of
from sermodels.stages.synthesis import run_synthesis
from sermodels.store import StageResult

ORDER = ("C", "A", "B", "D", "R", FUNCTIONALS)
"""Units of one split and seed: the longest first. `C` has A and B in it."""
DDPM = {"sampler": "ddpm", "steps": 50}
"""The published recipe's sampler, whose clips are measured beside the fast one's for the first seed."""


@dataclass(frozen=True)
class Unit:
    """Stages of one split and seed that one process runs, one after the other."""

    context: RunContext
    stage: str
    """`C` with everything that it builds on, or one other letter."""
    first_seed: bool


def units_of(config: Config, plan: TablePlan, workspace: Path) -> list[Unit]:
    """The plan's units: seed by seed, long ones first, and those that build on others a round later."""
    rounds: list[tuple[int, int, Unit]] = []
    for number, one in enumerate(plan.configs(config)):
        wanted = plan.stages_with(one, config)
        order = [letter for letter in ORDER if letter in wanted and not (letter in "AB" and "C" in wanted)]
        for context in contexts_of(workspace, one):
            if not plan.wants(context.split()):
                continue
            for place, letter in enumerate(order):
                unit = Unit(context, letter, one.seed == config.seed)
                rounds.append((number + (letter == "R"), place, unit))
    return [unit for *_, unit in sorted(rounds, key=lambda item: item[:2])]


def run_unit(unit: Unit) -> list[str]:
    """Run a unit's stages and record each; returns their names."""
    if unit.stage == "C":
        return list(_with_synthesis(unit))
    if unit.stage == FUNCTIONALS:
        return [_record(unit.context, run_functionals(unit.context), unit.stage)]
    given = None
    if unit.stage == "R":
        given = run_classification(unit.context, BY_LETTER["B"])
    return [_record(unit.context, run_classification(unit.context, BY_LETTER[unit.stage], given=given), unit.stage)]


def _with_synthesis(unit: Unit) -> Iterator[str]:
    """A, B, the stages around the diffusion model, and C."""
    context = unit.context
    baseline = run_classification(context, BY_LETTER["A"])
    yield _record(context, baseline, "A")
    augmented = run_classification(context, BY_LETTER["B"])
    yield _record(context, augmented, "B")
    diffusion = run_diffusion(context, run_embedding(context, augmented))
    yield _record(context, diffusion)
    synthetic = run_synthesis(context, diffusion, baseline)
    yield _record(context, synthetic)
    yield _record(context, run_classification(context, BY_LETTER["C"], given=synthetic), "C")
    if unit.first_seed:
        synthesis = context.config.synthesis.model_copy(update=DDPM)
        slow = replace(context, config=context.config.model_copy(update={"synthesis": synthesis}))
        yield _record(slow, run_synthesis(slow, diffusion, baseline))


def _record(context: RunContext, result: StageResult, letter: str = "") -> str:
    """Write down what ran, where, and of which config: what MLflow would be told."""
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU"
    value: dict[str, Any] = {
        "stage": result.name,
        "letter": letter,
        "folder": result.folder.name,
        "key": result.key,
        "split": str(context.split_path.relative_to(context.workspace)),
        "device": device,
        "config": context.config.identity(),
    }
    path = context.workspace / CELLS / f"{result.folder.name}.json"
    if not path.exists():
        write_json(path, value)
    return f"{result.name}, {context.split().name}, seed {context.config.seed}"


def run_cells(config: Config, plan: TablePlan, workspace: Path, *, processes: int, minutes: float) -> bool:
    """Run the plan's units in several processes until they are done or time is over; returns whether all are.

    A unit that fails is named and the others go on.
    """
    ends, failed = time.monotonic() + 60.0 * minutes, 0
    units = units_of(config, plan, workspace)
    with multiprocessing.get_context("spawn").Pool(processes, begin_process) as pool:
        results = pool.imap_unordered(run_unit, units)
        for _ in tqdm(units, desc="cells", unit="unit", disable=False):
            try:
                names = results.next(timeout=max(0.1, ends - time.monotonic()))
            except multiprocessing.TimeoutError:
                pool.terminate()
                return False
            except (SermodelsError, OSError, RuntimeError, ValueError):
                traceback.print_exc()
                failed += 1
                continue
            print(f"{time.strftime('%H:%M:%S')} {'; '.join(names)}", flush=True)
    return failed == 0


def begin_process() -> None:
    """What each process does first: it computes with one thread, and it ends when the one that started it is killed."""
    torch.set_num_threads(1)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)

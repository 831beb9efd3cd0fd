"""Cells of the table that another machine computed, logged as the runs that they would have been here."""

import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from flows import tracking
from flows.finished import COMPUTED_TAG, finished_runs
from flows.recipe_tags import stage_tags
from flows.tasks import log_stage
from flows.tracking import Run
from sermodels.cells.packing import CELLS, unpack
from sermodels.config import Config
from sermodels.errors import StorageError
from sermodels.files import read_json, sha256_of_file
from sermodels.stages.context import RunContext
from sermodels.store import COMPLETE, StageResult

Record = dict[str, Any]
"""What `python -m sermodels.cells run` noted of a stage."""


def adopt(archive: Path, table: str) -> tuple[int, int]:
    """Log what `python -m sermodels.cells pack` gathered under a table's name; returns how many cells, how many new.

    Cells that were adopted already are left alone; the same cell of another machine or day is another run.
    Raises StorageError when the archive is missing, damaged or changed.
    """
    tracking.setup()
    known = {
        (run.tags.get(tracking.STAGE_KEY_TAG), run.tags.get(COMPUTED_TAG)) for run in finished_runs({"table": table})
    }
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        unpack(archive, folder)
        cells = [_cell(read_json(path), folder) for path in sorted((folder / CELLS).glob("*.json"))]
        for _, result in cells:
            _check(result, archive)
        fresh = [(record, result) for record, result in cells if (result.key, _computed(result)) not in known]
        if fresh:
            tags = {"preset": table, "table": table, "adopted": archive.name}
            with tracking.open_run(f"table {table}, computed elsewhere", tags=tags) as parent:
                for record, result in fresh:
                    _log(record, result, folder, parent, table)
    return len(cells), len(fresh)


def _cell(record: Record, folder: Path) -> tuple[Record, StageResult]:
    """A cell's record, and the stage that it is about."""
    return record, StageResult(record["stage"], folder / "stages" / record["folder"], record["key"])


def _check(result: StageResult, archive: Path) -> None:
    """Raise StorageError when a file is not what the stage ended with."""
    for name, digest in result.read(COMPLETE).items():
        if (path := result.folder / name).exists() and sha256_of_file(path) != digest:
            raise StorageError(f"{archive}: {result.folder.name}/{name} was changed after the stage ended")


def _computed(result: StageResult) -> str:
    """When the stage ended, as text."""
    ended = (result.folder / COMPLETE).stat().st_mtime
    return datetime.fromtimestamp(ended, UTC).isoformat()


def _log(record: Record, result: StageResult, folder: Path, parent: Run, table: str) -> None:
    """One stage as a run, with its epochs, figures and files."""
    config, letter = Config.model_validate(record["config"]), record["letter"]
    context = RunContext(config, folder, result, folder / record["split"])
    tags = stage_tags(context, result.name, letter) | {"table": table, "device": record["device"]}
    tags[COMPUTED_TAG] = _computed(result)
    if letter:
        figures = result.read("figures.json")
        tags["weights"] = figures["weights"]
        # the first cells that said it had it in their record; older ones do not say
        tags["number_format"] = figures.get("number_format") or record.get("number_format", "")
    name = f"{result.name}, {context.split().name}, seed {config.seed}"
    with tracking.open_run(name, tags=tags, parent=parent) as run:
        if (result.folder / "history.json").exists():
            for epoch in result.read("history.json"):
                run.log_epoch(epoch)
        log_stage(run, result, "*.json", "*.csv", "*.png", "*.md")

"""Stages that train, in as many processes as there are GPUs: torchrun starts them, the first of them reports back."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from pydantic import TypeAdapter

from sermodels.errors import ConfigError, SermodelsError
from sermodels.files import write_text
from sermodels.stages.context import RunContext
from sermodels.store import StageResult

REQUEST_FILE = "torchrun.json"
REPORT = "sermodels-report "
"""What a line of standard output begins with that is meant for the stage, not for the user."""


class RanksError(SermodelsError):
    """Processes that trained together failed."""


@dataclass(frozen=True)
class Request:
    """What a stage tells the processes that train for it."""

    stage: str
    """`diffusion`, or the name of a classifier's recipe."""
    context: RunContext
    folder: Path
    given: StageResult | None
    """The stage before: `embedding` for diffusion, `synthesis` or nothing for a classifier."""


REQUEST = TypeAdapter(Request)


def wanted_ranks() -> int:
    """SERMODELS_RANKS, else one process for each GPU that this process may use, and at least 1. Raises ConfigError."""
    wanted = os.environ.get("SERMODELS_RANKS", "")
    if wanted and not (wanted.isdecimal() and int(wanted)):
        raise ConfigError(f"SERMODELS_RANKS={wanted}: the number of processes that train together, at least 1")
    return int(wanted or max(1, torch.cuda.device_count()))


def train_together(request: Request, processes: int, on_report: Callable[[str, Any], None]) -> None:
    """Run a stage's training under torchrun; `on_report(kind, value)` hears what its first process reports.

    Raises RanksError when a process fails.
    """
    path = request.folder / REQUEST_FILE
    write_text(path, REQUEST.dump_json(request).decode())
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    failure = f"{processes} processes that trained together failed, see above; run again to go on"
    with subprocess.Popen([*torchrun, "-m", "sermodels.stages", str(path)], stdout=subprocess.PIPE, text=True) as run:
        assert run.stdout is not None
        try:
            for line in run.stdout:
                if line.startswith(REPORT):
                    on_report(*json.loads(line.removeprefix(REPORT)))
                else:
                    print(line, end="")
        except BaseException:
            run.terminate()
            raise
    path.unlink()
    if run.returncode:
        raise RanksError(failure)


def report(kind: str, value: Any) -> None:
    """Tell the stage that started this process."""
    print(REPORT + json.dumps([kind, value]), flush=True)

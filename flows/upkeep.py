"""Commands of upkeep: `migrate` the tracking database, `sweep` runs that nobody works on, `clean` away what is dead."""

import argparse
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any


def add_upkeep(commands: Any) -> None:
    """The options of `migrate`, `sweep` and `clean`."""
    kind = argparse.ArgumentDefaultsHelpFormatter
    commands.add_parser(
        "migrate", help="make the tables of the database at MLFLOW_TRACKING_URI, or bring them up to date"
    )
    sweep = commands.add_parser("sweep", formatter_class=kind, help="mark runs that nobody works on as KILLED")
    clean = commands.add_parser(
        "clean", formatter_class=kind, help="list failed and killed runs and unused stages, ask, delete"
    )
    for command, says in ((sweep, "without a sign of life for so long"), (clean, "only what is older")):
        command.add_argument("--older-than-hours", type=float, default=24.0, help=says)
    clean.add_argument("--workspace", default="workspace", help="folder for cache, stages and checkpoints")
    clean.add_argument("--yes", action="store_true", help="delete without asking")


def migrate(_: argparse.Namespace) -> None:
    """Bring the tables up to date, and write nothing else: an experiment belongs to the server's artifact store."""
    from flows import tracking
    from flows.migration import up_to_date

    with up_to_date(tracking.choose_server()):
        print(f"{tracking.shown_uri()}: up to date")


def sweep(options: argparse.Namespace) -> None:
    """Mark silent runs as KILLED, and tell which."""
    from flows import tracking
    from flows.sweeper import sweep as sweep_runs

    tracking.check()
    closed = sweep_runs(tracking.experiment_id(), older_than_h=options.older_than_hours)
    for run in closed:
        print(f"KILLED {run.info.run_id} {run.info.run_name}")
    print(f"{len(closed)} runs marked as KILLED")


def clean(options: argparse.Namespace) -> None:
    """List what can go, ask, and delete it."""
    from flows import tracking
    from flows.cleaning import delete_rubbish, find_rubbish

    tracking.check()
    workspace = Path(options.workspace)
    rubbish = find_rubbish(tracking.experiment_id(), workspace, older_than_h=options.older_than_hours)
    print(rubbish.text())
    if rubbish and (options.yes or _agreed()):
        delete_rubbish(rubbish)


def _agreed() -> bool:
    """Whether the user says yes. Raises ConfigError where there is nobody to ask."""
    import sys

    from sermodels.errors import ConfigError

    if not sys.stdin.isatty():
        raise ConfigError("nothing is deleted without a question, and there is no terminal to ask at; add --yes")
    return input("Delete all this for good? [y/N] ").strip().lower() in ("y", "yes")


UPKEEP: Mapping[str, Callable[[argparse.Namespace], None]] = MappingProxyType(
    {"migrate": migrate, "sweep": sweep, "clean": clean}
)

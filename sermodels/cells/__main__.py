"""Cells of the table of results on a machine that only trains, one process beside another.

    python -m sermodels.cells run WORKSPACE --preset full [--protocols speaker,seed] [--folds all] [--seeds 3]
        [--stages ABCDRF] [--processes 2] [--minutes 600] [--overrides section.key=value ...]
    python -m sermodels.cells pack WORKSPACE FILE.tar.xz

`run` needs the workspace's log-mel cache, no recording but for stage F, and does what is not done yet; `pack` gathers
what it found, for `python -m flows adopt FILE.tar.xz`, which logs it to MLflow.
"""

import argparse
import sys
from pathlib import Path

from sermodels.errors import SermodelsError


def parse_arguments() -> argparse.Namespace:
    """The options of the two commands."""
    parser = argparse.ArgumentParser(
        prog="python -m sermodels.cells", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run", help="run what is not done yet")
    run.add_argument("workspace", type=Path)
    run.add_argument("--preset", default="full")
    run.add_argument("--protocols", default="speaker")
    run.add_argument("--folds", default="all")
    run.add_argument("--seeds", type=int, default=1)
    run.add_argument("--stages", default="ABCD")
    run.add_argument("--processes", type=int, default=2)
    run.add_argument("--minutes", type=float, default=600.0, help="after which it stops, to go on another time")
    run.add_argument("--overrides", nargs="*", default=[])
    packing = commands.add_parser("pack", help="gather figures and predictions")
    packing.add_argument("workspace", type=Path)
    packing.add_argument("archive", type=Path)
    return parser.parse_args()


def run(options: argparse.Namespace) -> bool:
    """Run the cells; returns whether all are done."""
    from sermodels.cells.running import run_cells
    from sermodels.plan import plan_of
    from sermodels.presets import resolve_config

    config = resolve_config(options.preset, options.overrides)
    plan = plan_of(options.protocols, options.folds, options.seeds, options.stages)
    workspace = options.workspace.resolve()
    return run_cells(config, plan, workspace, processes=options.processes, minutes=options.minutes)


def main() -> int:
    """The exit status: 0 when all is done."""
    options = parse_arguments()
    try:
        if options.command == "pack":
            from sermodels.cells.packing import pack

            pack(options.workspace.resolve(), options.archive)
            return 0
        done = run(options)
    except SermodelsError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    if not done:
        print("not all is done: run the same command again to go on", file=sys.stderr)
    return 0 if done else 1


if __name__ == "__main__":
    sys.exit(main())

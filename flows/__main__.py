"""The command line: `python -m flows run`."""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The options; an empty value means: as in the preset."""
    parser = argparse.ArgumentParser(prog="python -m flows", description="Speech emotion recognition pipeline.")
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser(
        "run", help="run the whole pipeline", formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    run.add_argument("--preset", default="demo", help="name in presets/ or path of a .yaml file")
    run.add_argument("--data-dir", default="", help="folder that holds the corpora, such as emodb/ and ravdess/")
    run.add_argument("--protocol", default="", help="speaker (unseen speakers) or seed (random split, for comparison)")
    run.add_argument("--fold", default="", help="protocol speaker: number of the fold, or all")
    run.add_argument("--weights", default="", help="imagenet, none, or the path of a state dict")
    run.add_argument("--workspace", default="workspace", help="folder for cache, stages and checkpoints")
    run.add_argument(
        "--skip-unreadable",
        nargs="?",
        const="true",
        default="false",
        choices=("true", "false", ""),
        help="leave unreadable recordings out",
    )
    run.add_argument("--overrides", default="", help="any config values: 'training.epochs=3 clip.duration_s=4'")
    return parser.parse_args(arguments)


def overrides_of(options: argparse.Namespace) -> list[str]:
    """The options as config overrides; --overrides comes last and wins."""
    named = {
        "corpus.data_dir": options.data_dir,
        "split.protocol": options.protocol,
        "split.fold": options.fold,
        "classifier.weights": options.weights,
    }
    return [*(f"{key}={value}" for key, value in named.items() if value), *str(options.overrides).split()]


def use_workspace(workspace: Path) -> None:
    """Keep Prefect's database inside the workspace, unless the user runs a server or chose a place."""
    if not os.environ.get("PREFECT_API_URL"):
        os.environ.setdefault("PREFECT_HOME", str(workspace.resolve() / "prefect"))
        os.environ.setdefault("PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS", "120")
    for switch in ("MLFLOW_DISABLE_TELEMETRY", "DO_NOT_TRACK"):
        os.environ.setdefault(switch, "true")
    os.environ.setdefault("PREFECT_SERVER_ANALYTICS_ENABLED", "false")


def run(options: argparse.Namespace) -> None:
    """Check the input, run the flow, and say how to look at the results."""
    from sermodels.preflight import check_start
    from sermodels.presets import resolve_config

    config = resolve_config(options.preset, overrides_of(options))
    workspace = Path(options.workspace)
    check_start(config, workspace)
    use_workspace(workspace)
    from flows.pipeline import pipeline
    from flows.tracking import tracking_uri

    pipeline(config, workspace, Path(options.preset).stem, options.skip_unreadable == "true")
    print("\nLook at the runs, models and artifacts, and at the tasks:")
    programs = Path(sys.executable).parent
    print(f"  {programs / 'mlflow'} ui --backend-store-uri {tracking_uri()} --port 5000")
    server = os.environ.get("PREFECT_API_URL")
    print(
        f"  Prefect UI of {server}"
        if server
        else f"  PREFECT_HOME={os.environ['PREFECT_HOME']} {programs / 'prefect'} server start"
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit status 0, or 1 with one line that names the bad input."""
    options = parse_arguments(arguments)
    try:
        run(options)
    except Exception as error:
        known = known_error(error)
        if known is None:
            raise
        print(f"error: {known}", file=sys.stderr)
        return 1
    return 0


def known_error(error: BaseException | None) -> BaseException | None:
    """The error that a user can act on, also where closing the run after it failed in turn, as on a full disk."""
    from sermodels.errors import SermodelsError

    while error is not None and not isinstance(error, SermodelsError):
        error = error.__cause__ or error.__context__
    return error


if __name__ == "__main__":
    sys.exit(main())

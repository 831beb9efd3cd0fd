"""The command line: `python -m flows run`, `table`, `results`, `evaluate`, `export` and `serve`."""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # --help answers without loading pydantic
    from sermodels.config import Config


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The options; an empty value means: as in the preset."""
    parser = argparse.ArgumentParser(prog="python -m flows", description="Speech emotion recognition pipeline.")
    commands = parser.add_subparsers(dest="command", required=True)
    run = _command(commands, "run", "run the whole pipeline")
    _add_corpus_options(run, preset="demo")
    run.add_argument("--protocol", default="", help="speaker (unseen speakers) or seed (random split, for comparison)")
    run.add_argument("--fold", default="", help="protocol speaker: number of the fold, or all")
    run.add_argument(
        "--skip-unreadable",
        nargs="?",
        const="true",
        default="false",
        choices=("true", "false", ""),
        help="leave unreadable recordings out",
    )
    _add_table(commands)
    _add_evaluate(commands)
    _add_export(commands)
    _add_serve(commands)
    return parser.parse_args(arguments)


def _command(commands: Any, name: str, says: str) -> argparse.ArgumentParser:
    """A command whose help tells every default."""
    parser: argparse.ArgumentParser = commands.add_parser(
        name, help=says, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    return parser


def _add_corpus_options(command: argparse.ArgumentParser, *, preset: str) -> None:
    """What `run` and `table` both ask: recipe, recordings and places."""
    command.add_argument("--preset", default=preset, help="name in presets/ or path of a .yaml file")
    command.add_argument("--data-dir", default="", help="folder that holds the corpora, such as emodb/ and ravdess/")
    command.add_argument("--weights", default="", help="imagenet, none, or the path of a state dict")
    command.add_argument("--workspace", default="workspace", help="folder for cache, stages and checkpoints")
    command.add_argument("--overrides", default="", help="any config values: 'training.epochs=3 clip.duration_s=4'")


def _add_table(commands: Any) -> None:
    """The options of `table` and `results`."""
    table = _command(
        commands,
        "table",
        "run protocols, folds, seeds and stages that are not done yet, and write docs/results.md and .json",
    )
    _add_corpus_options(table, preset="full")
    table.add_argument("--protocols", default="speaker,seed,corpus", help="any of speaker, seed, corpus")
    table.add_argument("--folds", default="all", help="protocol speaker: numbers of folds, such as 0,1,2, or all")
    table.add_argument("--seeds", type=int, default=3, help="how many seeds")
    table.add_argument("--stages", default="ABCD", help="any of A, B, C, D")
    table.add_argument("--dask", default="", help="run cells on Dask: local, or the address of a scheduler")
    results = _command(commands, "results", "write docs/results.md and .json from what MLflow holds")
    results.add_argument("--preset", default="full", help="whose table")
    for command in (table, results):
        command.add_argument("--docs", default="docs", help="folder that the results are written into")


def _add_evaluate(commands: Any) -> None:
    """The options of `evaluate`."""
    evaluate = _command(commands, "evaluate", "evaluate a registered classifier on any labelled recordings")
    evaluate.add_argument(
        "corpus", help="CSV manifest, folder of known corpora, or folder with a folder for each emotion"
    )
    evaluate.add_argument("--model", default="ser-classifier@champion", help="name@alias or name/number")
    evaluate.add_argument("--emotions", default="", help="their names for emotions: 'angry=anger calm=neutral other=-'")
    evaluate.add_argument("--workspace", default="workspace", help="folder for the log-mel cache")
    evaluate.add_argument("--skip-unreadable", action="store_true", help="leave unreadable recordings out")


def _add_export(commands: Any) -> None:
    """The options of `export`."""
    export = _command(
        commands, "export", "export the registered champion (and challenger) to ONNX and register that, too"
    )
    export.add_argument("--workspace", default="workspace", help="folder of Prefect's database")
    export.add_argument(
        "--hifigan", default="", help="HiFi-GAN generator checkpoint; without it sound is Griffin-Lim's"
    )
    export.add_argument("--triton", default="", help="also write a Triton model repository into this folder")


def _add_serve(commands: Any) -> None:
    """The options of `serve`."""
    serve = _command(commands, "serve", "fetch the newest exported champion and start the server on it")
    serve.add_argument("--workspace", default="workspace", help="folder in which the bundles are kept")
    serve.add_argument("--host", default="127.0.0.1", help="address to listen on")
    serve.add_argument("--port", default="8000", help="port to listen on")


def overrides_of(options: argparse.Namespace) -> list[str]:
    """The options as config overrides; --overrides comes last and wins."""
    named = {
        "corpus.data_dir": options.data_dir,
        "split.protocol": getattr(options, "protocol", ""),
        "split.fold": getattr(options, "fold", ""),
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
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")


def checked_start(options: argparse.Namespace) -> tuple["Config", Path]:
    """The config and the workspace, both checked before anything long is imported or started."""
    from sermodels.preflight import check_start
    from sermodels.presets import resolve_config

    config = resolve_config(options.preset, overrides_of(options))
    workspace = Path(options.workspace)
    check_start(config, workspace)
    use_workspace(workspace)
    return config, workspace


def run(options: argparse.Namespace) -> None:
    """Check the input, run the flow, and say how to look at the results."""
    config, workspace = checked_start(options)
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
    print("Serve the champion, with its demo at http://127.0.0.1:8000:")
    print(f"  MLFLOW_TRACKING_URI={tracking_uri()} {sys.executable} -m flows serve --workspace {workspace}")


def table(options: argparse.Namespace) -> None:
    """Run what the table still lacks, then write it."""
    config, workspace = checked_start(options)
    from flows.table import plan_of, run_table

    plan = plan_of(options.protocols, options.folds, options.seeds, options.stages)
    run_table(config, plan, workspace, Path(options.preset).stem, options.dask)
    results(options)


def results(options: argparse.Namespace) -> None:
    """Write the results page from MLflow."""
    from flows import tracking
    from flows.results import publish_results

    tracking.setup()
    page = publish_results(Path(options.preset).stem, Path(options.docs))
    print(f"Results: {page}")


def evaluate(options: argparse.Namespace) -> None:
    """Evaluate a registered version on recordings that it has not seen."""
    workspace = Path(options.workspace)
    use_workspace(workspace)
    from flows.evaluate import evaluate_registered

    corpus = Path(options.corpus)
    print(evaluate_registered(options.model, corpus, workspace, options.emotions, options.skip_unreadable))


def export(options: argparse.Namespace) -> None:
    """Export what the registry calls champion and challenger."""
    use_workspace(Path(options.workspace))
    from flows.pipeline import export_registered

    hifigan, triton = (Path(value) if value else None for value in (options.hifigan, options.triton))
    export_registered(hifigan, triton)


def serve(options: argparse.Namespace) -> None:
    """Fetch the bundles, then become the server: a process that has never imported MLflow or torch."""
    from flows import tracking
    from flows.export import RegistryError, fetch_bundle, nothing_registered

    tracking.setup()
    served = Path(options.workspace) / "served"
    if fetch_bundle(served / "champion") is None:
        if tracking.version_by_alias(tracking.CLASSIFIER_MODEL, tracking.CHAMPION):
            raise RegistryError("the champion is not exported yet; run: python -m flows export")
        raise RegistryError(nothing_registered(tracking.CLASSIFIER_MODEL))
    command = [sys.executable, "-m", "serve", "--bundle", str(served / "champion")]
    if fetch_bundle(served / "challenger", alias=tracking.CHALLENGER) is not None:
        command += ["--challenger", str(served / "challenger")]
    sys.stdout.flush()
    os.execv(sys.executable, [*command, "--host", options.host, "--port", options.port])


COMMANDS = {
    "run": run,
    "table": table,
    "results": results,
    "evaluate": evaluate,
    "export": export,
    "serve": serve,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit status 0, or 1 with one line that names the bad input."""
    options = parse_arguments(arguments)
    try:
        COMMANDS[options.command](options)
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

"""What the command line asks for: every command with its options, defaults and help."""

import argparse
import math
from collections.abc import Sequence
from typing import Any

from flows.defaults import CLASSIFIER, CLIPS_PER_EMOTION, DIFFUSION, STAGES_HELP, WORKSPACE
from flows.upkeep import add_upkeep


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The options; an empty value means: as in the preset."""
    parser = argparse.ArgumentParser(prog="python -m flows", description="Speech emotion recognition pipeline.")
    add_commands(parser)
    return parser.parse_args(arguments)


def add_commands(parser: argparse.ArgumentParser) -> Any:
    """All commands, by name in the result's `choices`: MLproject's entry points are written from them."""
    commands = parser.add_subparsers(dest="command", required=True)
    _add_run(_command(commands, "run", "run the whole pipeline"))
    train = _command(commands, "train", "train and register classifiers, by default without synthesis")
    _add_run(train)
    train.add_argument("--stages", default="AB", help=STAGES_HELP)
    _add_synthesize(commands)
    _add_table(commands)
    _add_evaluate(commands)
    _add_export(commands)
    _add_gate(commands)
    _add_serve(commands)
    _add_drift(commands)
    add_upkeep(commands)
    return commands


def _add_run(command: argparse.ArgumentParser) -> None:
    """The options of `run` and `train`."""
    _add_corpus_options(command, preset="demo")
    command.add_argument(
        "--protocol", default="", help="speaker (unseen speakers) or seed (random split, for comparison)"
    )
    command.add_argument("--fold", default="", help="protocol speaker: number of the fold, or all")
    _add_skip_unreadable(command)


def _add_skip_unreadable(command: argparse.ArgumentParser) -> None:
    """A switch that takes a value too, since `mlflow run` always gives one."""
    command.add_argument(
        "--skip-unreadable",
        nargs="?",
        const="true",
        default="false",
        choices=("true", "false", ""),
        help="leave unreadable recordings out",
    )


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
    command.add_argument("--workspace", default=WORKSPACE, help="folder for cache, stages and checkpoints")
    command.add_argument("--overrides", default="", help="any config values: 'training.epochs=3 clip.duration_s=4'")


def _add_table(commands: Any) -> None:
    """The options of `table`, `results` and `adopt`."""
    table = _command(
        commands,
        "table",
        "run protocols, folds, seeds and stages that are not done yet, and write docs/results.md and .json",
    )
    _add_corpus_options(table, preset="full")
    table.add_argument("--protocols", default="speaker,seed,corpus", help="any of speaker, seed, corpus")
    table.add_argument("--folds", default="all", help="protocol speaker: numbers of folds, such as 0,1,2, or all")
    table.add_argument("--seeds", type=int, default=3, help="how many seeds")
    letters = "any of A, B, C, D, R (B, trained on development clips too), F (functionals, no network)"
    table.add_argument("--stages", default="ABCD", help=letters)
    table.add_argument("--dask", default="", help="run cells on Dask: local, local:4, or the address of a scheduler")
    results = _command(commands, "results", "write docs/results.md and .json from what MLflow holds")
    results.add_argument("--preset", default="full", help="whose table")
    adopt = _command(commands, "adopt", "log cells that `python -m sermodels.cells` computed and packed elsewhere")
    adopt.add_argument("archive", help="what `python -m sermodels.cells pack` wrote")
    adopt.add_argument("--preset", default="full", help="whose table")
    for command in (table, results):
        command.add_argument("--docs", default="docs", help="folder that the results are written into")


def _add_synthesize(commands: Any) -> None:
    """The options of `synthesize`."""
    synthesize = _command(
        commands, "synthesize", "make clips with a registered diffusion model, logged as an MLflow run"
    )
    synthesize.add_argument("--model", default=DIFFUSION, help="name@alias or name/number")
    synthesize.add_argument("--emotions", default="", help="such as anger,fear; empty: all that the model knows")
    synthesize.add_argument("--count", type=int, default=CLIPS_PER_EMOTION, help="clips of each emotion")
    synthesize.add_argument("--seed", type=int, default=0, help="another seed gives other clips")
    synthesize.add_argument("--steps", default="", help="denoising steps; empty: as in sermodels/config.py")
    synthesize.add_argument(
        "--guidance-scale", default="", help="how strongly the emotion is stressed; empty: as in sermodels/config.py"
    )
    synthesize.add_argument("--workspace", default=WORKSPACE, help="folder of Prefect's database")


def _add_evaluate(commands: Any) -> None:
    """The options of `evaluate`."""
    evaluate = _command(commands, "evaluate", "evaluate a registered classifier on any labelled recordings")
    evaluate.add_argument(
        "corpus", help="CSV manifest, folder of known corpora, or folder with a folder for each emotion"
    )
    evaluate.add_argument("--model", default=CLASSIFIER, help="name@alias or name/number")
    evaluate.add_argument("--emotions", default="", help="their names for emotions: 'angry=anger calm=neutral other=-'")
    evaluate.add_argument("--workspace", default=WORKSPACE, help="folder for the log-mel cache")
    _add_skip_unreadable(evaluate)


def _add_export(commands: Any) -> None:
    """The options of `export`."""
    export = _command(
        commands, "export", "export the registered champion (and challenger) to ONNX and register that, too"
    )
    export.add_argument("--workspace", default=WORKSPACE, help="folder of Prefect's database")
    export.add_argument(
        "--hifigan", default="", help="HiFi-GAN generator checkpoint; without it sound is Griffin-Lim's"
    )
    export.add_argument("--triton", default="", help="also write a Triton model repository into this folder")


def _add_gate(commands: Any) -> None:
    """The options of `gate` and `rollback`."""
    gate = _command(commands, "gate", "let a registered classifier become champion, if it is better")
    gate.add_argument("--version", default="challenger", help="its number, or challenger")
    rollback = _command(commands, "rollback", "make the champion before this one champion again")
    rollback.add_argument(
        "--model", default="ser-classifier", choices=("ser-classifier", "ser-diffusion"), help="which"
    )
    rollback.add_argument("--to", default="", help="number of a version that has been champion; empty: the one before")
    rollback.add_argument("--reason", default="by hand", help="kept as a tag of the version that is withdrawn")
    for command in (gate, rollback):
        command.add_argument("--workspace", default=WORKSPACE, help="folder of Prefect's database")


def _add_serve(commands: Any) -> None:
    """The options of `serve` and `follow`."""
    serve = _command(
        commands, "serve", "fetch the exported champion and serve it, and each newer one without a restart"
    )
    serve.add_argument("--host", default="127.0.0.1", help="address to listen on")
    serve.add_argument("--port", type=int, default=8000, help="port to listen on")
    follow = _command(
        commands, "follow", "fetch each new champion and challenger, for servers that `serve` did not start"
    )
    follow.add_argument("--server", type=int, help="end with this process, which must be the parent")
    for command in (serve, follow):
        command.add_argument("--workspace", default=WORKSPACE, help="folder in which the bundles are kept")
    serve.add_argument("--refresh-s", type=_seconds, default=30.0, help="time between looks at the registry; 0: never")
    follow.add_argument("--refresh-s", type=_period, default=30.0, help="time between looks at the registry")


def _seconds(text: str) -> float:
    """A duration. Raises ValueError, which argparse reports."""
    value = float(text)
    if not 0.0 <= value < math.inf:
        raise ValueError
    return value


def _period(text: str) -> float:
    """A duration that is not 0. Raises ValueError, which argparse reports."""
    if not (value := _seconds(text)):
        raise ValueError
    return value


def _add_drift(commands: Any) -> None:
    """The options of `drift`."""
    drift = _command(commands, "drift", "compare what a watched server answered with what its model was trained on")
    drift.add_argument("--watch-dir", required=True, help="the folder in the server's SERMODELS_WATCH_DIR")
    drift.add_argument("--workspace", default=WORKSPACE, help="folder with the log-mel cache of the training")
    drift.add_argument("--model", default=CLASSIFIER, help="name@alias or name/number")
    drift.add_argument("--days", type=float, default=7.0, help="how far back")
    drift.add_argument("--min-records", type=int, default=100, help="with fewer answers nothing is compared")
    drift.add_argument("--min-share", type=float, default=0.3, help="share of drifted columns that is called drift")
    drift.add_argument("--retrain", default="", help="deployment to run on drift, as flow/deployment")

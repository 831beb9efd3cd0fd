"""Writes MLproject from the command line: its commands are the entry points, its options their parameters.

So each default is written once, in flows/. The one type that mlflow has for numbers is `float`.
"""

import argparse
import json
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from flows.arguments import add_commands  # noqa: E402

ENTRY_POINTS = {
    "main": "run",
    "train": "train",
    "synthesize": "synthesize",
    "evaluate": "evaluate",
    "export": "export",
    "serve": "serve",
}
HEADER = """\
# Written by `make map` from the options of `python -m flows`; an empty value means "as in the preset".
name: sermodels

conda_env: conda.yaml

entry_points:
"""


def render() -> str:
    """The text of MLproject."""
    commands: dict[str, argparse.ArgumentParser] = add_commands(argparse.ArgumentParser()).choices
    return HEADER + "".join(entry_point(name, command, commands[command]) for name, command in ENTRY_POINTS.items())


def entry_point(name: str, command: str, parser: argparse.ArgumentParser) -> str:
    """One entry point: its parameters, and the command that passes each of them on."""
    actions = [action for action in parser._actions if action.dest != "help"]
    parameters = "".join(f"      {action.dest}: {parameter(action)}  # {action.help}\n" for action in actions)
    passed = "".join(f"\n      {argument(action)}" for action in actions)
    return f"  {name}:\n    parameters:\n{parameters}    command: >-\n      python -m flows {command}{passed}\n"


def parameter(action: argparse.Action) -> str:
    """Type and default; a positional argument has no default and must be given."""
    kind = "float" if isinstance(action.default, int | float) else "string"
    return f"{{type: {kind}, default: {json.dumps(action.default)}}}" if action.option_strings else f"{{type: {kind}}}"


def argument(action: argparse.Action) -> str:
    """How the command line is given the value."""
    return f"{action.option_strings[0]}={{{action.dest}}}" if action.option_strings else f"{{{action.dest}}}"


if __name__ == "__main__":
    (ROOT / "MLproject").write_text(render(), encoding="utf-8")

"""How long `--help` of each command takes, and importing each package."""

import argparse
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from functools import partial

from benchmarks.context import ROOT, Bench
from benchmarks.measure import alternate
from benchmarks.rows import Measured, Row, limit_row
from flows.arguments import add_commands

LIMIT_S = 0.3
ROOMS = ("sermodels", "serve", "flows")
CORPORA_COMMANDS = ("audit", "download", "demo")


def commands() -> dict[str, list[str]]:
    """Every command of the project, by what is typed."""
    flows = list(add_commands(argparse.ArgumentParser()).choices)
    helps = [["serve"], ["sermodels.corpora"], *(["sermodels.corpora", name] for name in CORPORA_COMMANDS)]
    helps += [["sermodels.cells"], ["flows"], *(["flows", name] for name in flows)]
    return {f"python -m {' '.join(one)} --help": [sys.executable, "-m", *one, "--help"] for one in helps}


def measure(bench: Bench) -> Measured:
    """The slowest command, and the slowest import."""
    imports = {f"import {name}": [sys.executable, "-c", f"import {name}"] for name in ROOMS}
    bare = [sys.executable, "-c", "pass"]
    every = commands() | imports | {"python": bare}
    sides = {name: partial(seconds_of, command) for name, command in every.items()}
    seconds = alternate(sides, rounds=bench.rounds)
    floor_s = statistics.median(seconds.pop("python"))
    rows = [
        _slowest("--help, the slowest command", {name: seconds[name] for name in commands()}, floor_s, bench),
        _slowest("import, the slowest package", {name: seconds[name] for name in imports}, floor_s, bench),
    ]
    return Measured(rows, {"seconds": seconds, "python_s": floor_s})


def _slowest(part: str, seconds: dict[str, list[float]], floor_s: float, bench: Bench) -> Row:
    """The row of whichever takes longest."""
    name = max(seconds, key=lambda one: statistics.median(seconds[one]))
    note = f"`{name}`, of {len(seconds)}; the alternative is a limit, the floor Python's own start"
    return limit_row(part, seconds[name], limit=LIMIT_S, unit="s", device=bench.device, floor=floor_s, note=note)


def seconds_of(command: Sequence[str]) -> float:
    """How long a process takes. Raises CalledProcessError when it fails."""
    begun = time.perf_counter()
    subprocess.run(command, cwd=ROOT, stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - begun

"""The command line: `python -m benchmarks`, every part of it or some."""

import argparse
import importlib
import logging
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # --help answers without loading torch
    from benchmarks.context import Bench

PARTS = (
    "features",
    "training",
    "synthesis",
    "requests",
    "crowd",
    "generation",
    "starting",
    "imports",
    "pipeline",
    "growth",
    "accuracy",
)
LONG = ("pipeline", "accuracy")
"""What `--quick` measures only when it is named."""
DEVICES = ("cpu", "cuda")
ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"
WORKSPACE = ROOT / "workspace" / "benchmarks"
PAGE = ROOT / "docs" / "performance.md"
LOG = logging.getLogger("benchmarks")


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The options."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Each part beside its alternative.")
    parser.add_argument("--quick", action="store_true", help="smaller counts, ten minutes; results/quick/")
    parser.add_argument("--parts", default="", help=f"any of {','.join(PARTS)}; default: all (--quick: the short ones)")
    parser.add_argument("--data-dir", type=Path, help="folder with emodb/ and ravdess/; default: the demo corpus")
    parser.add_argument("--rounds", type=int, help="how often each side has its turn")
    parser.add_argument("--weights", default="none", help="state dict that pipeline and accuracy start from")
    parser.add_argument("--bundle", type=Path, help="folder of the bundle to serve; default: untrained networks")
    parser.add_argument("--devices", default="cpu,cuda", help="where `training` and `synthesis` are measured")
    parser.add_argument("--page", action="store_true", help="measure nothing, write docs/performance.md anew")
    options = parser.parse_args(arguments)
    options.devices = tuple(options.devices.split(","))
    if unknown := sorted(set(options.devices) - set(DEVICES)):
        parser.error(f"unknown devices {', '.join(unknown)}; allowed: {', '.join(DEVICES)}")
    usual = [one for one in PARTS if not (options.quick and one in LONG)]
    options.parts = options.parts.split(",") if options.parts else usual
    if unknown := sorted(set(options.parts) - set(PARTS)):
        parser.error(f"unknown parts {', '.join(unknown)}; allowed: {', '.join(PARTS)}")
    return options


def measure(options: argparse.Namespace) -> list[str]:
    """Measure the parts one after the other; returns what failed or is missing."""
    os.environ.setdefault("TQDM_DISABLE", "1")  # progress is a line for each round; bars would hide it
    from benchmarks.context import Bench, Options

    WORKSPACE.mkdir(parents=True, exist_ok=True)
    results = RESULTS / "quick" if options.quick else RESULTS
    given = Options(
        options.quick, options.rounds, options.data_dir, options.weights, options.bundle, results, options.devices
    )
    faults: list[str] = []
    with tempfile.TemporaryDirectory(dir=WORKSPACE, prefix="run-") as scratch:
        bench = Bench(given, Path(scratch))
        for name in options.parts:
            try:
                faults += measure_part(name, bench)
            except Exception:  # whatever it was, it is told, and the other parts are measured all the same
                LOG.exception("part %s failed", name)
                faults.append(f"part {name} failed")
    return faults


def measure_part(name: str, bench: "Bench") -> tuple[str, ...]:
    """Measure one part, write its raw figures and its rows; returns what is missing."""
    from benchmarks.machine import describe
    from benchmarks.measure import tell
    from benchmarks.rows import write_summary
    from sermodels.files import write_json

    tell(f"== {name}")
    results = bench.options.results
    measured = importlib.import_module(f"benchmarks.parts.{name}").measure(bench)
    rows = [one.json() for one in measured.rows]
    suffix = "" if "cpu" in bench.options.devices else "-cuda"
    write_json(
        results / f"{name}{suffix}.json", {"machine": describe(), "rows": rows, "rounds": bench.rounds, **measured.raw}
    )
    write_summary(results, measured.rows)
    for one in measured.rows:
        tell(f"   {'met   ' if one.met else 'MISSED'} {one.part}: {one.ratio:.2f} times, to reach {one.target:.3g}")
    return tuple(measured.missing)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns 1 when a part failed or could not be measured."""
    options = parse_arguments(arguments)
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    faults = [] if options.page else measure(options)
    for fault in faults:
        print(f"MISSING: {fault}", file=sys.stderr)
    if not options.quick:
        from benchmarks.page import write_page

        write_page(RESULTS, PAGE)
    return int(bool(faults))


if __name__ == "__main__":
    sys.exit(main())

"""The command line: `python -m serve --bundle DIR`."""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from sermodels.errors import SermodelsError


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The options."""
    parser = argparse.ArgumentParser(
        prog="python -m serve",
        description="Serve a bundle: HTTP API, Open Inference Protocol and demo.",
        epilog="SERMODELS_DEVICE=auto|cpu|cuda says where the models run, SERMODELS_API_KEY protects /v1 and /v2.",
    )
    parser.add_argument(
        "--bundle", type=Path, required=True, help="folder of a bundle; a newer one there is served, too"
    )
    parser.add_argument("--challenger", type=Path, help="folder of a second bundle to compare with")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    parser.add_argument("--port", type=int, default=8000, help="0 takes a free one (default: %(default)s)")
    parser.add_argument("--demo", action=argparse.BooleanOptionalAction, default=True, help="show the demo at /")
    return parser.parse_args(arguments)


def serve(options: argparse.Namespace) -> None:
    """Load the bundle and serve it. Raises SermodelsError."""
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # onnxruntime reads it when it is imported
    from serve.service import Service
    from serve.settings import Settings

    service = Service.load(options.bundle, challenger=options.challenger, settings=Settings.from_environment())
    from serve.server import run_server  # takes half a second, in which the classifier's graph is loaded

    run_server(service, host=options.host, port=options.port, with_demo=options.demo)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; faults that a user can act on are one line."""
    options = parse_arguments(arguments)
    try:
        serve(options)
    except SermodelsError as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

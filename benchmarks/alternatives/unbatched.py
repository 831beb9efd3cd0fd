"""Our own server without micro-batching: `python -m benchmarks.alternatives.unbatched BUNDLE PORT`."""

import sys
from dataclasses import replace
from pathlib import Path

from serve.server import run_server
from serve.service import Service
from serve.settings import Settings


def main(bundle: Path, port: int) -> None:
    """Serve with batches of one."""
    settings = replace(Settings.from_environment(), max_batch=1)
    run_server(Service.load(bundle, settings=settings), host="127.0.0.1", port=port, with_demo=False)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))

"""What recorded stages found, as one archive: figures and predictions, not weights, clips or most pictures."""

import tarfile
from pathlib import Path

from sermodels.files import atomic_write, read_json

CELLS = "cells"
"""The folder in a workspace, and in an archive, with a record of each stage."""
KEPT = ("*.json", "*.csv", "*.md")
"""What of each stage is packed."""
PICTURE = "neighbours.png"
"""The picture that cannot be drawn again from the rest: one of them is packed."""


def pack(workspace: Path, archive: Path) -> None:
    """Everything that is small of the recorded stages, as one archive. Raises StorageError."""
    records = sorted((workspace / CELLS).glob("*.json"))
    files = [*records]
    pictures: list[Path] = []
    for record in records:
        value = read_json(record)
        folder = workspace / "stages" / value["folder"]
        files += [path for pattern in KEPT for path in folder.glob(pattern)]
        files.append(workspace / value["split"])
        pictures += folder.glob(PICTURE)
    files += pictures[:1]
    with atomic_write(archive) as temporary, tarfile.open(temporary, "w:xz") as tar:
        for path in sorted(set(files)):
            tar.add(path, arcname=str(path.relative_to(workspace)))

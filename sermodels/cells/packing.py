"""What recorded stages found, as one archive: figures and predictions, not weights, clips or most pictures."""

import lzma
import os
import tarfile
from pathlib import Path

from sermodels.errors import StorageError
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


def unpack(archive: Path, folder: Path) -> None:
    """The archive's files below the folder, with their times.

    Raises StorageError when the archive is missing, damaged, or names anything but files below its own folder; Python
    looks after that itself (`extractall(filter="data")`) only from 3.11.4 on.
    """
    try:
        with tarfile.open(archive) as tar:
            for member in tar:
                if not member.isdir():
                    _unpack_file(tar, member, folder)
    except (OSError, tarfile.TarError, lzma.LZMAError, EOFError) as error:
        raise StorageError(f"{archive}: not an archive of `python -m sermodels.cells pack` ({error})") from error
    if not (folder / CELLS).is_dir():
        raise StorageError(f"{archive}: holds no cells; make it by `python -m sermodels.cells pack`")


def _unpack_file(tar: tarfile.TarFile, member: tarfile.TarInfo, folder: Path) -> None:
    """One file, to where it belongs below the folder."""
    place = (folder / member.name).resolve()
    content = tar.extractfile(member) if member.isfile() and place.is_relative_to(folder.resolve()) else None
    if content is None:
        raise tarfile.TarError(f"{member.name} is not a file of its own folder")
    data = content.read()
    with atomic_write(place, durable=False) as temporary:
        temporary.write_bytes(data)
    os.utime(place, (member.mtime, member.mtime))

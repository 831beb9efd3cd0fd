"""What files held when they were last read, for as long as their status says that nobody has touched them since."""

import json
import os
import time
from collections.abc import Callable
from pathlib import Path

from sermodels.errors import StorageError
from sermodels.files import write_text

SETTLED_NS = 2_000_000_000
"""A file is remembered only once it has been left alone for this long: clocks of file systems tick coarsely."""


def settled_status(path: str | Path) -> str | None:
    """What changes with any write to a file or replacement of it; None where it was touched just now.

    The time of the last change of status cannot be set back by a program, as that of the last change of content can.
    """
    found = os.stat(path)  # noqa: PTH116 - of thousands of names, none is made a Path for it
    if time.time_ns() - found.st_ctime_ns < SETTLED_NS:
        return None
    return f"{found.st_dev}:{found.st_ino}:{found.st_size}:{found.st_mtime_ns}:{found.st_ctime_ns}"


def known_files(workspace: Path) -> "KnownFiles":
    """What is known of the files that a workspace was made from, and of those in its cache."""
    return KnownFiles(workspace / "cache" / "known.json")


class KnownFiles:
    """Findings about files by path and status, kept in one JSON file; without it everything is read again."""

    def __init__(self, memory: Path | None = None) -> None:
        """Go on with what `memory` holds; a missing or damaged one is as good as empty, and None remembers nothing."""
        self._memory = memory
        self._found: dict[str, str] = _read(memory) if memory else {}
        self._changed = False

    def about(self, path: str | Path, find: Callable[[Path], str]) -> str:
        """What `find(path)` said of the file as it is, or says now. Raises what `find` raises, and OSError."""
        name = str(path)
        status = settled_status(path)  # before it is read: a change in between is noticed next time
        known_status, _, known = self._found.get(name, "").partition(" ")
        if status and known_status == status:
            return known
        found = find(Path(path))
        if status and self._memory:
            self._found[name], self._changed = f"{status} {found}", True
        return found

    def save(self) -> None:
        """Remember what was found; a disk that is full or cannot be written to only makes the next time slower."""
        if not self._changed or not self._memory:
            return
        kept = {name: found for name, found in self._found.items() if Path(name).exists()}
        try:
            write_text(self._memory, json.dumps(kept))
        except StorageError:
            return
        self._changed = False


UNKNOWN = KnownFiles()
"""Knows nothing and remembers nothing."""


def _read(memory: Path) -> dict[str, str]:
    try:
        value = json.loads(memory.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    whole = isinstance(value, dict) and all(isinstance(found, str) for found in value.values())
    return value if whole else {}

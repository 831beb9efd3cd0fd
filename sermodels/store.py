"""Stage folders: addressed by what goes in, marked complete last, verified before they are used again."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock

from sermodels.files import PART_SUFFIX, read_json, sha256_of_file, sha256_of_json, storage_error, write_json

COMPLETE = "complete.json"
KEY_LENGTH = 16
"""Digits of the key in a folder's name."""


@dataclass(frozen=True)
class StageResult:
    """A reference to what a stage made: small, and enough to find and verify it."""

    name: str
    folder: Path
    key: str
    reused: bool = False

    def read(self, file: str) -> Any:
        """A JSON file of the stage. Raises StorageError."""
        return read_json(self.folder / file)


def run_stage(workspace: Path, name: str, inputs: dict[str, Any], work: Callable[[Path], None]) -> StageResult:
    """Run `work(folder)` unless the same stage with the same inputs is complete and undamaged.

    `inputs` is JSON: configs, versions and the keys of the stages before. `work` may find its own unfinished files in
    the folder and continue. A second process with the same stage waits for the first.
    """
    key, folder = stage_folder(workspace, name, inputs)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise storage_error(folder, error) from error
    with FileLock(folder.with_suffix(".lock")):
        if is_complete(folder):
            return StageResult(name, folder, key, reused=True)
        (folder / COMPLETE).unlink(missing_ok=True)
        write_json(folder / "inputs.json", inputs)
        work(folder)
        write_json(folder / COMPLETE, _digests(folder))
    return StageResult(name, folder, key)


def stage_folder(workspace: Path, name: str, inputs: dict[str, Any]) -> tuple[str, Path]:
    """Key and folder of the stage with these inputs, whether it ran or not."""
    key = sha256_of_json([name, inputs])
    return key, workspace / "stages" / f"{name}-{key[:KEY_LENGTH]}"


def is_complete(folder: Path) -> bool:
    """Whether the stage ended and each of its files still has the content that it ended with."""
    if not (folder / COMPLETE).exists():
        return False
    recorded: dict[str, str] = read_json(folder / COMPLETE)
    return all(
        (folder / name).is_file() and sha256_of_file(folder / name) == digest for name, digest in recorded.items()
    )


def _digests(folder: Path) -> dict[str, str]:
    """The sha256 of every file below the folder but what a killed process left half-written."""
    found = (path for path in folder.rglob("*") if path.is_file())
    files = sorted(path for path in found if path.name != COMPLETE and path.suffix != PART_SUFFIX)
    return {str(path.relative_to(folder)): sha256_of_file(path) for path in files}

"""Atomic writes and content hashes: a file is there whole or not at all."""

import errno
import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from sermodels.errors import StorageError

PART_SUFFIX = ".part"
"""Ending of a file that is being written; one that stays was left by a killed process."""


@contextmanager
def atomic_write(path: Path, *, durable: bool = True) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on success it is synced and renamed to `path`, else removed.

    What is not `durable` may be damaged by a power cut, and has to be verified by whoever reads it; not to wait for
    the disk is several times as fast for many small files. Raises StorageError when the disk is full or the folder
    cannot be written.
    """
    temporary = path.parent / f".{path.name}.{secrets.token_hex(8)}{PART_SUFFIX}"
    written = False
    try:
        if not path.parent.is_dir():
            path.parent.mkdir(parents=True, exist_ok=True)
        if durable:
            temporary.touch()  # a folder that cannot be written: libraries would say so in words of their own
        yield temporary
        if durable:
            with open(temporary, "rb+") as file:
                os.fsync(file.fileno())
        os.chmod(temporary, 0o644)  # some libraries keep what they write from other users
        os.replace(temporary, path)
        written = True
    except OSError as error:
        raise storage_error(path, error) from error
    finally:
        if not written:
            with suppress(OSError):
                temporary.unlink()


def storage_error(path: Path, error: OSError) -> StorageError:
    """What a failed write means, in words."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return StorageError(f"{path}: the disk is full; free some space or choose another workspace, then run again")
    return StorageError(f"{path}: cannot be written ({error.strerror or error}); check the folder and its permissions")


def check_free(folder: Path, *, needed_bytes: int) -> None:
    """Raise StorageError where the disk of a folder, which need not exist yet, has less space than needed."""
    existing = next(place for place in (folder, *folder.absolute().parents) if place.exists())
    free = shutil.disk_usage(existing).free
    if free < needed_bytes:
        raise StorageError(
            f"{folder}: {free / 1e6:,.0f} MB free, {needed_bytes / 1e6:,.0f} MB are needed; "
            "free some space or choose another place"
        )


def write_text(path: Path, text: str) -> None:
    """Write a text, atomically."""
    with atomic_write(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """Write `value` as JSON, atomically and with sorted keys."""
    write_text(path, json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False) + "\n")


def read_json(path: Path) -> Any:
    """The JSON value stored at `path`; StorageError names the file when it is damaged or missing."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise StorageError(f"{path}: cannot be read ({error}); delete it and run again") from error


def sha256_of_file(path: Path) -> str:
    """Hex sha256 of a file's bytes."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sha256_of_json(value: Any) -> str:
    """Hex sha256 of a JSON value in canonical form."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()


def canonical_json(value: Any) -> str:
    """A JSON value in its one canonical form: sorted keys, no blanks."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)

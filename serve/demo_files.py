"""Files of the demo: a private folder of this process, and the check that a recording lies in it."""

import asyncio
import atexit
import shutil
import tempfile
import uuid
from functools import cache
from pathlib import Path
from urllib.parse import quote

from serve.errors import InputError, TooLargeError

NOT_HERE = "This recording is not here (any more): upload or record it again."


@cache
def private_folder() -> Path:
    """Where uploads and answers lie: only this user can read it, and it goes when the process ends."""
    folder = Path(tempfile.mkdtemp(prefix="sermodels-demo-")).resolve()
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


async def read_recording(path: str | None, *, max_bytes: int) -> bytes:
    """An uploaded recording. Raises InputError for any path but an upload's, and TooLargeError."""
    if not path:
        raise InputError("There is no recording yet: record one, upload one or click an example.")
    return await asyncio.to_thread(_read, path, max_bytes)


def keep(content: bytes, name: str) -> str:
    """Write a file that the page may fetch; its address cannot be guessed."""
    folder = private_folder() / uuid.uuid4().hex
    folder.mkdir()
    (folder / name).write_bytes(content)
    return str(folder / name)


def address(path: str) -> str:
    """Where the page fetches a kept file, relative to the page."""
    return f"gradio_api/file={quote(path)}"


def private_file(path: str) -> Path | None:
    """The file if it lies in the private folder, whatever links and dots its name has."""
    try:
        file = Path(path).resolve(strict=True)
    except (OSError, ValueError):  # ValueError: a null byte
        return None
    return file if file.is_relative_to(private_folder()) and file.is_file() else None


def _read(path: str, max_bytes: int) -> bytes:
    """Read an upload."""
    if (file := private_file(path)) is None:
        raise InputError(NOT_HERE)
    if (size := file.stat().st_size) > max_bytes:
        raise TooLargeError(f"The recording has {size:,} bytes; allowed are {max_bytes:,}. Send a shorter one.")
    return file.read_bytes()

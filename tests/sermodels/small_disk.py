"""A real disk of a few kilobytes, to see what happens when it is full."""

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def small_disk(folder: Path, *, kilobytes: int) -> Iterator[Path]:
    """Mount a file system of this size at `folder`; skips the test where that is not permitted."""
    mount = shutil.which("mount")
    if mount is None:
        pytest.skip("there is no mount command")
    folder.mkdir(parents=True)
    command = [mount, "-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs", str(folder)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode:
        pytest.skip(f"this user may not mount a file system ({result.stderr.strip()})")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def fill(folder: Path, *, leave: int = 0) -> Path:
    """Write a file that takes all space of the disk but `leave` bytes; returns it."""
    ballast = folder / "ballast"
    ballast.write_bytes(bytes(shutil.disk_usage(folder).free - leave))
    return ballast

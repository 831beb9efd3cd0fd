"""The recordings of a zip file into a corpus folder, all of them or none."""

import shutil
import zipfile
from pathlib import Path, PurePosixPath

from sermodels.errors import CorpusError


def unpack_recordings(archive: Path, target: Path, *, levels: int) -> int:
    """Unpack every .wav of the zip file `archive` into the new folder `target`; returns how many.

    Of each member's path the last `levels` parts are kept: 1 puts all files into `target` itself. They are written
    beside `target` and renamed to it at the end. Raises CorpusError when the zip file is damaged, holds no recording
    or names a file outside of its folder, and OSError when it cannot be written.
    """
    staging = target.with_name(f".{target.name}.part")
    shutil.rmtree(staging, ignore_errors=True)
    staging.mkdir(parents=True)
    try:
        count = _extract(archive, staging, levels)
        if not count:
            raise CorpusError(f"{archive}: holds no .wav file; delete it and download again")
        staging.replace(target)
    except zipfile.BadZipFile as error:
        raise CorpusError(f"{archive}: is no whole zip file ({error}); delete it and download again") from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return count


def _extract(archive: Path, folder: Path, levels: int) -> int:
    count = 0
    with zipfile.ZipFile(archive) as members:
        for member in members.infolist():
            path = _safe_path(archive, member.filename)
            if member.is_dir() or path.suffix.lower() != ".wav" or _is_hidden(path):
                continue
            destination = folder.joinpath(*path.parts[-levels:])
            destination.parent.mkdir(parents=True, exist_ok=True)
            with members.open(member) as source, open(destination, "wb") as file:
                shutil.copyfileobj(source, file)
            count += 1
    return count


def _safe_path(archive: Path, name: str) -> PurePosixPath:
    path = PurePosixPath(name.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or ":" in name:
        raise CorpusError(
            f"{archive}: names a file outside of its folder ({name!r}); it is not the original, delete it"
        )
    return path


def _is_hidden(path: PurePosixPath) -> bool:
    return any(part.startswith((".", "__MACOSX")) for part in path.parts)

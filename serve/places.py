"""Where the served bundles lie, and what lies there now: other bundles put there are noticed and loaded."""

from dataclasses import dataclass
from pathlib import Path

from serve.bundle import MANIFEST, Bundle, load_bundle, located
from serve.errors import BundleError

Listing = tuple[tuple[str, int, int, int], ...]


@dataclass(frozen=True)
class Look:
    """What lies there: each bundle.json, whole, and each file's path, inode, size and time of change."""

    manifests: tuple[bytes, ...]
    files: Listing


@dataclass(frozen=True)
class Places:
    """The folders of the champion and, if there may be one, the challenger; an empty folder waits for its first."""

    champion: Path
    challenger: Path | None = None

    def load(self) -> tuple[Bundle, Bundle | None]:
        """Both bundles, verified. Raises BundleError."""
        champion = load_bundle(self.champion)
        if self.challenger is None or _is_empty(self.challenger):
            return champion, None
        challenger = load_bundle(self.challenger)
        ours, theirs = (bundle.manifest.front_end.sample_rate_hz for bundle in (champion, challenger))
        if ours != theirs:
            raise BundleError(f"{self.challenger}: its sample rate is {theirs}, the champion's {ours}")
        return champion, challenger

    def look(self) -> Look | None:
        """What lies there now; None while files come and go."""
        folders = [located(folder) for folder in (self.champion, self.challenger) if folder is not None]
        try:
            manifests = [folder / MANIFEST for folder in folders]
            read = tuple(path.read_bytes() if path.is_file() else b"" for path in manifests)
            files = tuple(entry for folder in folders if folder.is_dir() for entry in _listing(folder))
        except OSError:
            return None
        return Look(read, files)


def _is_empty(folder: Path) -> bool:
    """Whether nothing lies there, hidden files aside."""
    return folder.is_dir() and all(path.name.startswith(".") for path in folder.iterdir())


def _listing(folder: Path) -> Listing:
    """The folder's own entries."""
    found = ((path, path.stat()) for path in sorted(folder.iterdir()))
    return tuple((str(path), stat.st_ino, stat.st_size, stat.st_mtime_ns) for path, stat in found)

"""The bundles that a server serves: fetched from the registry into folders whose link `current` names the newest."""

import os
import shutil
import sys
import threading
import time
from pathlib import Path

from flows import registry, tracking
from flows.finished import fetch_artifacts
from flows.registry import CHALLENGER, CHAMPION, CLASSIFIER_MODEL, ONNX_NAMES, RegisteredVersion, RegistryError
from sermodels.errors import SermodelsError
from serve.bundle import CURRENT, MANIFEST, Bundle, load_bundle


def fetch_bundle(folder: Path, *, alias: str = CHAMPION) -> Bundle | None:
    """The bundle of `ser-classifier-onnx@alias` in `folder`, fetched only if another one is `current` there.

    None when no version has the alias. Raises BundleError when what was fetched is damaged, and StorageError.
    """
    return load_bundle(folder) if _update(folder, alias) else None


def fetch_bundle_of(exported: RegisteredVersion, folder: Path) -> Bundle:
    """The bundle of an ONNX version, in `folder`, which does not exist yet. Raises BundleError and StorageError."""
    fetch_artifacts(str(exported.run_id), exported.tags["bundle"], folder)
    return load_bundle(folder)


def refresh(served: Path) -> str:
    """Let `served/champion` and `served/challenger` be what the registry calls so; says which versions that are.

    A bundle that is served stays as it is: a newer one comes into a folder of its own, is verified, and only then
    becomes `current`; without a challenger its folder is empty. Raises RegistryError where no
    champion is exported or no registry answers, BundleError and StorageError.
    """
    try:
        champion = _update(served / CHAMPION, CHAMPION)
        if champion is None:
            raise RegistryError(_no_champion())
        challenger = _update(served / CHALLENGER, CHALLENGER)
    except SermodelsError:
        raise
    except Exception as error:  # whatever MLflow's stores and clients raise: the registry is elsewhere, and may be gone
        raise RegistryError(f"{tracking.shown_uri()}: the registry does not answer ({error})") from error
    if challenger is None:
        (served / CHALLENGER).mkdir(parents=True, exist_ok=True)
        _keep(served / CHALLENGER, set())
    return f"champion is version {champion.version}, challenger {challenger.version if challenger else 'none'}"


def follow(served: Path, *, every_s: float, server: int | None = None) -> None:
    """Refresh for ever, or until the parent process `server` has ended; says what changes, and each fault once."""
    if server is not None:
        threading.Thread(target=_end_with, args=(server,), daemon=True).start()
    told = ""
    while True:
        try:
            news = refresh(served)
        except SermodelsError as error:
            news = f"what is served stays: {error}"
        if news != told:
            print(f"registry: {news}", file=sys.stderr, flush=True)
        told = news
        time.sleep(every_s)


def _end_with(parent: int) -> None:
    """End this process when its parent has ended, even where the registry keeps it waiting."""
    while os.getppid() == parent:
        time.sleep(1.0)
    os._exit(0)


def _no_champion() -> str:
    """What is missing, and what to do about it."""
    if registry.version_by_alias(CLASSIFIER_MODEL, CHAMPION):
        return "the champion is not exported yet; run: python -m flows export"
    return registry.nothing_registered(CLASSIFIER_MODEL)


def _update(folder: Path, alias: str) -> RegisteredVersion | None:
    """Let the alias' bundle be `current`, unless it is so already; None when no version has the alias."""
    version = registry.version_by_alias(ONNX_NAMES[CLASSIFIER_MODEL], alias)
    if version is None:
        return None
    name = f"version-{version.version}-{str(version.run_id)[:8]}"
    link, target = folder / CURRENT, folder / name
    before = link.readlink().name if link.is_symlink() else name
    if not link.is_symlink() or before != name:
        if (target / MANIFEST).is_file():
            load_bundle(target)
        else:
            fetch_bundle_of(version, target)
        _point(link, name)
    _keep(folder, {CURRENT, name, before})  # a server may be loading the one before
    return version


def _point(link: Path, name: str) -> None:
    """Turn the link to another folder beside it, in one step."""
    fresh = link.with_name(f".{link.name}.{os.getpid()}")
    fresh.unlink(missing_ok=True)
    fresh.symlink_to(name)
    fresh.replace(link)


def _keep(folder: Path, names: set[str]) -> None:
    """Delete all else, the link first."""
    for path in sorted(folder.iterdir(), key=lambda path: path.name != CURRENT):
        if path.name in names:
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink()

"""Which corpora lie where, for a folder or manifest that the user names."""

from dataclasses import dataclass
from pathlib import Path

from sermodels.corpora import CORPORA, DEMO, DEMO_HALVES
from sermodels.corpora.folder import wav_files
from sermodels.corpora.scheme import NameScheme
from sermodels.errors import CorpusError

DEMO_MARK = "demo.json"
"""Written last into a demo corpus: what lies beside it is synthetic, and complete."""


@dataclass(frozen=True)
class Source:
    """One corpus and where it lies; `scheme` is None for a manifest."""

    name: str
    path: Path
    scheme: NameScheme | None
    synthetic: bool = False


def find_sources(target: Path) -> list[Source]:
    """The corpora in `target`: a manifest, a folder that holds corpora, or the folder of one. Raises CorpusError."""
    try:
        return _find(target)
    except OSError as error:
        raise CorpusError(f"{target}: cannot be read ({error.strerror}); check its permissions") from error


def _find(target: Path) -> list[Source]:
    if target.suffix.lower() == ".csv" and not target.is_dir():
        return [Source(target.stem, target, None)]
    if not target.is_dir():
        raise CorpusError(f"{target}: there is no such folder; {_remedy(target)}")
    if (target / DEMO_MARK).is_file():
        return _demo(target)
    held = [name for name in CORPORA if (target / name).is_dir()]
    has_demo = (target / DEMO).is_dir()
    if not has_demo and held in ([], [target.name]):  # a corpus may hold a folder of its own name, as zips do
        return [_itself(target)]
    sources = [Source(name, target / name, CORPORA[name]) for name in held]
    return sources + (_demo(target / DEMO) if has_demo else [])


def _demo(folder: Path) -> list[Source]:
    return [Source(f"{DEMO}-{half.name}", folder / half.name, half, synthetic=True) for half in DEMO_HALVES]


def _itself(folder: Path) -> Source:
    """The folder as one corpus: told by its name, else by the names of its files."""
    scheme = CORPORA.get(folder.name.lower()) or _scheme_of_files(folder)
    synthetic = (folder.resolve().parent / DEMO_MARK).is_file()
    return Source(f"{DEMO}-{scheme.name}" if synthetic else scheme.name, folder, scheme, synthetic)


def _scheme_of_files(folder: Path) -> NameScheme:
    for scheme in CORPORA.values():
        if any(_follows(path, scheme) for path in _wav_files_or_none(folder, scheme)):
            return scheme
    raise CorpusError(f"{folder}: holds no corpus; {_remedy(folder)}")


def _wav_files_or_none(folder: Path, scheme: NameScheme) -> list[Path]:
    try:
        return wav_files(folder, scheme)
    except CorpusError:
        return []


def _follows(path: Path, scheme: NameScheme) -> bool:
    try:
        return scheme.parse(path) is not None
    except CorpusError:
        return False


def _remedy(folder: Path) -> str:
    names = " and ".join(f"{folder}/{name}/{scheme.layout}" for name, scheme in CORPORA.items())
    return f"put recordings there as {names}, or download them: python -m sermodels.corpora download {folder}"

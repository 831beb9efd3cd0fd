"""Anyone's own recordings: a CSV with the columns path, emotion, speaker and optionally sex, sentence, corpus."""

import csv
import os
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

from sermodels.corpora.folder import Findings, content_of
from sermodels.corpora.utterance import Corpus, Utterance
from sermodels.emotions import ALL_EMOTIONS
from sermodels.errors import CorpusError
from sermodels.known import UNKNOWN, KnownFiles

REQUIRED_COLUMNS = ("path", "emotion", "speaker")
OPTIONAL_COLUMNS = ("sex", "sentence", "corpus")
NO_NAMES: Mapping[str, str] = MappingProxyType({})
SEXES = {"f": "f", "female": "f", "m": "m", "male": "m", "": ""}


def read_manifest(manifest: Path, names: Mapping[str, str] = NO_NAMES, *, known: KnownFiles = UNKNOWN) -> Findings:
    """The recordings that a CSV lists, in its order; paths are absolute or relative to the CSV's folder.

    `names` maps its emotion names to those of `sermodels.emotions`, or to `-` for what is left out later.
    Recordings that are `known`, and were not touched since, are not read again.

    Raises CorpusError when the file as a whole is unusable (missing, not UTF-8, wrong columns, no rows); what is
    wrong with single lines is in the findings, each problem naming file and line.
    """
    columns, rows = _read_rows(manifest)
    utterances: list[Utterance] = []
    problems: list[str] = []
    line_of_path: dict[str, int] = {}
    for line, cells in rows:
        try:
            utterance = _utterance(manifest, columns, cells, names, known)
            _check_listed_once(utterance, line, line_of_path)
            utterances.append(utterance)
        except CorpusError as error:
            problems.append(f"{manifest} line {line}: {error}")
    return Findings(Corpus(tuple(_with_unique_identifiers(utterances, manifest.parent))), tuple(problems))


def _read_rows(manifest: Path) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """The column names, and line number and cells of every line that is not blank."""
    try:
        with open(manifest, encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, strict=True)
            columns = [name.strip() for name in next(reader, [])]
            _check_columns(manifest, columns)
            rows = [(reader.line_num, [cell.strip() for cell in cells]) for cells in reader]
    except OSError as error:
        raise CorpusError(f"{manifest}: cannot be read ({error.strerror}); name an existing CSV file") from error
    except UnicodeDecodeError as error:
        raise CorpusError(f"{manifest}: is not UTF-8 ({error.reason}); save it as UTF-8 CSV") from error
    except csv.Error as error:
        raise CorpusError(f"{manifest}: is not a CSV file ({error}); check the quotes") from error
    filled = [(line, cells) for line, cells in rows if any(cells)]
    if not filled:
        raise CorpusError(f"{manifest}: lists no recording; add one line each below the header")
    return columns, filled


def _check_columns(manifest: Path, columns: list[str]) -> None:
    allowed = f"allowed, separated by commas: {','.join(REQUIRED_COLUMNS)} and optionally {','.join(OPTIONAL_COLUMNS)}"
    if not columns:
        raise CorpusError(f"{manifest}: is empty; its first line names the columns; {allowed}")
    problems = {
        "missing": [name for name in REQUIRED_COLUMNS if name not in columns],
        "unknown": [name for name in columns if name not in REQUIRED_COLUMNS + OPTIONAL_COLUMNS],
        "repeated": [name for name, count in Counter(columns).items() if count > 1],
    }
    found = [f"{kind} column {', '.join(map(repr, names))}" for kind, names in problems.items() if names]
    if found:
        raise CorpusError(f"{manifest} line 1: {'; '.join(found)}; {allowed}")


def _utterance(
    manifest: Path, columns: list[str], values: list[str], names: Mapping[str, str], known: KnownFiles
) -> Utterance:
    """The recording that a line describes; CorpusError for a cell that is not allowed."""
    if len(values) != len(columns):
        raise CorpusError(f"{len(values)} cells, the header has {len(columns)}; quote cells that contain a comma")
    cells = dict(zip(columns, values, strict=True))
    _check_cells(cells, names)
    path = manifest.parent / cells["path"]
    corpus = cells.get("corpus") or manifest.stem
    return Utterance(
        identifier=f"{corpus}/{path.stem}",
        path=path,
        corpus=corpus,
        speaker=f"{corpus}/{cells['speaker']}",
        emotion=names.get(cells["emotion"], cells["emotion"]),
        sha256=content_of(path, known),
        sex=SEXES[cells.get("sex", "").lower()],
        sentence=cells.get("sentence", ""),
    )


def _check_cells(cells: dict[str, str], names: Mapping[str, str]) -> None:
    empty = [name for name in REQUIRED_COLUMNS if not cells[name]]
    if empty:
        raise CorpusError(f"empty cell in column {', '.join(map(repr, empty))}; fill it or remove the line")
    if cells["emotion"] not in (*ALL_EMOTIONS, *names):
        raise CorpusError(
            f"unknown emotion {cells['emotion']!r}; allowed: {', '.join(ALL_EMOTIONS)}; "
            f"`flows evaluate` takes other names by --emotions '{cells['emotion']}=EMOTION'"
        )
    sex = cells.get("sex", "")
    if sex.lower() not in SEXES:
        raise CorpusError(f"unknown sex {sex!r}; allowed: f, m, female, male or an empty cell")
    if "/" in cells.get("corpus", ""):
        raise CorpusError(f"corpus {cells['corpus']!r} contains a slash; allowed: a name without")


def _check_listed_once(utterance: Utterance, line: int, line_of_path: dict[str, int]) -> None:
    first = line_of_path.setdefault(os.path.normpath(utterance.path.absolute()), line)
    if first != line:
        raise CorpusError(f"lists {utterance.path} again, which line {first} lists; remove one of the lines")


def _with_unique_identifiers(utterances: list[Utterance], folder: Path) -> list[Utterance]:
    """Recordings of one name in several folders get their path from the CSV's folder in the identifier."""
    counts = Counter(utterance.identifier for utterance in utterances)
    return [
        replace(utterance, identifier=f"{utterance.corpus}/{_relative(utterance.path, folder)}")
        if counts[utterance.identifier] > 1
        else utterance
        for utterance in utterances
    ]


def _relative(path: Path, folder: Path) -> str:
    return Path(os.path.relpath(path, folder)).as_posix()

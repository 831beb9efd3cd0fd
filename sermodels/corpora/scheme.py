"""What a corpus's published file names say: the one thing that a new named corpus brings along."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from sermodels.errors import CorpusError


@dataclass(frozen=True)
class Labels:
    """What one file name says about its recording; `sex` is `f` or `m`, and what the scheme lacks is empty."""

    speaker: str
    emotion: str
    sex: str = ""
    sentence: str = ""
    intensity: str = ""
    take: str = ""


@dataclass(frozen=True)
class NameScheme:
    """A named corpus: how its files are named and laid out, and how many its authors published.

    `parse` turns a path into labels, returns None for a recording to pass over (described by `passed_over`),
    and raises CorpusError for a name outside the scheme.
    """

    name: str
    layout: str
    parse: Callable[[Path], Labels | None]
    published: Mapping[str, int]
    """Recordings per emotion in the complete corpus."""
    passed_over: str = ""
    published_stems: frozenset[str] = field(default=frozenset())
    """Every published file name without its suffix, where the scheme determines them."""

    def published_total(self) -> int:
        """Recordings in the complete corpus, all emotions."""
        return sum(self.published.values())


def fields_of(path: Path, pattern: re.Pattern[str], form: str) -> dict[str, str]:
    """The named groups of a file's stem; CorpusError naming the file and the `form` that is allowed."""
    match = pattern.fullmatch(path.stem)
    if match is None:
        raise CorpusError(f"{path}: the name does not follow {form}; rename or remove the file")
    return match.groupdict()


def look_up(path: Path, what: str, code: str, allowed: Mapping[str, str]) -> str:
    """What a code in a file name stands for; CorpusError naming the file, the code and those allowed."""
    if code not in allowed:
        meanings = ", ".join(f"{key} {value}" if key != value else key for key, value in allowed.items())
        raise CorpusError(f"{path}: unknown {what} {code!r}; allowed: {meanings}; rename or remove the file")
    return allowed[code]

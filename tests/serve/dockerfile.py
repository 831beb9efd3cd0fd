"""What the Dockerfile says, without an engine: its stages, and what a final image has from the stages below it."""

import json
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CONTINUED = re.compile(r"\\\n")
COMMENT = re.compile(r"^\s*#.*\n", flags=re.MULTILINE)


@dataclass(frozen=True)
class Copy:
    """One COPY: patterns in the context or in another stage, and where they go; a folder if that ends in a slash."""

    sources: tuple[str, ...]
    target: str
    stage: str | None

    def files(self) -> list[tuple[Path, str]]:
        """The context's files that are copied, each with its place in the image."""
        assert self.stage is None
        paths = [path for source in self.sources for path in sorted(ROOT.glob(source))]
        return [(path, f"{self.target}{path.name}" if self.target.endswith("/") else self.target) for path in paths]


@dataclass(frozen=True)
class Stage:
    """A stage: what it starts from and its instructions in order."""

    name: str
    base: str
    instructions: tuple[tuple[str, str], ...]

    def all(self, keyword: str) -> list[str]:
        """The arguments of each instruction of this kind."""
        return [arguments for word, arguments in self.instructions if word == keyword]

    def copies(self) -> list[Copy]:
        """What is copied."""
        return [_copy(arguments) for arguments in self.all("COPY")]

    def environment(self) -> dict[str, str]:
        """What ENV sets; a reference to another variable is left as it is."""
        words = [word for arguments in self.all("ENV") for word in shlex.split(arguments)]
        return {name: value for name, _, value in (word.partition("=") for word in words)}


def read_dockerfile() -> dict[str, Stage]:
    """The stages by name, in order."""
    text = CONTINUED.sub("", COMMENT.sub("", (ROOT / "Dockerfile").read_text(encoding="utf-8")))
    lines = [line.split(maxsplit=1) for line in text.splitlines() if line.strip()]
    starts = [number for number, (keyword, *_) in enumerate(lines) if keyword == "FROM"]
    assert starts[0] == 0
    stages = {}
    for first, end in zip(starts, [*starts[1:], len(lines)], strict=True):
        base, separator, name = lines[first][1].split()
        assert separator == "AS"
        stages[name] = Stage(name, base, tuple((keyword, value) for keyword, value in lines[first + 1 : end]))
    return stages


def flattened(stages: dict[str, Stage], name: str) -> Stage:
    """The stage with the instructions of all stages that it starts from, theirs first."""
    chain = list(_chain(stages, name))[::-1]
    return Stage(name, chain[0].base, tuple(entry for stage in chain for entry in stage.instructions))


def exec_form(arguments: str) -> list[str]:
    """The words of a command in exec form, with no shell between it and the signals."""
    words = json.loads(arguments)
    assert isinstance(words, list)
    return [str(word) for word in words]


def _chain(stages: dict[str, Stage], name: str) -> Iterator[Stage]:
    """The stage and those below it."""
    while name in stages:
        yield stages[name]
        name = stages[name].base


def _copy(arguments: str) -> Copy:
    options = [word for word in shlex.split(arguments) if word.startswith("--")]
    *sources, target = [word for word in shlex.split(arguments) if not word.startswith("--")]
    stages = [word.removeprefix("--from=") for word in options]
    assert all(word.startswith("--from=") for word in options)
    return Copy(tuple(sources), target, stages[0] if stages else None)

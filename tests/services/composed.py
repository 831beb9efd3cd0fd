"""The team's services as compose.yaml has them, on this machine's addresses."""

import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.end_to_end.conftest import ROOT

COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text(encoding="utf-8"))
SERVICES: dict[str, dict[str, Any]] = {
    name: service for name, service in COMPOSE["services"].items() if service.get("profiles") == ["tracking"]
}
PROGRAMS = Path(sys.executable).parent
VARIABLE = re.compile(r"\$\{(\w+):-\}")


@dataclass(frozen=True)
class Machine:
    """What stands in for compose's names: variables of the shell, and texts such as addresses and paths."""

    variables: Mapping[str, str]
    places: Mapping[str, str]

    def text(self, value: object) -> str:
        """A value of the file."""
        found = VARIABLE.sub(lambda match: self.variables[match[1]], str(value))
        for name, place in self.places.items():
            found = found.replace(name, place)
        return found

    def command(self, service: str, **options: str) -> list[str]:
        """Entrypoint and command of a service with programs of this environment; options such as port are replaced."""
        words = [self.text(word) for word in (*SERVICES[service]["entrypoint"], *SERVICES[service]["command"])]
        for name, value in options.items():
            words[words.index(f"--{name}") + 1] = value
        return [str(PROGRAMS / words[0]), *words[1:]]

    def environment(self, service: str) -> dict[str, str]:
        """What a service is told."""
        return {name: self.text(value) for name, value in SERVICES[service]["environment"].items()}

    def config(self, name: str) -> str:
        """The content of a config file."""
        return self.text(COMPOSE["configs"][name]["content"])

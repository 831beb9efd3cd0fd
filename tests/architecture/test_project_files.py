"""MLproject, Makefile and README say the same as the command line and the tree."""

import re
import runpy
import shlex
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from flows.arguments import parse_arguments

ROOT = Path(__file__).resolve().parents[2]
ENTRY_POINTS: dict[str, Any] = yaml.safe_load((ROOT / "MLproject").read_text(encoding="utf-8"))["entry_points"]


@cache
def readme() -> str:
    """The README's text."""
    return (ROOT / "README.md").read_text(encoding="utf-8")


def command_for(entry_point: str, values: dict[str, str]) -> list[str]:
    """The arguments after `python -m flows` that mlflow's command has for these values, filled in as mlflow does."""
    quoted = {name: shlex.quote(str(value)) for name, value in values.items()}
    words = shlex.split(ENTRY_POINTS[entry_point]["command"].format(**quoted))
    assert words[:3] == ["python", "-m", "flows"]
    return words[3:]


def test_mlproject_is_what_its_tool_writes() -> None:
    tool = runpy.run_path(str(ROOT / "tools" / "mlproject.py"))
    assert tool["render"]() == (ROOT / "MLproject").read_text(encoding="utf-8"), (
        "MLproject is out of date: run make map"
    )


def test_entry_points() -> None:
    assert list(ENTRY_POINTS) == ["main", "train", "synthesize", "evaluate", "export", "serve"]


@pytest.mark.parametrize("entry_point", ENTRY_POINTS)
def test_the_command_line_takes_the_defaults(entry_point: str) -> None:
    parameters = ENTRY_POINTS[entry_point]["parameters"]
    required = {name: f"a {name}" for name, parameter in parameters.items() if "default" not in parameter}
    assert set(required) <= {"corpus"}
    defaults = {name: parameter["default"] for name, parameter in parameters.items() if "default" in parameter}
    parsed = vars(parse_arguments(command_for(entry_point, required | defaults)))
    assert {name: value for name, value in parsed.items() if name != "command"} == required | defaults


@pytest.mark.parametrize("entry_point", ENTRY_POINTS)
def test_every_value_arrives(entry_point: str) -> None:
    parameters = ENTRY_POINTS[entry_point]["parameters"]
    values = {name: 7 if one["type"] == "float" else f"a {name}" for name, one in parameters.items()}
    values |= {"skip_unreadable": "true"} if "skip_unreadable" in values else {}
    parsed = vars(parse_arguments(command_for(entry_point, values)))
    assert {name: value for name, value in parsed.items() if name != "command"} == values


def test_make_targets_in_the_readme_exist() -> None:
    targets = set(re.findall(r"^([a-z][a-z-]*):", (ROOT / "Makefile").read_text(encoding="utf-8"), flags=re.MULTILINE))
    code = re.findall(r"```.*?```|`[^`\n]+`", readme(), flags=re.DOTALL)
    named = {name for text in code for name in re.findall(r"(?:^|[`$;&\s])make ([a-z][a-z-]*)", text)}
    assert {"run", "test"} <= named <= targets


def file_map() -> list[str]:
    """The first path of each line of the README's file map."""
    section = re.search(r"^## File map\n(.*?)(?=^## |\Z)", readme(), flags=re.DOTALL | re.MULTILINE)
    assert section is not None, "README.md has no section '## File map'"
    return re.findall(r"^[\s|*-]*`([^`]+)`", section[1], flags=re.MULTILINE)


def test_files_in_the_file_map_exist() -> None:
    paths = file_map()
    assert paths
    assert [path for path in paths if not any(ROOT.glob(path.rstrip("/")))] == []


def test_every_module_is_in_the_file_map() -> None:
    modules = [path for room in ("sermodels", "serve", "flows") for path in (ROOT / room).rglob("*.py")]
    names = {path.relative_to(ROOT).as_posix() for path in modules if path.name != "__init__.py"}
    assert names - set(file_map()) == set()


def test_the_file_map_is_what_its_tool_writes() -> None:
    tool = runpy.run_path(str(ROOT / "tools" / "file_map.py"))
    assert tool["file_map"]().strip() in readme(), "README is out of date: run make map"

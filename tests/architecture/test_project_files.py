"""MLproject, Makefile and README say the same as the command line and the tree."""

import re
import runpy
import shlex
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
MAIN: dict[str, Any] = yaml.safe_load((ROOT / "MLproject").read_text(encoding="utf-8"))["entry_points"]["main"]
PARAMETERS: dict[str, dict[str, str]] = MAIN["parameters"]


@cache
def readme() -> str:
    """The README's text."""
    return (ROOT / "README.md").read_text(encoding="utf-8")


def flows(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run `python -m flows`."""
    command = [sys.executable, "-m", "flows", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def command_for(values: dict[str, str]) -> list[str]:
    """The arguments after `python -m flows` that mlflow's command has for these parameters."""
    words = shlex.split(MAIN["command"].format(**{name: shlex.quote(value) for name, value in values.items()}))
    assert words[:3] == ["python", "-m", "flows"]
    return words[3:]


def test_parameters_are_the_options_of_the_command_line() -> None:
    options = set(re.findall(r"--([a-z][a-z-]*)", flows("run", "--help").stdout)) - {"help"}
    assert options == {name.replace("_", "-") for name in PARAMETERS}


def test_every_parameter_is_passed_on() -> None:
    values = {name: f"a {name}" for name in PARAMETERS}
    assert command_for(values)[1:] == [f"--{name.replace('_', '-')}=a {name}" for name in PARAMETERS]


@pytest.mark.parametrize("values", [{}, dict.fromkeys(PARAMETERS, "")], ids=["defaults", "empty"])
def test_the_command_line_takes_them(values: dict[str, str]) -> None:
    defaults = {name: parameter["default"] for name, parameter in PARAMETERS.items()}
    result = flows(*command_for(defaults | values), "--help")
    assert result.returncode == 0, result.stderr


def test_parameters_are_strings() -> None:
    assert all(
        parameter["type"] == "string" and isinstance(parameter["default"], str) for parameter in PARAMETERS.values()
    )


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

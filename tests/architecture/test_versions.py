"""One version of each package everywhere: pyproject.toml, the locks, conda.yaml and what is installed."""

import ast
import re
import sys
import tomllib
from importlib.metadata import packages_distributions, version
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]
LOCK = (ROOT / "requirements.lock").read_text(encoding="utf-8")
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
NAMED = [Requirement(line) for line in PROJECT["dependencies"] + PROJECT["optional-dependencies"]["dev"]]
SERVE_LOCKS = {
    name: (ROOT / "serve" / f"requirements-{name}.lock").read_text(encoding="utf-8") for name in ("cpu", "cuda")
}
PEERS_LOCK = (ROOT / "benchmarks" / "peers.lock").read_text(encoding="utf-8")
LOCKS = {"all": LOCK, "peers": PEERS_LOCK} | SERVE_LOCKS
PEERS = {"diffusers", "litserve"}
"""Packages of benchmarks/peers.in, which has an environment of its own."""
_OUTDATED = "write onnxruntime-gpu's version at onnxruntime in serve/requirements-cpu.in, then run make lock"


def pins(lock: str) -> dict[str, str]:
    """Package to version."""
    return dict(re.findall(r"^([\w.-]+)==([^\s;]+)", lock, flags=re.MULTILINE))


LOCKED = pins(LOCK)
CONDA: dict[str, Any] = yaml.safe_load((ROOT / "conda.yaml").read_text(encoding="utf-8"))


def conda_pins() -> dict[str, str]:
    """Package to version, of conda.yaml's pip section; anything but an exact pin fails."""
    (section,) = [entry["pip"] for entry in CONDA["dependencies"] if isinstance(entry, dict)]
    pins = [Requirement(line) for line in section]
    assert all(re.fullmatch(r"==[^,*]+", str(pin.specifier)) for pin in pins)
    return {canonicalize_name(pin.name): str(pin.specifier).removeprefix("==") for pin in pins}


@pytest.mark.parametrize("requirement", NAMED, ids=lambda requirement: requirement.name)
def test_named_dependency_is_locked_and_installed(requirement: Requirement) -> None:
    locked = LOCKED[canonicalize_name(requirement.name)]
    assert locked in requirement.specifier
    assert version(requirement.name) == locked


def imported_packages() -> set[str]:
    """Top-level packages that the project's files import, without the standard library and the project itself."""
    folders = ("sermodels", "serve", "flows", "tools", "benchmarks")
    paths = [path for name in folders for path in (ROOT / name).rglob("*.py") if ".venv" not in path.parts]
    trees = [ast.parse(path.read_text(encoding="utf-8")) for path in paths]
    nodes = [node for tree in trees for node in ast.walk(tree)]
    names = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.module and not node.level}
    return {name.split(".")[0] for name in names} - set(sys.stdlib_module_names) - {*folders, "tests"}


def test_every_imported_package_is_named() -> None:
    distributions = packages_distributions()
    named = {canonicalize_name(requirement.name) for requirement in NAMED}
    imported = imported_packages() - PEERS
    assert "torch" in imported
    owners = {package: {canonicalize_name(name) for name in distributions[package]} for package in imported}
    assert [package for package, names in owners.items() if not names & named] == []


def test_conda_yaml_has_the_versions_of_the_lock() -> None:
    assert conda_pins() == LOCKED, "conda.yaml is out of date: run make lock"


def test_conda_yaml_names_the_python_of_the_lock_and_the_image() -> None:
    assert "python=3.11" in CONDA["dependencies"]
    assert "--python-version 3.11 " in (ROOT / "Makefile").read_text(encoding="utf-8")
    images = re.findall(r"^FROM (\S+:\S+)", (ROOT / "Dockerfile").read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert set(images) == {"python:3.11-slim"}


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("fastapi==0.150.0", "prefect 3.8.8 answers 422 or does not start with newer ones"),
        ("sqlalchemy<2.1,>=2.0", "prefect 3.8.8 schedules never fire with 2.1"),
    ],
)
def test_silent_breakers_stay_pinned(name: str, reason: str) -> None:
    assert name in [str(requirement) for requirement in NAMED], reason


@pytest.mark.parametrize("lock", LOCKS.values(), ids=LOCKS)
def test_every_locked_package_has_a_hash(lock: str) -> None:
    packages = re.split(r"^(?=[\w.-]+==)", lock, flags=re.MULTILINE)[1:]
    assert len(packages) == len(pins(lock)) > 0
    assert [package.split()[0] for package in packages if "--hash=sha256:" not in package] == []


@pytest.mark.parametrize("lock", LOCKS.values(), ids=LOCKS)
def test_the_lock_names_no_index_and_no_address(lock: str) -> None:
    assert re.findall(r"^--.*|\S*://\S*|^.* @ .*", lock, flags=re.MULTILINE) == []


@pytest.mark.parametrize("lock", SERVE_LOCKS.values(), ids=SERVE_LOCKS)
def test_serving_is_locked_at_the_versions_of_the_lock(lock: str) -> None:
    expected = LOCKED | {"onnxruntime": LOCKED["onnxruntime-gpu"]}
    differing = {name: version for name, version in pins(lock).items() if expected.get(name) != version}
    # CUDA's libraries that torch does not need are in the lock of the image alone.
    assert [name for name in differing if name in expected or not name.startswith("nvidia-")] == [], _OUTDATED


def test_peers_are_locked_at_the_versions_of_the_lock() -> None:
    pinned = pins(PEERS_LOCK)
    expected = LOCKED | {"onnxruntime": LOCKED["onnxruntime-gpu"]}
    assert {name: version for name, version in pinned.items() if expected.get(name, version) != version} == {}
    assert pinned.keys() >= PEERS


def test_there_is_no_uv_lock() -> None:
    assert not (ROOT / "uv.lock").exists(), "mlflow run --env-manager uv would use it in place of conda.yaml"


def test_version_is_the_same_everywhere() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    library = re.search(r'__version__ = "(.+)"', (ROOT / "sermodels" / "__init__.py").read_text(encoding="utf-8"))
    assert library is not None
    assert citation["version"] == PROJECT["version"] == library[1]
    assert citation["license"] == PROJECT["license"] == "Apache-2.0"

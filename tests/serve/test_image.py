"""The images: what Dockerfile, compose.yaml and the requirements of serving say, and that the code says the same."""

import ast
import re
import sys
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from serve.server import GRACE_S
from tests.serve.dockerfile import ROOT, Copy, exec_form, flattened, read_dockerfile

SERVERS = ("cpu", "cuda")
STAGES = read_dockerfile()
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text(encoding="utf-8"))["services"]
NOT_SERVING = {"torch", "torchvision", "librosa", "mlflow", "prefect", "soundfile", "scikit-learn", "onnxscript"}
READ_FROM_FILES_ONLY = "soundfile"  # imported by sermodels.audio when it reads a file, which serving leaves to av


# --- What the files say ---


def test_targets_and_their_bases() -> None:
    assert {*SERVERS, "pipeline"} <= set(STAGES)
    assert list(STAGES)[-1] == "pipeline", "docker build without a target makes the pipeline"
    bases = [stage.base for stage in STAGES.values() if stage.base not in STAGES]
    assert set(bases) == {"python:3.11-slim"}


@pytest.mark.parametrize("target", [*SERVERS, "pipeline"])
def test_does_not_run_as_root(target: str) -> None:
    assert flattened(STAGES, target).all("USER")[-1] in ("1000:1000", "sermodels")
    assert any(
        "--uid 1000 " in f"{command} " for command in flattened(STAGES, target).all("RUN") if "useradd" in command
    )


@pytest.mark.parametrize("target", SERVERS)
def test_command_port_and_volume(target: str) -> None:
    assert exec_form(flattened(STAGES, target).all("CMD")[-1]) == [
        *("python", "-m", "serve", "--bundle", "/bundle", "--host", "0.0.0.0")
    ]
    assert flattened(STAGES, target).all("EXPOSE") == ["8000"]
    assert flattened(STAGES, target).all("VOLUME") == ["/bundle"]
    assert flattened(STAGES, target).all("STOPSIGNAL") == ["SIGTERM"]
    assert not flattened(STAGES, target).all("ENTRYPOINT")


@pytest.mark.parametrize("target", [*SERVERS, "pipeline"])
def test_nothing_reports_to_its_makers(target: str) -> None:
    switches = {"DO_NOT_TRACK": "1", "GRADIO_ANALYTICS_ENABLED": "False", "ORT_DISABLE_TELEMETRY": "1"}
    assert switches.items() <= flattened(STAGES, target).environment().items()


@pytest.mark.parametrize("target", SERVERS)
def test_installs_its_lock_with_hashes(target: str) -> None:
    stage = STAGES[f"venv-{target}"]
    assert [copy.sources for copy in stage.copies()] == [(f"serve/requirements-{target}.lock",)]
    (command,) = stage.all("RUN")
    assert command.endswith(f" --require-hashes -r requirements-{target}.lock")
    assert Copy(("/opt/venv",), "/opt/venv", f"venv-{target}") in flattened(STAGES, target).copies()


def test_cuda_asks_for_the_driver() -> None:
    assert STAGES["cuda"].environment() == {
        "NVIDIA_DRIVER_CAPABILITIES": "compute,utility",
        "NVIDIA_VISIBLE_DEVICES": "all",
    }


def test_what_is_copied_is_there_and_sent_to_the_engine() -> None:
    sent = {line.removeprefix("!") for line in (ROOT / ".dockerignore").read_text().split() if line.startswith("!")}
    copies = [copy for stage in STAGES.values() for copy in stage.copies() if copy.stage is None]
    for source in (source for copy in copies for source in copy.sources if source != "."):
        assert list(ROOT.glob(source)), source
        assert source.split("/")[0] in sent, source
    assert all(copy.stage in STAGES for stage in STAGES.values() for copy in stage.copies() if copy.stage)


# --- Which code and which packages serving needs ---


def imports(path: Path) -> set[str]:
    """All that a file imports, wherever in it, in full: `from a import b` is both a and a.b."""
    nodes = list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
    plain = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    froms = [node for node in nodes if isinstance(node, ast.ImportFrom) and node.module and not node.level]
    return plain | {f"{node.module}{end}" for node in froms for end in ("", *(f".{name.name}" for name in node.names))}


@cache
def needed() -> tuple[frozenset[Path], frozenset[str]]:
    """The project's files that serve/*.py needs, themselves included, and the packages that all these import."""
    waiting, files, packages = sorted((ROOT / "serve").glob("*.py")), set[Path](), set[str]()
    while waiting:
        files.add(path := waiting.pop())
        names = imports(path)
        own = {name for name in names if name.split(".")[0] in ("serve", "sermodels", "flows")}
        packages |= {name.split(".")[0] for name in names - own} - set(sys.stdlib_module_names)
        parts = {ROOT.joinpath(*name.split(".")) for name in own}
        found = {path for part in parts for path in (part.with_suffix(".py"), part / "__init__.py") if path.is_file()}
        found |= {folder / "__init__.py" for folder in (path.parent for path in found) if folder != ROOT}
        waiting += sorted(found - files - set(waiting))
    return frozenset(files), frozenset(packages)


def test_the_code_is_what_serving_imports_and_no_more() -> None:
    copied = {path for copy in STAGES["code"].copies() for path, _ in copy.files()}
    assert copied == needed()[0], "list in the Dockerfile's stage `code` what serve/*.py imports"
    assert not any("export" in path.parts for path in copied)


def test_files_keep_their_places() -> None:
    for path, place in (pair for copy in STAGES["code"].copies() for pair in copy.files()):
        assert place == f"/app/{path.relative_to(ROOT).as_posix()}"
    assert [flattened(STAGES, target).all("WORKDIR")[-1] for target in SERVERS] == ["/app", "/app"]
    assert all(Copy(("/app",), "/app", "code") in flattened(STAGES, target).copies() for target in SERVERS)


def named(target: str) -> set[str]:
    """The packages that a requirements file names."""
    lines = (ROOT / "serve" / f"requirements-{target}.in").read_text(encoding="utf-8").splitlines()
    return {canonicalize_name(Requirement(line).name) for line in lines if line and not line.startswith("#")}


def locked(target: str) -> set[str]:
    """The packages that a lock holds."""
    text = (ROOT / "serve" / f"requirements-{target}.lock").read_text(encoding="utf-8")
    return set(re.findall(r"^([\w.-]+)==", text, flags=re.MULTILINE))


@pytest.mark.parametrize("target", SERVERS)
def test_every_import_is_named(target: str) -> None:
    distributions = packages_distributions() | {"onnxruntime": ["onnxruntime", "onnxruntime-gpu"]}
    for package in needed()[1] - {READ_FROM_FILES_ONLY}:
        assert {canonicalize_name(name) for name in distributions[package]} & named(target), package


@pytest.mark.parametrize("target", SERVERS)
def test_the_lock_holds_what_is_named_and_nothing_of_training(target: str) -> None:
    assert named(target) <= locked(target)
    assert not locked(target) & NOT_SERVING


@pytest.mark.parametrize(("target", "runtime"), [("cpu", "onnxruntime"), ("cuda", "onnxruntime-gpu")])
def test_one_onnxruntime(target: str, runtime: str) -> None:
    assert {name for name in locked(target) if name.startswith("onnxruntime")} == {runtime}


def test_the_locks_differ_by_the_runtime_and_its_libraries() -> None:
    assert locked("cpu") - locked("cuda") == {"onnxruntime"}
    extra = locked("cuda") - locked("cpu") - {"onnxruntime-gpu"}
    assert {"nvidia-cublas", "nvidia-cudnn-cu13", "nvidia-cufft", "nvidia-curand", "nvidia-cuda-runtime"} <= extra
    assert all(name.startswith("nvidia-") for name in extra)


# --- compose.yaml ---


@pytest.mark.parametrize(("service", "target"), [("serve", "cpu"), ("serve-cuda", "cuda")])
def test_a_service_runs_locked_down(service: str, target: str) -> None:
    found = COMPOSE[service]
    assert found["build"] == {"context": ".", "target": target}
    assert found["ports"] == ["127.0.0.1:8000:8000"]
    assert found["read_only"] is True
    assert found["cap_drop"] == ["ALL"]
    assert found["security_opt"] == ["no-new-privileges:true"]
    assert found["restart"] == "unless-stopped"
    assert [entry.split(":")[0] for entry in found["tmpfs"]] == ["/tmp"]
    assert [(volume["target"], volume["read_only"]) for volume in found["volumes"]] == [("/bundle", True)]
    assert {"SERMODELS_API_KEY", "SERMODELS_DEVICE"} <= set(found["environment"])


def test_only_the_cuda_service_takes_a_gpu_and_all_but_one_wait_to_be_asked_for() -> None:
    assert [name for name, service in COMPOSE.items() if not service.get("profiles")] == ["serve"]
    (device,) = COMPOSE["serve-cuda"]["deploy"]["resources"]["reservations"]["devices"]
    assert device == {"driver": "nvidia", "count": 1, "capabilities": ["gpu"]}
    assert "deploy" not in COMPOSE["serve"]


def test_stopping_waits_longer_than_the_server_does() -> None:
    servers = (COMPOSE["serve"], COMPOSE["serve-cuda"])
    assert all(int(service["stop_grace_period"].removesuffix("s")) > GRACE_S for service in servers)

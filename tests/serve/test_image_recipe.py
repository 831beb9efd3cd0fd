"""The image `cpu` without an engine: the Dockerfile's recipe carried out in a folder, and its command run there."""

import importlib.util
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.serve.dockerfile import ROOT, exec_form, flattened, read_dockerfile
from tests.serve.serving import Server, running, some_wav

STAGES = read_dockerfile()
IMAGE = flattened(STAGES, "cpu")
NO_REGISTRY = re.compile(r"Failed to fetch|error sending request|network connectivity is disabled")


@dataclass(frozen=True)
class Container:
    """A folder that holds what the image's root would, and the user that runs in it."""

    root: Path
    user: dict[str, Any]

    def place(self, text: str) -> str:
        """The image's paths in a text as paths of this folder."""
        return re.sub(r"(?<![\w.])/(opt/venv|app|bundle|tmp)\b", rf"{self.root}/\1", text)

    def environment(self) -> dict[str, str]:
        """The image's environment and nothing of this process's."""
        found = {name: self.place(value) for name, value in IMAGE.environment().items()}
        return found | {
            "PATH": found["PATH"].replace("$PATH", os.defpath),
            "HOME": self.place("/tmp"),
            "TMPDIR": self.place("/tmp"),
        }

    def options(self) -> dict[str, Any]:
        """How a command of the image is run."""
        return {"cwd": self.place("/app"), "env": self.environment(), "text": True, **self.user}

    def python(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        """Run the environment's interpreter."""
        command = [self.place("/opt/venv/bin/python"), *arguments]
        return subprocess.run(command, capture_output=True, timeout=60, check=False, **self.options())


def interpreter_and_user() -> tuple[str, dict[str, Any]]:
    """Root runs the server as the image's user, on an interpreter that anyone may run; others run it as themselves."""
    common = shutil.which("python3.11", path=os.defpath)
    if os.geteuid() != 0 or common is None:
        return sys.executable, {}
    user, group = (int(number) for number in IMAGE.all("USER")[-1].split(":"))
    return common, {"user": user, "group": group, "extra_groups": []}


def install(container: Container, python: str) -> None:
    """The commands of the stages that make the environment, with this project's uv."""
    stage = flattened({name: STAGES[name] for name in ("venv", "venv-cpu")}, "venv-cpu")
    for command in stage.all("RUN"):
        words = [container.place(word) for word in shlex.split(command)]
        words[0] = {"python": python, "uv": str(Path(sys.executable).with_name("uv"))}[words[0]]
        environment = os.environ | stage.environment()
        result = subprocess.run(words, cwd=ROOT / "serve", env=environment, capture_output=True, text=True, check=False)
        if NO_REGISTRY.search(result.stderr):
            pytest.skip("the packages of requirements-cpu.lock are neither in uv's cache nor to be fetched")
        assert result.returncode == 0, result.stderr


@pytest.fixture(scope="module")
def container(bundle_folder: Path) -> Iterator[Container]:
    """The image `cpu`: the environment, the files that COPY names, a bundle, and /tmp as all that can be written."""
    python, user = interpreter_and_user()
    with tempfile.TemporaryDirectory(prefix="image-") as folder:
        made = Container(Path(folder), user)
        made.root.chmod(0o755)
        install(made, python)
        for path, place in (pair for copy in STAGES["code"].copies() for pair in copy.files()):
            (target := Path(made.place(place))).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, target)
        for command in STAGES["code"].all("RUN"):
            words = [made.place(word) for word in shlex.split(command)]
            subprocess.run([python, *words[1:]], check=True)
        shutil.copytree(bundle_folder, made.place("/bundle"))
        Path(made.place("/tmp")).mkdir()
        Path(made.place("/tmp")).chmod(0o777)
        yield made


@pytest.fixture(scope="module")
def server(container: Container) -> Iterator[Server]:
    """The image's command, on a free port."""
    command = [container.place(word) for word in exec_form(IMAGE.all("CMD")[-1])]
    command[0] = container.place("/opt/venv/bin/python")
    with running([*command, "--port", "0"], **container.options()) as started:
        yield started


def healthy(container: Container, port: int) -> bool:
    """The image's health check, on another port."""
    keyword, command = IMAGE.all("HEALTHCHECK")[-1].split("CMD ", 1)
    assert keyword.startswith("--interval=")
    program, *arguments = exec_form(command)
    assert program == "python"
    assert ":8000/healthz" in arguments[-1]
    return container.python(*arguments[:-1], arguments[-1].replace(":8000/", f":{port}/")).returncode == 0


def test_a_start_compiles_nothing(container: Container) -> None:
    sources = sorted(path for room in ("serve", "sermodels") for path in (container.root / "app" / room).glob("*.py"))
    compiled = [Path(importlib.util.cache_from_source(str(path))) for path in sources]
    assert len(sources) > 50
    assert [path for path in compiled if not path.is_file()] == []


def test_the_environment_cannot_train(container: Container) -> None:
    for package in ("torch", "mlflow", "prefect", "librosa"):
        result = container.python("-c", f"import {package}")
        assert result.returncode == 1
        assert f"ModuleNotFoundError: No module named '{package}'" in result.stderr


@pytest.mark.timeout(300)
def test_the_server_starts_answers_and_stops(container: Container, server: Server) -> None:
    port = int(server.url.rsplit(":", 1)[1])
    address = f"http://127.0.0.1:{port}"
    assert httpx.get(f"{address}/readyz").status_code == 200
    assert httpx.get(f"{address}/").status_code == 200
    answer = httpx.post(f"{address}/v1/classify", files={"file": ("a.wav", some_wav())}, timeout=60)
    assert answer.status_code == 200, answer.text
    probabilities = answer.json()["probabilities"]
    assert len(probabilities) == 6
    assert sum(probabilities.values()) == pytest.approx(1.0, abs=1e-5)
    assert healthy(container, port)
    server.process.send_signal(signal.SIGTERM)
    assert server.wait() == 0, server.log
    assert "Traceback" not in server.log
    assert not healthy(container, port)
    written = {path.name for path in Path(container.place("/tmp")).iterdir()}
    assert written <= {"gradio", "matplotlib"}, "something else keeps files: does it also report to its makers?"

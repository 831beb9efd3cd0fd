"""One machine's calls of the command line on the team's servers."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.end_to_end.conftest import TINY
from tests.services.conftest import Services

WAIT_S = 1200.0


class Pipeline:
    """A workspace, a seed, and the environment of the servers."""

    def __init__(self, services: Services, corpus: Path, folder: Path, *, seed: int) -> None:
        self.services, self.folder = services, folder
        self.processes: list[subprocess.Popen[str]] = []
        folder.mkdir()
        options = [f"--preset={TINY}", f"--data-dir={corpus}", f"--workspace={folder / 'workspace'}"]
        small = f"--overrides=seed={seed} training.epochs=1 diffusion.epochs=1"
        self.command = [sys.executable, "-m", "flows", "run", *options, small]

    def start(self, **more: str) -> "subprocess.Popen[str]":
        """Start it; `more` is added to the environment."""
        process = subprocess.Popen(
            self.command,
            env=self.services.environment() | more,
            cwd=self.folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self.processes.append(process)
        return process

    def kill(self) -> None:
        """End what was started, and what that started."""
        for process in self.processes:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.communicate()

    def wait_for(self, stage: str, process: "subprocess.Popen[str]") -> None:
        """Until a stage has begun."""
        deadline = time.monotonic() + WAIT_S
        while time.monotonic() < deadline and process.poll() is None:
            if list((self.folder / "workspace" / "stages").glob(f"{stage}-*/inputs.json")):
                return
            time.sleep(0.01)
        self.kill()
        pytest.fail(f"{stage} did not begin (exit code {process.returncode})")

    def complete(self) -> set[str]:
        """The stages that are done."""
        return {path.parent.name for path in (self.folder / "workspace").glob("stages/*/complete.json")}

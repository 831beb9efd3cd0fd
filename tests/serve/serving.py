"""A server in a process of its own, and a recording to send it."""

import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from serve.wav import wav_bytes

ROOT = Path(__file__).resolve().parents[2]
LISTENING = re.compile(r"listening on (http://\S+)")


class Server:
    """A running `python -m serve`, its address, and all that it has logged."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self.process = process
        self.lines: list[str] = []
        self.url = ""
        self._listening = threading.Event()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.lines.append(line)
            if found := LISTENING.search(line):
                self.url = found[1]
                self._listening.set()
        self._listening.set()

    def wait_until_listening(self, timeout_s: float) -> None:
        assert self._listening.wait(timeout_s), self.log
        assert self.url, self.log

    def wait(self, timeout_s: float = 60) -> int:
        """The exit status."""
        status = self.process.wait(timeout_s)
        self._reader.join(timeout_s)
        return status

    @property
    def log(self) -> str:
        return "".join(self.lines)


@contextmanager
def running(command: list[str], *, within_s: float = 600.0, **options: Any) -> Iterator[Server]:
    """A command that becomes a server, with options of Popen; it is killed if it still runs at the end."""
    with subprocess.Popen(
        command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, **{"text": True} | options
    ) as process:
        server = Server(process)
        try:
            server.wait_until_listening(within_s)
            yield server
        finally:
            if process.poll() is None:
                process.kill()
            server.wait()


@contextmanager
def serving(bundle: Path, *options: str, demo: bool = False, **environment: str) -> Iterator[Server]:
    """A server on a free port."""
    command = [sys.executable, "-m", "serve", "--bundle", str(bundle), "--port", "0", *options]
    command += [] if demo else ["--no-demo"]
    settings = {"OMP_NUM_THREADS": "1", "SERMODELS_DEVICE": "cpu"} | environment
    with running(command, cwd=ROOT, env=os.environ | settings) as server:
        yield server


def some_wav(duration_s: float = 1.0, *, sample_rate_hz: int = 22050) -> bytes:
    """A falling tone in noise, as a WAV file."""
    time_s = np.arange(round(duration_s * sample_rate_hz)) / sample_rate_hz
    tone = np.sin(2 * np.pi * (400 - 40 * np.minimum(time_s, 5)) * time_s)
    noise = np.random.default_rng(0).normal(size=time_s.size)
    return wav_bytes((0.3 * tone + 0.02 * noise).astype(np.float32), sample_rate_hz)


def problem(answer: Any) -> dict[str, str]:
    """The error of an answer, which has the one schema."""
    body = answer.json()
    assert set(body) == {"error"}
    assert set(body["error"]) == {"type", "message", "request_id"}
    assert body["error"]["request_id"] == answer.headers["X-Request-ID"]
    error: dict[str, str] = body["error"]
    return error


def within(server: Server, check: Callable[[], bool], *, timeout_s: float) -> None:
    """Wait for something that the server is to do by itself."""
    deadline = time.monotonic() + timeout_s
    while not check():
        assert time.monotonic() < deadline, server.log
        time.sleep(0.1)

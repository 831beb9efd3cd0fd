"""Servers in processes of their own: started, asked until they answer, weighed, and stopped."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.clients import Request, ask
from benchmarks.context import PEERS, ROOT
from benchmarks.measure import tell

PATIENCE_S = 180.0
POLL_S = 0.02
QUIET = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "1",
    "ORT_DISABLE_TELEMETRY": "1",
    "SERMODELS_DEVICE": "cpu",
}


class ServerError(Exception):
    """A server did not start, or answered with an error."""


@dataclass(frozen=True)
class Server:
    """A running server."""

    process: "subprocess.Popen[bytes]"
    port: int
    first_answer_s: float
    """From the start of the process to its first answer."""

    def memory_bytes(self) -> int:
        """Resident memory of the process and all its children."""
        return sum(_resident_bytes(pid) for pid in family(self.process.pid))

    def pause(self) -> None:
        """Let it stand still, outside of its turns."""
        os.killpg(self.process.pid, signal.SIGSTOP)

    @contextmanager
    def turn(self) -> Iterator[None]:
        """It runs for so long. Beside others it would take from their cores: LitServe polls even when nobody asks."""
        os.killpg(self.process.pid, signal.SIGCONT)
        try:
            yield
        finally:
            self.pause()


@contextmanager
def running(
    command: list[str], port: int, request: Request, log: Path, settings: Mapping[str, str] | None = None
) -> Iterator[Server]:
    """A command that becomes a server, up to its first answer to `request`. Raises ServerError with its last lines.

    `settings` are variables of its environment.
    """
    with open(log, "wb") as output:
        begun = time.perf_counter()
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env=environment() | dict(settings or {}),
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
        try:
            _wait_for_answer(process, port, request, log)
            yield Server(process, port, time.perf_counter() - begun)
        finally:
            _stop(process)


def environment() -> dict[str, str]:
    """This process's, with the programs beside Python first, where `mlflow models serve` looks for uvicorn.

    What is not compiled yet is, in the warm-up, whatever was said to this process: installed programs are as well.
    """
    programs = Path(sys.executable).parent
    paths = {"PATH": f"{programs}{os.pathsep}{os.environ.get('PATH', os.defpath)}", "PYTHONDONTWRITEBYTECODE": ""}
    return os.environ | QUIET | paths


def _wait_for_answer(process: "subprocess.Popen[bytes]", port: int, request: Request, log: Path) -> None:
    """Ask until there is an answer."""
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline and process.poll() is None:
        try:
            ask(port, request)
        except OSError:
            time.sleep(POLL_S)
        else:
            return
    raise ServerError(f"no answer from {process.args!r}:\n{log.read_text(errors='replace')[-2000:]}")


def _stop(process: "subprocess.Popen[bytes]") -> None:
    """End the process and its children, who are a session of their own."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, number)
            os.killpg(process.pid, signal.SIGCONT)  # one that is paused would not hear of it
            process.wait(20)
        except ProcessLookupError:
            break
        except subprocess.TimeoutExpired:
            continue
    process.wait()


def family(pid: int) -> list[int]:
    """A process and its descendants."""
    try:
        threads = list(Path(f"/proc/{pid}/task").iterdir())
        children = [int(word) for thread in threads for word in (thread / "children").read_text().split()]
    except OSError:  # it has ended meanwhile
        return []
    return [pid, *(one for child in children for one in family(child))]


def _resident_bytes(pid: int) -> int:
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except OSError:  # it has ended meanwhile
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def our_command(bundle: Path, port: int, *options: str) -> list[str]:
    """`python -m serve`."""
    return [sys.executable, "-m", "serve", "--bundle", str(bundle), "--port", str(port), *options]


def litserve_command(graph: Path, port: int, *, threads: int, batch: int) -> list[str]:
    """LitServe in the peers' environment."""
    script = ROOT / "benchmarks" / "alternatives" / "litserve_app.py"
    return [str(PEERS), str(script), str(graph), str(port), str(threads), str(batch)]


def missing_peers() -> tuple[str, ...]:
    """What is said where the peers' environment is not there."""
    if PEERS.exists():
        return ()
    text = "LitServe is MISSING: no environment of peers.lock; run: make peers"
    tell(text)
    return (text,)

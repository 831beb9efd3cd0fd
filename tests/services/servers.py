"""Servers as processes of their own, and a gate in front of one that can be shut: the server seems to die."""

import socket
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

START_S = 300.0
CHUNK = 65536


def free_port() -> int:
    """A port of this machine that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def running(command: Sequence[str], environment: Mapping[str, str], log: Path) -> Iterator["subprocess.Popen[bytes]"]:
    """A server's process, which need not answer yet; it is ended with the block."""
    with open(log, "w") as file:
        server = subprocess.Popen(command, env=dict(environment), stdout=file, stderr=file, cwd=log.parent)
    try:
        yield server
    finally:
        server.terminate()
        try:
            server.wait(timeout=20)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


def wait_until_healthy(url: str, server: "subprocess.Popen[bytes]", log: Path) -> None:
    """Until the address answers, or fail with the end of the log."""
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline and server.poll() is None:
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.2)
    pytest.fail(f"{url} does not answer (exit code {server.poll()}):\n{log.read_text()[-3000:]}")


class Gate:
    """A port through which a server is reached, until the gate is shut."""

    def __init__(self, server_port: int) -> None:
        self.server_port, self.port = server_port, free_port()
        self._connections: set[socket.socket] = set()
        self.open()

    def open(self) -> None:
        """Let connections through."""
        self._listener = socket.create_server(("127.0.0.1", self.port))
        self._thread = threading.Thread(target=self._accept, args=(self._listener,), daemon=True)
        self._thread.start()

    def shut(self) -> None:
        """Break all connections and refuse new ones, as if the server were gone."""
        _hang_up(self._listener)
        self._thread.join()
        for connection in list(self._connections):
            _hang_up(connection)

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:  # shut
                return
            try:
                server = socket.create_connection(("127.0.0.1", self.server_port))
            except OSError:  # the server has not begun to listen
                client.close()
                continue
            self._connections |= {client, server}
            for source, target in ((client, server), (server, client)):
                threading.Thread(target=self._pump, args=(source, target), daemon=True).start()

    def _pump(self, source: socket.socket, target: socket.socket) -> None:
        try:
            while data := source.recv(CHUNK):
                target.sendall(data)
        except OSError:  # either side hung up
            pass
        finally:
            for connection in (source, target):
                _hang_up(connection)
            self._connections -= {source, target}


def _hang_up(connection: socket.socket) -> None:
    """Close a connection for both sides, also one that a thread reads from."""
    with suppress(OSError):  # it is closed already
        connection.shutdown(socket.SHUT_RDWR)
    connection.close()

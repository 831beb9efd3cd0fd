"""Tiny recordings written on the spot, the real corpora where they lie beside the repository, and a file server."""

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile

from tests.shared import made_once

PACKS = Path(__file__).resolve().parents[2].parent / "shared" / "data"

WriteWav = Callable[..., Path]


@pytest.fixture
def write_wav() -> WriteWav:
    """Writes a short 16-bit recording; the same `content` gives the same bytes, another one others."""

    def write(path: Path, *, content: int = 0, sample_rate_hz: int = 16_000, duration_s: float = 0.05) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        samples = np.random.default_rng(content).normal(scale=0.1, size=int(duration_s * sample_rate_hz))
        soundfile.write(path, samples, sample_rate_hz, subtype="PCM_16", format="WAV")
        return path

    return write


@pytest.fixture(scope="session")
def real_corpora_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the whole of EmoDB and RAVDESS."""
    unpack = PACKS / "unpack"
    if not unpack.is_file():
        pytest.skip(f"the packed corpora are not at {PACKS}")

    def unpacked(folder: Path) -> None:
        subprocess.run([sys.executable, str(unpack), str(folder)], check=True, capture_output=True)

    return made_once(tmp_path_factory, "corpora", unpacked)


@pytest.fixture
def locked(tmp_path: Path) -> Iterator[Path]:
    """A folder with one recording that this process has no permission to look into, root or not."""
    folder = tmp_path / "locked" / "emodb"
    folder.mkdir(parents=True)
    soundfile.write(folder / "03a01Fa.wav", np.zeros(100), 16_000)
    user = os.geteuid()
    folder.chmod(0)
    if user == 0:
        os.seteuid(65_534)
    yield folder
    os.seteuid(user)
    folder.chmod(0o755)


@pytest.fixture
def home(monkeypatch: pytest.MonkeyPatch) -> Iterator[SimpleNamespace]:
    """A public home of zip files on this machine.

    `files` are served below `url`; `asked` has the Range header of each request. Its faults: `ranges` False (ignores
    Range), `shifted` (answers with another part), `cut_after` (bytes of a body after which the connection is cut),
    `status` (refuses), `silent` (an event to wait for before anything is answered).
    """
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    faults = {"ranges": True, "shifted": False, "cut_after": None, "status": None, "silent": None}
    home = SimpleNamespace(files={}, asked=[], **faults)
    with ThreadingHTTPServer(("127.0.0.1", 0), _handler(home)) as server:
        home.url = f"http://127.0.0.1:{server.server_port}/files"
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield home
        if home.silent:
            home.silent.set()
        server.shutdown()
        thread.join()


def _handler(home: SimpleNamespace) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            wanted = self.headers.get("Range")
            home.asked.append(wanted)
            if home.silent:
                home.silent.wait(30)
            content = home.files.get(self.path.removeprefix("/files/"))
            if home.status or content is None:
                self.send_error(home.status or 404)
                return
            start = int(wanted.removeprefix("bytes=").removesuffix("-")) if wanted and home.ranges else 0
            if start >= len(content):
                self.send_response(416)
                self.send_header("Content-Range", f"bytes */{len(content)}")
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            self._send_part(content, start, partial=start > 0)

        def _send_part(self, content: bytes, start: int, *, partial: bool) -> None:
            start = max(0, start - 100) if home.shifted else start
            self.send_response(206 if partial else 200)
            if partial:
                self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
            self.send_header("Content-Length", str(len(content) - start))
            self.end_headers()
            self.wfile.write(content[start:][: home.cut_after])

        def log_message(self, format: str, *args: object) -> None:
            """Quiet."""

    return Handler

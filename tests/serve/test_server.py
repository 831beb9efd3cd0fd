"""The server process: it starts, says why it cannot, and loses no request when it stops."""

import asyncio
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import httpx
import pytest

from serve.server import ListenError, bind
from tests.serve.serving import ROOT, Server, serving, some_wav

CLIENTS = 16


class Load:
    """Clients that classify without pause until the server is gone; what came of each request."""

    def __init__(self, url: str, *, keep_alive: bool) -> None:
        self.url = url
        self.limits = httpx.Limits() if keep_alive else httpx.Limits(max_keepalive_connections=0)
        self.statuses: list[int] = []
        self.lost: list[str] = []
        self.refused = 0

    async def run(self, server: Server) -> None:
        """Stop the server in the middle."""
        clients = [asyncio.create_task(self._client()) for _ in range(CLIENTS)]
        while len(self.statuses) < 2 * CLIENTS:
            await asyncio.sleep(0.05)
        server.process.send_signal(signal.SIGTERM)
        await asyncio.wait_for(asyncio.gather(*clients), timeout=60)

    async def _client(self) -> None:
        wav = some_wav(0.5)
        async with httpx.AsyncClient(base_url=self.url, timeout=60, limits=self.limits) as client:
            while not self.refused:
                try:
                    answer = await client.post("/v1/classify", files={"file": wav})
                    self.statuses.append(answer.status_code)
                except httpx.ConnectError:
                    self.refused += 1
                except httpx.HTTPError as error:
                    self.lost.append(repr(error))
                    return


@pytest.mark.parametrize("keep_alive", [True, False], ids=["kept connections", "new connections"])
def test_no_request_is_lost_at_sigterm(bundle_folder: Path, keep_alive: bool) -> None:
    with serving(bundle_folder) as server:
        load = Load(server.url, keep_alive=keep_alive)
        asyncio.run(load.run(server))
        assert server.wait() == 0, server.log
    assert load.lost == []
    assert set(load.statuses) == {200}
    assert load.refused > 0
    assert "draining" in server.log
    assert "Traceback" not in server.log


def test_drains_before_it_stops(bundle_folder: Path) -> None:
    with serving(bundle_folder) as server:
        assert httpx.get(f"{server.url}/readyz").status_code == 200
        server.process.send_signal(signal.SIGTERM)
        seen = set()
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            try:
                answer = httpx.get(f"{server.url}/readyz")
            except httpx.ConnectError:
                break
            seen.add((answer.status_code, answer.headers.get("connection")))
        assert (503, "close") in seen
        assert server.wait() == 0


def test_a_second_signal_stops_at_once(bundle_folder: Path) -> None:
    with serving(bundle_folder) as server, httpx.Client(base_url=server.url, timeout=60) as client:
        body = {"emotion": client.get("/v1/model").json()["labels"][0], "count": 16, "stream": True}

        def ask() -> None:
            try:
                client.post("/v1/generate", json=body)
            except httpx.HTTPError:
                return

        thread = threading.Thread(target=ask)
        thread.start()
        server.process.send_signal(signal.SIGTERM)
        time.sleep(0.1)
        server.process.send_signal(signal.SIGTERM)
        started = time.monotonic()
        server.wait(30)
        assert time.monotonic() - started < 15
        thread.join(30)


def test_a_page_that_is_open_does_not_hold_the_server_up(bundle_folder: Path) -> None:
    with serving(bundle_folder, demo=True) as server:
        assert "text/html" in httpx.get(f"{server.url}/").headers["content-type"]
        for path in ("/nowhere", "/v1/nowhere"):
            answer = httpx.get(f"{server.url}{path}")
            assert (answer.status_code, answer.json()["error"]["type"]) == (404, "not_found")
        assert httpx.get(f"{server.url}/v1/classify").status_code == 405
        assert httpx.get(f"{server.url}/readyz").status_code == 200
        assert 'route="demo",status="404"} 1.0' in httpx.get(f"{server.url}/metrics").text
        with httpx.stream("GET", f"{server.url}/gradio_api/heartbeat/a-page", timeout=60) as page:
            lines = page.iter_lines()
            assert next(lines)
            server.process.send_signal(signal.SIGTERM)
            started = time.monotonic()
            for _ in lines:
                pass
        assert server.wait() == 0, server.log
        assert time.monotonic() - started < 10
    assert "Traceback" not in server.log


def test_log_lines_carry_request_ids(bundle_folder: Path) -> None:
    with serving(bundle_folder) as server:
        httpx.get(f"{server.url}/v1/model", headers={"X-Request-ID": "find-me"})
        server.process.send_signal(signal.SIGTERM)
        server.wait()
    assert "[find-me] GET /v1/model 200 " in server.log
    assert "models run on cpu (CPUExecutionProvider)" in server.log


def test_key_comes_from_the_environment(bundle_folder: Path) -> None:
    with serving(bundle_folder, SERMODELS_API_KEY="key") as server:
        assert httpx.get(f"{server.url}/v1/model").status_code == 401
        assert httpx.get(f"{server.url}/v1/model", headers={"X-API-Key": "key"}).status_code == 200
        assert httpx.get(f"{server.url}/healthz").status_code == 200
        assert "key" not in httpx.get(f"{server.url}/metrics").text.split()


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run `python -m serve` to its end."""
    return subprocess.run(
        [sys.executable, "-m", "serve", *arguments], cwd=ROOT, capture_output=True, text=True, timeout=120, check=False
    )


def test_no_bundle_is_one_line(tmp_path: Path) -> None:
    result = command("--bundle", str(tmp_path))
    assert result.returncode == 1
    assert result.stderr.count("\n") == 1
    assert result.stderr.startswith(f"error: {tmp_path}: is no bundle")


def test_a_port_in_use_is_one_line(bundle_folder: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        result = command("--bundle", str(bundle_folder), "--port", str(port), "--no-demo")
    assert result.returncode == 1
    assert result.stderr.splitlines()[-1].startswith(f"error: 127.0.0.1:{port}: cannot listen (")
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(("host", "port"), [("127.0.0.1", 99999), ("127.0.0.1", -1), ("256.1.1.1", 0)])
def test_addresses_that_do_not_exist(host: str, port: int) -> None:
    with pytest.raises(ListenError, match=f"{host}:{port}: cannot listen"):
        bind(host, port)


def test_help_is_quick() -> None:
    program = (
        "import atexit, runpy, sys\n"
        "heavy = {'torch', 'mlflow', 'gradio', 'fastapi', 'onnxruntime', 'numpy', 'pydantic'}\n"
        "atexit.register(lambda: print('IMPORTED', sorted(heavy & set(sys.modules))))\n"
        "sys.argv = ['serve', '--help']\n"
        "runpy.run_module('serve', run_name='__main__', alter_sys=True)\n"
    )
    result = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert "usage: python -m serve" in result.stdout
    assert result.stdout.rstrip().endswith("IMPORTED []")


def test_nothing_of_training_is_imported(bundle_folder: Path) -> None:
    program = (
        "import sys\n"
        "from pathlib import Path\n"
        "import serve.server\n"
        "from serve.service import Service\n"
        "from serve.settings import Settings\n"
        "Service.load(Path(sys.argv[1]), settings=Settings.from_environment())\n"
        "print(sorted({'torch', 'torchvision', 'librosa', 'mlflow', 'prefect'} & set(sys.modules)))\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", program, str(bundle_folder)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.strip() == "[]"

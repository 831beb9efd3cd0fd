"""What a decode worker may do, and when it ends."""

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from serve.decoding import DecoderPool
from serve.errors import ServeError
from tests.serve.pools import RATE_HZ, ROOT, SHORT, ends, in_process, with_pool, workers_of_a_killed_program
from tests.serve.recordings import encode, tone


@pytest.fixture(scope="module")
def wav() -> bytes:
    return encode(tone(duration_s=0.5), format="wav")


def test_signals_to_the_service_do_not_end_a_worker(wav: bytes) -> None:
    async def signalled(pool: DecoderPool) -> None:
        (pid,) = pool.processes
        assert os.getpgid(pid) != os.getpgid(0)
        for number in (signal.SIGINT, signal.SIGTERM):
            os.kill(pid, number)
        np.testing.assert_array_equal(await pool.decode(wav), in_process(wav))
        assert pool.processes == (pid,)

    with_pool(signalled)


@pytest.mark.parametrize("program", ["/bin/false", "/bin/no-such-program"])
def test_workers_that_do_not_start_are_an_error(program: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", program)
    with pytest.raises(ServeError, match="does not start"):
        with_pool(lambda pool: asyncio.sleep(0), workers=2)


def test_workers_end_with_the_server() -> None:
    code = (
        "import asyncio\nfrom serve.decoding import DecoderPool\nasync def main():\n"
        f"    pool = DecoderPool(sample_rate_hz={RATE_HZ}, workers=2, max_duration_s=60)\n    pool.start()\n"
        f"    await asyncio.gather(*(pool.decode({SHORT!r}) for _ in range(2)))\n"
        "    print(*pool.processes, flush=True)\n    await asyncio.sleep(60)\nasyncio.run(main())\n"
    )
    assert all(ends(pid, within_s=5.0) for pid in workers_of_a_killed_program(code))


def test_a_worker_may_do_nothing_but_decode(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SERMODELS_API_KEY", "secret")

    async def look(pool: DecoderPool) -> tuple[str, bytes, dict[str, str]]:
        process = Path("/proc") / str(pool.processes[0])
        files = {path.name: str(path.readlink()) for path in (process / "fd").iterdir()}
        return (process / "limits").read_text(), (process / "environ").read_bytes(), files

    limits, environment, files = with_pool(look, memory_bytes=10**9)
    hard = {line[:26].strip(): line[47:68].strip() for line in limits.splitlines()}
    assert hard["Max address space"] == "1000000000"
    assert (hard["Max file size"], hard["Max core file size"], hard["Max processes"]) == ("0", "0", "0")
    assert len(files) == int(hard["Max open files"]) == 4  # full: no file and no connection can be opened
    assert b"secret" not in environment
    assert files["1"] == files["2"]  # what libraries print goes to the log
    assert all(files[number].startswith(("pipe:", "socket:")) for number in ("0", "3"))


def test_the_server_itself_does_not_load_the_decoder() -> None:
    code = "import sys, serve.decoding; print([name for name in ('av', 'torch', 'librosa') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"

"""One decode worker as the server sees it: a process that is started, asked, and killed when it does not answer."""

import asyncio
import logging
import os
import sys
from asyncio.subprocess import PIPE, Process

from serve.decode_protocol import HEADER, UNREADABLE, Kind
from serve.errors import ServeError, UndecodableError

START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 5.0
PIPE_BUFFER_BYTES = 2**20
KEPT_VARIABLES = ("PATH", "LD_LIBRARY_PATH", "PYTHONHOME")
"""All that a worker sees of the environment: an API key is none of its business."""

Answer = tuple[Kind, bytes]

_log = logging.getLogger(__name__)


class DecodeProcess:
    """A process that decodes one recording at a time; `pid` is None while it does not run."""

    def __init__(self, *, sample_rate_hz: int, max_duration_s: float, timeout_s: float, memory_bytes: int) -> None:
        """It is not started yet."""
        numbers = (sample_rate_hz, max_duration_s, timeout_s, memory_bytes)
        self._command = [sys.executable, "-m", "serve.decode_worker", *(str(number) for number in numbers)]
        self._longest_answer = int(8 * (max_duration_s + 1.0) * sample_rate_hz)
        self._timeout_s = timeout_s
        self._process: Process | None = None
        self._usable = False
        self.recordings = 0

    @property
    def pid(self) -> int | None:
        """Its process id, or None if it has to be started first."""
        return self._process.pid if self._process is not None and self._usable else None

    async def start(self) -> None:
        """Start it and wait until it is ready. Raises ServeError."""
        self.recordings = 0
        try:
            self._process = await asyncio.create_subprocess_exec(
                *self._command,
                stdin=PIPE,
                stdout=PIPE,
                limit=PIPE_BUFFER_BYTES,
                env=_environment(),
                start_new_session=True,  # Ctrl-C in a terminal goes to the server alone
            )
            async with asyncio.timeout(START_TIMEOUT_S):
                self._usable = (await self._read())[0] is Kind.READY
        except asyncio.CancelledError as error:
            self._give_up(error)
            raise
        except (OSError, EOFError, ValueError) as error:  # TimeoutError is an OSError
            self._give_up(error)
            raise ServeError("a decode worker does not start; the log above says why") from error

    async def stop(self) -> None:
        """End it: it does so by itself when its pipe is closed, or is killed."""
        self._usable = False
        process, self._process = self._process, None
        if process is None or process.stdin is None:
            return
        process.stdin.close()
        try:
            await asyncio.wait_for(process.wait(), STOP_TIMEOUT_S)
        except TimeoutError:
            process.kill()
            await process.wait()

    async def decode(self, recording: bytes) -> Answer:
        """What the worker answers. Raises UndecodableError when it hangs, crashes or is out of memory."""
        if self.pid is None:
            await self.start()
        self.recordings += 1
        try:
            async with asyncio.timeout(self._timeout_s):
                await self._write(recording)
                return await self._read()
        except asyncio.CancelledError as error:
            self._give_up(error)
            raise
        except TimeoutError as error:
            self._give_up(error)
            _log.warning("a recording of %d bytes was not decoded within %g s", len(recording), self._timeout_s)
            message = f"The recording could not be decoded within {self._timeout_s:g} s; send a shorter part of it"
            raise UndecodableError(message) from error
        except (OSError, EOFError, ValueError) as error:
            self._give_up(error)
            _log.warning("a recording of %d bytes made a decode worker crash (%s)", len(recording), error)
            raise UndecodableError(f"The recording is damaged and makes the decoder fail. {UNREADABLE}") from error

    async def _write(self, recording: bytes) -> None:
        assert self._process is not None
        assert self._process.stdin is not None
        self._process.stdin.write(HEADER.pack(Kind.RECORDING.value, len(recording)))
        self._process.stdin.write(recording)
        await self._process.stdin.drain()

    async def _read(self) -> Answer:
        assert self._process is not None
        assert self._process.stdout is not None
        kind, length = HEADER.unpack(await self._process.stdout.readexactly(HEADER.size))
        if length > self._longest_answer:
            raise ValueError(
                f"a decode worker promises {length:,} bytes; at most {self._longest_answer:,} are expected"
            )
        return Kind(kind), await self._process.stdout.readexactly(length)

    def _give_up(self, error: BaseException) -> None:
        """Not usable any more, and killed, unless it is dead already: then asyncio would lose its exit status."""
        self._usable = False
        dead = isinstance(error, EOFError | ConnectionError)
        if self._process is not None and self._process.returncode is None and not dead:
            self._process.kill()


def _environment() -> dict[str, str]:
    kept = {name: os.environ[name] for name in KEPT_VARIABLES if name in os.environ}
    path = os.pathsep.join(entry for entry in sys.path if entry)  # as multiprocessing does: finds what the server finds
    return kept | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}

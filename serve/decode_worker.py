"""The process that decodes: it takes recordings on its standard input, answers waveforms, and may do nothing else.

Started by `serve.decoding` as `python -m serve.decode_worker SAMPLE_RATE_HZ MAX_DURATION_S TIMEOUT_S MEMORY_BYTES`.
"""

import os
import resource
import signal
import sys
import wave
from collections.abc import Callable
from io import BytesIO
from typing import BinaryIO

from serve.decode_protocol import HEADER, KINDS, Kind
from serve.errors import InputError, TooLargeError, UndecodableError

Decode = Callable[[bytes], memoryview]


def main() -> None:
    """Until the server closes the pipe or is gone."""
    for number in (signal.SIGINT, signal.SIGTERM):  # sent to the whole service; the server decides when decoding ends
        signal.signal(number, signal.SIG_IGN)
    sample_rate_hz, max_duration_s, timeout_s, memory_bytes = (float(value) for value in sys.argv[1:])
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints is no answer
    decode = _decoder(int(sample_rate_hz), max_duration_s)
    _limit(int(memory_bytes))
    try:
        _answer_all(sys.stdin.buffer, answers, decode, timeout_s)
    except BrokenPipeError:
        os._exit(0)  # the server is gone, and flushing at the exit would fail again


def _decoder(sample_rate_hz: int, max_duration_s: float) -> Decode:
    """The decoder, tried out: some imports come with the first recording, when no file may be opened any more."""
    from serve.decode_recording import decode_recording

    def decode(recording: bytes) -> memoryview:
        waveform = decode_recording(recording, sample_rate_hz=sample_rate_hz, max_duration_s=max_duration_s)
        return waveform.astype("<f4", copy=False).data.cast("B")

    decode(_silence(sample_rate_hz + 1))
    return decode


def _silence(rate_hz: int) -> bytes:
    """A short 16-bit stereo WAV."""
    file = BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setparams((2, 2, rate_hz, 0, "NONE", ""))
        writer.writeframes(bytes(400))
    return file.getvalue()


def _limit(memory_bytes: int) -> None:
    """No more memory than this, no other program, no file written, no file or connection opened, no core dump."""
    limits = {
        resource.RLIMIT_AS: memory_bytes,
        resource.RLIMIT_NPROC: 0,
        resource.RLIMIT_FSIZE: 0,
        resource.RLIMIT_NOFILE: 4,  # the three standard ones and that of the answers
        resource.RLIMIT_CORE: 0,
    }
    for name, value in limits.items():
        resource.setrlimit(name, (value, value))


def _answer_all(recordings: BinaryIO, answers: BinaryIO, decode: Decode, timeout_s: float) -> None:
    _send(answers, Kind.READY, memoryview(b""))
    while len(header := recordings.read(HEADER.size)) == HEADER.size:
        _, length = HEADER.unpack(header)
        recording = recordings.read(length)
        if len(recording) < length:
            return
        # The server ends a worker that hangs; if it is gone, this does: SIGALRM kills.
        signal.setitimer(signal.ITIMER_REAL, 2 * timeout_s)
        _send(answers, *_answer(recording, decode))
        signal.setitimer(signal.ITIMER_REAL, 0)


def _answer(recording: bytes, decode: Decode) -> tuple[Kind, memoryview]:
    try:
        return Kind.WAVEFORM, decode(recording)
    except (UndecodableError, TooLargeError, InputError) as error:
        return KINDS[type(error)], memoryview(str(error).encode())


def _send(answers: BinaryIO, kind: Kind, content: memoryview) -> None:
    answers.write(HEADER.pack(kind.value, len(content)))
    answers.write(content)
    answers.flush()


if __name__ == "__main__":
    main()

"""Clients that cost next to nothing: a request is bytes made once, sent again and again over open connections."""

import asyncio
import http.client
import json
import time
from dataclasses import dataclass
from typing import Any

TIMEOUT_S = 120.0
BOUNDARY = "benchmark-boundary"


class AnswerError(OSError):
    """A server answered with a status other than 200."""


@dataclass(frozen=True)
class Request:
    """A POST request."""

    path: str
    body: bytes
    content_type: str
    accept: str = "application/json"

    @property
    def headers(self) -> dict[str, str]:
        """Its headers."""
        return {"Content-Type": self.content_type, "Accept": self.accept, "Content-Length": str(len(self.body))}

    def raw(self, port: int) -> bytes:
        """The whole request as it goes over the wire."""
        lines = [f"POST {self.path} HTTP/1.1", f"Host: 127.0.0.1:{port}"]
        lines += [f"{name}: {value}" for name, value in self.headers.items()]
        return "\r\n".join([*lines, "", ""]).encode() + self.body


def upload(path: str, wav: bytes) -> Request:
    """A WAV file as the form field `file`."""
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="clip.wav"\r\n'
    body = head.encode() + b"Content-Type: audio/wav\r\n\r\n" + wav + f"\r\n--{BOUNDARY}--\r\n".encode()
    return Request(path, body, f"multipart/form-data; boundary={BOUNDARY}")


def posted_json(path: str, content: Any, accept: str = "application/json") -> Request:
    """A JSON body."""
    return Request(path, json.dumps(content).encode(), "application/json", accept)


def ask(port: int, request: Request) -> bytes:
    """The body of the answer, over a connection of its own. Raises OSError."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_S)
    try:
        return _exchange(connection, request)
    except http.client.HTTPException as error:
        raise ConnectionError(str(error)) from error
    finally:
        connection.close()


def _exchange(connection: http.client.HTTPConnection, request: Request) -> bytes:
    """Send the request and read the answer. Raises AnswerError."""
    connection.request("POST", request.path, request.body, request.headers)
    answer = connection.getresponse()
    body = answer.read()
    if answer.status != 200:
        raise AnswerError(f"{request.path}: status {answer.status}, {body[:300]!r}")
    return body


def latencies_s(port: int, request: Request, count: int) -> list[float]:
    """Seconds from sending to the whole answer, of requests one after the other on one connection."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_S)
    seconds = []
    try:
        for _ in range(count):
            begun = time.perf_counter()
            _exchange(connection, request)
            seconds.append(time.perf_counter() - begun)
    finally:
        connection.close()
    return seconds


def crowd_rate(port: int, request: Request, *, clients: int, count: int) -> float:
    """Answers a second, when so many clients each send the next request as soon as they have the answer."""
    begun = time.perf_counter()
    asyncio.run(asyncio.wait_for(_crowd(port, request.raw(port), clients, count), TIMEOUT_S * 5))
    return count / (time.perf_counter() - begun)


async def _crowd(port: int, raw: bytes, clients: int, count: int) -> None:
    """All clients take their requests from one heap."""
    heap = iter(range(count))
    await asyncio.gather(*(_client(port, raw, heap) for _ in range(clients)))


async def _client(port: int, raw: bytes, heap: Any) -> None:
    """One connection, kept open."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        for _ in heap:
            writer.write(raw)
            await writer.drain()
            await _read_answer(reader)
    finally:
        writer.close()
        await writer.wait_closed()


async def _read_answer(reader: asyncio.StreamReader) -> None:
    """Headers and body. Raises AnswerError."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    lengths = [line.partition(":")[2] for line in head.splitlines() if line.lower().startswith("content-length:")]
    body = await reader.readexactly(int(lengths[0]))
    if head.split()[1] != "200":
        raise AnswerError(f"status {head.split()[1]}, {body[:300]!r}")

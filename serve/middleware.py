"""What every request passes, as plain ASGI, so that streams and disconnects reach the routes unchanged."""

import asyncio
import hashlib
import hmac
import logging
import re
import time
import uuid
from urllib.parse import quote

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serve.logs import REQUEST_ID
from serve.metrics import Metrics
from serve.problems import INTERNAL, error_response, speaks_inference_protocol

ACCESS = logging.getLogger("serve.access")
LOG = logging.getLogger("serve.middleware")
CLIENT_LEFT = 499
_DISCARD_FACTOR = 4
_DISCARD_S = 5.0
_WANTED_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_OPEN = ("/v2/health/",)


class RequestId:
    """Each request has an id, its own or a new one: in the log, in the answer's header and in errors.

    While the app drains, each answer also asks the client to close its connection.
    """

    def __init__(self, app: ASGIApp) -> None:
        """Around `app`."""
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on with its id set."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        wanted = Headers(scope=scope).get("x-request-id", "")
        request_id = wanted if _WANTED_ID.fullmatch(wanted) else uuid.uuid4().hex
        state = scope["app"].state

        async def marked(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers["X-Request-ID"] = request_id
                if state.draining:
                    headers["Connection"] = "close"
            await send(message)

        token = REQUEST_ID.set(request_id)
        try:
            await self.app(scope, receive, marked)
        finally:
            REQUEST_ID.reset(token)


class Access:
    """One log line and one measurement for each request."""

    def __init__(self, app: ASGIApp, *, metrics: Metrics) -> None:
        """Around `app`."""
        self.app = app
        self.metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on and watch its answer's status."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        own_app, path, started, status = scope["app"], _printable_path(scope), time.perf_counter(), CLIENT_LEFT

        async def watched(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            with self.metrics.in_flight.track_inprogress():
                await self.app(scope, receive, watched)
        finally:
            duration_s = time.perf_counter() - started
            route = _route_of(scope, in_demo=scope["app"] is not own_app)
            self.metrics.count_request(route, scope["method"], status, duration_s)
            ACCESS.info("%s %s %d %.3f s", scope["method"], path, status, duration_s)


class Failures:
    """An unexpected exception is logged whole and answered without internals."""

    def __init__(self, app: ASGIApp) -> None:
        """Around `app`."""
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on; if that fails before the answer began, answer 500."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        begun = False

        async def watched(message: Message) -> None:
            nonlocal begun
            begun = begun or message["type"] == "http.response.start"
            await send(message)

        try:
            await self.app(scope, receive, watched)
        except Exception:
            if begun:
                raise
            LOG.exception("unexpected failure")
            await error_response(scope, 500, INTERNAL)(scope, receive, send)


class ApiKey:
    """With a key set, /v1 and /v2 want it in X-API-Key or as a Bearer token; health, metrics and pages do not."""

    def __init__(self, app: ASGIApp, *, key: str | None) -> None:
        """Around `app`; without a key all may come in."""
        self.app = app
        self.digest = _digest(key.encode()) if key else None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on if it may come in."""
        if scope["type"] != "http" or self.digest is None or not _needs_key(scope["path"]) or self._knows(scope):
            await self.app(scope, receive, send)
            return
        message = "the API key is missing or wrong; send it as X-API-Key or as Authorization: Bearer"
        response = error_response(scope, 401, message, headers={"WWW-Authenticate": "Bearer"})
        await response(scope, receive, send)

    def _knows(self, scope: Scope) -> bool:
        """Whether the request carries the key, compared in constant time."""
        assert self.digest is not None
        headers = Headers(scope=scope)
        scheme, _, token = headers.get("authorization", "").partition(" ")
        given = headers.get("x-api-key") or (token.strip() if scheme.lower() == "bearer" else "")
        return hmac.compare_digest(_digest(given.encode("latin-1")), self.digest)


class BodyLimit:
    """Bodies beyond `max_bytes` are refused: at once if they say their length, else as soon as it is passed."""

    def __init__(self, app: ASGIApp, *, max_bytes: int) -> None:
        """Around `app`."""
        self.app = app
        self.max_bytes = max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on and count its body."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        length = headers.get("content-length", "")
        if length.isdecimal() and int(length[:20]) > self.max_bytes:
            if "expect" not in headers:
                await self._discard(receive)
            await error_response(scope, 413, self._message())(scope, receive, send)
            return
        received = 0

        async def counted() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > self.max_bytes:
                if message.get("more_body", False):
                    await self._discard(receive)
                raise HTTPException(413, self._message())
            return message

        await self.app(scope, counted, send)

    def _message(self) -> str:
        """What the client is told."""
        return f"the body is larger than {self.max_bytes:,} bytes; send a shorter or a compressed recording"

    async def _discard(self, receive: Receive) -> None:
        """Read what still comes, within reason: a client that is still sending would not see the answer."""
        left, more = _DISCARD_FACTOR * self.max_bytes, True
        try:
            async with asyncio.timeout(_DISCARD_S):
                while more and left > 0:
                    message = await receive()
                    left -= len(message.get("body", b""))
                    more = message.get("more_body", False)
        except TimeoutError:
            LOG.info("stopped reading a body that is too large")


def _digest(secret: bytes) -> bytes:
    """Equal lengths for the comparison."""
    return hashlib.sha256(secret).digest()


def _needs_key(path: str) -> bool:
    """Whether an address is protected."""
    protected = path == "/v1" or path.startswith("/v1/") or speaks_inference_protocol(path)
    return protected and not path.startswith(_OPEN)


def _printable_path(scope: Scope) -> str:
    """The path as it came, escaped, so that it cannot forge a log line."""
    return quote(scope["path"], safe="/-._~")[:200]


def _route_of(scope: Scope, *, in_demo: bool) -> str:
    """The route's pattern: few values, whatever is asked."""
    if in_demo:
        return "demo"
    return str(getattr(scope.get("route"), "path", "unmatched"))

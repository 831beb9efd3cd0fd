"""The middlewares, around a small app of their own: ids, limits, keys, failures and log lines."""

import asyncio
import io
import logging
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx
import pytest
from fastapi import FastAPI, Request
from fastapi.responses import PlainTextResponse, StreamingResponse
from starlette.testclient import TestClient

from serve.api import add_unknown
from serve.errors import BusyError
from serve.logs import RequestIdFilter
from serve.metrics import Metrics
from serve.middleware import Access, ApiKey, BodyLimit, Failures, RequestId
from serve.problems import install_handlers

KEY = "a key with ä"
LIMIT = 1000


def make_app(*, key: str | None = None) -> FastAPI:
    """All middlewares in their order, and a few routes to pass them."""
    app = FastAPI(docs_url=None, redoc_url=None)
    app.state.draining = False
    app.state.metrics = Metrics()
    app.add_middleware(BodyLimit, max_bytes=LIMIT)
    app.add_middleware(ApiKey, key=key)
    app.add_middleware(Failures)
    app.add_middleware(Access, metrics=app.state.metrics)
    app.add_middleware(RequestId)
    install_handlers(app)

    @app.post("/v1/size")
    async def size(request: Request) -> int:
        return len(await request.body())

    @app.get("/v1/fault")
    async def fault() -> None:
        raise KeyError("the secret inside")

    @app.get("/v1/busy")
    async def busy() -> None:
        raise BusyError("the queue is full")

    @app.get("/v1/broken")
    async def broken() -> StreamingResponse:
        async def chunks() -> AsyncIterator[bytes]:
            yield b"begun"
            raise KeyError("later")

        return StreamingResponse(chunks())

    @app.get("/open")
    async def opened() -> PlainTextResponse:
        return PlainTextResponse("in")

    @app.get("/v2/health/live")
    async def live() -> PlainTextResponse:
        return PlainTextResponse("in")

    add_unknown(app)
    return app


@pytest.fixture
def client() -> Iterator[TestClient]:
    with TestClient(make_app()) as opened:
        yield opened


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    """What the server would log, with ids."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.addFilter(RequestIdFilter())
    handler.setFormatter(logging.Formatter("[%(request_id)s] %(message)s"))
    logger = logging.getLogger("serve")
    before = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    yield stream
    logger.removeHandler(handler)
    logger.setLevel(before)


def test_own_request_id_comes_back(client: TestClient) -> None:
    answer = client.get("/v1/nowhere", headers={"X-Request-ID": "trace-1.b_2"})
    assert answer.headers["X-Request-ID"] == answer.json()["error"]["request_id"] == "trace-1.b_2"


@pytest.mark.parametrize("wanted", ["", "two words", "x" * 65, "a\tb", "<script>", "é"])
def test_other_request_ids_are_replaced(client: TestClient, wanted: str) -> None:
    answer = client.get("/open", headers={"X-Request-ID": wanted.encode("latin-1")})
    assert len(answer.headers["X-Request-ID"]) == 32
    assert wanted == "" or wanted not in answer.headers["X-Request-ID"]


def test_ids_differ(client: TestClient) -> None:
    assert len({client.get("/open").headers["X-Request-ID"] for _ in range(20)}) == 20


def test_log_lines_carry_the_id_and_cannot_be_forged(client: TestClient, log: io.StringIO) -> None:
    client.get("/v1/%0A[x] GET /admin 200", headers={"X-Request-ID": "abc"})
    assert log.getvalue().count("\n") == 1
    assert log.getvalue().startswith("[abc] GET /v1/%0A%5Bx%5D%20GET%20/admin%20200 404 ")


def test_failure_is_logged_with_its_id_and_answered_without_internals(client: TestClient, log: io.StringIO) -> None:
    answer = client.get("/v1/fault", headers={"X-Request-ID": "abc"})
    assert answer.status_code == 500
    assert answer.json()["error"]["type"] == "internal"
    assert "secret" not in answer.text
    assert "[abc] unexpected failure" in log.getvalue()
    assert "the secret inside" in log.getvalue()


def test_busy_says_when_to_try_again(client: TestClient) -> None:
    answer = client.get("/v1/busy")
    assert (answer.status_code, answer.headers["Retry-After"]) == (429, "1")
    assert answer.json()["error"]["message"] == "the queue is full"


def test_failure_after_the_answer_began_breaks_it_off(client: TestClient) -> None:
    with pytest.raises(KeyError, match="later"):
        client.get("/v1/broken")


@pytest.mark.parametrize(("size", "status"), [(0, 200), (LIMIT, 200), (LIMIT + 1, 413), (50 * LIMIT, 413)])
def test_body_limit_by_length(client: TestClient, size: int, status: int) -> None:
    answer = client.post("/v1/size", content=b"x" * size)
    assert answer.status_code == status
    if status == 413:
        assert answer.json()["error"]["type"] == "too_large"
        assert "1,000 bytes" in answer.json()["error"]["message"]


async def post_chunks(app: FastAPI, chunks: int) -> tuple[httpx.Response, int]:
    """Post pieces of 100 bytes without saying how many; also tells how many were taken."""
    taken = 0

    async def pieces() -> AsyncIterator[bytes]:
        nonlocal taken
        for _ in range(chunks):
            taken += 1
            yield b"x" * 100

    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
        return await client.post("/v1/size", content=pieces()), taken


@pytest.mark.parametrize(("chunks", "status"), [(10, 200), (11, 413), (1000, 413)])
def test_body_limit_by_counting(chunks: int, status: int) -> None:
    answer, taken = asyncio.run(post_chunks(make_app(), chunks))
    assert answer.status_code == status
    assert taken <= 60, "a body without end must not be read for ever"


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 401),
        ({"X-API-Key": "wrong"}, 401),
        ({"X-API-Key": ""}, 401),
        ({"Authorization": "Bearer wrong"}, 401),
        ({"Authorization": KEY}, 401),
        ({"Authorization": f"Basic {KEY}"}, 401),
        ({"X-API-Key": KEY}, 200),
        ({"Authorization": f"Bearer {KEY}"}, 200),
        ({"authorization": f"bearer {KEY}"}, 200),
    ],
)
def test_api_key(headers: dict[str, str], status: int) -> None:
    with TestClient(make_app(key=KEY)) as client:
        answer = client.post("/v1/size", headers={name: value.encode() for name, value in headers.items()})
    assert answer.status_code == status
    if status == 401:
        assert answer.json()["error"]["type"] == "unauthorized"
        assert answer.headers["WWW-Authenticate"] == "Bearer"


@pytest.mark.parametrize(
    ("path", "status"),
    [("/open", 200), ("/v2/health/live", 200), ("/v1/nowhere", 401), ("/v2", 401), ("/v2/models/x", 401)],
)
def test_what_the_key_protects(path: str, status: int) -> None:
    with TestClient(make_app(key=KEY)) as client:
        answer = client.get(path)
    assert answer.status_code == status
    if status == 401 and path.startswith("/v2"):
        assert isinstance(answer.json()["error"], str), "the protocol's own schema"


def test_draining_closes_connections(client: TestClient) -> None:
    assert "connection" not in client.get("/open").headers
    state: Any = client.app
    state.state.draining = True
    assert client.get("/open").headers["connection"] == "close"


@pytest.mark.parametrize(
    ("method", "path", "status", "allow"),
    [("GET", "/v1/nowhere", 404, None), ("GET", "/v1/size", 405, "POST"), ("DELETE", "/v1", 404, None)],
)
def test_unknown_addresses(client: TestClient, method: str, path: str, status: int, allow: str | None) -> None:
    answer = client.request(method, path)
    assert (answer.status_code, answer.headers.get("allow")) == (status, allow)
    assert set(answer.json()["error"]) == {"type", "message", "request_id"}


def test_measurements_have_few_labels(client: TestClient) -> None:
    for number in range(5):
        client.get(f"/v1/nowhere/{number}")
        client.request(f"VERB{number}", "/open")
    client.get("/open")
    state: Any = client.app
    lines = state.state.metrics.text().decode().splitlines()
    counted = [line for line in lines if line.startswith("sermodels_http_requests_total{")]
    assert 'sermodels_http_requests_total{method="GET",route="/open",status="200"} 1.0' in counted
    assert len(counted) == 3, counted

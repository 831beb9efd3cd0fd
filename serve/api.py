"""Addresses beside /v1 and /v2: health, readiness, metrics, documentation, and all that do not exist."""

from fastapi import APIRouter, FastAPI, Request
from fastapi.responses import HTMLResponse, PlainTextResponse, Response
from starlette.exceptions import HTTPException
from starlette.routing import Match, Mount, Route
from starlette.types import Receive, Scope, Send

from serve.context import PROVIDERS, service_of
from serve.docs_page import docs_page
from serve.metrics import CONTENT_TYPE, Metrics
from serve.problems import error_response, responses
from serve.schemas import HealthAnswer, ReadyAnswer

router = APIRouter(tags=["operation"])
_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE")
_OWN = ("/v1", "/v1/{rest:path}", "/v2", "/v2/{rest:path}", "/healthz", "/readyz", "/metrics", "/docs", "/openapi.json")


@router.head("/healthz", include_in_schema=False)
@router.get("/healthz", summary="Is the process alive?")
async def healthz(request: Request) -> HealthAnswer:
    """Alive, and on which device the models run."""
    device = service_of(request).device
    return HealthAnswer(device=device, execution_provider=PROVIDERS[device])


@router.head("/readyz", include_in_schema=False, response_model=ReadyAnswer)
@router.get("/readyz", summary="May requests come?", response_model=ReadyAnswer, responses=responses(503))
async def readyz(request: Request) -> Response | ReadyAnswer:
    """503 while the models warm up and while the server drains."""
    if is_ready(request):
        return ReadyAnswer()
    return error_response(request.scope, 503, "the server is warming up or draining")


@router.get("/metrics", summary="Measurements for Prometheus", response_class=PlainTextResponse)
async def metrics(request: Request) -> Response:
    """Requests, latencies, queue, batches, inference, device and bundles."""
    measured: Metrics = request.app.state.metrics
    measured.ready.set(is_ready(request))
    measured.describe(service_of(request))
    return Response(measured.text(), media_type=CONTENT_TYPE)


@router.get("/docs", include_in_schema=False)
async def docs(request: Request) -> HTMLResponse:
    """The documentation, from this server alone."""
    return HTMLResponse(docs_page(request.app.openapi()))


def is_ready(request: Request) -> bool:
    """Whether the service is warm and the server does not drain."""
    state = request.app.state
    return bool(state.service.ready) and not state.draining


class Unknown:
    """Answers what no route answers, so that the demo at / does not: 405 if another method would do, else 404."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse a request."""
        allowed = [method for method in _METHODS if _answers(scope["app"], {**scope, "method": method})]
        if allowed:
            raise HTTPException(405, headers={"Allow": ", ".join(allowed)})
        raise HTTPException(404)


def _answers(app: FastAPI, scope: Scope) -> bool:
    """Whether a route of the API answers this."""
    routes = (route for route in app.routes if not isinstance(route, Mount) and not _is_unknown(route))
    return any(route.matches(scope)[0] is Match.FULL for route in routes)


def _is_unknown(route: object) -> bool:
    """Whether this is one of the routes below."""
    return isinstance(route, Route) and isinstance(route.endpoint, Unknown)


def add_unknown(app: FastAPI) -> None:
    """Call this after all other routes are there, before the demo is."""
    app.router.routes.extend(Route(path, Unknown(), include_in_schema=False) for path in _OWN)

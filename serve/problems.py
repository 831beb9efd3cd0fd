"""Errors as HTTP answers: one schema for all of them, and the Open Inference Protocol's own under /v2."""

import logging
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.types import Scope

from serve.errors import ServeError
from serve.logs import REQUEST_ID
from serve.schemas import Problem

LOG = logging.getLogger("serve.problems")
RETRY_AFTER_S = 1
INTERNAL = "something went wrong in the server; its log has this request's id"
TYPES = {
    400: "bad_request",
    401: "unauthorized",
    404: "not_found",
    405: "method_not_allowed",
    409: "cancelled",
    413: "too_large",
    415: "undecodable",
    422: "invalid",
    429: "busy",
    500: "internal",
    503: "not_ready",
}
_WHEN = {
    400: "The body cannot be parsed.",
    401: "The API key is missing or wrong.",
    404: "There is no such model, part or running request.",
    409: "The work was cancelled by DELETE /v1/generate/{request_id}.",
    413: "The body has too many bytes, or the recording too many seconds.",
    415: "The file is no recording that can be decoded.",
    422: "A field is missing, unknown or not allowed; the message names it.",
    429: "The queue is full; Retry-After says in how many seconds to try again.",
    503: "The server is warming up or draining.",
}
_MESSAGES = {
    404: "there is no such address; /docs lists all of them",
    405: "this address does not know this method; /docs lists all of them",
}


def speaks_inference_protocol(path: str) -> bool:
    """Whether an address belongs to the Open Inference Protocol."""
    return path == "/v2" or path.startswith("/v2/")


def error_body(status: int, message: str) -> dict[str, Any]:
    """The one error schema."""
    problem = {"type": TYPES.get(status, "error"), "message": message, "request_id": REQUEST_ID.get()}
    return {"error": problem}


def error_response(
    scope: Scope, status: int, message: str, *, headers: Mapping[str, str] | None = None
) -> JSONResponse:
    """An error in the schema that the address speaks."""
    body = {"error": message} if speaks_inference_protocol(scope["path"]) else error_body(status, message)
    return JSONResponse(body, status_code=status, headers=dict(headers or {}))


def responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """What OpenAPI says of these statuses."""
    return {status: {"model": Problem, "description": _WHEN[status]} for status in statuses}


def message_of(error: ServeError) -> str:
    """What a client may know: faults of the server stay in its log."""
    if error.status < 500:
        return str(error)
    LOG.error("request failed", exc_info=error)
    return INTERNAL


def install_handlers(app: FastAPI) -> None:
    """Answer every known error in its schema; middleware.Failures does it for unknown ones."""
    app.add_exception_handler(ServeError, _on_serve_error)
    app.add_exception_handler(HTTPException, _on_http_error)
    app.add_exception_handler(RequestValidationError, _on_invalid)


def install_demo_handler(demo: FastAPI) -> None:
    """The demo answers what no route does; its pages read `detail`."""
    demo.add_exception_handler(404, _on_not_in_demo)


async def _on_not_in_demo(request: Request, error: Exception) -> Response:
    """An address that neither the API nor the demo has."""
    assert isinstance(error, HTTPException)
    LOG.info("%s is not in the demo", request.url.path)
    return JSONResponse({**error_body(404, _MESSAGES[404]), "detail": error.detail}, status_code=404)


async def _on_serve_error(request: Request, error: Exception) -> Response:
    """An error that knows its status."""
    assert isinstance(error, ServeError)
    headers = {"Retry-After": str(RETRY_AFTER_S)} if error.status == HTTPStatus.TOO_MANY_REQUESTS else None
    return error_response(request.scope, error.status, message_of(error), headers=headers)


async def _on_http_error(request: Request, error: Exception) -> Response:
    """An error of routing or of parsing a body."""
    assert isinstance(error, HTTPException)
    said = error.detail if error.detail != HTTPStatus(error.status_code).phrase else None
    message = said or _MESSAGES.get(error.status_code, error.detail)
    return error_response(request.scope, error.status_code, message, headers=error.headers)


async def _on_invalid(request: Request, error: Exception) -> Response:
    """A field that is not allowed: named, without repeating what came."""
    assert isinstance(error, RequestValidationError)
    faults = [f"{'.'.join(str(part) for part in fault['loc'])}: {fault['msg']}" for fault in error.errors()]
    return error_response(request.scope, 422, "; ".join(faults))

"""What routes need from the app that they belong to."""

from typing import TYPE_CHECKING, Annotated

from fastapi import Query, Request

from serve.bundle import Bundle
from serve.errors import UnavailableError
from serve.logs import REQUEST_ID
from serve.schemas import Role

if TYPE_CHECKING:
    from serve.service import Service

PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}


def service_of(request: Request) -> "Service":
    """The app's service."""
    service: Service = request.app.state.service
    return service


def request_id() -> str:
    """The id of the request in work."""
    return REQUEST_ID.get()


def bundle_of(service: "Service", role: Role) -> Bundle:
    """The bundle in this role. Raises UnavailableError."""
    bundle = service.bundle if role == "champion" else service.challenger
    if bundle is None:
        raise UnavailableError("no challenger is served here; ask for model=champion")
    return bundle


RoleOf = Annotated[Role, Query(alias="model", description="Which of the served models answers.")]

"""The FastAPI app: middlewares, routes, the life of the service, and the demo at /."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI, Security
from fastapi.security import APIKeyHeader, HTTPBearer
from starlette.routing import Mount

from serve import api, api_classify, api_generate, inference_protocol
from serve.context import PROVIDERS
from serve.jobs import Admission, Jobs
from serve.metrics import Metrics
from serve.middleware import Access, ApiKey, BodyLimit, Failures, RequestId
from serve.problems import install_demo_handler, install_handlers
from serve.reload import Reloader
from serve.service import Service
from serve.watch import Watch

LOG = logging.getLogger("serve.app")
API_VERSION = "1.0"
_ABOUT = (
    "Emotions in speech: classification of recordings, and generation. Every answer carries X-Request-ID; every error "
    "has one schema: {error: {type, message, request_id}}; under /v2 it is that of the Open Inference Protocol."
)


def create_app(service: Service, *, with_demo: bool = True) -> FastAPI:
    """The app around a service; the service starts and stops with it."""
    app = FastAPI(
        title="sermodels",
        version=API_VERSION,
        description=_ABOUT,
        docs_url=None,  # the usual pages load their scripts from elsewhere
        redoc_url=None,
        lifespan=_lifespan,
        separate_input_output_schemas=False,
    )
    _set_state(app, service)
    _add_middlewares(app, service)
    install_handlers(app)
    _add_routes(app, protected=service.settings.api_key is not None)
    return _add_demo(app, service) if with_demo else app


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Start the service unless the server has done so already, serve newer bundles as they come, and stop it."""
    service: Service = app.state.service
    if not service.ready:
        await service.start()
    LOG.info("models run on %s (%s)", service.device, PROVIDERS[service.device])
    reloading = asyncio.create_task(Reloader(service, app.state.metrics).run())
    try:
        yield
    finally:
        reloading.cancel()
        await asyncio.wait({reloading})
        await service.stop()
        app.state.watch.close()


def _set_state(app: FastAPI, service: Service) -> None:
    """What routes and middlewares share; a mounted app would lose the lifespan's state."""
    app.state.service = service
    app.state.draining = False
    app.state.jobs = Jobs()
    app.state.admission = Admission(service.settings.queue_size)
    app.state.metrics = metrics = Metrics()
    service.observe = metrics.observe
    app.state.watch = watch = Watch(service.settings.watch_dir, metrics)
    service.answered = watch.answered


def _add_middlewares(app: FastAPI, service: Service) -> None:
    """The last one added is the first that a request meets."""
    app.add_middleware(BodyLimit, max_bytes=service.settings.max_body_bytes)
    app.add_middleware(ApiKey, key=service.settings.api_key)
    app.add_middleware(Failures)
    app.add_middleware(Access, metrics=app.state.metrics)
    app.add_middleware(RequestId)


def _add_routes(app: FastAPI, *, protected: bool) -> None:
    """All routes but the demo's; the API key is checked by a middleware and documented here."""
    schemes: list[Any] = [APIKeyHeader(name="X-API-Key", auto_error=False), HTTPBearer(auto_error=False)]
    documented = [Security(scheme) for scheme in schemes] if protected else []
    app.include_router(api_classify.router, dependencies=documented)
    app.include_router(api_generate.router, dependencies=documented)
    app.include_router(inference_protocol.router, dependencies=documented)
    app.include_router(api.router)
    api.add_unknown(app)


def _add_demo(app: FastAPI, service: Service) -> FastAPI:
    """The demo at /, in the same process."""
    from serve.demo import mount_demo

    mount_demo(app, service)
    for route in app.routes:
        if isinstance(route, Mount) and isinstance(route.app, FastAPI):
            install_demo_handler(route.app)
    return app

"""A newer bundle is served without a restart: loaded and warmed beside the old one, then put in its place."""

import asyncio
import logging
import time

from sermodels.errors import SermodelsError
from serve.metrics import Metrics
from serve.places import Look
from serve.service import Service

LOOK_EVERY_S = 1.0

LOG = logging.getLogger(__name__)


class Reloader:
    """Looks at the places of a service's bundles for as long as the server runs."""

    def __init__(self, service: Service, metrics: Metrics) -> None:
        """For a service that has started."""
        self._service, self._metrics = service, metrics
        self._tried: Look | None = None

    async def run(self) -> None:
        """Take what is new as soon as it has lain there unchanged for a moment; what was refused waits for a change."""
        seen = None
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            before, seen = seen, await asyncio.to_thread(self._service.places.look)
            if seen is not None and seen == before and seen != self._tried and self._is_new(seen):
                self._tried = seen
                await self._switch()

    def _is_new(self, seen: Look) -> bool:
        """Whether other bundles lie there than are served."""
        served = self._service.look
        return served is None or seen.manifests != served.manifests

    async def _switch(self) -> None:
        """Serve what lies there; if it is no good, what is served goes on."""
        began, old = time.perf_counter(), _versions(self._service)
        try:
            await self._service.replace(await asyncio.to_thread(self._service.load_models))
        except SermodelsError as error:
            LOG.error("refused, %s goes on: %s", old, error)
        except Exception:
            LOG.exception("refused, %s goes on: it cannot be loaded", old)
        else:
            self._metrics.switches.labels("taken").inc()
            LOG.info("%s instead of %s, after %.1f s", _versions(self._service), old, time.perf_counter() - began)
            return
        self._metrics.switches.labels("refused").inc()


def _versions(service: Service) -> str:
    """What is served, for the log."""
    found = {role: bundle.manifest.provenance.classifier.version for role, bundle in service.bundles().items()}
    return ", ".join(f"{role} version {version}" for role, version in found.items())

"""The server process: uvicorn that answers every request it has accepted before it stops."""

import asyncio
import logging
import socket
from types import FrameType

import uvicorn
from fastapi import FastAPI

from serve.app import create_app
from serve.errors import ServeError
from serve.logs import configure_logging
from serve.service import Service

LOG = logging.getLogger("serve.server")
DRAIN_S = 0.5
"""While answers already close their connections and /readyz says 503, new ones are still accepted."""
SETTLE_S = 0.2
"""For the requests of connections that were accepted last."""
GRACE_S = 30
KEEP_ALIVE_S = 75
BACKLOG = 2048
_LAST_PORT = 65535


class ListenError(ServeError):
    """The address cannot be listened on."""


class GracefulServer(uvicorn.Server):
    """Drains on the first signal, stops at once on the second."""

    def __init__(self, config: uvicorn.Config, app: FastAPI, listener: socket.socket) -> None:
        """For `app`, on a bound socket."""
        super().__init__(config)
        self.app = app
        self.listener = listener
        self.spare = listener.dup()  # holds the kernel's queue of connections while uvicorn lets go of it

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Warm up before the port opens, so that a fault there ends the process by its own message."""
        await self.app.state.service.start()
        await super().startup(sockets)
        host, port = self.listener.getsockname()[:2]
        LOG.info("listening on http://%s:%d", f"[{host}]" if ":" in host else host, port)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """A signal came."""
        self.force_exit = self.should_exit
        self.should_exit = True

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Turn clients away, stop listening, answer what has come in, and stop the service."""
        LOG.info("draining; another signal stops at once")
        self.app.state.draining = True
        await self._wait(DRAIN_S)
        await self._stop_listening()
        _end_streams(self.app)
        await self._wait(SETTLE_S)
        await super().shutdown(sockets)

    async def _wait(self, duration_s: float) -> None:
        """Sleep, unless there is a second signal."""
        deadline = asyncio.get_running_loop().time() + duration_s
        while not self.force_exit and asyncio.get_running_loop().time() < deadline:
            await asyncio.sleep(0.02)

    async def _stop_listening(self) -> None:
        """Close the port, but serve the connections that the kernel has accepted already."""
        for server in self.servers:
            server.close()
        self.listener.close()
        self.spare.setblocking(False)
        try:
            while True:
                await self._adopt(self.spare.accept()[0])
        except BlockingIOError:
            self.spare.close()

    async def _adopt(self, connection: socket.socket) -> None:
        """Serve a connection that came without uvicorn's listener."""
        connection.setblocking(False)
        protocol = self.config.http_protocol_class
        await asyncio.get_running_loop().connect_accepted_socket(
            lambda: protocol(config=self.config, server_state=self.server_state, app_state=self.lifespan.state),  # type: ignore[call-arg]
            connection,
        )


def run_server(service: Service, *, host: str, port: int, with_demo: bool) -> None:
    """Serve until a signal comes. Raises ListenError and whatever the service's start does."""
    configure_logging()
    listener = bind(host, port)
    app = create_app(service, with_demo=with_demo)
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,  # ours has the request's id
        server_header=False,
        ws="none",
        lifespan="on",
        backlog=BACKLOG,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=GRACE_S,
    )
    GracefulServer(config, app, listener).run(sockets=[listener])


def bind(host: str, port: int) -> socket.socket:
    """A socket at this address that does not listen yet. Raises ListenError."""
    listener = None
    if not 0 <= port <= _LAST_PORT:
        raise ListenError(f"{host}:{port}: cannot listen; ports are 0 to {_LAST_PORT}")
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind, protocol)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
    except OSError as error:
        if listener:
            listener.close()
        raise ListenError(f"{host}:{port}: cannot listen ({error}); choose another with --host and --port") from error
    return listener


def _end_streams(app: FastAPI) -> None:
    """The demo's pages hold a connection open for as long as they are shown; Gradio ends them by this event."""
    for route in app.routes:
        event = getattr(getattr(route, "app", None), "stop_event", None)
        if isinstance(event, asyncio.Event):
            event.set()

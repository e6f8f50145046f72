"""A web server for this machine alone: it refuses requests that concern other hosts."""

import os
import socket
from urllib.parse import urlsplit

from fastapi import FastAPI
from starlette.datastructures import Headers, MutableHeaders
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn import Config, Server

HOST = "127.0.0.1"
HOSTS = [HOST, "localhost"]
# Browsers then load nothing from other hosts. Gradio's page has scripts and styles inline.
POLICY = (
    "default-src 'self' data: blob:; style-src 'self' 'unsafe-inline'; "
    "script-src 'self' 'unsafe-inline'; frame-ancestors 'none'"
)
SHUTDOWN_S = 1


class _OriginGuard:
    """Refuses requests from pages of other hosts; adds ``POLICY`` to every other response."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_policy(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message)["Content-Security-Policy"] = POLICY
            await send(message)

        origin = Headers(scope=scope).get("origin") if scope["type"] == "http" else None
        if origin is not None and urlsplit(origin).hostname not in HOSTS:
            await PlainTextResponse("pages of other hosts are refused", 403)(scope, receive, send)
        else:
            await self._app(scope, receive, send_with_policy)


def listen(port: int) -> tuple[socket.socket, str]:
    """Return a socket on a port (0: any free one) and its URL. Raises OSError if it is taken."""
    try:
        listening = socket.create_server((HOST, port))
    except OSError as error:
        reason = os.strerror(error.errno or 0)
        raise OSError(
            f"demo.port: {port}: {reason}: expected a free port of {HOST}, or 0 for any"
        ) from error
    return listening, f"http://{HOST}:{listening.getsockname()[1]}"


def create_app() -> FastAPI:
    """Return an empty application that answers requests of this machine's pages alone."""
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    # Another host's page can make its own name resolve to 127.0.0.1 (DNS rebinding).
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=HOSTS)
    app.add_middleware(_OriginGuard)
    return app


def serve(app: FastAPI, listening: socket.socket) -> None:
    """Serve until SIGINT (then KeyboardInterrupt is raised) or SIGTERM."""
    config = Config(app, log_level="warning", timeout_graceful_shutdown=SHUTDOWN_S)
    Server(config).run(sockets=[listening])

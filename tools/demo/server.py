"""A server for this machine alone: bound to 127.0.0.1, its pages kept from other hosts."""

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
# Gradio's scripts are made in the page in part, and compile its templates.
POLICY = (
    "default-src 'self' data: blob:; style-src 'self' 'unsafe-inline'; "
    "script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; frame-ancestors 'none'"
)
SHUTDOWN_S = 1


class _Guarded:
    """Refuses what pages of other hosts ask for; adds the policy to every other answer."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_policed(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message)["Content-Security-Policy"] = POLICY
            await send(message)

        origin = Headers(scope=scope).get("origin") if scope["type"] == "http" else None
        if origin is not None and urlsplit(origin).hostname not in HOSTS:
            await PlainTextResponse("not from another host", 403)(scope, receive, send)
        else:
            await self._app(scope, receive, send_policed)


def listen(port: int) -> tuple[socket.socket, str]:
    """Return a socket on a port, 0 for any, and its address. Raises OSError if it is taken."""
    try:
        bound = socket.create_server((HOST, port))
    except OSError as error:
        why = os.strerror(error.errno or 0)
        raise OSError(
            f"demo.port: {port}: {why}: expected a free port of {HOST}, or 0 for any"
        ) from error
    return bound, f"http://{HOST}:{bound.getsockname()[1]}"


def application() -> FastAPI:
    """Return an empty application that answers to pages of this machine alone.

    Requests for other host names are refused too: a page may make its own name lead here.
    """
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=HOSTS)
    app.add_middleware(_Guarded)
    return app


def serve(app: FastAPI, bound: socket.socket) -> None:
    """Serve until SIGINT (then KeyboardInterrupt is raised) or SIGTERM."""
    config = Config(app, log_level="warning", timeout_graceful_shutdown=SHUTDOWN_S)
    Server(config).run(sockets=[bound])

"""How MCP clients reach a server of runbooks: standard input and output, or HTTP.

Importing this imports the mcp SDK.
"""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import ipaddress
import os
import socket
import threading
from collections.abc import AsyncGenerator, Callable, Generator, Sequence
from typing import TYPE_CHECKING, Any, cast

import anyio
import uvicorn
from mcp.server.auth.middleware.auth_context import AuthContextMiddleware
from mcp.server.auth.middleware.bearer_auth import BearerAuthBackend
from mcp.server.auth.provider import AccessToken
from mcp.server.stdio import stdio_server
from mcp.server.transport_security import TransportSecuritySettings
from starlette.middleware.authentication import AuthenticationMiddleware

from aof_nb.errors import ConfigurationError
from aof_nb.runbooks.mcp_server import RunbookServer

if TYPE_CHECKING:
    from starlette.applications import Starlette

PATH = "/mcp"
"""Where clients find the server over HTTP."""

_LOOPBACK = ("127.0.0.1", "localhost", "[::1]")


async def serve_stdio(server: RunbookServer) -> None:
    """Serves one client over standard input and output, until the input ends.

    Meanwhile what else is written to standard output, by kernels for example, goes to standard
    error, and what else reads standard input finds it empty.

    Args:
        server: The server.
    """
    async with _lines() as lines, stdio_server(stdin=cast("Any", lines)) as (reader, writer):
        await server.run(reader, writer, server.create_initialization_options())


@contextlib.asynccontextmanager
async def _lines() -> AsyncGenerator[AsyncGenerator[str]]:
    """Standard input's lines, awaited in a way that can be cancelled.

    The SDK's own reader is a thread that it waits for: a signal would end the server only when
    the client closes the input.
    """
    own = os.dup(0)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    loop = asyncio.get_running_loop()
    send, receive = anyio.create_memory_object_stream[str](0)

    def read() -> None:
        with (
            contextlib.suppress(Exception),
            open(own, encoding="utf-8", errors="replace", newline="\n") as file,  # noqa: PTH123
        ):
            for line in file:
                asyncio.run_coroutine_threadsafe(send.send(line), loop).result()
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(send.close)

    async def lines() -> AsyncGenerator[str]:
        async for line in receive:
            yield line

    threading.Thread(target=read, name="stdin", daemon=True).start()
    async with contextlib.aclosing(lines()) as found:
        yield found


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach what listens there."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


async def serve_http(
    server: RunbookServer,
    *,
    host: str = "127.0.0.1",
    port: int = 8000,
    token: str | None = None,
    allowed_hosts: Sequence[str] = (),
    on_listening: Callable[[str], None] | None = None,
) -> None:
    """Serves clients over streamable HTTP, until it is cancelled.

    Requests must name this machine in ``Host`` and, if there is one, in ``Origin``: else a page
    in the user's browser could call runbooks, by a name of its own that leads here.

    Args:
        server: The server.
        host: Where it listens.
        port: Where it listens; 0 for a free one.
        token: What clients must send as a bearer token; nothing if None.
        allowed_hosts: Names by which it may be called, besides the obvious ones.
        on_listening: Called with the server's URL, once it can be reached.

    Raises:
        ConfigurationError: If it cannot listen there.
    """
    listener = _listener(host, port)
    app = server.streamable_http_app(
        streamable_http_path=PATH,
        transport_security=_security([host, *allowed_hosts]),
        token_verifier=_OneToken(token) if token else None,
    )
    if token:
        _authenticate(app, _OneToken(token))
    config = uvicorn.Config(
        app, log_config=None, log_level="warning", access_log=False, timeout_graceful_shutdown=2
    )
    http = _Http(config)
    serving = asyncio.create_task(http.serve(sockets=[listener]))
    try:
        shown = f"[{host}]" if ":" in host else host
        if on_listening is not None:
            on_listening(f"http://{shown}:{listener.getsockname()[1]}{PATH}")
        await asyncio.wait([serving])
    finally:
        # Requests wait for their runs, and the HTTP server for its requests.
        ending = asyncio.gather(server.stop(), return_exceptions=True)
        http.should_exit = True
        both: list[asyncio.Future[Any]] = [serving, ending]
        while not all(each.done() for each in both):
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.wait(both)
    serving.result()


def _listener(host: str, port: int) -> socket.socket:
    try:
        family, *_, address = socket.getaddrinfo(
            host.strip("[]"), port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        return socket.create_server(cast("Any", address)[:2], family=family)
    except OSError as error:
        raise ConfigurationError(
            f"cannot listen on {host}, port {port}: {error.strerror or error}",
            remedy="give another --port, or another --host of this machine",
        ) from error


def _security(names: Sequence[str]) -> TransportSecuritySettings:
    known = dict.fromkeys([*_LOOPBACK, socket.gethostname(), *names])
    hosts = [f"{name}{port}" for name in known for port in ("", ":*")]
    return TransportSecuritySettings(
        allowed_hosts=hosts,
        allowed_origins=[f"{scheme}://{each}" for each in hosts for scheme in ("http", "https")],
    )


class _OneToken:
    """The SDK's verifier of tokens, for one that does not change."""

    def __init__(self, token: str) -> None:
        self._token = token.encode()

    async def verify_token(self, token: str) -> AccessToken | None:
        if not hmac.compare_digest(token.encode(), self._token):
            return None
        return AccessToken(token=token, client_id="token", scopes=[])


def _authenticate(app: Starlette, verifier: _OneToken) -> None:
    app.add_middleware(AuthContextMiddleware)
    app.add_middleware(AuthenticationMiddleware, backend=BearerAuthBackend(verifier))


class _Http(uvicorn.Server):
    """uvicorn, which leaves the signals to the command that it runs in."""

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None]:
        yield

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        # The application first: its streams would be waited for, and then be cut off with an error.
        await self.lifespan.shutdown()
        await super().shutdown(sockets)

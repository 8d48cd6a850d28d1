"""The three transports, set up so that it is known how far a request came."""

from __future__ import annotations

import contextlib
import functools
import sys
from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, Self, TextIO, TypeAlias

from aof_nb.mcp.request import Dropped, Request, current
from aof_nb.mcp.spec import McpServer

if TYPE_CHECKING:
    import httpx2

Streams: TypeAlias = tuple[Any, Any]

_CHILD = Path(__file__).with_name("child.py")
_SSE_SILENCE_SECONDS = 24 * 3600.0
_MOST_EVENT_BYTES = 64 * 2**20
_GOODBYE_SECONDS = 2.0
_SESSION_HEADER = "mcp-session-id"
HTTP_SERVER_ERROR = 500


class Watcher(Protocol):
    """What is told of a transport's fate."""

    def ended(self) -> None:
        """Nothing can be received any more."""

    def refused(self, status: int) -> None:
        """The server has answered with an HTTP status that is an error."""


@contextlib.asynccontextmanager
async def connected(
    spec: McpServer, log: TextIO, watcher: Watcher
) -> AsyncGenerator[Streams, None]:
    """Opens a server's transport. Marks `current` requests as sent or not.

    Args:
        spec: The server.
        log: Takes what a stdio server writes to standard error.
        watcher: Is told how it goes.
    """
    async with _transport(spec, log, watcher) as (read, write):
        yield _Reading(read, watcher), write


def _transport(
    spec: McpServer, log: TextIO, watcher: Watcher
) -> AbstractAsyncContextManager[Streams]:
    if spec.transport == "stdio":
        return _stdio(spec, log)
    if spec.transport == "sse":
        return _sse(spec, watcher)
    return _http(spec, watcher)


@contextlib.asynccontextmanager
async def _stdio(spec: McpServer, log: TextIO) -> AsyncGenerator[Streams, None]:
    from mcp.client.stdio import StdioServerParameters, stdio_client

    assert spec.command is not None
    parameters = StdioServerParameters(
        command=sys.executable,
        args=["-I", "-S", str(_CHILD), spec.command, *spec.args],
        env=dict(spec.env),
        cwd=spec.cwd,
        encoding_error_handler="replace",
    )
    async with stdio_client(parameters, errlog=log) as (read, write):
        yield read, _Writing(write)


@contextlib.asynccontextmanager
async def _sse(spec: McpServer, watcher: Watcher) -> AsyncGenerator[Streams, None]:
    from mcp.client.sse import sse_client

    assert spec.url is not None

    def client(
        headers: Any = None,
        timeout: Any = None,
        auth: Any = None,
    ) -> httpx2.AsyncClient:
        return _http_client(spec, watcher)

    async with sse_client(spec.url, httpx_client_factory=client) as streams:
        yield streams


@contextlib.asynccontextmanager
async def _http(spec: McpServer, watcher: Watcher) -> AsyncGenerator[Streams, None]:
    from mcp.client.streamable_http import streamable_http_client

    assert spec.url is not None
    async with (
        _http_client(spec, watcher) as client,
        streamable_http_client(
            spec.url, http_client=client, max_sse_event_size=_MOST_EVENT_BYTES
        ) as streams,
    ):
        yield streams


def _http_client(spec: McpServer, watcher: Watcher) -> httpx2.AsyncClient:
    import httpx2

    class Client(httpx2.AsyncClient):
        async def send(self, request: httpx2.Request, **options: Any) -> httpx2.Response:
            if request.method == "DELETE":
                # The end of a session must not wait long for a server that is gone.
                request.extensions["timeout"] = httpx2.Timeout(_GOODBYE_SECONDS).as_dict()
            asking = current.get() if request.method == "POST" else None
            if asking is not None:
                request.extensions["trace"] = functools.partial(_trace, asking)
            try:
                response = await super().send(request, **options)
            except httpx2.HTTPError as error:
                if asking is not None and spec.transport == "sse":
                    # This transport would leave the request waiting.
                    asking.fail(Dropped(type(error).__name__, sent=asking.sent))
                    watcher.ended()
                raise
            if asking is not None:
                asking.status = None
            if request.method == "POST" and response.is_error:
                await self._refused(request, response)
            return response

        async def _refused(self, request: httpx2.Request, response: httpx2.Response) -> None:
            status = response.status_code
            watcher.refused(status)
            asking = current.get()
            if asking is None:
                return
            asking.status = status
            if _forgotten(request, response, await response.aread()):
                asking.fail(Dropped(f"HTTP {status}", sent=False))
                watcher.ended()
            elif spec.transport == "sse":
                asking.fail(Dropped(f"HTTP {status}", sent=status >= HTTP_SERVER_ERROR))
                watcher.ended()

    return Client(
        headers=dict(spec.headers),
        timeout=httpx2.Timeout(spec.timeout, read=_SSE_SILENCE_SECONDS),
    )


async def _trace(asking: Request, event: str, _info: dict[str, Any]) -> None:
    if event.endswith(".send_request_headers.started"):
        asking.sent = True


def _forgotten(request: httpx2.Request, response: httpx2.Response, body: bytes) -> bool:
    """Whether the server does not know the session (any more): nothing was carried out.

    The specification asks for status 404; the reference servers say it with 400 too.
    """
    if _SESSION_HEADER not in request.headers:
        return False
    return response.status_code == 404 or (
        response.status_code == 400 and b"session" in body.lower()
    )


class _Reading:
    """A read stream that tells when it has come to its end."""

    def __init__(self, stream: Any, watcher: Watcher) -> None:
        self._stream = stream
        self._watcher = watcher

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Any:
        import anyio

        try:
            return await anext(self._stream)
        except (StopAsyncIteration, anyio.ClosedResourceError):
            self._watcher.ended()
            raise

    async def __aenter__(self) -> Self:
        await self._stream.__aenter__()
        return self

    async def __aexit__(self, *exc_info: object) -> Any:
        return await self._stream.__aexit__(*exc_info)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


class _Writing:
    """A write stream that marks the request whose message is handed over."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    async def send(self, item: Any) -> None:
        import anyio

        request = current.get()
        if request is None or request.sent:
            await self._stream.send(item)
            return
        # Marked before: a send that is interrupted may have been delivered all the same.
        request.sent = True
        try:
            await self._stream.send(item)
        except (anyio.BrokenResourceError, anyio.ClosedResourceError):
            request.sent = False
            raise

    async def __aenter__(self) -> Self:
        await self._stream.__aenter__()
        return self

    async def __aexit__(self, *exc_info: object) -> Any:
        return await self._stream.__aexit__(*exc_info)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

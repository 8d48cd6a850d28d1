"""The three transports, each set up so that a dropped call can be told from one never sent."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any, Self, TextIO, TypeAlias

from aof_nb.mcp.spec import McpServer

Streams: TypeAlias = tuple[Any, Any]
OnSent: TypeAlias = Callable[["asyncio.Task[Any] | None", bool], None]

_CHILD = Path(__file__).with_name("child.py")
_SSE_SILENCE_SECONDS = 24 * 3600.0


@contextlib.asynccontextmanager
async def connected(spec: McpServer, log: TextIO, on_sent: OnSent) -> AsyncGenerator[Streams, None]:
    """Opens a server's transport.

    Args:
        spec: The server.
        log: Takes what a stdio server writes to standard error.
        on_sent: Told which task has handed over a message, and, by None and False, that the
            last one did not reach the server.
    """
    async with _transport(spec, log, on_sent) as (read, write):
        yield read, _Watched(write, on_sent)


def _transport(
    spec: McpServer, log: TextIO, on_sent: OnSent
) -> AbstractAsyncContextManager[Streams]:
    if spec.transport == "stdio":
        return _stdio(spec, log)
    if spec.transport == "sse":
        return _sse(spec)
    return _http(spec, on_sent)


@contextlib.asynccontextmanager
async def _stdio(spec: McpServer, log: TextIO) -> AsyncGenerator[Streams, None]:
    from mcp.client.stdio import StdioServerParameters, stdio_client

    assert spec.command is not None
    parameters = StdioServerParameters(
        command=sys.executable,
        args=["-I", "-S", str(_CHILD), spec.command, *spec.args],
        env=dict(spec.env),
        cwd=spec.cwd,
    )
    async with stdio_client(parameters, errlog=log) as streams:
        yield streams


@contextlib.asynccontextmanager
async def _sse(spec: McpServer) -> AsyncGenerator[Streams, None]:
    from mcp.client.sse import sse_client

    assert spec.url is not None
    async with sse_client(
        spec.url,
        headers=dict(spec.headers),
        timeout=spec.timeout,
        sse_read_timeout=_SSE_SILENCE_SECONDS,
    ) as streams:
        yield streams


@contextlib.asynccontextmanager
async def _http(spec: McpServer, on_sent: OnSent) -> AsyncGenerator[Streams, None]:
    import httpx2
    from mcp.client.streamable_http import streamable_http_client

    class Transport(httpx2.AsyncHTTPTransport):
        """Notes requests that met a closed door: those were surely not carried out."""

        async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
            try:
                return await super().handle_async_request(request)
            except httpx2.ConnectError:
                on_sent(None, False)
                raise

    assert spec.url is not None
    timeout = httpx2.Timeout(spec.timeout, read=_SSE_SILENCE_SECONDS)
    async with (
        httpx2.AsyncClient(
            headers=dict(spec.headers), timeout=timeout, transport=Transport()
        ) as client,
        streamable_http_client(spec.url, http_client=client) as streams,
    ):
        yield streams


class _Watched:
    """A write stream that tells which task has handed over a message."""

    def __init__(self, stream: Any, on_sent: OnSent) -> None:
        self._stream = stream
        self._on_sent = on_sent

    async def send(self, item: Any) -> None:
        # Told before: a send that is interrupted may have been delivered all the same.
        self._on_sent(asyncio.current_task(), True)
        await self._stream.send(item)

    async def __aenter__(self) -> Self:
        await self._stream.__aenter__()
        return self

    async def __aexit__(self, *exc_info: object) -> Any:
        return await self._stream.__aexit__(*exc_info)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

"""A small HTTP/1.1 server whose bytes are under the test's control."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from types import TracebackType
from typing import Any, Self

from tests.fakes.reply import Wire


@dataclass(eq=False, slots=True)
class Request:
    """One request as it was received, and how far its response got.

    `headers` have lower-case names. `body_sent` counts the response body's bytes written so far;
    `hung_up` is set when the client closed before the response was complete.
    """

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    connection: int
    json: Any = None
    rejection: str | None = None
    body_sent: int = 0
    finished: asyncio.Event = field(default_factory=asyncio.Event)
    hung_up: asyncio.Event = field(default_factory=asyncio.Event)


@dataclass(frozen=True, slots=True)
class Response:
    """What goes out: `frames` are the body's natural writes, chunked if it is a stream."""

    status: int
    headers: Mapping[str, str]
    frames: Sequence[bytes]
    wire: Wire = field(default_factory=Wire)
    streamed: bool = False


class _HungUpError(Exception):
    """The client went away."""


class _Connection:
    """One client connection: requests in, responses out, until either side closes."""

    def __init__(
        self, server: HttpServer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.server = server
        self.reader = reader
        self.writer = writer
        self.number = server.accepted
        self.ahead = b""
        sock = writer.get_extra_info("socket")
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    async def serve(self) -> None:
        while (request := await self._read_request()) is not None:
            self.server.requests.append(request)
            response = await self.server.answer(request)
            if not await self._send_watching(request, response):
                return

    async def _read_request(self) -> Request | None:
        try:
            head = self.ahead + await self.reader.readuntil(b"\r\n\r\n")
        except (asyncio.IncompleteReadError, ConnectionError):
            return None
        self.ahead = b""
        first, *lines = head.decode("latin-1").split("\r\n")
        method, path, _ = first.split(" ")
        headers = {}
        for line in filter(None, lines):
            name, _, value = line.partition(":")
            headers[name.strip().lower()] = value.strip()
        body = await self._read_body(headers)
        request = Request(method, path, headers, body, self.number)
        with contextlib.suppress(ValueError):
            request.json = json.loads(body) if body else None
        return request

    async def _read_body(self, headers: Mapping[str, str]) -> bytes:
        if headers.get("transfer-encoding", "").lower() == "chunked":
            body = b""
            while size := int(await self.reader.readline(), 16):
                body += await self.reader.readexactly(size)
                await self.reader.readexactly(2)
            await self.reader.readline()
            return body
        return await self.reader.readexactly(int(headers.get("content-length", 0)))

    async def _send_watching(self, request: Request, response: Response) -> bool:
        """Send the response while watching for the client's leaving; False ends the connection."""
        watch = asyncio.ensure_future(self.reader.read(1))
        send = asyncio.ensure_future(self._send(request, response))
        try:
            await asyncio.wait({watch, send}, return_when=asyncio.FIRST_COMPLETED)
            if not send.done() and not self._peeked(watch):
                request.hung_up.set()
                return False
            keep = await send
            if watch.done():
                keep = keep and self._peeked(watch)
        except (_HungUpError, ConnectionError):
            request.hung_up.set()
            return False
        finally:
            for task in (watch, send):
                task.cancel()
            await asyncio.gather(watch, send, return_exceptions=True)
            if not watch.cancelled() and watch.exception() is None:
                self.ahead = watch.result()
        request.finished.set()
        return keep

    def _peeked(self, watch: asyncio.Future[bytes]) -> bool:
        """Whether a finished watch saw the next request rather than the end."""
        return watch.exception() is None and watch.result() != b""

    async def _send(self, request: Request, response: Response) -> bool:
        wire = response.wire
        body = sum(len(frame) for frame in response.frames)
        headers = {**response.headers}
        if response.streamed:
            headers["transfer-encoding"] = "chunked"
        else:
            headers["content-length"] = str(body)
        headers |= wire.headers
        try:
            phrase = HTTPStatus(response.status).phrase
        except ValueError:
            phrase = ""
        lines = [f"HTTP/1.1 {response.status} {phrase}", *(f"{k}: {v}" for k, v in headers.items())]
        self.writer.write(("\r\n".join(lines) + "\r\n\r\n").encode())
        await self.writer.drain()
        for piece in wire.writes(response.frames):
            # At least one turn of the loop, so that each write is a packet of its own.
            await asyncio.sleep(wire.delay)
            self.writer.write(b"%x\r\n%b\r\n" % (len(piece), piece) if response.streamed else piece)
            request.body_sent += len(piece)
            await self.writer.drain()
            if self.writer.transport.is_closing():
                raise _HungUpError
        if wire.stall_at is not None and (wire.cut_at is None or wire.stall_at < wire.cut_at):
            await asyncio.Event().wait()
        if wire.cut_at is not None and wire.cut_at <= body:
            if wire.reset:
                sock = self.writer.get_extra_info("socket")
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                self.writer.transport.abort()
            return False
        if response.streamed:
            self.writer.write(b"0\r\n\r\n")
            await self.writer.drain()
        return headers.get("connection", "").lower() != "close"


class HttpServer:
    """Serves on an ephemeral port of 127.0.0.1 while its `async with` block runs.

    `requests` holds all requests in order of arrival, `accepted` counts the connections ever made
    and `open` those that are open now.
    """

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.accepted = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    @property
    def port(self) -> int:
        """The port being served."""
        assert self._server is not None, "not serving: use `async with`"
        return self._server.sockets[0].getsockname()[1]

    @property
    def open(self) -> int:
        """Connections open now."""
        return len(self._tasks)

    async def answer(self, request: Request) -> Response:
        """The response to a request."""
        raise NotImplementedError

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.accepted += 1
        try:
            await _Connection(self, reader, writer).serve()
        except asyncio.CancelledError:
            writer.transport.abort()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self._tasks.discard(task)
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0, backlog=256)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._server is not None
        self._server.close()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._server.wait_closed()

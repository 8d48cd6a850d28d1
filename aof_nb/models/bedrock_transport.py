"""boto3 off the event loop: a request on a thread of its own, which can be ended at any moment.

boto3 finds the credentials, signs, and knows the endpoints, proxies and certificates. The request's
bytes are ours and the response's bytes come back raw: botocore's walk through the whole history
for each request, and its objects for each event, are left out by the hooks it has for that.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import Callable, Mapping
from typing import Any

_MOST_HELD = 1 << 20
_READ = 1 << 16
_LAST_WAIT = 1.0

_owning = threading.Lock()
_here = threading.local()


class Ended(Exception):
    """The reader has gone: nobody waits for what this thread would still read."""


class Exchange:
    """One request and its response, on a thread.

    Args:
        send: Sends the request and gives the response's body, on the thread: bytes, or what
            has `read1` and `close`.
        body: The request's JSON.
    """

    def __init__(self, send: Callable[[], Any], body: bytes) -> None:
        self.body = body
        self.headers: Mapping[str, str] = {}
        self._send = send
        self._loop = asyncio.get_running_loop()
        self._change = threading.Condition()
        self._pieces: list[bytes] = []
        self._held = 0
        self._told = False
        self._closed = False
        self._over = False
        self._failure: BaseException | None = None
        self._connection: Any = None
        self._news = asyncio.Event()
        threading.Thread(target=self._work, name="aof-bedrock", daemon=True).start()

    async def take(self) -> bytes:
        """All bytes that have arrived since the last call; none at the end.

        Raises:
            Exception: What ended the exchange, once all that had arrived was taken.
        """
        while True:
            self._news.clear()
            with self._change:
                self._told = False
                if self._pieces:
                    data = b"".join(self._pieces)
                    self._pieces.clear()
                    self._held = 0
                    self._change.notify()
                    return data
                if self._over:
                    break
            await self._news.wait()
        if self._failure is not None:
            raise self._failure
        return b""

    async def close(self) -> None:
        """Ends the exchange: the connection is closed at once, wherever the thread waits."""
        with self._change:
            self._closed = True
            self._pieces.clear()
            self._held = 0
            self._change.notify()
            if self._over:
                return
        self._hang_up()
        if self._connection is None:
            # It looks up a name or connects, and notices when that is done.
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LAST_WAIT):
                while not self._is_over():
                    await self._news.wait()

    def _is_over(self) -> bool:
        self._news.clear()
        with self._change:
            self._told = False
            return self._over

    def watch(self, connection: Any) -> None:
        """Notes the connection that this exchange goes over, on its thread."""
        with _owning:
            self._connection = connection
            connection.exchange = self
            if self._closed:
                raise Ended

    def _hang_up(self) -> None:
        with _owning:
            connection = self._connection
            # One that has gone back to the pool may be another exchange's by now.
            if connection is None or connection.exchange is not self:
                return
            sock = connection.used_socket
            if isinstance(sock, socket.socket):
                with contextlib.suppress(OSError):
                    # Not SSLSocket's own, which would have the thread read ciphertext as text.
                    socket.socket.shutdown(sock, socket.SHUT_RDWR)

    def _work(self) -> None:
        failure: BaseException | None = None
        _here.exchange = self
        try:
            found = self._send()
            if isinstance(found, bytes):
                self._put(found)
            else:
                self._read(found)
        except Ended:
            pass
        except BaseException as error:  # noqa: BLE001  it is raised again by take()
            failure = error
        finally:
            _here.exchange = None
            with self._change:
                self._failure, self._over = failure, True
                self._tell()

    def _read(self, response: Any) -> None:
        whole = False
        try:
            while data := response.read1(_READ):
                self._put(data)
            whole = not self._closed
        finally:
            if not whole:
                response.close()

    def _put(self, data: bytes) -> None:
        with self._change:
            self._change.wait_for(lambda: self._held < _MOST_HELD or self._closed)
            if self._closed:
                raise Ended
            self._pieces.append(data)
            self._held += len(data)
            self._tell()

    def _tell(self) -> None:
        if not self._told:
            self._told = True
            # The loop may have been closed with the exchange under way.
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._news.set)


def current() -> Exchange | None:
    """The exchange whose thread this is."""
    return getattr(_here, "exchange", None)

"""Clients with connections of their own: one an event loop, closed with it."""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import AsyncGenerator, Callable
from typing import Any

_clients: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, _LoopClients] = (
    weakref.WeakKeyDictionary()
)


class _LoopClients:
    """One event loop's clients. They are closed when the loop shuts down."""

    def __init__(self) -> None:
        self.clients: dict[tuple[Any, ...], Any] = {}
        self._closing = self._close_at_shutdown()

    async def start(self) -> None:
        await anext(self._closing)

    async def _close_at_shutdown(self) -> AsyncGenerator[None, None]:
        # A loop closes its unfinished async generators when it shuts down, which is the one
        # hook it offers.
        loop = asyncio.get_running_loop()
        try:
            yield
        finally:
            _clients.pop(loop, None)
            for client in self.clients.values():
                await (client.aclose() if hasattr(client, "aclose") else client.close())


async def shared_client(key: tuple[Any, ...], make: Callable[[], Any]) -> Any:
    """The client for this key on the running loop; made at its first use.

    A connection pool shared across event loops stalls, one made for each request is slow: so
    there is one per loop and key, kept until the loop ends.

    Args:
        key: What tells it from others, such as the provider and its address.
        make: Makes it.
    """
    loop = asyncio.get_running_loop()
    here = _clients.get(loop)
    if here is None:
        here = _LoopClients()
        _clients[loop] = here
        await here.start()
    client = here.clients.get(key)
    if client is None:
        client = here.clients[key] = make()
    return client

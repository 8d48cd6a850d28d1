"""A Redis server, and the names of a memory's keys in it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

import msgspec

from aof_nb.errors import ConfigurationError, MemoryStoreError, MissingExtra
from aof_nb.importing import imported
from aof_nb.loop_clients import shared_client

AT_ONCE = 1_000
"""How many commands are sent before their answers are waited for."""

_ANSWERS_WITHIN = 30
_ATTEMPTS = 3
_REMEDY = "write redis://HOST:PORT/DATABASE, rediss://... or unix://PATH"


class RedisServer:
    """A server, spoken to by one client an event loop.

    Args:
        url: Its address, as redis-py takes it.
        prefix: What the keys begin with.

    Raises:
        ConfigurationError: If it is no such address.
    """

    def __init__(self, url: str, prefix: str) -> None:
        self._url = url
        self._tag = f"{{{prefix}}}"
        self.shown = _shown(url)
        """Its address without user, password and options."""

    def key(self, *names: str) -> str:
        """A key of the memory."""
        return ":".join((self._tag, *names))

    @asynccontextmanager
    async def client(self) -> AsyncIterator[Any]:
        """A client on the running loop; what goes wrong with it becomes a `MemoryStoreError`."""
        try:
            module = await imported("redis.asyncio")
        except ImportError as error:
            raise MissingExtra("a memory in Redis", "redis") from error
        from redis.exceptions import RedisError

        try:
            yield await shared_client(("redis", self._url), lambda: self._made(module))
        except (RedisError, OSError) as error:
            raise MemoryStoreError(
                f"the memory at {self.shown} cannot be used: {error}",
                remedy="see that Redis runs there, and that address, user and password are right",
            ) from error

    def _made(self, module: Any) -> Any:
        from redis.asyncio.retry import Retry
        from redis.backoff import ExponentialWithJitterBackoff

        again = Retry(ExponentialWithJitterBackoff(base=0.1, cap=1), _ATTEMPTS)
        try:
            return module.Redis.from_url(self._url, retry=again, socket_timeout=_ANSWERS_WITHIN)
        except ValueError as error:
            raise ConfigurationError(
                f"the address of a redis: memory, {self.shown}: {error}", remedy=_REMEDY
            ) from error


def expectation(expected: str | None) -> tuple[int, str]:
    """The version a script is to expect: whether there is one, and which."""
    return (0, "") if expected is None else (1, expected)


def time_of(text: bytes | None) -> datetime:
    """A time that was stored; the beginning of 1970 if there is none."""
    try:
        return msgspec.convert((text or b"").decode(), datetime)
    except (msgspec.ValidationError, UnicodeDecodeError):
        return datetime.fromtimestamp(0).astimezone()


def _shown(url: str) -> str:
    """An address without user, password and options."""
    try:
        parts = urlsplit(url)
        port = f":{parts.port}" if parts.port else ""
    except ValueError as error:
        raise ConfigurationError(
            f"the address of a redis: memory: {error}", remedy=_REMEDY
        ) from None
    if parts.scheme not in {"redis", "rediss", "unix"}:
        raise ConfigurationError(
            f"a redis: memory has no address of the kind {parts.scheme!r}", remedy=_REMEDY
        )
    return f"{parts.scheme}://{parts.hostname or ''}{port}{parts.path}"

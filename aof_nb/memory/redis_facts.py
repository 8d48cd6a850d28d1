"""Facts in Redis: a key a fact, which the server lets expire, and sets of their names."""

from __future__ import annotations

import logging
from typing import Any

import msgspec

from aof_nb.errors import MemoryConflict
from aof_nb.memory import redis_scripts
from aof_nb.memory.entries import expiry, json_of, nameable, token
from aof_nb.memory.redis_server import AT_ONCE, RedisServer, expectation, time_of
from aof_nb.memory.store import Fact

_logger = logging.getLogger("aof_nb.memory")


class RedisFacts:
    """Keeps facts in a server.

    Args:
        server: The server.
    """

    def __init__(self, server: RedisServer) -> None:
        self._server = server

    async def set(
        self, namespace: str, key: str, value: Any, ttl: float | None, expected: str | None
    ) -> str:
        """Keeps a value under a key; see `Memory.set_fact`."""
        nameable(namespace, key)
        what = f"fact {key!r} of {namespace!r}"
        data, expires, version = json_of(what, value), expiry(ttl), token()
        until = "-" if expires is None else msgspec.to_builtins(expires)
        async with self._server.client() as client:
            done, found = await client.register_script(redis_scripts.SET_FACT)(
                keys=self._keys(namespace, key),
                args=[
                    namespace,
                    key,
                    *expectation(expected),
                    version,
                    f"{version} {until} ".encode() + data,
                    0 if ttl is None else max(1, round(ttl * 1000)),
                ],
            )
        if not done:
            raise MemoryConflict(what, expected or "", found.decode())
        return version

    async def get(self, namespace: str, key: str) -> Fact | None:
        """The fact under a key; None if there is none, or it has expired."""
        nameable(namespace, key)
        async with self._server.client() as client:
            found = await client.get(self._keys(namespace, key)[0])
        return self._fact(namespace, key, found)

    async def all(self, namespace: str) -> list[Fact]:
        """All facts of a namespace, sorted by key."""
        nameable(namespace)
        facts = []
        async with self._server.client() as client:
            members = await client.smembers(self._server.key("facts", namespace))
            names = sorted(each.decode() for each in members)
            for start in range(0, len(names), AT_ONCE):
                some = names[start : start + AT_ONCE]
                values = await client.mget([self._keys(namespace, key)[0] for key in some])
                for key, value in zip(some, values, strict=True):
                    if value is None:
                        await client.register_script(redis_scripts.FORGET_FACT)(
                            keys=self._keys(namespace, key), args=[namespace, key, 1]
                        )
                    elif (fact := self._fact(namespace, key, value)) is not None:
                        facts.append(fact)
        return facts

    async def namespaces(self) -> list[str]:
        """The namespaces that have facts, sorted."""
        async with self._server.client() as client:
            names = await client.smembers(self._server.key("namespaces"))
        found = sorted(each.decode() for each in names)
        return [each for each in found if await self.all(each)]

    async def delete(self, namespace: str, key: str) -> None:
        """Deletes a fact."""
        nameable(namespace, key)
        async with self._server.client() as client:
            await client.register_script(redis_scripts.FORGET_FACT)(
                keys=self._keys(namespace, key), args=[namespace, key, 0]
            )

    def _fact(self, namespace: str, key: str, found: bytes | None) -> Fact | None:
        if found is None:
            return None
        try:
            version, until, data = found.split(b" ", 2)
            expires = None if until == b"-" else time_of(until)
            return Fact(key, msgspec.json.decode(data), version.decode(), expires)
        except ValueError as error:
            said = "fact %r of %r at %s is damaged (%s)"
            _logger.warning(said, key, namespace, self._server.shown, error)
            return None

    def _keys(self, namespace: str, key: str) -> list[str]:
        # With its length in front no namespace can be taken for another one and part of a key.
        fact = self._server.key("fact", str(len(namespace)), namespace, key)
        return [fact, self._server.key("facts", namespace), self._server.key("namespaces")]

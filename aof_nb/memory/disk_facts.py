"""Facts in a cache of their own: a row a fact, which diskcache lets expire."""

from __future__ import annotations

import logging
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from aof_nb.memory.entries import expiry, json_of, nameable, token
from aof_nb.memory.json_cache import Damaged, JsonCache, value_of
from aof_nb.memory.store import Fact, check_version

if TYPE_CHECKING:
    from diskcache import Cache

_logger = logging.getLogger("aof_nb.memory")


class _Row(msgspec.Struct, frozen=True):
    value: Any
    version: str
    expires: datetime | None = None


class DiskFacts:
    """Keeps facts in a directory that several processes may share.

    Args:
        directory: Where; made if it is missing.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._cache = JsonCache(directory)

    async def set(
        self, namespace: str, key: str, value: Any, ttl: float | None, expected: str | None
    ) -> str:
        """Keeps a value under a key; see `Memory.set_fact`."""
        nameable(namespace, key)
        what = f"fact {key!r} of {namespace!r}"
        data, expires = json_of(what, value), expiry(ttl)
        row = _Row(msgspec.json.decode(data), token(), expires)

        def put(cache: Cache) -> str:
            with cache.transact():
                known = self._fact(cache, namespace, key)
                check_version(what, expected, known.version if known else "")
                cache.set([namespace, key], msgspec.to_builtins(row), expire=ttl)
            return row.version

        return await self._cache.run(put)

    async def get(self, namespace: str, key: str) -> Fact | None:
        """The fact under a key; None if there is none, or it has expired."""
        nameable(namespace, key)
        return await self._cache.run(lambda cache: self._fact(cache, namespace, key))

    async def all(self, namespace: str) -> list[Fact]:
        """All facts of a namespace, sorted by key."""

        def listed(cache: Cache) -> list[Fact]:
            cache.expire()
            keys = sorted(key for space, key in _names(cache) if space == namespace)
            found = [self._fact(cache, namespace, key) for key in keys]
            return [fact for fact in found if fact is not None]

        return await self._cache.run(listed)

    async def namespaces(self) -> list[str]:
        """The namespaces that have facts, sorted."""

        def listed(cache: Cache) -> list[str]:
            cache.expire()
            return sorted({space for space, _ in _names(cache)})

        return await self._cache.run(listed)

    async def delete(self, namespace: str, key: str) -> None:
        """Deletes a fact; it need not exist."""
        nameable(namespace, key)

        def remove(cache: Cache) -> None:
            if cache.delete([namespace, key]):
                self._cache.erase_deleted()

        await self._cache.run(remove)

    def _fact(self, cache: Cache, namespace: str, key: str) -> Fact | None:
        value = value_of(cache, [namespace, key])
        if value is None:
            return None
        try:
            row = msgspec.convert(value, _Row)
        except msgspec.ValidationError as error:
            why = value.why if isinstance(value, Damaged) else str(error)
            said = "fact %r of %r in %s is damaged (%s)"
            _logger.warning(said, key, namespace, self._directory, why)
            return None
        return Fact(key, row.value, row.version, row.expires)


def _names(cache: Cache) -> list[tuple[str, str]]:
    return [(key[0], key[1]) for key in cache if isinstance(key, list) and len(key) == 2]

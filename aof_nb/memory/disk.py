"""A memory on disk, for all kernels of a machine: diskcache with JSON, never pickle."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from aof_nb.memory.conversation import ROOM, fitted, newest_messages
from aof_nb.memory.disk_facts import DiskFacts
from aof_nb.memory.disk_session import (
    Found,
    Head,
    add_lines,
    drop,
    head_of,
    put_entries,
    put_head,
    read,
    rebuild_missing_heads,
    sessions_in,
)
from aof_nb.memory.entries import (
    OVERHEAD,
    entries_of,
    expiry,
    export_text,
    lines_of,
    mended_entries,
    nameable,
    now,
    numbered,
    replaced,
    token,
    unnumbered_lines,
)
from aof_nb.memory.json_cache import JsonCache, value_of
from aof_nb.memory.store import MAX_SESSION_BYTES, Conversation, Fact, SessionInfo, check_version
from aof_nb.messages import Message

if TYPE_CHECKING:
    from diskcache import Cache

MAX_BYTES = 1_000_000_000

_FORMAT = 2
_FORMAT_KEY = ["format"]
_logger = logging.getLogger("aof_nb.memory")


class DiskMemory:
    """Keeps conversations in a directory that several processes may share.

    Each append is one transaction, so that two kernels lose nothing to each other. The store
    is open while it is used, and for a second after.

    Args:
        directory: Where; made if it is missing, for its owner only.
        max_session_bytes: What one session may take, as JSON; its oldest tool outputs are
            shortened first, then its oldest exchanges go.
        max_bytes: What all conversations may take on disk; sessions without a new message for
            the longest time go first, never the one that is written.
        ttl: Seconds after its last message at which a session is deleted; None for never.
    """

    def __init__(
        self,
        directory: str | Path,
        *,
        max_session_bytes: int = MAX_SESSION_BYTES,
        max_bytes: int = MAX_BYTES,
        ttl: float | None = None,
    ) -> None:
        expiry(ttl)
        self._directory = Path(directory).expanduser().absolute()
        self._max_session_bytes = max_session_bytes
        self._max_bytes = max_bytes
        self._ttl = None if ttl is None else timedelta(seconds=ttl)
        self._cache = JsonCache(self._directory, _upgrade, rebuild_missing_heads)
        self._facts = DiskFacts(self._directory / "facts")

    async def load(self, session: str, *, limit: int | None = None) -> Conversation:
        """A session's conversation, oldest first."""
        nameable(session)

        def loaded(cache: Cache) -> Conversation:
            head, found = self._read(cache, session, limit)
            damaged = [*self._cache.salvaged(), *(found.damaged if found else ())]
            if head is None or found is None:
                return Conversation(damaged=damaged)
            last = found.entries[-1].n if found.entries else head.n
            kept = newest_messages([entry.message for entry in found.entries], limit)
            return Conversation(kept, version=head.header.version(last), damaged=damaged)

        return await self._cache.run(loaded)

    async def append(
        self, session: str, messages: Sequence[Message], *, expected: str | None = None
    ) -> str:
        """Adds messages to a session's conversation."""
        nameable(session)
        lines = unnumbered_lines(session, messages)

        def add(cache: Cache) -> str:
            with cache.transact():
                head = self._head(cache, session)
                check_version(f"session {session!r}", expected, head.version if head else "")
                if not lines:
                    return head.version if head else ""
                if head is None:
                    head = Head(session=session, incarnation=token(), created=now(), updated=now())
                add_lines(cache, head, numbered(lines, head.n))
                head.n += len(lines)
                head.updated = now()
                if head.size > self._max_session_bytes:
                    self._shorten(cache, head)
                put_head(cache, head)
            self._make_room(cache, session)
            return head.version

        return await self._cache.run(add)

    async def info(self, session: str) -> SessionInfo | None:
        """What is known of a session; None if there is none."""
        nameable(session)
        head = await self._cache.run(lambda cache: self._head(cache, session))
        if head is None:
            return None
        return SessionInfo(session, head.version, head.kept, head.size, head.created, head.updated)

    async def sessions(self) -> list[str]:
        """The ids of all sessions, sorted."""

        def listed(cache: Cache) -> list[str]:
            found = sessions_in(cache)
            if self._ttl is not None:
                found = [session for session in found if self._head(cache, session)]
            return sorted(found)

        return await self._cache.run(listed)

    async def export(self, session: str) -> str:
        """A session as JSON lines; empty if there is none."""
        nameable(session)

        def exported(cache: Cache) -> str:
            head, found = self._read(cache, session, None)
            return export_text(head.header, found.entries) if head and found else ""

        return await self._cache.run(exported)

    async def delete(self, session: str) -> None:
        """Deletes a session's conversation."""
        nameable(session)

        def remove(cache: Cache) -> None:
            with cache.transact():
                head = head_of(cache, session)
                if head is not None:
                    drop(cache, head)
            self._cache.erase_deleted()

        await self._cache.run(remove)

    async def set_fact(
        self,
        namespace: str,
        key: str,
        value: Any,
        *,
        ttl: float | None = None,
        expected: str | None = None,
    ) -> str:
        """Keeps a value under a key; see `Memory.set_fact`."""
        return await self._facts.set(namespace, key, value, ttl, expected)

    async def get_fact(self, namespace: str, key: str) -> Fact | None:
        """The fact under a key; None if there is none, or it has expired."""
        return await self._facts.get(namespace, key)

    async def facts(self, namespace: str) -> list[Fact]:
        """All facts of a namespace, sorted by key."""
        return await self._facts.all(namespace)

    async def namespaces(self) -> list[str]:
        """The namespaces that have facts, sorted."""
        return await self._facts.namespaces()

    async def delete_fact(self, namespace: str, key: str) -> None:
        """Deletes a fact."""
        await self._facts.delete(namespace, key)

    def _head(self, cache: Cache, session: str) -> Head | None:
        head = head_of(cache, session)
        if head is None or self._ttl is None or head.updated + self._ttl > now():
            return head
        with cache.transact():
            drop(cache, head)
        return None

    def _read(
        self, cache: Cache, session: str, limit: int | None
    ) -> tuple[Head | None, Found | None]:
        head = self._head(cache, session)
        if head is None:
            return None, None
        found = read(cache, head, limit)
        is_whole = bool(found.entries) and not found.entries[-1].more
        if is_whole and not (found.damaged or head.untold):
            return head, found
        # Somebody may have written meanwhile; with the store locked it is known what is damaged.
        with cache.transact():
            head = self._head(cache, session)
            if head is None:
                return None, None
            found = read(cache, head, None)
            damaged = [*head.untold, *found.damaged]
            if damaged:
                entries = mended_entries(found.entries)
                put_entries(cache, head, entries, aside=found.parts)
                head.untold = []
                put_head(cache, head)
                where = f"; what is damaged is kept in {self._directory}"
                found = Found(entries, [f"{each}{where}" for each in damaged], found.parts)
        for each in found.damaged:
            _logger.warning("%s", each)
        return head, found

    def _shorten(self, cache: Cache, head: Head) -> None:
        found = read(cache, head, None)
        messages = [entry.message for entry in found.entries]
        kept = fitted(messages, int(self._max_session_bytes * ROOM), overhead=OVERHEAD)
        put_entries(cache, head, replaced(found.entries, kept), aside=found.parts)

    def _make_room(self, cache: Cache, session: str) -> None:
        if cache.volume() <= self._max_bytes:
            return
        heads = [head_of(cache, each) for each in sessions_in(cache) if each != session]
        for oldest in sorted((each for each in heads if each), key=lambda each: each.updated):
            with cache.transact():
                head = head_of(cache, oldest.session)
                if head is not None and head.updated == oldest.updated:
                    drop(cache, head)
            if cache.volume() <= self._max_bytes * ROOM:
                return


def _upgrade(cache: Cache) -> None:
    """Lays conversations out that an earlier version has kept whole, in one row each."""
    if value_of(cache, _FORMAT_KEY) == _FORMAT:
        return
    with cache.transact():
        for session in [key for key in cache if isinstance(key, str)]:
            try:
                messages = msgspec.convert(value_of(cache, session), list[Message])
            except msgspec.ValidationError as error:
                _logger.warning("session %r cannot be read and stays as it is: %s", session, error)
                continue
            head = Head(session=session, incarnation=token(), created=now(), updated=now())
            if messages:
                add_lines(cache, head, lines_of(session, entries_of(messages, 0)))
                head.n = len(messages)
            put_head(cache, head)
            cache.delete(session)
        cache.set(_FORMAT_KEY, _FORMAT)

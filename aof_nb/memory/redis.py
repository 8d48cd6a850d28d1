"""A memory in Redis, for the processes of one machine or of many."""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Sequence
from typing import Any

import msgspec

from aof_nb.errors import MemoryConflict
from aof_nb.memory import redis_scripts
from aof_nb.memory.conversation import ROOM, fitted, newest_messages
from aof_nb.memory.entries import (
    FORMAT,
    OVERHEAD,
    Entry,
    Header,
    decoded,
    expiry,
    export_text,
    lines_of,
    mended_entries,
    nameable,
    now,
    replaced,
    token,
    unnumbered_lines,
)
from aof_nb.memory.redis_facts import RedisFacts
from aof_nb.memory.redis_server import AT_ONCE, RedisServer, expectation, time_of
from aof_nb.memory.store import MAX_SESSION_BYTES, Conversation, Fact, SessionInfo
from aof_nb.messages import Message

_logger = logging.getLogger("aof_nb.memory")


class _Read(msgspec.Struct, frozen=True):
    """A session, or its end, as it was at one moment."""

    header: Header
    n: int
    edits: bytes
    length: int
    lines: list[bytes]
    entries: list[Entry]
    bad: list[tuple[int, str]]

    @property
    def version(self) -> str:
        return self.header.version(self.n)


class RedisMemory:
    """Keeps conversations and facts in a Redis server that any number of machines may share.

    Each append is one step for the server. What is kept for how long, and how safely, is the
    server's business as well: it should not evict keys (``maxmemory-policy noeviction``).

    Args:
        url: ``redis://``, ``rediss://`` or ``unix://``, as redis-py takes it.
        prefix: What the keys begin with.
        max_session_bytes: What one session may take, as JSON; its oldest tool outputs are
            shortened first, then its oldest exchanges go.
        ttl: Seconds after its last message at which a session is deleted; None for never.

    Raises:
        ConfigurationError: If it is no such URL.

    Example:
        >>> memory = RedisMemory("redis://localhost:6379/0", prefix="team-a")
    """

    def __init__(
        self,
        url: str = "redis://localhost:6379/0",
        *,
        prefix: str = "aof",
        max_session_bytes: int = MAX_SESSION_BYTES,
        ttl: float | None = None,
    ) -> None:
        expiry(ttl)
        self._server = RedisServer(url, prefix)
        self._facts = RedisFacts(self._server)
        self._max_session_bytes = max_session_bytes
        self._ttl_ms = 0 if ttl is None else max(1, round(ttl * 1000))

    async def load(self, session: str, *, limit: int | None = None) -> Conversation:
        """A session's conversation, oldest first."""
        nameable(session)
        read, damaged = await self._sound(session, limit)
        if read is None:
            return Conversation(damaged=damaged)
        kept = newest_messages([entry.message for entry in read.entries], limit)
        return Conversation(kept, version=read.version, damaged=damaged)

    async def append(
        self, session: str, messages: Sequence[Message], *, expected: str | None = None
    ) -> str:
        """Adds messages to a session's conversation."""
        nameable(session)
        lines = unnumbered_lines(session, messages)
        if not lines:
            info = await self.info(session)
            version = info.version if info else ""
            if expected is not None and expected != version:
                raise MemoryConflict(f"session {session!r}", expected, version)
            return version
        keys = [*self._keys(session, "head", "log"), self._server.key("sessions")]
        async with self._server.client() as client:
            done, found, size = await client.register_script(redis_scripts.APPEND)(
                keys=[*keys, self._server.key("once", secrets.token_hex(8))],
                args=[
                    session,
                    *expectation(expected),
                    token(),
                    msgspec.to_builtins(now()),
                    round(time.time() * 1000),
                    self._ttl_ms,
                    *lines,
                ],
            )
        if not done:
            raise MemoryConflict(f"session {session!r}", expected or "", found.decode())
        if size > self._max_session_bytes:
            await self._shorten(session)
        return str(found.decode())

    async def info(self, session: str) -> SessionInfo | None:
        """What is known of a session; None if there is none."""
        nameable(session)
        found, _, length = await self._raw(session, "")
        if not found:
            return None
        header, updated = self._header(session, found), time_of(found.get(b"updated"))
        version, size = header.version(_number(found, b"n")), _number(found, b"size")
        return SessionInfo(session, version, length, size, header.created, updated)

    async def sessions(self) -> list[str]:
        """The ids of all sessions, sorted."""
        async with self._server.client() as client:
            names = [
                each.decode() for each in await client.zrange(self._server.key("sessions"), 0, -1)
            ]
            found = []
            for start in range(0, len(names), AT_ONCE):
                some = names[start : start + AT_ONCE]
                async with client.pipeline(transaction=False) as together:
                    for name in some:
                        together.exists(*self._keys(name, "head"))
                    there = await together.execute()
                for name, is_there in zip(some, there, strict=True):
                    if is_there:
                        found.append(name)
                    else:
                        await self._forget(client, name, only_expired=True)
        return sorted(found)

    async def export(self, session: str) -> str:
        """A session as JSON lines; empty if there is none."""
        nameable(session)
        read, _ = await self._sound(session, None)
        return export_text(read.header, read.entries) if read else ""

    async def delete(self, session: str) -> None:
        """Deletes a session's conversation."""
        nameable(session)
        async with self._server.client() as client:
            await self._forget(client, session, only_expired=False)

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

    async def _raw(
        self, session: str, start: int | str
    ) -> tuple[dict[bytes, bytes], list[bytes], int]:
        async with self._server.client() as client:
            head, lines, length = await client.register_script(redis_scripts.READ)(
                keys=self._keys(session, "head", "log"), args=[start]
            )
        return dict(zip(head[::2], head[1::2], strict=True)), lines, length

    async def _read(self, session: str, count: int | None) -> _Read | None:
        found, lines, length = await self._raw(session, 0 if count is None else -count)
        if not found:
            return None
        if len(lines) > AT_ONCE:
            entries, bad = await asyncio.to_thread(decoded, lines)
        else:
            entries, bad = decoded(lines)
        header = self._header(session, found)
        n, edits = _number(found, b"n"), found.get(b"edits", b"0")
        return _Read(header, n, edits, length, lines, entries, bad)

    async def _sound(self, session: str, limit: int | None) -> tuple[_Read | None, list[str]]:
        """A session's newest messages; without what is damaged, which is set aside."""
        count = limit and max(limit, 1)
        while True:
            read = await self._read(session, count)
            if read is None:
                return None, []
            if read.bad or (read.n and not read.length):
                break
            is_whole = count is None or count >= read.length
            if is_whole or any(entry.message.role == "user" for entry in read.entries):
                return read, []
            count = (count or 1) * 2
        damaged: list[str] = []
        while (whole := await self._read(session, None)) is not None:
            if not whole.length and whole.n:
                damaged.append(
                    f"all messages of session {session!r} at {self._server.shown} are gone"
                )
                break
            entries = mended_entries(whole.entries)
            aside = [whole.lines[place] for place, _ in whole.bad]
            if not whole.bad or await self._replace(session, whole, entries, aside):
                where = f"session {session!r} at {self._server.shown}"
                damaged += [
                    f"message {place + 1} of {where} is damaged ({why}); it is kept in "
                    f"{self._keys(session, 'damaged')[0]}"
                    for place, why in whole.bad
                ]
                whole = msgspec.structs.replace(whole, entries=entries)
                break
        for each in damaged:
            _logger.warning("%s", each)
        return whole, damaged

    async def _shorten(self, session: str) -> None:
        while (read := await self._read(session, None)) is not None:
            messages = [entry.message for entry in read.entries]
            room = int(self._max_session_bytes * ROOM)
            kept = await asyncio.to_thread(fitted, messages, room, overhead=OVERHEAD)
            aside = [read.lines[place] for place, _ in read.bad]
            if await self._replace(session, read, replaced(read.entries, kept), aside):
                return

    async def _replace(
        self, session: str, read: _Read, entries: Sequence[Entry], aside: Sequence[bytes]
    ) -> bool:
        lines = lines_of(session, entries)
        new = self._server.key("new", f"{token()}:{session}")
        async with self._server.client() as client:
            for start in range(0, len(lines), AT_ONCE):
                async with client.pipeline(transaction=False) as together:
                    together.rpush(new, *lines[start : start + AT_ONCE])
                    together.expire(new, 60)
                    await together.execute()
            head, log, damaged = self._keys(session, "head", "log", "damaged")
            return bool(
                await client.register_script(redis_scripts.REPLACE)(
                    keys=[head, log, new, damaged],
                    args=[
                        read.header.incarnation,
                        read.edits,
                        read.length,
                        sum(len(line) + 1 for line in lines),
                        *aside,
                    ],
                )
            )

    async def _forget(self, client: Any, session: str, *, only_expired: bool) -> None:
        keys = [*self._keys(session, "head", "log", "damaged"), self._server.key("sessions")]
        await client.register_script(redis_scripts.FORGET_SESSION)(
            keys=keys, args=[session, int(only_expired)]
        )

    def _header(self, session: str, found: dict[bytes, bytes]) -> Header:
        incarnation = found.get(b"incarnation", b"").decode()
        return Header(session, incarnation, time_of(found.get(b"created")), FORMAT)

    def _keys(self, session: str, *kinds: str) -> list[str]:
        return [self._server.key(kind, session) for kind in kinds]


def _number(found: dict[bytes, bytes], name: bytes) -> int:
    text = found.get(name, b"")
    return int(text) if text.isdigit() else 0

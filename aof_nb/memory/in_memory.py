"""A memory that lives as long as the process."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import msgspec

from aof_nb.memory.conversation import ROOM, fitted, newest_messages
from aof_nb.memory.entries import (
    OVERHEAD,
    Entry,
    Header,
    entries_of,
    expiry,
    export_text,
    json_of,
    lines_of,
    nameable,
    new_header,
    now,
    replaced,
    token,
)
from aof_nb.memory.store import MAX_SESSION_BYTES, Conversation, Fact, SessionInfo, check_version
from aof_nb.messages import Message

MAX_SESSIONS = 1_000
MAX_BYTES = 1_000_000_000


class _Session(msgspec.Struct):
    header: Header
    entries: list[Entry]
    size: int
    updated: datetime

    @property
    def version(self) -> str:
        return self.header.version(self.entries[-1].n if self.entries else 0)


class InMemory:
    """Keeps conversations and facts in this process, for all its threads and event loops.

    Args:
        max_session_bytes: What one session may take, as JSON; its oldest tool outputs are
            shortened first, then its oldest exchanges go.
        max_sessions: How many sessions are kept; those longest without a new message go first.
        max_bytes: What all sessions may take; the same go first.
        ttl: Seconds after its last message at which a session is deleted; None for never.

    Example:
        >>> import asyncio
        >>> memory = InMemory()
        >>> asyncio.run(memory.append("inc-42", [Message.user("hi")])).endswith("-1")
        True
    """

    def __init__(
        self,
        *,
        max_session_bytes: int = MAX_SESSION_BYTES,
        max_sessions: int = MAX_SESSIONS,
        max_bytes: int = MAX_BYTES,
        ttl: float | None = None,
    ) -> None:
        expiry(ttl)
        self._max_session_bytes = max_session_bytes
        self._max_sessions = max_sessions
        self._max_bytes = max_bytes
        self._ttl = None if ttl is None else timedelta(seconds=ttl)
        self._lock = threading.Lock()
        self._sessions: dict[str, _Session] = {}
        self._size = 0
        self._facts: dict[str, dict[str, tuple[bytes, str, datetime | None]]] = {}

    async def load(self, session: str, *, limit: int | None = None) -> Conversation:
        """A session's conversation, oldest first."""
        with self._lock:
            found = self._found(session)
            if found is None:
                return Conversation()
            entries = found.entries
            if limit is None:
                return Conversation((each.message for each in entries), version=found.version)
            kept = newest_messages(_Messages(entries), limit)
            return Conversation(kept, version=found.version)

    async def append(
        self, session: str, messages: Sequence[Message], *, expected: str | None = None
    ) -> str:
        """Adds messages to a session's conversation."""
        nameable(session)
        with self._lock:
            found = self._found(session)
            check_version(f"session {session!r}", expected, found.version if found else "")
            last = found.entries[-1].n if found and found.entries else 0
            new = entries_of(messages, last)
            more = sum(len(line) + 1 for line in lines_of(session, new))
            if not new:
                return found.version if found else ""
            self._drop(session)
            if found is None:
                found = _Session(new_header(session), [], 0, now())
            found.entries += new
            found.size += more
            found.updated = now()
            if found.size > self._max_session_bytes:
                _shorten(found, int(self._max_session_bytes * ROOM))
            self._sessions[session] = found
            self._size += found.size
            while len(self._sessions) > 1 and (
                len(self._sessions) > self._max_sessions or self._size > self._max_bytes
            ):
                self._drop(next(iter(self._sessions)))
            return found.version

    async def info(self, session: str) -> SessionInfo | None:
        """What is known of a session; None if there is none."""
        with self._lock:
            found = self._found(session)
            if found is None:
                return None
            return SessionInfo(
                session,
                found.version,
                len(found.entries),
                found.size,
                found.header.created,
                found.updated,
            )

    async def sessions(self) -> list[str]:
        """The ids of all sessions, sorted."""
        with self._lock:
            return sorted(each for each in list(self._sessions) if self._found(each))

    async def export(self, session: str) -> str:
        """A session as JSON lines; empty if there is none."""
        with self._lock:
            found = self._found(session)
            return export_text(found.header, found.entries) if found else ""

    async def delete(self, session: str) -> None:
        """Deletes a session's conversation."""
        with self._lock:
            self._drop(session)

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
        nameable(namespace, key)
        what = f"fact {key!r} of {namespace!r}"
        data, version = json_of(what, value), token()
        with self._lock:
            known = self._known(namespace)
            check_version(what, expected, known[key][1] if key in known else "")
            self._facts.setdefault(namespace, {})[key] = (data, version, expiry(ttl))
        return version

    async def get_fact(self, namespace: str, key: str) -> Fact | None:
        """The fact under a key; None if there is none, or it has expired."""
        with self._lock:
            found = self._known(namespace).get(key)
        return found and _fact(key, found)

    async def facts(self, namespace: str) -> list[Fact]:
        """All facts of a namespace, sorted by key."""
        with self._lock:
            known = sorted(self._known(namespace).items())
        return [_fact(key, found) for key, found in known]

    async def namespaces(self) -> list[str]:
        """The namespaces that have facts, sorted."""
        with self._lock:
            return sorted(each for each in list(self._facts) if self._known(each))

    async def delete_fact(self, namespace: str, key: str) -> None:
        """Deletes a fact."""
        with self._lock:
            self._facts.get(namespace, {}).pop(key, None)

    def _found(self, session: str) -> _Session | None:
        found = self._sessions.get(session)
        if found is None or self._ttl is None or found.updated + self._ttl > now():
            return found
        self._drop(session)
        return None

    def _drop(self, session: str) -> None:
        dropped = self._sessions.pop(session, None)
        if dropped is not None:
            self._size -= dropped.size

    def _known(self, namespace: str) -> dict[str, tuple[bytes, str, datetime | None]]:
        known, time = self._facts.get(namespace, {}), now()
        for key in [key for key, (_, _, expires) in known.items() if expires and expires <= time]:
            del known[key]
        return known


class _Messages(Sequence[Message]):
    """The messages of entries, without a walk through all of them."""

    def __init__(self, entries: list[Entry]) -> None:
        self._entries = entries

    def __len__(self) -> int:
        return len(self._entries)

    def __getitem__(self, place: Any) -> Any:
        found = self._entries[place]
        return [each.message for each in found] if isinstance(found, list) else found.message


def _shorten(found: _Session, max_bytes: int) -> None:
    kept = fitted([each.message for each in found.entries], max_bytes, overhead=OVERHEAD)
    found.entries = replaced(found.entries, kept)
    found.size = sum(len(line) + 1 for line in lines_of(found.header.session, found.entries))


def _fact(key: str, found: tuple[bytes, str, datetime | None]) -> Fact:
    data, version, expires = found
    return Fact(key, msgspec.json.decode(data), version, expires)

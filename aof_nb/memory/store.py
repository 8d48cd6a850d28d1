"""What a memory is."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, Protocol, runtime_checkable

import msgspec

from aof_nb.errors import MemoryConflict
from aof_nb.messages import Message

MAX_SESSION_BYTES = 64_000_000
"""What a session may take, as JSON lines, if nothing else is said."""


class Conversation(list[Message]):
    """A session's messages, oldest first.

    Args:
        messages: The messages.
        version: The session's version, for `Memory.append`; empty if there is no such session.
        damaged: What could not be read of it, a sentence each.

    Example:
        >>> Conversation([Message.user("hi")], version="5f1c-1").version
        '5f1c-1'
    """

    __slots__ = ("damaged", "version")

    def __init__(
        self, messages: Iterable[Message] = (), *, version: str = "", damaged: Sequence[str] = ()
    ) -> None:
        super().__init__(messages)
        self.version = version
        self.damaged = tuple(damaged)


class SessionInfo(msgspec.Struct, frozen=True):
    """What is known of a session without reading it.

    Args:
        session: Its id.
        version: Changes with every append.
        messages: How many are kept.
        size: Bytes, as JSON lines.
        created: When its first message came.
        updated: When its last one did.
    """

    session: str
    version: str
    messages: int
    size: int
    created: datetime
    updated: datetime


class Fact(msgspec.Struct, frozen=True):
    """A value kept under a key.

    Args:
        key: Unique in its namespace.
        value: What JSON can hold.
        version: Changes with every setting.
        expires: When it is gone; None for never.
    """

    key: str
    value: Any
    version: str
    expires: datetime | None = None


@runtime_checkable
class Memory(Protocol):
    """Keeps conversations by session id, and facts by namespace and key.

    Two writers of a session lose nothing to each other: what is appended goes to its end,
    whoever else appends. A writer for whom that is not enough says what version it has seen.
    Every method raises `MemoryStoreError` if the store cannot be read or written.
    """

    async def load(self, session: str, *, limit: int | None = None) -> Conversation:
        """A session's conversation; empty if there is none.

        What is damaged is left out and named; the rest is a conversation that any provider takes.

        Args:
            session: The session's id.
            limit: At most this many of the newest messages, in whole exchanges; None for all.
        """
        ...

    async def append(
        self, session: str, messages: Sequence[Message], *, expected: str | None = None
    ) -> str:
        """Adds messages to the end of a session's conversation, all or none.

        Args:
            session: The session's id.
            messages: What is added.
            expected: The version the session must be at; empty if there must be none yet, None
                if it does not matter.

        Returns:
            The session's new version.

        Raises:
            MemoryConflict: If it is at another version. Nothing has been written.
        """
        ...

    async def info(self, session: str) -> SessionInfo | None:
        """What is known of a session; None if there is none."""
        ...

    async def sessions(self) -> list[str]:
        """The ids of all sessions, sorted."""
        ...

    async def export(self, session: str) -> str:
        """A session as JSON lines: a header, then a line a message; empty if there is none."""
        ...

    async def delete(self, session: str) -> None:
        """Deletes a session's conversation for good; it need not exist."""
        ...

    async def set_fact(
        self,
        namespace: str,
        key: str,
        value: Any,
        *,
        ttl: float | None = None,
        expected: str | None = None,
    ) -> str:
        """Keeps a value under a key, in place of the one that was there.

        Args:
            namespace: Whose facts they are.
            key: Unique in the namespace.
            value: What JSON can hold.
            ttl: Seconds until it is gone; None for never.
            expected: The version the fact must be at; empty if there must be none yet, None if it
                does not matter.

        Returns:
            The fact's new version.

        Raises:
            MemoryConflict: If it is at another version. Nothing has been written.
        """
        ...

    async def get_fact(self, namespace: str, key: str) -> Fact | None:
        """The fact under a key; None if there is none, or it has expired."""
        ...

    async def facts(self, namespace: str) -> list[Fact]:
        """All facts of a namespace, sorted by key."""
        ...

    async def namespaces(self) -> list[str]:
        """The namespaces that have facts, sorted."""
        ...

    async def delete_fact(self, namespace: str, key: str) -> None:
        """Deletes a fact for good; it need not exist."""
        ...


def check_version(what: str, expected: str | None, found: str) -> None:
    """Holds a writer to what it expects.

    Args:
        what: What is written to, as the subject of a sentence.
        expected: The version expected; None if it does not matter.
        found: The version there is; empty if there is none.

    Raises:
        MemoryConflict: If they are not the same.
    """
    if expected is not None and expected != found:
        raise MemoryConflict(what, expected, found)

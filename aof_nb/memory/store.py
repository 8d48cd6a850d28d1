"""What a memory is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from aof_nb.messages import Message


@runtime_checkable
class Memory(Protocol):
    """Keeps conversations by session id."""

    async def load(self, session: str, *, limit: int | None = None) -> list[Message]:
        """A session's conversation, oldest first; empty if there is none.

        Args:
            session: The session's id.
            limit: At most this many of the newest messages, in whole exchanges; None for all.

        Raises:
            MemoryStoreError: If the store cannot be read.
        """
        ...

    async def append(self, session: str, messages: Sequence[Message]) -> None:
        """Adds messages to the end of a session's conversation, all or none.

        Raises:
            MemoryStoreError: If the store cannot be written.
        """
        ...

    async def sessions(self) -> list[str]:
        """The ids of all sessions, sorted."""
        ...

    async def delete(self, session: str) -> None:
        """Deletes a session's conversation for good; it need not exist."""
        ...

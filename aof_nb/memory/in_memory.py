"""A memory that lives as long as the process."""

from __future__ import annotations

from collections.abc import Sequence

from aof_nb.errors import MemoryStoreError
from aof_nb.memory.conversation import fitted, newest_messages
from aof_nb.messages import Message

MAX_SESSION_BYTES = 4_000_000
MAX_SESSIONS = 1_000


class InMemory:
    """Keeps conversations in this process.

    Args:
        max_session_bytes: What one session may take, as JSON; older exchanges go first.
        max_sessions: How many sessions are kept; those longest unused go first.
    """

    def __init__(
        self, *, max_session_bytes: int = MAX_SESSION_BYTES, max_sessions: int = MAX_SESSIONS
    ) -> None:
        self._max_session_bytes = max_session_bytes
        self._max_sessions = max_sessions
        self._sessions: dict[str, list[Message]] = {}

    async def load(self, session: str, *, limit: int | None = None) -> list[Message]:
        """A session's conversation, oldest first."""
        return newest_messages(self._sessions.get(session, []), limit)

    async def append(self, session: str, messages: Sequence[Message]) -> None:
        """Adds messages to a session's conversation."""
        together = [*self._sessions.get(session, []), *messages]
        try:
            kept = fitted(together, self._max_session_bytes)
        except (TypeError, ValueError) as error:
            raise MemoryStoreError(f"session {session!r} cannot be kept: {error}") from error
        self._sessions.pop(session, None)
        self._sessions[session] = kept
        while len(self._sessions) > self._max_sessions:
            del self._sessions[next(iter(self._sessions))]

    async def sessions(self) -> list[str]:
        """The ids of all sessions, sorted."""
        return sorted(self._sessions)

    async def delete(self, session: str) -> None:
        """Deletes a session's conversation."""
        self._sessions.pop(session, None)

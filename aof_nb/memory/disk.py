"""A memory on disk, for all kernels of a machine: diskcache with JSON, never pickle."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from aof_nb.errors import MemoryStoreError
from aof_nb.memory.conversation import fitted, newest_messages
from aof_nb.memory.in_memory import MAX_SESSION_BYTES
from aof_nb.messages import Message

if TYPE_CHECKING:
    from diskcache import Cache

MAX_BYTES = 1_000_000_000

# A value in a file of its own can be replaced by another process between the look-up of its
# name and its reading; diskcache then takes it for missing. In the database it cannot.
_NEVER_A_FILE = 2**40

T = TypeVar("T")


class DiskMemory:
    """Keeps conversations in a directory that several processes may share.

    Each append is one transaction, so that two kernels lose nothing to each other. The store
    is opened for each operation and never kept open between them.

    Args:
        directory: Where; made if it is missing.
        max_session_bytes: What one session may take, as JSON; older exchanges go first.
        max_bytes: What the whole store may take on disk; sessions without a new message for
            the longest time go first, never the one that is written.
    """

    def __init__(
        self,
        directory: str | Path,
        *,
        max_session_bytes: int = MAX_SESSION_BYTES,
        max_bytes: int = MAX_BYTES,
    ) -> None:
        self._directory = Path(directory).expanduser().absolute()
        self._max_session_bytes = max_session_bytes
        self._max_bytes = max_bytes

    async def load(self, session: str, *, limit: int | None = None) -> list[Message]:
        """A session's conversation, oldest first."""
        return await self._with(lambda cache: newest_messages(_read(cache, session), limit))

    async def append(self, session: str, messages: Sequence[Message]) -> None:
        """Adds messages to a session's conversation."""

        def add(cache: Cache) -> None:
            with cache.transact(retry=True):
                together = fitted([*_read(cache, session), *messages], self._max_session_bytes)
                # A new row goes to the end: rows are in the order of their last message.
                cache.delete(session)
                cache.set(session, msgspec.to_builtins(together))
            while cache.volume() > self._max_bytes:
                with cache.transact(retry=True):
                    oldest = next(iter(cache), session)
                    if oldest == session:
                        break
                    cache.delete(oldest)

        await self._with(add)

    async def sessions(self) -> list[str]:
        """The ids of all sessions, sorted."""
        return await self._with(lambda cache: sorted(cache.iterkeys()))

    async def delete(self, session: str) -> None:
        """Deletes a session's conversation."""
        await self._with(lambda cache: cache.delete(session, retry=True))

    async def _with(self, operation: Callable[[Cache], T]) -> T:
        return await asyncio.to_thread(self._operate, operation)

    def _operate(self, operation: Callable[[Cache], T]) -> T:
        from diskcache import Cache, Timeout

        try:
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            with contextlib.closing(
                Cache(
                    str(self._directory),
                    disk=_json_disk(),
                    disk_min_file_size=_NEVER_A_FILE,
                    eviction_policy="none",
                )
            ) as cache:
                return operation(cache)
        except (
            OSError,
            sqlite3.Error,
            zlib.error,
            TypeError,
            ValueError,
            Timeout,
            _Refused,
        ) as error:
            raise MemoryStoreError(
                f"the memory in {self._directory} cannot be used: {error}",
                remedy="if it is damaged, move the directory away; a new one is made",
            ) from error


def _read(cache: Cache, session: str) -> list[Message]:
    stored = cache.get(session, retry=True)
    if stored is None:
        return []
    try:
        return msgspec.convert(stored, list[Message])
    except msgspec.ValidationError as error:
        raise ValueError(f"session {session!r} is damaged ({error})") from error


class _Refused(Exception):
    """The store holds what this module never writes."""


def _json_disk() -> type[Any]:
    from diskcache import JSONDisk
    from diskcache.core import MODE_PICKLE, MODE_RAW

    class StrictJsonDisk(JSONDisk):  # type: ignore[misc]
        """JSON only: the base class unpickles what the database says is a pickle."""

        def get(self, key: Any, raw: Any) -> Any:
            if not raw:
                raise _Refused("it holds a pickled key")
            return super().get(key, raw)

        def fetch(self, mode: int, filename: str | None, value: Any, read: bool) -> Any:
            if mode == MODE_PICKLE:
                raise _Refused("it holds a pickled value")
            if mode != MODE_RAW or filename is not None:
                raise _Refused("it holds a value in a file")
            return super().fetch(mode, filename, value, read)

        def remove(self, file_path: str) -> None:
            raise _Refused(f"it names a file to remove, {file_path!r}")

    return StrictJsonDisk

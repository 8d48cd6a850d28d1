"""A memory in files of JSON lines that people can read, for all processes of a machine."""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import msgspec

from aof_nb.errors import MemoryStoreError
from aof_nb.memory.conversation import ROOM, fitted, newest_messages
from aof_nb.memory.entries import (
    OVERHEAD,
    decode_header,
    encode,
    expiry,
    export_text,
    nameable,
    new_header,
    numbered,
    replaced,
    unnumbered_lines,
)
from aof_nb.memory.fact_file import FactFiles
from aof_nb.memory.locked_file import (
    aside_of,
    file_name,
    first_line,
    make_private,
    name_of,
    opened,
    remove,
    write_all,
)
from aof_nb.memory.session_file import (
    Ends,
    Newest,
    mend,
    mended_end,
    read_ends,
    read_newest,
    read_whole,
    rewrite,
    said,
)
from aof_nb.memory.store import MAX_SESSION_BYTES, Conversation, Fact, SessionInfo, check_version
from aof_nb.messages import Message

_logger = logging.getLogger("aof_nb.memory")
_CANNOT_WRITE = {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT}

P = ParamSpec("P")
T = TypeVar("T")


class FileMemory:
    """Keeps conversations in a directory that several processes may share, a file a session.

    A line is a message. An append is written at once, at the end, while nobody else writes the
    same session. Facts are in files of their own, one a namespace.

    Args:
        directory: Where; made if it is missing, for its owner only.
        max_session_bytes: What one session's file may take; its oldest tool outputs are shortened
            first, then its oldest exchanges go.
        ttl: Seconds after its last message at which a session is deleted; None for never.

    Example:
        >>> import asyncio, tempfile
        >>> memory = FileMemory(tempfile.mkdtemp())
        >>> asyncio.run(memory.append("inc-42", [Message.user("hi")])).endswith("-1")
        True
    """

    def __init__(
        self,
        directory: str | Path,
        *,
        max_session_bytes: int = MAX_SESSION_BYTES,
        ttl: float | None = None,
    ) -> None:
        expiry(ttl)
        self._directory = Path(directory).expanduser().absolute()
        self._sessions = self._directory / "sessions"
        self._facts = FactFiles(self._directory / "facts")
        self._max_session_bytes = max_session_bytes
        self._ttl = ttl

    async def load(self, session: str, *, limit: int | None = None) -> Conversation:
        """A session's conversation, oldest first."""
        return await self._run(self._load, session, limit)

    async def append(
        self, session: str, messages: Sequence[Message], *, expected: str | None = None
    ) -> str:
        """Adds messages to a session's conversation."""
        return await self._run(self._append, session, messages, expected)

    async def info(self, session: str) -> SessionInfo | None:
        """What is known of a session; None if there is none."""
        return await self._run(self._info, session)

    async def sessions(self) -> list[str]:
        """The ids of all sessions, sorted."""
        return await self._run(self._listed)

    async def export(self, session: str) -> str:
        """A session as JSON lines; empty if there is none."""
        newest, _ = await self._run(self._read, session, None)
        return export_text(newest.header, newest.entries) if newest else ""

    async def delete(self, session: str) -> None:
        """Deletes a session's conversation."""
        await self._run(self._delete, session)

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
        return await self._run(self._facts.set, namespace, key, value, ttl, expected)

    async def get_fact(self, namespace: str, key: str) -> Fact | None:
        """The fact under a key; None if there is none, or it has expired."""
        return (await self._run(self._facts.all, namespace)).get(key)

    async def facts(self, namespace: str) -> list[Fact]:
        """All facts of a namespace, sorted by key."""
        found = await self._run(self._facts.all, namespace)
        return [found[key] for key in sorted(found)]

    async def namespaces(self) -> list[str]:
        """The namespaces that have facts, sorted."""
        return await self._run(self._facts.namespaces)

    async def delete_fact(self, namespace: str, key: str) -> None:
        """Deletes a fact."""
        await self._run(self._facts.delete, namespace, key)

    async def _run(self, operation: Callable[P, T], *args: P.args, **options: P.kwargs) -> T:
        try:
            return await asyncio.to_thread(operation, *args, **options)
        except OSError as error:
            raise MemoryStoreError(
                f"the memory in {self._directory} cannot be used: {error}",
                remedy="see that it is a directory, that it may be written, and that there is room",
            ) from error

    def _load(self, session: str, limit: int | None) -> Conversation:
        newest, damaged = self._read(session, limit)
        if newest is None:
            return Conversation(damaged=damaged)
        messages = [entry.message for entry in newest.entries]
        kept = newest_messages(messages, limit)
        return Conversation(kept, version=newest.version, damaged=damaged)

    def _read(self, session: str, limit: int | None) -> tuple[Newest | None, list[str]]:
        nameable(session)
        path = self._path(session)
        with opened(path) as file:
            if file is None or not os.fstat(file).st_size:
                return None, []
            expired = self._is_expired(file)
            newest = None if expired else read_newest(file, limit)
        if newest is not None:
            return newest, []
        if expired:
            self._drop_expired(path)
            return None, []
        return self._mended(session, path)

    def _mended(
        self, session: str, path: Path, *, to_write: bool = False
    ) -> tuple[Newest | None, list[str]]:
        """Reads a file that is not as it was written, and makes it one again.

        If it only is to be read, and cannot be written, it is left as it is.
        """
        try:
            with opened(path, write=True) as file:
                if file is None or not os.fstat(file).st_size:
                    return None, []
                whole = read_whole(file, session)
                mended, kept = mend(path, file, whole), True
        except OSError as error:
            if to_write or error.errno not in _CANNOT_WRITE:
                raise
            with opened(path) as file:
                if file is None:
                    return None, []
                whole = read_whole(file, session)
            mended, kept = mended_end(whole), False
        damaged = said(path, whole, kept=kept)
        for each in damaged:
            _logger.warning("session %r: %s", session, each)
        return mended, damaged

    def _append(self, session: str, messages: Sequence[Message], expected: str | None) -> str:
        nameable(session)
        what, path = f"session {session!r}", self._path(session)
        lines = unnumbered_lines(session, messages)
        if not lines:
            found = self._info(session)
            check_version(what, expected, found.version if found else "")
            return found.version if found else ""
        make_private(self._sessions)
        while True:
            with opened(path, write=True, create=True) as file:
                assert file is not None
                if self._is_expired(file):
                    os.ftruncate(file, 0)
                    aside_of(path).unlink(missing_ok=True)
                size = os.fstat(file).st_size
                ends = read_ends(file) if size else None
                if ends is not None or not size:
                    header, last = (ends.header, ends.last) if ends else (new_header(session), 0)
                    data = b"".join(line + b"\n" for line in numbered(lines, last))
                    try:
                        check_version(what, expected, header.version(last) if ends else "")
                        write_all(file, data if ends else encode(header) + b"\n" + data)
                    except BaseException:
                        if not size:
                            path.unlink()
                        raise
                    if os.fstat(file).st_size > self._max_session_bytes:
                        self._shorten(session, path, file)
                    return header.version(last + len(lines))
            self._mended(session, path, to_write=True)

    def _shorten(self, session: str, path: Path, file: int) -> None:
        whole = read_whole(file, session)
        room = int(self._max_session_bytes * ROOM) - len(encode(whole.header))
        kept = fitted([each.message for each in whole.entries], room, overhead=OVERHEAD)
        try:
            rewrite(path, whole.header, replaced(whole.entries, kept))
        except OSError as error:
            # The append itself has succeeded; the next one tries this again.
            _logger.warning("session %r is longer than it may be: %s", session, error)

    def _info(self, session: str) -> SessionInfo | None:
        nameable(session)
        path = self._path(session)
        with opened(path) as file:
            if file is None or self._is_expired(file):
                return None
            size, ends = os.fstat(file).st_size, read_ends(file)
        if ends is None:
            newest, _ = self._mended(session, path)
            if newest is None:
                return None
            first, last = newest.entries[0], newest.entries[-1]
            ends = Ends(newest.header, first.n, last.n, last.at)
        return SessionInfo(
            session,
            ends.header.version(ends.last),
            ends.last - ends.first + 1,
            size,
            ends.header.created,
            ends.updated,
        )

    def _listed(self) -> list[str]:
        found = []
        for path in self._sessions.glob("*.jsonl"):
            name = name_of(path.stem)
            with opened(path) as file:
                if file is None or not os.fstat(file).st_size:
                    continue
                expired = self._is_expired(file)
                if name is None:
                    name = _session_in(first_line(file))
            if expired:
                self._drop_expired(path)
            elif name is None:
                _logger.warning("%s does not say which session it is", path)
            else:
                found.append(name)
        return sorted(found)

    def _delete(self, session: str) -> None:
        nameable(session)
        path = self._path(session)
        with opened(path, write=True):
            remove(path)

    def _drop_expired(self, path: Path) -> None:
        with opened(path, write=True) as file:
            if file is not None and self._is_expired(file):
                remove(path)

    def _is_expired(self, file: int) -> bool:
        return self._ttl is not None and os.fstat(file).st_mtime + self._ttl <= time.time()

    def _path(self, session: str) -> Path:
        return self._sessions / f"{file_name(session)}.jsonl"


def _session_in(line: bytes) -> str | None:
    try:
        return decode_header(line).session
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None

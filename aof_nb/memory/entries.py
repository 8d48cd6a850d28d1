"""How a session is written down, in every store and in exports: a header, and a line a message."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec

from aof_nb.errors import ConfigurationError, MemoryStoreError
from aof_nb.memory.conversation import mended
from aof_nb.messages import Message

FORMAT = 1
OVERHEAD = 96
"""Bytes, at most, that a line takes besides its message."""


class Header(msgspec.Struct, frozen=True):
    """A session's first line.

    Args:
        session: The session's id.
        incarnation: Tells a session from one of the same id that was deleted before it.
        created: When it was begun.
        aof_memory: The format's version.
    """

    session: str
    incarnation: str
    created: datetime
    aof_memory: int

    def version(self, number: int) -> str:
        """The session's version after so many messages."""
        return f"{self.incarnation}-{number}"


class Entry(msgspec.Struct, frozen=True, omit_defaults=True):
    """A line: one message.

    Args:
        n: Its number; a session's first message has 1, whatever was dropped later.
        at: When it was appended.
        message: The message.
        more: How many of the same append follow: without them it does not count.
    """

    n: int
    at: datetime
    message: Message
    more: int = 0


encode = msgspec.json.Encoder().encode
decode_entry = msgspec.json.Decoder(Entry).decode
_decode_header = msgspec.json.Decoder(Header).decode


def now() -> datetime:
    """The time, to the millisecond."""
    time = datetime.now(UTC)
    return time.replace(microsecond=time.microsecond // 1000 * 1000)


def token() -> str:
    """A few characters that nobody else has."""
    return secrets.token_hex(4)


def new_header(session: str) -> Header:
    """The header of a session that begins now."""
    return Header(session, token(), now(), FORMAT)


def decode_header(line: bytes) -> Header:
    """The header in a line.

    Raises:
        msgspec.DecodeError: If it is none.
        MemoryStoreError: If it is of a newer format.
    """
    header = _decode_header(line)
    if header.aof_memory > FORMAT:
        raise MemoryStoreError(
            f"session {header.session!r} is in format {header.aof_memory}, of a newer aof_nb",
            remedy="update aof_nb",
        )
    return header


def entries_of(messages: Sequence[Message], after: int) -> list[Entry]:
    """The entries of one append.

    Args:
        messages: What is appended.
        after: The number of the last message before them.
    """
    at, last = now(), len(messages) - 1
    return [
        Entry(after + place + 1, at, message, last - place)
        for place, message in enumerate(messages)
    ]


def lines_of(session: str, entries: Iterable[Entry]) -> list[bytes]:
    """Entries as JSON, without line ends.

    Raises:
        MemoryStoreError: If JSON cannot hold them.
    """
    try:
        return [encode(entry) for entry in entries]
    except (TypeError, ValueError, RecursionError) as error:
        raise MemoryStoreError(f"session {session!r} cannot be kept: {error}") from error


def unnumbered_lines(session: str, messages: Sequence[Message]) -> list[bytes]:
    """The lines of one append, without their beginning, which is the number.

    Where the append will stand is known only once the session is locked; what takes time is done
    before.

    Raises:
        MemoryStoreError: If JSON cannot hold them.
    """
    beginning = len(b'{"n":0,')
    numberless = [msgspec.structs.replace(each, n=0) for each in entries_of(messages, 0)]
    return [line[beginning:] for line in lines_of(session, numberless)]


def numbered(lines: Sequence[bytes], after: int) -> list[bytes]:
    """The same lines with their beginning.

    Args:
        lines: Lines without it.
        after: The number of the last message before them.
    """
    return [b'{"n":%d,%b' % (after + place, line) for place, line in enumerate(lines, 1)]


def decoded(lines: Sequence[bytes]) -> tuple[list[Entry], list[tuple[int, str]]]:
    """The entries in lines, and the places of those that hold none, with what is wrong.

    Args:
        lines: JSON, without line ends.
    """
    found, damaged = [], []
    for place, line in enumerate(lines):
        try:
            found.append(decode_entry(line))
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            damaged.append((place, str(error)))
    return found, damaged


def replaced(entries: Sequence[Entry], kept: Sequence[Message]) -> list[Entry]:
    """The last entries, a message each of what a conversation was shortened to."""
    last = entries[len(entries) - len(kept) :]
    return [
        entry if entry.message is message else msgspec.structs.replace(entry, message=message)
        for entry, message in zip(last, kept, strict=True)
    ]


def mended_entries(entries: Sequence[Entry]) -> list[Entry]:
    """What is left of a session after some of its lines were lost, as a conversation again."""
    of = {id(entry.message): entry for entry in entries}
    kept: list[Entry] = []
    for message in mended([entry.message for entry in entries]):
        entry = of.get(id(message)) or msgspec.structs.replace(kept[-1], message=message)
        kept.append(msgspec.structs.replace(entry, more=0) if entry.more else entry)
    return kept


def export_text(header: Header | None, entries: Iterable[Entry]) -> str:
    """A session as JSON lines; empty without a header."""
    if header is None:
        return ""
    return "".join(f"{encode(each).decode()}\n" for each in (header, *entries))


def messages_from(export: str) -> list[Message]:
    r"""The messages of an exported session, to append them to another one.

    Args:
        export: What `Memory.export` gave, or a session's file of a `file:` memory.

    Raises:
        ConfigurationError: If a line is no part of an export.

    Example:
        >>> header = '{"session":"s","incarnation":"a","created":"2026-11-24T08:00:00Z","aof_memory":1}'
        >>> line = '{"n":1,"at":"2026-11-24T08:00:00Z","message":{"role":"user","parts":[]}}'
        >>> len(messages_from(f"{header}\n{line}\n"))
        1
    """  # noqa: E501
    messages = []
    for number, line in enumerate(export.split("\n"), 1):
        if number == 1 and "aof_memory" in line:
            decode_header(line.encode())
        elif line.strip():
            try:
                messages.append(decode_entry(line).message)
            except msgspec.DecodeError as error:
                raise ConfigurationError(
                    f"line {number} is no message of an exported session: {error}",
                    remedy="give what `aofctl memory export` has written",
                ) from error
    return messages


def json_of(what: str, value: Any) -> bytes:
    """A fact's value as JSON.

    Args:
        what: Which fact, as the subject of a sentence.
        value: The value.

    Raises:
        MemoryStoreError: If JSON cannot hold it.
    """
    try:
        return encode(value)
    except (TypeError, ValueError, RecursionError) as error:
        raise MemoryStoreError(
            f"{what} cannot be kept: {error}", remedy="give text, numbers, lists or mappings"
        ) from error


def expiry(ttl: float | None) -> datetime | None:
    """When something is gone that lives so many seconds from now; None for never.

    Raises:
        ConfigurationError: If it is no time.
    """
    if ttl is None:
        return None
    if not 0 < ttl < 1e10:
        raise ConfigurationError(f"ttl is {ttl}", remedy="give seconds, more than 0; None for ever")
    return datetime.fromtimestamp(datetime.now(UTC).timestamp() + ttl, UTC)


def nameable(*names: str) -> None:
    """Holds ids and keys to what a store can take.

    Raises:
        MemoryStoreError: If one is no text that UTF-8 can hold.
    """
    for name in names:
        try:
            name.encode()
        except UnicodeEncodeError as error:
            raise MemoryStoreError(f"{name!r} cannot name anything: {error}") from error

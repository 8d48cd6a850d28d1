"""How a session is laid out in a cache: a head, and parts of a few thousand bytes of JSON lines.

An append writes the last part and the head, however long the session is.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

import msgspec

from aof_nb.memory.entries import FORMAT, Entry, Header, decoded, lines_of
from aof_nb.memory.json_cache import Damaged, value_of

if TYPE_CHECKING:
    from diskcache import Cache

PART_BYTES = 16_000
"""How long a part is before another one is begun."""


class Head(msgspec.Struct, kw_only=True):
    """What is known of a session without its messages.

    Args:
        session: Its id.
        incarnation: Tells it from one of the same id that was deleted before.
        created: When it was begun.
        updated: When its last message came.
        n: The number of its last message.
        kept: How many messages it has.
        size: Bytes, as JSON lines.
        first: Its first part.
        last: Its last part; less than `first` if it has none.
        tail: Bytes in the last part.
        aside: Parts of it that were damaged, and are kept as they are.
        untold: Damage that was found while nobody read the session.
    """

    session: str
    incarnation: str
    created: datetime
    updated: datetime
    n: int = 0
    kept: int = 0
    size: int = 0
    first: int = 0
    last: int = -1
    tail: int = 0
    aside: list[int] = []
    untold: list[str] = []

    @property
    def header(self) -> Header:
        """The same, as a session begins in an export."""
        return Header(self.session, self.incarnation, self.created, FORMAT)

    @property
    def version(self) -> str:
        """The session's version."""
        return self.header.version(self.n)


class Found(msgspec.Struct, frozen=True):
    """What was read of a session.

    Args:
        entries: Its messages, or the newest ones.
        damaged: What is damaged, for people.
        parts: The parts that are.
    """

    entries: list[Entry]
    damaged: list[str]
    parts: list[int]


def head_of(cache: Cache, session: str) -> Head | None:
    """A session's head; made anew from its parts if it is damaged, None if there is none."""
    value = value_of(cache, _head_key(session))
    if value is None:
        return None
    if not isinstance(value, Damaged):
        try:
            return msgspec.convert(value, Head)
        except msgspec.ValidationError:
            pass
    return rebuilt_head(cache, session)


def put_head(cache: Cache, head: Head) -> None:
    """Stores a head."""
    cache.set(_head_key(head.session), msgspec.to_builtins(head))


def sessions_in(cache: Cache) -> list[str]:
    """The ids of the sessions."""
    return [key[1] for key in cache if _is_key(key, "head", 2)]


def read(cache: Cache, head: Head, limit: int | None) -> Found:
    """Reads a session's newest messages, and at least as many as asked for.

    Args:
        cache: Where it is.
        head: Its head.
        limit: Messages wanted, in whole exchanges; None for all.
    """
    pieces: list[list[Entry]] = []
    damaged: list[str] = []
    bad_parts: list[int] = []
    count, has_user = 0, False
    for part in range(head.last, head.first - 1, -1):
        entries, wrong = _read_part(cache, head, part)
        if wrong:
            bad_parts.append(part)
            damaged += [f"part {part} of session {head.session!r}: {each}" for each in wrong]
        pieces.append(entries)
        count += len(entries)
        has_user = has_user or any(entry.message.role == "user" for entry in entries)
        if limit is not None and has_user and count >= limit:
            break
    entries = [entry for piece in reversed(pieces) for entry in piece]
    return Found(entries, damaged, bad_parts)


def add_lines(cache: Cache, head: Head, lines: Sequence[bytes]) -> None:
    """Stores lines at a session's end; its head says so, and is still to be stored.

    Args:
        cache: Where it is.
        head: Its head.
        lines: The lines, without their ends.
    """
    text = b""
    if head.last >= head.first and head.tail < PART_BYTES:
        found = value_of(cache, _part_key(head, head.last))
        text = found.encode() if isinstance(found, str) else b""
    if not text:
        head.last += 1
    for line in lines:
        if len(text) >= PART_BYTES:
            cache.set(_part_key(head, head.last), text.decode())
            text = b""
            head.last += 1
        text += line + b"\n"
    cache.set(_part_key(head, head.last), text.decode())
    head.tail = len(text)
    head.kept += len(lines)
    head.size += sum(len(line) + 1 for line in lines)


def put_entries(
    cache: Cache, head: Head, entries: Sequence[Entry], *, aside: Sequence[int] = ()
) -> None:
    """Replaces all that a session has; its head says so, and is still to be stored.

    Args:
        cache: Where it is.
        head: Its head.
        entries: What it has from now on.
        aside: Parts that are damaged, and are kept as they are.
    """
    for part in range(head.first, head.last + 1):
        if part not in aside:
            cache.delete(_part_key(head, part))
    head.aside = [*head.aside, *aside]
    head.first = head.last + 1
    head.kept = head.size = head.tail = 0
    if entries:
        add_lines(cache, head, lines_of(head.session, entries))


def drop(cache: Cache, head: Head) -> None:
    """Deletes a session with all its parts."""
    for part in (*head.aside, *range(head.first, head.last + 1)):
        cache.delete(_part_key(head, part))
    cache.delete(_head_key(head.session))


def rebuilt_head(cache: Cache, session: str) -> Head | None:
    """A head made from a session's parts; stored if there are any."""
    by_incarnation: dict[str, list[int]] = {}
    for key in cache:
        if _is_key(key, "part", 4) and key[1] == session:
            by_incarnation.setdefault(key[2], []).append(key[3])
    if not by_incarnation:
        return None
    incarnation, parts = max(by_incarnation.items(), key=lambda each: len(each[1]))
    unknown = datetime.fromtimestamp(0).astimezone()
    head = Head(
        session=session,
        incarnation=incarnation,
        created=unknown,
        updated=unknown,
        first=min(parts),
        last=max(parts),
    )
    found = read(cache, head, None)
    # Parts that had been set aside may repeat, before them, what later ones hold.
    entries = sorted({entry.n: entry for entry in found.entries}.values(), key=lambda each: each.n)
    if entries:
        head.created, head.updated, head.n = entries[0].at, entries[-1].at, entries[-1].n
    put_entries(cache, head, entries, aside=found.parts)
    head.untold = [f"the head of session {session!r}: it was made anew", *found.damaged]
    put_head(cache, head)
    return head


def rebuild_missing_heads(cache: Cache) -> None:
    """Finds the sessions whose heads were lost."""
    have = set(sessions_in(cache))
    lost = {key[1] for key in cache if _is_key(key, "part", 4)} - have
    for session in lost:
        rebuilt_head(cache, session)


def _read_part(cache: Cache, head: Head, part: int) -> tuple[list[Entry], list[str]]:
    text = value_of(cache, _part_key(head, part))
    if isinstance(text, Damaged):
        return [], [text.why]
    if not isinstance(text, str):
        return [], ["it is missing" if text is None else "it is no text"]
    lines = text.encode("utf-8", "surrogatepass").split(b"\n")
    entries, bad = decoded(lines[:-1])
    return entries, [f"line {place + 1}: {why}" for place, why in bad]


def _is_key(key: Any, kind: str, length: int) -> bool:
    return isinstance(key, list) and len(key) == length and key[0] == kind


def _head_key(session: str) -> list[Any]:
    return ["head", session]


def _part_key(head: Head, part: int) -> list[Any]:
    return ["part", head.session, head.incarnation, part]

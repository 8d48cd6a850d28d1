"""A session's file: JSON lines, with what may have become of them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import msgspec

from aof_nb.memory.entries import (
    Entry,
    Header,
    decode_entry,
    decode_header,
    decoded,
    encode,
    mended_entries,
    new_header,
    token,
)
from aof_nb.memory.locked_file import (
    aside_of,
    first_line,
    last_lines,
    read_all,
    replace,
    set_aside,
)


class _Numbers(msgspec.Struct):
    n: int
    at: datetime
    more: int = 0


_decode_numbers = msgspec.json.Decoder(_Numbers).decode
_NOT_JSON = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


class Whole(msgspec.Struct, frozen=True):
    """A whole file.

    Args:
        header: Its header, or a new one in its place.
        entries: Its messages.
        damaged: The numbers of lines that cannot be read, and why.
        aside: These lines.
        missing: How many messages are missing where all lines can be read.
    """

    header: Header
    entries: list[Entry]
    damaged: list[tuple[int, str]]
    aside: list[bytes]
    missing: int


class Newest(msgspec.Struct, frozen=True):
    """The end of a file that is as it was written."""

    header: Header
    entries: list[Entry]

    @property
    def version(self) -> str:
        """The session's version."""
        return self.header.version(self.entries[-1].n)


def read_newest(file: int, limit: int | None) -> Newest | None:
    """Reads the messages at the end of a file.

    Args:
        file: Its descriptor.
        limit: As many as are needed for this many, in whole exchanges; None for all.

    Returns:
        None if anything is not as it was written: then read it whole.
    """
    try:
        head = first_line(file)
        header = decode_header(head)
        if limit is None:
            data = read_all(file, len(head))
            lines = data.split(b"\n")
            entries = [decode_entry(line) for line in lines[:-1]]
            return Newest(header, entries) if not lines[-1] and _is_complete(entries) else None
        end = os.fstat(file).st_size
        if os.pread(file, 1, end - 1) != b"\n":
            return None
        newest: list[Entry] = []
        has_user = False
        for line in last_lines(file, len(head), end):
            entry = decode_entry(line)
            newest.append(entry)
            has_user = has_user or entry.message.role == "user"
            if has_user and len(newest) >= limit:
                break
    except _NOT_JSON:
        return None
    newest.reverse()
    return Newest(header, newest) if _is_complete(newest) else None


def _is_complete(entries: Sequence[Entry]) -> bool:
    if not entries or entries[-1].more:
        return False
    return entries[-1].n - entries[0].n + 1 == len(entries)


class Ends(msgspec.Struct, frozen=True):
    """What the first and the last lines of a file say.

    Args:
        header: The session's header.
        first: The number of its first message.
        last: The number of its last message.
        updated: When that came.
    """

    header: Header
    first: int
    last: int
    updated: datetime


def read_ends(file: int) -> Ends | None:
    """Reads the first and the last lines of a file; None if they are not as they were written."""
    end = os.fstat(file).st_size
    try:
        head = first_line(file)
        header = decode_header(head)
        first = _decode_numbers(first_line(file, len(head)))
        last = _decode_numbers(next(last_lines(file, len(head), end), b""))
    except _NOT_JSON:
        return None
    if last.more or os.pread(file, 1, end - 1) != b"\n":
        return None
    return Ends(header, first.n, last.n, last.at)


def read_whole(file: int, session: str) -> Whole:
    """Reads a file with what is damaged in it.

    An append whose end is missing does not count: its lines are set aside as well.

    Args:
        file: Its descriptor.
        session: The session's id, for a header if it has none.
    """
    lines = read_all(file).split(b"\n")
    torn = bool(lines[-1])
    if not torn:
        lines.pop()
    header: Header | None = None
    places = list(range(len(lines)))
    damaged: list[tuple[int, str]] = []
    try:
        header = decode_header(lines[0])
        places = places[1:]
    except (*_NOT_JSON, IndexError):
        pass
    places = [place for place in places if lines[place].strip()]
    entries, bad = decoded([lines[place] for place in places])
    lost = {places[place]: why for place, why in bad}
    good = [place for place in places if place not in lost]
    cut = torn and len(lines) - 1 in lost
    if entries and entries[-1].more and (cut or good[-1] == places[-1]):
        expected = entries[-1].more
        while entries and entries[-1].more == expected:
            entries.pop()
            lost[good.pop()] = "the rest of its append is missing"
            expected += 1
    damaged = sorted((place + 1, why) for place, why in lost.items())
    if header is None:
        header = new_header(session)
        if entries:
            header = msgspec.structs.replace(header, created=entries[0].at)
    missing = 0
    if entries and not damaged:
        missing = max(0, entries[-1].n - entries[0].n + 1 - len(entries))
    aside = [lines[place - 1] for place, _ in damaged]
    return Whole(header, entries, damaged, aside, missing)


def mend(path: Path, file: int, whole: Whole) -> Newest | None:
    """Sets the damaged lines of a file aside, and leaves a conversation in it.

    Its messages are numbered anew, under another incarnation.

    Args:
        path: The file.
        file: Its descriptor, locked for writing.
        whole: What is in it.

    Returns:
        What is in it now; None if there is nothing left, and no file.
    """
    set_aside(path, whole.aside)
    mended = mended_end(whole)
    if mended is None:
        path.unlink()
    else:
        rewrite(path, mended.header, mended.entries, modified_ns=os.fstat(file).st_mtime_ns)
    return mended


def mended_end(whole: Whole) -> Newest | None:
    """What `mend` would leave of a file."""
    entries = [
        msgspec.structs.replace(entry, n=number)
        for number, entry in enumerate(mended_entries(whole.entries), 1)
    ]
    header = msgspec.structs.replace(whole.header, incarnation=token())
    return Newest(header, entries) if entries else None


def rewrite(
    path: Path, header: Header, entries: Sequence[Entry], *, modified_ns: int | None = None
) -> None:
    """Writes a file anew, all at once."""
    data = b"".join(encode(each) + b"\n" for each in (header, *entries))
    replace(path, data, modified_ns=modified_ns)


def said(path: Path, whole: Whole, *, kept: bool) -> list[str]:
    """What is damaged in a file, for people."""
    where = f"; it is kept in {aside_of(path).name}" if kept else ""
    told = [f"line {number} of {path} is damaged ({why}){where}" for number, why in whole.damaged]
    if whole.missing:
        told.append(f"messages are missing in {path}: {whole.missing}")
    return told

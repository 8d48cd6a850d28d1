"""Files that several processes read and write by turns, and replace as a whole."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from urllib.parse import quote, unquote

from aof_nb.errors import MemoryStoreError

PATIENCE = 30.0
"""Seconds that another process may keep a lock."""

_LONGEST_NAME = 150
_FIRST_BLOCK = 1 << 14
_LARGEST_BLOCK = 1 << 23


def file_name(name: str) -> str:
    """A name for a file: readable where it can be, and never the same for two.

    One that a file system may not tell from another (upper case), take for hidden, or find too
    long, ends in ``~`` and its hash.

    Args:
        name: Any text.

    Example:
        >>> file_name("inc/42"), file_name("INC-42")
        ('inc%2F42', 'INC-42~a3d68ee5c3b0')
    """
    quoted = quote(name, safe=" @+=,")
    plain = name == name.lower() and "~" not in name and not name.startswith(".")
    if plain and 0 < len(quoted) <= _LONGEST_NAME:
        return quoted
    digest = hashlib.sha256(name.encode()).hexdigest()[:12]
    return f"{quoted[:_LONGEST_NAME].lstrip('.')}~{digest}"


def name_of(file: str) -> str | None:
    """What `file_name` was given; None where the name does not tell."""
    return None if "~" in file else unquote(file)


def make_private(directory: Path) -> None:
    """Makes a directory, and the one it is in, for their owner only, where they are missing."""
    directory.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    directory.mkdir(mode=0o700, exist_ok=True)


@contextlib.contextmanager
def opened(path: Path, *, write: bool = False, create: bool = False) -> Iterator[int | None]:
    """Opens a file and holds its lock, shared by readers.

    Args:
        path: Where it is.
        write: Whether it is to be written; then nobody else has it open in here.
        create: Whether it is made if it is missing, empty and readable by its owner only.

    Yields:
        Its descriptor; None if it is missing.

    Raises:
        MemoryStoreError: If another process has kept the lock for too long.
    """
    flags = os.O_CLOEXEC | (os.O_RDWR if write else os.O_RDONLY) | (os.O_CREAT if create else 0)
    file = _locked(path, flags, shared=not write)
    try:
        yield file
    finally:
        if file is not None:
            os.close(file)


def _locked(path: Path, flags: int, *, shared: bool) -> int | None:
    while True:
        try:
            file = os.open(path, flags, 0o600)
        except FileNotFoundError:
            if flags & os.O_CREAT:
                raise
            return None
        try:
            lock(file, path, shared=shared)
            # While it was waited for, the file may have been replaced or deleted.
            if _is_at(file, path):
                return file
        except BaseException:
            os.close(file)
            raise
        os.close(file)


def lock(file: int, path: Path, *, shared: bool = False) -> None:
    """Locks an open file until it is closed.

    Args:
        file: Its descriptor.
        path: Its path, for errors.
        shared: Whether others may hold the lock too, sharing it.

    Raises:
        MemoryStoreError: If another process has kept it for too long.
    """
    until, pause = time.monotonic() + PATIENCE, 0.0001
    kind = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
    while True:
        try:
            fcntl.flock(file, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > until:
                raise MemoryStoreError(
                    f"another process has kept {path} locked for {PATIENCE:.0f} s",
                    remedy=f"see which one has it open (fuser {path}), and whether it is stopped",
                ) from None
            time.sleep(pause)
            pause = min(pause * 1.5, 0.005)
        else:
            return


def unlock(file: int) -> None:
    """Gives the lock of an open file back."""
    fcntl.flock(file, fcntl.LOCK_UN)


def _is_at(file: int, path: Path) -> bool:
    try:
        there = path.stat()
    except FileNotFoundError:
        return False
    return os.path.samestat(os.fstat(file), there)


def write_all(file: int, data: bytes) -> None:
    """Writes at the end of an open file; what was there stays as it was if that fails."""
    end, written = os.fstat(file).st_size, 0
    try:
        while written < len(data):
            written += os.pwrite(file, data[written:] if written else data, end + written)
    except BaseException:
        os.ftruncate(file, end)
        raise


def replace(path: Path, data: bytes, *, modified_ns: int | None = None) -> None:
    """Puts other content in a file's place, all at once; whoever has it open keeps the old.

    Args:
        path: Where it is.
        data: What is in it from now on.
        modified_ns: When it is to have been modified, in nanoseconds; now if None.
    """
    new = new_of(path)
    file = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        try:
            write_all(file, data)
            if modified_ns is not None:
                os.utime(file, ns=(modified_ns, modified_ns))
            os.fsync(file)
        finally:
            os.close(file)
        new.replace(path)
    except BaseException:
        new.unlink(missing_ok=True)
        raise


def new_of(path: Path) -> Path:
    """Where `replace` writes what it then puts in a file's place."""
    return path.with_name(f"{path.name}.new")


def aside_of(path: Path) -> Path:
    """Where the damaged lines of a file are kept."""
    return path.with_suffix(".damaged")


def set_aside(path: Path, lines: Sequence[bytes]) -> None:
    """Keeps damaged lines of a file in a file of their own.

    Args:
        path: Whose lines they are.
        lines: The lines, without their ends.
    """
    if not lines:
        return
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
    file = os.open(aside_of(path), flags, 0o600)
    try:
        write_all(file, b"".join(line + b"\n" for line in lines))
        os.fsync(file)
    finally:
        os.close(file)


def remove(path: Path) -> None:
    """Deletes a file, with all that may be beside it because of it."""
    for each in (path, aside_of(path), new_of(path)):
        each.unlink(missing_ok=True)


def read_all(file: int, start: int = 0) -> bytes:
    """What is in an open file, from a byte on."""
    data = []
    while piece := os.pread(file, _LARGEST_BLOCK, start):
        data.append(piece)
        start += len(piece)
    return b"".join(data)


def first_line(file: int, start: int = 0) -> bytes:
    """The line of an open file that begins at a byte, with its end if it has one."""
    data, size = b"", _FIRST_BLOCK
    while piece := os.pread(file, size, start + len(data)):
        data += piece
        if b"\n" in piece:
            break
        size = min(size * 2, _LARGEST_BLOCK)
    return data[: data.find(b"\n") + 1] or data


def last_lines(file: int, start: int, end: int) -> Iterator[bytes]:
    """The lines of an open file from its end on, without their ends, read as far as is asked for.

    Args:
        file: Its descriptor.
        start: The byte at which its first line begins.
        end: The byte after the end of the last one.
    """
    rest, size = b"", _FIRST_BLOCK
    place = end - 1
    while place > start:
        size, begun = min(size * 2, _LARGEST_BLOCK), place
        place = max(start, place - size)
        lines = (os.pread(file, begun - place, place) + rest).split(b"\n")
        rest = lines[0]
        yield from reversed(lines[1:])
    if end > start:
        yield rest

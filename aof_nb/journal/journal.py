"""A run's journal as it is written: appended and flushed before the next step depends on it."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import stat
import threading
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from aof_nb.cancellation import uncancelled
from aof_nb.errors import JournalError
from aof_nb.journal.entries import encode_line
from aof_nb.paths import make_private

FILE_NAME = "journal.jsonl"


class Journal:
    """The journal of one run, held by one process at a time.

    What `write` has returned from survives the process; what `sync` has, the machine. A write that
    fails is the last one: no step after it is taken, and what is torn of its line is left out by
    readers.

    Args:
        directory: The run's directory; made if it is missing, for its owner only.
        elapsed: Seconds since the run began, for the lines' times; None to count from now.

    Raises:
        JournalError: If it cannot be written, or another process has it open.

    Example:
        >>> import tempfile
        >>> from aof_nb.journal.entries import ToolWithdrawn
        >>> with contextlib.closing(Journal(Path(tempfile.mkdtemp()) / "run")) as journal:
        ...     journal.write(ToolWithdrawn("a"))
    """

    def __init__(self, directory: Path, *, elapsed: Callable[[], float] | None = None) -> None:
        self.directory = directory
        self.path = directory / FILE_NAME
        began = time.monotonic()
        self.elapsed = elapsed or (lambda: time.monotonic() - began)
        self.before_write: Callable[[], None] = _nothing
        self._lock = threading.Lock()
        self._failure: OSError | None = None
        try:
            self._file = _opened(self.path)
        except OSError as error:
            raise _unwritable(self.path, error) from error
        try:
            self._hold()
            self.is_new = not cut_torn_line(self._file)
        except BaseException:
            os.close(self._file)
            raise
        self._unsynced_directory = self.is_new

    def _hold(self) -> None:
        try:
            self._lock_file()
        except BlockingIOError as error:
            raise JournalError(
                f"the run {self.directory.name} goes on in another process",
                remedy="wait for its end, or end that process",
            ) from error
        except OSError as error:
            raise _unwritable(self.path, error) from error

    def _lock_file(self) -> None:
        # Who only looks whether it is held holds it himself for an instant.
        for _ in range(5):
            try:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                time.sleep(0.01)
            else:
                return
        fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def write(self, *entries: msgspec.Struct) -> None:
        """Appends entries, in one write; callable from any thread.

        Raises:
            JournalError: If they cannot be written, or an earlier write failed.
        """
        with self._lock:
            # Times of several threads are in the order of their lines.
            at = self.elapsed()
            data = b"".join([encode_line(at, entry) for entry in entries])
            if self._failure is None:
                # A write into the page cache of a local file does not wait for the disk.
                try:
                    self.before_write()
                    written = os.write(self._file, data)
                    while written < len(data):
                        written += os.write(self._file, data[written:])
                except OSError as error:
                    self._failure = error
            if self._failure is not None:
                raise _unwritable(self.path, self._failure) from self._failure

    async def sync(self) -> None:
        """Waits until all that was written is on the disk.

        Raises:
            JournalError: If the disk refuses.
        """
        try:
            # The lock is the file's as long as the disk is waited for.
            await uncancelled(asyncio.to_thread(self._sync))
        except OSError as error:
            self._failure = error
            raise _unwritable(self.path, error) from error

    def _sync(self) -> None:
        os.fdatasync(self._file)
        if self._unsynced_directory:
            for directory in (self.directory, self.directory.parent):
                _sync_directory(directory)
            self._unsynced_directory = False

    def close(self) -> None:
        """Lets go of it; it may be opened again, to go on with the run."""
        with self._lock:
            if self._file >= 0:
                # A thread that waits for the disk, or a child process, may have it open still.
                with contextlib.suppress(OSError):
                    fcntl.flock(self._file, fcntl.LOCK_UN)
                os.close(self._file)
            self._file = -1
            self._failure = self._failure or OSError("it is closed")


def _nothing() -> None:
    """What is done before a write where nothing is."""


def is_held(path: Path) -> bool:
    """Whether a process has a journal open: its run is going on.

    Example:
        >>> is_held(Path("/nonexistent/journal.jsonl"))
        False
    """
    try:
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    finally:
        os.close(file)
    return False


def _opened(path: Path) -> int:
    new = make_private(path.parent)
    flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
    file = os.open(path, flags, 0o600)
    if not new:
        _keep_private(file, path.parent)
    return file


def _keep_private(file: int, directory: Path) -> None:
    """Takes from others what they may do with a directory or a journal that was there before."""
    with contextlib.suppress(OSError):
        if stat.S_IMODE(directory.stat().st_mode) & 0o077:
            directory.chmod(0o700)
        if stat.S_IMODE(os.fstat(file).st_mode) & 0o077:
            os.fchmod(file, 0o600)


def cut_torn_line(file: int) -> int:
    """Removes what a crash left of a line, so that the next one does not go on with it.

    Returns:
        The bytes that are left.
    """
    end = size = os.fstat(file).st_size
    while end > 0:
        start = max(0, end - 65536)
        place = os.pread(file, end - start, start).rfind(b"\n")
        if place >= 0:
            end = start + place + 1
            break
        end = start
    if end < size:
        os.ftruncate(file, end)
    return end


def _sync_directory(directory: Path) -> None:
    with contextlib.suppress(OSError):
        descriptor = os.open(directory, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _unwritable(path: Path, error: OSError) -> JournalError:
    return JournalError(
        f"the journal {path} cannot be written: {error.strerror or error}",
        remedy="make room or mend its permissions, then go on with: "
        f"aofctl resume {path.parent.name}",
    )

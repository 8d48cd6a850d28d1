"""Running a child process that ends when its call does, with everything it started."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Mapping, Sequence
from typing import IO

import msgspec

_GRACE_SECONDS = 0.1
_GRACE_SECONDS_OF_TIMED_OUT = 2.0
_LAST_OUTPUT_SECONDS = 0.5
_KEPT_BYTES = 1_000_000


class Finished(msgspec.Struct, frozen=True):
    """A process that has ended.

    Args:
        output: What it wrote to standard output and error, in the order it came.
        exit_code: Its exit code; negative for a signal.
        timed_out: Whether it was stopped because its time was over.
    """

    output: str
    exit_code: int
    timed_out: bool = False


async def run_process(
    argv: Sequence[str],
    *,
    seconds: float,
    cwd: str | None = None,
    env: Mapping[str, str] | None = None,
) -> Finished:
    """Runs a program to its end, or to its time's end.

    The program gets a process group of its own. When the program has ended, its time is over
    or the call is cancelled, what is left of the group is asked to end, and killed if it does
    not.

    Args:
        argv: The program and its arguments.
        seconds: How long it may take.
        cwd: Its working directory.
        env: Its environment; this process's own if None.

    Raises:
        OSError: If it cannot be started.
    """
    read_end, write_end = os.pipe()
    output = os.fdopen(read_end, "rb", buffering=0)
    try:
        process = await asyncio.create_subprocess_exec(
            *argv,
            cwd=cwd,
            env=env,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=write_end,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,
        )
    except BaseException:
        output.close()
        raise
    finally:
        os.close(write_end)
    kept = _HeadAndTail(_KEPT_BYTES)
    timed_out = False
    grace = _GRACE_SECONDS
    reading = asyncio.create_task(_read_all(output, kept))
    try:
        async with asyncio.timeout(seconds):
            await process.wait()
    except TimeoutError:
        timed_out = True
        grace = _GRACE_SECONDS_OF_TIMED_OUT
    finally:
        try:
            await _end_group(process, grace)
            # With the group gone, only what has left the group can still hold the pipe open.
            await asyncio.wait([reading], timeout=_LAST_OUTPUT_SECONDS)
        finally:
            reading.cancel()
    exit_code = process.returncode if process.returncode is not None else -signal.SIGKILL
    return Finished(kept.text(), exit_code, timed_out)


async def _read_all(pipe: IO[bytes], kept: _HeadAndTail) -> None:
    reader = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    with contextlib.closing(pipe):
        transport, _ = await loop.connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), pipe
        )
        try:
            while data := await reader.read(65536):
                kept.add(data)
        finally:
            transport.close()


async def _end_group(process: asyncio.subprocess.Process, grace: float) -> None:
    """Ends what is left of the group, also when this is cancelled meanwhile."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGTERM)
    cancelled: asyncio.CancelledError | None = None
    deadline = asyncio.get_running_loop().time() + grace
    while _group_lives(process.pid) and asyncio.get_running_loop().time() < deadline:
        try:
            await asyncio.sleep(0.02)
        except asyncio.CancelledError as error:
            cancelled = error
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    while process.returncode is None:
        try:
            await process.wait()
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        raise cancelled


def _group_lives(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except (ProcessLookupError, PermissionError):
        return False
    return True


class _HeadAndTail:
    """The first and the last bytes of a stream of any length."""

    def __init__(self, limit: int) -> None:
        self._half = limit // 2
        self._head = bytearray()
        self._tail = bytearray()
        self._dropped = 0

    def add(self, data: bytes) -> None:
        room = self._half - len(self._head)
        self._head += data[:room]
        self._tail += data[room:]
        excess = len(self._tail) - self._half
        if excess > self._half:
            del self._tail[:excess]
            self._dropped += excess

    def text(self) -> str:
        head, tail = self._head.decode(errors="replace"), self._tail.decode(errors="replace")
        if self._dropped:
            return f"{head}\n[... {self._dropped:,} bytes not kept ...]\n{tail}"
        return (self._head + self._tail).decode(errors="replace")

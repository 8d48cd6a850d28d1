"""Running a child process that ends when its call does, with everything it started."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Mapping, Sequence

import msgspec

_GRACE_SECONDS = 2.0
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

    The program gets a process group of its own. When the call is cancelled or its time is
    over, the whole group is asked to end, and killed if it does not.

    Args:
        argv: The program and its arguments.
        seconds: How long it may take.
        cwd: Its working directory.
        env: Its environment; this process's own if None.

    Raises:
        OSError: If it cannot be started.
    """
    process = await asyncio.create_subprocess_exec(
        *argv,
        cwd=cwd,
        env=env,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        start_new_session=True,
    )
    kept = _HeadAndTail(_KEPT_BYTES)
    timed_out = False
    try:
        async with asyncio.timeout(seconds):
            await _read_all(process, kept)
            await process.wait()
    except TimeoutError:
        timed_out = True
    finally:
        await _end_group(process)
    exit_code = process.returncode if process.returncode is not None else -signal.SIGKILL
    return Finished(kept.text(), exit_code, timed_out)


async def _read_all(process: asyncio.subprocess.Process, kept: _HeadAndTail) -> None:
    if process.stdout is None:
        return
    while data := await process.stdout.read(65536):
        kept.add(data)


async def _end_group(process: asyncio.subprocess.Process) -> None:
    """Ends what is left of the group, also when this is cancelled meanwhile."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGTERM)
    cancelled: asyncio.CancelledError | None = None
    deadline = asyncio.get_running_loop().time() + _GRACE_SECONDS
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

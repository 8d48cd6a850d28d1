"""An approver across processes: a kernel asks, the terminal that started it answers.

`serve` puts an approver behind a Unix socket that only this user can open; `connect` is the
same approver seen from another process. Each question has a connection of its own: one line of
JSON (an `ApprovalRequest`) goes in, one line (an `Answer`) comes out, and closing the
connection withdraws the question. Where nobody can be asked, or the question gets lost on the way,
there is no answer, and the run that asked waits for one.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import tempfile
from collections.abc import AsyncGenerator
from pathlib import Path

import msgspec

from aof_nb.errors import ApprovalPending
from aof_nb.policy import Answer, ApprovalRequest, Approver

VARIABLE = "AOF_APPROVER"
"""The environment variable that names the channel to the processes started."""

_LONGEST_ADDRESS = 100
_LONGEST_LINE = 2**26


class _Reply(msgspec.Struct, frozen=True, omit_defaults=True):
    """What comes back: an answer, or why there is none."""

    answer: Answer | None = None
    error: str = ""


@contextlib.asynccontextmanager
async def serve(approver: Approver) -> AsyncGenerator[str, None]:
    """Answers questions from other processes of this user.

    Args:
        approver: Who is asked; several questions may be asked of it at the same time.

    Yields:
        The address, for `connect` or the environment variable ``AOF_APPROVER``.

    Example:
        >>> async def started(approver, command):
        ...     async with serve(approver) as address:
        ...         environment = {**os.environ, "AOF_APPROVER": address}
        ...         process = await asyncio.create_subprocess_exec(*command, env=environment)
        ...         await process.wait()
    """
    import anyio
    from anyio.streams.buffered import BufferedByteReceiveStream

    async def attend(stream: anyio.abc.SocketStream) -> None:
        async with stream:
            with contextlib.suppress(anyio.BrokenResourceError, anyio.ClosedResourceError):
                received = BufferedByteReceiveStream(stream)
                try:
                    line = await received.receive_until(b"\n", _LONGEST_LINE)
                except (anyio.IncompleteRead, anyio.DelimiterNotFound):
                    return
                async with anyio.create_task_group() as tasks:

                    async def withdraw() -> None:
                        with contextlib.suppress(anyio.EndOfStream, anyio.BrokenResourceError):
                            while True:
                                await stream.receive()
                        tasks.cancel_scope.cancel()

                    tasks.start_soon(withdraw)
                    reply = await _ask(approver, line)
                    # Inside the group: it would wrap the error, which ends the whole service.
                    with contextlib.suppress(anyio.BrokenResourceError):
                        await stream.send(msgspec.json.encode(reply) + b"\n")
                    tasks.cancel_scope.cancel()

    directory = _private_directory()
    try:
        path = directory / "ask"
        async with (
            await anyio.create_unix_listener(path, mode=0o600) as listener,
            anyio.create_task_group() as serving,
        ):
            serving.start_soon(listener.serve, attend, serving)
            try:
                yield str(path)
            finally:
                serving.cancel_scope.cancel()
    finally:
        shutil.rmtree(directory, ignore_errors=True)


async def _ask(approver: Approver, line: bytes) -> _Reply:
    try:
        request = msgspec.json.decode(line, type=ApprovalRequest)
    except msgspec.MsgspecError as error:
        return _Reply(error=f"the question could not be read: {error}")
    try:
        return _Reply(answer=await approver.ask(request))
    except ApprovalPending as pending:
        return _Reply(error=pending.message)
    except Exception as error:  # noqa: BLE001  whatever fails, the asker must hear of it
        return _Reply(error=f"{type(error).__name__}: {error}")


def _private_directory() -> Path:
    """A new directory of this user, short enough for a socket's address."""
    for parent in (tempfile.gettempdir(), "/tmp", "/var/tmp"):  # noqa: S108  mkdtemp is private
        if len(os.fsencode(parent)) < _LONGEST_ADDRESS - len("/aof-12345678/ask"):
            with contextlib.suppress(OSError):
                return Path(tempfile.mkdtemp(prefix="aof-", dir=parent))
    raise OSError(f"no temporary directory is usable for a socket: {tempfile.gettempdir()}")


def connect(address: str) -> Approver:
    """The approver that is served at an address."""
    return _Remote(address)


def approver_from_environment() -> Approver | None:
    """The approver of the process that started this one, by ``AOF_APPROVER``; None without."""
    address = os.environ.get(VARIABLE)
    return connect(address) if address else None


class _Remote:
    def __init__(self, address: str) -> None:
        self._address = address

    async def ask(self, request: ApprovalRequest) -> Answer:
        """Asks at the other end; cancelling closes the connection, which withdraws it.

        Raises:
            ApprovalPending: If nobody there has answered.
        """
        try:
            reply = await self._exchange(request)
        except (OSError, ValueError, msgspec.MsgspecError) as error:
            reply = _Reply(error=f"{type(error).__name__}: {error}")
        if reply is None:
            reply = _Reply(error="the process that asks has ended")
        if reply.answer is None:
            raise ApprovalPending(
                f"nobody has answered: {reply.error}",
                remedy="answer with aofctl approve, then go on with aofctl resume",
            )
        return reply.answer

    async def _exchange(self, request: ApprovalRequest) -> _Reply | None:
        reader, writer = await asyncio.open_unix_connection(self._address, limit=_LONGEST_LINE)
        try:
            writer.write(msgspec.json.encode(request) + b"\n")
            await writer.drain()
            line = await reader.readline()
            return msgspec.json.decode(line, type=_Reply) if line.endswith(b"\n") else None
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

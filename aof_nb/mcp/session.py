"""One live session with a server, owned by one task.

The owner enters the client, serves requests from a queue and leaves the client, so that no
cancel scope of the SDK crosses tasks. Each request runs as a task of the owner's: a caller that
is cancelled ends its own request and nothing else.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO, TypeAlias

from aof_nb.errors import McpError
from aof_nb.mcp.spec import McpServer
from aof_nb.mcp.transports import connected

if TYPE_CHECKING:
    from mcp import Client
    from mcp_types import LoggingMessageNotificationParams

_LOG_BYTES = 1_000_000
_START = "[aof] connecting"
_WORDS = 300

Work: TypeAlias = Callable[["Client"], Awaitable[Any]]


class Dropped(Exception):
    """The session ended before a request was answered.

    Args:
        sent: Whether the server may have received it.
    """

    def __init__(self, *, sent: bool) -> None:
        super().__init__("the session ended")
        self.sent = sent


@dataclass(eq=False)
class _Request:
    work: Work
    answer: asyncio.Future[Any]
    task: asyncio.Task[None] | None = None
    sent: bool = False


@dataclass(eq=False)
class Session:
    """A session; `ready` is done when it can be used, or cannot be opened.

    Args:
        spec: The server.
        log: The file that takes its standard error and its log messages.
        elicit: Answers what the server asks the user; None declines.
    """

    spec: McpServer
    log: Path
    elicit: Any = None
    _file: TextIO | None = None
    _lost: bool = False
    _queue: asyncio.Queue[_Request | None] = field(default_factory=asyncio.Queue)
    _active: set[_Request] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._owner = asyncio.create_task(self._own(), name=f"mcp:{self.spec.name}")

    @property
    def ended(self) -> bool:
        """Whether it is of no more use."""
        return self._lost or self._owner.done()

    async def ask(self, work: Work) -> Any:
        """Has the owner do something with the client.

        Raises:
            McpError: If the session cannot be opened.
            Dropped: If it ends meanwhile.
        """
        await asyncio.shield(self.ready)
        if self.ended:
            raise Dropped(sent=False)
        request = _Request(work, asyncio.get_running_loop().create_future())
        self._queue.put_nowait(request)
        try:
            return await request.answer
        finally:
            if request.task is not None and not request.task.done():
                request.task.cancel()

    async def close(self) -> None:
        """Ends it when its requests are answered."""
        self._queue.put_nowait(None)
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.shield(self._owner)

    def abandon(self) -> None:
        """Ends it now, without waiting."""
        self._lost = True
        self._owner.cancel()

    async def _own(self) -> None:
        problem: BaseException | None = None
        try:
            async with contextlib.AsyncExitStack() as stack:
                self._file = stack.enter_context(_opened(self.log))
                async with asyncio.timeout(self.spec.timeout):
                    client = await stack.enter_async_context(self._client(self._file))
                self.ready.set_result(None)
                await self._serve(client)
        except asyncio.CancelledError:
            if not self.ready.done():
                self.ready.cancel()
            raise
        except BaseException as error:  # noqa: BLE001  whatever ends a session ends only it
            problem = error
        finally:
            self._settle(problem)

    def _client(self, log: TextIO) -> Any:
        from mcp import Client

        return Client(
            connected(self.spec, log, self._sent),
            logging_callback=self._logged,
            elicitation_callback=self.elicit,
        )

    async def _serve(self, client: Client) -> None:
        async with asyncio.TaskGroup() as tasks:
            while (request := await self._queue.get()) is not None:
                if not request.answer.done():
                    self._active.add(request)
                    request.task = tasks.create_task(self._answer(client, request))

    async def _answer(self, client: Client, request: _Request) -> None:
        from mcp import MCPError
        from mcp_types import CONNECTION_CLOSED

        try:
            outcome = await request.work(client)
        except MCPError as error:
            if not request.answer.done():
                closed = error.code == CONNECTION_CLOSED
                lost = "session" in error.message.lower() and self.spec.transport == "http"
                if closed or lost:
                    request.answer.set_exception(Dropped(sent=request.sent and not lost))
                    self.abandon()
                else:
                    request.answer.set_exception(error)
        except Exception as error:  # noqa: BLE001  it is the caller's, not the owner's
            if not request.answer.done():
                request.answer.set_exception(error)
        else:
            if not request.answer.done():
                request.answer.set_result(outcome)
        finally:
            if request.answer.done():
                self._active.discard(request)

    def _sent(self, task: asyncio.Task[Any] | None, reached: bool) -> None:
        if not reached:
            # With several calls on their way it cannot be told which of them it was.
            if len(self._active) == 1:
                next(iter(self._active)).sent = False
            return
        for request in self._active:
            if request.task is task:
                request.sent = True

    def _settle(self, problem: BaseException | None) -> None:
        if not self.ready.done():
            self.ready.set_exception(self._unreachable(problem))
            self.ready.exception()
        while not self._queue.empty():
            left = self._queue.get_nowait()
            if left is not None:
                self._active.add(left)
        for request in self._active:
            if not request.answer.done():
                request.answer.set_exception(Dropped(sent=request.sent))

    def _unreachable(self, problem: BaseException | None) -> McpError:
        if isinstance(problem, TimeoutError):
            said = f"it did not answer within {self.spec.timeout:g} s"
        else:
            said = _last_words(self.log) or _root(problem)
        place = self.spec.url or " ".join([self.spec.command or "", *self.spec.args])
        return McpError(
            f"MCP server {self.spec.name!r} ({place}) cannot be used: {said}",
            remedy=f"its log is {self.log}",
        )

    async def _logged(self, params: LoggingMessageNotificationParams) -> None:
        if self._file is not None and not self._file.closed:
            self._file.write(f"[{params.level}] {params.data}\n")
            self._file.flush()


def _opened(log: Path) -> TextIO:
    log.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if log.exists() and log.stat().st_size > _LOG_BYTES:
        log.replace(log.with_name(f"{log.name}.1"))
    file = log.open("a", encoding="utf-8")
    file.write(f"{_START} {time.strftime('%Y-%m-%d %H:%M:%S')}\n")
    file.flush()
    return file


def _last_words(log: Path) -> str:
    """What a server said last before it ended, which says more than that it did."""
    with contextlib.suppress(OSError):
        text = log.read_text(encoding="utf-8", errors="replace")
        said = text.rpartition(_START)[2].splitlines()[1:]
        lines = [line for line in said if line.strip() and "the server ended" not in line]
        return lines[-1].removeprefix("[aof] ").strip()[:_WORDS] if lines else ""
    return ""


def _root(problem: BaseException | None) -> str:
    while isinstance(problem, BaseExceptionGroup):
        problem = problem.exceptions[0]
    if problem is None:
        return "it ended"
    said = getattr(problem, "message", "") or str(problem)
    return f"{type(problem).__name__}: {said}" if said else type(problem).__name__

"""One live session with a server, owned by one task.

The owner enters the client, serves requests from a queue and leaves the client, so that no
cancel scope of the SDK crosses tasks. Each request runs as a task of the owner's: a caller that
is cancelled ends its own request and nothing else.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import time
from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO, TypeVar

from aof_nb._version import __version__
from aof_nb.errors import McpError
from aof_nb.mcp.elicitation import Elicit, Question, as_callback
from aof_nb.mcp.log import current_log, divert_sdk_log, last_words, open_log
from aof_nb.mcp.request import Dropped, Request, Work, current
from aof_nb.mcp.spec import McpServer
from aof_nb.mcp.transports import HTTP_SERVER_ERROR, connected

if TYPE_CHECKING:
    from mcp import Client
    from mcp.client import IncomingMessage
    from mcp_types import LoggingMessageNotificationParams
    from mcp_types import Tool as McpToolDefinition

_ENDED = "the session ended"
T = TypeVar("T")

_MOST_PAGES = 100
_CUT_OFF = "SSE stream "


@dataclass(eq=False)
class Session:
    """A session; `ready` is done when it can be used, or cannot be opened.

    `changed` says that its tools may not be those that were listed last.

    Args:
        spec: The server.
        log: The file that takes its standard error and its log messages.
        elicit: Answers what the server asks the user; None tells it that nobody does.
    """

    spec: McpServer
    log: Path
    elicit: Elicit | None = None
    latency: float | None = None
    changed: bool = True
    _stale: bool = True
    _tools: Sequence[McpToolDefinition] = ()
    _file: TextIO | None = None
    _status: int | None = None
    _lost: bool = False
    _queue: asyncio.Queue[Request | None] = field(default_factory=asyncio.Queue)
    _active: dict[Request, None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        # A context of its own: it outlives the cell, and the trace, that it was started in.
        self._owner = asyncio.create_task(
            self._own(), name=f"mcp:{self.spec.name}", context=contextvars.Context()
        )

    @property
    def lost(self) -> bool:
        """Whether it is of no more use."""
        return self._lost or self._owner.done()

    @property
    def gone(self) -> bool:
        """Whether nothing of it is left."""
        return self._owner.done()

    async def ask(self, work: Work) -> Any:
        """Has the owner do something with the client.

        Args:
            work: What to do.

        Raises:
            McpError: If the session cannot be opened.
            Dropped: If it ends meanwhile.
            TimeoutError: If there is no sign of life for the spec's timeout.
        """
        await asyncio.shield(self.ready)
        if self.lost:
            raise Dropped(_ENDED, sent=False)
        request = Request(work, timeout=self.spec.timeout)
        self._queue.put_nowait(request)
        try:
            return await request.answer
        finally:
            if request.task is not None and not request.task.done():
                request.task.cancel()

    async def list_tools(self) -> Sequence[McpToolDefinition]:
        """The tools, kept until the server says that they have changed. Raises as `ask`."""
        if self._stale:
            self._tools = await self.ask(self._list_tools)
        return self._tools

    def retire(self) -> None:
        """Has it end when its requests are answered."""
        self._queue.put_nowait(None)

    async def close(self) -> None:
        """Ends it now; requests that are under way are dropped."""
        if self.ready.done():
            self.ended()
        else:
            self._owner.cancel()
        await asyncio.wait([self._owner])

    def ended(self) -> None:
        """Ends it without waiting."""
        # The owner is not cancelled: that would interrupt the SDK where it stops a process.
        self._lost = True
        self._queue.put_nowait(None)

    def refused(self, status: int) -> None:
        """Notes an HTTP status that may say why it cannot be opened."""
        self._status = status

    async def _own(self) -> None:
        divert_sdk_log()
        cause = ""
        try:
            with open_log(self.log) as self._file:
                current_log.set(self._file)
                try:
                    await self._live(self._file)
                except BaseException as error:
                    cause = self._cause(error)
                    self._file.write(f"[aof] {cause}\n")
                    if isinstance(error, asyncio.CancelledError):
                        raise
        except OSError as error:
            cause = self._cause(error)
        finally:
            self._lost = True
            if not self.ready.done():
                self.ready.set_exception(self._unreachable(cause))
                self.ready.exception()
            self._drop_all()

    async def _live(self, log: TextIO) -> None:
        async with contextlib.AsyncExitStack() as stack:
            async with asyncio.timeout(self.spec.timeout):
                client = await stack.enter_async_context(self._client(log))
            self.ready.set_result(None)
            await self._serve(client)

    def _client(self, log: TextIO) -> Any:
        from mcp import Client
        from mcp_types import Implementation

        return Client(
            connected(self.spec, log, self),
            logging_callback=self._logged,
            log_level="info",
            message_handler=self._noticed,
            elicitation_callback=as_callback(self.spec.name, self._elicit()),
            client_info=Implementation(name="aof-nb", version=__version__),
        )

    def _elicit(self) -> Elicit | None:
        elicit = self.elicit
        if elicit is None:
            return None

        async def ask(question: Question) -> Mapping[str, Any] | None:
            # It cannot be told which of them the server asks for.
            waiting = list(self._active)
            for request in waiting:
                request.suspend()
            try:
                return await _within(waiting, elicit(question))
            finally:
                for request in waiting:
                    request.alive()

        return ask

    async def _serve(self, client: Client) -> None:
        try:
            async with asyncio.TaskGroup() as tasks:
                while (request := await self._queue.get()) is not None:
                    if request.answer.done():
                        continue
                    self._active[request] = None
                    if self._lost:
                        break
                    request.task = tasks.create_task(
                        self._answer(client, request), context=request.context
                    )
                if self._lost:
                    for request in self._active:
                        if request.task is not None:
                            request.task.cancel()
        finally:
            self._lost = True
            for request in self._active:
                # Those that were not sent learn it when the transport is gone, for only then
                # is it sure that they will not be sent.
                if request.sent:
                    request.fail(Dropped(_ENDED, sent=True))

    async def _list_tools(self, client: Client) -> list[McpToolDefinition]:
        from mcp_types.version import MODERN_PROTOCOL_VERSIONS

        # Protocol 2026-07-28 tells of changes only where they are subscribed to, but says how
        # long a list is good for, which the SDK heeds.
        told = client.protocol_version not in MODERN_PROTOCOL_VERSIONS
        begun = time.monotonic()
        tools: list[McpToolDefinition] = []
        cursor: str | None = None
        self._stale = self.changed = False
        try:
            for _ in range(_MOST_PAGES):
                page = await client.list_tools(
                    cursor=cursor, cache_mode="bypass" if told else "use"
                )
                self.latency = self.latency or time.monotonic() - begun
                tools += page.tools
                cursor = page.next_cursor
                if cursor is None:
                    break
        except BaseException:
            self._stale = self.changed = True
            raise
        self._stale = self._stale or not told
        return tools

    async def _answer(self, client: Client, request: Request) -> None:
        from mcp import MCPError

        current.set(request)
        current_log.set(self._file)
        try:
            outcome = await request.run(client)
        except MCPError as error:
            if self._lost:
                if request.sent:
                    request.fail(Dropped(_ENDED, sent=True))
            elif (request.status or 0) >= HTTP_SERVER_ERROR:
                request.fail(Dropped(f"HTTP {request.status}", sent=request.sent))
            elif self.spec.transport == "http" and error.message.startswith(_CUT_OFF):
                request.fail(Dropped(error.message, sent=request.sent))
            else:
                request.fail(error)
        except Exception as error:  # noqa: BLE001  it is the caller's, not the owner's
            request.fail(error)
        else:
            if not request.answer.done():
                request.answer.set_result(outcome)
        finally:
            if request.answer.done():
                self._active.pop(request, None)

    def _drop_all(self) -> None:
        while not self._queue.empty():
            left = self._queue.get_nowait()
            if left is not None:
                self._active[left] = None
        for request in self._active:
            request.fail(Dropped(_ENDED, sent=request.sent))

    def _unreachable(self, said: str) -> McpError:
        spec = self.spec
        if spec.transport == "stdio" and (words := last_words(self.log)):
            said = f"{said} ({words})"
        place = (spec.url or "").partition("?")[0] or " ".join([spec.command or "", *spec.args])
        return McpError(
            f"MCP server {spec.name!r} ({place}) cannot be used: {said}",
            remedy=f"its log is {self.log}",
        )

    def _cause(self, problem: BaseException) -> str:
        while isinstance(problem, BaseExceptionGroup):
            problem = problem.exceptions[0]
        if isinstance(problem, TimeoutError):
            return f"it did not answer within {self.spec.timeout:g} s"
        if isinstance(problem, asyncio.CancelledError):
            return "the connection was closed"
        if self._status is not None:
            return f"it answered with HTTP status {self._status}"
        if self.spec.transport == "stdio" and self._lost:
            return "it ended"
        return f"{type(problem).__name__}: {problem}".removesuffix(": ")

    async def _logged(self, params: LoggingMessageNotificationParams) -> None:
        if self._file is not None and not self._file.closed:
            self._file.write(f"[{params.level}] {params.data}\n")

    async def _noticed(self, message: IncomingMessage) -> None:
        from mcp_types import ToolListChangedNotification

        if isinstance(message, ToolListChangedNotification):
            self._stale = self.changed = True


async def _within(waiting: Sequence[Request], answer: Awaitable[T]) -> T:
    """Waits for something in the context of the youngest request."""

    async def wait() -> T:
        return await answer

    context = waiting[-1].context if waiting else None
    return await asyncio.create_task(wait(), context=context)

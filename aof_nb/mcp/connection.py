"""A connection to one server: opened when it is needed, opened again once when it dropped."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, TypeVar

import msgspec

from aof_nb.errors import McpError
from aof_nb.mcp.elicitation import Elicit
from aof_nb.mcp.log import log_path
from aof_nb.mcp.request import Dropped, Work
from aof_nb.mcp.session import Session
from aof_nb.mcp.spec import McpServer

if TYPE_CHECKING:
    from mcp_types import Tool as McpToolDefinition

State: TypeAlias = Literal["connecting", "open", "closed", "failed"]

T = TypeVar("T")


class ServerStatus(msgspec.Struct, frozen=True):
    """A server as it stands.

    Args:
        name: The server's name.
        transport: How it is spoken to.
        state: ``connecting``, ``open``, ``closed`` (it is opened at its next use) or ``failed``.
        tools: How many tools it offered last.
        latency: Seconds it took to list its tools; None if it has not.
        error: Why it failed.
        log: Where its standard error and its log messages go.
    """

    name: str
    transport: str
    state: State
    tools: int
    latency: float | None
    error: str
    log: str


class Connection:
    """A server that may be asked for things.

    Args:
        spec: The server.
        elicit: Finds what answers its questions to the user, each time a session is opened.
    """

    def __init__(self, spec: McpServer, elicit: Callable[[], Elicit | None]) -> None:
        self.spec = spec
        self.log: Path = log_path(spec.name)
        self._elicit = elicit
        self._session: Session | None = None
        self._closed = False
        self._latency: float | None = None
        self._tools: Sequence[McpToolDefinition] = ()

    async def list_tools(self) -> Sequence[McpToolDefinition]:
        """The tools it offers now, those that the spec leaves out included.

        They are asked for again on each new session, and when the server has said that they
        changed.

        Raises:
            McpError: If it cannot be started or reached.
            Dropped: If the session ended, and the next one too.
            TimeoutError: If it does not answer.
        """

        async def listed(session: Session) -> Sequence[McpToolDefinition]:
            tools = await session.list_tools()
            self._latency = session.latency
            return tools

        self._tools = await self._use(listed, repeatable=True)
        return self._tools

    async def ask(self, work: Work, *, repeatable: bool) -> Any:
        """Does something with the client; if the session had dropped before, with a new one's.

        Args:
            work: What to do.
            repeatable: Whether it may be done a second time if it may have been done.

        Raises:
            McpError: If the server cannot be started or reached.
            Dropped: If it may have been done, or the new session dropped too.
            TimeoutError: If the server shows no sign of life for the spec's timeout.
        """
        return await self._use(lambda session: session.ask(work), repeatable=repeatable)

    @property
    def changed(self) -> bool:
        """Whether its tools may not be those that were listed last."""
        return self._session is None or self._session.lost or self._session.changed

    @property
    def ended(self) -> bool:
        """Whether nothing of it is left."""
        return self._session is None or self._session.gone

    def retire(self) -> None:
        """Has it closed when what it is doing is done."""
        self._closed = True
        if self._session is not None:
            self._session.retire()

    async def close(self) -> None:
        """Closes it now."""
        self._closed = True
        if self._session is not None:
            await self._session.close()

    def status(self) -> ServerStatus:
        """How it stands."""
        session = self._session
        state: State = "closed"
        error = ""
        if session is not None and not session.ready.done():
            state = "connecting"
        elif session is not None:
            error = str(session.ready.exception() or "")
            state = "failed" if error else "closed" if session.lost else "open"
        return ServerStatus(
            name=self.spec.name,
            transport=str(self.spec.transport),
            state=state,
            tools=len(self._tools),
            latency=self._latency,
            error=error,
            log=str(self.log),
        )

    async def _use(self, use: Callable[[Session], Awaitable[T]], *, repeatable: bool) -> T:
        may_repeat, may_reopen = repeatable, True
        while True:
            try:
                return await use(self._current())
            except Dropped as dropped:
                if dropped.sent:
                    may, may_repeat = may_repeat, False
                else:
                    may, may_reopen = may_reopen, False
                if not may:
                    raise

    def _current(self) -> Session:
        if self._closed:
            raise McpError(
                f"the connection to MCP server {self.spec.name!r} has been closed",
                remedy="run the agent again: that opens a new one",
            )
        if self._session is None or self._session.lost:
            self._session = Session(self.spec, self.log, self._elicit())
        return self._session

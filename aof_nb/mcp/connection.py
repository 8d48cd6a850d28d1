"""A connection to one server: opened when it is needed, opened again once when it dropped."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import msgspec

from aof_nb.mcp.session import Dropped, Session, Work
from aof_nb.mcp.spec import McpServer
from aof_nb.paths import state_dir

if TYPE_CHECKING:
    from mcp import Client
    from mcp_types import Tool as McpToolDefinition

State: TypeAlias = Literal["closed", "open", "failed"]

_MOST_PAGES = 100


class ServerStatus(msgspec.Struct, frozen=True):
    """A server as it stands.

    Args:
        name: The server's name.
        transport: How it is spoken to.
        state: ``open``, ``closed`` or ``failed``.
        tools: How many tools it offered last.
        latency: Seconds its last answer took; None if it never answered.
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
        elicit: Answers what it asks the user; None declines.
    """

    def __init__(self, spec: McpServer, elicit: Any = None) -> None:
        self.spec = spec
        self._elicit = elicit
        self._session: Session | None = None
        self._offered = 0
        self._latency: float | None = None
        self._error = ""

    @property
    def log(self) -> Path:
        """Where the server's standard error goes."""
        return state_dir() / "mcp" / f"{self.spec.name}.log"

    async def list_tools(self) -> Sequence[McpToolDefinition]:
        """The tools it offers now, those that the spec leaves out included.

        Raises:
            McpError: If it cannot be started or reached.
        """
        begun = time.monotonic()
        tools: list[McpToolDefinition] = await self.ask(_all_tools, repeatable=True)
        self._latency = time.monotonic() - begun
        self._offered = len(tools)
        return tools

    async def ask(self, work: Work, *, repeatable: bool) -> Any:
        """Does something with the client; on a session that dropped before, on a new one.

        Args:
            work: What to do.
            repeatable: Whether it may be done a second time if it may have been done.

        Raises:
            McpError: If the server cannot be started or reached.
            Dropped: If it may have been done, or the new session dropped too.
        """
        try:
            return await self._current().ask(work)
        except Dropped as dropped:
            if dropped.sent and not repeatable:
                raise
        return await self._current().ask(work)

    async def close(self) -> None:
        """Ends the session when what it is doing is done."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    def status(self) -> ServerStatus:
        """How it stands."""
        session = self._session
        state: State = "closed"
        error = ""
        if session is not None and session.ready.done() and not session.ready.cancelled():
            failure = session.ready.exception()
            state = "failed" if failure else "closed" if session.ended else "open"
            error = str(failure or "")
        return ServerStatus(
            name=self.spec.name,
            transport=str(self.spec.transport),
            state=state,
            tools=self._offered,
            latency=self._latency,
            error=error,
            log=str(self.log),
        )

    def _current(self) -> Session:
        if self._session is None or self._session.ended:
            self._session = Session(self.spec, self.log, self._elicit)
        return self._session


async def _all_tools(client: Client) -> list[McpToolDefinition]:
    tools: list[McpToolDefinition] = []
    cursor: str | None = None
    for _ in range(_MOST_PAGES):
        page = await client.list_tools(cursor=cursor, cache_mode="refresh")
        tools += page.tools
        cursor = page.next_cursor
        if cursor is None:
            break
    return tools

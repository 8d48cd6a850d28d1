"""The pool: one live connection a server, kept across cells and runs."""

from __future__ import annotations

import asyncio
import fnmatch
import importlib
import weakref
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from aof_nb.errors import McpError
from aof_nb.mcp.connection import Connection, ServerStatus
from aof_nb.mcp.session import Dropped
from aof_nb.mcp.spec import McpServer
from aof_nb.mcp.tool import McpTool
from aof_nb.ports import Tool


@dataclass
class McpTools:
    """What servers offer.

    Args:
        tools: All their tools.
        warnings: One for each server that cannot be used.
    """

    tools: list[Tool] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


class McpPool:
    """Connections to MCP servers. Get the running loop's with `pool`.

    Args:
        elicit: Answers what a server asks the user; None declines.
    """

    def __init__(self, elicit: Any = None) -> None:
        self.elicit = elicit
        self._connections: dict[str, Connection] = {}
        self._closing: set[asyncio.Task[None]] = set()

    async def tools(self, servers: Sequence[McpServer]) -> McpTools:
        """The tools of servers, which are started together if they are not connected.

        A server that cannot be used costs its own tools, and a warning.

        Args:
            servers: Whose.
        """
        # Importing them takes more than a second: too long for a loop to stand still.
        for package in ("mcp", "jsonschema"):
            await asyncio.to_thread(importlib.import_module, package)
        connections = [self._connection(spec) for spec in servers]
        offers = await asyncio.gather(*(_offer(each) for each in connections))
        found = McpTools()
        for offer in offers:
            if isinstance(offer, str):
                found.warnings.append(offer)
            else:
                found.tools += offer
        return found

    def status(self) -> list[ServerStatus]:
        """How each server stands."""
        return [connection.status() for connection in self._connections.values()]

    async def close(self, name: str | None = None) -> None:
        """Closes the connection to one server, or all.

        Args:
            name: Which; None for all.
        """
        names = list(self._connections) if name is None else [name]
        closed = [self._connections.pop(each) for each in names if each in self._connections]
        await asyncio.gather(*(connection.close() for connection in closed))

    def _connection(self, spec: McpServer) -> Connection:
        known = self._connections.get(spec.name)
        if known is not None and known.spec == spec:
            return known
        if known is not None:
            # It ends when what it is doing is done; nobody waits for that.
            closing = asyncio.ensure_future(known.close())
            self._closing.add(closing)
            closing.add_done_callback(self._closing.discard)
        made = self._connections[spec.name] = Connection(spec, self.elicit)
        return made


async def _offer(connection: Connection) -> list[McpTool] | str:
    from mcp import MCPError

    spec = connection.spec
    try:
        definitions = await connection.list_tools()
    except McpError as error:
        return f"{error.message}; {error.remedy}"
    except (MCPError, Dropped) as error:
        return f"MCP server {spec.name!r} does not tell its tools: {error}; see {connection.log}"
    return [
        McpTool(connection, definition)
        for definition in definitions
        if not spec.tools or any(fnmatch.fnmatchcase(definition.name, p) for p in spec.tools)
    ]


_pools: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, McpPool] = weakref.WeakKeyDictionary()


def pool() -> McpPool:
    """The running event loop's pool."""
    loop = asyncio.get_running_loop()
    found = _pools.get(loop)
    if found is None:
        for ended in [each for each in _pools if each.is_closed()]:
            del _pools[ended]
        found = _pools[loop] = McpPool()
    return found

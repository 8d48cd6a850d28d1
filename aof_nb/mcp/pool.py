"""The pool: one live connection a server, kept across cells and runs."""

from __future__ import annotations

import asyncio
import fnmatch
import importlib
import weakref
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import msgspec

from aof_nb.errors import ConfigurationError, McpError
from aof_nb.mcp.connection import Connection, ServerStatus
from aof_nb.mcp.elicitation import Elicit
from aof_nb.mcp.quarantine import admit
from aof_nb.mcp.request import Dropped, Work
from aof_nb.mcp.spec import McpServer
from aof_nb.mcp.tool import McpTool
from aof_nb.ports import Tool

if TYPE_CHECKING:
    from mcp_types import Tool as McpToolDefinition

_MOST_WORDS = 300


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
        on_elicitation: Answers what servers ask the user. Without one, which is the default,
            servers are told that nobody can be asked. Holds for connections opened from then on.

    Example:
        >>> import asyncio
        >>> async def names() -> list[str]:
        ...     found = await pool().tools([McpServer(name="time", command="mcp-server-time")])
        ...     return [tool.spec.name for tool in found.tools]
        >>> asyncio.run(names())
        ['time__get_current_time', 'time__convert_time']
    """

    def __init__(self, on_elicitation: Elicit | None = None) -> None:
        self.on_elicitation = on_elicitation
        self._connections: dict[str, Connection] = {}
        self._retired: list[Connection] = []

    async def tools(self, servers: Sequence[McpServer], *, beside: Sequence[str] = ()) -> McpTools:
        """The tools of servers, which are started together if they are not connected.

        A server that cannot be used costs its own tools, and a warning. So does a tool whose
        definition has changed since it was first seen, until a person accepts that
        (`aof_nb.mcp.pins`).

        Args:
            servers: Whose.
            beside: The names of tools that an agent has besides.

        Raises:
            ConfigurationError: If two different servers have the same name.
        """
        await asyncio.to_thread(_import_sdk)
        offers = await asyncio.gather(
            *(_offer(self._connection(spec), spec) for spec in _distinct(servers))
        )
        found = McpTools()
        for offer in offers:
            own = offer.names
            # Two servers of one kind, such as one a cluster, have the same tools.
            others = [
                f"{each.server.name}__{name}"
                for each in offers
                for name in each.names
                if name not in own
            ]
            admitted = await asyncio.to_thread(
                admit, offer.server, offer.definitions, own, [*beside, *others]
            )
            found.tools += [McpTool(offer.connection, each) for each in admitted.tools]
            found.warnings += [*offer.warnings, *admitted.warnings]
        return found

    async def ask(self, server: McpServer, work: Work) -> Any:
        """Asks a server for what may be asked for twice; it is started if it is not connected.

        Args:
            server: Whom.
            work: What to do with the client.

        Raises:
            McpError: If it cannot be reached, does not answer, or answers with an error.
        """
        await asyncio.to_thread(_import_sdk)
        from mcp import MCPError

        connection = self._connection(server)
        remedy = f"its log is {connection.log}"
        try:
            return await connection.ask(work, repeatable=True)
        except MCPError as error:
            said = f"MCP server {server.name!r} says: {error.message}"
            raise McpError(said, remedy=remedy) from error
        except Dropped as dropped:
            said = f"MCP server {server.name!r} did not answer: {dropped}"
            raise McpError(said, remedy=remedy) from None
        except TimeoutError:
            said = f"MCP server {server.name!r} did not answer within {server.timeout:g} s"
            raise McpError(said, remedy=remedy) from None
        except (RuntimeError, ValueError) as error:
            said = " ".join(f"{error}".split())[:_MOST_WORDS]
            raise McpError(
                f"what MCP server {server.name!r} answers is wrong: {said}", remedy=remedy
            ) from error

    def status(self) -> list[ServerStatus]:
        """How each server stands."""
        return [connection.status() for connection in self._connections.values()]

    def status_of(self, server: McpServer) -> ServerStatus | None:
        """How a server stands; None if it was not connected, or another of its name was since.

        Args:
            server: Which.
        """
        known = self._connections.get(server.name)
        return known.status() if known is not None and _same(known.spec, server) else None

    async def close(self, name: str | None = None) -> None:
        """Closes the connection to one server, or all; calls that are under way are dropped.

        Args:
            name: Which; None for all.
        """
        names = list(self._connections) if name is None else [name]
        closed = [self._connections.pop(each) for each in names if each in self._connections]
        if name is None:
            closed += self._retired
        await asyncio.gather(*(connection.close() for connection in closed))

    def _connection(self, spec: McpServer) -> Connection:
        known = self._connections.get(spec.name)
        if known is not None and _same(known.spec, spec):
            return known
        if known is not None:
            known.retire()
            self._retired = [each for each in self._retired if not each.ended] + [known]
        made = self._connections[spec.name] = Connection(spec, lambda: self.on_elicitation)
        return made


def _same(one: McpServer, other: McpServer) -> bool:
    # Which of its tools an agent is offered is the agent's affair, not the connection's.
    return msgspec.structs.replace(one, tools=other.tools) == other


def _import_sdk() -> None:
    """Imports what takes seconds, which a loop must not stand still for."""
    for module in ("mcp", "mcp.client.sse", "jsonschema"):
        importlib.import_module(module)


def _distinct(servers: Sequence[McpServer]) -> list[McpServer]:
    distinct: dict[str, McpServer] = {}
    for spec in servers:
        if distinct.setdefault(spec.name, spec) != spec:
            raise ConfigurationError(
                f"two different MCP servers are called {spec.name!r}",
                remedy="give one of them another name",
            )
    return list(distinct.values())


@dataclass
class _Offer:
    server: McpServer
    connection: Connection
    definitions: Sequence[McpToolDefinition] = ()
    warnings: list[str] = field(default_factory=list)

    @property
    def names(self) -> list[str]:
        """Those that the agent may use."""
        patterns = self.server.tools
        return [
            each.name
            for each in self.definitions
            if not patterns or any(fnmatch.fnmatchcase(each.name, p) for p in patterns)
        ]


async def _offer(connection: Connection, spec: McpServer) -> _Offer:
    offer = _Offer(spec, connection)
    try:
        offer.definitions = await connection.list_tools()
    except McpError as error:
        offer.warnings.append(f"{error.message}; {error.remedy}")
    except Exception as error:  # noqa: BLE001  it must not cost the run
        # pydantic's messages have several lines, and the first says least.
        said = " ".join(f"{error}".split())[:_MOST_WORDS] or type(error).__name__
        offer.warnings.append(
            f"MCP server {spec.name!r} does not tell its tools: {said}; its log is {connection.log}"
        )
    return offer


_pools: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, McpPool] = weakref.WeakKeyDictionary()


def pool() -> McpPool:
    """The running event loop's pool.

    What runs a loop to its end, as `asyncio.run` does, cancels the loop's tasks: those that own
    the connections close them.
    """
    loop = asyncio.get_running_loop()
    found = _pools.get(loop)
    if found is None:
        for ended in [each for each in _pools if each.is_closed()]:
            del _pools[ended]
        found = _pools[loop] = McpPool()
    return found

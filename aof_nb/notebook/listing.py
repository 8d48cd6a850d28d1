"""What ``%aof agents``, ``%aof mcp`` and ``%aof tools`` say."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from aof_nb.agent import Agent
from aof_nb.markdown import revealed
from aof_nb.notebook import registry
from aof_nb.readable import counted, printable

if TYPE_CHECKING:
    from aof_nb.mcp.connection import ServerStatus
    from aof_nb.mcp.spec import McpServer
    from aof_nb.ports import Tool


def agents(variables: Mapping[str, Any]) -> str:
    """The agents that cells have defined or variables hold."""
    known = registry.all_agents(variables)
    if not known:
        return "No agents yet: define one with %%aof_agent NAME."
    return table(
        ("agent", "model", "tools", "MCP servers", "description"),
        (
            (
                name,
                agent.model_name,
                str(len(agent.tools)),
                ", ".join(server.name for server in agent.mcp_servers),
                agent.description,
            )
            for name, agent in known.items()
        ),
    )


async def sessions(agent: Agent) -> str:
    """The conversations that an agent's memory holds.

    Raises:
        MemoryStoreError: If it cannot be read.
    """
    memory = agent.open_memory()
    found = [await memory.info(session) for session in await memory.sessions()]
    rows = [
        (each.session, f"{each.messages:,}", each.updated.astimezone().isoformat(" ", "minutes"))
        for each in found
        if each is not None
    ]
    if not rows:
        return "No conversations yet: %%aof NAME --session SESSION begins one."
    return table(("session", "messages", "last message"), rows)


def mcp_servers() -> str:
    """The MCP servers that cells have defined, and how their connections are."""
    states = connection_states()
    if not registry.servers and not states:
        return "No MCP servers yet: define one with %%aof_mcp NAME."
    rows = []
    for name, server in registry.servers.items():
        where = server.url or " ".join([server.command or "", *server.args])
        rows.append((name, str(server.transport), where, standing(states.pop(name, None))))
    rows += [(each.name, each.transport, "", standing(each)) for each in states.values()]
    return table(("server", "transport", "where", "state"), rows)


def connection_states() -> dict[str, ServerStatus]:
    """How the connections to MCP servers are, by the servers' names."""
    from aof_nb.mcp.pool import pool

    return {each.name: each for each in pool().status()}


def standing(status: ServerStatus | None) -> str:
    """How a connection is, in words."""
    if status is None:
        return "not connected yet"
    if status.state == "open":
        return f"open, {counted(status.tools, 'tool')}"
    return f"{status.state}: {status.error}" if status.error else str(status.state)


async def tools(agent: Agent | None) -> str:
    """The tools of an agent, those of its MCP servers included; without one, the built-in ones.

    Raises:
        ConfigurationError: If the agent's tools cannot be found.
    """
    from aof_nb.tools import resolve_tools
    from aof_nb.tools.registry import builtin_names

    if agent is None:
        return "built-in: " + ", ".join(builtin_names())
    return await _tools(resolve_tools(agent.tools), agent.mcp_servers)


async def server_tools(server: McpServer) -> str:
    """The tools of an MCP server, which is connected if it is not yet."""
    return await _tools((), [server])


def changed(server: str, tool: str | None) -> str:
    """How an MCP server has changed the definitions of its tools.

    Raises:
        McpError: If what is known of them cannot be read.
    """
    from aof_nb.mcp.pins import pinned
    from aof_nb.mcp.pins_text import changes

    return changes(pinned(server), tool)


def accepted(server: str, tool: str | None) -> str:
    """Has the definitions hold that an MCP server offered last.

    Raises:
        McpError: If it was never connected, has no such tool, or that cannot be written down.
    """
    from aof_nb.mcp.pins import accept
    from aof_nb.mcp.pins_text import said_accepted

    return said_accepted(accept(server, tool))


async def _tools(own: Iterable[Tool], servers: Sequence[McpServer]) -> str:
    found = list(own)
    warnings: Sequence[str] = ()
    if servers:
        from aof_nb.mcp.pool import pool

        offered = await pool().tools(servers)
        found += offered.tools
        warnings = offered.warnings
    specs = sorted((tool.spec for tool in found), key=lambda spec: spec.name)
    rows = [
        (
            spec.name,
            spec.effect.value,
            printable(revealed(spec.description.strip().partition("\n")[0][:80])),
        )
        for spec in specs
    ]
    lines = [f"warning: {printable(each)}" for each in warnings]
    return "\n".join([*lines, table(("tool", "effect", "what it does"), rows)])


def dollars(amount: float | None) -> str:
    """An amount of US dollars, or that it is unknown."""
    return "unknown" if amount is None else f"${amount:.4f}" if amount < 1 else f"${amount:.2f}"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Rows as columns of plain text."""
    lines = [head, *rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )

"""What an agent's ``tools`` say of MCP servers: AOF names their tools there too."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from aof_nb.mcp.spec import McpServer
from aof_nb.resources.problems import Findings, Path, near
from aof_nb.resources.servers import make_server
from aof_nb.resources.tool_schema import ToolEntry

_SERVER_FIELDS = ("command", "url", "endpoint")


@dataclass
class McpTools:
    """Collects them; `applied` makes the agent's servers of them.

    Args:
        written: Servers that are written out among the tools, and where.
        named: The tools wanted of other servers, by server and where it is named; an empty
            name stands for all of them.
    """

    written: list[tuple[dict[str, Any], Path]] = field(default_factory=list)
    named: dict[str, list[tuple[str, Path]]] = field(default_factory=dict)

    def add(self, tool: ToolEntry, findings: Findings, path: Path) -> None:
        """Takes one entry of ``tools``: ``type: MCP``, ``source: mcp`` or ``name: mcp``."""
        own = "" if tool.name == "mcp" else tool.name
        config = dict(tool.config)
        if any(each in config for each in _SERVER_FIELDS):
            command = config.get("command")
            if isinstance(command, list) and command:
                config |= {"command": command[0], "args": [*command[1:], *config.get("args", [])]}
            self.written.append(({"name": tool.server or own, **config}, (*path, "config")))
            return
        given = config.pop("server", None) or config.pop("name", None)
        server = tool.server or (given if isinstance(given, str) else "") or own
        if not server:
            findings.add(path, "it does not say which MCP server", "server: with a server's name")
            return
        for option in config:
            here = (*path, "config", str(option))
            findings.warn(here, f"{option} has no effect on tools of MCP servers")
        self.named.setdefault(server, []).append(("" if own == server else own, path))

    def applied(
        self,
        servers: Sequence[McpServer],
        findings: Findings,
        env: Mapping[str, str],
        *,
        declared: Collection[str],
    ) -> list[McpServer]:
        """The servers, with those written out here, each offering the tools that are named.

        Args:
            servers: From ``mcp_servers``.
            findings: Takes the problems.
            env: Variables that servers get besides their own.
            declared: The names of all servers in ``mcp_servers``, also those with problems.
        """
        known = list(servers)
        for spec, path in self.written:
            server = make_server(spec, findings, path, env=env)
            if server is not None and server.name in {each.name for each in known}:
                findings.add(path, f"there are two MCP servers {server.name!r}", "rename one")
            elif server is not None:
                known.append(server)
        names = {*declared, *(each.name for each in known)}
        for server_name, tools in self.named.items():
            if server_name not in names:
                said = f"no MCP server {server_name!r} is declared for it"
                remedy = near(server_name, names) if names else "add it to mcp_servers"
                findings.warn(tools[0][1], said, remedy)
        return [self._limited(each) for each in known]

    def _limited(self, server: McpServer) -> McpServer:
        wanted = [tool for tool, _ in self.named.get(server.name, [])]
        if not wanted or "" in wanted:
            return server
        return msgspec.structs.replace(server, tools=(*server.tools, *wanted))
